//! Percent escapes.

/// Undoes escapes until none is left, in one pass.
///
/// Undoing round after round would take a round for every level of `%252525…`, and an attacker has eight thousand
/// bytes for levels. Here an escape is undone as soon as its last digit arrives, and the byte that comes out is taken
/// as if it had arrived: it may be the digit that completes another escape. Every step shortens the text by two
/// bytes, so the work is linear.
///
/// The result is that of the rounds: two escapes never overlap (`%` is no digit), so undoing one never breaks
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

/// Appends the bytes, escaping those that canonical text cannot hold.
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

/// Whether canonical text holds the byte only as an escape.
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

    /// The page's wording: unescape, and again, until nothing changes.
    fn unescape_in_rounds(mut text: Vec<u8>) -> Vec<u8> {
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
        fn one_pass_equals_the_rounds(pieces in prop::collection::vec(
            prop::sample::select(vec!["%", "2", "5", "25", "%25", "%32", "%35", "4", "1", "a", "F", "z", "%%", "%3"]),
            0..40,
        )) {
            let text = pieces.concat().into_bytes();
            prop_assert_eq!(unescape(text.iter().copied()), unescape_in_rounds(text));
        }

        #[test]
        fn escaping_is_undone(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let plain = unescape(bytes.into_iter());
            let mut escaped = String::new();
            escape_into(&mut escaped, &plain);
            prop_assert_eq!(unescape(escaped.bytes()), plain);
        }
    }

    #[test]
    fn levels_without_end() {
        let levels = |n: usize| format!("%{}41", "25".repeat(n)).into_bytes();
        assert_eq!(unescape(levels(1_000_000).into_iter()), b"A");
    }
}
