//! Snapshots of so many records, built once and kept.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use ksn::{
    Index,
    record::RecordSink,
    snapshot::{SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
};

use crate::{Skip, keys, options::target, rounds::quantity};

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
pub(crate) fn kept(name: &str, records: u64, fill: impl FnOnce(&mut SnapshotBuilder)) -> Result<PathBuf, Skip> {
    let path = folder()?.join(format!("{name}-v{VERSION}.ksn"));
    if is_readable(&path) {
        return Ok(path);
    }
    need_memory(records * BUILD_BYTES, &format!("building {name}"))?;
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

/// Whether it is there, in the format of this version. The rest is checked when it is opened.
fn is_readable(path: &Path) -> bool {
    let mut head = [0; 12];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    // Magic and version, as `snapshot::open` has them.
    read.is_ok() && head == *b"\x89KSN\r\n\x1a\n\x01\0\0\0"
}

/// Opens a snapshot as a server does, into huge pages.
pub(crate) fn open(path: &Path) -> Result<Arc<Index>, Skip> {
    let bytes = fs::metadata(path).map_or(0, |m| m.len());
    need_memory(bytes, "opening the snapshot")?;
    eprintln!("  opening {}, {}B", path.display(), quantity(bytes as f64));
    Index::open(path).map(Arc::new).map_err(|e| format!("{}: {e}; delete it", path.display()))
}

/// Where files are kept from one run to the next.
pub(crate) fn folder() -> Result<PathBuf, Skip> {
    let folder = target().join("peers");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// Memory of a process, in bytes, where the system says so.
pub(crate) fn resident_memory(process: u32) -> Option<u64> {
    kibibytes(&format!("/proc/{process}/status"), "VmRSS:")
}

/// Memory that can be had without swapping, in bytes, where the system says so.
pub(crate) fn available_memory() -> Option<u64> {
    kibibytes("/proc/meminfo", "MemAvailable:")
}

fn kibibytes(file: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

/// Whether so much memory is there for that.
pub(crate) fn need_memory(bytes: u64, what: &str) -> Result<(), Skip> {
    match available_memory() {
        Some(available) if available < bytes => {
            let (wanted, available) = (quantity(bytes as f64), quantity(available as f64));
            Err(format!("{what} takes about {wanted}B of memory, {available}B are available"))
        }
        _ => Ok(()),
    }
}

/// What a record takes while it is built: 54 bytes were seen at the peak of 100 million.
const BUILD_BYTES: u64 = 60;
