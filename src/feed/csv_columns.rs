//! CSV and TSV of any columns: named on the command line, or by a header whose words are well known.
//!
//! A row lists every indicator that its columns hold, with its name, time and port. Where a column of types stands, it
//! says what the key is; without one the key's own shape does. Hashes of files are malware, certificates bad
//! certificates, addresses malicious addresses. Of a header every other column is left alone: import hashes, fuzzy
//! hashes and serial numbers look like keys and are none.

use super::{
    batches,
    columns::CsvColumn,
    error::FeedError,
    input::Input,
    row_sink::RowSink,
    rows::{Cells, RowKind, Rows},
    sample::{Confidence, Sample},
    value::{self, ValueError, WithPort, null},
};
use crate::{
    key::{Indicator, Scope},
    record::RecordType,
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let first = sample.data_lines().next()?;
    let cells = Cells::of(first, separator(first));
    // A single word above a list is a heading, which need not hold for all of it.
    (cells.len() > 1 && header(&cells).is_some()).then_some(Confidence::Likely)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let given = sink.options().columns.as_deref();
    if let Some(columns) = given
        && !columns.iter().any(|column| column.is_key())
    {
        let why = "none of the columns holds an indicator: name one key, hash, certificate, url, domain, host or ip";
        return Err(FeedError::Options { why: why.into() });
    }
    let first = first_row(input);
    let mut rows = Rows::new(input, separator(&first));
    let Some(columns) = columns(&mut rows, sink, given)? else { return Ok(()) };
    let places = Places::of(&columns);
    batches::read(&mut rows, sink, |cells, sink| read_row(cells, &places, sink))
}

/// Reads as far as the columns are known: the first row, if it is a header. `None` when there is no row.
fn columns(
    rows: &mut Rows<'_, '_>,
    sink: &mut RowSink<'_>,
    given: Option<&[CsvColumn]>,
) -> Result<Option<Vec<CsvColumn>>, FeedError> {
    while let Some(found) = rows.next()? {
        match found {
            RowKind::Comment => {}
            RowKind::Unclosed => {
                sink.row_with(rows.number(), rows.line_text());
                sink.reject("a quote that is never closed");
            }
            RowKind::Row => {
                let named = header(rows.cells());
                if named.is_none() {
                    rows.put_back();
                }
                let Some(columns) = given.map(<[_]>::to_vec).or(named) else {
                    let why = "the first row names no column that is known; name the columns with `--columns`";
                    return Err(FeedError::Options { why: why.into() });
                };
                return Ok(Some(columns));
            }
        }
    }
    Ok(None)
}

/// The columns that a header names; `None` when the cells are none, or name nothing that is listed.
fn header(cells: &Cells) -> Option<Vec<CsvColumn>> {
    let columns: Vec<_> = cells.iter().map(CsvColumn::of_header).collect();
    if !columns.iter().any(|column| column.is_key()) {
        return None;
    }
    // `url` and `domain` stand in columns of types too: then an indicator stands beside them.
    let is_data = |cell: &str| cell.contains("://") || cell.parse::<f64>().is_err() && value::any(cell).is_ok();
    (!cells.iter().any(is_data)).then_some(columns)
}

/// Where the columns of each kind stand, found once for all rows.
struct Places {
    keys: Vec<(usize, CsvColumn)>,
    kind: Vec<usize>,
    record_type: Vec<usize>,
    name: Vec<usize>,
    id: Vec<usize>,
    time: Vec<usize>,
    expiry: Vec<usize>,
    port: Vec<usize>,
    confidence: Vec<usize>,
    score: Vec<usize>,
}

impl Places {
    fn of(columns: &[CsvColumn]) -> Self {
        let placed = || columns.iter().copied().enumerate();
        let of = |wanted| placed().filter(|&(_, column)| column == wanted).map(|(at, _)| at).collect();
        Self {
            keys: placed().filter(|(_, column)| column.is_key()).collect(),
            kind: of(CsvColumn::Type),
            record_type: of(CsvColumn::RecordType),
            name: of(CsvColumn::Name),
            id: of(CsvColumn::Id),
            time: of(CsvColumn::Time),
            expiry: of(CsvColumn::Expiry),
            port: of(CsvColumn::Port),
            confidence: of(CsvColumn::Confidence),
            score: of(CsvColumn::Score),
        }
    }
}

