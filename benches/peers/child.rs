//! Our server in a process of its own, which is this program started once more: so its memory can be seen, and its
//! limits set to what a benchmark with ten thousand clients needs.

use std::{io::Write, path::Path, process::Command};

use ksn::{Certificate, ClientConfig, Index, Pin, Server, ServerConfig, Trust};

use crate::{Skip, ours::one_thread, process::Process, snapshots::resident_memory};

/// A server that ends with this value.
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
        let (process, line) = Process::start_and_hear(&mut command)?;
        let words: Vec<_> = line.split_whitespace().collect();
        let [address, pin] = words[..] else { return Err("the server did not start".into()) };
        let address = address.parse().map_err(|_| "the server says no address")?;
        let pin = pin.parse().map_err(|_| "the server says no pin")?;
        Ok(Self { process, address, pin })
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        ClientConfig::new(self.address.to_string(), Trust::Pin(self.pin))
    }

    /// Bytes of memory that it holds.
    pub(crate) fn memory(&self) -> Result<u64, Skip> {
        resident_memory(self.process.id()).ok_or("the system does not say how much memory a process holds".into())
    }
}

/// What the child does: serves until it is killed.
pub(crate) fn serve(snapshot: &Path) {
    let index = Index::open(snapshot).expect("a snapshot");
    let state = tempfile::tempdir().expect("a temporary folder");
    let certificate = Certificate::SelfSigned { state: state.path().into() };
    let mut config = ServerConfig::new("127.0.0.1:0".parse().expect("an address"), certificate);
    // All clients of a benchmark have one address.
    config.connections_per_address = config.connections;
    config.retry_above_connections = config.connections;
    one_thread().block_on(async {
        let server = Server::bind(config, index.into()).expect("a free port");
        println!("{} {}", server.local_addr(), server.pin());
        std::io::stdout().flush().expect("somebody listens");
        // The certificate is read: nothing is left behind when this process is killed.
        drop(state);
        server.run(std::future::pending()).await;
    });
}
