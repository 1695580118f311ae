//! The secret of a server, and the keys that its endpoints derive from it.
//!
//! A server that crashed has forgotten its connections. With the same keys as before it can tell their clients so (a
//! stateless reset, RFC 9000, section 10.3), who otherwise wait for their own timers. Therefore the keys are derived from
//! 32 random bytes that outlive the process. They do not depend on the certificate, whose rotation changes nothing for
//! connections; and they depend on the listen address, because two servers with one reset key could be made to reset
//! one another's connections (section 21.11).

use std::{
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::{hkdf, hmac};
use quinn::{EndpointConfig, crypto::HandshakeTokenKey};

use super::{
    connection_id::{ConnectionIdKey, ConnectionIds},
    state_file::{self, Access},
    tls,
};

/// The secret of a server: [`SECRET_BYTES`] random bytes.
pub(crate) struct ServerSecret([u8; SECRET_BYTES]);

/// Why the secret of a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: expected {SECRET_BYTES} random bytes, found {found}: delete the file, a new one is created", path.display())]
    Length { path: PathBuf, found: usize },
}

impl ServerSecret {
    /// Loads the secret of a state directory, `server.secret`, and creates it if there is none. Only its owner can read
    /// the file.
    pub(crate) fn load_or_create(directory: &Path) -> Result<Self, SecretError> {
        let path = directory.join("server.secret");
        let failed = |source| SecretError::File { path: path.clone(), source };
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let new = Self::random();
                match state_file::create(&path, &new.0, Access::Private) {
                    Ok(()) => return Ok(new),
                    // Another server of the directory has created it meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::read(&path).map_err(failed)?,
                    Err(error) => return Err(failed(error)),
                }
            }
            read => read.map_err(failed)?,
        };
        let found = bytes.len();
        bytes.try_into().map(Self).map_err(|_| SecretError::Length { path, found })
    }

    /// Creates a secret that ends with the process.
    pub(crate) fn random() -> Self {
        let mut bytes = [0; SECRET_BYTES];
        // Fails only if the system has no randomness, and then TLS fails too.
        tls::provider().secure_random.fill(&mut bytes).expect("the system has randomness");
        Self(bytes)
    }

    /// Derives the keys of the endpoints that listen on an address.
    pub(crate) fn keys(&self, listen: SocketAddr) -> EndpointKeys {
        EndpointKeys {
            reset: self.derive("ksn reset", listen),
            token: self.derive("ksn token", listen),
            connection_id: self.derive("ksn connection id", listen),
        }
    }

    /// Derives one key by HKDF-SHA256 (RFC 5869), without a salt and with label and address as the info.
    fn derive(&self, label: &str, listen: SocketAddr) -> [u8; 32] {
        let info = format!("{label} {listen}");
        let mut key = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
            .extract(&self.0)
            .expand(&[info.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|key_material| key_material.fill(&mut key))
            .expect("a key of the length of the hash");
        key
    }
}

/// The keys that all endpoints of a server share.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EndpointKeys {
    reset: [u8; 32],
    token: [u8; 32],
    connection_id: ConnectionIdKey,
}

impl EndpointKeys {
    /// Returns the configuration of endpoint `number` of `endpoints`.
    pub(crate) fn endpoint_config(&self, number: usize, endpoints: usize) -> EndpointConfig {
        let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &self.reset)));
        let key = self.connection_id;
        config
            .cid_generator(move || Box::new(ConnectionIds::new(key, number, endpoints)))
            .min_reset_interval(RESET_INTERVAL_MIN);
        config
    }

    /// Returns the key of the tokens with which clients prove their addresses.
    pub(crate) fn token_key(&self) -> Arc<dyn HandshakeTokenKey> {
        Arc::new(hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &self.token))
    }
}

impl fmt::Debug for EndpointKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointKeys").finish_non_exhaustive()
    }
}

const SECRET_BYTES: usize = 32;

/// The shortest time between two resets of an endpoint. All clients of a server that crashed send at once, and with
/// quinn's 20 ms a thousand of them would be told within 20 s. 10,000 resets per second, each shorter than the packet
/// that it answers and only for IDs with the right check, are no attack on anybody.
const RESET_INTERVAL_MIN: Duration = Duration::from_micros(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::Identity;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_secret_is_created_once_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("new");
        let created = ServerSecret::load_or_create(&state).unwrap();
        let path = state.join("server.secret");
        assert_eq!(fs::read(&path).unwrap(), created.0);
        assert_eq!(ServerSecret::load_or_create(&state).unwrap().0, created.0);
        assert_ne!(ServerSecret::random().0, created.0);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, "short").unwrap();
        let error = ServerSecret::load_or_create(&state).err().unwrap().to_string();
        assert!(error.contains("server.secret: expected 32 random bytes, found 5"), "{error}");
    }

    /// Prevents servers that start at the same time from using different secrets, of which only one is stored.
    #[test]
    fn servers_that_start_together_share_their_secret() {
        let directory = tempfile::tempdir().unwrap();
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let load = || ServerSecret::load_or_create(directory.path()).unwrap().0;
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    }

    /// Prevents a renewed certificate from blinding the clients of a server that crashes.
    #[test]
    fn keys_outlive_the_certificate_and_depend_on_label_and_address() {
        let directory = tempfile::tempdir().unwrap();
        let load = || {
            let pin = Identity::load_or_create(directory.path()).unwrap().pin();
            (pin, ServerSecret::load_or_create(directory.path()).unwrap().keys(address("127.0.0.1:4433")))
        };
        let (first_pin, first) = load();
        for name in ["server.crt", "server.key", "server.pin"] {
            fs::remove_file(directory.path().join(name)).unwrap();
        }
        let (second_pin, second) = load();
        assert!(first_pin != second_pin && first == second);

        let secret = ServerSecret([1; SECRET_BYTES]);
        let keys = |text| secret.keys(address(text));
        let EndpointKeys { reset, token, connection_id } = keys("127.0.0.1:4433");
        assert!(reset != token && token != connection_id && connection_id != reset);
        for other in ["127.0.0.1:4434", "127.0.0.2:4433", "[::1]:4433"] {
            let other = keys(other);
            assert!(other.reset != reset && other.token != token && other.connection_id != connection_id);
        }
    }

    /// Prevents a change of the derivation: it would blind the clients of a server that is updated after a crash.
    #[test]
    fn derivation_is_fixed() {
        let key = ServerSecret([1; SECRET_BYTES]).derive("ksn reset", address("127.0.0.1:4433"));
        let expected = "e250002a45292df88cf48b8a6d8af3e54b3324d4129779f4746cc26e8b63eb46";
        assert_eq!(crate::key::Hex(&key).to_string(), expected);
    }
}
