//! State that `serve` stores for itself and for clients on the same machine: its certificate, and for each address the
//! server that was last started there.

use std::{
    env, fs,
    fs::{File, TryLockError},
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use ksn::Pin;
use serde::{Deserialize, Serialize};

/// A server that was started on this machine: the content of one file.
///
/// Each address has its own file, so that servers do not overwrite one another's. A server holds a lock on its file
/// while it runs: the system releases the lock however the server ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StartedServer {
    /// An address at which this machine reaches the server.
    pub(super) address: SocketAddr,
    /// The pin of the server certificate.
    pin: String,
    /// When the server was started, in milliseconds since 1970.
    started_ms: u64,
}

/// Marks a server as running until it is dropped.
#[derive(Debug)]
pub(super) struct RunningMark {
    _locked: File,
}

impl StartedServer {
    pub(super) fn new(listening: SocketAddr, pin: Pin) -> Self {
        // An unspecified address accepts connections, but cannot be connected to.
        let address = match listening.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self { address: SocketAddr::new(address, listening.port()), pin: pin.to_string(), started_ms }
    }

    pub(super) fn pin(&self) -> Result<Pin> {
        self.pin.parse().with_context(|| format!("in {} of the state directory", self.file_name()))
    }

    /// Stores it as running, replacing that of an earlier server on the same address, and deletes the oldest of the
    /// stopped servers if there are many.
    pub(super) fn save(&self, directory: &Path) -> Result<RunningMark> {
        let directory = directory.join(DIRECTORY);
        let path = directory.join(self.file_name());
        let save = || {
            fs::create_dir_all(&directory)?;
            let mut file = tempfile::NamedTempFile::new_in(&directory)?;
            writeln!(file, "{}", serde_json::to_string_pretty(self)?)?;
            // Shared, because an exclusive lock prevents reading on Windows. Not all file systems have locks: then all
            // servers count as running.
            let _ = file.as_file().try_lock_shared();
            anyhow::Ok(RunningMark { _locked: file.persist(&path)? })
        };
        let mark = save().with_context(|| format!("cannot write {}", path.display()))?;
        delete_stopped(&directory);
        Ok(mark)
    }

    fn file_name(&self) -> String {
        // Colons and brackets are not allowed in file names everywhere.
        let name = self.address.to_string().replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "_");
        format!("{name}.{EXTENSION}")
    }
}

/// The servers that were started on this machine: the running ones first, and of these the last started.
#[derive(Debug)]
pub(super) struct StartedServers(Vec<StartedServer>);

impl StartedServers {
    /// Loads them. A file that cannot be read is reported and skipped: it is that of one server only.
    pub(super) fn load(directory: &Path) -> Result<Self> {
        let directory = directory.join(DIRECTORY);
        let mut found = Vec::new();
        for path in files(&directory).with_context(|| format!("cannot read {}", directory.display()))? {
            match load(&path) {
                Ok(loaded) => found.push(loaded),
                Err(error) => {
                    let error = super::error_chain(&error);
                    eprintln!("ksn: {}: {error}: `ksn serve` on the same address rewrites it", path.display());
                }
            }
        }
        found.sort_by_key(|(server, is_running)| (!is_running, std::cmp::Reverse(server.started_ms)));
        Ok(Self(found.into_iter().map(|(server, _)| server).collect()))
    }

    /// Returns the server that was last started and still runs; if none runs, the one that was last started.
    pub(super) fn last(&self) -> Option<&StartedServer> {
        self.0.first()
    }

    /// Returns the server at `host:port`.
    ///
    /// All loopback names and addresses with the port are the same to this: a server on `[::]` is reached at each of
    /// them, and if it is another server, its certificate does not match the pin.
    pub(super) fn at(&self, server: &str) -> Option<&StartedServer> {
        let (host, port) = server.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let (ip, port) = (host.parse::<IpAddr>().ok(), port.parse::<u16>().ok()?);
        let is_loopback = ip.map_or_else(|| is_localhost(host), |ip| ip.is_loopback());
        let exact = self.0.iter().find(|saved| Some(saved.address.ip()) == ip && saved.address.port() == port);
        exact.or_else(|| {
            let is_at = |saved: &&StartedServer| saved.address.ip().is_loopback() && saved.address.port() == port;
            self.0.iter().find(is_at).filter(|_| is_loopback)
        })
    }
}

