//! Reads JSON documents element by element, lenient about everything except the syntax.
//!
//! Feeds violate their own schemas: a number instead of a string, null instead of a list, a duplicate field. With a
//! typed structure one of these would fail the whole file, so elements are deserialized into plain [`Json`] values
//! whose fields are read one by one, and an invalid element affects only itself. [`walk`] traverses a document once and
//! holds one element at a time, of bounded size: a document of `[[],[],…` takes 16 times its size when held as a whole.
//! [`outline`] returns the structure of the beginning of a document.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Maximum number of values held of one element. The largest element in real feeds is a MISP object of some thousand
/// attributes with twelve values each.
const ELEMENT_VALUES_MAX: usize = 1 << 18;

/// A value, with strings borrowed from the document if they have no escapes.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::feed) enum Json<'a> {
    Null,
    Flag(bool),
    /// A number. Integers are kept exactly; floats are not used.
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
    /// A placeholder for a value beyond [`ELEMENT_VALUES_MAX`].
    Cut,
}

/// A number of a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::feed) enum Number {
    Natural(u64),
    Negative(i64),
    Float(f64),
}

impl<'a> Json<'a> {
    /// Returns a field of an object, the last one if it is duplicated; `Null` if it is missing or this is not an
    /// object.
    pub(in crate::feed) fn get(&self, field: &str) -> &Self {
        match self {
            Self::Object(fields) => {
                fields.iter().rev().find(|(name, _)| name == field).map_or(&Json::Null, |(_, value)| value)
            }
            _ => &Json::Null,
        }
    }

    /// Returns the string, trimmed, if this is a string and not blank.
    pub(in crate::feed) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// Returns the unsigned integer, also if it is written as a string.
    pub(in crate::feed) fn natural(&self) -> Option<u64> {
        match self {
            Self::Number(Number::Natural(number)) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Returns the boolean, also if it is written as a number or a string.
    pub(in crate::feed) fn flag(&self) -> Option<bool> {
        match self {
            Self::Flag(flag) => Some(*flag),
            Self::Number(Number::Natural(number @ 0..=1)) => Some(*number == 1),
            Self::Text(text) if text.eq_ignore_ascii_case("true") || text == "1" => Some(true),
            Self::Text(text) if text.eq_ignore_ascii_case("false") || text == "0" => Some(false),
            _ => None,
        }
    }

    /// Returns the elements of a list; empty if this is not a list.
    pub(in crate::feed) fn list(&self) -> &[Self] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }

    /// Returns whether this is null or missing.
    pub(in crate::feed) fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// Returns whether this is an object.
    pub(in crate::feed) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// Returns whether this is or holds a truncated value.
    pub(in crate::feed) fn is_cut(&self) -> bool {
        match self {
            Self::Cut => true,
            // A truncated value is always the last of its parent.
            Self::List(list) => list.last().is_some_and(Self::is_cut),
            Self::Object(fields) => fields.last().is_some_and(|(_, value)| value.is_cut()),
            _ => false,
        }
    }
}

/// Parses a whole document as one element.
pub(in crate::feed) fn parse(document: &[u8]) -> Result<Json<'_>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    let mut budget = ELEMENT_VALUES_MAX;
    let value = Value { budget: &mut budget }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::feed) enum Step<'a> {
    /// The field of that name.
    Field(Cow<'a, str>),
    /// The element of that index, from 0.
    Element(u64),
}

/// The path of a value in its document.
pub(in crate::feed) struct Path<'a> {
    steps: Vec<Step<'a>>,
}

impl Path<'_> {
    /// Returns whether the path matches `pattern`, in which `[]` matches any element of a list.
    pub(in crate::feed) fn is(&self, pattern: &[&str]) -> bool {
        self.steps.len() == pattern.len()
            && self.steps.iter().zip(pattern).all(|(step, expected)| match step {
                Step::Field(name) => name == expected,
                Step::Element(_) => *expected == "[]",
            })
    }

    /// Returns the steps from the root.
    pub(in crate::feed) fn steps(&self) -> &[Step<'_>] {
        &self.steps
    }
}

/// What [`walk`] does with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::feed) enum Choice {
    /// Visit its fields or elements, if it has any.
    Enter,
    /// Pass it to [`Walker::take`].
    Take,
    /// Skip it.
    Skip,
}

