//! Row 1: lookups end to end, over encrypted loopback QUIC, against Redis.
//!
//! This is what a scanner gets: it calls [`ksn::Client::exchange`] with a column of SHA-256 digests, and takes answers
//! apart. Redis is what many would take instead, an in-memory table behind a socket. It may be asked as suits it best,
//! unencrypted and with requests that lie ready; its figure with TLS, which is what ours is to be compared with, stands
//! beside it.

use crate::{
    Outcome,
    keys::Draw,
    ours::{OurServer, Packets},
    report::Figure,
    rounds::interleave,
    world::World,
};

pub(crate) fn run(world: &mut World) -> Outcome {
    let records = world.options.records;
    let index = world.index(records)?;
    let redis = world.redis()?;
    let mut plain = redis.best_multi_get(false)?;
    let mut tls = redis.best_multi_get(true);
    let server = OurServer::start(index, Packets::Default)?;
    let ours = server.connect()?;
    let (mut our_draw, mut plain_draw, mut tls_draw) =
        (Draw::tenth(records), Draw::tenth(records), Draw::tenth(records));
    ours.check(&mut our_draw);

    let mut ask_ours = || ours.exchange(&mut our_draw);
    let plain_name = plain.name();
    let mut ask_plain = || plain.ask(&mut plain_draw);
    let what = "SHA-256, 10 % hits, end to end";
    match &mut tls {
        Ok(tls) => {
            let tls_name = tls.name();
            let mut ask_tls = || tls.ask(&mut tls_draw);
            let rates = interleave(&world.options, &mut [&mut ask_ours, &mut ask_plain, &mut ask_tls]);
            Ok(vec![Figure::rate(&rates, 1, what, plain_name).at_least(45.0), Figure::rate(&rates, 2, what, tls_name)])
        }
        Err(reason) => {
            eprintln!("  no figure with TLS: {reason}");
            let rates = interleave(&world.options, &mut [&mut ask_ours, &mut ask_plain]);
            Ok(vec![Figure::rate(&rates, 1, what, plain_name).at_least(45.0)])
        }
    }
}
