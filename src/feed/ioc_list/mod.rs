//! Lists of indicators of every kind: `hash;comment`, `hash name`, `name:hash`, bare hashes, hosts and addresses under
//! section names, what articles about malware have for an appendix.
//!
//! There is no specification; the syntax is what [Loki's signature base](https://github.com/Neo23x0/signature-base),
//! [Maltrail](https://github.com/stamparm/maltrail) and [Unit 42](https://github.com/pan-unit42/iocs) publish, and
//! [`row`] is its grammar. A line is a row, and a row is at most one indicator: the first one. What is mentioned in
//! comments, descriptions and further columns is none.
//!
//! - A digest is a file's, unless the row, its column or its section calls it something else (an import hash, a JA3
//!   fingerprint, an Authenticode hash, a section's hash, a serial number): those are unsupported.
//! - A bare name is a domain with everything below it; a name with a path, and whatever has a scheme, is an exact
//!   address. Names need a top-level domain that exists: otherwise every file name would be a site.
//! - Some endings of files are top-level domains (`x.zip`, `bins.sh`, `gate.py`). Such a bare name is a host if the
//!   last row or heading that tells is one of hosts, a file if it is one of files; defanged, behind `www.` or with a
//!   port it is always a host.
//! - Paths without a host, IPv6, mail addresses, regular expressions, registry keys are unsupported; headings and
//!   sentences between the rows are rejected, and counted. Column headers that only name kinds are no rows.
//! - Names: what stands behind `;`, the first wordy cell behind a comma or a tab, the words behind a hash, an inline
//!   comment. A list's heading comments name nothing.
//! - Hashes are malware. Addresses are malicious addresses, unless the comments before the first row call the list one
//!   of phishing, of command and control, or URLhaus (which lists what spreads malware).
//!
//! A text is taken for a list when at least 40 of 100 rows (comments, blank lines and titles aside) hold an indicator or
//! something that is known and unsupported. Measured over what these and other publishers have: real lists begin at 42
//! (a list of hashes and addresses with a long table of exploits below), all others are over 60; readmes and reports
//! that are none end at 20. What is refused for it is prose. A file of comments alone, or of nothing, is an empty list.
//!
//! Bare names of the kind that programs carry (`com.example.app`) are no hosts; where `net.` or `io.` leaves that open,
//! they are taken as endings of files are. What stands under a heading that calls it legitimate is withheld.

mod row;

use self::row::{Entry, Row};
use super::{
    error::FeedError,
    header_comment::HeaderComment,
    input::{Input, Line},
    row_sink::{Draft, RowSink},
    sample::{Confidence, Sample},
    token::Shape,
    value::{self, ValueError, WithPort},
    words::{foreign_digest_in, heading_says_benign, speaks_of_hosts},
};
use crate::{
    key::{Digest, DigestKind, Indicator, Scope},
    record::RecordType,
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    if sample.head.contains(&0) || (sample.lines.is_empty() && !sample.head.is_empty()) {
        return None;
    }
    let census = Census::of(sample);
    (census.is_empty() || census.is_list()).then_some(Confidence::Fallback)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let mut list = List::default();
    while let Some(line) = input.next_line()? {
        list.take(&line, sink);
    }
    Ok(())
}

/// A list while it is read: what its headings have said so far.
#[derive(Debug, Default)]
pub(super) struct List {
    /// What the digests of this section are, if not files'.
    foreign: Option<&'static str>,
    /// The columns of the table that the line stands in.
    columns: Option<Columns>,
    /// What the heading of the list says its addresses are.
    list_heading: HeaderComment,
    /// Whether the section's heading calls what stands in it legitimate.
    benign: bool,
    /// Whether what stands here is hosts rather than files, by the last heading or row that tells.
    hosts: bool,
}

