//! ClamAV databases, as written by `sigtool --unpack` and published by third parties.
//!
//! Three of their syntaxes hold lookup keys: hashes of whole files ([`hash`]), certificate rules ([`certificate`]) and
//! hashed URLs ([`url`]). The others match parts of files or displayed links; some hold values that look like a key but
//! are not (the hash of a PE section), so they are refused by name ([`other`]).
//!
//! <https://docs.clamav.net/manual/Signatures.html>

mod certificate;
mod hash;
mod other;
mod signature;
mod spki;
mod url;

pub(super) use self::{
    certificate::{detect as detect_certificates, read as read_certificates},
    hash::{detect_hashes, detect_trusted, read_hashes, read_trusted},
    other::refuse,
    url::{detect as detect_urls, read as read_urls},
};
