//! Row 9: IPv4 addresses with a million blocks: end to end against SHA-256, and in the index against a prefetched
//! random line; rbldnsd, a common server of such lists, is shown for comparison.
//!
//! The line is in a table of 16 bytes per block: its ends and its record's number, the minimum to store.

use std::{cell::RefCell, sync::Arc};

use crate::{
    Outcome, Skip,
    floor::Lines,
    ipv4::{self, BLOCKS, DrawAddresses},
    keys::Draw,
    ours::{BATCH_KEYS, BURST_KEYS, Batches, OurServer, Packets},
    rbldnsd::Rbldnsd,
    report::Figure,
    rounds::{Sample, ThreadClock, interleave},
    row_index, snapshots,
    world::World,
};

pub(crate) fn run(world: &mut World) -> Outcome {
    let index = snapshots::open(&snapshots::kept("ipv4-1000000", BLOCKS, ipv4::fill)?)?;
    let mut figures = vec![index_alone(world, &index.view())?];

    let server = OurServer::start(index, Packets::Default)?;
    let digest_server = OurServer::start(world.index(world.options.records)?, Packets::Default)?;
    let (ours, digests) = (server.connect()?, digest_server.connect()?);
    let mut draw = DrawAddresses::new(true);
    let burst = draw.burst(32_768);
    assert!(ours.hits(&burst, BATCH_KEYS) == burst.listed, "answers of ksn");
    let mut digest_draw = Draw::tenth(world.options.records);
    let mut ours_side = || {
        let burst = Arc::new(draw.burst(BURST_KEYS));
        ours.time(&burst, burst.bytes.len() as u64, burst.listed.len())
    };
    let mut digests_side = || digests.exchange(&mut digest_draw);
    let what = "IPv4, a million blocks, 10 % hits, end to end";
    match Rbldnsd::start() {
        Ok(rbldnsd) => {
            let mut dns_draw = DrawAddresses::new(true);
            let mut dns_side = || rbldnsd.exchange(&mut dns_draw);
            let rates = interleave(&world.options, &mut [&mut ours_side, &mut digests_side, &mut dns_side]);
            figures.push(Figure::rate(&rates, 1, what, "SHA-256 end to end").at_least(1.3));
            figures.push(Figure::rate(&rates, 2, what, "rbldnsd, 64 queries in flight"));
        }
        Err(reason) => {
            eprintln!("  skipped rbldnsd: {reason}");
            let rates = interleave(&world.options, &mut [&mut ours_side, &mut digests_side]);
            figures.push(Figure::rate(&rates, 1, what, "SHA-256 end to end").at_least(1.3));
        }
    }
    Ok(figures)
}

fn index_alone(world: &World, view: &ksn::View) -> Result<Figure, Skip> {
    let lines = Lines::new(BLOCKS as usize * 16)?;
    let draw = RefCell::new(DrawAddresses::new(true));
    let mut ours = || {
        let burst = draw.borrow_mut().burst(BURST_KEYS);
        let mut count = row_index::Count::default();
        let started = ThreadClock::start();
        for number in 0.. {
            let Some(column) = burst.batch(number) else { break };
            row_index::answer(view, &column, &mut count);
        }
        let time = started.elapsed();
        assert_eq!(count.hits, burst.listed.len() as u64, "hits of the index");
        Sample { keys: burst.bytes.len() as u64, time }
    };
    let mut floor = || {
        let burst = draw.borrow_mut().burst(BURST_KEYS);
        let started = ThreadClock::start();
        let sum = burst.bytes.chunks(BATCH_KEYS).map(|batch| lines.touch(batch)).sum::<u64>();
        let time = started.elapsed();
        assert_eq!(sum, burst.bytes.len() as u64, "every line holds 1");
        Sample { keys: burst.bytes.len() as u64, time }
    };
    let rates = interleave(&world.options, &mut [&mut ours, &mut floor]);
    let what = "IPv4, a million blocks, 10 % hits, index alone";
    Ok(Figure::time(&rates, 1, what, "a prefetched line of 16 MB").at_most(1.5))
}
