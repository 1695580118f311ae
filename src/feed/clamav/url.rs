//! Hashed URLs: `.gdb`.
//!
//! ```text
//! S:F:SHA256    malware (Safe Browsing)      S:P:, S1:P:, S2:P:  4 bytes of the host's hash
//! S1:F:SHA256   phishing (ClamAV's own)      S:W:SHA256          known good
//! S2:F:SHA256   phishing (Safe Browsing)     each with [:FuncLevelSpec]
//! ```
//!
//! The digests are of host-suffix and path-prefix expressions, so that a record has the scope *expression* without its
//! text. A prefix only marks hosts that have entries and yields no record. Entries have no names; their detection name
//! is the one that ClamAV reports for them.
//!
//! <https://docs.clamav.net/manual/Signatures/PhishSigs.html#gdb-format>

use crate::{
    feed::{
        error::FeedError,
        input::Input,
        row_sink::RowSink,
        sample::{Confidence, Sample, is_hex},
        value::{self, ValueError},
    },
    key::Indicator,
    record::RecordType,
};

const MALWARE: &str = "Heuristics.Safebrowsing.Suspected-malware_safebrowsing.clamav.net";
const BLOCKED: &str = "Heuristics.Phishing.URL.Blocked";
const PHISHING: &str = "Heuristics.Safebrowsing.Suspected-phishing_safebrowsing.clamav.net";

pub(in crate::feed) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    (sample.share(|line| !matches!(entry(line), Err(ValueError::Rejected(_)))) > 0.8).then_some(Confidence::Certain)
}

pub(in crate::feed) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    while let Some(line) = input.next_line()? {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        sink.row_of(&line);
        match entry(text) {
            Ok((indicator, record_type, name)) => sink.list(sink.draft(indicator, record_type, name)),
            Err(e) => sink.value_error(e),
        }
    }
    Ok(())
}

fn entry(line: &str) -> Result<(Indicator, RecordType, &'static str), ValueError> {
    let malformed =
        || ValueError::Rejected("expected S, S1 or S2, then F, W or P, then the hash, separated by `:`".into());
    let mut fields = line.split(':').map(str::trim);
    let (list, kind) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let hash = fields.next().ok_or_else(malformed)?;
    let (record_type, name) = match (list, kind) {
        ("S" | "S1" | "S2", "P") if is_hex(hash, 8) => return Err(ValueError::Unsupported("a host hash prefix")),
        ("S" | "S1" | "S2", "W") => (RecordType::Trusted, ""),
        ("S", "F") => (RecordType::Malware, MALWARE),
        ("S1", "F") => (RecordType::Phishing, BLOCKED),
        ("S2", "F") => (RecordType::Phishing, PHISHING),
        _ => return Err(malformed()),
    };
    match value::object_hash(hash)? {
        Indicator::Digest(digest) if digest.bytes().len() == 32 => {
            let digest = digest.bytes().try_into().map_err(|_| malformed())?;
            Ok((Indicator::WebSha256(digest), record_type, name))
        }
        _ => Err(ValueError::Rejected("expected a SHA-256 of 64 hexadecimal digits".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Format, testing};

    #[test]
    fn lists_and_kinds() {
        let hash = "0123456789ABCDEF".repeat(4);
        let list = format!(
            "S1:P:0123abcd\nS:F:{hash}\nS1:F:{hash}:70-\nS2:F:{hash}\r\nS:W:{hash}\nS2:P:01234567:17-\nS1:P:0123\nS3:F:{hash}\nS1:F:0123\n\n"
        );
        let (entries, report) = testing::collect(list.as_bytes(), "x.gdb", Some(Format::ClamAvGdb));
        let key = format!("expression-sha256:{}", hash.to_lowercase());
        assert_eq!(
            entries,
            [
                format!("{key} malware {MALWARE:?}"),
                format!("{key} phishing {BLOCKED:?}"),
                format!("{key} phishing {PHISHING:?}"),
                format!("{key} trusted"),
            ]
        );
        assert_eq!((report.rows, report.unsupported, report.rejected), (9, 2, 3));
        let good = format!("S1:P:0123abcd\nS1:F:{hash}\n");
        assert_eq!(testing::collect(good.as_bytes(), "", None).1.format, Format::ClamAvGdb);
    }
}
