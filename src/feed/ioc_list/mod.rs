//! Lists of indicators of every kind: `hash;comment`, `hash name`, `name:hash`, bare hashes, hosts and addresses under
//! headings, appendices of articles about malware.
//!
//! There is no specification; the syntax is what [Loki's signature base](https://github.com/Neo23x0/signature-base),
//! [Maltrail](https://github.com/stamparm/maltrail) and [Unit 42](https://github.com/pan-unit42/iocs) publish, and
//! [`row`] is its grammar. A line is a row. All its indicators count up to the first other word; what comments and
//! descriptions mention does not.
//!
//! - A digest is a file's, unless the row, its column or its section calls it a certificate's fingerprint, or something
//!   that no record can exist for (an import hash, a JA3 fingerprint, a section's hash, a serial number).
//! - A bare name is a domain with everything below it; a name with a path, and whatever has a scheme, is an exact
//!   address. Names need a top-level domain that exists: otherwise every file name would be a site.
//! - Some endings of files are top-level domains (`x.zip`, `bins.sh`, `gate.py`). Such a bare name is a host if the list
//!   holds other hosts and no hashes, or names of three labels; else by the last row or heading that names either;
//!   defanged, after `www.` or with a port it is always a host. A list of nothing else is refused: it could be either.
//! - Paths without a host, IPv6, mail addresses, regular expressions, registry keys are unsupported; headings and
//!   sentences between the rows are rejected, and counted. Column headers that only name kinds are no rows.
//! - Names: what follows `;`, the first wordy cell after a comma or a tab, the words after an indicator, a remark.
//! - Hashes are malware. Addresses are malicious addresses, unless the comments before the first row call the list one
//!   of phishing, of command and control, or URLhaus (which lists what spreads malware).
//!
//! Withheld are rows below headings that list what is good or (addresses in lists with sentences or headings) what is
//! referred to, see [`headings`](super::headings); rows whose whole comment is a verdict of goodness; and links: plain
//! `http(s)://` addresses in a list nine tenths of whose addresses are defanged.
//!
//! A text is taken for a list when at least 40 of 100 rows (comments, blank lines and titles aside) hold an indicator or
//! something that is known and unsupported. Measured over what these and other publishers have: real lists begin at 42
//! (a list of hashes and addresses with a long table of exploits below), all others are over 60; readmes and reports
//! that are none end at 20. What is refused for it is prose. A file of comments alone, or of nothing, is an empty list.
//!
//! Bare names of the kind that programs carry (`com.example.app`) are no hosts; where `net.` or `io.` leaves that open,
//! they are taken as endings of files are.

mod census;
mod row;

