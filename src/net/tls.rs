//! TLS 1.3 configuration: the identity of a server, and how a client verifies it.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex},
};

use quinn::{
    ConnectionError, TransportErrorCode,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::state_file::{self, Access};
use crate::{
    key::{Digest, DigestKind, Hex},
    wire::ALPN,
};

/// The SHA-256 of a server's certificate (DER): `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

/// An invalid pin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `sha256:` and 64 hexadecimal digits, as `ksn serve` prints them, found {found:?}")]
pub struct PinError {
    found: String,
}

impl Pin {
    /// Returns the pin of a certificate in DER.
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let digest = text
            .trim()
            .strip_prefix("sha256:")
            .and_then(|hex| Digest::from_hex(DigestKind::CertSha256, hex).ok())
            .ok_or_else(|| PinError { found: text.into() })?;
        let mut pin = [0; 32];
        pin.copy_from_slice(digest.bytes());
        Ok(Self(pin))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", Hex(&self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file contains no certificates or no key in PEM.
    #[error("{}: expected {expected} in PEM, found {found}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The expected content.
        expected: &'static str,
        /// The content found instead.
        found: String,
    },
    /// A self-signed certificate could not be created.
    #[error("cannot create a self-signed certificate: {0}")]
    Make(#[source] Box<dyn Error + Send + Sync>),
    /// Certificate and key do not match, or the server's name is invalid.
    #[error("{failed}: {source}")]
    Setup {
        /// What failed.
        failed: String,
        /// The error of the TLS or QUIC library.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl TlsError {
    pub(crate) fn setup(failed: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Setup { failed: failed.into(), source: source.into() }
    }
}

/// A certificate chain with its key.
#[derive(Debug)]
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads the certificate chain and the key from two PEM files.
    pub(crate) fn from_files(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let pem = |source| match source {
            rustls_pki_types::pem::Error::Io(source) => TlsError::File { path: key.into(), source },
            e => TlsError::Pem { path: key.into(), expected: "a private key", found: e.to_string() },
        };
        Ok(Self { chain: certificates(chain)?, key: PrivateKeyDer::from_pem_file(key).map_err(pem)? })
    }

    /// Loads the self-signed certificate of a directory, and creates it if there is none: `server.crt`, `server.key`
    /// (readable only by its owner) and `server.pin` (for users to copy).
    pub(crate) fn load_or_create(directory: &Path) -> Result<Self, TlsError> {
        let [chain, key, pin] = ["server.crt", "server.key", "server.pin"].map(|name| directory.join(name));
        if !chain.exists() || !key.exists() {
            let names = vec!["localhost".to_owned(), "ksn".to_owned()];
            let created = rcgen::generate_simple_self_signed(names).map_err(|e| TlsError::Make(e.into()))?;
            let write = |path: &Path, text: &str, access| {
                let failed = |source| TlsError::File { path: path.into(), source };
                state_file::write(path, text.as_bytes(), access).map_err(failed)
            };
            // The certificate is written last, so that it never exists without its key.
            write(&key, &created.signing_key.serialize_pem(), Access::Private)?;
            write(&pin, &format!("{}\n", Pin::of_certificate(created.cert.der())), Access::Public)?;
            write(&chain, &created.cert.pem(), Access::Public)?;
        }
        Self::from_files(&chain, &key)
    }

    /// Returns the time at which the server's own certificate ends, in seconds since 1970; `None` if it cannot be read.
    pub(crate) fn not_after(&self) -> Option<i64> {
        let (_, certificate) = X509Certificate::from_der(self.chain.first()?).ok()?;
        Some(certificate.validity().not_after.timestamp())
    }

    /// Returns the pin of the server's own certificate.
    pub(crate) fn pin(&self) -> Pin {
        // `certificates` rejects files without certificates.
        Pin::of_certificate(self.chain.first().map_or(&[], |certificate| certificate.as_ref()))
    }
}

/// Returns the TLS configuration of a server. Fails with [`TlsError::Setup`] when certificate and key do not match.
pub(crate) fn server_config(identity: Identity) -> Result<QuicServerConfig, TlsError> {
    let setup = |e: rustls::Error| TlsError::setup("the server's certificate cannot be used", e);
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .map_err(setup)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    QuicServerConfig::try_from(config).map_err(|e| TlsError::setup("TLS cannot be configured", e))
}

/// Returns the TLS configuration of a client. The verifier records why it refused a server.
pub(crate) fn client_config(verifier: Arc<Verifier>, resumption: Resumption) -> Result<QuicClientConfig, TlsError> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| TlsError::setup("TLS cannot be configured", e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = resumption;
    QuicClientConfig::try_from(config).map_err(|e| TlsError::setup("TLS cannot be configured", e))
}

/// Why a server's certificate was refused.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    Pin { expected: Pin, found: Pin },
    Certificate(rustls::Error),
}

