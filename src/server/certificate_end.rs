//! What an operator should know about the certificate: that it ends, or that it identifies the server to nobody.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::config::Certificate;

/// Returns whether other machines reach the server, but only know by its pin that it is the right one.
pub(super) fn is_open_without_identity(certificate: &Certificate, listening: SocketAddr) -> bool {
    matches!(certificate, Certificate::SelfSigned { .. }) && !listening.ip().to_canonical().is_loopback()
}

/// The time at which the server's certificate ends, in seconds since 1970, if it is known.
pub(super) struct CertificateEnd(pub(super) Option<i64>);

impl CertificateEnd {
    /// Warns if the certificate has ended or ends soon. Clients that pin the certificate do not look at its dates.
    pub(super) fn warn(&self) {
        let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else { return };
        match self.0.map(|end| end - now.as_secs() as i64) {
            Some(left) if left < 0 => {
                tracing::warn!(
                    "the certificate has expired: only clients that pin it accept it; replace it and restart"
                );
            }
            Some(left) if left < CERTIFICATE_NEAR.as_secs() as i64 => {
                tracing::warn!(days = left / 86_400, "the certificate expires soon: replace it and restart");
            }
            _ => {}
        }
    }
}

/// Time before the end of a certificate from which on it is logged.
const CERTIFICATE_NEAR: Duration = Duration::from_secs(30 * 24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_signed_certificate_is_enough_on_loopback_only() {
        let own = Certificate::SelfSigned { state: "state".into() };
        let issued = Certificate::Files { chain: "chain".into(), key: "key".into() };
        let is_open = |certificate, address: &str| is_open_without_identity(certificate, address.parse().unwrap());
        assert!(["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"].iter().all(|address| !is_open(&own, address)));
        assert!(["0.0.0.0:1", "[::]:1", "192.0.2.1:1"].iter().all(|address| is_open(&own, address)));
        assert!(!is_open(&issued, "0.0.0.0:1"));
    }
}
