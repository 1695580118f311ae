//! STIX 2.0 and 2.1: indicators of a bundle.
//!
//! An indicator is one row, however many values its pattern lists ([`pattern`] defines which patterns list values).
//! Objects other than indicators (observed files, infrastructure) are descriptive and yield no row.
//!
//! The input is a bundle, a TAXII envelope (`{"objects": […]}`), a list of objects, or a single indicator. Of several
//! versions of an indicator only the newest is used, which may be the one that revokes it.
//!
//! - **Name**: the first present of: the malware or tool that a relationship links it to by `indicates`, the first
//!   label that names a family, the indicator's own name unless it only repeats the value, the name of the report, the
//!   first label that names a threat.
//! - **Type**: a certificate is a bad certificate; a file is malware, unless labels name adware or riskware; an address
//!   has the type that its labels and kill chain name, else malicious address.
//! - **Source**: the identity that created the indicator (`created_by_ref`), else the one that created the report.
//! - IDs are UUIDs, which do not fit a record ID: they are derived.
//!
//! <https://docs.oasis-open.org/cti/stix/v2.1/os/stix-v2.1-os.html>

mod pattern;

use std::collections::HashMap;

use self::pattern::{Branch, Comparison, Literal, Operator};
use super::{
    error::FeedError,
    format::Format,
    input::Input,
    json::{self, Choice, Json, Path, Step, Walker},
    row_sink::RowSink,
    sample::{Confidence, Sample},
    source_name, tags,
    type_words::TypeWord,
    value::{self, ValueError, WithPort},
};
use crate::{
    key::{DigestKind, Indicator, Scope},
    limits::NAME_BYTES_MAX,
    record::RecordType,
    timestamp::Timestamp,
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let shape = json::outline(sample.text);
    let text = |of: &str| shape.iter().find(|(path, _)| path == of).and_then(|(_, text)| text.as_deref());
    let is_object = |prefix: &str| {
        let id = text(&format!("{prefix}id")).unwrap_or_default();
        // IDs such as `indicator--` with a UUID are unique to STIX.
        text(&format!("{prefix}type")).is_some_and(|kind| id.strip_prefix(kind).is_some_and(|id| id.starts_with("--")))
    };
    let bundle = text("type") == Some("bundle") || text("id").is_some_and(|id| id.starts_with("bundle--"));
    (bundle || ["", "objects/[]/", "[]/"].iter().any(|prefix| is_object(prefix))).then_some(Confidence::Certain)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let document = input.document()?;
    let malformed = |e: serde_json::Error| FeedError::Malformed { format: Format::Stix, why: e.to_string() };
    let mut context = Context::default();
    json::walk(&document, &mut context).map_err(malformed)?;
    if context.is_single_indicator {
        let value = json::parse(&document).map_err(malformed)?;
        indicator(sink, 1, &value, &context);
        return Ok(());
    }
    json::walk(&document, &mut Indicators { context, sink, rows: 0 }).map_err(malformed)
}

/// Returns whether a path is that of an object of a bundle or a list.
fn is_object(path: &Path<'_>) -> bool {
    path.is(&["objects", "[]"]) || path.is(&["[]"])
}

fn choose(path: &Path<'_>) -> Choice {
    if path.steps().is_empty() || path.is(&["objects"]) {
        Choice::Enter
    } else if is_object(path) || path.is(&["type"]) {
        Choice::Take
    } else {
        Choice::Skip
    }
}

/// The first pass, for the context of indicators.
#[derive(Debug, Default)]
struct Context {
    is_single_indicator: bool,
    /// The newest version of every indicator, by ID.
    versions: HashMap<String, Version>,
    /// The ID of the malware or tool that an indicator indicates, by the indicator's ID.
    indicated: HashMap<String, String>,
    /// The names of malware and tools, by ID.
    names: HashMap<String, String>,
    /// The source names of identities, by ID.
    publishers: HashMap<String, String>,
    /// The ID of the identity that created the report.
    reporter: Option<String>,
    /// The name of the report; empty if there are several.
    report: String,
    reports: u32,
}

/// A timestamp in its text form without the `Z`, which sorts correctly, including fractions of a second.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(String);

impl Version {
    fn of(object: &Json<'_>) -> Self {
        let time = object.get("modified").text().or(object.get("created").text()).unwrap_or_default();
        Self(time.trim_end_matches('Z').into())
    }
}

impl Walker for Context {
    fn choose(&mut self, path: &Path<'_>) -> Choice {
        choose(path)
    }