/// Verifies a server's certificate, and always its handshake signature.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: TrustAnchor,
    refusal: Mutex<Option<Refusal>>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum TrustAnchor {
    Pin(Pin),
    Authorities(Arc<WebPkiServerVerifier>),
}

impl Verifier {
    /// Creates a verifier that trusts one certificate, regardless of its names, dates and issuer.
    pub(crate) fn with_pin(pin: Pin) -> Self {
        Self { trust: TrustAnchor::Pin(pin), refusal: Mutex::default(), provider: provider() }
    }

    /// Creates a verifier that trusts certificates for the server's name that are signed by the CAs of a PEM file.
    pub(crate) fn with_authorities(path: &Path) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|e| TlsError::Pem {
                path: path.into(),
                expected: "CA certificates",
                found: e.to_string(),
            })?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|e| TlsError::setup("CA certificates cannot be used", e))?;
        Ok(Self { trust: TrustAnchor::Authorities(verifier), refusal: Mutex::default(), provider: provider() })
    }

    /// Returns why a server was refused since the last [`Self::forget_refusal`]. Attempts to connect to several addresses
    /// of a server share it.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal.lock().map_or(None, |refusal| refusal.clone())
    }

    pub(crate) fn forget_refusal(&self) {
        if let Ok(mut slot) = self.refusal.lock() {
            *slot = None;
        }
    }

    fn refuse(&self, refusal: Refusal) {
        if let Ok(mut slot) = self.refusal.lock() {
            *slot = Some(refusal);
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            TrustAnchor::Pin(expected) => {
                let found = Pin::of_certificate(end_entity);
                if found == *expected {
                    return Ok(ServerCertVerified::assertion());
                }
                self.refuse(Refusal::Pin { expected: *expected, found });
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            TrustAnchor::Authorities(verifier) => verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .inspect_err(|e| self.refuse(Refusal::Certificate(e.clone()))),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not supported".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Returns whether a handshake failed because the peers have no ALPN protocol in common.
pub(crate) fn has_no_common_protocol(error: &ConnectionError) -> bool {
    let code = match error {
        ConnectionError::TransportError(error) => error.code,
        ConnectionError::ConnectionClosed(close) => close.error_code,
        _ => return false,
    };
    code == TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL)
}

/// The TLS alert `no_application_protocol` (RFC 7301, section 3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Returns the crypto provider, with AES-128 as the preferred cipher: as strong as the rest of the handshake, and the
/// fastest on processors with AES instructions.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = |e: rustls_pki_types::pem::Error| match e {
        rustls_pki_types::pem::Error::Io(source) => TlsError::File { path: path.into(), source },
        e => TlsError::Pem { path: path.into(), expected: "certificates", found: e.to_string() },
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(found)?.collect();
    let certificates = certificates.map_err(found)?;
    if certificates.is_empty() {
        return Err(TlsError::Pem { path: path.into(), expected: "certificates", found: "none".into() });
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_identity_is_created_once_and_its_key_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let created = Identity::load_or_create(directory.path()).unwrap();
        let loaded = Identity::load_or_create(directory.path()).unwrap();
        assert_eq!(created.pin(), loaded.pin());
        let text = fs::read_to_string(directory.path().join("server.pin")).unwrap();
        assert_eq!(text.parse(), Ok(created.pin()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(directory.path().join("server.key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        server_config(loaded).unwrap();
    }

    #[test]
    fn invalid_certificate_errors_name_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        assert!(matches!(Verifier::with_authorities(&path), Err(TlsError::File { .. })));
        fs::write(&path, "hello").unwrap();
        let error = Verifier::with_authorities(&path).unwrap_err().to_string();
        assert!(error.contains("ca.pem: expected certificates in PEM, found none"), "{error}");
        assert!("sha256:12".parse::<Pin>().is_err());
    }
}
