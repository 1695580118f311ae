//! CSV and TSV with any columns: named on the command line, or found by their header and content (see
//! [`column_roles`]).
//!
//! A row lists every indicator in its key columns, with its name, time and port; several may be in one cell (see
//! [`cell`]). A column of types determines the type of the key; without one, the form of the key does. Hashes of files
//! are malware, certificates bad certificates, addresses malicious addresses. All other columns are ignored: import
//! hashes, fuzzy hashes and serial numbers look like keys and are none. A row whose status is a verdict of goodness, or
//! which is not meant for detection (`to_ids`), is withheld.

use super::{
    batches::{self, OneSection},
    cell, column_roles,
    column_roles::Roles,
    columns::CsvColumn,
    error::FeedError,
    input::Input,
    row_sink::RowSink,
    rows::{Cells, RowKind, Rows},
    sample::{Confidence, Sample},
    type_words::TypeWord,
    value::{self, ValueError, null},
    verdict::is_good_status,
};
use crate::record::RecordType;

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    column_roles::detect(sample)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let given = sink.options().columns.as_deref();
    if let Some(columns) = given
        && !columns.iter().any(|column| column.is_key())
    {
        let why = "none of the columns holds an indicator: name one key, hash, certificate, url, domain, host or ip";
        return Err(FeedError::Options { why: why.into() });
    }
    let (separator, roles) = columns(input, given)?;
    let mut rows = Rows::new(input, separator);
    if roles.has_header {
        skip_header(&mut rows, sink)?;
    }
    let places = Places::of(&roles);
    batches::read(&mut rows, sink, OneSection(&places), |cells, _, places, sink| read_row(cells, places, sink))
}

/// Returns the separator and the columns of an input.
fn columns(input: &Input<'_>, given: Option<&[CsvColumn]>) -> Result<(u8, Roles), FeedError> {
    input.sample(|sample| {
        let roles = match given {
            Some(columns) => column_roles::given(sample, columns),
            None => column_roles::of(sample).map_err(|why| FeedError::Options { why })?,
        };
        Ok((column_roles::separator(sample), roles))
    })
}

/// Reads up to and including the first row.
fn skip_header(rows: &mut Rows<'_, '_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    while let Some(found) = rows.next_text()? {
        match found {
            RowKind::Comment => {}
            RowKind::Unclosed => {
                sink.row_with(rows.number(), rows.line_text());
                sink.reject("a quote that is never closed");
            }
            RowKind::Row => break,
        }
    }
    Ok(())
}

/// The positions of the columns of each kind, found once for all rows.
struct Places {
    are_types_known: bool,
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
    status: Vec<usize>,
    to_ids: Vec<usize>,
}

impl Places {
    fn of(roles: &Roles) -> Self {
        let placed = || roles.columns.iter().copied().enumerate();
        let of = |wanted| placed().filter(|&(_, column)| column == wanted).map(|(at, _)| at).collect();
        Self {
            are_types_known: roles.are_types_known,
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
            status: of(CsvColumn::Status),
            to_ids: of(CsvColumn::ToIds),
        }
    }
}

