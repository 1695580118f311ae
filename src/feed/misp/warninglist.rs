//! MISP warninglists: lists of poor indicators.
//!
//! They list neither bad things nor, mostly, good ones: an entry means that its presence in a report is likely a
//! mistake. They are used as guards ([`read_guards`]); as a feed they are read only with `--trusted`.
//!
//! ```text
//! {"name": …, "type": "string" | "hostname" | "cidr" | "substring" | "regex", "list": ["entry", …],
//!  "matching_attributes": ["md5", "x509-fingerprint-sha1", "domain", …]}
//! ```
//!
//! `string` entries match exactly, `hostname` entries with their subdomains. A list for certificate fingerprints yields
//! certificate keys only, even if it is for file hashes too: its entries are fingerprints, and their length determines
//! the algorithm.

use crate::{
    feed::{
        error::{FeedError, Refusal},
        format::Format,
        guard::{GuardReport, Guards},
        input::Input,
        json::{self, Choice, Json, Path, Step, Walker},
        row_sink::RowSink,
        sample::{Confidence, Sample, is_object_hash},
        value::{self, ValueError},
    },
    key::{Indicator, Ipv4Block, Ipv4BlockError, Scope},
    record::RecordType,
};

/// The refusal of a warninglist as a feed without `--trusted`.
const REFUSAL: Refusal = Refusal {
    what: "a MISP warninglist",
    why: "its entries are poor indicators, neither bad nor good",
    instead: "use it with `--guard`, or with `--trusted` if every entry is known to be good",
};

pub(in crate::feed) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let shape = json::outline(sample.text);
    let field = |name: &str| shape.iter().any(|(path, _)| path == name);
    let text_entries = shape.iter().any(|(path, text)| path == "list/[]" && text.is_some());
    let kind =
        shape.iter().any(|(path, text)| path == "type" && text.as_deref().is_some_and(|t| Kind::of(t).is_some()));
    // The list may precede the other fields and fill the sample.
    let named = field("description") || field("matching_attributes") || field("name");
    (text_entries && (kind || named) || kind && field("matching_attributes")).then_some(Confidence::Certain)
}

pub(in crate::feed) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    if !sink.options().trusted {
        return Err(FeedError::Refused(REFUSAL));
    }
    let document = input.document()?;
    let head = Head::read(&document)?;
    let Some(entry_kind) = head.entries() else {
        return Err(malformed("expected matching_attributes with types of hashes, names or addresses"));
    };
    for_each_entry(&document, &mut |number, entry| {
        let Some(entry) = entry else {
            sink.row(number);
            return sink.reject("expected a string as entry");
        };
        sink.row_with(number, entry);
        if let Some(unsupported) = head.kind.unsupported() {
            return sink.unsupported(unsupported);
        }
        if entry_kind == Entries::Objects && head.has_other_hashes() && !is_object_hash(entry) {
            return sink.unsupported("a hash of an unsupported kind");
        }
        match trusted(head.kind, entry_kind, entry) {
            Ok(indicator) => sink.list(sink.draft(indicator, RecordType::Trusted, &head.name)),
            Err(e) => sink.value_error(e),
        }
    })
}

/// Reads a warninglist as guards: `string`, `hostname` and `cidr` entries; the other types are counted as unsupported,
/// and so are the entries of lists of hashes.
pub(in crate::feed) fn read_guards(input: &mut Input<'_>, guards: &mut Guards) -> Result<GuardReport, FeedError> {
    let document = input.document()?;
    let head = Head::read(&document)?;
    let unsupported =
        head.kind.unsupported().is_some() || matches!(head.entries(), Some(Entries::Objects | Entries::Certificates));
    let mut report = GuardReport::default();
    for_each_entry(&document, &mut |_, entry| {
        let outcome = match entry {
            _ if unsupported => &mut report.unsupported,
            Some(entry) => match guard(head.kind, entry, guards) {
                Ok(()) => &mut report.entries,
                Err(ValueError::Unsupported(_)) => &mut report.unsupported,
                Err(ValueError::Rejected(_)) => &mut report.rejected,
            },
            None => &mut report.rejected,
        };
        *outcome += 1;
    })?;
    Ok(report)
}

