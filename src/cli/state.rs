//! State that `serve` stores for itself and for `lookup` on the same machine: its certificate and its address.

use std::{
    env, fs,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use ksn::Pin;
use serde::{Deserialize, Serialize};

/// Address and pin of the server that was last started on this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Serving {
    /// An address at which this machine reaches the server.
    pub(super) address: SocketAddr,
    /// The pin of the server certificate.
    pin: String,
}

impl Serving {
    pub(super) fn new(listening: SocketAddr, pin: Pin) -> Self {
        // An unspecified address accepts connections, but cannot be connected to.
        let address = match listening.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        Self { address: SocketAddr::new(address, listening.port()), pin: pin.to_string() }
    }

    pub(super) fn pin(&self) -> Result<Pin> {
        self.pin.parse().with_context(|| format!("in {FILE} of the state directory"))
    }

    /// Stores it, replacing that of an earlier server.
    pub(super) fn save(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE);
        let save = || {
            fs::create_dir_all(directory)?;
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            writeln!(file, "{}", serde_json::to_string_pretty(self)?)?;
            file.persist(&path)?;
            anyhow::Ok(())
        };
        save().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Loads it; `None` when no server was ever started.
    pub(super) fn load(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .with_context(|| format!("cannot parse {} (`ksn serve` rewrites it)", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

const FILE: &str = "serving.json";

/// Returns the state directory: `KSN_STATE_DIR`, else `ksn` in the state directory of the platform.
pub(super) fn directory() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(path) = env::var_os("KSN_STATE_DIR").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let found = if cfg!(windows) {
        absolute("LOCALAPPDATA").map(|path| path.join("ksn"))
    } else {
        // A relative path MUST be ignored (XDG Base Directory Specification).
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        state.map(|path| path.join("ksn"))
    };
    match found {
        Some(path) => Ok(path),
        None => bail!(
            "no state directory: expected KSN_STATE_DIR, or an absolute path in {}, found none",
            if cfg!(windows) { "LOCALAPPDATA" } else { "XDG_STATE_HOME or HOME" }
        ),
    }
}
