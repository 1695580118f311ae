//! Percent-encoding.

/// Decodes escapes until none is left, in one pass.
///
/// Decoding repeatedly would need one pass for each level of `%252525…`, and an attacker has eight thousand bytes for
/// levels. Here an escape is decoded as soon as its last digit is read, and the decoded byte is processed as if it had
/// been read: it may be the digit that completes another escape. Each step shortens the text by two bytes, so the work
/// is linear.
///
/// The result is that of repeated passes: two escapes never overlap (`%` is not a digit), so decoding one never breaks
/// another, and the order does not matter.
pub(super) fn unescape(text: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.size_hint().1.unwrap_or(0));
    for mut byte in text {
        while let Some(low) = digit(byte)
            && let [.., b'%', high] = out[..]
            && let Some(high) = digit(high)
        {
            out.truncate(out.len() - 2);
            byte = high << 4 | low;
        }
        out.push(byte);
    }
    out
}

/// Appends the bytes, escaping those that canonical text cannot contain.
pub(super) fn escape_into(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if must_escape(byte) {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        } else {
            out.push(char::from(byte));
        }
    }
}

/// Returns the byte of the escape that a text starts with; `None` if it starts with none, or with one that canonical
/// text cannot contain: of a byte that needs no escape, in lower case, or of a percent sign that would begin another
/// escape.
pub(super) fn canonical_escape(text: &[u8]) -> Option<u8> {
    let [b'%', high @ (b'0'..=b'9' | b'A'..=b'F'), low @ (b'0'..=b'9' | b'A'..=b'F'), rest @ ..] = text else {
        return None;
    };
    let byte = digit(*high)? << 4 | digit(*low)?;
    let is_nested = byte == b'%' && matches!(rest, [a, b, ..] if digit(*a).and(digit(*b)).is_some());
    (must_escape(byte) && !is_nested).then_some(byte)
}

/// Returns whether canonical text contains the byte only as an escape.
pub(super) fn must_escape(byte: u8) -> bool {
    byte <= 0x20 || byte >= 0x7F || byte == b'#' || byte == b'%'
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes as the specification describes: unescape repeatedly, until nothing changes.
    fn unescape_repeatedly(mut text: Vec<u8>) -> Vec<u8> {
        loop {
            let mut next = Vec::new();
            let mut rest = &text[..];
            while let Some((&first, tail)) = rest.split_first() {
                match rest {
                    [b'%', high, low, tail @ ..] if digit(*high).is_some() && digit(*low).is_some() => {
                        next.push(digit(*high).unwrap() << 4 | digit(*low).unwrap());
                        rest = tail;
                    }
                    _ => {
                        next.push(first);
                        rest = tail;
                    }
                }
            }
            if next == text {
                return text;
            }
            text = next;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn one_pass_equals_repeated_passes(pieces in prop::collection::vec(
            prop::sample::select(vec!["%", "2", "5", "25", "%25", "%32", "%35", "4", "1", "a", "F", "z", "%%", "%3"]),
            0..40,
        )) {
            let text = pieces.concat().into_bytes();
            prop_assert_eq!(unescape(text.iter().copied()), unescape_repeatedly(text));
        }

        #[test]
        fn escaping_round_trips(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let plain = unescape(bytes.into_iter());
            let mut escaped = String::new();
            escape_into(&mut escaped, &plain);
            prop_assert_eq!(unescape(escaped.bytes()), plain);
        }
    }

    #[test]
    fn deeply_nested_escapes() {
        let levels = |n: usize| format!("%{}41", "25".repeat(n)).into_bytes();
        assert_eq!(unescape(levels(1_000_000).into_iter()), b"A");
    }
}