/// The type of a list: how its entries match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Substring,
    Hostname,
    Cidr,
    Expression,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::Text,
            "substring" => Self::Substring,
            "hostname" => Self::Hostname,
            "cidr" => Self::Cidr,
            "regex" => Self::Expression,
            _ => return None,
        })
    }

    /// Describes the entries if they are unsupported.
    fn unsupported(self) -> Option<&'static str> {
        match self {
            Self::Substring => Some("a substring"),
            Self::Expression => Some("a regular expression"),
            Self::Text | Self::Hostname | Self::Cidr => None,
        }
    }
}

/// The kind of a list's entries, by its matching attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entries {
    Certificates,
    Objects,
    Addresses,
}

/// The fields of a list other than its entries.
#[derive(Debug)]
struct Head {
    name: String,
    kind: Kind,
    matching: Vec<String>,
}

impl Head {
    fn read(document: &[u8]) -> Result<Self, FeedError> {
        #[derive(Default)]
        struct Fields {
            name: String,
            kind: Option<Kind>,
            matching: Vec<String>,
        }

        impl Walker for Fields {
            fn choose(&mut self, path: &Path<'_>) -> Choice {
                match path.steps() {
                    [] => Choice::Enter,
                    [Step::Field(field)] if matches!(&**field, "name" | "type" | "matching_attributes") => Choice::Take,
                    _ => Choice::Skip,
                }
            }

            fn take(&mut self, path: &Path<'_>, value: Json<'_>) {
                if path.is(&["name"]) {
                    self.name = value.text().unwrap_or_default().into();
                } else if path.is(&["type"]) {
                    self.kind = value.text().and_then(Kind::of);
                } else {
                    self.matching = value.list().iter().filter_map(Json::text).map(str::to_owned).collect();
                }
            }
        }

        let mut fields = Fields::default();
        json::walk(document, &mut fields).map_err(malformed)?;
        let kind =
            fields.kind.ok_or_else(|| malformed("expected a type: string, hostname, cidr, substring or regex"))?;
        Ok(Self { name: fields.name, kind, matching: fields.matching })
    }

    /// Returns whether the list is also for hashes that are not lookup keys.
    fn has_other_hashes(&self) -> bool {
        self.matching.iter().any(|attribute| ["sha224", "sha384", "sha512", "ssdeep"].contains(&&**attribute))
    }

    /// Returns the kind of the entries; `None` if the list is for other attributes.
    fn entries(&self) -> Option<Entries> {
        let any = |is: fn(&str) -> bool| self.matching.iter().any(|attribute| is(attribute));
        if self.kind != Kind::Text {
            return Some(Entries::Addresses);
        }
        if any(|attribute| attribute.starts_with("x509-fingerprint-")) {
            Some(Entries::Certificates)
        } else if any(|attribute| matches!(attribute, "md5" | "sha1" | "sha256")) {
            Some(Entries::Objects)
        } else if self.matching.is_empty()
            || any(|attribute| ["domain", "hostname", "url", "uri", "ip-"].iter().any(|of| attribute.starts_with(of)))
        {
            Some(Entries::Addresses)
        } else {
            None
        }
    }
}

/// Calls `each` with the number (from 1) of every entry and the entry, or `None` if it is not a string.
fn for_each_entry(document: &[u8], each: &mut dyn FnMut(u64, Option<&str>)) -> Result<(), FeedError> {
    struct List<'e>(&'e mut dyn FnMut(u64, Option<&str>));

    impl Walker for List<'_> {
        fn choose(&mut self, path: &Path<'_>) -> Choice {
            if path.steps().is_empty() || path.is(&["list"]) {
                Choice::Enter
            } else if path.is(&["list", "[]"]) {
                Choice::Take
            } else {
                Choice::Skip
            }
        }

        fn take(&mut self, path: &Path<'_>, value: Json<'_>) {
            if let [_, Step::Element(number)] = path.steps() {
                (self.0)(number + 1, value.text());
            }
        }
    }

    json::walk(document, &mut List(each)).map_err(malformed)
}

