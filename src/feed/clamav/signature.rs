//! One line of a hash database, and the names of official signatures.

use crate::{
    feed::{
        sample::is_object_hash,
        value::{self, ValueError},
    },
    key::Indicator,
};

/// A hash signature: `Hash:Size or *:Name[:minFL[:maxFL]]`.
pub(super) struct Signature<'a> {
    pub(super) indicator: Indicator,
    pub(super) name: &'a str,
}

impl<'a> Signature<'a> {
    pub(super) fn parse(line: &'a str) -> Result<Self, ValueError> {
        let malformed = || ValueError::Rejected("expected Hash:Size:Name".into());
        let mut fields = line.split(':').map(str::trim);
        let (hash, size) = (fields.next().unwrap_or_default(), fields.next().ok_or_else(malformed)?);
        let name = fields.next().filter(|name| !name.is_empty()).ok_or_else(malformed)?;
        if !is_object_hash(hash) {
            // Returns the specific error.
            value::object_hash(hash)?;
            return Err(malformed());
        }
        if !is_size(size) {
            return Err(ValueError::Rejected("expected a size in bytes or `*` after the hash".into()));
        }
        // Functionality levels.
        if !fields.all(|level| level.len() <= 5 && level.bytes().all(|b| b.is_ascii_digit())) {
            return Err(malformed());
        }
        Ok(Self { indicator: value::object_hash(hash)?, name })
    }
}

/// Returns whether `text` is a size: a number of bytes or `*`.
pub(super) fn is_size(text: &str) -> bool {
    text == "*" || (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// Returns the ID of an official signature, from `{platform}.{category}.{name}-{id}-{revision}`: ID and revision make
/// it unique. Third-party names often end in numbers too, but have no known category.
pub(super) fn official_id(name: &str) -> Option<u64> {
    let (rest, revision) = name.rsplit_once('-')?;
    let (rest, id) = rest.rsplit_once('-')?;
    let mut parts = rest.strip_prefix("PUA.").unwrap_or(rest).splitn(3, '.');
    let (platform, category, family) = (parts.next()?, parts.next()?, parts.next()?);
    if platform.is_empty() || family.is_empty() || !CATEGORIES.contains(&category) {
        return None;
    }
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    // The top bit is reserved for derived IDs.
    let (id, revision) = (number(id).filter(|id| id >> 31 == 0)?, number(revision)?);
    Some(u64::from(id) << 32 | u64::from(revision))
}

/// The categories of official names, <https://docs.clamav.net/manual/Signatures/SignatureNames.html>, and those of
/// older names.
const CATEGORIES: [&str; 31] = [
    "Adware",
    "Backdoor",
    "Coinminer",
    "Countermeasure",
    "Downloader",
    "Dropper",
    "Exploit",
    "File",
    "Filetype",
    "Infostealer",
    "Ircbot",
    "Joke",
    "Keylogger",
    "Loader",
    "Macro",
    "Malware",
    "Packed",
    "Packer",
    "Phishing",
    "Proxy",
    "Ransomware",
    "Revoked",
    "Rootkit",
    "Spyware",
    "Test",
    "Tool",
    "Toolkit",
    "Trojan",
    "Virus",
    "Worm",
    "Spam",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn official_ids() {
        assert_eq!(official_id("Win.Trojan.Zusy-9935890-1"), Some(9_935_890 << 32 | 1));
        assert_eq!(official_id("Html.Phishing.Bank.X-1-0"), Some(1 << 32));
        for name in [
            "Win.Trojan.Zusy-9935890",
            "x-1-2",
            "Foo.Bar.X-1-2",
            "Win.Trojan.X-4294967295-0",
            "Win.Trojan.X--1",
            "é-1-2",
        ] {
            assert_eq!(official_id(name), None, "{name}");
        }
    }
}