/// A visitor for [`walk`].
pub(in crate::feed) trait Walker {
    /// Returns what to do with the value at a path. `Enter` MUST be returned to a bounded depth only.
    fn choose(&mut self, path: &Path<'_>) -> Choice;

    /// Takes a value for which `Take` was chosen, or a scalar for which `Enter` was chosen.
    fn take(&mut self, path: &Path<'_>, value: Json<'_>);
}

/// Traverses a document in order.
pub(in crate::feed) fn walk(document: &[u8], walker: &mut dyn Walker) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    let mut path = Path { steps: Vec::new() };
    Walk { path: &mut path, walker }.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Returns the structure of the beginning of a document: the paths of its values, each once
/// (`Event/Attribute/[]/type`), and the text of the strings. It is four levels deep, and ends at the end of the text or
/// at invalid JSON.
pub(in crate::feed) fn outline(text: &str) -> Vec<(String, Option<String>)> {
    let mut outline: Vec<(String, Option<String>)> = Vec::new();
    // For every open value, whether it is an object, and the length of the path before its field.
    let mut open: Vec<(bool, usize)> = Vec::new();
    let mut path = String::new();
    let mut name_expected = false;
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    while let Some(first) = rest.chars().next() {
        let scalar = match first {
            '{' | '[' => {
                note(&mut outline, &path, None, open.len());
                open.push((first == '{', path.len()));
                name_expected = first == '{';
                if first == '[' {
                    enter(&mut path, "[]");
                }
                if open.len() > OUTLINE_OPEN_MAX {
                    break;
                }
                None
            }
            '}' | ']' => {
                let Some((_, length)) = open.pop() else { break };
                path.truncate(length);
                None
            }
            ',' => {
                let Some(&(is_object, length)) = open.last() else { break };
                name_expected = is_object;
                if is_object {
                    path.truncate(length);
                }
                None
            }
            ':' => None,
            '"' => {
                let Some(length) = quoted(&rest[1..]) else { break };
                let text = &rest[1..=length];
                if std::mem::take(&mut name_expected) {
                    enter(&mut path, text);
                } else {
                    note(&mut outline, &path, Some(text), open.len());
                }
                Some(length + 2)
            }
            _ => {
                note(&mut outline, &path, None, open.len());
                Some(rest.find([',', '}', ']', '\n']).unwrap_or(rest.len()))
            }
        };
        let length = scalar.unwrap_or(1).max(1);
        rest = rest.get(length..).unwrap_or_default().trim_start();
        if open.is_empty() || outline.len() >= OUTLINE_PATHS_MAX {
            break;
        }
    }
    outline
}

/// Maximum nesting depth that an outline follows.
const OUTLINE_OPEN_MAX: usize = 64;

/// Maximum number of levels of an outline's paths.
const OUTLINE_LEVELS_MAX: usize = 4;

/// Maximum number of paths of an outline: every field of an event is among the first hundred.
const OUTLINE_PATHS_MAX: usize = 256;

/// Maximum number of characters of a name or string in an outline.
const OUTLINE_CHARS_MAX: usize = 64;

fn enter(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.extend(name.chars().take(OUTLINE_CHARS_MAX));
}

fn note(outline: &mut Vec<(String, Option<String>)>, path: &str, text: Option<&str>, level: usize) {
    if level <= OUTLINE_LEVELS_MAX && !path.is_empty() && !outline.iter().any(|(seen, _)| seen == path) {
        outline.push((path.into(), text.map(|text| text.chars().take(OUTLINE_CHARS_MAX).collect())));
    }
}

/// Returns the length of a string up to its closing quote.
fn quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|b| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    })
}

struct Walk<'p, 'de, 'w> {
    path: &'p mut Path<'de>,
    walker: &'w mut dyn Walker,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.walker.choose(self.path) {
            Choice::Skip => deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ()),
            Choice::Enter => deserializer.deserialize_any(self),
            Choice::Take => {
                let mut budget = ELEMENT_VALUES_MAX;
                let value = Value { budget: &mut budget }.deserialize(deserializer)?;
                self.walker.take(self.path, value);
                Ok(())
            }
        }
    }
}

