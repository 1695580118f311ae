//! Redis: started, loaded, and asked as fast as it can be asked.
//!
//! Keys are the raw digests, values the record as a short text that Redis keeps in the same allocation as its head.
//! Requests are built before the clock starts, so that the client costs as little as it can: it writes bytes that lie
//! ready, and counts values in what comes back. The little of RESP that is read here is not worth a library.

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
    rounds::{Sample, quantity, scout},
    snapshots::need_memory,
    wire::{Requests, Stream, Wire},
};

/// A Redis that holds the records below a number.
pub(crate) struct Redis {
    process: Process,
    records: u64,
    pub(crate) tcp: SocketAddr,
    #[cfg(unix)]
    pub(crate) unix: std::path::PathBuf,
    tls: Option<(SocketAddr, CertificateDer<'static>)>,
    _folder: TempDir,
}

/// How a client reaches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Tcp,
    #[cfg(unix)]
    Unix,
    Tls,
}

impl Way {
    /// Those without encryption.
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
        // Where the build has no TLS, the option for it ends the server.
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
        let mut wire = Wire::new(self.stream(Way::Tcp)?);
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

    fn stream(&self, way: Way) -> Result<Box<dyn Stream>, Skip> {
        let fail = |e: io::Error| format!("Redis over {way:?}: {e}");
        let tcp = |address| {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        match way {
            Way::Tcp => Ok(Box::new(tcp(self.tcp).map_err(fail)?)),
            #[cfg(unix)]
            Way::Unix => Ok(Box::new(std::os::unix::net::UnixStream::connect(&self.unix).map_err(fail)?)),
            Way::Tls => {
                let (address, certificate) = self.tls.as_ref().ok_or("this Redis has no TLS")?;
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

    /// A client that asks with `MGET`, whose answers were checked.
    pub(crate) fn multi_get(&self, way: Way, keys_a_request: usize) -> Result<MultiGet, Skip> {
        let wire = Wire::new(self.stream(way)?);
        let mut client = MultiGet { wire, way, keys_a_request, requests: Requests::default() };
        client.check(&mut Draw::tenth(self.records));
        Ok(client)
    }

    /// The fastest of the ways to ask in bulk, encrypted or not.
    pub(crate) fn best_multi_get(&self, encrypted: bool) -> Result<MultiGet, Skip> {
        let ways = if encrypted { &[Way::Tls] } else { Way::PLAIN };
        let mut best: Option<(f64, MultiGet)> = None;
        for &way in ways {
            for keys_a_request in [100, 1_000, 4_096] {
                let mut client = self.multi_get(way, keys_a_request)?;
                let mut draw = Draw::tenth(self.records);
                let rate = scout(&mut || client.ask(&mut draw));
                eprintln!("  {}: {} keys/s", client.name(), quantity(rate));
                if best.as_ref().is_none_or(|(most, _)| rate > *most) {
                    best = Some((rate, client));
                }
            }
        }
        best.map(|(_, client)| client).ok_or("there is no way to ask".into())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The record of a number as Redis keeps it: at most 44 bytes, which it stores without a second allocation.
pub(crate) fn value(number: u64) -> String {
    format!("{};{number:x};{:x}", keys::name(number), keys::seconds(number))
}

fn bulk(request: &mut Vec<u8>, bytes: &[u8]) {
    write!(request, "${}\r\n", bytes.len()).expect("a vector takes it");
    request.extend_from_slice(bytes);
    request.extend_from_slice(b"\r\n");
}

/// The request for one key.
pub(crate) fn get(request: &mut Vec<u8>, digest: &[u8]) {
    request.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
    bulk(request, digest);
}

/// Asks many keys a request, several requests ahead.
pub(crate) struct MultiGet {
    wire: Wire,
    way: Way,
    keys_a_request: usize,
    requests: Requests,
}

impl MultiGet {
    pub(crate) fn name(&self) -> String {
        format!("Redis MGET of {} over {:?}", self.keys_a_request, self.way)
    }

    fn check(&mut self, draw: &mut Draw) {
        let burst = draw.burst(32_768);
        let mut found = Vec::new();
        self.fill(&burst);
        self.exchange(|key, value| found.push((key as u32, value.to_vec())));
        let wanted: Vec<_> = burst.listed.iter().map(|(key, number)| (*key, value(*number).into_bytes())).collect();
        assert!(found == wanted, "the answers of Redis");
    }

    /// Times a burst.
    pub(crate) fn ask(&mut self, draw: &mut Draw) -> Sample {
        // A tenth of a second and more.
        let burst = draw.burst(1 << 18);
        self.fill(&burst);
        let mut hits = 0;
        let started = Instant::now();
        self.exchange(|_, _| hits += 1);
        let time = started.elapsed();
        assert_eq!(hits, burst.listed.len(), "hits of Redis");
        Sample { keys: burst.keys(), time }
    }

    fn fill(&mut self, burst: &Burst) {
        self.requests.clear();
        for keys in burst.digests().chunks(self.keys_a_request) {
            let bytes = &mut self.requests.bytes;
            write!(bytes, "*{}\r\n$4\r\nMGET\r\n", 1 + keys.len()).expect("a vector takes it");
            keys.iter().for_each(|key| bulk(bytes, key));
            self.requests.end(keys.len());
        }
    }

    fn exchange(&mut self, mut found: impl FnMut(usize, &[u8])) {
        // Redis reads whatever comes, and keeps answers that are not taken yet.
        let ahead = (IN_FLIGHT_KEYS / self.keys_a_request).max(8);
        self.requests
            .pipeline(&mut self.wire, ahead, |wire, keys, first| {
                array(wire, keys, |place, value| found(first + place, value))
            })
            .expect("Redis answers");
    }
}

/// Keys on their way at a time: as many as ours.
const IN_FLIGHT_KEYS: usize = 32_768;

/// `+OK`.
fn status(wire: &mut Wire) -> io::Result<()> {
    let line = wire.line()?;
    if line == b"+OK" { Ok(()) } else { Err(unexpected(line[0])) }
}

/// An array of so many values, of which those that are there are handed over with their place.
fn array(wire: &mut Wire, values: usize, mut found: impl FnMut(usize, &[u8])) -> io::Result<()> {
    let (kind, length) = wire.head()?;
    if kind != b'*' || length != values as i64 {
        return Err(unexpected(kind));
    }
    for place in 0..values {
        let (kind, length) = wire.head()?;
        if kind != b'$' {
            return Err(unexpected(kind));
        }
        if length >= 0 {
            found(place, wire.block(length as usize)?);
        }
    }
    Ok(())
}

fn unexpected(kind: u8) -> io::Error {
    io::Error::other(format!("an answer that starts with {:?}", char::from(kind)))
}
