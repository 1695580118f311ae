//! What the comments at the head of a list say of all its addresses.

use crate::record::RecordType;

/// The heading of a list as it is read: it ends with the first row, and the first comment that tells counts.
#[derive(Debug, Default)]
pub(super) struct Heading {
    told: Option<RecordType>,
    is_over: bool,
}

impl Heading {
    /// A comment was read.
    pub(super) fn comment(&mut self, text: &str) {
        if !self.is_over && self.told.is_none() {
            self.told = type_in(text);
        }
    }

    /// A row was read: comments from here on speak of what follows them, not of the list.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// What the list's addresses are.
    pub(super) fn record_type(&self) -> RecordType {
        self.told.unwrap_or(RecordType::MaliciousAddress)
    }
}

fn type_in(heading: &str) -> Option<RecordType> {
    let heading = heading.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| heading.contains(word));
    if says(&["urlhaus"]) {
        Some(RecordType::Malware)
    } else if says(&["openphish", "phishing"]) {
        Some(RecordType::Phishing)
    } else if says(&["botnet c&c", "c&c server", "c2 server", "command and control", "command & control"]) {
        Some(RecordType::BotnetCc)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_comment_that_tells_counts_until_rows_come() {
        let mut heading = Heading::default();
        assert_eq!(heading.record_type(), RecordType::MaliciousAddress);
        heading.comment("# a list");
        heading.comment("# Botnet C&C servers");
        heading.comment("# URLhaus");
        assert_eq!(heading.record_type(), RecordType::BotnetCc);
        let mut heading = Heading::default();
        heading.end();
        heading.comment("# phishing");
        assert_eq!(heading.record_type(), RecordType::MaliciousAddress);
    }
}
