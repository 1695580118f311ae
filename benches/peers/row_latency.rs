//! Row 6: the latency of one caller that looks up one key at a time, against a raw QUIC ping-pong.
//!
//! The ping-pong sends and receives the same number of bytes over a new stream, so the difference is the cost of ksn:
//! the frames, the connection manager, the index. The blocking client delegates to its own thread, which costs two
//! additional wake-ups; it is compared with the same ping-pong.

use std::time::Instant;

use bytes::Bytes;
use ksn::{Client, key::Key};

use crate::{
    Outcome,
    cores::{self, Pinned},
    keys::{Draw, WIDTH},
    ours::{OurServer, Packets, single_keys},
    raw_transport::{self, RawTransport},
    report::Figure,
    rounds::take_turns,
    world::World,
};

/// The number of lookups per round, which take a third of a second.
const LOOKUPS: u64 = 4_000;

/// The median and the 99th percentile in microseconds.
type Latencies = [f64; 2];

pub(crate) fn run(world: &mut World) -> Outcome {
    let records = world.options.records;
    let server = OurServer::start(world.index(records)?, Packets::Default)?;
    let (ours, raw) = (server.connect()?, RawTransport::start(Packets::Default)?);
    let _pinned = Pinned::to(cores::CLIENT);
    let blocking = Client::spawn(server.client_config()).map_err(|e| e.to_string())?;
    let (mut our_draw, mut blocking_draw, mut raw_draw) =
        (Draw::tenth(records), Draw::tenth(records), Draw::tenth(records));

    let mut ours_side = || {
        measure(&mut our_draw, |key| {
            let answers = ours.runtime.block_on(ours.client.lookup(std::slice::from_ref(key))).expect("an answer");
            answers[0].winner().map(|record| record.id)
        })
    };
    let mut raw_side = || {
        let burst = raw_draw.burst(LOOKUPS);
        let keys = burst.bytes.chunks(WIDTH).map(Bytes::copy_from_slice);
        percentiles(
            keys.map(|key| {
                let started = Instant::now();
                raw.runtime.block_on(raw_transport::exchange(&raw.connection, key));
                microseconds(started)
            })
            .collect(),
        )
    };
    let mut blocking_side = || {
        measure(&mut blocking_draw, |key| {
            let answers = blocking.lookup(std::slice::from_ref(key)).expect("an answer");
            answers[0].winner().map(|record| record.id)
        })
    };
    let show = |[median, p99]: &Latencies| format!("{median:.1} µs ({p99:.1})");
    let rounds = world.options.rounds;
    let turns = take_turns(rounds, show, &mut [&mut ours_side, &mut raw_side]);
    let blocked = take_turns(rounds, show, &mut [&mut blocking_side, &mut raw_side]);
    let mut figures = Vec::new();
    for (client, turns, goal) in [("one caller", turns, 1.2), ("one caller, blocking", blocked, 1.5)] {
        for (at, which) in ["median", "99th percentile"].into_iter().enumerate() {
            let pick = |side: &[Latencies]| side.iter().map(|latencies| latencies[at]).collect::<Vec<_>>();
            let [ours, theirs, again] = [&turns.sides[0], &turns.sides[1], &turns.again].map(|side| pick(side));
            let what = format!("{client}, one key at a time, {which}");
            figures.push(Figure::compare(&ours, &theirs, &again, "µs", what, "raw QUIC ping-pong").at_most(goal));
        }
    }
    Ok(figures)
}

/// Looks up one key after the other and checks every answer.
fn measure(draw: &mut Draw, mut lookup: impl FnMut(&Key) -> Option<u64>) -> Latencies {
    let burst = draw.burst(LOOKUPS);
    let mut listed = burst.listed.iter().peekable();
    let mut latencies = Vec::with_capacity(LOOKUPS as usize);
    for (row, key) in single_keys(&burst).iter().enumerate() {
        let started = Instant::now();
        let found = lookup(key);
        latencies.push(microseconds(started));
        assert_eq!(found, listed.next_if(|(listed, _)| *listed as usize == row).map(|(_, number)| *number));
    }
    percentiles(latencies)
}

fn microseconds(since: Instant) -> f64 {
    since.elapsed().as_nanos() as f64 / 1e3
}

fn percentiles(mut latencies: Vec<f64>) -> Latencies {
    latencies.sort_by(f64::total_cmp);
    [latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100]]
}