/// Returns whether a name is that of the loopback interface (RFC 6761, section 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Loads one file. Returns the server, and whether it runs.
fn load(path: &Path) -> Result<(StartedServer, bool)> {
    let mut file = File::open(path)?;
    let text = io::read_to_string(&mut file)?;
    Ok((serde_json::from_str(&text)?, is_running(&file)))
}

/// Returns whether a server holds the lock. The lock that this takes is released when the file is closed.
fn is_running(file: &File) -> bool {
    matches!(file.try_lock(), Err(TryLockError::WouldBlock | TryLockError::Error(_)))
}

/// Deletes the oldest files of servers that do not run, so that servers on random ports do not fill the directory. This
/// is best effort: the files are small.
fn delete_stopped(directory: &Path) {
    let Ok(files) = files(directory) else { return };
    let stopped = files.into_iter().filter_map(|path| {
        let (server, is_running) = load(&path).ok()?;
        (!is_running).then_some((server.started_ms, path))
    });
    let mut stopped: Vec<_> = stopped.collect();
    stopped.sort();
    for (_, path) in stopped.iter().rev().skip(STOPPED_MAX) {
        let _ = fs::remove_file(path);
    }
}

/// Returns the files of servers; none if the directory does not exist.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == EXTENSION)).collect())
}

/// The directory of the files, in the state directory.
const DIRECTORY: &str = "servers";

const EXTENSION: &str = "json";

/// Stopped servers that are remembered, with their pins.
const STOPPED_MAX: usize = 16;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn server(address: &str, number: u8) -> StartedServer {
        let pin = Pin::of_certificate(&[number]);
        StartedServer { started_ms: number.into(), ..StartedServer::new(address.parse().unwrap(), pin) }
    }

    fn last(directory: &Path) -> SocketAddr {
        StartedServers::load(directory).unwrap().last().unwrap().address
    }

    #[test]
    fn a_server_that_came_and_went_does_not_hide_another() {
        let directory = tempfile::tempdir().unwrap();
        assert!(StartedServers::load(directory.path()).unwrap().last().is_none());
        let (first, second) = (server("127.0.0.1:4433", 1), server("127.0.0.1:5544", 2));
        let running = first.save(directory.path()).unwrap();
        let passing = second.save(directory.path()).unwrap();
        assert_eq!(last(directory.path()), second.address);
        drop(passing);
        assert_eq!(last(directory.path()), first.address);
        let started = StartedServers::load(directory.path()).unwrap();
        for saved in [&first, &second] {
            let pin = started.at(&saved.address.to_string()).unwrap().pin().unwrap();
            assert_eq!(pin, saved.pin().unwrap());
        }
        // None runs any more.
        drop(running);
        assert_eq!(last(directory.path()), second.address);
    }

    #[test]
    fn a_broken_file_does_not_hide_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let _running = server("127.0.0.1:4433", 1).save(directory.path()).unwrap();
        fs::write(directory.path().join(DIRECTORY).join("127.0.0.1_1.json"), "{").unwrap();
        assert_eq!(last(directory.path()), "127.0.0.1:4433".parse::<SocketAddr>().unwrap());
    }

    #[test]
    fn loopback_names_are_the_same_server() {
        let servers = StartedServers(vec![server("127.0.0.1:4433", 1), server("[::1]:4433", 2), server("[::]:5", 3)]);
        let at = |text| servers.at(text).map(|found| found.started_ms);
        assert_eq!(at("127.0.0.1:4433"), Some(1));
        assert_eq!(at("[::1]:4433"), Some(2));
        for name in ["localhost:4433", "LOCALHOST.:4433", "ksn.localhost:4433", "127.0.0.2:4433"] {
            assert_eq!(at(name), Some(1), "{name}");
        }
        assert_eq!(at("127.0.0.1:5"), Some(3));
        for other in ["localhost:1", "localhost", "192.0.2.1:4433", "nolocalhost:4433", "localhost.example:4433", ""] {
            assert_eq!(at(other), None, "{other}");
        }
    }

    #[test]
    fn stopped_servers_are_forgotten_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let _running = server("127.0.0.1:1", 1).save(directory.path()).unwrap();
        for number in 2..60 {
            drop(server(&format!("127.0.0.1:{number}"), number).save(directory.path()).unwrap());
        }
        let started = StartedServers::load(directory.path()).unwrap();
        assert_eq!(started.last().unwrap().address.port(), 1);
        // The last to stop was running when it was saved.
        assert_eq!(started.0.len(), 1 + STOPPED_MAX + 1);
        assert!(started.at("127.0.0.1:59").is_some() && started.at("127.0.0.1:2").is_none());
    }
}
