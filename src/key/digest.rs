//! Digests of files, certificates and public keys, with their algorithm.

use std::{fmt, str};

/// The algorithm of a digest, and the kind of object that was hashed. The discriminant is the number of the kind in
/// frames and snapshots (see [`KeyKind`](super::KeyKind)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DigestKind {
    /// MD5 of a whole file.
    Md5 = 1,
    /// SHA-1 of a whole file.
    Sha1 = 2,
    /// SHA-256 of a whole file.
    Sha256 = 3,
    /// BLAKE3 of a whole file, 32 bytes.
    Blake3 = 4,
    /// MD5 of a DER certificate (old feeds only).
    CertMd5 = 5,
    /// SHA-1 of a DER certificate.
    CertSha1 = 6,
    /// SHA-256 of a DER certificate.
    CertSha256 = 7,
    /// SHA-1 of a DER SubjectPublicKeyInfo.
    SpkiSha1 = 8,
    /// SHA-256 of a DER SubjectPublicKeyInfo.
    SpkiSha256 = 9,
}

impl DigestKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::Blake3,
        Self::CertMd5,
        Self::CertSha1,
        Self::CertSha256,
        Self::SpkiSha1,
        Self::SpkiSha256,
    ];

    /// Returns the kind with a number of a frame or snapshot.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Returns the prefix of the text form, before the colon.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Blake3 => "blake3",
            Self::CertMd5 => "cert-md5",
            Self::CertSha1 => "cert-sha1",
            Self::CertSha256 => "cert-sha256",
            Self::SpkiSha1 => "spki-sha1",
            Self::SpkiSha256 => "spki-sha256",
        }
    }

    /// Returns the length of a digest of this kind in bytes: 16, 20 or 32.
    pub fn width(self) -> usize {
        match self {
            Self::Md5 | Self::CertMd5 => 16,
            Self::Sha1 | Self::CertSha1 | Self::SpkiSha1 => 20,
            Self::Sha256 | Self::Blake3 | Self::CertSha256 | Self::SpkiSha256 => 32,
        }
    }

    /// Returns the object hash with a width in bytes, as hexadecimal without a prefix is read: 16 is MD5, 20 SHA-1, 32
    /// SHA-256.
    pub fn of_object(width: usize) -> Option<Self> {
        match width {
            16 => Some(Self::Md5),
            20 => Some(Self::Sha1),
            32 => Some(Self::Sha256),
            _ => None,
        }
    }

    /// Returns the certificate fingerprint with a width in bytes.
    pub fn of_certificate(width: usize) -> Option<Self> {
        match width {
            16 => Some(Self::CertMd5),
            20 => Some(Self::CertSha1),
            32 => Some(Self::CertSha256),
            _ => None,
        }
    }

    /// Returns whether it is the hash of an object, rather than of a certificate or a public key.
    pub fn is_of_object(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1 | Self::Sha256 | Self::Blake3)
    }

    /// Returns whether collisions of the algorithm are practical, so that trust based on it alone is weak: MD5 and
    /// SHA-1.
    pub fn is_weak(self) -> bool {
        self.width() < 32
    }
}

/// The number of leading bytes of a digest that are sent in a lookup by prefix.
///
/// The server answers with the rest of every digest that starts with the prefix, and the client compares: the result is
/// exact whatever the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrefixWidth {
    /// Four bytes, for privacy: the server cannot distinguish the digests with this prefix, so a digest that is not
    /// listed is not disclosed. One that is listed can be guessed, and looking up one object under several kinds
    /// narrows it down. So does a web address: its prefixes arrive together, their number discloses how many labels and
    /// directories it has, and a guessed address is confirmed by all of them.
    Four,
    /// Eight bytes, for speed: a quarter of the traffic of a SHA-256. They hide nothing that can be guessed, and save
    /// no traffic for web addresses.
    Eight,
}

impl PrefixWidth {
    /// Returns the width of `bytes` bytes.
    pub fn from_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            4 => Some(Self::Four),
            8 => Some(Self::Eight),
            _ => None,
        }
    }

    /// Returns the number of bytes: 4 or 8, less than the width of any digest.
    pub fn bytes(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// A digest with its kind.
///
/// Ordered by kind, then by bytes, which is the order of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    kind: DigestKind,
    /// The digest, then zeros up to 32 bytes.
    bytes: [u8; 32],
}

/// An error in the text of a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The number of hexadecimal digits is wrong.
    #[error("expected {expected} hexadecimal digits for {kind}, found {found}", kind = kind.prefix())]
    Length {
        /// The kind that was expected.
        kind: DigestKind,
        /// The number of digits of that kind.
        expected: usize,
        /// The number of digits found.
        found: usize,
    },
    /// A character is not a hexadecimal digit.
    #[error("expected a hexadecimal digit, found {found:?} at position {at}")]
    Digit {
        /// The character.
        found: char,
        /// Its position in bytes, from 0.
        at: usize,
    },
}