impl List {
    /// Takes one line.
    pub(super) fn take(&mut self, line: &Line<'_>, sink: &mut RowSink<'_>) {
        let row = self.row(line.text);
        match row {
            Row::Blank => return,
            Row::Comment(text) => {
                self.heading(text);
                self.list_heading.comment(text);
                return;
            }
            _ => self.list_heading.end(),
        }
        sink.row_of(line);
        match row {
            Row::Blank | Row::Comment(_) => {}
            Row::Entry(_) if self.benign => sink.withhold("the list itself calls it legitimate"),
            Row::Entry(entry) => match self.indicator(&entry) {
                Ok((indicator, port)) => {
                    let record_type = match indicator {
                        Indicator::Digest(_) => RecordType::Malware,
                        _ => self.list_heading.record_type(),
                    };
                    let timestamp = entry.time.and_then(value::time);
                    sink.list(Draft { port, timestamp, ..Draft::new(indicator, record_type, entry.name) });
                }
                Err(why) => sink.value_error(why),
            },
            Row::Unsupported(what) => sink.unsupported(what),
            Row::Benign => sink.withhold("the list itself calls it legitimate"),
            Row::Broken(why) => sink.reject(why),
            Row::Hex(digits) => sink.reject(format_args!(
                "{digits} hexadecimal digits are no object hash: expected 32 (MD5), 40 (SHA-1) or 64 (SHA-256)"
            )),
            Row::File => {
                sink.reject(
                    "a file's name or a host's: neither a heading nor the rows before it say that hosts stand here",
                );
            }
            Row::Prose => {
                self.heading(line.text);
                sink.reject("a heading or a sentence, no indicator");
            }
        }
    }

    fn row<'a>(&mut self, text: &'a str) -> Row<'a> {
        let row = match &self.columns {
            Some(columns) if text.contains(columns.delimiter) => columns.row(text),
            _ => row::parse(text, self.foreign),
        };
        let Row::Entry(entry) = row else { return row };
        match entry.shape {
            Shape::FileOrName if self.hosts => Row::Entry(Entry { shape: Shape::Name, ..entry }),
            Shape::FileOrName => Row::File,
            Shape::Hash => {
                self.hosts = false;
                row
            }
            _ => {
                self.hosts = true;
                row
            }
        }
    }

    /// Keeps what a heading says of the rows below it.
    fn heading(&mut self, text: &str) {
        self.columns = Columns::of(text);
        // A long line tells of something; a short one is a title.
        if text.split_whitespace().count() <= HEADING_WORDS_MAX && !text.contains("://") {
            self.foreign = if self.columns.is_some() { None } else { foreign_digest_in(text) };
            self.benign = heading_says_benign(text);
            self.hosts = speaks_of_hosts(text).unwrap_or(self.hosts);
        }
    }

    fn indicator(&self, entry: &Entry<'_>) -> Result<WithPort, ValueError> {
        match entry.shape {
            Shape::Hash => match DigestKind::of_object(entry.token.len() / 2) {
                Some(kind) => match Digest::from_hex(kind, entry.token) {
                    Ok(digest) => Ok((Indicator::Digest(digest), None)),
                    Err(e) => Err(ValueError::Rejected(e.to_string())),
                },
                None => value::object_hash(entry.token).map(|hash| (hash, None)),
            },
            Shape::Ipv4 => value::ipv4_port(entry.token),
            Shape::Name => name(entry.token),
            _ => value::web_exact(entry.token),
        }
    }
}

/// A name with or without a port: the domain.
fn name(token: &str) -> Result<WithPort, ValueError> {
    let port = token.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse::<u16>().ok()?)));
    match port {
        Some((name, port)) => Ok((value::domain(name, Scope::Domain)?, (port != 0).then_some(port))),
        None => Ok((value::domain(token.trim_end_matches(':'), Scope::Domain)?, None)),
    }
}

/// The columns of a table of which some hold digests of something else than files.
#[derive(Clone, Copy, Debug)]
struct Columns {
    delimiter: char,
    /// A bit for each of the first columns: set for those whose digests are none of files.
    foreign: u64,
    what: &'static str,
}