fn trusted(kind: Kind, entries: Entries, entry: &str) -> Result<Indicator, ValueError> {
    match (kind, entries) {
        (Kind::Cidr, _) => value::ipv4_port(entry).map(|(indicator, _)| indicator),
        (_, Entries::Certificates) => value::certificate(entry),
        (_, Entries::Objects) => value::object_hash(entry),
        (Kind::Hostname, _) => value::domain(entry, Scope::Domain),
        _ if entry.contains("://") => value::web_exact(entry).map(|(indicator, _)| indicator),
        _ => value::domain(entry, Scope::Host),
    }
}

fn guard(kind: Kind, entry: &str, guards: &mut Guards) -> Result<(), ValueError> {
    let block = match value::ipv4_port(entry) {
        Ok((Indicator::Ipv4(block), None)) => Some(block),
        // A guard that is a few bits too wide only withholds records; a missing one causes false positives.
        _ => match entry.parse::<Ipv4Block>() {
            Err(Ipv4BlockError::HostBits { block, .. }) => Some(block),
            _ => None,
        },
    };
    if let Some(block) = block {
        guards.add_block(block);
        return Ok(());
    }
    if kind == Kind::Cidr {
        return value::ipv4_port(entry).map(|_| ());
    }
    value::domain(entry, Scope::Host)?;
    // A leading dot includes subdomains, whatever the list's type.
    let added = match entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')) {
        Some(name) => guards.add_hostname(name),
        None if kind == Kind::Hostname => guards.add_hostname(entry),
        None => guards.add_exact(entry),
    };
    if added { Ok(()) } else { Err(ValueError::Rejected("expected a host name".into())) }
}

