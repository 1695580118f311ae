//! Certificate rules: `.crb`.
//!
//! ```text
//! Name;Trusted;Subject;Serial;Pubkey;Exponent;CodeSign;TimeSign;CertSign;NotBefore;Comment[;minFL[;maxFL]]
//! ```
//!
//! `Pubkey` is the modulus of an RSA key in hexadecimal. With the exponent (65537 if the rule has none: ClamAV itself
//! always assumes it) it forms the DER SubjectPublicKeyInfo, whose SHA-1 and SHA-256 are two lookup keys. The subject's
//! hash is not a fingerprint: anybody can issue a certificate with that subject, so a rule without a public key yields
//! no record.
//!
//! `Trusted` is 1 for a key that is known to be good and 0 for a revoked one. Rules may state that a key signs other
//! certificates (`CertSign`); a record does not apply to those: trusting an authority's key does not trust the
//! certificates it issued.
//!
//! <https://docs.clamav.net/manual/Signatures/AuthenticodeRules.html>

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::spki;
use crate::{
    feed::{
        error::FeedError,
        input::Input,
        row_sink::RowSink,
        sample::{Confidence, Sample, is_hex},
        value::ValueError,
    },
    key::{Digest, DigestKind, Indicator},
    record::RecordType,
};

pub(in crate::feed) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let is_rule = |line: &str| {
        let fields: Vec<_> = line.split(';').map(str::trim).collect();
        (11..=13).contains(&fields.len())
            && matches!(fields[1], "0" | "1")
            && (fields[2].is_empty() || is_hex(fields[2], 40))
            && fields[4].bytes().all(|b| b.is_ascii_hexdigit())
            && fields[6..9].iter().all(|bit| matches!(*bit, "" | "0" | "1"))
    };
    (sample.share(is_rule) > 0.8).then_some(Confidence::Certain)
}

pub(in crate::feed) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    while let Some(line) = input.next_line()? {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        sink.row_of(&line);
        match Rule::parse(text) {
            Ok(rule) => {
                for key in rule.keys {
                    sink.list(sink.draft(Indicator::Digest(key), rule.record_type, rule.name));
                }
            }
            Err(e) => sink.value_error(e),
        }
    }
    Ok(())
}

/// One certificate rule.
struct Rule<'a> {
    name: &'a str,
    record_type: RecordType,
    keys: Vec<Digest>,
}

impl<'a> Rule<'a> {
    fn parse(line: &'a str) -> Result<Self, ValueError> {
        let fields: Vec<_> = line.split(';').map(str::trim).collect();
        let [name, trusted, _subject, _serial, modulus, exponent, _, _, _, _, _, ..] = fields[..] else {
            return Err(ValueError::Rejected(format!(
                "expected at least 11 fields separated by semicolons, found {}",
                fields.len()
            )));
        };
        let record_type = match trusted {
            "0" => RecordType::BadCertificate,
            "1" => RecordType::Trusted,
            _ => return Err(ValueError::Rejected("expected 0 or 1 in the field Trusted".into())),
        };
        if modulus.is_empty() {
            return Err(ValueError::Unsupported("a certificate rule without a public key"));
        }
        let modulus = number(modulus)
            .ok_or_else(|| ValueError::Rejected("expected a hexadecimal number in the field Pubkey".into()))?;
        let exponent = match exponent {
            "" => vec![1, 0, 1],
            text => number(text)
                .ok_or_else(|| ValueError::Rejected("expected a hexadecimal number in the field Exponent".into()))?,
        };
        let info = spki::encode(&modulus, &exponent).ok_or_else(|| {
            ValueError::Rejected(
                "expected the modulus and exponent of an RSA key in the fields Pubkey and Exponent".into(),
            )
        })?;
        let sha1 = Digest::new(DigestKind::SpkiSha1, &Sha1::digest(&info));
        let sha256 = Digest::new(DigestKind::SpkiSha256, &Sha256::digest(&info));
        Ok(Self { name, record_type, keys: sha1.into_iter().chain(sha256).collect() })
    }
}

/// Parses a hexadecimal number into bytes.
fn number(text: &str) -> Option<Vec<u8>> {
    if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    // A number with an odd number of digits lacks its leading zero.
    let padded = if text.len().is_multiple_of(2) { text.to_owned() } else { format!("0{text}") };
    (0..padded.len() / 2).map(|at| u8::from_str_radix(&padded[at * 2..at * 2 + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use crate::feed::{Format, testing};

    /// A key generated for this test: `openssl rsa -modulus`, and digests of `openssl rsa -pubout -outform DER`.
    const MODULUS: &str = "C20478A959298D77FABB24FF0FA405A3B362642C965ED1A7E0527F2B80CED4E4BEB11BB4B75B091F826B8F993393B18\
                           24C582BD27001829B7680F2FE76F144BB71192DD821D20A18AA66BC1A8B2DC82783CD6CF9C1249C9D50A8162D4D7749\
                           4E4399E20DFBC6CC2C77902189179E5ED1C8130502B2757A11AD9E82DE75D633B7";
    const SPKI_SHA1: &str = "spki-sha1:e4d468976655266477e7d5642a2fcdbbb317641c";
    const SPKI_SHA256: &str = "spki-sha256:287e611858fcc8ab7a1cabdaa1fedb28158014a6f87688f1ae207a107c565e46";

    #[test]
    fn keys_of_modulus_and_exponent() {
        let subject = "ab".repeat(20);
        let list = format!(
            "# x\nTrusted.CA.Example;1;{subject};;{MODULUS};010001;1;0;1;0;A comment;73\r\n\
             Revoked.Example;0;{subject};00;00{MODULUS};;1;1;0;;x, y\n"
        );
        let (entries, report) = testing::collect(list.as_bytes(), "x.crb", None);
        assert_eq!(
            entries,
            [
                format!("{SPKI_SHA1} trusted \"Trusted.CA.Example\""),
                format!("{SPKI_SHA256} trusted \"Trusted.CA.Example\""),
                format!("{SPKI_SHA1} bad-certificate \"Revoked.Example\""),
                format!("{SPKI_SHA256} bad-certificate \"Revoked.Example\""),
            ]
        );
        assert_eq!((report.format, report.rows), (Format::ClamAvCrb, 2));
    }

    #[test]
    fn rules_without_a_usable_key() {
        let subject = "ab".repeat(20);
        let rule = |trusted: &str, modulus: &str, exponent: &str| {
            format!("X;{trusted};{subject};;{modulus};{exponent};1;0;0;0;c\n")
        };
        let list = [
            rule("0", "", "010001"),
            rule("2", MODULUS, "010001"),
            rule("0", "xyz", "010001"),
            rule("0", MODULUS, "g"),
            rule("0", "abcdef", "010001"),
            rule("0", MODULUS, "2"),
            "X;0;;;;\n".into(),
        ];
        let (entries, report) = testing::collect(list.concat().as_bytes(), "", Some(Format::ClamAvCrb));
        assert!(entries.is_empty());
        assert_eq!((report.unsupported, report.rejected), (1, 6));
    }
}
