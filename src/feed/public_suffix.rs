//! The public suffix list: names below which anybody can register.
//!
//! The crate `psl` implements the list as code that is generic over the label iterator: every calling crate compiles it
//! again, which takes longer than the rest of this crate. It is queried through `addr`, which compiles it once.

/// The version of the compiled-in list. Snapshots store it because it affects what is withheld.
pub(super) const VERSION: &str = "psl 2.1.247";

/// The operator of a suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffix {
    /// A registry, such as that of `co.uk`.
    Icann,
    /// A company that offers its users names below its own, such as `duckdns.org`.
    Private,
}

/// Returns the operator of `name`, a lower-case ASCII name, if the whole name is a suffix.
pub(super) fn whole(name: &str) -> Option<Suffix> {
    // Names that `addr` rejects (for example with underscores) are not suffixes.
    let parsed = addr::parse_domain_name(name).ok().filter(|parsed| parsed.suffix() == name)?;
    match (parsed.is_icann(), parsed.is_private()) {
        (true, _) => Some(Suffix::Icann),
        (_, true) => Some(Suffix::Private),
        _ => None,
    }
}

/// Returns whether a lower-case ASCII name ends in a suffix of the list.
pub(super) fn ends_known(name: &str) -> bool {
    if let Ok(parsed) = addr::parse_domain_name(name) {
        return parsed.has_known_suffix();
    }
    // An invalid label before the suffix does not affect it; few suffixes have more than two labels.
    let end = name.rmatch_indices('.').nth(1).map(|(at, _)| &name[at + 1..]);
    end.and_then(|end| addr::parse_domain_name(end).ok()).is_some_and(|parsed| parsed.has_known_suffix())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_and_their_operators() {
        assert_eq!(whole("com"), Some(Suffix::Icann));
        assert_eq!(whole("co.uk"), Some(Suffix::Icann));
        assert_eq!(whole("duckdns.org"), Some(Suffix::Private));
        for name in ["example", "a.com", "a_b.com", "1.2.3.4", ""] {
            assert_eq!(whole(name), None, "{name}");
        }
    }

    #[test]
    fn names_with_known_suffixes() {
        for name in ["a.com", "a.co.za", "a_b.example.com", "a_b.co.za"] {
            assert!(ends_known(name), "{name}");
        }
        for name in ["a.exe", "a_b.exe", "a_b.c.exe", "", "a_b"] {
            assert!(!ends_known(name), "{name}");
        }
    }

    #[test]
    fn the_version_matches_the_lock_file() {
        let lock = include_str!("../../Cargo.lock");
        let version = VERSION.strip_prefix("psl ").unwrap();
        assert!(lock.contains(&format!("name = \"psl\"\nversion = \"{version}\"")));
    }
}
