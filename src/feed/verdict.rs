//! Verdicts in columns of statuses: `malicious`, `benign`, `false positive`.

use super::{
    headings::is_good_verdict,
    type_words::{WORD_BYTES_MAX, normalize},
};

/// Returns whether a status is a verdict of goodness. Beside the verdicts that a comment can be, these are single words
/// that mean something else elsewhere.
pub(super) fn is_good_status(text: &str) -> bool {
    let mut buffer = [0; WORD_BYTES_MAX];
    let is_word = normalize(text, &mut buffer).is_some_and(|word| {
        matches!(
            word,
            "falsepositive"
                | "fp"
                | "knowngood"
                | "good"
                | "safe"
                | "trusted"
                | "allowed"
                | "whitelist"
                | "whitelisted"
                | "allowlist"
                | "allowlisted"
                | "nonmalicious"
                | "verifiedbenign"
                | "likelybenign"
        )
    });
    is_word || is_good_verdict(text)
}

/// Returns whether a text as a whole is a status of either sense.
pub(super) fn is_status(text: &str) -> bool {
    let mut buffer = [0; WORD_BYTES_MAX];
    let is_bad = normalize(text, &mut buffer).is_some_and(|word| {
        matches!(
            word,
            "malicious"
                | "suspicious"
                | "bad"
                | "unsafe"
                | "dangerous"
                | "infected"
                | "truepositive"
                | "tp"
                | "unknown"
                | "undetermined"
                | "unrated"
                | "confirmedmalicious"
                | "likelymalicious"
                | "knownbad"
                | "blacklisted"
                | "blocklisted"
                | "blocked"
        )
    });
    is_bad || is_good_status(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_statuses_count() {
        for text in [
            "benign",
            "Clean",
            "LEGITIMATE",
            "false positive",
            "False-Positive",
            "FP",
            "known good",
            "whitelisted",
            "harmless",
            "safe",
        ] {
            assert!(is_good_status(text) && is_status(text), "{text}");
        }
        for text in ["malicious", "not clean", "not legitimate: Emotet", "fake legit Zoom", "trojanized legit app", ""]
        {
            assert!(!is_good_status(text), "{text}");
        }
        assert!(is_status("malicious") && is_status("Suspicious") && !is_status("Emotet"));
    }
}
