//! The SubjectPublicKeyInfo of an RSA key, in DER (RFC 8017, appendix A.1.1, and RFC 5280, section 4.1.2.7):
//!
//! ```text
//! SEQUENCE { SEQUENCE { OID rsaEncryption, NULL }, BIT STRING { SEQUENCE { INTEGER modulus, INTEGER exponent } } }
//! ```

/// Accepted lengths of a modulus in bits: no shorter keys were ever used, and no software accepts longer ones.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 512..=16_384;

/// `1.2.840.113549.1.1.1` with its NULL parameters, as one SEQUENCE.
const RSA_ENCRYPTION: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Encodes a public key given as big-endian numbers. Returns `None` if they are not an RSA key: both MUST be odd, and
/// the modulus MUST have an accepted length.
pub(super) fn encode(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    let (modulus, exponent) = (significant(modulus), significant(exponent));
    let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
    let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    if !MODULUS_BITS.contains(&bits)
        || !odd(modulus)
        || !odd(exponent)
        || exponent == [1]
        || exponent.len() > modulus.len()
    {
        return None;
    }
    let key = element(SEQUENCE, &[element(INTEGER, &[unsigned(modulus)]), element(INTEGER, &[unsigned(exponent)])]);
    // The number of unused bits in the last byte is 0.
    let key = element(BIT_STRING, &[vec![0], key]);
    Some(element(SEQUENCE, &[RSA_ENCRYPTION.to_vec(), key]))
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Encodes tag, length and content.
fn element(tag: u8, content: &[Vec<u8>]) -> Vec<u8> {
    let content = content.concat();
    let length = content.len();
    let mut element = vec![tag];
    if length < 0x80 {
        element.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = significant(&bytes);
        element.push(0x80 | bytes.len() as u8);
        element.extend_from_slice(bytes);
    }
    element.extend(content);
    element
}

/// Returns a number with a leading zero byte if it would be negative otherwise.
fn unsigned(number: &[u8]) -> Vec<u8> {
    let sign = number.first().filter(|&&first| first >= 0x80).map(|_| 0);
    sign.into_iter().chain(number.iter().copied()).collect()
}

fn significant(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|&&b| b == 0).count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_encoding() {
        assert_eq!(element(SEQUENCE, &[vec![7; 0x7f]])[..3], [0x30, 0x7f, 7]);
        assert_eq!(element(SEQUENCE, &[vec![7; 0x80]])[..4], [0x30, 0x81, 0x80, 7]);
        assert_eq!(element(SEQUENCE, &[vec![7; 0x100]])[..5], [0x30, 0x82, 1, 0, 7]);
    }

    #[test]
    fn invalid_keys_are_rejected() {
        let modulus = [0xff; 64];
        assert!(encode(&modulus, &[3]).is_some());
        assert_eq!(encode(&modulus, &[0, 3]), encode(&[&[0, 0], &modulus[..]].concat(), &[3]));
        for exponent in [&[][..], &[0], &[1], &[2], &[0xff; 65]] {
            assert_eq!(encode(&modulus, exponent), None);
        }
        for modulus in [&[][..], &[0; 64], &[0xff; 63], &[0xfe; 64], &[0xff; 2049]] {
            assert_eq!(encode(modulus, &[1, 0, 1]), None);
        }
    }
}
