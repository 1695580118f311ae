//! Redis: started, loaded, and queried as fast as possible.
//!
//! Keys are raw digests; values are the records as short strings, which Redis embeds in the allocation of their header.
//! Requests are built before the clock starts, so that the client costs as little as possible: it writes prebuilt bytes
//! and counts the values of the answers. The small subset of RESP that is needed does not justify a library.

use std::{
    fs,
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::Arc,
    time::Instant,
};

use rustls::{ClientConnection, RootCertStore, StreamOwned, crypto::aws_lc_rs};
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;

use crate::{
    Skip,
    keys::{self, Burst, Draw},
    process::{Process, free_port},
    rounds::{Sample, quantity, quick_rate},
    snapshots::need_memory,
    wire::{Requests, Stream, Wire},
};

/// A Redis with the first `records` records.
pub(crate) struct Redis {
    process: Process,
    records: u64,
    pub(crate) tcp: SocketAddr,
    #[cfg(unix)]
    pub(crate) unix: std::path::PathBuf,
    tls: Option<(SocketAddr, CertificateDer<'static>)>,
    _folder: TempDir,
}

/// The transport between client and Redis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    Tcp,
    #[cfg(unix)]
    Unix,
    Tls,
}

impl Transport {
    /// The transports without encryption.
    pub(crate) const PLAIN: &[Self] = &[
        Self::Tcp,
        #[cfg(unix)]
        Self::Unix,
    ];
}

impl Redis {
    pub(crate) fn start(records: u64) -> Result<Self, Skip> {
        need_memory(records * 200, "Redis")?;
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        // A build without TLS exits because of the TLS options.
        let (process, tcp, tls) = Self::launch(&folder, true).or_else(|_| Self::launch(&folder, false))?;
        let redis = Self {
            process,
            records,
            tcp,
            #[cfg(unix)]
            unix: folder.path().join("redis.sock"),
            tls,
            _folder: folder,
        };
        redis.load()?;
        Ok(redis)
    }

    #[allow(clippy::type_complexity)]
    fn launch(
        folder: &TempDir,
        with_tls: bool,
    ) -> Result<(Process, SocketAddr, Option<(SocketAddr, CertificateDer<'static>)>), Skip> {
        let port = free_port();
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(["--port", &port.to_string()])
            .arg("--dir")
            .arg(folder.path())
            .arg("--unixsocket")
            .arg(folder.path().join("redis.sock"));
        let mut tls = None;
        if with_tls {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).map_err(|e| e.to_string())?;
            let (certificate, key) = (folder.path().join("redis.crt"), folder.path().join("redis.key"));
            fs::write(&certificate, made.cert.pem()).map_err(|e| e.to_string())?;
            fs::write(&key, made.signing_key.serialize_pem()).map_err(|e| e.to_string())?;
            let port = free_port();
            command.args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no", "--tls-cert-file"]);
            command.arg(&certificate).arg("--tls-key-file").arg(&key).arg("--tls-ca-cert-file").arg(&certificate);
            tls = Some((local(port), made.cert.der().clone()));
        }
        let process = Process::start(&mut command, "redis-server")?;
        process.wait_for(local(port))?;
        Ok((process, local(port), tls))
    }

    fn load(&self) -> Result<(), Skip> {
        const PAIRS: u64 = 1_000;
        eprintln!("  loading {} records into Redis", quantity(self.records as f64));
        let started = Instant::now();
        let fail = |e: io::Error| format!("Redis: {e}");
        let mut wire = Wire::new(self.stream(Transport::Tcp)?);
        let mut pending = 0;
        let mut request = Vec::new();
        for first in (0..self.records).step_by(PAIRS as usize) {
            let numbers = first..(first + PAIRS).min(self.records);
            request.clear();
            write!(request, "*{}\r\n$4\r\nMSET\r\n", 1 + 2 * (numbers.end - first)).map_err(fail)?;
            for number in numbers {
                bulk(&mut request, &keys::digest(number));
                bulk(&mut request, value(number).as_bytes());
            }
            wire.stream.write_all(&request).map_err(fail)?;
            pending += 1;
            if pending > 16 {
                status(&mut wire).map_err(fail)?;
                pending -= 1;
            }
        }
        (0..pending).try_for_each(|_| status(&mut wire)).map_err(fail)?;
        eprintln!("  {:.0} s", started.elapsed().as_secs_f64());
        Ok(())
    }

