//! rbldnsd: the usual server of IPv4 lists, queried over DNS.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    Skip,
    ipv4::{self, Addresses, BLOCKS, DrawAddresses},
    process::{Process, free_port},
    rounds::Sample,
};

/// An rbldnsd with the blocks of [`ipv4`], and a client connected to it.
pub(crate) struct Rbldnsd {
    _process: Process,
    socket: UdpSocket,
    _folder: TempDir,
}

const ZONE: &str = "bl.test";

/// The number of queries in flight: they and their answers fit the default socket buffers.
const IN_FLIGHT: usize = 64;

impl Rbldnsd {
    pub(crate) fn start() -> Result<Self, Skip> {
        eprintln!("  starting rbldnsd");
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let this = Self::launch(folder).map_err(|e| e.to_string())??;
        let burst = DrawAddresses::new(true).burst(10_000);
        let mut found = Vec::new();
        this.pipeline(&burst, |row| found.push(row)).map_err(|e| format!("rbldnsd: {e}"))?;
        let wanted: Vec<_> = burst.listed.iter().map(|(row, _)| *row).collect();
        assert!(found == wanted, "the answers of rbldnsd");
        Ok(this)
    }

    fn launch(folder: TempDir) -> std::io::Result<Result<Self, Skip>> {
        let mut zone = Vec::new();
        writeln!(zone, ":127.0.0.2:listed")?;
        for part in 0..BLOCKS {
            writeln!(zone, "{}", ipv4::block(part))?;
        }
        fs::write(folder.path().join("zone"), zone)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // When started by root, it changes to another user.
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        }
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new("rbldnsd");
        command.arg("-n").arg("-b").arg(format!("127.0.0.1/{}", address.port()));
        command.arg("-w").arg(folder.path()).arg(format!("{ZONE}:ip4set:zone"));
        let process = match Process::start(&mut command, "rbldnsd") {
            Ok(process) => process,
            Err(reason) => return Ok(Err(reason)),
        };
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        // It listens only after it has read its zone.
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let started = Instant::now();
        let mut answer = [0; 512];
        while socket.send(&query(0, [127, 0, 0, 2])).and_then(|_| socket.recv(&mut answer)).is_err() {
            if started.elapsed() > Duration::from_secs(20) {
                return Ok(Err("no answer from rbldnsd after twenty seconds".into()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // Discards the answers to earlier queries.
        while socket.recv(&mut answer).is_ok() {}
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Ok(Self { _process: process, socket, _folder: folder }))
    }

    /// Measures a burst.
    pub(crate) fn exchange(&self, draw: &mut DrawAddresses) -> Sample {
        let burst = draw.burst(1 << 15);
        let mut hits = 0;
        let time = self.pipeline(&burst, |_| hits += 1).expect("rbldnsd answers");
        assert_eq!(hits, burst.listed.len(), "hits of rbldnsd");
        Sample { keys: burst.bytes.len() as u64, time }
    }

    /// Pipelines queries, whose answers arrive in order, and calls `found` with the listed rows.
    fn pipeline(&self, burst: &Addresses, mut found: impl FnMut(u32)) -> std::io::Result<Duration> {
        let queries: Vec<_> =
            burst.bytes.iter().enumerate().map(|(row, address)| query(row as u16, *address)).collect();
        let mut answer = [0; 512];
        let started = Instant::now();
        let mut sent = 0;
        for row in 0..queries.len() {
            while sent < queries.len() && sent < row + IN_FLIGHT {
                self.socket.send(&queries[sent])?;
                sent += 1;
            }
            self.socket.recv(&mut answer)?;
            if answer[..2] != (row as u16).to_be_bytes() {
                return Err(std::io::Error::other("an answer was lost"));
            }
            // The number of answer records.
            if answer[6..8] != [0, 0] {
                found(row as u32);
            }
        }
        Ok(started.elapsed())
    }
}

/// Returns a DNS query for the A record of an address in the zone.
fn query(id: u16, [a, b, c, d]: [u8; 4]) -> Vec<u8> {
    let mut query = Vec::with_capacity(48);
    query.extend_from_slice(&id.to_be_bytes());
    // No recursion, one question.
    query.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in format!("{d}.{c}.{b}.{a}.{ZONE}").split('.') {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    // The root; type A, class IN.
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}