pub(super) use self::census::{Census, Traits};
use self::row::{Context, Entry, Row, Token};
use super::{
    error::{FeedError, Refusal},
    headings::{self, Headings},
    input::{Input, Line},
    row_sink::{Draft, RowSink},
    sample::{Confidence, Sample},
    token::Shape,
    value::{self, ValueError, WithPort},
    words::{DigestLabel, digest_label_in, names_hosts_in},
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

/// Refuses a list of names of two labels that all end as files do: they could be either.
pub(super) fn refuse(sample: &Sample<'_>) -> Option<Refusal> {
    Traits::of(sample).may_be_file_names.then_some(Refusal {
        what: "a list of names that all end as files do (.zip, .py, .sh, …)",
        why: "they may be the names of files or of hosts",
        instead: "read it with `--format domains` if they are hosts",
    })
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let mut list = List::of(input);
    while let Some(line) = input.next_line()? {
        list.take(&line, sink);
    }
    Ok(())
}

/// A list while it is read: what its headings have stated so far.
#[derive(Debug)]
pub(super) struct List {
    traits: Traits,
    headings: Headings,
    /// What the digests of this section are, if not files'.
    label: Option<DigestLabel>,
    /// The columns of the table that the line stands in.
    columns: Option<Columns>,
    /// Whether what stands here is hosts rather than files, by the last heading or row that names either.
    hosts: bool,
}

impl List {
    /// Begins a list whose first bytes are those of the input.
    pub(super) fn of(input: &Input<'_>) -> Self {
        Self::with(input.sample(Traits::of))
    }

    fn with(traits: Traits) -> Self {
        let (headings, label, columns) = Default::default();
        Self { traits, headings, label, columns, hosts: traits.are_hosts }
    }

    /// Reads one line.
    pub(super) fn take(&mut self, line: &Line<'_>, sink: &mut RowSink<'_>) {
        let row = self.row(line.text);
        match row {
            Row::Blank => {
                self.headings.line(line.text);
                return;
            }
            Row::Comment(text) => {
                self.comment(line.text, text);
                return;
            }
            // Whether it is a heading shows below.
            Row::Prose => {}
            _ => self.headings.row(),
        }
        sink.row_of(line);
        match row {
            Row::Blank | Row::Comment(_) => {}
            Row::Entry(entry) => {
                self.list(entry.key, &entry, sink);
                entry.others().for_each(|key| self.list(key, &entry, sink));
            }
            Row::Unsupported(what) => sink.unsupported(what),
            Row::Good => sink.withhold("its comment is a verdict that it is good"),
            Row::Link => sink.withhold("a reference, not an indicator"),
            Row::Broken(why) => sink.reject(why),
            Row::Hex(digits) => sink.reject(format_args!(
                "a hash of the wrong length: expected 32 (MD5), 40 (SHA-1) or 64 (SHA-256) hexadecimal digits, found {digits}"
            )),
            Row::File => sink.reject(
                "the name of a file or of a host: neither a heading nor the rows before it state that hosts stand here",
            ),
            Row::Prose => {
                self.heading(line.text);
                sink.reject("a heading or a sentence, not an indicator");
            }
        }
    }

    /// Begins a row that another reader reads: a name of a list of domains.
    pub(super) fn begin_row(&mut self, line: &Line<'_>, sink: &mut RowSink<'_>) {
        self.headings.row();
        sink.row_of(line);
    }

    /// Returns why the rows of the current section are withheld, if they are.
    pub(super) fn withholds(&self) -> Option<&'static str> {
        self.headings.withholds()
    }

    /// Returns the record type of the list's addresses.
    pub(super) fn record_type(&self) -> RecordType {
        self.headings.record_type()
    }

    /// Lists one indicator of a row.
    fn list(&self, key: Token<'_>, entry: &Entry<'_>, sink: &mut RowSink<'_>) {
        if let Some(reason) = self.headings.withholds() {
            return sink.withhold(reason);
        }
        if !key.is_digest() {
            if self.traits.is_narrative && self.headings.is_links() {
                return sink.withhold("a link below a heading of references, not an indicator");
            }
            if self.traits.is_defanged && key.is_link() {
                return sink.withhold("a link, not an indicator: the other addresses of the list are defanged");
            }
        }
        match indicator(key, entry.is_certificate) {
            Ok((indicator, port)) => {
                let record_type = match indicator {
                    Indicator::Digest(digest) if !digest.kind().is_of_object() => RecordType::BadCertificate,
                    Indicator::Digest(_) => RecordType::Malware,
                    _ => self.headings.record_type(),
                };
                let timestamp = entry.time.and_then(value::time);
                sink.list(Draft { port, timestamp, ..Draft::new(indicator, record_type, entry.name) });
            }
            Err(e) => sink.value_error(e),
        }
    }

    fn row<'a>(&mut self, text: &'a str) -> Row<'a> {
        let row = match &self.columns {
            Some(columns) if text.contains(columns.delimiter) => columns.row(text),
            _ => row::parse(text, Context { label: self.label, delimiter: self.traits.delimiter }),
        };
        let Row::Entry(entry) = row else { return row };
        match entry.key.shape {
            Shape::FileOrName if self.hosts => {
                let key = Token { shape: Shape::Name, ..entry.key };
                Row::Entry(Entry { key, ..entry })
            }
            Shape::FileOrName => Row::File,
            _ => {
                self.hosts = !entry.key.is_digest();
                row
            }
        }
    }

    /// Notes a comment, or a line of words for types only, which is a heading.
    fn comment(&mut self, line: &str, text: &str) {
        if !row::has_comment_mark(line) {
            return self.heading(text);
        }
        self.headings.comment(text);
        self.labels(text);
    }

    fn heading(&mut self, text: &str) {
        self.headings.line(text);
        self.labels(text);
    }

    /// Keeps what a heading states about the digests and names below it.
    fn labels(&mut self, text: &str) {
        self.columns = Columns::of(text);
        // A long line describes something; a short one is a title.
        if text.split_whitespace().count() <= headings::WORDS_MAX && !text.contains("://") {
            self.label = if self.columns.is_some() { None } else { digest_label_in(text) };
            self.hosts = names_hosts_in(text).unwrap_or(self.hosts);
        }
    }
}

