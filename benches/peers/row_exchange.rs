//! Rows 1 and 2: lookups end to end, over encrypted loopback QUIC, against Redis; memcached stands beside it.
//!
//! This is what a scanner gets: it calls [`ksn::Client::exchange`] with a column of SHA-256 digests, and takes answers
//! apart. Redis is what many would take instead, an in-memory table behind a socket. It may be asked as suits it best,
//! unencrypted and with requests that lie ready; its figure with TLS, which is what ours is to be compared with, stands
//! beside it. Row 2 has ten times the records on our side, and the same Redis.

use crate::{
    Outcome,
    keys::Draw,
    ours::{OurServer, Packets},
    report::{Figure, Goal},
    rounds::{Sample, interleave, quantity},
    world::World,
};

pub(crate) fn run(world: &mut World) -> Outcome {
    let records = world.options.records;
    compare(world, records, true, 45.0)
}

pub(crate) fn run_large(world: &mut World) -> Outcome {
    compare(world, 100_000_000, false, 38.0)
}

fn compare(world: &mut World, records: u64, with_others: bool, goal: f64) -> Outcome {
    let (index, redis_records) = (world.index(records)?, world.options.records);
    let redis = world.redis()?;
    let mut plain = redis.best_multi_get(false)?;
    let mut names = vec![plain.name()];
    let mut plain_draw = Draw::tenth(redis_records);
    let mut others: Vec<Box<dyn FnMut() -> Sample>> = vec![Box::new(move || plain.ask(&mut plain_draw))];
    if with_others {
        match redis.best_multi_get(true) {
            Ok(mut tls) => {
                names.push(tls.name());
                let mut draw = Draw::tenth(redis_records);
                others.push(Box::new(move || tls.ask(&mut draw)));
            }
            Err(reason) => eprintln!("  no figure with TLS: {reason}"),
        }
        if !world.options.quick {
            match world.memcached().and_then(|memcached| memcached.best_multi_get()) {
                Ok(mut memcached) => {
                    names.push(memcached.name());
                    let mut draw = Draw::tenth(redis_records);
                    others.push(Box::new(move || memcached.ask(&mut draw)));
                }
                Err(reason) => eprintln!("  no figure of memcached: {reason}"),
            }
        }
    }

    let server = OurServer::start(index, Packets::Default)?;
    let ours = server.connect()?;
    let mut draw = Draw::tenth(records);
    ours.check(&mut draw);
    let mut ask_ours = || ours.exchange(&mut draw);
    let mut sides: Vec<&mut dyn FnMut() -> Sample> = vec![&mut ask_ours];
    sides.extend(others.iter_mut().map(|side| &mut **side as &mut dyn FnMut() -> Sample));
    let rates = interleave(&world.options, &mut sides);
    let what = format!("SHA-256, {} records, 10 % hits, end to end", quantity(records as f64));
    let mut figures: Vec<_> =
        names.into_iter().enumerate().map(|(at, name)| Figure::rate(&rates, at + 1, what.as_str(), name)).collect();
    figures[0].goal = Some(Goal::RatioAtLeast(goal));
    Ok(figures)
}