fn read_row(cells: &Cells, places: &Places, sink: &mut RowSink<'_>) {
    let first = |places: &[usize]| places.iter().find_map(|&at| null(cells.get(at)));
    let number = |places| first(places).and_then(|text| text.parse().ok());
    if places.status.iter().any(|&at| is_good_status(cells.get(at))) {
        return sink.withhold("its status is a verdict that it is good");
    }
    if first(&places.to_ids).is_some_and(|flag| ["0", "false", "no"].iter().any(|no| flag.eq_ignore_ascii_case(no))) {
        return sink.withhold("not for detection (to_ids)");
    }
    let word = first(&places.kind);
    let kind = word.and_then(TypeWord::of);
    let is_unknown = places.are_types_known && word.is_some() && kind.is_none();
    let record_type: Option<RecordType> = first(&places.record_type).and_then(|text| text.parse().ok());
    for &(at, column) in &places.keys {
        let Some(value) = null(cells.get(at)) else { continue };
        if column == CsvColumn::Key && is_unknown {
            sink.value_error(ValueError::Unsupported("an indicator of an unsupported type"));
            continue;
        }
        let kind = if column == CsvColumn::Key { kind } else { column.key_type() };
        cell::read(kind, value, &mut |result| match result {
            Ok((indicator, port)) => {
                let record_type = record_type.unwrap_or_else(|| value::listed_type(&indicator));
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
        });
    }
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

    /// Reads a table and returns its records without their names.
    fn keys(feed: &str) -> Vec<String> {
        let (entries, report) = collect(feed.as_bytes(), "", None);
        assert_eq!(report.format, Format::Csv, "{feed}");
        entries.iter().map(|entry| entry.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    const TYPED: [[&str; 3]; 5] = [
        ["url", "hxxp://a.example.com/x", "seen in May"],
        ["domain", "b.example.com", "a panel, see report"],
        ["ip", "9.9.9.9", ""],
        ["sha256", "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a", "a loader"],
        ["ssdeep", "3:abc:def", "fuzzy"],
    ];

    fn typed_keys() -> [String; 4] {
        let hash = TYPED[3][1];
        ["exact:a.example.com/x".into(), "domain:b.example.com".into(), "ipv4:9.9.9.9".into(), format!("sha256:{hash}")]
    }

    /// Type-key-note tables in every order of columns, with every header and without one.
    #[test]
    fn header_against_content_type_key_note_in_any_order() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let row = |cells: [&str; 3]| {
                let cells = order.map(|at| cells[at]);
                cells.map(|cell| if cell.contains(',') { format!("\"{cell}\"") } else { cell.into() }).join(",") + "\n"
            };
            let rows: String = TYPED.iter().map(|&cells| row(cells)).collect();
            for header in [
                None,
                Some(["Indicator", "Data", "Note"]),
                Some(["Indicator_type", "Data", "Note"]),
                Some(["entity_type", "value", "description"]),
                Some(["Sort", "Thing", "Remark"]),
            ] {
                let header = header.map(row).unwrap_or_default();
                for comment in ["", "# A list of indicators, by somebody\n# of 2026\n"] {
                    assert_eq!(keys(&format!("{comment}{header}{rows}")), typed_keys(), "{order:?} {header:?}");
                }
            }
        }
    }

    #[test]
    fn header_against_content_a_column_of_other_things_is_no_key() {
        // The heading `url` is above something else, and the keys are below a heading that names none.
        let feed = "Address,url\na.example.com,yes\nb.example.com,no\nhttp://c.example.com/x,no\n";
        assert_eq!(keys(feed), ["domain:a.example.com", "domain:b.example.com", "exact:c.example.com/x"]);
        let feed = "Where;url;When\n9.9.9.9;payload delivery;2026-01-02\n9.9.9.10;C2;2026-01-03\n";
        assert_eq!(keys(feed), ["ipv4:9.9.9.9", "ipv4:9.9.9.10"]);
        // A row of few cannot be parsed: a broken value, not another content.
        let feed = "domain,note\na.example.com,\nb.example.com,\nc.example.com,\nd_example,\n";
        assert_eq!(keys(feed).len(), 3);
    }

    #[test]
    fn header_against_content_a_first_row_of_data_is_data() {
        let feed = "url,http://a.example.com/x,malware\ndomain,b.example.com,name\n";
        assert_eq!(keys(feed), ["exact:a.example.com/x", "domain:b.example.com"]);
        // A header is none where there is one already; and it is never data.
        let (entries, report) = collect(b"type,value,note\ndomain,b.example.com,x\n", "", None);
        assert_eq!((entries.len(), report.rows), (1, 1));
        let feed = "hash,name\n0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a,hash\n";
        let (entries, report) = with_columns(feed, "hash,name").unwrap();
        assert_eq!((entries.len(), report.rows), (1, 1));
    }

    #[test]
    fn header_against_content_ambiguous_tables_are_refused_with_the_option() {
        for (feed, option) in [
            ("9.9.9.9,a.example.com,2026-01-02\n9.9.9.10,b.example.com,2026-01-03\n", "`--columns key,-,time`"),
            ("a,b\nc,d\n", "`--columns key`"),
            ("url,note\nsome,words\nmore,words\n", "`--columns key`"),
            // A column is not dropped where most of it are keys.
            ("md5,ip\n,9.9.9.9\n,9.9.9.10\n,one\n,two\n,9.9.9.11\n", "`--columns -,key`"),
        ] {
            let error = try_collect(feed.as_bytes(), "", Some(Format::Csv), &options()).unwrap_err();
            assert!(matches!(error, FeedError::Options { .. }), "{error}");
            assert!(error.to_string().contains(option), "{error}");
        }
        // A table with such a header is not read as a list of whatever comes first.
        let error = try_collect(b"url,note,x\nsome,words,1\nmore,words,2\n", "", None, &options()).unwrap_err();
        assert!(error.to_string().contains("`--columns "), "{error}");
    }

    #[test]
    fn header_against_content_references_beside_keys_are_no_keys() {
        let (hash, other) = ("0a".repeat(16), "0b".repeat(16));
        let report = "https://reports.example.com/file/";
        let by_content = format!("{hash},{report}{hash}\n{other},{report}{other}\n");
        for header in ["MD5,URL\n", "hash,reference\n", "md5,link\n", "Hash,Source URL\n"] {
            assert_eq!(keys(&format!("{header}{by_content}")), [format!("md5:{hash}"), format!("md5:{other}")]);
        }
        let (entries, _) = try_collect(by_content.as_bytes(), "", Some(Format::Csv), &options()).unwrap();
        assert_eq!(entries.len(), 2);
        let feed = "domain,url\na[.]example[.]com,https://report.example.org/1\nb[.]example[.]com,https://report.example.org/2\n";
        assert_eq!(keys(feed), ["domain:a.example.com", "domain:b.example.com"]);
        let feed = "Address,url\n9.9.9.9,https://report.example.org/1\n9.9.9.10,https://report.example.org/2\n\
                    c.example.com,https://report.example.org/3\n";
        assert_eq!(keys(feed), ["ipv4:9.9.9.9", "ipv4:9.9.9.10", "domain:c.example.com"]);
        // URLs of the addresses themselves are keys.
        let feed = "domain,url\na.example.com,http://a.example.com/1\nb.example.com,http://b.example.com/2\n\
                    c.example.com,http://c.example.com/3\n";
        assert_eq!(keys(feed).len(), 6);
        // The only column of addresses is the key, whatever it is called.
        let feed = "date,link\n2026-01-02,http://a.example.com/x\n2026-01-03,http://b.example.com/\n";
        let (entries, _) = try_collect(feed.as_bytes(), "", Some(Format::Csv), &options()).unwrap();
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn statuses_of_goodness_withhold_and_comments_do_not() {
        for column in ["status", "Verdict", "classification", "Result"] {
            let feed = format!(
                "domain,{column},comment\na.example.com,malicious,trojanized legit app\nb.example.com,benign,x\n\
                 c.example.com,False Positive,y\nd.example.com,malicious,benign\n"
            );
            let (entries, report) = collect(feed.as_bytes(), "", None);
            assert_eq!((entries.len(), report.withheld), (2, 2), "{column}");
        }
        let feed = "type,value,to_ids\ndomain,a.example.com,1\ndomain,b.example.com,0\ndomain,c.example.com,False\n";
        let (entries, report) = collect(feed.as_bytes(), "", None);
        assert_eq!((entries.len(), report.withheld), (1, 2));
    }

    #[test]
    fn columns_side_by_side_and_cells_of_several_give_all() {
        let (md5, sha1, sha256) = ("0a".repeat(16), "0b".repeat(20), "0c".repeat(32));
        let expected = [format!("md5:{md5}"), format!("sha1:{sha1}"), format!("sha256:{sha256}")];
        assert_eq!(keys(&format!("MD5,SHA-1,SHA256 Hash,name\n{md5},{sha1},{sha256},x\n")), expected);
        assert_eq!(keys(&format!("hashes,name\n\"{md5},{sha1},{sha256}\",x\n")), expected);
        assert_eq!(keys(&format!("indicator,name\n{md5} {sha1}; {sha256},x\n")), expected);
    }

    #[test]
    fn types_of_every_publisher() {
        let sha1 = "0b".repeat(20);
        for (kind, value, expected) in [
            ("FileHash-SHA1", &*sha1, format!("sha1:{sha1} malware")),
            ("StixFile", &sha1, format!("sha1:{sha1} malware")),
            ("X509-Certificate", &sha1, format!("cert-sha1:{sha1} bad-certificate")),
            ("filename|sha1", &format!("x.exe|{sha1}"), format!("sha1:{sha1} malware")),
            ("ip-dst|port", "9.9.9.9|443", "ipv4:9.9.9.9 malicious-address port 443".into()),
            ("Range", "9.9.9.0/24", "ipv4:9.9.9.0/24 malicious-address".into()),
            ("Domain-Name", "a.example.com", "domain:a.example.com malicious-address".into()),
            ("link", "http://a.example.com/x", "exact:a.example.com/x malicious-address".into()),
        ] {
            let (entries, _) = collect(format!("type,value\n{kind},{value}\n").as_bytes(), "", None);
            assert_eq!(entries, [expected], "{kind}");
        }
        // Kinds of threats are no types of indicators.
        let feed = "domain,type\na.example.com,phishing\nb.example.com,malware\n";
        let (entries, _) = collect(feed.as_bytes(), "", None);
        assert_eq!(entries, ["domain:a.example.com phishing", "domain:b.example.com malware"]);
        let feed = "ipAddress,abuse_confidence_score\n9.9.9.9,100\n9.9.9.10,20\n";
        let mut options = options();
        options.min_confidence = Some(50);
        assert_eq!(try_collect(feed.as_bytes(), "", None, &options).unwrap().0.len(), 1);
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