fn indicator(key: Token<'_>, is_certificate: bool) -> Result<WithPort, ValueError> {
    let plain = |indicator| (indicator, None);
    match key.shape {
        Shape::Hash if is_certificate => value::certificate(key.text).map(plain),
        Shape::Hash => match DigestKind::of_object(key.text.len() / 2) {
            Some(kind) => match Digest::from_hex(kind, key.text) {
                Ok(digest) => Ok((Indicator::Digest(digest), None)),
                Err(e) => Err(ValueError::Rejected(e.to_string())),
            },
            None => value::object_hash(key.text).map(plain),
        },
        Shape::Prefixed => match value::prefixed(key.text) {
            Some(digest) => digest.map(plain),
            None => value::any(key.text),
        },
        Shape::Ipv4 => value::ipv4_port(key.text),
        Shape::Name | Shape::FileOrName => name(key.text),
        _ => value::web_exact(key.text),
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

/// The columns of a table of which some hold digests that are not of files.
#[derive(Clone, Copy, Debug)]
struct Columns {
    delimiter: char,
    /// A bit for each of the first 64 columns: set for those whose digests no record can exist for.
    foreign: u64,
    /// A bit for each of the first 64 columns: set for those with fingerprints of certificates.
    certificates: u64,
    /// What the foreign digests are.
    what: &'static str,
}

impl Columns {
    /// Reads the columns of a heading; `None` unless one of them is labelled.
    fn of(heading: &str) -> Option<Self> {
        let delimiter = ['|', '\t', ';', ','].into_iter().find(|&delimiter| heading.contains(delimiter))?;
        let mut columns = Self { delimiter, foreign: 0, certificates: 0, what: "" };
        for (at, cell) in cells(heading, delimiter).enumerate().take(64) {
            match digest_label_in(cell) {
                Some(DigestLabel::Foreign(what)) => {
                    columns.foreign |= 1 << at;
                    columns.what = if columns.what.is_empty() { what } else { columns.what };
                }
                Some(DigestLabel::Certificate) => columns.certificates |= 1 << at,
                None => {}
            }
        }
        (columns.foreign | columns.certificates != 0).then_some(columns)
    }

    /// Reads a row of the table: its first indicator outside the foreign columns.
    fn row<'a>(&self, text: &'a str) -> Row<'a> {
        let mut skipped = false;
        let mut fallback = None;
        for (at, cell) in cells(text, self.delimiter).enumerate() {
            let is_in = |columns: u64| at < 64 && columns >> at & 1 == 1;
            if is_in(self.foreign) {
                skipped |= !cell.trim().is_empty();
                continue;
            }
            let label = is_in(self.certificates).then_some(DigestLabel::Certificate);
            match row::parse(cell, Context { label, delimiter: None }) {
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

#[cfg(test)]
mod tests;
