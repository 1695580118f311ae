//! Row 12: how it grows, from one to three hundred million records.
//!
//! The end-to-end rate against the bare exchange, which does not grow; the time a key takes in the index against the
//! prefetched line, which does; and the bytes a record takes in memory. `benches/plot.py` draws it.

use crate::{
    Outcome, Skip,
    keys::Draw,
    ours::{OurServer, Packets},
    raw_transport::Bare,
    report::Figure,
    rounds::{interleave, quantity},
    row_index,
    world::World,
};

const SIZES: [u64; 6] = [1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000, 300_000_000];

pub(crate) fn run(world: &mut World) -> Outcome {
    // Room for the largest.
    world.empty();
    let mut figures = Vec::new();
    let most = if world.options.quick { world.options.records } else { u64::MAX };
    for records in SIZES.into_iter().filter(|&size| size <= most) {
        match at(world, records) {
            Ok(more) => figures.extend(more.into_iter().map(|figure| Figure { records: Some(records), ..figure })),
            Err(reason) => eprintln!("  left out {} records: {reason}", quantity(records as f64)),
        }
    }
    Ok(figures)
}

fn at(world: &mut World, records: u64) -> Result<Vec<Figure>, Skip> {
    let size = quantity(records as f64);
    let misses =
        row_index::compare(world, records, Draw::misses(records), format!("index alone, {size} records, misses"))?;
    let hits =
        row_index::compare(world, records, Draw::tenth(records), format!("index alone, {size} records, 10 % hits"))?;
    let index = world.index(records)?;
    let bytes = index.view().snapshot().bytes() as f64 / records as f64;
    let server = OurServer::start(index, Packets::Default)?;
    let (ours, bare) = (server.connect()?, Bare::start(Packets::Default)?);
    let (mut our_draw, mut bare_draw) = (Draw::tenth(records), Draw::tenth(records));
    ours.check(&mut our_draw);
    let mut ask_ours = || ours.exchange(&mut our_draw);
    let mut ask_bare = || bare.exchange(&mut bare_draw);
    let rates = interleave(&world.options, &mut [&mut ask_ours, &mut ask_bare]);
    Ok(vec![
        Figure::rate(&rates, 1, format!("end to end, {size} records"), "bare exchange"),
        misses,
        hits,
        Figure::once(bytes, "B/record", format!("index in memory, {size} records"), "-", None),
    ])
}
