//! Snapshots of so many records, built once and kept.

use std::{fs, path::PathBuf, sync::Arc, time::Instant};

use ksn::{
    Index,
    record::RecordSink,
    snapshot::{Snapshot, SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
};

use crate::{Skip, keys, rounds::quantity};

/// Part of the file names: raise it when the records that [`keys`] makes change.
const VERSION: u32 = 1;

/// The file with the first `records` digests, built if it is not there.
pub(crate) fn digests(records: u64) -> Result<PathBuf, Skip> {
    kept(&format!("sha256-{records}"), records, |builder| {
        let mut name = String::new();
        for number in 0..records {
            if number.is_multiple_of(50) {
                name = keys::name(number);
            }
            builder.add(0, keys::listing(number, &name));
        }
    })
}

/// A file that is built if it is not there, or if this version cannot read it.
fn kept(name: &str, records: u64, fill: impl FnOnce(&mut SnapshotBuilder)) -> Result<PathBuf, Skip> {
    let folder = folder();
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let path = folder.join(format!("{name}-v{VERSION}.ksn"));
    if Snapshot::open(&path).is_ok() {
        return Ok(path);
    }
    let wanted = records * BUILD_BYTES;
    if let Some(available) = available_memory()
        && wanted > available
    {
        let (wanted, available) = (quantity(wanted as f64), quantity(available as f64));
        return Err(format!("building {name} takes about {wanted}B of memory, {available}B are available"));
    }
    eprintln!("  building {}", path.display());
    let started = Instant::now();
    let mut builder = SnapshotBuilder::new();
    fill(&mut builder);
    let created = Timestamp::from_seconds(1_700_000_000).expect("not zero");
    let info = SnapshotInfo { dataset: "benchmark".into(), generation: 1, created, compiled_with: Default::default() };
    builder
        .finish(&info)
        .and_then(|built| built.write(&path))
        .map_err(|e| format!("cannot build {}: {e}", path.display()))?;
    let bytes = fs::metadata(&path).map_or(0, |m| m.len());
    eprintln!("  {}B in {:.0} s", quantity(bytes as f64), started.elapsed().as_secs_f64());
    Ok(path)
}

/// Opens a snapshot as a server does, into huge pages.
pub(crate) fn open(path: &PathBuf) -> Result<Arc<Index>, Skip> {
    eprintln!("  opening {}", path.display());
    Index::open(path).map(Arc::new).map_err(|e| format!("{}: {e}", path.display()))
}

fn folder() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into())).join("peers")
}

/// Memory that can be had without swapping, in bytes, where the system says so.
pub(crate) fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

/// What a record takes while it is built, at most.
const BUILD_BYTES: u64 = 300;
