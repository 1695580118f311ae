//! What `serve` keeps for itself and for `lookup` on the same machine: its certificate, and where it listens.

use std::{
    env, fs,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use ksn::Pin;
use serde::{Deserialize, Serialize};

/// Where the server that was last started on this machine is, and how to know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Serving {
    /// An address on which this machine reaches it.
    pub(super) address: SocketAddr,
    /// The pin of its certificate.
    pin: String,
}

impl Serving {
    pub(super) fn new(listening: SocketAddr, pin: Pin) -> Self {
        // One listens on all addresses, but connects to one.
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

    /// Keeps it, replacing what an earlier server kept.
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

    /// The one that was kept last; `None` when no server was ever started.
    pub(super) fn load(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .with_context(|| format!("cannot read {}; `ksn serve` writes it anew", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

const FILE: &str = "serving.json";

/// The directory for what is kept between runs: `KSN_STATE_DIR`, else the place that the system has for such things.
pub(super) fn directory() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(path) = env::var_os("KSN_STATE_DIR").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let found = if cfg!(windows) {
        absolute("LOCALAPPDATA").map(|path| path.join("ksn"))
    } else {
        // A relative path there is to be ignored (XDG Base Directory Specification).
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        state.map(|path| path.join("ksn"))
    };
    match found {
        Some(path) => Ok(path),
        None => bail!(
            "there is no directory to keep state in: neither KSN_STATE_DIR nor {} is set",
            if cfg!(windows) { "LOCALAPPDATA" } else { "XDG_STATE_HOME nor HOME" }
        ),
    }
}
