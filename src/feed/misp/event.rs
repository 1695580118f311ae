//! MISP events: attributes with their objects.
//!
//! ```text
//! {"Event": {"info": …, "Tag": […], "Galaxy": […], "Attribute": [{"type": "sha256", "value": …, "to_ids": true,
//!  "category": "Payload delivery", "timestamp": "1755989538", "Tag": […]}, …], "Object": [{"Attribute": […]}, …]}}
//! ```
//!
//! The event may be the root, or one of several in a `response`. An attribute becomes a record only if its author
//! marked it for detection (`to_ids`) and has not deleted it. Rows are attributes in document order.
//!
//! - **Name**: the first present of: the family that a tag or galaxy of the attribute names, the name of the app that
//!   its object describes, the family that the event names, the event's info.
//! - **Type**: a fingerprint is a bad certificate. A file is malware, unless its tags name adware or riskware. An
//!   address has the type that its tags name, else malware in the payload categories, else malicious address.
//! - **Source**: the organisation that created the event (`Orgc`).
//! - An attribute's ID is a UUID, which does not fit a record ID: IDs are derived.

use std::collections::HashMap;

use crate::{
    feed::{
        error::FeedError,
        format::Format,
        input::Input,
        json::{self, Choice, Json, Path, Step, Walker},
        row_sink::RowSink,
        sample::{Confidence, Sample},
        source_name, tags,
        type_words::TypeWord,
    },
    key::{DigestKind, Indicator},
    record::RecordType,
    timestamp::Timestamp,
};

pub(in crate::feed) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    if super::refuse(sample).is_some() {
        // Reading it fails with the reason.
        return Some(Confidence::Certain);
    }
    let shape = json::outline(sample.text);
    let field = |name: &str| shape.iter().any(|(path, _)| path == name);
    let wrapped = ["Event", "response/[]/Event", "response/Event", "[]/Event"].into_iter().any(field);
    let is_root = (field("Attribute") || field("Object")) && (field("info") || field("uuid"));
    (wrapped || is_root).then_some(Confidence::Certain)
}

pub(in crate::feed) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let document = input.document()?;
    // Refusals are decided by the first bytes.
    let head = &document[..document.len().min(HEAD_BYTES)];
    let text = String::from_utf8_lossy(head);
    if let Some(refusal) = super::refuse(&Sample::new(head, &text, head.len() == document.len(), "")) {
        return Err(FeedError::Refused(refusal));
    }
    let malformed = |e: serde_json::Error| FeedError::Malformed { format: Format::MispEvent, why: e.to_string() };
    let mut heads = Heads(HashMap::new());
    json::walk(&document, &mut heads).map_err(malformed)?;
    json::walk(&document, &mut Attributes { heads: heads.0, sink, rows: 0 }).map_err(malformed)
}

const HEAD_BYTES: usize = 64 << 10;

/// The properties of an event that apply to all its attributes.
#[derive(Debug, Default)]
struct Head {
    info: String,
    /// The source name of the organisation that created the event.
    publisher: Option<String>,
    family: Option<String>,
    /// The record types that the event's tags assign to addresses and to files. Computed once, because there may be
    /// many tags and many attributes.
    address_type: Option<RecordType>,
    object_type: Option<RecordType>,
}

/// The first pass, for event properties: they may follow the attributes.
struct Heads(HashMap<u64, Head>);

impl Walker for Heads {
    fn choose(&mut self, path: &Path<'_>) -> Choice {
        match locate(path) {
            Location::Container | Location::Event => Choice::Enter,
            Location::Within(_, [Step::Field(field)]) if matches!(&**field, "info" | "Orgc" | "Tag" | "Galaxy") => {
                Choice::Take
            }
            Location::Within(..) => Choice::Skip,
        }
    }

