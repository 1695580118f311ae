//! ClamAV databases, as `sigtool --unpack` writes them and third parties publish them.
//!
//! Of their many syntaxes three have keys: hashes of whole files ([`hash`]), certificate rules ([`certificate`]) and
//! hashed addresses ([`url`]). The others match parts of files or displayed links; what looks like a key in some of them
//! (the hash of a PE section) is none, so they are refused by name ([`other`]).
//!
//! <https://docs.clamav.net/manual/Signatures.html>

mod certificate;
mod hash;
mod other;
mod spki;
mod url;

pub(super) use self::{
    certificate::{read as read_certificates, recognise as recognise_certificates},
    hash::{read_hashes, read_trusted, recognise_hashes, recognise_trusted},
    other::refuse,
    url::{read as read_urls, recognise as recognise_urls},
};