    fn stream(&self, transport: Transport) -> Result<Box<dyn Stream>, Skip> {
        let fail = |e: io::Error| format!("Redis over {transport:?}: {e}");
        let tcp = |address| {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        match transport {
            Transport::Tcp => Ok(Box::new(tcp(self.tcp).map_err(fail)?)),
            #[cfg(unix)]
            Transport::Unix => Ok(Box::new(std::os::unix::net::UnixStream::connect(&self.unix).map_err(fail)?)),
            Transport::Tls => {
                let (address, certificate) = self.tls.as_ref().ok_or("this build of Redis has no TLS")?;
                let mut roots = RootCertStore::empty();
                roots.add(certificate.clone()).map_err(|e| e.to_string())?;
                let config = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                    .with_protocol_versions(&[&rustls::version::TLS13])
                    .map_err(|e| e.to_string())?
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                let name = "localhost".try_into().expect("a name");
                let connection = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
                Ok(Box::new(StreamOwned::new(connection, tcp(*address).map_err(fail)?)))
            }
        }
    }

    /// Returns a client that uses `MGET`, after checking its answers.
    pub(crate) fn multi_get(&self, transport: Transport, request_keys: usize) -> Result<MultiGet, Skip> {
        let wire = Wire::new(self.stream(transport)?);
        let mut client = MultiGet { wire, transport, request_keys, requests: Requests::default() };
        client.check(&mut Draw::tenth(self.records));
        Ok(client)
    }

    /// Returns the fastest client for bulk lookups, encrypted or not.
    pub(crate) fn best_multi_get(&self, encrypted: bool) -> Result<MultiGet, Skip> {
        let transports = if encrypted { &[Transport::Tls] } else { Transport::PLAIN };
        let mut best: Option<(f64, MultiGet)> = None;
        for &transport in transports {
            for request_keys in [100, 1_000, 4_096] {
                let mut client = self.multi_get(transport, request_keys)?;
                let mut draw = Draw::tenth(self.records);
                let rate = quick_rate(&mut || client.exchange(&mut draw));
                eprintln!("  {}: {} keys/s", client.name(), quantity(rate));
                if best.as_ref().is_none_or(|(most, _)| rate > *most) {
                    best = Some((rate, client));
                }
            }
        }
        best.map(|(_, client)| client).ok_or("no client for bulk lookups".into())
    }

    /// Returns the process ID.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Returns the value of a record: at most 44 bytes, which Redis stores without a second allocation.
pub(crate) fn value(number: u64) -> String {
    format!("{};{number:x};{:x}", keys::name(number), keys::seconds(number))
}

fn bulk(request: &mut Vec<u8>, bytes: &[u8]) {
    write!(request, "${}\r\n", bytes.len()).expect("writing to a vector does not fail");
    request.extend_from_slice(bytes);
    request.extend_from_slice(b"\r\n");
}

/// Appends the request for one key.
pub(crate) fn get(request: &mut Vec<u8>, digest: &[u8]) {
    request.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
    bulk(request, digest);
}

/// A client that sends many keys per request and pipelines requests.
pub(crate) struct MultiGet {
    wire: Wire,
    transport: Transport,
    request_keys: usize,
    requests: Requests,
}

impl MultiGet {
    pub(crate) fn name(&self) -> String {
        format!("Redis MGET of {} over {:?}", self.request_keys, self.transport)
    }

    fn check(&mut self, draw: &mut Draw) {
        let burst = draw.burst(32_768);
        let mut found = Vec::new();
        self.fill(&burst);
        self.pipeline(|key, value| found.push((key as u32, value.to_vec())));
        let wanted: Vec<_> = burst.listed.iter().map(|(key, number)| (*key, value(*number).into_bytes())).collect();
        assert!(found == wanted, "the answers of Redis");
    }

    /// Measures a burst.
    pub(crate) fn exchange(&mut self, draw: &mut Draw) -> Sample {
        // Takes at least a tenth of a second.
        let burst = draw.burst(1 << 18);
        self.fill(&burst);
        let mut hits = 0;
        let started = Instant::now();
        self.pipeline(|_, _| hits += 1);
        let time = started.elapsed();
        assert_eq!(hits, burst.listed.len(), "hits of Redis");
        Sample { keys: burst.keys(), time }
    }

    fn fill(&mut self, burst: &Burst) {
        self.requests.clear();
        for keys in burst.digests().chunks(self.request_keys) {
            let bytes = &mut self.requests.bytes;
            write!(bytes, "*{}\r\n$4\r\nMGET\r\n", 1 + keys.len()).expect("writing to a vector does not fail");
            keys.iter().for_each(|key| bulk(bytes, key));
            self.requests.end(keys.len());
        }
    }

    fn pipeline(&mut self, mut found: impl FnMut(usize, &[u8])) {
        // Redis reads all requests and buffers answers that are not read yet.
        let ahead = (IN_FLIGHT_KEYS / self.request_keys).max(8);
        self.requests
            .pipeline(&mut self.wire, ahead, |wire, keys, first| {
                array(wire, keys, |index, value| found(first + index, value))
            })
            .expect("Redis answers");
    }
}

/// The number of keys in flight, the same as for ksn.
const IN_FLIGHT_KEYS: usize = 32_768;

/// Reads `+OK`.
fn status(wire: &mut Wire) -> io::Result<()> {
    let line = wire.line()?;
    if line == b"+OK" { Ok(()) } else { Err(unexpected(line[0])) }
}

/// Reads an array of `values` values, and calls `found` with the index and the bytes of each value that is not null.
fn array(wire: &mut Wire, values: usize, mut found: impl FnMut(usize, &[u8])) -> io::Result<()> {
    let (kind, length) = wire.head()?;
    if kind != b'*' || length != values as i64 {
        return Err(unexpected(kind));
    }
    for index in 0..values {
        let (kind, length) = wire.head()?;
        if kind != b'$' {
            return Err(unexpected(kind));
        }
        if length >= 0 {
            found(index, wire.block(length as usize)?);
        }
    }
    Ok(())
}

fn unexpected(kind: u8) -> io::Error {
    io::Error::other(format!("unexpected answer that starts with {:?}", char::from(kind)))
}
