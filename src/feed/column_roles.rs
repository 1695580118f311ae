//! The roles of the columns of a generic CSV: found by the header **and** the content of the sample.
//!
//! - A header is believed only where nine in ten of the values of its column agree.
//! - A column in which nine in ten values are words for types is the column of types, whatever its header; the key is
//!   then the column whose values agree with their types.
//! - Without a believed key, the only column that consists of indicators is the key. If there is none, or several, the
//!   file is refused with a line for `--columns`.
//! - Columns of references beside a key are no keys: those whose header names references, whose URLs contain the key of
//!   their row, whose URLs are not defanged where the keys are, or are all on one host beside addresses on others.
//! - A first row that contains a value is data. A row of words above columns of other contents is a header, whatever its
//!   words are.

use std::collections::HashMap;

use super::{
    cell,
    columns::CsvColumn,
    rows::Cells,
    sample::{Confidence, Sample},
    token::{Shape, shape},
    type_words::{TypeWord, WORD_BYTES_MAX, normalize},
    value::{self, null},
    verdict::{is_good_status, is_status},
};
use crate::{key::refang, record::RecordType};

/// The roles of the columns of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roles {
    /// One for each column.
    pub(super) columns: Vec<CsvColumn>,
    /// Whether the first row is a header.
    pub(super) has_header: bool,
    /// Whether a type that is unknown means no record; otherwise the form of the key determines its type.
    pub(super) are_types_known: bool,
}

/// The rows of a sample.
struct Table {
    rows: Vec<Cells>,
    width: usize,
    has_header: bool,
    /// The words above each column; empty without a header.
    headings: Vec<String>,
    contents: Vec<Content>,
}

/// The numbers of values of a column that are of a kind.
#[derive(Clone, Copy, Debug, Default)]
struct Content {
    /// All values that are not null.
    values: usize,
    types: usize,
    record_types: usize,
    statuses: usize,
    times: usize,
    indicators: usize,
}

/// Returns how sure the content is that of a table whose columns can be told.
pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let table = Table::of(sample)?;
    if table.width < 2 {
        return None;
    }
    let is_headed = table.has_header
        && table.headings.iter().any(|word| {
            let column = CsvColumn::of_header(word);
            column.is_key() || column == CsvColumn::Type
        });
    match table.roles() {
        Ok(_) if is_headed => Some(Confidence::Likely),
        Ok(roles) if roles.columns.contains(&CsvColumn::Type) && roles.are_types_known => Some(Confidence::Generic),
        Ok(_) => None,
        // Reading it fails with what to do, instead of taking whichever column comes first.
        Err(_) => (is_headed && table.is_regular()).then_some(Confidence::Likely),
    }
}

/// Returns the roles of the columns of a sample, or why they cannot be told and what to do.
pub(super) fn of(sample: &Sample<'_>) -> Result<Roles, String> {
    match Table::of(sample) {
        Some(table) => table.roles(),
        None => Ok(Roles::default()),
    }
}

/// Returns the roles that are given for the columns of a sample.
pub(super) fn given(sample: &Sample<'_>, columns: &[CsvColumn]) -> Roles {
    let is_data = |first: &Cells| {
        let keys = columns.iter().enumerate().filter(|(_, column)| column.is_key());
        keys.map(|(at, column)| (column.key_type(), first.get(at))).any(|(kind, cell)| {
            null(cell).is_some_and(|cell| cell::begins_with(kind, cell)) && TypeWord::of(cell).is_none()
        })
    };
    let table = Table::of(sample);
    let has_header = table.is_some_and(|table| table.has_header && !table.rows.first().is_some_and(is_data));
    Roles { columns: columns.to_vec(), has_header, are_types_known: true }
}

/// Returns the character that separates the cells: of comma, tab, semicolon and bar, that by which most rows have the
/// same number of cells, and then that which makes the most cells.
pub(super) fn separator(sample: &Sample<'_>) -> u8 {
    let score = |&separator: &u8| {
        let widths: Vec<_> = sample.data_lines().take(ROWS_MAX).map(|line| Cells::of(line, separator).len()).collect();
        let (rows, width) = mode(&widths);
        if width < 2 { (0, 0) } else { (rows, width) }
    };
    // Of equals the last counts, so that the comma is last.
    b"|;\t,".iter().copied().max_by_key(score).unwrap_or(b',')
}

