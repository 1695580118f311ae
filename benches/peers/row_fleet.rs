//! Row 13: a fleet of ten thousand clients.
//!
//! What an idle connection costs the server in memory, how many full handshakes it makes a second, and what is left of
//! the speed of one connection when the same lookups come over a thousand. The server is a process of its own.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Outcome,
    child::ChildServer,
    cores::{self, Pinned},
    fleet::{self, Driven, Fleet},
    keys::Draw,
    ours::{BURST_KEYS, OurClient},
    report::{Figure, Goal},
    rounds::{Sample, Spread, interleave, quantity},
    snapshots,
    world::World,
};

/// Connections that do nothing.
const IDLE: usize = 10_000;

/// Connections that lookups are spread over.
const BUSY: usize = 1_000;

/// Batches on their way at a time, over all of those.
const IN_FLIGHT: usize = 32;

/// Handshakes of a round: some tenths of a second.
const HANDSHAKES: usize = 500;

pub(crate) fn run(world: &mut World) -> Outcome {
    let records = world.options.records;
    let server = ChildServer::start(&snapshots::digests(records)?)?;
    let _pinned = Pinned::to(cores::CLIENT);
    let runtime = Driven::new();
    let fleet = Arc::new(runtime.block_on(async { Fleet::new(server.address, server.pin) })?);
    let mut figures = Vec::new();

    let mut rates = Vec::new();
    for round in 0..world.options.rounds {
        let started = Instant::now();
        let members = runtime.block_on(fleet.join_all(HANDSHAKES))?;
        rates.push(HANDSHAKES as f64 / started.elapsed().as_secs_f64());
        eprintln!("  round {}: {} handshakes/s", round + 1, quantity(rates[round]));
        members.iter().for_each(fleet::Member::leave);
        // Those that have left are drained before the next come.
        thread::sleep(Duration::from_millis(200));
    }
    let rate = Spread::of(rates);
    let what = "full handshakes with hello, a core each for client and server";
    figures.push(Figure::once(rate.median, "/s", what, "-", None).goal(Goal::ValueAtLeast(1_500.0)));

    let ours = OurClient::connect(server.client_config())?;
    let mut our_draw = Draw::tenth(records);
    ours.check(&mut our_draw);
    let busy = runtime.block_on(fleet.join_all(BUSY))?;
    let mut draw = Draw::tenth(records);
    let mut ask_many = || {
        let burst = draw.burst(BURST_KEYS);
        let asked = burst.clone();
        let request = move |number| fleet::request(&asked, number);
        let started = Instant::now();
        let hits = runtime.block_on(fleet::exchange(&busy, request, IN_FLIGHT));
        let time = started.elapsed();
        assert_eq!(hits, burst.listed.len(), "hits of many clients");
        Sample { keys: burst.keys(), time }
    };
    let mut ask_one = || ours.exchange(&mut our_draw);
    let rates = interleave(&world.options, &mut [&mut ask_many, &mut ask_one]);
    let what = format!("SHA-256, 10 % hits, spread over {BUSY} connections");
    figures.push(Figure::rate(&rates, 1, what, "one connection").at_least(0.6));
    busy.iter().for_each(fleet::Member::leave);
    thread::sleep(Duration::from_secs(1));

    // A fresh server: what the busy ones left behind would be used again and hide what a connection takes.
    drop((ours, busy, server));
    let server = ChildServer::start(&snapshots::digests(records)?)?;
    let fleet = Arc::new(runtime.block_on(async { Fleet::new(server.address, server.pin) })?);
    let few = runtime.block_on(fleet.join_all(100))?;
    let before = server.memory()?;
    let many = runtime.block_on(fleet.join_all(IDLE))?;
    thread::sleep(Duration::from_secs(2));
    let bytes = (server.memory()?.saturating_sub(before)) as f64 / IDLE as f64;
    drop((few, many));
    let what = format!("server's memory of an idle connection, {} of them", quantity(IDLE as f64));
    figures.push(Figure::once(bytes, "B", what, "-", None).goal(Goal::ValueAtMost(40.0 * 1024.0)));
    Ok(figures)
}
