//! Sizes on the command line.

/// Parses a number of bytes, such as `1000`, `64K`, `100M` or `2GiB`. Units are powers of 1024, as in other tools that
/// take sizes of files.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let expected =
        || format!("expected a number of bytes, also with a unit K, M, G or T, such as `100M`, found {text:?}");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("expected a size below 16384 PiB (64 bits), found {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("1000", 1000), ("64K", 65_536), ("2GiB", 2 << 30), ("1t", 1 << 40)] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "1.5G", "-1", "10 M", "10MB", "1é", "99999999T"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