impl Table {
    fn of(sample: &Sample<'_>) -> Option<Self> {
        let separator = separator(sample);
        let rows: Vec<_> = sample.data_lines().take(ROWS_MAX).map(|line| Cells::of(line, separator)).collect();
        let first = rows.first()?;
        let (_, width) = mode(&rows.iter().map(Cells::len).collect::<Vec<_>>());
        let width = width.max(first.len());
        // The first row of several is left out until it is known to be data.
        let body = if rows.len() > 1 { &rows[1..] } else { &rows[..] };
        let contents: Vec<_> = (0..width).map(|at| Content::of(body, at)).collect();
        let has_header = is_header(first, &contents, rows.len() == 1);
        let headings = match has_header {
            true => first.iter().map(str::to_owned).collect(),
            false => comment_header(sample, separator, width),
        };
        let mut table = Self { rows, width, has_header, headings, contents };
        // The first row counts if it is data, and does not if it is the only one and a header.
        table.contents = (0..width).map(|at| Content::of(table.body(), at)).collect();
        Some(table)
    }

    /// Returns the data rows.
    fn body(&self) -> &[Cells] {
        &self.rows[usize::from(self.has_header)..]
    }

    fn heading(&self, at: usize) -> &str {
        self.headings.get(at).map_or("", String::as_str)
    }

    /// Returns whether nine in ten rows have as many cells as the first.
    fn is_regular(&self) -> bool {
        let width = self.rows.first().map_or(0, Cells::len);
        mostly(self.rows.iter().filter(|row| row.len() == width).count(), self.rows.len())
    }

    fn roles(&self) -> Result<Roles, String> {
        let mut columns: Vec<_> = (0..self.width).map(|at| self.headed(at)).collect();
        let named_types = columns.iter().position(|&column| column == CsvColumn::Type);
        let are_types_known = named_types.is_none_or(|at| self.contents[at].mostly(|content| content.types));
        let types = named_types.or_else(|| self.types_by_content(&columns));
        let keys = self.keys(&columns, types).map_err(|why| self.refusal(&columns, types, &why))?;
        for (at, column) in columns.iter_mut().enumerate() {
            if column.is_key() {
                *column = CsvColumn::Ignored;
            }
            if *column == CsvColumn::Type && types != Some(at) {
                *column = CsvColumn::Ignored;
            }
        }
        for (at, column) in keys {
            columns[at] = column;
        }
        if let Some(at) = types {
            columns[at] = CsvColumn::Type;
        }
        Ok(Roles { columns, has_header: self.has_header, are_types_known })
    }

    /// Returns the role that the heading of a column gives it, as far as its content agrees. Keys are judged later,
    /// because their types may be in another column.
    fn headed(&self, at: usize) -> CsvColumn {
        let content = self.contents[at];
        match CsvColumn::of_header(self.heading(at)) {
            // Threats and sorts of programs are called types, too.
            CsvColumn::Type if content.mostly(|content| content.record_types) => CsvColumn::RecordType,
            CsvColumn::Type if content.values > 0 && content.types * 2 < content.values => CsvColumn::Ignored,
            CsvColumn::Type => CsvColumn::Type,
            CsvColumn::Status => CsvColumn::Status,
            _ if content.mostly(|content| content.statuses) => CsvColumn::Status,
            column => column,
        }
    }

    /// Returns the column of types that only its content shows.
    fn types_by_content(&self, columns: &[CsvColumn]) -> Option<usize> {
        let may_be = |at: &usize| columns[*at] == CsvColumn::Ignored || columns[*at].is_key();
        let is_type = |at: &usize| self.contents[*at].mostly(|content| content.types);
        let has_key = |at: &usize| (0..self.width).any(|key| key != *at && self.is_typed_key(key, *at));
        let mut found = (0..self.width).filter(may_be).filter(is_type).filter(has_key);
        found.next().filter(|_| found.next().is_none())
    }

