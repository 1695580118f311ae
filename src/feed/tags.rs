//! Interpretation of free-text tags: the tags of MISP and the labels of STIX.
//!
//! They are not standardized. Some are known to name a type of threat; any other may be the name of a family.

use crate::record::RecordType;

/// Returns the record type that tags assign to an address (a URL, a host name, an IP address): command and control
/// before phishing, because a phishing page is rarely tagged as command and control, then the others by severity.
pub(in crate::feed) fn address_type<'t>(tags: impl Iterator<Item = &'t str>) -> Option<RecordType> {
    let rank = |kind: &RecordType| match kind {
        RecordType::BotnetCc => 0,
        RecordType::Phishing => 1,
        kind => 1 + *kind as u8,
    };
    tags.flat_map(words).filter_map(|word| framework(&word).or_else(|| threat(&word))).min_by_key(rank)
}

/// Returns the record type that tags assign to a file, if it is less severe than malware.
pub(in crate::feed) fn object_type<'t>(tags: impl Iterator<Item = &'t str>) -> Option<RecordType> {
    let found = tags.flat_map(words).filter_map(|word| threat(&word));
    found.filter(|kind| matches!(kind, RecordType::Adware | RecordType::Riskware)).min()
}

/// Returns whether a tag is only a word for a type of threat; it is used as a name if there is no other.
pub(in crate::feed) fn is_threat(tag: &str) -> bool {
    threat(&tag.to_ascii_lowercase()).is_some()
}

/// Returns the family that a tag names: the value of a machine tag of a malware taxonomy
/// (`misp-galaxy:malpedia="Emotet"`), or a free tag without another known meaning.
pub(in crate::feed) fn family(tag: &str) -> Option<&str> {
    machine_family(tag).or_else(|| free_family(tag))
}

/// Returns the family that a machine tag names.
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

/// Returns whether a galaxy of type `galaxy` describes malware, as opposed to actors, techniques and targets.
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
    let has_other_meaning = tag.contains([':', '=']) || GENERIC.iter().any(|word| tag.eq_ignore_ascii_case(word));
    let whole = tag.to_ascii_lowercase();
    (!tag.is_empty() && !has_other_meaning && threat(&whole).is_none()).then_some(tag)
}

/// Returns the words of a tag in lower case; `c&c` is one word.
fn words(tag: &str) -> impl Iterator<Item = String> {
    let tag = tag.to_ascii_lowercase().replace("c&c", "c2");
    let tag =
        tag.replace("command-and-control", "c2").replace("command and control", "c2").replace("cobalt_", "cobalt");
    // Taxonomies of sharing, confidence and origin do not describe the threat.
    let is_unrelated = ["tlp:", "osint:", "type:", "pap:"].iter().any(|prefix| tag.starts_with(prefix));
    let words: Vec<_> = if is_unrelated {
        Vec::new()
    } else {
        tag.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    words.into_iter()
}

/// Returns the type for a command-and-control framework: these are families too, and an address tagged with one is its
/// server.
fn framework(word: &str) -> Option<RecordType> {
    let frameworks = ["cobaltstrike", "sliver", "metasploit", "havoc", "bruteratel", "mythic"];
    frameworks.contains(&word).then_some(RecordType::BotnetCc)
}

/// Returns the type of threat that a word in lower case names.
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

/// Free tags that name neither a threat nor a family: detection method, platform, attribution.
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
    fn types_of_tags() {
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
    fn families_of_tags() {
        assert_eq!(family("misp-galaxy:malpedia=\"Example Bot\""), Some("Example Bot"));
        assert_eq!(family("malware_classification:malware-family='x'"), Some("'x'"));
        assert_eq!(family("misp-galaxy:threat-actor=\"Somebody\""), None);
        assert_eq!(family("tlp:red"), None);
        assert_eq!(family("#ExampleStealer"), Some("ExampleStealer"));
        assert_eq!(family("CobaltStrike"), Some("CobaltStrike"));
        for tag in ["C2", "phishing", "APT", "", "ransomware"] {
            assert_eq!(family(tag), None, "{tag}");
        }
    }
}