impl Columns {
    /// From a heading; `None` unless one of its columns is such a one.
    fn of(heading: &str) -> Option<Self> {
        let delimiter = ['|', '\t', ';', ','].into_iter().find(|&delimiter| heading.contains(delimiter))?;
        let mut foreign = 0;
        let mut found = None;
        for (at, cell) in cells(heading, delimiter).enumerate().take(64) {
            if let Some(what) = foreign_digest_in(cell) {
                foreign |= 1 << at;
                found = found.or(Some(what));
            }
        }
        Some(Self { delimiter, foreign, what: found? })
    }

    /// A row of the table: its first indicator outside these columns.
    fn row<'a>(&self, text: &'a str) -> Row<'a> {
        let mut skipped = false;
        let mut fallback = None;
        for (at, cell) in cells(text, self.delimiter).enumerate() {
            if at < 64 && self.foreign >> at & 1 == 1 {
                skipped |= !cell.trim().is_empty();
                continue;
            }
            match row::parse(cell, None) {
                row @ Row::Entry(_) => return row,
                Row::Blank | Row::Comment(_) | Row::Prose => {}
                row => fallback = fallback.or(Some(row)),
            }
        }
        fallback.unwrap_or(if skipped { Row::Unsupported(self.what) } else { Row::Blank })
    }
}

/// The cells of a line; the empty one before a leading `|` is none.
fn cells(text: &str, delimiter: char) -> impl Iterator<Item = &str> {
    let text = text.trim();
    text.strip_prefix('|').filter(|_| delimiter == '|').unwrap_or(text).split(delimiter)
}

/// What the rows of a sample are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Census {
    /// Rows: no comments, titles and blank lines.
    pub(super) rows: u32,
    /// Titles between the rows.
    titles: u32,
    /// Those with an indicator.
    pub(super) entries: u32,
    /// Those with a URL or a name.
    pub(super) web: u32,
    /// Those with an IPv4 address or block.
    pub(super) ipv4: u32,
    /// Those with something that is known and unsupported, or an indicator that is broken.
    pub(super) known: u32,
}

impl Census {
    /// Counts the rows of a sample.
    pub(super) fn of(sample: &Sample<'_>) -> Self {
        let mut census = Self::default();
        let mut list = List::default();
        for line in &sample.lines {
            match list.row(line) {
                Row::Blank => continue,
                Row::Comment(text) => {
                    list.heading(text);
                    continue;
                }
                Row::Entry(entry) => {
                    census.entries += 1;
                    match entry.shape {
                        Shape::Ipv4 => census.ipv4 += 1,
                        Shape::Hash => {}
                        _ => census.web += 1,
                    }
                }
                Row::Unsupported(_) | Row::Benign | Row::Broken(_) | Row::Hex(_) => census.known += 1,
                Row::File => {}
                Row::Prose => {
                    list.heading(line);
                    if is_title(line) {
                        census.titles += 1;
                        continue;
                    }
                }
            }
            census.rows += 1;
        }
        census
    }

    /// Whether nothing stands there but comments.
    pub(super) fn is_empty(&self) -> bool {
        self.rows + self.titles == 0
    }

    /// Whether enough of the rows are indicators.
    pub(super) fn is_list(&self) -> bool {
        self.entries + self.known > 0 && (self.entries + self.known) * 100 >= self.rows * LIST_PERCENT_MIN
    }
}

/// How many of a hundred rows have to be indicators; see the module's head.
const LIST_PERCENT_MIN: u32 = 40;

/// Whether a line that is no indicator is the title of those below it: short, and in capitals or with a colon.
fn is_title(line: &str) -> bool {
    let line = line.trim();
    line.split_whitespace().count() <= HEADING_WORDS_MAX && (line.ends_with(':') || !line.contains(char::is_lowercase))
}

/// Words of the longest heading: `EXAMPLES OF IMPORT HASHES FOR THE ABOVE FILES:` has eight.
const HEADING_WORDS_MAX: usize = 8;

#[cfg(test)]
mod tests;