impl Digest {
    /// Creates a digest from raw bytes. Returns `None` when their number is not [`DigestKind::width`].
    pub fn new(kind: DigestKind, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != kind.width() {
            return None;
        }
        let mut padded = [0; 32];
        padded[..bytes.len()].copy_from_slice(bytes);
        Some(Self { kind, bytes: padded })
    }

    /// Parses hexadecimal text of either case; colons between the bytes (`AA:BB:…`) are skipped.
    pub fn from_hex(kind: DigestKind, text: &str) -> Result<Self, DigestError> {
        if let Some(bytes) = plain_hex(text.as_bytes(), kind.width()) {
            return Ok(Self { kind, bytes });
        }
        let mut bytes = [0u8; 32];
        let mut digits = 0;
        for (at, b) in text.bytes().enumerate() {
            // A colon is accepted only between two whole bytes.
            if b == b':' && digits % 2 == 0 && digits > 0 && at + 1 < text.len() && text.as_bytes()[at - 1] != b':' {
                continue;
            }
            let Some(value) = hex_value(b) else {
                let found = text[at..].chars().next().unwrap_or('\u{fffd}');
                return Err(DigestError::Digit { found, at });
            };
            if let Some(byte) = bytes.get_mut(digits / 2) {
                *byte = *byte << 4 | value;
            }
            digits += 1;
        }
        if digits != kind.width() * 2 {
            return Err(DigestError::Length { kind, expected: kind.width() * 2, found: digits });
        }
        Ok(Self { kind, bytes })
    }

    /// Returns the kind.
    pub fn kind(&self) -> DigestKind {
        self.kind
    }

    /// Returns the bytes of the digest, [`DigestKind::width`] of them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.kind.width()]
    }
}

/// Writes the prefix of the kind and lower-case hexadecimal: `sha256:ba78…`.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.prefix(), Hex(self.bytes()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes that display as lower-case hexadecimal.
#[derive(Clone, Copy)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for chunk in self.0.chunks(32) {
            let mut text = [0u8; 64];
            for (pair, byte) in text.chunks_exact_mut(2).zip(chunk) {
                pair[0] = DIGITS[usize::from(byte >> 4)];
                pair[1] = DIGITS[usize::from(byte & 15)];
            }
            f.write_str(str::from_utf8(&text[..chunk.len() * 2]).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

/// Parses exactly `width` bytes of hexadecimal without separators. Lists have millions of digests, so there is no
/// branch per digit.
fn plain_hex(text: &[u8], width: usize) -> Option<[u8; 32]> {
    const VALUES: [u8; 256] = {
        let mut values = [0xff; 256];
        let mut digit = 0;
        while digit < 256 {
            if let Some(value) = hex_value(digit as u8) {
                values[digit] = value;
            }
            digit += 1;
        }
        values
    };
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    if pairs.len() != width {
        return None;
    }
    let (mut bytes, mut all) = ([0; 32], 0);
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (VALUES[usize::from(high)], VALUES[usize::from(low)]);
        *byte = high << 4 | low;
        all |= high | low;
    }
    (all < 16).then_some(bytes)
}

const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_stable() {
        for (i, kind) in DigestKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, i + 1);
            assert_eq!(DigestKind::from_number(kind as u8), Some(kind));
        }
        assert_eq!(DigestKind::from_number(0), None);
        assert_eq!(DigestKind::from_number(10), None);
    }

    #[test]
    fn hex_with_and_without_colons() {
        let plain = Digest::from_hex(DigestKind::CertSha1, "00112233445566778899aabbccddeeff01234567").unwrap();
        let colons = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:01:23:45:67";
        assert_eq!(Digest::from_hex(DigestKind::CertSha1, colons), Ok(plain));
        assert_eq!(plain.to_string(), "cert-sha1:00112233445566778899aabbccddeeff01234567");
        for bad in [":0011", "00::11", "0:011", "00:11:"] {
            assert!(matches!(Digest::from_hex(DigestKind::Md5, bad), Err(DigestError::Digit { .. })), "{bad}");
        }
    }

    #[test]
    fn errors_state_expected_and_found() {
        let error = Digest::from_hex(DigestKind::Sha256, "abcd").unwrap_err();
        assert_eq!(error.to_string(), "expected 64 hexadecimal digits for sha256, found 4");
        let error = Digest::from_hex(DigestKind::Md5, "zz").unwrap_err();
        assert_eq!(error.to_string(), "expected a hexadecimal digit, found 'z' at position 0");
        assert!(Digest::from_hex(DigestKind::Md5, &"a".repeat(1000)).is_err());
    }
}
