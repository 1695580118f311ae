//! Row 11: building from a CSV file against reading it, and opening a snapshot against hashing it.
//!
//! `ksn build` reads, filters, sorts and writes ten million rows on all cores; the `csv` crate only reads the rows of
//! the same file on one core. `Index::open` reads a snapshot, verifies its checksums and validates every table; the
//! BLAKE3 of the mapped file on all cores, as computed by `b3sum`, is the minimum cost of verification. The file is
//! read before each turn, so that it is in the page cache.

use std::{
    fs,
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use ksn::{Index, key::Hex, timestamp::Timestamp};

use crate::{
    Outcome, Skip,
    cores::{self, Pinned},
    keys,
    report::Figure,
    rounds::{quantity, take_turns},
    snapshots,
    world::World,
};

pub(crate) fn run(world: &mut World) -> Outcome {
    world.clear();
    let records = world.options.records;
    // A turn takes half a minute, so there are fewer rounds.
    let rounds = world.options.rounds.min(3);
    let mut figures = Vec::new();
    match build(records, rounds) {
        Ok(figure) => figures.push(figure.at_least(0.8)),
        Err(reason) => eprintln!("  skipped building: {reason}"),
    }
    figures.push(open(&snapshots::digests(records)?, rounds)?.at_least(0.5));
    Ok(figures)
}

fn build(records: u64, rounds: usize) -> Result<Figure, Skip> {
    let program = option_env!("CARGO_BIN_EXE_ksn").ok_or("the program `ksn` is not built without the feature `cli`")?;
    let path = csv(records)?;
    let out = snapshots::folder()?.join("built.ksn");
    let mut ours = || {
        warm(&path);
        let started = Instant::now();
        let status = Command::new(program)
            .args(["build", "--format", "csv", "--columns", "hash,name,time", "--source", "benchmark", "-o"])
            .arg(&out)
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "`ksn build` of {}", path.display());
        records as f64 / started.elapsed().as_secs_f64()
    };
    let mut theirs = || {
        warm(&path);
        let _pinned = Pinned::to(cores::CLIENT);
        let started = Instant::now();
        let mut rows = csv::Reader::from_path(&path).expect("the generated file");
        let (mut row, mut found) = (csv::ByteRecord::new(), 0);
        while rows.read_byte_record(&mut row).expect("rows") {
            found += 1;
        }
        let time = started.elapsed();
        assert_eq!(found, records, "rows");
        found as f64 / time.as_secs_f64()
    };
    let turns = take_turns(rounds, |rate| format!("{} rows/s", quantity(*rate)), &mut [&mut ours, &mut theirs]);
    let index = Index::open(&out).map_err(|e| e.to_string())?;
    let kept = index.view().records(ksn::key::KeyKind::Digest(ksn::key::DigestKind::Sha256));
    assert_eq!(kept, records, "records that were built");
    let _ = fs::remove_file(&out);
    let what = format!("ksn build of {} rows of CSV, all cores", quantity(records as f64));
    Ok(Figure::compare(
        &turns.sides[0],
        &turns.sides[1],
        &turns.again,
        "rows/s",
        what,
        "the csv crate reading them, one core",
    ))
}

fn open(path: &Path, rounds: usize) -> Result<Figure, Skip> {
    let bytes = fs::metadata(path).map_err(|e| e.to_string())?.len();
    snapshots::need_memory(2 * bytes, "opening the snapshot")?;
    let mut ours = || {
        warm(path);
        let started = Instant::now();
        let index = Index::open(path).expect("a valid snapshot");
        let time = started.elapsed();
        drop(index);
        bytes as f64 / time.as_secs_f64()
    };
    let mut theirs = || {
        warm(path);
        let started = Instant::now();
        let mut hasher = blake3::Hasher::new();
        hasher.update_mmap_rayon(path).expect("the file can be mapped");
        std::hint::black_box(hasher.finalize());
        bytes as f64 / started.elapsed().as_secs_f64()
    };
    let turns = take_turns(rounds, |rate| format!("{}B/s", quantity(*rate)), &mut [&mut ours, &mut theirs]);
    let what = format!("opening and verifying {}B", quantity(bytes as f64));
    Ok(Figure::compare(&turns.sides[0], &turns.sides[1], &turns.again, "B/s", what, "b3sum of it, all cores"))
}

/// Returns a CSV file of the records with a header, writing it if there is none.
fn csv(records: u64) -> Result<PathBuf, Skip> {
    let path = snapshots::folder()?.join(format!("sha256-{records}-v1.csv"));
    if path.exists() {
        return Ok(path);
    }
    eprintln!("  writing {}", path.display());
    let write = || -> std::io::Result<()> {
        let unfinished = path.with_extension("part");
        let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(&unfinished)?);
        writeln!(file, "sha256,name,time")?;
        for number in 0..records {
            let time = Timestamp::from_seconds(keys::seconds(number)).expect("not zero");
            writeln!(file, "{},{},{time}", Hex(&keys::digest(number)), keys::name(number))?;
        }
        file.flush()?;
        fs::rename(unfinished, &path)
    };
    write().map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// Reads a file into the page cache.
fn warm(path: &Path) {
    let mut buffer = vec![0; 1 << 20];
    let mut file = fs::File::open(path).expect("the file exists");
    while file.read(&mut buffer).expect("the file can be read") > 0 {}
}