    fn take(&mut self, path: &Path<'_>, object: Json<'_>) {
        if !is_object(path) {
            self.is_single_indicator |= path.is(&["type"]) && object.text() == Some("indicator");
            return;
        }
        let id = object.get("id").text();
        match (object.get("type").text(), id) {
            (Some("indicator"), Some(id)) => {
                let version = Version::of(&object);
                match self.versions.get_mut(id) {
                    Some(newest) if *newest >= version => {}
                    Some(newest) => *newest = version,
                    None => {
                        self.versions.insert(id.into(), version);
                    }
                }
            }
            (Some("malware" | "tool"), Some(id)) => {
                if let Some(name) = object.get("name").text() {
                    self.names.insert(id.into(), name.into());
                }
            }
            (Some("relationship"), _) if object.get("relationship_type").text() == Some("indicates") => {
                let ends = (object.get("source_ref").text(), object.get("target_ref").text());
                if let (Some(source), Some(target)) = ends
                    && ["malware--", "tool--"].iter().any(|prefix| target.starts_with(prefix))
                    && object.get("revoked").flag() != Some(true)
                {
                    self.indicated.entry(source.into()).or_insert_with(|| target.into());
                }
            }
            (Some("identity"), Some(id)) => {
                if let Some(name) = object.get("name").text().and_then(source_name::publisher_name) {
                    self.publishers.insert(id.into(), name);
                }
            }
            (Some("report"), _) => {
                self.reports += 1;
                self.reporter = object.get("created_by_ref").text().filter(|_| self.reports == 1).map(str::to_owned);
                self.report = match object.get("title").text().or(object.get("name").text()) {
                    Some(name) if self.reports == 1 => name.into(),
                    _ => String::new(),
                };
            }
            _ => {}
        }
    }
}

/// The second pass, for indicators.
struct Indicators<'a, 'i> {
    context: Context,
    sink: &'a mut RowSink<'i>,
    rows: u64,
}

impl Walker for Indicators<'_, '_> {
    fn choose(&mut self, path: &Path<'_>) -> Choice {
        choose(path)
    }

    fn take(&mut self, path: &Path<'_>, object: Json<'_>) {
        let Some(Step::Element(number)) = path.steps().last() else { return };
        if object.get("type").text() == Some("indicator") {
            self.rows += 1;
            indicator(self.sink, number + 1, &object, &self.context);
        }
    }
}

/// Reads one indicator, which is one row.
fn indicator(sink: &mut RowSink<'_>, row: u64, object: &Json<'_>, context: &Context) {
    let Some(pattern) = object.get("pattern").text() else {
        sink.row(row);
        return sink.reject("expected an indicator with a pattern");
    };
    sink.row_with(row, pattern);
    let creator = object.get("created_by_ref").text().or(context.reporter.as_deref());
    sink.set_publisher(creator.and_then(|id| context.publishers.get(id)).map(String::as_str));
    if object.is_cut() {
        return sink.reject("the indicator has too many values");
    }
    if object.get("pattern_type").text().is_some_and(|kind| !kind.eq_ignore_ascii_case("stix")) {
        return sink.unsupported("a pattern in another language than STIX");
    }
    if object.get("revoked").flag() == Some(true) {
        return sink.withhold("revoked");
    }
    let id = object.get("id").text().unwrap_or_default();
    if context.versions.get(id).is_some_and(|newest| *newest > Version::of(object)) {
        return sink.withhold("superseded by a later version");
    }
    let labels: Vec<_> = ["indicator_types", "labels"].iter().flat_map(|field| object.get(field).list()).collect();
    let labels: Vec<_> = labels.into_iter().filter_map(Json::text).collect();
    if labels.iter().any(|label| label.eq_ignore_ascii_case("benign")) {
        return sink.withhold("benign");
    }
    let branches = match pattern::parse(pattern) {
        Ok(branches) => branches,
        Err(e) => return sink.reject(e),
    };
    let name = name(object, &labels, &branches, context);
    let time = |field: &str| object.get(field).text().and_then(value::time);
    let timestamp = time("modified").or_else(|| time("created"));
    let details = Details { name, labels, timestamp, expiry: time("valid_until"), object };
    for branch in &branches {
        match branch {
            Branch::Withheld(reason) => sink.withhold(reason),
            Branch::Comparison(comparison) => match indicator_of(comparison) {
                Ok((indicator, port)) => details.list(sink, indicator, port),
                Err(e) => sink.value_error(e),
            },
        }
    }
}

/// The properties of an indicator that apply to all values of its pattern.
struct Details<'a> {
    name: &'a str,
    labels: Vec<&'a str>,
    timestamp: Option<Timestamp>,
    expiry: Option<Timestamp>,
    object: &'a Json<'a>,
}

