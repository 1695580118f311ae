//! The header comment of a list, which determines the type of its addresses.

use crate::record::RecordType;

/// The header comment of a list. It ends at the first row; its first line that names a type determines the type.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeaderComment {
    found: Option<RecordType>,
    is_over: bool,
}

impl HeaderComment {
    /// Takes a comment line.
    pub(super) fn comment(&mut self, text: &str) {
        if !self.is_over && self.found.is_none() {
            self.found = type_in(text);
        }
    }

    /// Ends the header comment at the first row: later comments describe the rows after them, not the list.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// Returns the type of the list's addresses.
    pub(super) fn record_type(&self) -> RecordType {
        self.found.unwrap_or(RecordType::MaliciousAddress)
    }
}

fn type_in(comment: &str) -> Option<RecordType> {
    let comment = comment.to_ascii_lowercase();
    let contains = |words: &[&str]| words.iter().any(|word| comment.contains(word));
    if contains(&["urlhaus"]) {
        Some(RecordType::Malware)
    } else if contains(&["openphish", "phishing"]) {
        Some(RecordType::Phishing)
    } else if contains(&["botnet c&c", "c&c server", "c2 server", "command and control", "command & control"]) {
        Some(RecordType::BotnetCc)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_comment_that_names_a_type_counts_until_the_first_row() {
        let mut header = HeaderComment::default();
        assert_eq!(header.record_type(), RecordType::MaliciousAddress);
        header.comment("# a list");
        header.comment("# Botnet C&C servers");
        header.comment("# URLhaus");
        assert_eq!(header.record_type(), RecordType::BotnetCc);
        let mut header = HeaderComment::default();
        header.end();
        header.comment("# phishing");
        assert_eq!(header.record_type(), RecordType::MaliciousAddress);
    }
}
