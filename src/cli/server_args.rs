//! Selects a server and how it is authenticated: by options, else by the environment, else by the servers that were
//! started on this machine.

use std::{env, path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use ksn::{ClientConfig, ConnectError, Pin, Trust};

use super::{
    duration,
    state::{self, StartedServers},
};

/// Server address and trust. The default is the server that was last started on this machine.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArgs {
    /// Query this server: `name:port` or `address:port` [env: KSN_SERVER; default: the last one started on this
    /// machine].
    #[arg(long, value_name = "ADDR")]
    pub(super) server: Option<String>,

    /// Trust server certificates issued by an authority in this PEM file.
    #[arg(long, value_name = "PEM", conflicts_with = "pin")]
    ca: Option<PathBuf>,

    /// Trust the certificate with this pin, as printed by `ksn serve`: `sha256:` and 64 hexadecimal digits [env:
    /// KSN_PIN; default: as saved when the server was started on this machine].
    #[arg(long, value_name = "PIN")]
    pin: Option<Pin>,

    /// Maximum time to connect, and for the answer to a batch of keys [default: 2s to connect, 10s to answer].
    #[arg(long, value_name = "TIME", value_parser = duration::nonzero)]
    timeout: Option<Duration>,
}

/// Default timeout of connecting: a server that is slower is hardly worth waiting for at a terminal.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

impl ServerArgs {
    /// Returns the client configuration.
    pub(super) fn config(&self) -> Result<ClientConfig> {
        let (server, trust) = self.server_and_trust()?;
        let mut config = ClientConfig::new(server, trust);
        config.connect_timeout = self.timeout.unwrap_or(CONNECT_TIMEOUT);
        config.lookup_timeout = self.timeout.unwrap_or(config.lookup_timeout);
        Ok(config)
    }

    /// Formats a connection error, with what to do about it.
    pub(super) fn explain(&self, error: &ConnectError) -> String {
        let is_named = self.server.is_some() || variable(SERVER).is_ok_and(|server| server.is_some());
        let advice = match error {
            ConnectError::Unreachable { .. } | ConnectError::Timeout { .. } if !is_named => {
                "start a server with `ksn serve --db records.ksn`, or give `--db FILE` or `--server ADDR`"
            }
            ConnectError::Unreachable { .. } => {
                "check that the server runs and listens there (without --listen, `ksn serve` listens on \
                 127.0.0.1:4433)"
            }
            ConnectError::Timeout { .. } => {
                "check the address and the firewalls on the way, or give more time with --timeout"
            }
            _ => return error.to_string(),
        };
        format!("{error}: {advice}")
    }

    fn server_and_trust(&self) -> Result<(String, Trust)> {
        let from_environment = variable(SERVER)?;
        let server = self.server.as_ref().or(from_environment.as_ref());
        let given = match (&self.ca, self.pin) {
            (Some(file), _) => Some(Trust::Authorities { file: file.clone(), server_name: None }),
            // The pin of the environment belongs to the server of the environment.
            (None, None) if from_environment.is_none() || server == from_environment.as_ref() => {
                variable(PIN)?.map(|pin| pin.parse()).transpose().map_err(bad_pin)?.map(Trust::Pin)
            }
            (None, pin) => pin.map(Trust::Pin),
        };
        match (server, given) {
            (Some(server), Some(trust)) => Ok((server.clone(), trust)),
            (Some(server), None) => match StartedServers::load(&state::directory()?)?.at(server) {
                Some(saved) => Ok((server.clone(), Trust::Pin(saved.pin()?))),
                None => bail!(
                    "cannot authenticate {server}: give `--pin` or {PIN} with the pin that `ksn serve` printed there, \
                     or `--ca` with the PEM file of its certificate authority"
                ),
            },
            (None, Some(_)) => bail!("a pin or an authority is given, but no server: give `--server ADDR` or {SERVER}"),
            (None, None) => match StartedServers::load(&state::directory()?)?.last() {
                Some(saved) => Ok((saved.address.to_string(), Trust::Pin(saved.pin()?))),
                None => bail!(
                    "no server was started on this machine yet: start one with `ksn serve --db records.ksn`, or give \
                     `--db FILE` or `--server ADDR`"
                ),
            },
        }
    }
}

/// The server that is queried without `--server` and `--db`.
const SERVER: &str = "KSN_SERVER";

/// The pin of that server, or of the one of `--server` if the former is not set.
const PIN: &str = "KSN_PIN";

fn bad_pin(error: ksn::PinError) -> anyhow::Error {
    anyhow::anyhow!("{PIN}: {error}")
}

/// Returns an environment variable; `None` if it is not set or empty.
fn variable(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(value)) => bail!("{name}: expected UTF-8, found {value:?}"),
    }
}
