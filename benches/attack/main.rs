//! Hostile clients against a server, and what an ordinary client beside them notices.
//!
//! ```sh
//! cargo attack                 # all attacks, in about five minutes
//! cargo attack --only unread   # those whose name contains a text
//! ```
//!
//! The server runs on core 0, in a process of its own; all clients run on core 1, the hostile ones at the lowest
//! priority, because they stand for other machines. An ordinary client looks up 256 digests every 10 ms, whether the
//! last answer has come or not, and checks every answer. An attack passes if no lookup of the ordinary client fails and
//! the 99th percentile of its latency is at most twice that of the control, or 5 ms. In a control, as many connections
//! send the same frames in the same way, but with keys that are not listed: what load of that size costs anyway. An
//! attack on memory passes if the server grows by no more than the shares of the connections.

#[path = "../peers/cores.rs"]
mod cores;
mod hostile;
mod ordinary;
#[allow(dead_code, reason = "the comparison with other servers uses the rest")]
#[path = "../peers/process.rs"]
mod process;
mod records;
mod server;

use std::{thread, time::Duration};

use self::{
    hostile::{Frame, Habit, Load},
    ordinary::Latencies,
    server::ChildServer,
};

/// The allocator of the program `ksn`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why something cannot be measured here.
type Skip = String;

/// One kind of hostile client.
struct Attack {
    name: &'static str,
    frame: Frame,
    habit: Habit,
    connections: usize,
}

/// The time of one measurement.
const MEASURED: Duration = Duration::from_secs(15);

/// The latency that is good enough whatever the control has.
const LATENCY_MAX: Duration = Duration::from_millis(5);

/// Bytes by which a server may grow beyond the shares of its connections.
const MEMORY_SLACK: u64 = 128 << 20;

/// Bytes of answers that a connection may hold: two of the longest.
const ANSWERS_HELD: u64 = 2 * ksn::limits::ANSWER_BYTES_MAX as u64;

/// Bytes of requests that a connection may hold: two of the longest.
const REQUESTS_HELD: u64 = 2 * ksn::limits::REQUEST_BYTES_MAX as u64;

fn attacks() -> Vec<Attack> {
    let many = |name, frame| [1, 4, 16].map(|connections| Attack { name, frame, habit: Habit::Reads, connections });
    let mut attacks = Vec::new();
    attacks.extend(many("a key with 1,024 records, 205 times", Frame::ManyRecords));
    attacks.extend(many("an address with 4 records, 65,536 times", Frame::ManyRows));
    for (name, habit, connections) in [
        ("answers left unread", Habit::LeavesUnread, 6),
        ("answers stopped", Habit::Stops, 16),
        ("bodies half sent", Habit::SendsHalf, 16),
    ] {
        attacks.push(Attack { name, frame: Frame::ManyRecords, habit, connections });
    }
    attacks
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [serve, snapshot, state] = &arguments[..]
        && serve == "--serve"
    {
        return server::serve(snapshot.as_ref(), state.as_ref());
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("attack: no tests; run the attacks with `cargo attack`");
        return;
    }
    let only = arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1));
    process::kill_all_on_interrupt();
    match run(only.map_or("", String::as_str)) {
        Ok(0) => {}
        Ok(_) => std::process::exit(1),
        Err(reason) => {
            eprintln!("attack: {reason}");
            std::process::exit(2);
        }
    }
}

/// Runs the attacks whose names contain a text. Returns the number of those that failed.
fn run(only: &str) -> Result<usize, Skip> {
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let snapshot = directory.path().join("records.ksn");
    records::build(&snapshot)?;
    let (mut passed, mut failed) = (0, 0);
    let mut controls: Vec<(Frame, usize, Measured)> = Vec::new();
    let alone = measure(&snapshot, None)?;
    println!("{:<58} {alone}", "nobody else");
    for attack in attacks().iter().filter(|attack| attack.name.contains(only)) {
        let Attack { name, frame, habit, connections } = *attack;
        let of_control = |(control, number, _): &(Frame, usize, Measured)| (*control, *number) == (frame, connections);
        if !controls.iter().any(of_control) {
            let control = Load { frame, is_listed: false, habit: Habit::Reads, connections };
            let measured = measure(&snapshot, Some(control))?;
            println!("{:<58} {measured}", format!("{connections} connections: control of the next"));
            controls.push((frame, connections, measured));
        }
        let control = controls.iter().find(|control| of_control(control)).map_or(Duration::ZERO, |c| c.2.p99());
        let measured = measure(&snapshot, Some(Load { frame, is_listed: true, habit, connections }))?;
        let is_in_time = measured.p99() <= LATENCY_MAX.max(control * 2);
        let memory_max = connections as u64 * (ANSWERS_HELD + REQUESTS_HELD) + MEMORY_SLACK;
        let passes = is_in_time && measured.latencies.failed == 0 && measured.grown <= memory_max;
        println!(
            "{:<58} {measured} {}",
            format!("{connections} connections: {name}"),
            if passes { "passed" } else { "FAILED" }
        );
        if passes { passed += 1 } else { failed += 1 }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed)
}

/// What an ordinary client noticed.
struct Measured {
    latencies: Latencies,
    /// Megabytes per second that the others sent, and batches per second that they finished.
    load: Option<(f64, f64)>,
    /// Bytes by which the server grew.
    grown: u64,
}

impl Measured {
    fn p99(&self) -> Duration {
        self.latencies.percentile(0.99)
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |percentile| self.latencies.percentile(percentile).as_secs_f64() * 1e3;
        write!(f, "p50 {:>7.2} p99 {:>8.2} max {:>8.2} ms", ms(0.5), ms(0.99), ms(1.0))?;
        write!(f, ", {} lookups, {} failed", self.latencies.answered(), self.latencies.failed)?;
        if let Some((megabytes, batches)) = self.load {
            write!(f, "; others {megabytes:>6.1} MB/s, {batches:>8.0} batches/s")?;
        }
        write!(f, "; +{} MiB", self.grown >> 20)
    }
}

/// Measures an ordinary client beside a load, with a server of its own.
fn measure(snapshot: &std::path::Path, load: Option<Load>) -> Result<Measured, Skip> {
    let server = ChildServer::start(snapshot)?;
    let before = server.memory()?;
    let others = load.map(|load| hostile::start(load, server.address, &server.certificate())).transpose()?;
    // The others fill the queues first.
    thread::sleep(Duration::from_secs(1));
    let latencies = ordinary::measure(server.client_config(), MEASURED)?;
    let grown = server.memory_peak()?.saturating_sub(before);
    let load = others.map(hostile::Running::stop);
    Ok(Measured { latencies, load, grown })
}