    /// Returns the columns of keys.
    fn keys(&self, columns: &[CsvColumn], types: Option<usize>) -> Result<Vec<(usize, CsvColumn)>, Vec<usize>> {
        let others = || (0..self.width).filter(|&at| Some(at) != types);
        if let Some(types) = types
            && self.contents[types].values > 0
        {
            let typed: Vec<_> = others().filter(|&at| self.is_typed_key(at, types)).collect();
            let named: Vec<_> = typed.iter().copied().filter(|&at| columns[at] == CsvColumn::Key).collect();
            let plain: Vec<_> = typed.iter().copied().filter(|&at| !self.is_excluded(at)).collect();
            let found = [named, plain, typed.clone()].into_iter().find(|found| found.len() == 1);
            let Some(&[key]) = found.as_deref() else { return Err(typed) };
            // Columns of URLs and names beside a typed key describe it; hashes beside one are of the same file.
            let is_hash = |at: &usize| columns[*at] == CsvColumn::Hash && self.agrees(*at, CsvColumn::Hash);
            let hashes = others().filter(|&at| at != key).filter(is_hash).map(|at| (at, CsvColumn::Hash));
            return Ok(std::iter::once((key, CsvColumn::Key)).chain(hashes).collect());
        }
        let named = || others().filter(|&at| columns[at].is_key());
        if named().any(|at| self.is_doubtful(at, columns[at])) {
            return Err(Vec::new());
        }
        let believed: Vec<_> = named().filter(|&at| self.agrees(at, columns[at])).collect();
        if believed.iter().any(|&at| self.contents[at].values > 0) || (!believed.is_empty() && self.body().is_empty()) {
            let keys = self.without_references(&believed);
            return Ok(keys.into_iter().map(|at| (at, columns[at])).collect());
        }
        // Times, names and numbers that a header names are no keys.
        let is_free = |at: &usize| columns[*at] == CsvColumn::Ignored || columns[*at].is_key();
        let is_key = |at: &usize| self.contents[*at].mostly(|content| content.indicators);
        let found: Vec<_> = others().filter(is_free).filter(is_key).collect();
        let plain: Vec<_> = found.iter().copied().filter(|&at| !self.is_excluded(at)).collect();
        let linked = |at: &usize| TypeWord::of(self.heading(*at)) == Some(TypeWord::Link);
        let links: Vec<_> = found.iter().copied().filter(linked).collect();
        let keys = if plain.is_empty() { links } else { self.without_references(&plain) };
        match keys[..] {
            [key] => Ok(vec![(key, CsvColumn::Key)]),
            _ => Err(keys),
        }
    }

    /// Returns whether nine in ten values of a column agree with the types of their rows. Types for which no record can
    /// exist tell nothing.
    fn is_typed_key(&self, key: usize, types: usize) -> bool {
        let (mut agreeing, mut all, mut others) = (0, 0, 0);
        for row in self.body() {
            let (Some(word), Some(value)) = (null(row.get(types)), null(row.get(key))) else { continue };
            match TypeWord::of(word) {
                Some(kind) if kind.is_supported() => {
                    all += 1;
                    agreeing += usize::from(cell::begins_with(Some(kind), value));
                }
                Some(_) => others += 1,
                None => {}
            }
        }
        let is_named = CsvColumn::of_header(self.heading(key)) == CsvColumn::Key;
        mostly(agreeing, all) || (all == 0 && others > 0 && is_named)
    }

    /// Returns the number of values of a column that agree with its role as keys.
    fn agreeing(&self, at: usize, column: CsvColumn) -> usize {
        let values = self.body().iter().filter_map(|row| null(row.get(at)));
        values.filter(|value| is_of(column, value)).count()
    }

    /// Returns whether nine in ten values of a column agree with its role as keys.
    fn agrees(&self, at: usize, column: CsvColumn) -> bool {
        let values = self.contents[at].values;
        values == 0 || mostly(self.agreeing(at, column), values)
    }

    /// Returns whether most values of a column agree with its role as keys, but not nine in ten: neither to believe its
    /// heading nor to ignore the column is right.
    fn is_doubtful(&self, at: usize, column: CsvColumn) -> bool {
        !self.agrees(at, column) && self.agreeing(at, column) * 2 > self.contents[at].values
    }

    /// Returns whether a heading names what is no key.
    fn is_excluded(&self, at: usize) -> bool {
        let word = self.heading(at);
        names_references(word) || matches!(TypeWord::of(word), Some(TypeWord::Unsupported(_)))
    }

    /// Returns the columns without those of references that are beside other keys.
    fn without_references(&self, keys: &[usize]) -> Vec<usize> {
        let is_reference = |&at: &usize| keys.iter().any(|&key| key != at && self.is_reference(at, key));
        let kept: Vec<_> = keys.iter().copied().filter(|at| !is_reference(at)).collect();
        if kept.is_empty() { keys.to_vec() } else { kept }
    }

