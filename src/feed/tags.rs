//! What free words say: the tags of MISP and the labels of STIX.
//!
//! Nobody agreed on them. A few are recognised as what kind of threat it is; what is left may be a family's name.

use crate::record::RecordType;

/// The type that tags give to an address (a URL, a name, a network address): command and control before phishing,
/// because a phishing page is rarely tagged as the other, then the rest by severity.
pub(in crate::feed) fn address_type<'t>(tags: impl Iterator<Item = &'t str>) -> Option<RecordType> {
    let rank = |kind: &RecordType| match kind {
        RecordType::BotnetCc => 0,
        RecordType::Phishing => 1,
        kind => 1 + *kind as u8,
    };
    tags.flat_map(words).filter_map(|word| framework(&word).or_else(|| threat(&word))).min_by_key(rank)
}

/// The type that tags give to a file, if they say that it is something lesser than malware.
pub(in crate::feed) fn object_type<'t>(tags: impl Iterator<Item = &'t str>) -> Option<RecordType> {
    let found = tags.flat_map(words).filter_map(|word| threat(&word));
    found.filter(|kind| matches!(kind, RecordType::Adware | RecordType::Riskware)).min()
}

/// Whether a tag is no more than a word for a threat: better than no name at all.
pub(in crate::feed) fn is_threat(tag: &str) -> bool {
    threat(&tag.to_ascii_lowercase()).is_some()
}

/// The family that a tag names: the value of a machine tag of a malware taxonomy (`misp-galaxy:malpedia="Emotet"`), or
/// a free tag that says nothing else.
pub(in crate::feed) fn family(tag: &str) -> Option<&str> {
    machine_family(tag).or_else(|| free_family(tag))
}

/// The family of a machine tag.
pub(in crate::feed) fn machine_family(tag: &str) -> Option<&str> {
    let (namespace, rest) = tag.split_once(':')?;
    let (predicate, value) = rest.split_once('=')?;
    let names_malware = match namespace.trim() {
        "misp-galaxy" => is_malware_galaxy(predicate.trim()),
        namespace => namespace.contains("malware") && predicate.contains("family"),
    };
    let value = value.trim().trim_matches('"').trim();
    (names_malware && !value.is_empty()).then_some(value)
}

/// Whether a galaxy of that type is one of malware, as opposed to actors, techniques and targets.
pub(in crate::feed) fn is_malware_galaxy(galaxy: &str) -> bool {
    const MALWARE: [&str; 10] = [
        "malpedia",
        "ransomware",
        "rat",
        "botnet",
        "banker",
        "stealer",
        "backdoor",
        "android",
        "exploit-kit",
        "cryptominers",
    ];
    MALWARE.contains(&galaxy) || galaxy.ends_with("malware") || galaxy.ends_with("tool")
}

fn free_family(tag: &str) -> Option<&str> {
    let tag = tag.trim().trim_start_matches('#');
    let says_something_else = tag.contains([':', '=']) || GENERIC.iter().any(|word| tag.eq_ignore_ascii_case(word));
    let whole = tag.to_ascii_lowercase();
    (!tag.is_empty() && !says_something_else && threat(&whole).is_none()).then_some(tag)
}

/// The words of a tag in lower case; `c&c` is one.
fn words(tag: &str) -> impl Iterator<Item = String> {
    let tag = tag.to_ascii_lowercase().replace("c&c", "c2");
    let tag =
        tag.replace("command-and-control", "c2").replace("command and control", "c2").replace("cobalt_", "cobalt");
    // Taxonomies of sharing, confidence and origin say nothing of the threat.
    let silent = ["tlp:", "osint:", "type:", "pap:"].iter().any(|prefix| tag.starts_with(prefix));
    let words: Vec<_> = if silent {
        Vec::new()
    } else {
        tag.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    words.into_iter()
}

/// Frameworks of remote control: they are families too, and an address tagged with one is its server.
fn framework(word: &str) -> Option<RecordType> {
    let frameworks = ["cobaltstrike", "sliver", "metasploit", "havoc", "bruteratel", "mythic"];
    frameworks.contains(&word).then_some(RecordType::BotnetCc)
}

/// The threat that a word in lower case stands for.
fn threat(word: &str) -> Option<RecordType> {
    Some(match word {
        "c2" | "cnc" | "cc" | "c2c" | "botnet" | "botnetcc" => RecordType::BotnetCc,
        "phishing" | "phish" | "spearphishing" | "smishing" | "vishing" | "phishingkit" | "aitm" | "scam"
        | "cryptoscam" => RecordType::Phishing,
        "malware" | "ransomware" | "stealer" | "infostealer" | "rat" | "trojan" | "backdoor" | "loader" | "dropper"
        | "downloader" | "banker" | "spyware" | "stalkerware" | "worm" | "virus" | "rootkit" | "keylogger"
        | "cryptominer" | "coinminer" | "malvertising" | "maldoc" | "opendir" => RecordType::Malware,
        "adware" => RecordType::Adware,
        "riskware" | "pua" | "pup" | "grayware" | "greyware" => RecordType::Riskware,
        "spam" | "scanner" | "scanning" | "bruteforce" => RecordType::Abuse,
        "tracker" | "tracking" => RecordType::Tracking,
        _ => return None,
    })
}

/// Free tags that are neither a threat nor a family: how it was found, on what it runs, whose it is said to be.
const GENERIC: [&str; 28] = [
    "android",
    "anonymization",
    "anomalous-activity",
    "apt",
    "attribution",
    "benign",
    "booking",
    "clickfix",
    "compromised",
    "dprk",
    "exploit",
    "fakecaptcha",
    "file-hash-watchlist",
    "indicator",
    "interactsh",
    "ioc",
    "iocs",
    "ios",
    "ip-watchlist",
    "linux",
    "macos",
    "malicious-activity",
    "osint",
    "reverse_ssh",
    "tweetfeed",
    "unknown",
    "url-watchlist",
    "windows",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let address = |tags: &[&str]| address_type(tags.iter().copied());
        assert_eq!(address(&["AsyncRAT", "C2"]), Some(RecordType::BotnetCc));
        assert_eq!(address(&["phishing", "malware"]), Some(RecordType::Phishing));
        assert_eq!(address(&["Hak5_Cloud_C2"]), Some(RecordType::BotnetCc));
        assert_eq!(address(&["Cobalt_Strike"]), Some(RecordType::BotnetCc));
        assert_eq!(address(&["Command and Control"]), Some(RecordType::BotnetCc));
        assert_eq!(address(&["adware", "opendir"]), Some(RecordType::Malware));
        assert_eq!(address(&["tlp:clear", "osint:source-type=\"malware-report\"", "Kimsuky"]), None);
        assert_eq!(object_type(["phishing", "PUA:Bundler"].into_iter()), Some(RecordType::Riskware));
        assert_eq!(object_type(["phishing"].into_iter()), None);
    }

    #[test]
    fn families() {
        assert_eq!(family("misp-galaxy:malpedia=\"Example Bot\""), Some("Example Bot"));
        assert_eq!(family("malware_classification:malware-family='x'"), Some("'x'"));
        assert_eq!(family("misp-galaxy:threat-actor=\"Somebody\""), None);
        assert_eq!(family("tlp:red"), None);
        assert_eq!(family("#ExampleStealer"), Some("ExampleStealer"));
        assert_eq!(family("CobaltStrike"), Some("CobaltStrike"));
        for nothing in ["C2", "phishing", "APT", "", "ransomware"] {
            assert_eq!(family(nothing), None, "{nothing}");
        }
    }
}
