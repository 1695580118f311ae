//! Row 3: end-to-end lookups against the raw transport, which carries the same bytes without processing them.
//!
//! This is the throughput relative to the transport with validation of frames, lookups and encoding of answers: with
//! the packet size of the internet, where encryption and system calls take most of the time, and with the size that
//! loopback and jumbo frames permit, where they take least.

use crate::{
    Outcome, Skip,
    keys::Draw,
    ours::{OurServer, Packets},
    raw_transport::RawTransport,
    report::Figure,
    rounds::interleave,
    world::World,
};

pub(crate) fn run(world: &mut World) -> Outcome {
    Ok(vec![at(world, 1_452)?.at_least(0.90), at(world, 6_000)?.at_least(0.62)])
}

fn at(world: &mut World, packet_bytes: u16) -> Result<Figure, Skip> {
    let records = world.options.records;
    let packets = Packets::Bytes(packet_bytes);
    let server = OurServer::start(world.index(records)?, packets)?;
    let (ours, raw) = (server.connect()?, RawTransport::start(packets)?);
    let (mut our_draw, mut raw_draw) = (Draw::tenth(records), Draw::tenth(records));
    ours.check(&mut our_draw);
    let mut ours_side = || ours.exchange(&mut our_draw);
    let mut raw_side = || raw.exchange(&mut raw_draw);
    let rates = interleave(&world.options, &mut [&mut ours_side, &mut raw_side]);
    let what = format!("SHA-256, 10 % hits, packets of {packet_bytes} bytes");
    Ok(Figure::rate(&rates, 1, what, "raw transport"))
}
