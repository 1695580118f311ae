//! Row 12: scaling from one to three hundred million records.
//!
//! The end-to-end rate against the raw transport, which does not depend on the number of records; the time per key in
//! the index against a prefetched line, which does; and the bytes per record in memory. `benches/plot.py` plots the
//! results.

use crate::{
    Outcome, Skip,
    keys::Draw,
    ours::{OurServer, Packets},
    raw_transport::RawTransport,
    report::Figure,
    rounds::{interleave, quantity},
    row_index,
    world::World,
};

const SIZES: [u64; 6] = [1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000, 300_000_000];

pub(crate) fn run(world: &mut World) -> Outcome {
    // Frees memory for the largest index.
    world.clear();
    let mut figures = Vec::new();
    let most = if world.options.quick { world.options.records } else { u64::MAX };
    for records in SIZES.into_iter().filter(|&size| size <= most) {
        match at(world, records) {
            Ok(more) => figures.extend(more.into_iter().map(|figure| Figure { records: Some(records), ..figure })),
            Err(reason) => eprintln!("  skipped {} records: {reason}", quantity(records as f64)),
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
    let (ours, raw) = (server.connect()?, RawTransport::start(Packets::Default)?);
    let (mut our_draw, mut raw_draw) = (Draw::tenth(records), Draw::tenth(records));
    ours.check(&mut our_draw);
    let mut ours_side = || ours.exchange(&mut our_draw);
    let mut raw_side = || raw.exchange(&mut raw_draw);
    let rates = interleave(&world.options, &mut [&mut ours_side, &mut raw_side]);
    Ok(vec![
        Figure::rate(&rates, 1, format!("end to end, {size} records"), "raw transport"),
        misses,
        hits,
        Figure::once(bytes, "B/record", format!("index in memory, {size} records"), "-", None),
    ])
}