impl Details<'_> {
    fn list(&self, sink: &mut RowSink<'_>, indicator: Indicator, port: Option<u16>) {
        let record_type = self.record_type(&indicator);
        let mut draft = sink.draft(indicator, record_type, self.name);
        (draft.timestamp, draft.expiry, draft.port) = (self.timestamp, self.expiry, port);
        draft.confidence = self.object.get("confidence").natural().and_then(|percent| u8::try_from(percent).ok());
        sink.list(draft);
    }

    fn record_type(&self, indicator: &Indicator) -> RecordType {
        let labels = || self.labels.iter().copied();
        match indicator {
            Indicator::Digest(digest) if digest.kind() > DigestKind::Blake3 => RecordType::BadCertificate,
            Indicator::Digest(_) => tags::object_type(labels()).unwrap_or(RecordType::Malware),
            _ => {
                let phases = self.object.get("kill_chain_phases").list().iter();
                let phases = phases.filter_map(|phase| phase.get("phase_name").text());
                let commands =
                    phases.filter(|phase| phase.to_ascii_lowercase().replace(' ', "-").contains("command-and-control"));
                tags::address_type(labels().chain(commands)).unwrap_or(RecordType::MaliciousAddress)
            }
        }
    }
}

fn name<'a>(object: &'a Json<'_>, labels: &[&'a str], branches: &[Branch<'_>], context: &'a Context) -> &'a str {
    let indicated = object.get("id").text().and_then(|id| context.names.get(context.indicated.get(id)?));
    if let Some(name) = indicated.map(String::as_str).or_else(|| labels.iter().find_map(|label| tags::family(label))) {
        return name;
    }
    let repeats = |name: &str| {
        branches.iter().any(|branch| match branch {
            Branch::Comparison(Comparison { value: Literal::Text(text), .. }) => {
                !text.is_empty() && (name.contains(&**text) || text.contains(name))
            }
            _ => false,
        })
    };
    // A longer name would be truncated, and comparing it with every value would be slow.
    let own_name = object.get("name").text().filter(|name| name.len() > NAME_BYTES_MAX || !repeats(name));
    let threat = labels.iter().copied().find(|label| tags::is_threat(label));
    own_name.or(Some(&*context.report).filter(|name| !name.is_empty())).or(threat).unwrap_or_default()
}

/// Returns the indicator and port that a comparison lists.
fn indicator_of(comparison: &Comparison<'_>) -> Result<WithPort, ValueError> {
    let no_port = |indicator| (indicator, None);
    let path: Vec<&str> = comparison.path.components.iter().map(|component| &**component).collect();
    let Literal::Text(text) = &comparison.value else {
        return match (comparison.path.object, &path[..]) {
            ("file" | "x509-certificate", ["hashes", _]) | (_, ["value"]) => {
                Err(ValueError::Rejected("expected a string to compare with".into()))
            }
            _ => Err(ValueError::Unsupported("a property of an unsupported kind")),
        };
    };
    let is_block = (comparison.path.object, &path[..]) == ("ipv4-addr", &["value"][..]);
    if comparison.operator == Operator::Subset && !is_block && comparison.path.object != "ipv6-addr" {
        return Err(ValueError::Unsupported("a subset of something other than addresses"));
    }
    match (comparison.path.object, &path[..]) {
        ("file", ["hashes", algorithm]) => TypeWord::Digest(hash(algorithm)?).read_one(text),
        ("x509-certificate", ["hashes", algorithm]) | ("app", ["cert", algorithm]) => {
            let kind = hash(algorithm)?;
            TypeWord::Digest(DigestKind::of_certificate(kind.width()).unwrap_or(kind)).read_one(text)
        }
        ("url", ["value"]) => value::web_exact(text),
        ("domain-name", ["value"]) => value::domain(text, Scope::Domain).map(no_port),
        ("ipv4-addr", ["value"]) => value::ipv4_port(text),
        ("network-traffic", ["dst_ref" | "src_ref", "value"]) => match value::ipv4_port(text) {
            Err(ValueError::Rejected(_)) => value::domain(text, Scope::Domain).map(no_port),
            found => found,
        },
        ("email-message", _) => Err(ValueError::Unsupported("a part of a mail message")),
        (object, _) => Err(ValueError::Unsupported(match TypeWord::of(object) {
            Some(TypeWord::Unsupported(what)) => what,
            _ => "a property of an unsupported kind",
        })),
    }
}

/// Returns the kind of a hash by the name of its algorithm, which has several spellings.
fn hash(algorithm: &str) -> Result<DigestKind, ValueError> {
    match TypeWord::of(algorithm) {
        Some(TypeWord::Digest(kind)) => Ok(kind),
        Some(TypeWord::Unsupported(what)) => Err(ValueError::Unsupported(what)),
        _ => Err(ValueError::Unsupported("a hash of an unsupported kind")),
    }
}

#[cfg(test)]
#[path = "stix/tests.rs"]
mod tests;