    fn take(&mut self, path: &Path<'_>, value: Json<'_>) {
        let Location::Within(event, [Step::Field(field)]) = locate(path) else { return };
        let head = self.0.entry(event).or_default();
        match &**field {
            "info" => head.info = value.text().unwrap_or_default().into(),
            "Orgc" => head.publisher = value.get("name").text().and_then(source_name::publisher_name),
            "Tag" => {
                head.family =
                    head.family.take().or(tag_names(&value).find_map(tags::machine_family).map(str::to_owned));
                head.address_type = tags::address_type(tag_names(&value));
                head.object_type = tags::object_type(tag_names(&value));
            }
            _ => head.family = galaxy_family(&value).map(str::to_owned).or(head.family.take()),
        }
    }
}

/// The second pass, for attributes.
struct Attributes<'a, 'i> {
    heads: HashMap<u64, Head>,
    sink: &'a mut RowSink<'i>,
    rows: u64,
}

impl Walker for Attributes<'_, '_> {
    fn choose(&mut self, path: &Path<'_>) -> Choice {
        match locate(path) {
            Location::Container | Location::Event => Choice::Enter,
            Location::Within(_, [Step::Field(field), rest @ ..]) if matches!(&**field, "Attribute" | "Object") => {
                match rest {
                    [] => Choice::Enter,
                    _ => Choice::Take,
                }
            }
            Location::Within(..) => Choice::Skip,
        }
    }

    fn take(&mut self, path: &Path<'_>, value: Json<'_>) {
        let Location::Within(event, [Step::Field(field), Step::Element(_)]) = locate(path) else { return };
        let default = Head::default();
        let head = self.heads.get(&event).unwrap_or(&default);
        self.sink.set_publisher(head.publisher.as_deref());
        if field == "Attribute" {
            self.rows += 1;
            attribute(self.sink, self.rows, &value, &Context { head, object: "", app: None, deleted: false });
            return;
        }
        if !value.is_object() || value.is_cut() {
            self.rows += 1;
            self.sink.row(self.rows);
            return self.sink.reject("expected an object with at most some thousand attributes");
        }
        let attributes = value.get("Attribute").list();
        let name = attributes.iter().find(|a| a.get("object_relation").text() == Some("name"));
        let object = value.get("name").text().unwrap_or_default();
        let app = name.and_then(|name| name.get("value").text()).filter(|_| object.ends_with("-app"));
        let context = Context { head, object, app, deleted: value.get("deleted").flag() == Some(true) };
        for value in attributes {
            self.rows += 1;
            attribute(self.sink, self.rows, value, &context);
        }
    }
}

/// The location of a path relative to an event.
enum Location<'p> {
    /// A container of events.
    Container,
    /// An event.
    Event,
    /// Inside the event of that index.
    Within(u64, &'p [Step<'p>]),
}

/// Returns the location of a path. Events are at `Event`, `response/Event`, `response/[]/Event`, `[]/Event`, or else at
/// the root.
fn locate<'p>(path: &'p Path<'_>) -> Location<'p> {
    let field = |step: Option<&Step<'_>>, name: &str| matches!(step, Some(Step::Field(field)) if field == name);
    let mut steps = path.steps();
    let mut number = 0;
    if field(steps.first(), "response") {
        steps = &steps[1..];
        if steps.is_empty() {
            return Location::Container;
        }
    }
    if let [Step::Element(element), rest @ ..] = steps {
        (number, steps) = (*element, rest);
        if steps.is_empty() {
            return Location::Container;
        }
    }
    if field(steps.first(), "Event") {
        steps = &steps[1..];
    }
    if steps.is_empty() { Location::Event } else { Location::Within(number, steps) }
}

/// The event and object of an attribute.
struct Context<'a> {
    head: &'a Head,
    /// The template name of its object; empty if it has none.
    object: &'a str,
    /// The name of the app that its object describes.
    app: Option<&'a str>,
    /// Whether its object is deleted.
    deleted: bool,
}

