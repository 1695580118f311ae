//! Hashes of whole files: `.hdb`, `.hsb` (bad) and `.fp`, `.sfp` (known good).
//!
//! ```text
//! Hash:Size or *:Name[:minFL[:maxFL]]
//! ```
//!
//! The algorithm is determined by the hash length: files named `.hdb` also hold SHA-256 and files named `.hsb` also
//! MD5. Lists of known good files have the same syntax, so that the file's name decides.

use super::other;
use crate::{
    feed::{
        error::FeedError,
        input::Input,
        row_sink::RowSink,
        sample::{Confidence, Sample, is_object_hash},
        value::{self, ValueError},
    },
    key::Indicator,
    record::RecordType,
};

pub(in crate::feed) fn detect_hashes(sample: &Sample<'_>) -> Option<Confidence> {
    if other::refuse(sample).is_some() {
        // Reading it fails with the reason. A file that only its name identifies is not claimed.
        return (!sample.named(&[".imp"])).then_some(Confidence::Certain);
    }
    (!is_named_trusted(sample)).then(|| confidence(sample)).flatten()
}

pub(in crate::feed) fn detect_trusted(sample: &Sample<'_>) -> Option<Confidence> {
    (is_named_trusted(sample) && other::refuse(sample).is_none()).then(|| confidence(sample)).flatten()
}

fn confidence(sample: &Sample<'_>) -> Option<Confidence> {
    (sample.share(|line| Signature::parse(line).is_ok()) > 0.8).then_some(Confidence::Certain)
}

fn is_named_trusted(sample: &Sample<'_>) -> bool {
    sample.named(&[".fp", ".sfp"])
}

pub(in crate::feed) fn read_hashes(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    refuse(input)?;
    read(input, sink, false)
}

pub(in crate::feed) fn read_trusted(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    refuse(input)?;
    read(input, sink, true)
}

/// Fails if the input is another ClamAV database than a list of hashes.
fn refuse(input: &Input<'_>) -> Result<(), FeedError> {
    let (head, whole) = input.head();
    let text = String::from_utf8_lossy(head);
    match other::refuse(&Sample::new(head, &text, whole, "")) {
        Some(refusal) => Err(FeedError::Refused(refusal)),
        None => Ok(()),
    }
}

fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>, trusted: bool) -> Result<(), FeedError> {
    while let Some(line) = input.next_line()? {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        sink.row_of(&line);
        match Signature::parse(text) {
            Ok(Signature { indicator, name }) => {
                let record_type = if trusted { RecordType::Trusted } else { record_type(name) };
                let mut draft = sink.draft(indicator, record_type, name);
                // The name of a known good file is that of a false-positive signature, possibly of several files.
                draft.id = official_id(name).filter(|_| !trusted);
                sink.list(draft);
            }
            Err(e) => match other::refuse_line(text) {
                Some(refusal) => sink.reject(format_args!("the line belongs to {}: {}", refusal.what, refusal.why)),
                None => sink.value_error(e),
            },
        }
    }
    Ok(())
}

/// One signature.
pub(super) struct Signature<'a> {
    indicator: Indicator,
    name: &'a str,
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

/// Returns the record type that the name implies: adware, another potentially unwanted application, or malware.
fn record_type(name: &str) -> RecordType {
    let mut parts = name.split('.');
    let unwanted = parts.clone().next() == Some("PUA");
    if parts.by_ref().take(3).any(|part| part == "Adware") {
        RecordType::Adware
    } else if unwanted {
        RecordType::Riskware
    } else {
        RecordType::Malware
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Format, testing};

    fn md5() -> String {
        "0123456789abcdef".repeat(2)
    }

    #[test]
    fn the_hash_length_determines_the_algorithm() {
        let (md5, sha1, sha256) = (md5().to_uppercase(), "01234567".repeat(5), md5().repeat(2));
        let list = format!(
            "# x\r\n{md5}:*:Third party:73\r\n{sha1}:5:Win.Trojan.Example-1388596-3\r\n{sha256}:17:PUA.Win.Adware.Example-7-0:73:90\n\
             {sha256}:17:PUA.Win.Packer.Example-8\n{md5}:17:Win.Adware.Example\n"
        );
        for name in ["x.hdb", "x.hsb", "x"] {
            let (entries, report) = testing::collect(list.as_bytes(), name, None);
            assert_eq!(report.format, Format::ClamAv);
            assert_eq!(
                entries,
                [
                    format!("md5:{} malware \"Third party\"", md5.to_lowercase()),
                    format!("sha1:{sha1} malware \"Win.Trojan.Example-1388596-3\" #{}", 1388596u64 << 32 | 3),
                    format!("sha256:{sha256} adware \"PUA.Win.Adware.Example-7-0\" #{}", 7u64 << 32),
                    format!("sha256:{sha256} riskware \"PUA.Win.Packer.Example-8\""),
                    format!("md5:{} adware \"Win.Adware.Example\"", md5.to_lowercase()),
                ]
            );
        }
    }

    #[test]
    fn trusted_by_file_name_or_by_option() {
        let line = format!("{}:5:Win.Trojan.Example-1388596-3\n", md5());
        let expected = [format!("md5:{} trusted \"Win.Trojan.Example-1388596-3\"", md5())];
        for (name, format) in [("x.FP", None), ("a/x.sfp.gz", None), ("x", Some(Format::ClamAvTrusted))] {
            assert_eq!(testing::collect(line.as_bytes(), name, format).0, expected);
        }
    }

    #[test]
    fn malformed_lines_are_rejected() {
        let mut list = format!("{0}:1:a\n", md5()).repeat(40);
        list += &format!("{0}:1:\n{0}:x:a\n{0}\n{0}0:1:a\n{0}:1:a:b\n5:{0}:a\n", md5());
        let (_, report) = testing::collect(list.as_bytes(), "", None);
        assert_eq!((report.records, report.rejected), (40, 6));
        assert!(report.refusals[5].reason.contains("PE section"), "{:?}", report.refusals);
    }

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

    #[test]
    fn other_databases_are_refused() {
        let hash = md5();
        let import = format!("{hash}:154:calc.exe\n");
        for (list, what) in [
            ("ClamAV-VDB:07 Nov 2026:1:2:90:x:y:z:1\u{0}", "container"),
            (&*format!("17:{hash}:Win.Trojan.X-1-0\n*:{hash}:Y:73\n"), "PE section hashes"),
            ("H:bank.example\nR:.+\\.bank\\.example([/?].*)?:17-\n", "phishing rules"),
            ("M:a.example:b.example\nX:.+:.+\n", "phishing rules"),
            ("Win.Trojan.X-1:1:*:4d5a9000{10}??ff\n", "body signatures"),
            ("Win.Trojan.X-1;Engine:51-255,Target:1;0&1;4d5a;5045\n", "logical signatures"),
            ("X.Y-1:CL_TYPE_ZIP:*:a\\.exe$:*:*:0:1:*:\n", "container signatures"),
            ("Win.Trojan.X-1-0\nWin.Malware.Y-2-0:bc356bae4c42f19a3de16e333ba3569c\n", "signature names"),
        ] {
            for format in [None, Some(Format::ClamAv)] {
                let error = testing::try_collect(list.as_bytes(), "x", format, &testing::options()).unwrap_err();
                assert!(matches!(error, FeedError::Refused(_)) && error.to_string().contains(what), "{error}");
            }
        }
        let sample = Sample::new(import.as_bytes(), &import, true, "daily.imp");
        assert!(other::refuse(&sample).unwrap().what.contains("import table"));
    }
}
