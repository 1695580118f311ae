//! MISP events: attributes with their objects.
//!
//! ```text
//! {"Event": {"info": …, "Tag": […], "Galaxy": […], "Attribute": [{"type": "sha256", "value": …, "to_ids": true,
//!  "category": "Payload delivery", "timestamp": "1755989538", "Tag": […]}, …], "Object": [{"Attribute": […]}, …]}}
//! ```
//!
//! The event may be bare, or stand (with others) in a `response`. An attribute becomes a record only if its author says
//! that it is for detection (`to_ids`) and has not deleted it. Rows are attributes in the order of the document.
//!
//! - **Name**: the family that a tag or galaxy of the attribute names, the name of the app an object is about, the
//!   family that the event names, the event's info; the first of them that there is.
//! - **Type**: a fingerprint is a bad certificate. A file is malware, unless its tags say adware or riskware. An
//!   address is what its tags say, else malware in the categories of payloads, else a malicious address.
//! - An attribute's ID is a UUID, which no number can hold: IDs are derived.

use std::collections::HashMap;

use crate::{
    feed::{
        FeedError, Format,
        cell::{self, Why},
        input::Input,
        intake::Intake,
        json::{self, Choice, Json, Path, Step, Walker},
        recognise::{Likeness, Sample},
        tags,
    },
    key::{Digest, DigestKind, Indicator, Scope},
    record::RecordType,
    timestamp::Timestamp,
};

pub(in crate::feed) fn recognise(sample: &Sample<'_>) -> Option<Likeness> {
    if super::refuse(sample).is_some() {
        // Reading it says why it is none.
        return Some(Likeness::Certain);
    }
    let shape = json::outline(sample.text);
    let field = |name: &str| shape.iter().any(|(path, _)| path == name);
    let wrapped = ["Event", "response/[]/Event", "response/Event", "[]/Event"].into_iter().any(field);
    let bare = (field("Attribute") || field("Object")) && (field("info") || field("uuid"));
    (wrapped || bare).then_some(Likeness::Certain)
}

pub(in crate::feed) fn read(input: &mut Input<'_>, intake: &mut Intake<'_>) -> Result<(), FeedError> {
    let document = input.document()?;
    // What is refused is seen in the first bytes.
    let head = &document[..document.len().min(HEAD_BYTES)];
    let text = String::from_utf8_lossy(head);
    if let Some(refusal) = super::refuse(&Sample::new(head, &text, head.len() == document.len(), "")) {
        return Err(FeedError::Refused(refusal));
    }
    let malformed = |e: serde_json::Error| FeedError::Malformed { format: Format::MispEvent, why: e.to_string() };
    let mut heads = Heads(HashMap::new());
    json::walk(&document, &mut heads).map_err(malformed)?;
    json::walk(&document, &mut Attributes { heads: heads.0, intake, rows: 0 }).map_err(malformed)
}

const HEAD_BYTES: usize = 64 << 10;

/// What an event says of all its attributes.
#[derive(Debug, Default)]
struct Head {
    info: String,
    family: Option<String>,
    /// What the event's tags say of addresses and of files. Read once: there may be many tags and many attributes.
    address_type: Option<RecordType>,
    object_type: Option<RecordType>,
}

/// The first walk: what stands around attributes may stand behind them.
struct Heads(HashMap<u64, Head>);

impl Walker for Heads {
    fn choose(&mut self, path: &Path<'_>) -> Choice {
        match place(path) {
            Place::Around | Place::Event => Choice::Enter,
            Place::Within(_, [Step::Field(field)]) if matches!(&**field, "info" | "Tag" | "Galaxy") => Choice::Take,
            Place::Within(..) => Choice::Skip,
        }
    }

