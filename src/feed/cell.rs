//! The indicators of one cell: usually one, or several that are separated by blanks, commas or semicolons.
//!
//! A cell is searched as long as it consists of indicators: after the first other word, the rest is a comment. A label
//! (`MD5:`) sets the type of the indicator after it. In a URL, a comma or semicolon separates only before a blank.

use super::{
    token::{Shape, shape, unwrapped},
    type_words::TypeWord,
    value::{self, ValueError, WithPort},
};
use crate::key::refang;

/// Receives each indicator of a cell, or why a part of it is none.
pub(super) type Found<'f> = dyn FnMut(Result<WithPort, ValueError>) + 'f;

/// Parses a cell that holds indicators of a type, or without one, of the types that they look like.
pub(super) fn read(kind: Option<TypeWord>, cell: &str, found: &mut Found<'_>) {
    let is_separator = |b: u8| b.is_ascii_whitespace() || matches!(b, b',' | b';');
    if !cell.bytes().any(is_separator) || is_composite(kind) || value::ipv4_port(cell).is_ok() {
        return read_token(kind, cell, found);
    }
    let mut label = None;
    let mut has_found = false;
    for token in tokens(cell) {
        if let Some(named) = label_of(token) {
            label = Some(named);
            continue;
        }
        let kind = label.take().or(kind);
        if !looks_like(kind, token) {
            break;
        }
        has_found = true;
        read_token(kind, token, found);
    }
    if !has_found {
        // The error describes the whole cell.
        read_token(kind, cell, found);
    }
}

/// Returns whether a cell begins with an indicator of a type (without one, of any), supported or not.
pub(super) fn begins_with(kind: Option<TypeWord>, cell: &str) -> bool {
    if is_composite(kind) || value::ipv4_port(cell).is_ok() {
        return looks_like(kind, cell);
    }
    let mut label = None;
    for token in tokens(cell) {
        match label_of(token) {
            Some(named) => label = Some(named),
            None => return looks_like(label.or(kind), token),
        }
    }
    false
}

fn is_composite(kind: Option<TypeWord>) -> bool {
    use TypeWord::{DomainIp, HostPort, IpPort, NamedDigest};
    matches!(kind, Some(NamedDigest(_) | HostPort | DomainIp | IpPort))
}

fn read_token(kind: Option<TypeWord>, token: &str, found: &mut Found<'_>) {
    // `Ip:198.51.100.7`, `domain: evil.example`: a type before the value.
    if let Some((label, value)) = token.split_once(':')
        && !looks_like(kind, token)
        && let Some(labelled) = TypeWord::of(label)
        && looks_like(Some(labelled), value.trim())
    {
        return labelled.read(value.trim(), found);
    }
    match kind {
        Some(kind) => kind.read(token, found),
        None => found(value::any(token)),
    }
}

/// Returns whether a token has the form of an indicator of a type (without one, of any), supported or not.
fn looks_like(kind: Option<TypeWord>, token: &str) -> bool {
    use TypeWord::{Domain, Host, Link, Unsupported, Uri, Url};
    let is_rejected = |result: Result<_, ValueError>| matches!(result, Err(ValueError::Rejected(_)));
    match kind {
        None => !is_rejected(value::any(token)),
        Some(Unsupported(_)) => true,
        // Any word parses as a URL.
        Some(Url | Uri | Link) => {
            let is_path = kind == Some(Uri) && token.starts_with('/');
            is_path
                || matches!(shape(token), Shape::Url | Shape::HostPath | Shape::Ipv4 | Shape::Name | Shape::FileOrName)
        }
        Some(kind @ (Domain | Host)) => refang(token).contains(['.', ':']) && !is_rejected(kind.read_one(token)),
        Some(kind) => !is_rejected(kind.read_one(token)),
    }
}

/// Returns the type that a word with a colon at its end names.
fn label_of(token: &str) -> Option<TypeWord> {
    TypeWord::of(token.strip_suffix([':', '='])?)
}

/// Returns the tokens of a cell.
fn tokens(cell: &str) -> impl Iterator<Item = &str> {
    let parts = cell.split_whitespace().flat_map(|word| {
        let is_url = word.contains("://") || word.contains('/');
        word.split(move |c| !is_url && matches!(c, ',' | ';'))
    });
    parts.map(|part| unwrapped(part.trim_end_matches([',', ';']))).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(kind: &str, cell: &str) -> Vec<String> {
        let mut all = Vec::new();
        read(TypeWord::of(kind), cell, &mut |result| {
            all.push(match result {
                Ok((indicator, _)) => indicator.to_string(),
                Err(ValueError::Unsupported(what)) => what.into(),
                Err(ValueError::Rejected(_)) => "rejected".into(),
            });
        });
        all
    }

    #[test]
    fn cells_with_several_indicators_give_all() {
        let (md5, sha1, sha256) = ("0a".repeat(16), "0b".repeat(20), "0c".repeat(32));
        let hashes = [format!("sha256:{sha256}"), format!("md5:{md5}"), format!("sha1:{sha1}")];
        for cell in [
            format!("{sha256},{md5},{sha1}"),
            format!("{sha256}; {md5};\n{sha1}"),
            format!("{sha256} {md5}  {sha1}"),
            format!("SHA256: {sha256}, MD5: {md5}, SHA1: {sha1}"),
            format!("{sha256}, {md5}, {sha1} (dropped by {})", "0d".repeat(16)),
        ] {
            assert_eq!(all("", &cell), hashes, "{cell}");
            assert_eq!(all("hash", &cell), hashes, "{cell}");
        }
        assert_eq!(
            all("", "a[.]example[.]com, 9.9.9.9 2001:db8::1 # b.example.com"),
            ["domain:a.example.com", "ipv4:9.9.9.9", "an IPv6 address"]
        );
        assert_eq!(all("ip", "9.9.9.9,9.9.9.10"), ["ipv4:9.9.9.9", "ipv4:9.9.9.10"]);
        assert_eq!(all("ip", "9.9.9.9 - 9.9.9.12"), all("ip", "9.9.9.9-9.9.9.12"));
        assert_eq!(
            all("url", "http://a.example.com/x,y;z, hxxp://b.example.com/ and more"),
            ["exact:a.example.com/x,y;z", "exact:b.example.com/"]
        );
        assert_eq!(all("domain", "a.example.com;b.example.com"), ["domain:a.example.com", "domain:b.example.com"]);
    }

    #[test]
    fn other_words_begin_a_comment() {
        let md5 = "0a".repeat(16);
        assert_eq!(all("", &format!("{md5} trojanized, see b.example.com")), [format!("md5:{md5}")]);
        assert_eq!(all("", &format!("see {md5}")), ["rejected"]);
        assert_eq!(all("hash", &format!("imphash: {md5}")), ["an import hash"]);
        assert_eq!(all("", "Ip:9.9.9.9"), ["ipv4:9.9.9.9"]);
        assert_eq!(all("ip", "Range:9.9.9.0/24"), ["ipv4:9.9.9.0/24"]);
    }
}
