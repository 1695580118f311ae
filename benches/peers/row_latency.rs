//! Row 6: one caller that asks one key at a time and waits: how long, against a bare QUIC ping-pong.
//!
//! The ping-pong sends as many bytes over a stream of its own and gets as many back, so what is beyond it is ours: the
//! frames, the task that looks after the connection, the index. The blocking face hands its work to a thread of its
//! own, which costs two wake-ups more; it is held against the same ping-pong.

use std::time::Instant;

use bytes::Bytes;
use ksn::{Client, key::Key};

use crate::{
    Outcome,
    cores::{self, Pinned},
    keys::{Draw, WIDTH},
    ours::{OurServer, Packets, single_keys},
    raw_transport::{self, Bare},
    report::Figure,
    rounds::take_turns,
    world::World,
};

/// Lookups in a round: a third of a second.
const LOOKUPS: u64 = 4_000;

/// Microseconds: the median, and what one in a hundred exceeds.
type Latencies = [f64; 2];

pub(crate) fn run(world: &mut World) -> Outcome {
    let records = world.options.records;
    let server = OurServer::start(world.index(records)?, Packets::Default)?;
    let (ours, bare) = (server.connect()?, Bare::start(Packets::Default)?);
    let _pinned = Pinned::to(cores::CLIENT);
    let blocking = Client::spawn(server.client_config()).map_err(|e| e.to_string())?;
    let (mut our_draw, mut blocking_draw, mut bare_draw) =
        (Draw::tenth(records), Draw::tenth(records), Draw::tenth(records));

    let mut ask_ours = || {
        ask(&mut our_draw, |key| {
            let answers = ours.runtime.block_on(ours.client.lookup(std::slice::from_ref(key))).expect("an answer");
            answers[0].winner().map(|record| record.id)
        })
    };
    let mut ask_bare = || {
        let burst = bare_draw.burst(LOOKUPS);
        let keys = burst.bytes.chunks(WIDTH).map(Bytes::copy_from_slice);
        percentiles(
            keys.map(|key| {
                let started = Instant::now();
                bare.runtime.block_on(raw_transport::ask(&bare.connection, key));
                microseconds(started)
            })
            .collect(),
        )
    };
    let mut ask_blocking = || {
        ask(&mut blocking_draw, |key| {
            let answers = blocking.lookup(std::slice::from_ref(key)).expect("an answer");
            answers[0].winner().map(|record| record.id)
        })
    };
    let show = |[median, last]: &Latencies| format!("{median:.1} µs ({last:.1})");
    let rounds = world.options.rounds;
    let turns = take_turns(rounds, show, &mut [&mut ask_ours, &mut ask_bare]);
    let blocked = take_turns(rounds, show, &mut [&mut ask_blocking, &mut ask_bare]);
    let mut figures = Vec::new();
    for (face, turns, goal) in [("one caller", turns, 1.2), ("one caller, blocking", blocked, 1.5)] {
        for (at, which) in ["median", "99th percentile"].into_iter().enumerate() {
            let pick = |side: &[Latencies]| side.iter().map(|latencies| latencies[at]).collect::<Vec<_>>();
            let [ours, theirs, again] = [&turns.sides[0], &turns.sides[1], &turns.again].map(|side| pick(side));
            let what = format!("{face}, one key at a time, {which}");
            figures.push(Figure::compare(&ours, &theirs, &again, "µs", what, "bare ping-pong").at_most(goal));
        }
    }
    Ok(figures)
}

/// Asks one key after the other, and checks every answer.
fn ask(draw: &mut Draw, mut lookup: impl FnMut(&Key) -> Option<u64>) -> Latencies {
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
