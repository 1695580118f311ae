//! The manifest of a MISP feed, which lists its events.

use crate::feed::{
    error::{FeedError, Refusal},
    format::Format,
    json::{self, Choice, Json, Path, Step, Walker},
    sample::Sample,
    source_name::is_uuid,
};

/// The refusal of a manifest as a feed by itself.
pub(super) const REFUSAL: Refusal = Refusal {
    what: "the manifest of a MISP feed",
    why: "it only names the events",
    instead: "put the `<uuid>.json` files in its folder, and pass the folder or the files",
};

/// Returns the UUIDs of the events of a manifest, in order. They are strictly UUIDs (32 hexadecimal digits in five
/// groups), so that a file name made of one cannot refer to another directory; other keys are skipped.
pub fn events(manifest: &[u8]) -> Result<Vec<String>, FeedError> {
    let manifest = manifest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(manifest);
    let mut events = Events(Vec::new());
    json::walk(manifest, &mut events)
        .map_err(|e| FeedError::Malformed { format: Format::MispEvent, why: e.to_string() })?;
    Ok(events.0)
}

struct Events(Vec<String>);

impl Walker for Events {
    fn choose(&mut self, path: &Path<'_>) -> Choice {
        match path.steps() {
            [] => Choice::Enter,
            [Step::Field(uuid)] if is_uuid(uuid) => {
                self.0.push(uuid.to_ascii_lowercase());
                Choice::Skip
            }
            _ => Choice::Skip,
        }
    }

    fn take(&mut self, _path: &Path<'_>, _value: Json<'_>) {}
}

/// Returns whether a sample is a manifest: an object whose first field name is a UUID.
pub(super) fn is_manifest(sample: &Sample<'_>) -> bool {
    let rest = sample.text.trim_start().strip_prefix('{').map(str::trim_start);
    let name = rest.and_then(|rest| rest.strip_prefix('"')).and_then(|rest| rest.get(..37));
    name.and_then(|name| name.strip_suffix('"')).is_some_and(is_uuid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::testing;

    const MANIFEST: &str = r#"{"2E035642-c558-5019-89f2-bc7bdf8b34ce": {"info": "one", "timestamp": "1"},
        "../../../etc/passwd": {"info": "two"}, "5fba840d-a85d-412e-3e61-95f785803507": []}"#;

    #[test]
    fn events_are_uuids_only() {
        let expected = ["2e035642-c558-5019-89f2-bc7bdf8b34ce", "5fba840d-a85d-412e-3e61-95f785803507"];
        assert_eq!(events(MANIFEST.as_bytes()).unwrap(), expected);
        assert_eq!(events(format!("\u{feff}{MANIFEST}").as_bytes()).unwrap(), expected);
        assert!(events(b"[]").unwrap().is_empty());
        assert!(matches!(events(b"{"), Err(FeedError::Malformed { .. })));
        for text in [
            "2e035642-c558-5019-89f2-bc7bdf8b34c/",
            "2e035642c558501989f2bc7bdf8b34ce",
            "2e035642-c558-5019-89f2-bc7bdf8b34cé",
        ] {
            assert!(!is_uuid(text), "{text}");
        }
    }

    #[test]
    fn a_manifest_by_itself_is_refused() {
        for format in [None, Some(Format::MispEvent)] {
            let error = testing::try_collect(MANIFEST.as_bytes(), "x", format, &testing::options()).unwrap_err();
            assert!(error.to_string().starts_with("this is the manifest of a MISP feed: "), "{error}");
        }
    }
}
