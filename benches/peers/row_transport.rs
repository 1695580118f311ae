//! Row 3: lookups end to end against the bare exchange, which carries the same bytes and looks at none.
//!
//! How much of the transport's speed is left when there are frames to check, keys to look up and answers to write: at
//! the packet size of the internet, where encryption and system calls take most of the time, and at the size that
//! loopback and large frames carry, where they take least.

use crate::{
    Outcome, Skip,
    keys::Draw,
    ours::{OurServer, Packets},
    raw_transport::Bare,
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
    let (ours, bare) = (server.connect()?, Bare::start(packets)?);
    let (mut our_draw, mut bare_draw) = (Draw::tenth(records), Draw::tenth(records));
    ours.check(&mut our_draw);
    let mut ask_ours = || ours.exchange(&mut our_draw);
    let mut ask_bare = || bare.exchange(&mut bare_draw);
    let rates = interleave(&world.options, &mut [&mut ask_ours, &mut ask_bare]);
    let what = format!("SHA-256, 10 % hits, packets of {packet_bytes} bytes");
    Ok(Figure::rate(&rates, 1, what, "bare exchange"))
}
