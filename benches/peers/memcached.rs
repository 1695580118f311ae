//! memcached: started, loaded, and queried with `get` of many keys.
//!
//! Its keys are text: the digests in hexadecimal. Values are the same as in [Redis](crate::redis).

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Instant,
};

use crate::{
    Skip,
    keys::{self, Burst, Draw},
    process::{Process, free_port},
    redis::value,
    rounds::{Sample, quantity, quick_rate},
    snapshots::need_memory,
    wire::{Requests, Wire},
};

/// A memcached with the first `records` records.
pub(crate) struct Memcached {
    _process: Process,
    records: u64,
    address: SocketAddr,
}

impl Memcached {
    pub(crate) fn start(records: u64) -> Result<Self, Skip> {
        let bytes = records * 256 + (64 << 20);
        need_memory(bytes, "memcached")?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new("memcached");
        // One thread, as it has one core. The table gets its final size at once, which it would grow to anyway.
        let power = (records as f64 * 1.5).log2().ceil().clamp(16.0, 30.0);
        command.args(["-l", "127.0.0.1", "-U", "0", "-t", "1", "-u", "root", "-c", "64"]);
        command.args(["-p", &address.port().to_string(), "-m", &(bytes >> 20).to_string()]);
        command.args(["-o", &format!("hashpower={power}")]);
        let process = Process::start(&mut command, "memcached")?;
        process.wait_for(address)?;
        let this = Self { _process: process, records, address };
        this.load().map_err(|e| format!("memcached: {e}"))?;
        Ok(this)
    }

    fn load(&self) -> io::Result<()> {
        eprintln!("  loading {} records into memcached", quantity(self.records as f64));
        let started = Instant::now();
        let mut wire = self.connect()?;
        let mut request = Vec::new();
        for number in 0..self.records {
            let value = value(number);
            request.extend_from_slice(b"set ");
            hexadecimal(&mut request, &keys::digest(number));
            write!(request, " 0 0 {} noreply\r\n{value}\r\n", value.len())?;
            if request.len() > 1 << 16 {
                wire.stream.write_all(&request)?;
                request.clear();
            }
        }
        request.extend_from_slice(b"verbosity 0\r\n");
        wire.stream.write_all(&request)?;
        match wire.line()? {
            b"OK" => eprintln!("  {:.0} s", started.elapsed().as_secs_f64()),
            line => return Err(io::Error::other(String::from_utf8_lossy(line).into_owned())),
        }
        Ok(())
    }

    fn connect(&self) -> io::Result<Wire> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        Ok(Wire::new(Box::new(stream)))
    }

    /// Returns the client for bulk lookups with the fastest request size.
    pub(crate) fn best_multi_get(&self) -> Result<MultiGet, Skip> {
        let mut best: Option<(f64, MultiGet)> = None;
        for request_keys in [100, 1_000] {
            let wire = self.connect().map_err(|e| format!("memcached: {e}"))?;
            let mut client = MultiGet { wire, request_keys, requests: Requests::default() };
            let mut draw = Draw::tenth(self.records);
            client.check(&mut draw);
            let rate = quick_rate(&mut || client.exchange(&mut draw));
            eprintln!("  {}: {} keys/s", client.name(), quantity(rate));
            if best.as_ref().is_none_or(|(most, _)| rate > *most) {
                best = Some((rate, client));
            }
        }
        best.map(|(_, client)| client).ok_or("no client for bulk lookups".into())
    }
}

/// A client that sends many keys per request and pipelines requests.
pub(crate) struct MultiGet {
    wire: Wire,
    request_keys: usize,
    requests: Requests,
}

impl MultiGet {
    pub(crate) fn name(&self) -> String {
        format!("memcached get of {}", self.request_keys)
    }

    fn check(&mut self, draw: &mut Draw) {
        let burst = draw.burst(32_768);
        self.fill(&burst);
        let mut found = Vec::new();
        self.pipeline(|value| found.push(value.to_vec()));
        // The values of an answer are in the order of the keys of the request.
        let wanted: Vec<_> = burst.listed.iter().map(|(_, number)| value(*number).into_bytes()).collect();
        assert!(found == wanted, "the answers of memcached");
    }

    /// Measures a burst.
    pub(crate) fn exchange(&mut self, draw: &mut Draw) -> Sample {
        let burst = draw.burst(1 << 17);
        self.fill(&burst);
        let mut hits = 0;
        let started = Instant::now();
        self.pipeline(|_| hits += 1);
        let time = started.elapsed();
        assert_eq!(hits, burst.listed.len(), "hits of memcached");
        Sample { keys: burst.keys(), time }
    }

    fn fill(&mut self, burst: &Burst) {
        self.requests.clear();
        for keys in burst.digests().chunks(self.request_keys) {
            let bytes = &mut self.requests.bytes;
            bytes.extend_from_slice(b"get");
            for key in keys {
                bytes.push(b' ');
                hexadecimal(bytes, key);
            }
            bytes.extend_from_slice(b"\r\n");
            self.requests.end(keys.len());
        }
    }

    fn pipeline(&mut self, mut found: impl FnMut(&[u8])) {
        // memcached stops reading while its answers are not read: those to 8,192 keys, a tenth of them hits, fit the
        // socket buffers.
        let ahead = (8_192 / self.request_keys).max(8);
        self.requests
            .pipeline(&mut self.wire, ahead, |wire, _, _| {
                loop {
                    let line = wire.line()?;
                    if line == b"END" {
                        return Ok(());
                    }
                    // `VALUE <key> <flags> <bytes>`.
                    let bytes = line.rsplit(|&byte| byte == b' ').next().and_then(|n| std::str::from_utf8(n).ok());
                    let bytes = bytes.and_then(|n| n.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
                    found(wire.block(bytes)?);
                }
            })
            .expect("memcached answers");
    }
}

fn hexadecimal(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        text.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}
