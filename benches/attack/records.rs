//! The records of the server: ordinary ones, one digest with as many records as a key may have, and one address with a
//! few.

use std::{net::Ipv4Addr, path::Path};

use ksn::{
    key::{Digest, DigestKind, Indicator},
    limits::RECORDS_PER_KEY_MAX,
    record::{Entry, RecordSink, RecordType},
    snapshot::{SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
};

use crate::Skip;

/// The number of ordinary records. Every key below it that [`digest`] returns is listed.
pub(crate) const LISTED: u64 = 1_000_000;

/// The address with several records.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// An address without records.
pub(crate) const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The number of the digest with as many records as a key may have.
pub(crate) const HEAVY: u64 = u64::MAX;

/// Returns the digest of a number.
pub(crate) fn digest(number: u64) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

/// Builds the snapshot.
pub(crate) fn build(path: &Path) -> Result<(), Skip> {
    let mut builder = SnapshotBuilder::new();
    let of_digest = |number| Indicator::Digest(Digest::new(DigestKind::Sha256, &digest(number)).expect("32 bytes"));
    (0..LISTED).for_each(|number| add(&mut builder, of_digest(number), number, "Trojan.Example"));
    for id in 0..RECORDS_PER_KEY_MAX as u64 {
        add(&mut builder, of_digest(HEAVY), id, &format!("Trojan.Numbered.{id}"));
    }
    (0..4).for_each(|id| add(&mut builder, Indicator::Ipv4(ADDRESS.into()), id, &format!("Address.{id}")));
    let created = Timestamp::from_seconds(1_700_000_000).expect("not zero");
    let info = SnapshotInfo { dataset: "attack".into(), generation: 1, created, compiled_with: Default::default() };
    builder.finish(&info).and_then(|built| built.write(path)).map_err(|e| e.to_string())?;
    Ok(())
}

fn add(builder: &mut SnapshotBuilder, indicator: Indicator, id: u64, name: &str) {
    let (record_type, source) = (RecordType::Malware, "attack");
    let entry = Entry { indicator, id, record_type, name, source, timestamp: None, expiry: None, port: None };
    builder.add(0, entry);
}
