//! What comes of a file of the corpus, as text.

use std::{
    fmt::Write,
    fs::{self, File},
    path::Path,
};

use ksn::{
    feed::{self, Format, Guards, Options, Outcome},
    record::{Entry, RecordSink},
};

/// Reads a file as a command line says (`$ ksn build [OPTION…] NAME`, or `-` to withhold the name) and returns what
/// comes of it.
///
/// # Panics
///
/// Panics if the command line is not understood, or rows are not accounted for.
pub(crate) fn read(file: &Path, plain: &str, command: &str) -> String {
    let name = plain.rsplit(' ').next().unwrap();
    let mut options = Options::new("2026-11-22".parse().unwrap());
    let mut guards = Guards::default();
    let mut format = None;
    let mut hint = None;
    let mut words = command.strip_prefix("$ ksn build ").unwrap_or_else(|| panic!("{command}")).split(' ');
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{command}: {word} needs a value"));
        match word {
            "--format" => format = Some(value().parse::<Format>().unwrap()),
            "--columns" => options.columns = Some(value().split(',').map(|column| column.parse().unwrap()).collect()),
            "--source" => options.source = Some(value().into()),
            "--trusted" => options.trusted = true,
            "--strict" => options.strict = true,
            "--min-confidence" => options.min_confidence = Some(value().parse().unwrap()),
            "--min-score" => options.min_score = Some(value().parse().unwrap()),
            "--guard" => {
                let guard = value();
                guards.read(File::open(file.with_file_name(guard)).unwrap(), guard).unwrap();
            }
            "-" => hint = Some(""),
            word if word == name => hint = Some(name),
            word => panic!("{command}: expected an option of `ksn build`, {name} or -, found {word}"),
        }
    }
    let hint = hint.unwrap_or_else(|| panic!("{command}: expected {name} or - at the end"));
    let bytes = fs::read(file).unwrap();
    let mut entries = Entries::default();
    match feed::read(&*bytes, hint, format, &options, &guards, 0, &mut entries) {
        Ok(report) => render(&entries.0, &report),
        Err(e) => format!("error: {e}\n"),
    }
}

/// The entries of a file with their sources.
#[derive(Default)]
struct Entries(Vec<(String, String)>);

impl RecordSink for Entries {
    fn add(&mut self, _input: u32, entry: Entry<'_>) {
        self.0.push((entry.to_string(), entry.source.to_owned()));
    }
}

fn render(entries: &[(String, String)], report: &feed::Report) -> String {
    let feed::Report { format, rows, records, withheld, unsupported, rejected, narrowed, .. } = report;
    assert!(withheld + unsupported + rejected + records >= *rows, "rows are not accounted for: {report:?}");
    assert_eq!(*records, entries.len() as u64);
    let mut text = format!("read as {format}\n");
    for (entry, source) in entries {
        let _ = match source == format.name() {
            true => writeln!(text, "+ {entry}"),
            false => writeln!(text, "+ {entry} from {source}"),
        };
    }
    for refusal in &report.refusals {
        let outcome = match refusal.outcome {
            Outcome::Withheld => "withheld",
            Outcome::Unsupported => "unsupported",
            Outcome::Rejected => "rejected",
        };
        let _ = writeln!(text, "- line {}: {outcome}: {}: {:?}", refusal.line, refusal.reason, refusal.excerpt);
    }
    let _ = write!(
        text,
        "{}: {}, {withheld} withheld, {unsupported} unsupported, {rejected} rejected",
        count(*rows, "row"),
        count(*records, "record")
    );
    let _ = writeln!(text, "{}", if *narrowed > 0 { format!(", {narrowed} narrowed") } else { String::new() });
    text
}

fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Returns the lines of two texts, those that only one of them has marked with `-` or `+`, others only next to them.
pub(crate) fn differences(expected: &str, found: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    // The longest common subsequence of the lines from `i` and from `j` on.
    let mut longest = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] =
                if a[i] == b[j] { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let mut lines = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || i < a.len() && longest[i + 1][j] >= longest[i][j + 1] {
            lines.push(('-', a[i]));
            i += 1;
        } else {
            lines.push(('+', b[j]));
            j += 1;
        }
    }
    let is_near = |at: usize| lines[at.saturating_sub(1)..lines.len().min(at + 2)].iter().any(|(mark, _)| *mark != ' ');
    let near = (0..lines.len()).filter(|&at| is_near(at) || lines[at].1.starts_with("$ "));
    near.map(|at| format!("{} {}\n", lines[at].0, lines[at].1)).collect()
}
