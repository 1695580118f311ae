//! Hashes of whole files: `.hdb`, `.hsb`, `.hdu`, `.hsu` (bad) and `.fp`, `.sfp` (known good).
//!
//! ```text
//! Hash:Size or *:Name[:minFL[:maxFL]]
//! ```
//!
//! The algorithm is determined by the hash length: files named `.hdb` also hold SHA-256 and files named `.hsb` also
//! MD5.
//!
//! Lists of bad and of known good files have the same syntax, so the content alone does not tell whether a file is
//! malware or the opposite. The extension of a file's name decides. Without one of these (a renamed file, standard
//! input), `--trusted` decides, or the names: a list in which nine of ten are those of official signatures is one of bad
//! files. Any other list is ambiguous, and its format must be given.

use super::{
    other,
    signature::{Signature, official_id},
};
use crate::{
    feed::{
        error::FeedError,
        input::Input,
        row_sink::RowSink,
        sample::{Confidence, Sample},
    },
    record::RecordType,
};

pub(in crate::feed) fn detect_hashes(sample: &Sample<'_>) -> Option<Confidence> {
    (verdict(sample) != Some(Verdict::Good)).then(|| confidence(sample)).flatten()
}

pub(in crate::feed) fn detect_trusted(sample: &Sample<'_>) -> Option<Confidence> {
    (verdict(sample) != Some(Verdict::Bad)).then(|| confidence(sample)).flatten()
}

fn confidence(sample: &Sample<'_>) -> Option<Confidence> {
    (sample.share(|line| Signature::parse(line).is_ok()) > 0.8).then_some(Confidence::Certain)
}

/// What a list says of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Bad,
    Good,
}

/// Returns the verdict of a list; `None` if neither its name, the options nor the names of its signatures tell.
fn verdict(sample: &Sample<'_>) -> Option<Verdict> {
    if sample.named(&[".fp", ".sfp"]) {
        Some(Verdict::Good)
    } else if sample.named(&[".hdb", ".hsb", ".hdu", ".hsu"]) {
        Some(Verdict::Bad)
    } else if sample.trusted {
        Some(Verdict::Good)
    } else {
        has_official_names(sample).then_some(Verdict::Bad)
    }
}

/// Returns whether nine of ten names are those of official signatures.
fn has_official_names(sample: &Sample<'_>) -> bool {
    let (mut names, mut official) = (0u32, 0u32);
    for signature in sample.data_lines().filter_map(|line| Signature::parse(line).ok()) {
        names += 1;
        official += u32::from(official_id(signature.name).is_some());
    }
    official > 0 && official * 10 >= names * 9
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
    use crate::feed::{Format, Options, testing};

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
        for name in ["x.hdb", "x.hsb", "x.HDU", "a/x.hsu.gz"] {
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
    fn without_an_extension_a_list_is_ambiguous() {
        let (md5, official) = (md5(), "Win.Trojan.Example-1388596-3");
        let list = |official_rows: usize, others: usize| {
            format!("{md5}:5:{official}\n").repeat(official_rows) + &format!("{md5}:5:Calculator.FP-1\n").repeat(others)
        };
        let detected = |list: &str, name, options| {
            testing::try_collect(list.as_bytes(), name, None, options).map(|(_, report)| report.format)
        };
        let options = testing::options();
        for name in ["", "-", "fp", "good.fp.txt", "daily.hdb.bak", "list.csv"] {
            let error = detected(&list(8, 1), name, &options).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, FeedError::Ambiguous { .. }), "{name}: {text}");
            assert!(text.contains("`--format clamav` or `--format clamav-trusted`"), "{text}");
            assert_eq!(detected(&list(9, 1), name, &options).unwrap(), Format::ClamAv, "official names");
        }
        // An extension and an option decide, whatever the names.
        let trusted = Options { trusted: true, ..testing::options() };
        for list in [list(0, 3), list(3, 0)] {
            assert_eq!(detected(&list, "x.fp", &options).unwrap(), Format::ClamAvTrusted);
            assert_eq!(detected(&list, "x.hsb", &options).unwrap(), Format::ClamAv);
            assert_eq!(detected(&list, "", &trusted).unwrap(), Format::ClamAvTrusted);
        }
    }

    #[test]
    fn malformed_lines_are_rejected() {
        let mut list = format!("{0}:1:a\n", md5()).repeat(40);
        list += &format!("{0}:1:\n{0}:x:a\n{0}\n{0}0:1:a\n{0}:1:a:b\n5:{0}:a\n", md5());
        let (_, report) = testing::collect(list.as_bytes(), "x.hdb", None);
        assert_eq!((report.records, report.rejected), (40, 6));
        assert!(report.refusals[5].reason.contains("PE section"), "{:?}", report.refusals);
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
