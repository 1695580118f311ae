//! A server in a process of its own, which can be killed: the test program itself, started again.

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use crate::common::snapshot;
use ksn::{Certificate, ClientConfig, Index, Pin, Server, ServerConfig, Trust};

/// A server that runs until it is killed or dropped.
pub(crate) struct ServerProcess {
    pub(crate) address: SocketAddr,
    pub(crate) pin: Pin,
    /// When it had begun to listen.
    pub(crate) listening_at: Instant,
    child: Child,
}

impl ServerProcess {
    /// Starts a server and waits until it listens. The test program MUST have a test `server_process` that calls
    /// [`run`].
    pub(crate) fn start(state: &Path, listen: SocketAddr, cores: usize) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["server_process", "--exact", "--ignored", "--nocapture"])
            .env(STATE, state)
            .env(LISTEN, listen.to_string())
            .env(CORES, cores.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains(LISTENING)).expect("a server");
        let mut words = line.split(LISTENING).nth(1).unwrap().split_whitespace();
        let mut word = || words.next().unwrap();
        let (address, pin) = (word().parse().unwrap(), word().parse().unwrap());
        Self { address, pin, listening_at: Instant::now(), child }
    }

    pub(crate) fn client_config(&self) -> ClientConfig {
        ClientConfig::new(self.address.to_string(), Trust::Pin(self.pin))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the server (SIGKILL), which sends nothing more.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the server of [`ServerProcess::start`]; does nothing if the test program was started by somebody else.
pub(crate) fn run() {
    let Some(state) = env::var_os(STATE) else { return };
    let text = |name| env::var(name).unwrap();
    let certificate = Certificate::SelfSigned { state: state.into() };
    let config = ServerConfig {
        cores: text(CORES).parse().unwrap(),
        connections_per_address: 10_000,
        ..ServerConfig::new(text(LISTEN).parse().unwrap(), certificate)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::bind(config, Arc::new(Index::new(snapshot(1)))).unwrap();
        println!("\n{LISTENING}{} {}", server.local_addr(), server.pin());
        server.run(std::future::pending()).await;
    });
}

const STATE: &str = "KSN_TEST_SERVER_STATE";
const LISTEN: &str = "KSN_TEST_SERVER_LISTEN";
const CORES: &str = "KSN_TEST_SERVER_CORES";
const LISTENING: &str = "listening on ";