fn read_row(cells: &Cells, places: &Places, sink: &mut RowSink<'_>) {
    let first = |places: &[usize]| places.iter().find_map(|&at| null(cells.get(at)));
    let number = |places| first(places).and_then(|text| text.parse().ok());
    let kind = first(&places.kind);
    let record_type: Option<RecordType> = first(&places.record_type).and_then(|text| text.parse().ok());
    for &(at, column) in &places.keys {
        let Some(value) = null(cells.get(at)) else { continue };
        match indicator(column, kind, value) {
            Ok((indicator, port)) => {
                let record_type = record_type.unwrap_or_else(|| default_type(&indicator));
                let mut draft = sink.draft(indicator, record_type, first(&places.name).unwrap_or_default());
                draft.id = number(&places.id);
                draft.timestamp = first(&places.time).and_then(value::time);
                draft.expiry = first(&places.expiry).and_then(value::time);
                draft.port = first(&places.port).and_then(|text| text.parse().ok()).filter(|&port| port != 0).or(port);
                draft.confidence = number(&places.confidence).and_then(|confidence| u8::try_from(confidence).ok());
                draft.score = number(&places.score).and_then(|score| u32::try_from(score).ok());
                sink.list(draft);
            }
            Err(why) => sink.value_error(why),
        }
    }
}

fn indicator(column: CsvColumn, kind: Option<&str>, value: &str) -> Result<WithPort, ValueError> {
    let plain = |indicator| (indicator, None);
    match column {
        CsvColumn::Hash => value::object_hash(value).map(plain),
        CsvColumn::Certificate => value::certificate(value).map(plain),
        CsvColumn::Url => value::web_exact(value),
        CsvColumn::Domain => value::domain(value, Scope::Domain).map(plain),
        CsvColumn::Host => value::domain(value, Scope::Host).map(plain),
        CsvColumn::Ip => value::ipv4_port(value),
        _ => match kind {
            Some(kind) => typed(&kind.to_ascii_lowercase(), value),
            None => value::any(value),
        },
    }
}

/// The indicator of a value whose type is named, in lower case, in the words of feeds.
fn typed(kind: &str, value: &str) -> Result<WithPort, ValueError> {
    let column = match kind {
        "hash" | "file" | "filehash" | "file hash" | "md5" | "sha1" | "sha-1" | "sha256" | "sha-256" | "md5_hash"
        | "sha1_hash" | "sha256_hash" | "filehash-md5" | "filehash-sha1" | "filehash-sha256" => CsvColumn::Hash,
        "certificate"
        | "cert"
        | "cert-sha1"
        | "cert-sha256"
        | "x509-fingerprint-sha1"
        | "x509-fingerprint-sha256"
        | "x509-fingerprint-md5" => CsvColumn::Certificate,
        "url" | "uri" => CsvColumn::Url,
        "domain" | "domains" | "domain-name" | "fqdn" => CsvColumn::Domain,
        "host" | "hostname" => CsvColumn::Host,
        "ip" | "ips" | "ipv4" | "ipv4-addr" | "ip address" | "ip-dst" | "ip-src" | "ip:port" | "cidr" => CsvColumn::Ip,
        "ipv6" | "ipv6-addr" => return Err(ValueError::Unsupported("an IPv6 address")),
        "filename" | "file name" | "filepath" | "file path" => return Err(ValueError::Unsupported("a file name")),
        "email" | "mail" | "email-src" | "email address" => return Err(ValueError::Unsupported("a mail address")),
        "imphash" | "ssdeep" | "tlsh" | "sha512" | "ja3" => {
            return Err(ValueError::Unsupported("a hash of another kind"));
        }
        _ => return Err(ValueError::Unsupported("an indicator of another type")),
    };
    indicator(column, None, value)
}

