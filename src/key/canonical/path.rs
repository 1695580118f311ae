//! Path normalization.

/// Resolves `/./` and `/../`, then collapses runs of slashes; a backslash is a slash. The result always starts with a
/// slash.
///
/// An empty segment counts as a segment that `..` removes: the rules resolve first and collapse afterwards, as does RFC
/// 3986, section 5.2.4.
pub(super) fn resolve(path: &[u8]) -> Vec<u8> {
    let is_slash = |b: &u8| matches!(b, b'/' | b'\\');
    let mut resolved = Vec::with_capacity(path.len() + 1);
    // The text before the first slash is empty: the authority ends where the path starts.
    let mut segments = path.split(is_slash).skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    let parent = resolved.iter().rposition(|&b| b == b'/').unwrap_or(0);
                    resolved.truncate(parent);
                }
                if is_last {
                    resolved.push(b'/');
                }
            }
            _ => {
                resolved.push(b'/');
                resolved.extend_from_slice(segment);
            }
        }
    }
    resolved.dedup_by(|next, previous| (*next, *previous) == (b'/', b'/'));
    if resolved.is_empty() {
        resolved.push(b'/');
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, resolved) in [
            ("", "/"),
            ("/", "/"),
            ("/.", "/"),
            ("/..", "/"),
            ("/../..", "/"),
            ("/../a", "/a"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/../b/", "/b/"),
            ("/foo/.././bar/./../foo.html", "/foo.html"),
            ("//a//b///c////", "/a/b/c/"),
            ("/a//../b", "/a/b"),
            ("//..", "/"),
            ("/...", "/..."),
            ("/.a/..b/c.", "/.a/..b/c."),
            ("/a;/..;/b", "/a;/..;/b"),
            ("\\a\\..\\b", "/b"),
        ] {
            assert_eq!(String::from_utf8(resolve(path.as_bytes())).unwrap(), resolved, "{path}");
            assert_eq!(String::from_utf8(resolve(resolved.as_bytes())).unwrap(), resolved, "{path}");
        }
    }
}
