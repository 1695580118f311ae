//! Argument parsers: the mix of kinds, the share of hits.

use std::{fmt, str::FromStr};

use ksn::key::KeyKind;

/// Kinds of key by weight, such as `sha256=8,md5=1,web=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mix(Vec<(KeyKind, u32)>);

impl Mix {
    /// Returns the kinds and their weights, none of them 0.
    pub(super) fn weights(&self) -> &[(KeyKind, u32)] {
        &self.0
    }

    /// Returns the kind for a number below the [total](Self::total): each kind has as many numbers as its weight.
    pub(super) fn kind_at(&self, mut number: u64) -> KeyKind {
        for &(kind, weight) in &self.0 {
            if number < u64::from(weight) {
                return kind;
            }
            number -= u64::from(weight);
        }
        self.0[0].0
    }

    /// Returns the sum of all weights.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|&(_, weight)| u64::from(weight)).sum()
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut kinds: Vec<(KeyKind, u32)> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let kind = kind(name)?;
            let weight = weight
                .parse()
                .ok()
                .filter(|&weight| weight > 0)
                .ok_or_else(|| format!("expected a weight of at least 1, such as `{name}=8`, found {weight:?}"))?;
            if kinds.iter().any(|(other, _)| *other == kind) {
                return Err(format!("expected each kind once, found {name} twice"));
            }
            kinds.push((kind, weight));
        }
        Ok(Self(kinds))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (kind, weight)) in self.0.iter().enumerate() {
            write!(f, "{}{kind}={weight}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Parses a kind by its key prefix; `web` is an alias of `url`.
fn kind(name: &str) -> Result<KeyKind, String> {
    let is_it = |kind: &KeyKind| kind.prefix() == name || (*kind == KeyKind::Web && name == "web");
    KeyKind::ALL.into_iter().find(is_it).ok_or_else(|| {
        let names: Vec<_> = KeyKind::ALL.map(KeyKind::prefix).into();
        format!("expected a kind of key ({}), found {name:?}", names.join(", "))
    })
}

/// Parses a percentage, such as `10`, `10%` or `0.5`, into a fraction. A number is always percent: 0.1 is 0.1 %.
pub(super) fn percentage(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').map_or(text, str::trim_end);
    match number.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent)) {
        Some(percent) => Ok(percent / 100.0),
        None => Err(format!("expected a percentage from 0 to 100, such as `10` or `10%`, found {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use ksn::key::DigestKind;

    use super::*;

    #[test]
    fn mixes() {
        let mix: Mix = "sha256=8, md5,web=1".parse().unwrap();
        assert_eq!((mix.total(), mix.to_string().as_str()), (10, "sha256=8,md5=1,url=1"));
        let kinds: Vec<_> = (0..10).map(|number| mix.kind_at(number)).collect();
        assert!(kinds[..8].iter().all(|kind| *kind == KeyKind::Digest(DigestKind::Sha256)));
        assert_eq!(kinds[8..], [KeyKind::Digest(DigestKind::Md5), KeyKind::Web]);
        assert_eq!("url=3".parse(), "web=3".parse::<Mix>());
        for (text, found) in
            [("sha257=1", "sha257"), ("md5=0", "\"0\""), ("md5=x", "\"x\""), ("md5,md5=2", "md5 twice")]
        {
            let error = text.parse::<Mix>().unwrap_err();
            assert!(error.contains("expected") && error.contains(found), "{error}");
        }
        for text in ["", "md5,", "=1", "md5=-1", "md5=99999999999"] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_of_hits_is_a_percentage() {
        for (text, fraction) in
            [("10", 0.1), ("10%", 0.1), ("0.1", 0.001), ("1", 0.01), ("0%", 0.0), ("100 %", 1.0), ("100", 1.0)]
        {
            assert_eq!(percentage(text), Ok(fraction), "{text}");
        }
        for text in ["", "%", "101", "101%", "-1", "-1%", "NaN", "NaN%", "ten", "10%%"] {
            assert!(percentage(text).unwrap_err().contains("expected a percentage"), "{text}");
        }
    }
}