fn default_type(indicator: &Indicator) -> RecordType {
    match indicator {
        Indicator::Digest(digest) if digest.kind().prefix().starts_with("cert-") => RecordType::BadCertificate,
        Indicator::Digest(_) => RecordType::Malware,
        _ => RecordType::MaliciousAddress,
    }
}

/// What separates the cells of a row: of comma, tab, semicolon and bar that which makes the most cells.
fn separator(row: &str) -> u8 {
    // Of equals the last counts, so that the comma is last.
    b"|;\t,".iter().copied().max_by_key(|&separator| Cells::of(row, separator).len()).unwrap_or(b',')
}

/// The first row of the sample, which is where the separator shows.
fn first_row(input: &Input<'_>) -> String {
    let text = super::input::decode(input.head().0).into_owned();
    let mut rows = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    rows.next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Format, testing::*};

    fn with_columns(feed: &str, columns: &str) -> Result<(Vec<String>, super::super::Report), FeedError> {
        let mut options = options();
        options.columns = Some(columns.split(',').map(|name| name.parse().unwrap()).collect());
        try_collect(feed.as_bytes(), "", None, &options)
    }

    #[test]
    fn certificates_beside_hashes() {
        let (hash, cert) = ("0a".repeat(32), "0B".repeat(20));
        let feed = format!(
            "SHA256,Package Name,Certificate,Version,App\n{hash},com.example.app,{cert},9,Some App\n{hash},,,,Other\n"
        );
        let (listings, report) = collect(feed.as_bytes(), "samples.csv", None);
        assert_eq!(report.format, Format::Csv);
        assert_eq!(
            listings,
            [
                format!("sha256:{hash} malware \"Some App\""),
                format!("cert-sha1:{} bad-certificate \"Some App\"", cert.to_lowercase()),
                format!("sha256:{hash} malware \"Other\""),
            ]
        );
        assert_eq!((report.rows, report.rejected), (2, 0));
    }

    #[test]
    fn the_type_column_says_what_the_key_is() {
        let feed = "Type,Indicator,Name\nDomain,a[.]example[.]com,\nFilename,b.exe,\nIPv4,9.9.9.9,X\nURL,c.example.com,\n\
                    sha1,abc,\n,,\n";
        let (listings, report) = collect(feed.as_bytes(), "", None);
        assert_eq!(
            listings,
            [
                "domain:a.example.com malicious-address",
                "ipv4:9.9.9.9 malicious-address \"X\"",
                "exact:c.example.com/ malicious-address"
            ]
        );
        assert_eq!((report.rows, report.unsupported, report.rejected), (5, 1, 1));
    }

    #[test]
    fn look_alikes_are_no_keys() {
        let feed =
            format!("md5,imphash,ssdeep,serial\n{},{},3:a:b,{}\n", "0a".repeat(16), "0b".repeat(16), "0c".repeat(16));
        let (listings, _) = collect(feed.as_bytes(), "", None);
        assert_eq!(listings, [format!("md5:{} malware", "0a".repeat(16))]);
    }

    #[test]
    fn columns_by_name() {
        let feed = "2026-01-02 03:04:05;x;url;http://a.example.com:81/;Some; name\n2026-01-02;x;ip;9.9.9.9;b\n";
        let (listings, report) = with_columns(feed, "time,-,type,key,name").unwrap();
        assert_eq!(report.format, Format::Csv);
        assert_eq!(
            listings,
            [
                "exact:a.example.com/ malicious-address \"Some\" at 2026-01-02T03:04:05Z port 81",
                "ipv4:9.9.9.9 malicious-address \"b\" at 2026-01-02T00:00:00Z"
            ]
        );
        assert!(matches!(with_columns(feed, "time,-,type"), Err(FeedError::Options { .. })));
        assert!("keys".parse::<CsvColumn>().is_err());
        assert_eq!("sha256".parse(), Ok(CsvColumn::Hash));
        // A header is passed over when the columns are named.
        let (listings, report) = with_columns("when\tdomain\n2026-01-02\ta.example.com\n", "time,host").unwrap();
        assert_eq!(listings, ["host:a.example.com malicious-address at 2026-01-02T00:00:00Z"]);
        assert_eq!(report.rows, 1);
    }
}
