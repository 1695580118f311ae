//! `ksn demo`: compiles built-in feeds, serves them on loopback and looks up keys.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use ksn::{
    Answer, Certificate, Client, ClientConfig, Index, Key, Server, ServerConfig, Trust,
    feed::{self, Guards, Options},
    key::Indicator,
    record::{Entry, RecordSink, RecordType, derived_id},
    snapshot::{Snapshot, SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
};

use super::{
    exit::Exit,
    output::{self, Paint, Row},
};

/// Compile built-in example feeds, serve them on loopback, and look up one batch with every kind of key.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Feeds in four formats. Every name is reserved for examples, every digest is invented.
const FEEDS: [(&str, &str); 4] = [
    ("files.csv", include_str!("files.csv")),
    ("certificates.csv", include_str!("certificates.csv")),
    ("public-keys.crb", include_str!("public-keys.crb")),
    ("addresses.txt", include_str!("addresses.txt")),
];

/// Records added without a feed: BLAKE3 digests, and addresses for documentation (RFC 5737), which would be withheld
/// from a feed.
const OWN: [(&str, RecordType, &str); 2] = [
    ("blake3:b1a5e333b1a5e333b1a5e333b1a5e333b1a5e333b1a5e333b1a5e333b1a5e333", RecordType::Adware, "Demo.AdBundle"),
    ("192.0.2.0/24", RecordType::BotnetCc, "Demo.Bot"),
];

/// One batch: every kind of key, and one unknown key.
const KEYS: [&str; 12] = [
    "sha256:5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e",
    "sha1:5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e",
    "md5:5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e",
    "blake3:b1a5e333b1a5e333b1a5e333b1a5e333b1a5e333b1a5e333b1a5e333b1a5e333",
    "cert-sha256:decafbaddecafbaddecafbaddecafbaddecafbaddecafbaddecafbaddecafbad",
    "cert-sha1:decafbaddecafbaddecafbaddecafbaddecafbad",
    "cert-md5:decafbaddecafbaddecafbaddecafbad",
    "spki-sha256:8297b078eaaa4cf847929316b24e6250c780d4d75fc65f5b9dc78fb56717328a",
    "spki-sha1:6b9dc8f0cf70146d5d53ce39d9e8c36be67c58a2",
    "hxxps://login.evil[.]example:8443/a/../b?c",
    "192.0.2.7",
    "good.example",
];

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        let mut out = output::stdout();
        let snapshot = compile()?;
        let records: u64 = snapshot.sources().map(|source| source.records).sum();
        writeln!(out, "compiled {} example feeds into {records} records, {} bytes", FEEDS.len(), snapshot.bytes())?;
        out.flush()?;

        let keys = KEYS.iter().map(|text| text.parse()).collect::<Result<Vec<Key>, _>>()?;
        // The certificate is deleted with this directory.
        let state = tempfile::tempdir().context("cannot create a temporary directory for the certificate")?;
        let certificate = Certificate::SelfSigned { state: state.path().into() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answers = runtime.block_on(serve_and_look_up(&mut out, certificate, Index::new(snapshot), &keys))?;

        let rows: Vec<Row> = KEYS
            .iter()
            .zip(&keys)
            .zip(answers)
            .map(|((text, key), answer)| Row::answered((*text).into(), key, answer))
            .collect();
        output::write_table(&mut out, &rows, false, Paint::for_stdout())?;
        writeln!(out, "\nnext: ksn build -o records.ksn FEED..., then ksn lookup --db records.ksn KEY...")?;
        out.flush()?;
        Ok(Exit::Success)
    }
}

fn compile() -> Result<Snapshot> {
    let created: Timestamp = "2026-11-22 10:00:00".parse()?;
    let mut builder = SnapshotBuilder::new();
    for (number, (name, text)) in (0..).zip(FEEDS) {
        feed::read(text.as_bytes(), name, None, &Options::new(created), &Guards::default(), number, &mut builder)
            .with_context(|| name.to_owned())?;
    }
    for (text, record_type, name) in OWN {
        let indicator = match text.parse() {
            Ok(Key::Digest(digest)) => Indicator::Digest(digest),
            _ => Indicator::Ipv4(text.parse()?),
        };
        let id = derived_id("own", &indicator, name);
        let timestamp = Some(created);
        let entry = Entry { indicator, id, record_type, name, source: "own", timestamp, expiry: None, port: None };
        builder.add(FEEDS.len() as u32, entry);
    }
    let info = SnapshotInfo { dataset: "demo".into(), generation: 1, created, compiled_with: Default::default() };
    Ok(Snapshot::from_bytes(builder.finish(&info)?.into_bytes())?)
}

/// Starts a server, looks up the keys, and stops it.
async fn serve_and_look_up(
    out: &mut impl Write,
    certificate: Certificate,
    index: Index,
    keys: &[Key],
) -> Result<Vec<Answer>> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind(ServerConfig::new(listen, certificate), Arc::new(index))?;
    let (address, pin) = (server.local_addr(), server.pin());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(async {
        // A dropped sender stops the server too.
        let _ = stopped.await;
    }));
    writeln!(out, "serving on {address} with a temporary certificate")?;

    let client = Client::connect(ClientConfig::new(address.to_string(), Trust::Pin(pin))).await?;
    let started = Instant::now();
    let answers = client.lookup(keys).await?;
    writeln!(out, "looked up one batch of {} keys over QUIC in {:.1?}\n", keys.len(), started.elapsed())?;
    drop(client);
    let _ = stop.send(());
    serving.await?;
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use ksn::{Status, batch::Detail, key::KeyKind};

    use super::*;

    #[test]
    fn every_kind_of_key_has_its_record() {
        let keys: Vec<Key> = KEYS.iter().map(|text| text.parse().unwrap()).collect();
        for kind in KeyKind::ALL {
            assert!(keys.iter().any(|key| key.kind() == kind), "{kind}");
        }
        let index = Index::new(compile().unwrap());
        let answers = index.lookup(&keys, Detail::Winner, "2026-11-22".parse().unwrap());
        let (unlisted, listed) = answers.split_last().unwrap();
        assert_eq!(unlisted.status, Status::Unknown);
        for (key, answer) in keys.iter().zip(listed) {
            assert_eq!(answer.status, Status::Known, "{key}");
        }
    }
}