    /// Returns whether a column consists of URLs that refer to the key of their row: the path contains the key; or the
    /// URLs are plain and the keys are defanged; or the keys are addresses, and the URLs are on one other host.
    fn is_reference(&self, at: usize, key: usize) -> bool {
        let (mut urls, mut referring, mut plain, mut defanged, mut addresses) = (0, 0, 0, 0, 0);
        let mut hosts: HashMap<String, usize> = HashMap::new();
        for row in self.body() {
            let (Some(url), Some(key)) = (null(row.get(at)), null(row.get(key))) else { continue };
            let Some((_, rest)) = url.split_once("://") else { continue };
            urls += 1;
            let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let path = path.to_ascii_lowercase();
            referring += usize::from(key.len() >= KEY_BYTES_MIN && path.contains(&key.to_ascii_lowercase()));
            plain += usize::from(refang(url) == url);
            defanged += usize::from(refang(key) != key);
            if !key.bytes().all(|b| b.is_ascii_hexdigit()) {
                addresses += 1;
                if !refang(host).contains(&*refang(key)) {
                    *hosts.entry(host.to_ascii_lowercase()).or_default() += 1;
                }
            }
        }
        let one_host = addresses >= REFERENCES_MIN && mostly(hosts.into_values().max().unwrap_or_default(), addresses);
        mostly(referring, urls) || (mostly(plain, urls) && (mostly(defanged, addresses) || one_host))
    }

    /// Describes why the columns cannot be told, with a line for `--columns`.
    fn refusal(&self, columns: &[CsvColumn], types: Option<usize>, candidates: &[usize]) -> String {
        let key = candidates.first().copied().or_else(|| {
            (0..self.width)
                .filter(|&at| Some(at) != types)
                .max_by_key(|&at| (self.contents[at].indicators, self.width - at))
        });
        let name = |at: usize| match columns[at] {
            _ if Some(at) == key => "key",
            _ if Some(at) == types => "type",
            column if column.is_key() || column == CsvColumn::Type => "-",
            CsvColumn::Ignored if self.contents[at].mostly(|content| content.times) => "time",
            column => column.name(),
        };
        let mut names: Vec<_> = (0..self.width).map(name).collect();
        while names.len() > 1 && names.last() == Some(&"-") {
            names.pop();
        }
        let numbers = candidates.iter().map(|at| (at + 1).to_string()).collect::<Vec<_>>().join(", ");
        let disbelieved = (0..self.width).find(|&at| columns[at].is_key() && !self.agrees(at, columns[at]));
        let found = match (candidates.is_empty(), disbelieved) {
            (false, _) => format!("found them in the columns {numbers}"),
            (true, Some(at)) => {
                let (agreeing, values) = (self.agreeing(at, columns[at]), self.contents[at].values);
                format!(
                    "found them in {agreeing} of {values} values below {:?}, and in no other column",
                    self.heading(at)
                )
            }
            (true, None) => "found none in which nine in ten values are indicators".into(),
        };
        let names = names.join(",");
        format!("expected one column of indicators, {found}; name the columns, such as `--columns {names}`")
    }
}

impl Content {
    fn of(rows: &[Cells], at: usize) -> Self {
        let mut content = Self::default();
        for value in rows.iter().filter_map(|row| null(row.get(at))) {
            content.values += 1;
            content.types += usize::from(TypeWord::of(value).is_some());
            content.record_types += usize::from(value.parse::<RecordType>().is_ok());
            content.statuses += usize::from(is_status(value));
            content.times += usize::from(is_time(value));
            content.indicators += usize::from(is_indicator(value));
        }
        content
    }

    /// Returns whether nine in ten values are of a kind.
    fn mostly(&self, count: impl Fn(&Self) -> usize) -> bool {
        mostly(count(self), self.values)
    }
}

/// Returns whether nine in ten agree. Among few, one exception is a broken value rather than another content.
fn mostly(agreeing: usize, all: usize) -> bool {
    all > 0 && (agreeing * 10 >= all * 9 || (all > 2 && agreeing + 1 == all))
}

/// Returns whether a value agrees with the role of its column. A digest with a digit too few is a broken digest.
fn is_of(column: CsvColumn, value: &str) -> bool {
    let is_digest =
        matches!(column, CsvColumn::Hash | CsvColumn::Certificate | CsvColumn::Blake3 | CsvColumn::PublicKey);
    cell::begins_with(column.key_type(), value) || (is_digest && matches!(shape(value), Shape::Hex(_)))
}

