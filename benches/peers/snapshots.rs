//! Snapshots for benchmarks, built once and cached.

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

/// The version in file names. It MUST be raised when the records that [`keys`] generates change.
const VERSION: u32 = 1;

/// Returns the snapshot of the first `records` digests, building it if there is none.
pub(crate) fn digests(records: u64) -> Result<PathBuf, Skip> {
    kept(&format!("sha256-{records}"), records, |builder| {
        let mut name = String::new();
        for number in 0..records {
            if number.is_multiple_of(50) {
                name = keys::name(number);
            }
            builder.add(0, keys::entry(number, &name));
        }
    })
}

/// Returns a cached snapshot, building it with `fill` if there is none or this version cannot read it.
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

/// Returns whether a file exists in the format of this version. The rest is validated on opening.
fn is_readable(path: &Path) -> bool {
    let mut head = [0; 12];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    // The magic and the version, as in `snapshot::open`.
    read.is_ok() && head == *b"\x89KSN\r\n\x1a\n\x01\0\0\0"
}

/// Opens a snapshot like a server, into huge pages.
pub(crate) fn open(path: &Path) -> Result<Arc<Index>, Skip> {
    let bytes = fs::metadata(path).map_or(0, |m| m.len());
    need_memory(bytes, "opening the snapshot")?;
    eprintln!("  opening {}, {}B", path.display(), quantity(bytes as f64));
    Index::open(path).map(Arc::new).map_err(|e| format!("{}: {e}; delete it", path.display()))
}

/// Returns the directory of cached files.
pub(crate) fn folder() -> Result<PathBuf, Skip> {
    let folder = target().join("peers");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// Returns the resident memory of a process in bytes, if the system reports it.
pub(crate) fn resident_memory(process: u32) -> Option<u64> {
    kibibytes(&format!("/proc/{process}/status"), "VmRSS:")
}

/// Returns the memory available without swapping in bytes, if the system reports it.
pub(crate) fn available_memory() -> Option<u64> {
    kibibytes("/proc/meminfo", "MemAvailable:")
}

fn kibibytes(file: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

/// Fails if less than `bytes` of memory is available.
pub(crate) fn need_memory(bytes: u64, what: &str) -> Result<(), Skip> {
    match available_memory() {
        Some(available) if available < bytes => {
            let (wanted, available) = (quantity(bytes as f64), quantity(available as f64));
            Err(format!("{what} needs about {wanted}B of memory, {available}B are available"))
        }
        _ => Ok(()),
    }
}

/// The memory per record during a build, in bytes: the peak with 100 million records was 54.
const BUILD_BYTES: u64 = 60;