impl<'de> Walk<'_, 'de, '_> {
    fn scalar<E>(self, value: Json<'de>) -> Result<(), E> {
        self.walker.take(self.path, value);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            self.path.steps.push(Step::Field(name));
            let done = map.next_value_seed(Walk { path: &mut *self.path, walker: &mut *self.walker });
            self.path.steps.pop();
            done?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for number in 0.. {
            self.path.steps.push(Step::Element(number));
            let done = list.next_element_seed(Walk { path: &mut *self.path, walker: &mut *self.walker });
            self.path.steps.pop();
            if done?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(Json::Flag(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.scalar(Json::Number(Number::Natural(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.scalar(Json::Number(Number::Negative(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.scalar(Json::Number(Number::Float(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        self.scalar(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.scalar(Json::Text(Cow::Owned(value.into())))
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.scalar(Json::Null)
    }
}

/// Deserializes a value until the budget of values is exhausted.
struct Value<'b> {
    budget: &'b mut usize,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        match self.budget.checked_sub(1) {
            Some(rest) => {
                *self.budget = rest;
                deserializer.deserialize_any(self)
            }
            None => deserializer.deserialize_ignored_any(IgnoredAny).map(|_| Json::Cut),
        }
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut fields = Vec::new();
        let mut cut = false;
        while let Some(name) = map.next_key_seed(Name)? {
            let value = map.next_value_seed(Value { budget: &mut *self.budget })?;
            if !cut {
                cut = value.is_cut();
                fields.push((name, value));
            }
        }
        Ok(Json::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json<'de>, A::Error> {
        let mut elements = Vec::new();
        let mut cut = false;
        while let Some(value) = list.next_element_seed(Value { budget: &mut *self.budget })? {
            if !cut {
                cut = value.is_cut();
                elements.push(value);
            }
        }
        Ok(Json::List(elements))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Flag(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(Number::Natural(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(Number::Negative(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number(Number::Float(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.into())))
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }
}

/// Deserializes a field name, borrowed if it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(value.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Log(Vec<String>);

    impl Walker for Log {
        fn choose(&mut self, path: &Path<'_>) -> Choice {
            if path.is(&["skipped"]) {
                Choice::Skip
            } else if path.is(&["list", "[]"]) {
                Choice::Take
            } else {
                Choice::Enter
            }
        }

        fn take(&mut self, path: &Path<'_>, value: Json<'_>) {
            self.0.push(format!("{:?} {:?}", path.steps(), value.get("a").natural()));
        }
    }

    #[test]
    fn walk_follows_the_choices() {
        let mut log = Log::default();
        walk(br#"{"skipped": [1, {"x": 2}], "list": [{"a": 1, "a": "2"}, 3], "s": null}"#, &mut log).unwrap();
        assert_eq!(
            log.0,
            [r#"[Field("list"), Element(0)] Some(2)"#, r#"[Field("list"), Element(1)] None"#, r#"[Field("s")] None"#,]
        );
    }

    #[test]
    fn fields_of_the_wrong_type_count_as_missing() {
        let value =
            parse(br#"{"t": " x\u0041 ", "n": "17", "f": "1", "l": [null], "o": {}, "e": "", "g": -1.5}"#).unwrap();
        assert_eq!(value.get("t").text(), Some("xA"));
        assert_eq!(value.get("n").natural(), Some(17));
        assert_eq!(value.get("f").flag(), Some(true));
        assert_eq!(value.get("l").list(), [Json::Null]);
        assert_eq!(value.get("e").text(), None);
        assert_eq!(value.get("g").natural(), None);
        assert_eq!(value.get("o").get("x").text(), None);
        assert!(value.get("l").list()[0].list().is_empty());
    }

    #[test]
    fn outlines_of_documents() {
        let render = |text: &str| {
            let format =
                |(path, text): (String, Option<String>)| text.map_or(path.clone(), |text| format!("{path}={text}"));
            outline(text).into_iter().map(format).collect::<Vec<_>>()
        };
        let text = r#" {"a": [{"b": "x\"]", "c": 1}, {"d": null}], "e": "y", "f": {"g": [["#;
        assert_eq!(render(text), ["a", "a/[]", "a/[]/b=x\\\"]", "a/[]/c", "a/[]/d", "e=y", "f", "f/g", "f/g/[]"]);
        assert_eq!(render("[1, \"x\""), ["[]"]);
        assert_eq!(render("{\"a\": \"cut of"), Vec::<String>::new());
        for text in ["", "]", "\"", "x", "{}}", "é", "{\"é", "[é, \\"] {
            render(text);
        }
        assert!(render(&"[".repeat(1 << 16)).len() <= OUTLINE_OPEN_MAX);
        assert!(render(&format!("{{\"{}\": [{}", "n".repeat(1 << 15), "[0],".repeat(1 << 12))).len() < 4);
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let wide = format!("[{}0]", "[],".repeat(ELEMENT_VALUES_MAX));
        let value = parse(wide.as_bytes()).unwrap();
        assert!(value.is_cut());
        assert!(value.list().len() <= ELEMENT_VALUES_MAX);
        let deep = "[".repeat(1 << 20);
        assert!(parse(deep.as_bytes()).is_err());
        let deep = format!("{}0{}", r#"{"skipped":"#.repeat(1 << 16), "}".repeat(1 << 16));
        let mut log = Log::default();
        walk(deep.as_bytes(), &mut log).unwrap();
        assert!(log.0.is_empty());
    }

    #[test]
    fn malformed_documents_are_errors() {
        for text in ["", "{", "[1,]", "{} {}", "{\"a\":\"\\ud800\"}x", "\u{feff}[]"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"[\"\xff\"]").is_err());
    }
}