    fn take(&mut self, path: &Path<'_>, value: Json<'_>) {
        let Place::Within(event, [Step::Field(field)]) = place(path) else { return };
        let head = self.0.entry(event).or_default();
        match &**field {
            "info" => head.info = value.text().unwrap_or_default().into(),
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

/// The second walk.
struct Attributes<'a, 'i> {
    heads: HashMap<u64, Head>,
    intake: &'a mut Intake<'i>,
    rows: u64,
}

impl Walker for Attributes<'_, '_> {
    fn choose(&mut self, path: &Path<'_>) -> Choice {
        match place(path) {
            Place::Around | Place::Event => Choice::Enter,
            Place::Within(_, [Step::Field(field), rest @ ..]) if matches!(&**field, "Attribute" | "Object") => {
                match rest {
                    [] => Choice::Enter,
                    _ => Choice::Take,
                }
            }
            Place::Within(..) => Choice::Skip,
        }
    }

    fn take(&mut self, path: &Path<'_>, value: Json<'_>) {
        let Place::Within(event, [Step::Field(field), Step::Element(_)]) = place(path) else { return };
        let nothing = Head::default();
        let head = self.heads.get(&event).unwrap_or(&nothing);
        if field == "Attribute" {
            self.rows += 1;
            attribute(self.intake, self.rows, &value, &Surroundings { head, object: "", app: None, deleted: false });
            return;
        }
        if !value.is_object() || value.is_cut() {
            self.rows += 1;
            self.intake.row(self.rows);
            return self.intake.reject("expected an object of at most some thousand attributes");
        }
        let attributes = value.get("Attribute").list();
        let name = attributes.iter().find(|a| a.get("object_relation").text() == Some("name"));
        let object = value.get("name").text().unwrap_or_default();
        let app = name.and_then(|name| name.get("value").text()).filter(|_| object.ends_with("-app"));
        let around = Surroundings { head, object, app, deleted: value.get("deleted").flag() == Some(true) };
        for value in attributes {
            self.rows += 1;
            attribute(self.intake, self.rows, value, &around);
        }
    }
}

/// Where a path leads.
enum Place<'p> {
    /// To something around events.
    Around,
    /// To an event.
    Event,
    /// Into the event of that number.
    Within(u64, &'p [Step<'p>]),
}

/// `Event`, `response/Event`, `response/[]/Event`, `[]/Event`, or else the root is the event.
fn place<'p>(path: &'p Path<'_>) -> Place<'p> {
    let field = |step: Option<&Step<'_>>, name: &str| matches!(step, Some(Step::Field(field)) if field == name);
    let mut steps = path.steps();
    let mut number = 0;
    if field(steps.first(), "response") {
        steps = &steps[1..];
        if steps.is_empty() {
            return Place::Around;
        }
    }
    if let [Step::Element(element), rest @ ..] = steps {
        (number, steps) = (*element, rest);
        if steps.is_empty() {
            return Place::Around;
        }
    }
    if field(steps.first(), "Event") {
        steps = &steps[1..];
    }
    if steps.is_empty() { Place::Event } else { Place::Within(number, steps) }
}

/// What an attribute stands in.
struct Surroundings<'a> {
    head: &'a Head,
    /// The name of its object's template; empty without one.
    object: &'a str,
    /// The name of the app that its object is about.
    app: Option<&'a str>,
    /// Whether its object is deleted.
    deleted: bool,
}

/// One attribute, which is one row.
fn attribute(intake: &mut Intake<'_>, row: u64, attribute: &Json<'_>, around: &Surroundings<'_>) {
    let (Some(kind), Some(value)) = (attribute.get("type").text(), attribute.get("value").text()) else {
        intake.row(row);
        return intake.reject("expected an attribute with a type and a value");
    };
    intake.row_with(row, value);
    let relation = attribute.get("object_relation").text().unwrap_or_default();
    let found = match Values::of(kind, relation, around.object) {
        Ok(values) => values,
        Err(unsupported) => return intake.unsupported(unsupported),
    };
    if attribute.is_cut() {
        return intake.reject("the attribute holds too many values");
    }
    if around.deleted || attribute.get("deleted").flag() == Some(true) {
        return intake.withhold("deleted by its author");
    }
    if attribute.get("to_ids").flag() != Some(true) {
        return intake.withhold("not for detection (to_ids)");
    }
    let attribute_tags: Vec<_> = tag_names(attribute.get("Tag")).collect();
    let family = galaxy_family(attribute.get("Galaxy"))
        .or_else(|| attribute_tags.iter().find_map(|tag| tags::machine_family(tag)))
        .or_else(|| attribute_tags.iter().find_map(|tag| tags::family(tag)));
    let head = around.head;
    let name = family.or(around.app).or(head.family.as_deref()).unwrap_or(&head.info);
    let timestamp = attribute.get("timestamp").natural().and_then(|seconds| i64::try_from(seconds).ok());
    let timestamp = timestamp.and_then(Timestamp::from_unix);
    let category = attribute.get("category").text().unwrap_or_default();
    for result in found.read(value) {
        match result {
            Ok((indicator, port)) => {
                let record_type = record_type(&indicator, &attribute_tags, head, category);
                let mut draft = intake.draft(indicator, record_type, name);
                (draft.timestamp, draft.port) = (timestamp, port);
                intake.list(draft);
            }
            Err(why) => intake.say(why),
        }
    }
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

/// What the value of an attribute holds, by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    Digest(DigestKind),
    /// Behind a file's name.
    NamedDigest(DigestKind),
    Url,
    Uri,
    Domain,
    Hostname,
    HostnamePort,
    DomainAddress,
    Address,
    AddressPort,
}

