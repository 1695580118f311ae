//! The words beside an indicator: those that state what a digest is of, and those that merely name the kind of what
//! follows.

use super::type_words::TypeWord;
use crate::key::DigestKind;

/// What a word beside a digest states about it.
///
/// The digests of all of these are 32, 40 or 64 hexadecimal digits, and none is a file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DigestLabel {
    /// A certificate's fingerprint.
    Certificate,
    /// A value that no record can exist for; the text names it with its article.
    Foreign(&'static str),
}

/// Returns what a word states about the digest beside it; `None` for every other word.
pub(super) fn digest_label(word: &str) -> Option<DigestLabel> {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    // The longest of them, `x509-fingerprint-sha256`, has 23 letters; most words of prose end here.
    if word.len() < 3 || word.len() > 23 {
        return None;
    }
    if let Some(&(_, what)) = FOREIGN.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        return Some(DigestLabel::Foreign(what));
    }
    let is_certificate = match TypeWord::of(word)? {
        TypeWord::Certificate => true,
        TypeWord::Digest(kind) => DigestKind::of_certificate(kind.width()) == Some(kind),
        _ => false,
    };
    is_certificate.then_some(DigestLabel::Certificate)
}

/// Returns what a text states about the digests that it labels; a serial number of a certificate is not its fingerprint.
pub(super) fn digest_label_in(text: &str) -> Option<DigestLabel> {
    let labels = || words(text).filter_map(digest_label);
    let foreign = labels().find(|label| matches!(label, DigestLabel::Foreign(_)));
    foreign.or_else(|| labels().next()).or_else(|| {
        let mut previous = "";
        words(text).find_map(|word| {
            let pair = PAIRS
                .iter()
                .find(|(first, second, _)| first.eq_ignore_ascii_case(previous) && second.eq_ignore_ascii_case(word));
            previous = word;
            pair.map(|&(_, _, what)| DigestLabel::Foreign(what))
        })
    })
}

/// Returns the words of a text: letters, digits and what `MD5_hash` or `SHA-256` are written with.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '-').filter(|word| !word.is_empty())
}

/// Returns whether a word only names the kind of what follows it (`SHA256`, `IP`, `hash:`), so that it may stand before the
/// indicator of a row.
pub(super) fn is_kind(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    let names_type = |word: &str| TypeWord::of(word).is_some_and(TypeWord::is_supported);
    // `sha256_sum`, `c&c`.
    let mut parts = word.split(['_', '&']).peekable();
    names_type(word)
        || parts.peek().is_some()
            && parts.all(|part| KINDS.iter().any(|kind| kind.eq_ignore_ascii_case(part)) || names_type(part))
}

/// Returns whether a word names a kind that is a host, so that what follows is no file.
pub(super) fn is_host_kind(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    let is_host = matches!(
        TypeWord::of(word),
        Some(
            TypeWord::Domain | TypeWord::Host | TypeWord::HostPort | TypeWord::DomainIp | TypeWord::Url | TypeWord::Uri
        )
    );
    is_host || ["c2", "c2s", "cnc", "server"].iter().any(|kind| kind.eq_ignore_ascii_case(word))
}

/// Returns whether the words of a heading name hosts rather than files; the last that names either counts.
pub(super) fn names_hosts_in(heading: &str) -> Option<bool> {
    let files = [
        "file",
        "files",
        "filename",
        "filenames",
        "hash",
        "hashes",
        "sample",
        "samples",
        "attachment",
        "attachments",
        "md5",
        "sha1",
        "sha256",
    ];
    let names_hosts = |word: &str| {
        let is_file = files.iter().any(|file| file.eq_ignore_ascii_case(word));
        if is_host_kind(word) { Some(true) } else { is_file.then_some(false) }
    };
    words(heading).filter_map(names_hosts).last()
}

const FOREIGN: [(&str, &str); 26] = [
    ("imphash", "an import hash"),
    ("imphashes", "an import hash"),
    ("ja3", "a JA3 fingerprint"),
    ("ja3s", "a JA3 fingerprint"),
    ("ja4", "a JA4 fingerprint"),
    ("jarm", "a JARM fingerprint"),
    ("hassh", "an SSH fingerprint"),
    ("hasshserver", "an SSH fingerprint"),
    ("authentihash", "an Authenticode hash"),
    ("authentihashes", "an Authenticode hash"),
    ("pehash", "a hash of a PE header"),
    ("pehashng", "a hash of a PE header"),
    ("rich", "a hash of a PE header"),
    ("richhash", "a hash of a PE header"),
    ("richpe", "a hash of a PE header"),
    ("vhash", "a similarity hash"),
    ("telfhash", "a similarity hash"),
    ("dhash", "a similarity hash"),
    ("phash", "a similarity hash"),
    ("ssdeep", "a fuzzy hash"),
    ("tlsh", "a fuzzy hash"),
    ("favicon", "a hash of an icon"),
    ("icon", "a hash of an icon"),
    ("serial", "a certificate's serial number"),
    ("serials", "a certificate's serial number"),
    ("mutex", "the name of a mutex"),
];

/// Kinds that take two words.
const PAIRS: [(&str, &str, &str); 11] = [
    ("import", "hash", "an import hash"),
    ("import", "hashes", "an import hash"),
    ("fuzzy", "hashes", "a fuzzy hash"),
    ("section", "hash", "a hash of a section"),
    ("section", "hashes", "a hash of a section"),
    ("section", "md5", "a hash of a section"),
    ("section", "sha256", "a hash of a section"),
    ("rc4", "key", "a key of a cipher"),
    ("aes", "key", "a key of a cipher"),
    ("encryption", "key", "a key of a cipher"),
    ("fuzzy", "hash", "a fuzzy hash"),
];

/// Words beside those for types that may stand before an indicator.
const KINDS: [&str; 18] = [
    "digest",
    "checksum",
    "sum",
    "sha",
    "sample",
    "location",
    "address",
    "addr",
    "server",
    "c2",
    "c",
    "cnc",
    "ioc",
    "indicator",
    "type",
    "name",
    "payload",
    "dropper",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_digests() {
        use DigestLabel::{Certificate, Foreign};
        assert_eq!(digest_label("Imphash:"), Some(Foreign("an import hash")));
        assert_eq!(digest_label("JA3"), Some(Foreign("a JA3 fingerprint")));
        assert_eq!(digest_label("SHA256"), None);
        assert_eq!(digest_label("x509-fingerprint-sha1"), Some(Certificate));
        assert_eq!(digest_label_in("Import hash of the loader"), Some(Foreign("an import hash")));
        assert_eq!(digest_label_in("Authenticode padding"), None);
        assert_eq!(digest_label_in("section MD5s"), None);
        assert_eq!(digest_label_in("Section MD5: "), Some(Foreign("a hash of a section")));
        assert_eq!(digest_label_in("Certificate thumbprints"), Some(Certificate));
        assert_eq!(digest_label_in("Certificate serial"), Some(Foreign("a certificate's serial number")));
    }

    #[test]
    fn kinds() {
        for word in
            ["SHA256", "sha-256:", "MD5_hash", "C&C", "URL:", "IP", "ip_address", "FileHash-SHA256", "ipv4-addr"]
        {
            assert!(is_kind(word), "{word}");
        }
        for word in ["Reference:", "imphash", "port", "Subject:", "", "::"] {
            assert!(!is_kind(word), "{word}");
        }
    }
}
