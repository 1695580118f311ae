//! Benchmarks of `ksn` against its alternatives on this machine: one command, one table of ratios.
//!
//! ```sh
//! cargo bench --bench peers                # everything that fits this machine
//! cargo bench --bench peers -- --quick     # rows 1, 3, 4 and 5, in about two minutes
//! cargo bench --bench peers -- --rows 1,4 --records 1000000 --rounds 9 --out peers.json
//! ```
//!
//! It starts Redis, memcached and rbldnsd on loopback, loads the same records as `ksn`, looks up the same kind of keys
//! in all of them, and verifies answers before timing. A figure is a **ratio within one run**: the sides are measured
//! in interleaved rounds of some tenths of a second, and the result is the median of the ratios per round, with the
//! quartiles as its spread. The A/A column is the ratio of the first side to itself, from rounds interleaved in the
//! same way: its deviation from 1 is noise. Clients run on core 1, servers on core 0. Every round uses new keys, which
//! are generated outside the timed part.
//!
//! Each row has a file, `row_*.rs`, that documents what it measures and why.

mod child;
mod cores;
mod fleet;
mod floor;
mod ipv4;
mod keys;
mod memcached;
mod options;
mod ours;
mod process;
mod raw_transport;
mod rbldnsd;
mod redis;
mod report;
mod rounds;
mod row_build;
mod row_callers;
mod row_exchange;
mod row_fleet;
mod row_growth;
mod row_index;
mod row_ipv4;
mod row_latency;
mod row_memory;
mod row_prefixes;
mod row_transport;
mod row_web;
mod snapshots;
mod wire;
mod world;

use self::{options::Options, report::Report, world::World};

/// The allocator of the program `ksn`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The reason why a row cannot be measured here.
type Skip = String;

/// The result of a row.
type Outcome = Result<Vec<report::Figure>, Skip>;

/// Measures one row.
type Row = fn(&mut World) -> Outcome;

/// The rows with their numbers, in an order in which they share indexes and servers.
const ROWS: [(u8, &str, Row); 13] = [
    (1, "end to end against Redis", row_exchange::run),
    (3, "end to end against the raw transport", row_transport::run),
    (5, "callers with one key each against Redis", row_callers::run),
    (6, "latency against a raw QUIC ping-pong", row_latency::run),
    (7, "prefixes against whole digests", row_prefixes::run),
    (8, "web addresses against parsing them", row_web::run),
    (9, "IPv4 against SHA-256", row_ipv4::run),
    (13, "a fleet of clients", row_fleet::run),
    (2, "end to end, 100 million records, against Redis", row_exchange::run_large),
    (4, "index against a prefetched random line", row_index::run),
    (10, "memory per record", row_memory::run),
    (11, "building and opening", row_build::run),
    (12, "scaling", row_growth::run),
];

/// The rows that `--quick` measures.
const QUICK: [u8; 4] = [1, 3, 4, 5];

fn main() {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(2);
        }
    };
    if let Some(snapshot) = &options.serve {
        return child::serve(snapshot);
    }
    if !options.bench {
        println!("peers: no tests; run the benchmarks with `cargo bench --bench peers`");
        return;
    }
    process::kill_all_on_interrupt();
    let mut report = Report::new(&options);
    let mut world = World::new(options);
    for (number, title, row) in ROWS {
        if !world.options.wants(number) {
            continue;
        }
        eprintln!("row {number}: {title}");
        match row(&mut world) {
            Ok(figures) => report.add(number, figures),
            Err(reason) => report.skip(number, title, &reason),
        }
        // Saved after every row, in case a later row fails.
        report.save();
    }
    report.print();
}