impl Values {
    /// Or what it is, when no record can exist for it.
    fn of(kind: &str, relation: &str, object: &str) -> Result<Self, &'static str> {
        let hash = |name: &str| match name {
            "md5" => Some(DigestKind::Md5),
            "sha1" => Some(DigestKind::Sha1),
            "sha256" => Some(DigestKind::Sha256),
            _ => None,
        };
        if let Some(kind) = hash(kind) {
            // Objects have hashes of other things than whole files under the same types.
            if object.ends_with("-section") {
                return Err("a hash of a section");
            }
            return match (object, relation) {
                ("x509", _) | (_, "certificate") => Ok(Self::Digest(certificate(kind))),
                _ => Ok(Self::Digest(kind)),
            };
        }
        if let Some(kind) = kind.strip_prefix("filename|").and_then(hash) {
            return Ok(Self::NamedDigest(kind));
        }
        if let Some(kind) = kind.strip_prefix("x509-fingerprint-").and_then(hash) {
            return Ok(Self::Digest(certificate(kind)));
        }
        Ok(match kind {
            "malware-sample" => Self::NamedDigest(DigestKind::Md5),
            "url" => Self::Url,
            "uri" => Self::Uri,
            "domain" => Self::Domain,
            "hostname" => Self::Hostname,
            "hostname|port" => Self::HostnamePort,
            "domain|ip" => Self::DomainAddress,
            "ip-src" | "ip-dst" => Self::Address,
            "ip-src|port" | "ip-dst|port" => Self::AddressPort,
            _ => return Err(unsupported(kind)),
        })
    }

    fn read(self, value: &str) -> Vec<Result<(Indicator, Option<u16>), Why>> {
        let no_port = |indicator| (indicator, None);
        let missing = || vec![Err(Why::Rejected("expected two values with `|` between them".into()))];
        let (before, behind) = match value.rsplit_once('|') {
            Some((before, behind)) => (before, behind),
            None if matches!(self, Self::NamedDigest(_) | Self::DomainAddress) => return missing(),
            None => (value, ""),
        };
        let port = || behind.trim().parse::<u16>().ok().filter(|&port| port != 0);
        vec![match self {
            Self::Digest(kind) => digest(kind, value).map(no_port),
            Self::NamedDigest(kind) => digest(kind, behind).map(no_port),
            Self::Url => cell::web_exact(value),
            Self::Uri if value.contains("://") => cell::web_exact(value),
            Self::Uri => Err(Why::Unsupported("a path without a host")),
            Self::Domain => cell::domain(value, Scope::Domain).map(no_port),
            Self::Hostname => cell::domain(value, Scope::Host).map(no_port),
            Self::HostnamePort => cell::domain(before, Scope::Host).map(|name| (name, port())),
            Self::Address => cell::ipv4_port(value),
            Self::AddressPort => cell::ipv4_port(before).map(|(address, own)| (address, port().or(own))),
            Self::DomainAddress => {
                return vec![cell::domain(before, Scope::Domain).map(no_port), cell::ipv4_port(behind)];
            }
        }]
    }
}

fn certificate(kind: DigestKind) -> DigestKind {
    DigestKind::of_certificate(kind.width()).unwrap_or(kind)
}

fn digest(kind: DigestKind, text: &str) -> Result<Indicator, Why> {
    Digest::from_hex(kind, text.trim()).map(Indicator::Digest).map_err(|e| Why::Rejected(e.to_string()))
}

/// What an attribute of a type without keys is.
fn unsupported(kind: &str) -> &'static str {
    const OTHER_HASHES: [&str; 19] = [
        "authentihash",
        "cdhash",
        "dom-hash",
        "favicon-mmh3",
        "git-commit-id",
        "hassh",
        "imp",
        "jarm",
        "ja3",
        "pehash",
        "sha224",
        "sha3-",
        "sha384",
        "sha512",
        "ssdeep",
        "telfhash",
        "tlsh",
        "vhash",
        "ssh-fingerprint",
    ];
    let kind = kind.strip_prefix("filename|").unwrap_or(kind);
    if OTHER_HASHES.iter().any(|prefix| kind.starts_with(prefix)) {
        "a hash of another kind"
    } else if kind.starts_with("email") || kind.ends_with("-email") {
        "a mail address or message"
    } else {
        "an attribute of another kind"
    }
}

fn tag_names<'j>(tags: &'j Json<'_>) -> impl Iterator<Item = &'j str> {
    tags.list().iter().filter_map(|tag| tag.get("name").text())
}

/// The first cluster of a galaxy of malware.
fn galaxy_family<'j>(galaxies: &'j Json<'_>) -> Option<&'j str> {
    let malware = |galaxy: &&Json<'_>| galaxy.get("type").text().is_some_and(tags::is_malware_galaxy);
    let clusters = galaxies.list().iter().filter(malware).flat_map(|galaxy| galaxy.get("GalaxyCluster").list());
    clusters.filter_map(|cluster| cluster.get("value").text()).next()
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
