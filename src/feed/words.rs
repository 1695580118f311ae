//! The words that stand beside an indicator: which kinds of digest are none of a file, which words merely name the
//! kind of what follows, which say that the thing is good.

/// What a digest-shaped value is when this word stands with it; `None` for every other word.
///
/// These are 32, 40 or 64 hexadecimal digits like any other, and never a file's digest.
pub(in crate::feed) fn foreign_digest(word: &str) -> Option<&'static str> {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    // The longest of them has 16 letters; most words of prose end here.
    if word.len() < 3 || word.len() > 16 {
        return None;
    }
    FOREIGN.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|&(_, what)| what)
}

/// The first of [`foreign_digest`]'s kinds that a text speaks of.
pub(in crate::feed) fn foreign_digest_in(text: &str) -> Option<&'static str> {
    words(text).find_map(foreign_digest).or_else(|| {
        let mut previous = "";
        words(text).find_map(|word| {
            let pair = PAIRS
                .iter()
                .find(|(first, second, _)| first.eq_ignore_ascii_case(previous) && second.eq_ignore_ascii_case(word));
            previous = word;
            pair.map(|&(_, _, what)| what)
        })
    })
}

/// Words of letters, digits and what `MD5_hash` or `SHA-256` are written with.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '-').filter(|word| !word.is_empty())
}

/// Whether a word only names the kind of what follows it (`SHA256`, `IP`, `hash:`), so that it may stand before the
/// indicator of a row.
pub(in crate::feed) fn is_kind(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    // `md5_hash`, `sha-256`, `c&c`.
    let mut parts = word.split(['_', '&']).peekable();
    parts.peek().is_some() && parts.all(|part| KINDS.iter().any(|kind| kind.eq_ignore_ascii_case(part)))
}

/// Whether a word names a kind that is a host, so that what follows is no file.
pub(in crate::feed) fn is_host_kind(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    let kinds = ["domain", "domains", "fqdn", "host", "hosts", "hostname", "c2", "c2s", "cnc", "url", "urls", "server"];
    kinds.iter().any(|kind| kind.eq_ignore_ascii_case(word))
}

/// Whether a heading's words are of hosts or of files; the last word that says so counts.
pub(in crate::feed) fn speaks_of_hosts(heading: &str) -> Option<bool> {
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
    let says = |word: &str| {
        let is_file = files.iter().any(|file| file.eq_ignore_ascii_case(word));
        if is_host_kind(word) { Some(true) } else { is_file.then_some(false) }
    };
    words(heading).filter_map(says).last()
}

/// Whether a text says that the thing is no bad one after all.
pub(in crate::feed) fn says_benign(text: &str) -> bool {
    words(text).any(|word| BENIGN.iter().any(|benign| benign.eq_ignore_ascii_case(word)))
}

/// Whether a heading says that what stands below it is good: `HTTPS TRAFFIC TO LEGITIMATE DOMAINS:`. A heading about
/// what is cleaned up or in the clear does not.
pub(in crate::feed) fn heading_says_benign(heading: &str) -> bool {
    words(heading).any(|word| {
        !word.eq_ignore_ascii_case("clean") && BENIGN.iter().any(|benign| benign.eq_ignore_ascii_case(word))
    })
}

const FOREIGN: [(&str, &str); 30] = [
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
    ("thumbprint", "a certificate's fingerprint"),
    ("thumbprints", "a certificate's fingerprint"),
    ("certificate", "a certificate's fingerprint"),
    ("certificates", "a certificate's fingerprint"),
    ("mutex", "the name of a mutex"),
];

/// Kinds that take two words.
const PAIRS: [(&str, &str, &str); 9] = [
    ("import", "hash", "an import hash"),
    ("section", "hash", "a hash of a section"),
    ("section", "hashes", "a hash of a section"),
    ("section", "md5", "a hash of a section"),
    ("section", "sha256", "a hash of a section"),
    ("rc4", "key", "a key of a cipher"),
    ("aes", "key", "a key of a cipher"),
    ("encryption", "key", "a key of a cipher"),
    ("fuzzy", "hash", "a fuzzy hash"),
];

const KINDS: [&str; 42] = [
    "sha256",
    "sha-256",
    "sha1",
    "sha-1",
    "md5",
    "hash",
    "hashes",
    "digest",
    "checksum",
    "sum",
    "sha",
    "file",
    "sample",
    "location",
    "url",
    "urls",
    "uri",
    "link",
    "domain",
    "domains",
    "fqdn",
    "host",
    "hostname",
    "ip",
    "ips",
    "ipv4",
    "ip-dst",
    "ip-src",
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
    "filehash",
    "remote",
];

const BENIGN: [&str; 7] = ["legitimate", "legit", "benign", "goodware", "clean", "whitelisted", "allowlisted"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_something_else() {
        assert_eq!(foreign_digest("Imphash:"), Some("an import hash"));
        assert_eq!(foreign_digest("JA3"), Some("a JA3 fingerprint"));
        assert_eq!(foreign_digest("SHA256"), None);
        assert_eq!(foreign_digest_in("Import hash of the loader"), Some("an import hash"));
        assert_eq!(foreign_digest_in("Authenticode padding"), None);
        assert_eq!(foreign_digest_in("section MD5s"), None);
        assert_eq!(foreign_digest_in("Section MD5: "), Some("a hash of a section"));
    }

    #[test]
    fn kinds() {
        for word in ["SHA256", "sha-256:", "MD5_hash", "C&C", "URL:", "IP"] {
            assert!(is_kind(word), "{word}");
        }
        for word in ["Reference:", "imphash", "port", "Subject:", "", "::"] {
            assert!(!is_kind(word), "{word}");
        }
    }
}