/// Reads one attribute, which is one row.
fn attribute(sink: &mut RowSink<'_>, row: u64, attribute: &Json<'_>, context: &Context<'_>) {
    let (Some(kind), Some(value)) = (attribute.get("type").text(), attribute.get("value").text()) else {
        sink.row(row);
        return sink.reject("expected an attribute with a type and a value");
    };
    sink.row_with(row, value);
    let relation = attribute.get("object_relation").text().unwrap_or_default();
    let value_type = match value_type(kind, relation, context.object) {
        Ok(value_type) => value_type,
        Err(unsupported) => return sink.unsupported(unsupported),
    };
    if attribute.is_cut() {
        return sink.reject("the attribute has too many values");
    }
    if context.deleted || attribute.get("deleted").flag() == Some(true) {
        return sink.withhold("deleted by its author");
    }
    if attribute.get("to_ids").flag() != Some(true) {
        return sink.withhold("not for detection (to_ids)");
    }
    let attribute_tags: Vec<_> = tag_names(attribute.get("Tag")).collect();
    let family = galaxy_family(attribute.get("Galaxy"))
        .or_else(|| attribute_tags.iter().find_map(|tag| tags::machine_family(tag)))
        .or_else(|| attribute_tags.iter().find_map(|tag| tags::family(tag)));
    let head = context.head;
    let name = family.or(context.app).or(head.family.as_deref()).unwrap_or(&head.info);
    let timestamp = attribute.get("timestamp").natural().and_then(|seconds| i64::try_from(seconds).ok());
    let timestamp = timestamp.and_then(Timestamp::from_unix);
    let category = attribute.get("category").text().unwrap_or_default();
    value_type.read(value, &mut |result| match result {
        Ok((indicator, port)) => {
            let record_type = record_type(&indicator, &attribute_tags, head, category);
            let mut draft = sink.draft(indicator, record_type, name);
            (draft.timestamp, draft.port) = (timestamp, port);
            sink.list(draft);
        }
        Err(e) => sink.value_error(e),
    });
}

fn record_type(indicator: &Indicator, tags: &[&str], event: &Head, category: &str) -> RecordType {
    let tags = tags.iter().copied();
    match indicator {
        Indicator::Digest(digest) if digest.kind() > DigestKind::Blake3 => RecordType::BadCertificate,
        Indicator::Digest(_) => tags::object_type(tags).or(event.object_type).unwrap_or(RecordType::Malware),
        _ => tags::address_type(tags).or(event.address_type).unwrap_or(match category {
            "Payload delivery" | "Payload installation" | "Artifacts dropped" => RecordType::Malware,
            _ => RecordType::MaliciousAddress,
        }),
    }
}

/// Returns the type of an attribute's value, or why records do not support it.
fn value_type(kind: &str, relation: &str, object: &str) -> Result<TypeWord, &'static str> {
    match TypeWord::of(kind) {
        // Objects use the same types for hashes of other things than whole files.
        Some(TypeWord::Digest(kind)) if kind < DigestKind::Blake3 => match (object, relation) {
            _ if object.ends_with("-section") => Err("a hash of a section"),
            ("x509", _) | (_, "certificate") => {
                Ok(TypeWord::Digest(DigestKind::of_certificate(kind.width()).unwrap_or(kind)))
            }
            _ => Ok(TypeWord::Digest(kind)),
        },
        // A `link` is a reference to a report.
        Some(TypeWord::Link) => Err("a reference"),
        Some(TypeWord::Unsupported(what)) => Err(what),
        Some(kind) => Ok(kind),
        None => Err("an attribute of an unsupported type"),
    }
}

fn tag_names<'j>(tags: &'j Json<'_>) -> impl Iterator<Item = &'j str> {
    tags.list().iter().filter_map(|tag| tag.get("name").text())
}

/// Returns the first cluster of a malware galaxy.
fn galaxy_family<'j>(galaxies: &'j Json<'_>) -> Option<&'j str> {
    let malware = |galaxy: &&Json<'_>| galaxy.get("type").text().is_some_and(tags::is_malware_galaxy);
    let clusters = galaxies.list().iter().filter(malware).flat_map(|galaxy| galaxy.get("GalaxyCluster").list());
    clusters.filter_map(|cluster| cluster.get("value").text()).next()
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
