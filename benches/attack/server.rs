//! The server under attack, in a child process, which is this program started again.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use ksn::{Certificate, ClientConfig, Index, Pin, Server, ServerConfig, Trust};
use tokio::runtime;

use crate::{Skip, process::Process};

/// A server process that is killed on drop.
pub(crate) struct ChildServer {
    process: Process,
    pub(crate) address: SocketAddr,
    pin: Pin,
    state: tempfile::TempDir,
}

impl ChildServer {
    pub(crate) fn start(snapshot: &Path) -> Result<Self, Skip> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let state = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut command = Command::new(program);
        command.arg("--serve").arg(snapshot).arg(state.path());
        let (process, line) = Process::start_and_read_line(&mut command)?;
        let bad = || format!("expected address and pin of the server, found {line:?}");
        let (address, pin) = line.trim().split_once(' ').ok_or_else(bad)?;
        let (address, pin) = (address.parse().map_err(|_| bad())?, pin.parse().map_err(|_| bad())?);
        Ok(Self { process, address, pin, state })
    }

    /// Returns the file of the server's certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.state.path().join("server.crt")
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        ClientConfig::new(self.address.to_string(), Trust::Pin(self.pin))
    }

    /// Returns the resident memory of the server in bytes.
    pub(crate) fn memory(&self) -> Result<u64, Skip> {
        self.status("VmRSS:")
    }

    /// Returns the largest resident memory that the server had, in bytes.
    pub(crate) fn memory_peak(&self) -> Result<u64, Skip> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> Result<u64, Skip> {
        let path = format!("/proc/{}/status", self.process.id());
        let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        let line = text.lines().find(|line| line.starts_with(field)).ok_or(format!("{path}: no {field}"))?;
        let kibibytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
        kibibytes.map(|kibibytes| kibibytes << 10).ok_or(format!("{path}: {line:?}"))
    }
}

/// Serves a snapshot on one core until the process is killed; runs in the child.
pub(crate) fn serve(snapshot: &Path, state: &Path) {
    let index = Index::open(snapshot).expect("a snapshot");
    let certificate = Certificate::SelfSigned { state: state.into() };
    let config = ServerConfig::new("127.0.0.1:0".parse().expect("an address"), certificate);
    let mut builder = runtime::Builder::new_current_thread();
    let runtime = builder.event_interval(ServerConfig::EVENT_INTERVAL).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = Server::bind(config, index.into()).expect("a free port");
        println!("{} {}", server.local_addr(), server.pin());
        std::io::stdout().flush().expect("the parent reads it");
        server.run(std::future::pending()).await;
    });
}