/// Returns whether the first row is a header.
fn is_header(first: &Cells, contents: &[Content], is_only: bool) -> bool {
    let cells = || first.iter().enumerate().filter_map(|(at, cell)| Some((null(cell)?, contents[at])));
    // A name with dots may be that of a field.
    let is_value = |(cell, content): (&str, Content)| match shape(cell) {
        _ if is_time(cell) => true,
        Shape::Name | Shape::FileOrName => is_only || content.mostly(|content| content.indicators),
        Shape::Hash | Shape::Prefixed | Shape::Hex(_) | Shape::Url | Shape::HostPath | Shape::Ipv4 => true,
        _ => value::prefixed(cell).is_some() || cell.contains("://"),
    };
    let is_type = |(cell, content): (&str, Content)| {
        !is_only && content.mostly(|content| content.types) && TypeWord::of(cell).is_some()
    };
    if cells().any(is_value) || cells().any(is_type) {
        return false;
    }
    if cells().any(|(cell, _)| CsvColumn::of_header(cell) != CsvColumn::Ignored || TypeWord::of(cell).is_some()) {
        // A row of a status and a comment names nothing.
        return !cells().any(|(cell, content)| !is_only && is_good_status(cell) && content.mostly(|c| c.statuses));
    }
    // Words above columns of something else.
    let is_sharp = |content: &Content| {
        [content.types, content.times, content.indicators].into_iter().any(|count| mostly(count, content.values))
    };
    !is_only && cells().any(|(_, content)| is_sharp(&content)) && cells().all(|(cell, _)| cell.parse::<f64>().is_err())
}

/// Returns the words of a header in the last comment that has as many cells as the rows and names two columns at least.
fn comment_header(sample: &Sample<'_>, separator: u8, width: usize) -> Vec<String> {
    let is_named = |cell: &&str| CsvColumn::of_header(cell) != CsvColumn::Ignored;
    let headers = sample.comments().map(|comment| Cells::of(comment, separator));
    let header = headers.filter(|cells| cells.len() == width && cells.iter().filter(is_named).count() >= 2).last();
    header.map_or_else(Vec::new, |cells| cells.iter().map(str::to_owned).collect())
}

/// Returns whether a value consists of indicators of any type; the number of a version or a column is none.
fn is_indicator(value: &str) -> bool {
    value.len() >= 4 && value.parse::<f64>().is_err() && {
        let mut is_first = None;
        cell::read(None, value, &mut |result| {
            is_first.get_or_insert(result.is_ok());
        });
        is_first == Some(true)
    }
}

/// Returns whether a value is a time: not any number.
fn is_time(value: &str) -> bool {
    value.len() >= 8 && value.contains(['-', '/', ':']) && value::time(value).is_some()
}

/// Returns whether the heading of a column names references.
fn names_references(word: &str) -> bool {
    const REFERENCES: [&str; 18] = [
        "link",
        "links",
        "reference",
        "references",
        "ref",
        "refs",
        "source",
        "sources",
        "report",
        "reports",
        "permalink",
        "article",
        "blog",
        "credit",
        "credits",
        "tweet",
        "screenshot",
        "virustotal",
    ];
    const URLS: [&str; 3] = ["url", "urls", "uri"];
    let mut buffer = [0; WORD_BYTES_MAX];
    let Some(word) = normalize(word, &mut buffer) else { return false };
    let stem = URLS.iter().find_map(|url| word.strip_suffix(url)).filter(|stem| !stem.is_empty()).unwrap_or(word);
    REFERENCES.iter().any(|reference| stem.ends_with(reference))
}

/// Returns the most frequent number, and how often it is there; of equals the largest.
fn mode(numbers: &[usize]) -> (usize, usize) {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.chunk_by(|a, b| a == b).map(|equal| (equal.len(), equal[0])).max().unwrap_or_default()
}

/// Rows of a sample by which the columns are judged.
const ROWS_MAX: usize = 1000;

/// URLs on one host beside addresses that are on none of them: fewer may be pages of a malicious site.
const REFERENCES_MIN: usize = 3;

/// Bytes of a key that are not in a URL by chance.
const KEY_BYTES_MIN: usize = 6;
