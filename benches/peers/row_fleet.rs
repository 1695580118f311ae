//! Row 13: a fleet of ten thousand clients.
//!
//! The server's memory per idle connection, its rate of full handshakes, and the throughput of lookups over a thousand
//! connections relative to one connection. The server runs in a child process.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Outcome,
    child::ChildServer,
    cores::{self, Pinned},
    fleet::{self, BackgroundRuntime, Fleet},
    keys::Draw,
    ours::{BURST_KEYS, OurClient},
    report::{Figure, Goal},
    rounds::{Sample, Spread, interleave, quantity},
    snapshots,
    world::World,
};

/// The number of idle connections.
const IDLE: usize = 10_000;

/// The number of connections that lookups are distributed over.
const BUSY: usize = 1_000;

/// The number of batches in flight over all of these connections.
const IN_FLIGHT: usize = 32;

/// The number of handshakes per round, which take some tenths of a second.
const HANDSHAKES: usize = 500;

pub(crate) fn run(world: &mut World) -> Outcome {
    let records = world.options.records;
    let server = ChildServer::start(&snapshots::digests(records)?)?;
    let _pinned = Pinned::to(cores::CLIENT);
    let runtime = BackgroundRuntime::new();
    let fleet = Arc::new(runtime.block_on(async { Fleet::new(server.address, server.pin) })?);
    let mut figures = Vec::new();

    let mut rates = Vec::new();
    for round in 0..world.options.rounds {
        let started = Instant::now();
        let members = runtime.block_on(fleet.join_all(HANDSHAKES))?;
        rates.push(HANDSHAKES as f64 / started.elapsed().as_secs_f64());
        eprintln!("  round {}: {} handshakes/s", round + 1, quantity(rates[round]));
        members.iter().for_each(fleet::Member::leave);
        // Closed connections are drained before the next round.
        thread::sleep(Duration::from_millis(200));
    }
    let rate = Spread::of(rates);
    let what = "full handshakes with hello, one core each for client and server";
    figures.push(Figure::once(rate.median, "/s", what, "-", None).goal(Goal::ValueAtLeast(1_500.0)));

    let ours = OurClient::connect(server.client_config())?;
    let mut our_draw = Draw::tenth(records);
    ours.check(&mut our_draw);
    let busy = runtime.block_on(fleet.join_all(BUSY))?;
    let mut draw = Draw::tenth(records);
    let mut many_side = || {
        let burst = draw.burst(BURST_KEYS);
        let keys = burst.clone();
        let request = move |number| fleet::request(&keys, number);
        let started = Instant::now();
        let hits = runtime.block_on(fleet::exchange(&busy, request, IN_FLIGHT));
        let time = started.elapsed();
        assert_eq!(hits, burst.listed.len(), "hits of many clients");
        Sample { keys: burst.keys(), time }
    };
    let mut one_side = || ours.exchange(&mut our_draw);
    let rates = interleave(&world.options, &mut [&mut many_side, &mut one_side]);
    let what = format!("SHA-256, 10 % hits, over {BUSY} connections");
    figures.push(Figure::rate(&rates, 1, what, "one connection").at_least(0.6));
    busy.iter().for_each(fleet::Member::leave);
    thread::sleep(Duration::from_secs(1));

    // A new server: memory freed by the busy connections would be reused and hide the cost of a connection.
    drop((ours, busy, server));
    let server = ChildServer::start(&snapshots::digests(records)?)?;
    let fleet = Arc::new(runtime.block_on(async { Fleet::new(server.address, server.pin) })?);
    let few = runtime.block_on(fleet.join_all(100))?;
    let before = server.memory()?;
    let many = runtime.block_on(fleet.join_all(IDLE))?;
    thread::sleep(Duration::from_secs(2));
    let bytes = (server.memory()?.saturating_sub(before)) as f64 / IDLE as f64;
    drop((few, many));
    let what = format!("server memory per idle connection, {} connections", quantity(IDLE as f64));
    figures.push(Figure::once(bytes, "B", what, "-", None).goal(Goal::ValueAtMost(40.0 * 1024.0)));
    Ok(figures)
}
