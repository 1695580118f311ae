//! The ksn server in a child process, which is this program started again: so that its memory can be measured, and its
//! limits set for a benchmark with ten thousand clients.

use std::{io::Write, path::Path, process::Command};

use ksn::{Certificate, ClientConfig, Index, Pin, Server, ServerConfig, Trust};

use crate::{Skip, ours::one_thread, process::Process, snapshots::resident_memory};

/// A server process that is killed on drop.
pub(crate) struct ChildServer {
    process: Process,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) pin: Pin,
}

impl ChildServer {
    pub(crate) fn start(snapshot: &Path) -> Result<Self, Skip> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new(program);
        command.arg("--serve").arg(snapshot);
        let (process, line) = Process::start_and_read_line(&mut command)?;
        let words: Vec<_> = line.split_whitespace().collect();
        let [address, pin] = words[..] else {
            return Err(format!("expected address and pin of the server, found {line:?}"));
        };
        let address = address.parse().map_err(|_| format!("expected an address of the server, found {address:?}"))?;
        let pin = pin.parse().map_err(|_| format!("expected a pin of the server, found {pin:?}"))?;
        Ok(Self { process, address, pin })
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        ClientConfig::new(self.address.to_string(), Trust::Pin(self.pin))
    }

    /// Returns the resident memory of the server in bytes.
    pub(crate) fn memory(&self) -> Result<u64, Skip> {
        resident_memory(self.process.id()).ok_or("the system does not report the memory of a process".into())
    }
}

/// Serves a snapshot until the process is killed; runs in the child.
pub(crate) fn serve(snapshot: &Path) {
    let index = Index::open(snapshot).expect("a snapshot");
    let state = tempfile::tempdir().expect("a temporary directory");
    let certificate = Certificate::SelfSigned { state: state.path().into() };
    let mut config = ServerConfig::new("127.0.0.1:0".parse().expect("an address"), certificate);
    // All clients of a benchmark share one address.
    config.connections_per_address = config.connections;
    config.handshakes = config.connections;
    one_thread().block_on(async {
        let server = Server::bind(config, index.into()).expect("a free port");
        println!("{} {}", server.local_addr(), server.pin());
        std::io::stdout().flush().expect("the parent reads it");
        // The certificate has been read. Dropped here, the directory is removed even though this process is killed.
        drop(state);
        server.run(std::future::pending()).await;
    });
}
