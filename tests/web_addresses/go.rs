//! Reads the conformance folder and parses test vectors from Go source, at run time.

use std::fs;

use super::real_feeds::real_feeds;

/// One vector: the input, the expected output, and whether the call must fail.
pub(crate) struct Vector {
    pub(crate) input: Vec<u8>,
    pub(crate) output: Vec<String>,
    pub(crate) fail: bool,
}

/// Returns a file of `$KSN_FEEDS/conformance`, decompressed.
pub(crate) fn read(name: &str) -> String {
    let path = real_feeds().join("conformance").join(name);
    let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let bytes = match name.ends_with(".zst") {
        true => zstd::decode_all(bytes.as_slice()).expect("conformance files are complete"),
        false => bytes,
    };
    String::from_utf8(bytes).expect("conformance files are text")
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Text(Vec<u8>),
    Word(String),
    Mark(char),
}

/// Returns the vectors of a function `TestNAME`: the groups of the list after `vectors := []struct {…}`.
pub(crate) fn vectors(source: &str, name: &str) -> Vec<Vector> {
    let start = source.find(&format!("func Test{name}(")).unwrap_or_else(|| panic!("no Test{name}"));
    let source = &source[start..];
    let source = &source[..source.find("range vectors").expect("vectors are ranged over")];
    let tokens = tokens(source);
    // The body of the function, then the fields of the struct: the list is the second group in the first.
    let list = groups(&groups(&tokens).remove(0)).remove(1);
    groups(&list).iter().map(|tokens| vector(tokens)).collect()
}

fn vector(tokens: &[Token]) -> Vector {
    let mut texts = Vec::new();
    let (mut depth, mut output, mut has_group) = (0, Vec::new(), false);
    for token in tokens {
        match token {
            Token::Mark('{') => (depth, has_group) = (depth + 1, true),
            Token::Mark('}') => depth -= 1,
            Token::Text(text) if depth > 0 => output.push(text.clone()),
            Token::Text(text) => texts.push(text.clone()),
            _ => {}
        }
    }
    let has = |word: &str| tokens.contains(&Token::Word(word.into()));
    let lower = has("ToLower");
    // `hashes` are the input; `nil` stands for an empty list.
    if has("hashes") {
        return Vector { input: output.concat(), output: vec![into_string(texts.remove(0))], fail: false };
    }
    let input = texts.remove(0);
    if !has_group {
        output = texts;
    }
    let output = output.into_iter().map(into_string).map(|text| if lower { text.to_lowercase() } else { text });
    Vector { input, output: output.collect(), fail: has("true") }
}

fn into_string(text: Vec<u8>) -> String {
    String::from_utf8(text).expect("the output is ASCII")
}

/// Returns the expression and the digest of `TestHashFromPattern`.
pub(crate) fn hash_from_pattern(source: &str) -> (String, String) {
    let start = source.find("func TestHashFromPattern(").expect("TestHashFromPattern");
    let mut texts = tokens(&source[start..start + 300]).into_iter().filter_map(|token| match token {
        Token::Text(text) => Some(into_string(text)),
        _ => None,
    });
    (texts.next().expect("an expression"), texts.next().expect("a digest"))
}

/// Returns the outermost groups in braces, without their braces. An unclosed group counts as one.
fn groups(tokens: &[Token]) -> Vec<Vec<Token>> {
    let (mut groups, mut group, mut depth) = (Vec::new(), Vec::new(), 0);
    for token in tokens {
        match token {
            Token::Mark('}') if depth == 1 => {
                groups.push(std::mem::take(&mut group));
                depth = 0;
                continue;
            }
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => depth -= 1,
            _ => {}
        }
        if depth > 1 || depth == 1 && (*token != Token::Mark('{') || !group.is_empty()) {
            group.push(token.clone());
        }
    }
    if depth > 0 {
        groups.push(group);
    }
    groups
}

fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, next)| next);
        } else if first == '"' {
            let (text, next) = string(&rest[1..]);
            tokens.push(Token::Text(text));
            rest = next;
        } else if first.is_alphanumeric() {
            let len = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..len].into()));
            rest = &rest[len..];
        } else {
            tokens.push(Token::Mark(first));
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// Returns the bytes of a string literal, and the text after its closing quote.
fn string(rest: &str) -> (Vec<u8>, &str) {
    let mut text = Vec::new();
    let mut at = 0;
    loop {
        let byte = rest.as_bytes()[at];
        at += 1;
        match byte {
            b'"' => return (text, &rest[at..]),
            b'\\' => {
                let escape = rest.as_bytes()[at];
                at += 1;
                text.push(match escape {
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b'"' | b'\\' => escape,
                    b'x' => {
                        at += 2;
                        u8::from_str_radix(&rest[at - 2..at], 16).expect("two digits")
                    }
                    _ => panic!("escape \\{}", char::from(escape)),
                });
            }
            _ => text.push(byte),
        }
    }
}

/// Unescapes `\uXXXX` and `\x{XXXX}` (UTS 46's file); lone surrogates become U+FFFD; `""` is the empty text.
pub(crate) fn unescape_unicode(text: &str) -> String {
    if text == "\"\"" {
        return String::new();
    }
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        let (digits, next) = match escape.strip_prefix("x{") {
            Some(braced) => braced.split_once('}').expect("a closing brace"),
            None => escape.strip_prefix('u').expect("\\u or \\x").split_at(4),
        };
        let code = u32::from_str_radix(digits, 16).expect("hexadecimal");
        plain.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = next;
    }
    plain + rest
}