fn malformed(why: impl ToString) -> FeedError {
    FeedError::Malformed { format: Format::MispWarninglist, why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Report, testing};

    fn list(kind: &str, matching: &str, list: &str) -> String {
        format!(
            r#"{{"description": "d", "list": [{list}], "matching_attributes": [{matching}], "name": "A list", "type": "{kind}", "version": 1}}"#
        )
    }

    fn trusted(document: &str) -> (Vec<String>, Report) {
        let mut options = testing::options();
        options.trusted = true;
        testing::try_collect(document.as_bytes(), "list.json", None, &options).unwrap()
    }

    #[test]
    fn read_as_a_feed_only_when_trusted() {
        let document = list("cidr", "\"ip-src\"", "\"198.51.100.0/24\"");
        let error = testing::try_collect(document.as_bytes(), "", None, &testing::options()).unwrap_err();
        assert!(error.to_string().contains("--guard") && error.to_string().contains("--trusted"), "{error}");
    }

    #[test]
    fn fingerprints_yield_certificate_keys_only() {
        let digests: Vec<_> =
            [32, 40, 64, 128].iter().map(|&digits| format!("\"{}\"", "ab".repeat(digits / 2))).collect();
        let both = "\"md5\", \"sha1\", \"x509-fingerprint-sha1\"";
        let (entries, report) = trusted(&list("string", both, &digests.join(",")));
        let kinds: Vec<_> = entries.iter().map(|l| l.split(':').next().unwrap()).collect();
        assert_eq!(kinds, ["cert-md5", "cert-sha1", "cert-sha256"]);
        assert!(entries.iter().all(|l| l.ends_with(" trusted \"A list\"")), "{entries:?}");
        assert_eq!(report.records + report.unsupported + report.rejected, 4);
        let (entries, _) = trusted(&list("string", "\"md5\", \"sha256\"", &digests.join(",")));
        let kinds: Vec<_> = entries.iter().map(|l| l.split(':').next().unwrap()).collect();
        assert_eq!(kinds, ["md5", "sha1", "sha256"]);
        let (_, report) = trusted(&list("string", "\"md5\", \"sha224\"", "\"3::\", \"abcd\""));
        assert_eq!(report.unsupported, 2);
    }

    #[test]
    fn names_and_blocks() {
        let names = r#""good.example", ".below.example", 5, "x.example""#;
        let (entries, report) = trusted(&list("string", "\"domain\"", names));
        assert_eq!(
            entries,
            [
                "host:good.example trusted \"A list\"",
                "domain:below.example trusted \"A list\"",
                "host:x.example trusted \"A list\"",
            ]
        );
        assert_eq!((report.rows, report.rejected, report.refusals[0].line), (4, 1, 3));
        let (entries, _) = trusted(&list("hostname", "\"domain\"", "\"good.example\""));
        assert_eq!(entries, ["domain:good.example trusted \"A list\""]);
        let (entries, report) = trusted(&list("cidr", "\"ip-src\"", r#""198.51.100.0/24", "2001:db8::/32""#));
        assert_eq!(entries, ["ipv4:198.51.100.0/24 trusted \"A list\""]);
        assert_eq!(report.unsupported, 1);
        for kind in ["substring", "regex"] {
            assert_eq!(trusted(&list(kind, "\"domain\"", "\"a\", \"b\"")).1.unsupported, 2);
        }
    }

    #[test]
    fn a_long_list_may_precede_the_other_fields() {
        let entries = vec!["\"198.51.100.7\""; 10_000].join(",");
        let document = format!(r#"{{"description": "d", "list": [{entries}], "name": "n", "type": "cidr"}}"#);
        assert_eq!(trusted(&document).1.records, 10_000);
    }

    #[test]
    fn guards_withhold_bad_records() {
        let mut guards = Guards::default();
        let mut guard = |kind: &str, matching: &str, entries: &str| {
            let report = guards.read(list(kind, matching, entries).as_bytes(), "list.json").unwrap();
            (report.entries, report.unsupported, report.rejected)
        };
        assert_eq!(guard("hostname", "\"domain\"", "\"good.example\", 5"), (1, 0, 1));
        assert_eq!(guard("string", "\"domain\"", "\"only.example\", \".below.example\", \"two words\""), (2, 0, 1));
        assert_eq!(guard("cidr", "\"ip-src\"", "\"9.9.9.9/24\", \"2001:db8::/32\", \"x\""), (1, 1, 1));
        assert_eq!(guard("regex", "\"domain\"", "\"x\""), (0, 1, 0));
        assert_eq!(guard("string", "\"md5\"", "\"x\""), (0, 1, 0));
        let feed = "www.good.example\nonly.example\nwww.only.example\nwww.below.example\nbad.example\n";
        let (entries, _) =
            testing::collect_guarded(feed.as_bytes(), "", Some(Format::Domains), &testing::options(), &guards).unwrap();
        assert_eq!(entries, ["domain:www.only.example malicious-address", "domain:bad.example malicious-address"]);
        let feed = "9.9.9.0/26\n9.9.8.0/23\n8.8.4.4\n";
        let (entries, _) =
            testing::collect_guarded(feed.as_bytes(), "", Some(Format::Ipv4List), &testing::options(), &guards)
                .unwrap();
        assert_eq!(entries.len(), 1, "{entries:?}");
    }

    #[test]
    fn malformed_lists_are_errors() {
        let mut options = testing::options();
        options.trusted = true;
        for document in [r#"{"list": ["a"], "type": "what"}"#, r#"{"list": ["a"]"#, "[]", "7"] {
            let error =
                testing::try_collect(document.as_bytes(), "", Some(Format::MispWarninglist), &options).unwrap_err();
            assert!(matches!(error, FeedError::Malformed { .. }), "{error}");
        }
    }
}
