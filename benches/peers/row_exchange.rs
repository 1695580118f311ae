//! Rows 1 and 2: end-to-end lookups over encrypted loopback QUIC, against Redis; memcached is shown for comparison.
//!
//! This is the throughput of a scanner: it calls [`ksn::Client::exchange`] with a column of SHA-256 digests and parses
//! the answers; a client with prebuilt requests is shown for comparison. Redis, an in-memory table behind a socket, is
//! the common alternative. It is queried in the way that suits it best, unencrypted and with prebuilt requests; its
//! figure with TLS, which is the fair comparison, is shown too. Row 2 has ten times the records in ksn, and the same
//! Redis.

use std::time::Instant;

use tokio::runtime::Runtime;

use crate::{
    Outcome, Skip,
    fleet::{self, Fleet, Member},
    keys::Draw,
    ours::{BURST_KEYS, IN_FLIGHT, OurServer, Packets, one_thread},
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
    let mut others: Vec<Box<dyn FnMut() -> Sample>> = vec![Box::new(move || plain.exchange(&mut plain_draw))];
    if with_others {
        match redis.best_multi_get(true) {
            Ok(mut tls) => {
                names.push(tls.name());
                let mut draw = Draw::tenth(redis_records);
                others.push(Box::new(move || tls.exchange(&mut draw)));
            }
            Err(reason) => eprintln!("  skipped Redis with TLS: {reason}"),
        }
        if !world.options.quick {
            match world.memcached().and_then(|memcached| memcached.best_multi_get()) {
                Ok(mut memcached) => {
                    names.push(memcached.name());
                    let mut draw = Draw::tenth(redis_records);
                    others.push(Box::new(move || memcached.exchange(&mut draw)));
                }
                Err(reason) => eprintln!("  skipped memcached: {reason}"),
            }
        }
    }

    let server = OurServer::start(index, Packets::Default)?;
    let ours = server.connect()?;
    let mut draw = Draw::tenth(records);
    ours.check(&mut draw);
    let mut ours_side = || ours.exchange(&mut draw);
    let mut prebuilt = Prebuilt::connect(&server)?;
    let mut prebuilt_draw = Draw::tenth(records);
    let mut prebuilt_side = || prebuilt.exchange(&mut prebuilt_draw);
    let mut sides: Vec<&mut dyn FnMut() -> Sample> = vec![&mut ours_side];
    sides.extend(others.iter_mut().map(|side| &mut **side as &mut dyn FnMut() -> Sample));
    sides.push(&mut prebuilt_side);
    let rates = interleave(&world.options, &mut sides);
    let what = format!("SHA-256, {} records, 10 % hits, end to end", quantity(records as f64));
    let prebuilt = format!("{what}, prebuilt frames");
    let prebuilt =
        Figure::compare(&rates.sides[names.len() + 1], &rates.sides[1], &rates.again, "keys/s", prebuilt, &*names[0]);
    let mut figures: Vec<_> =
        names.into_iter().enumerate().map(|(at, name)| Figure::rate(&rates, at + 1, what.as_str(), name)).collect();
    figures[0].goal = Some(Goal::RatioAtLeast(goal));
    figures.push(prebuilt);
    Ok(figures)
}

/// A minimal client with prebuilt requests, like those of Redis.
struct Prebuilt {
    runtime: Runtime,
    member: [Member; 1],
    _fleet: Fleet,
}

impl Prebuilt {
    fn connect(server: &OurServer) -> Result<Self, Skip> {
        let runtime = one_thread();
        let (address, pin) = server.endpoint();
        let (fleet, member) = runtime.block_on(async {
            let fleet = Fleet::new(address, pin)?;
            let member = fleet.join().await?;
            Ok::<_, Skip>((fleet, member))
        })?;
        Ok(Self { runtime, member: [member], _fleet: fleet })
    }

    fn exchange(&mut self, draw: &mut Draw) -> Sample {
        let burst = draw.burst(BURST_KEYS);
        let requests: Vec<_> = (0..).map_while(|number| fleet::request(&burst, number)).collect();
        let ready = move |number: usize| requests.get(number).cloned();
        let started = Instant::now();
        let hits = self.runtime.block_on(fleet::exchange(&self.member, ready, IN_FLIGHT));
        let time = started.elapsed();
        assert_eq!(hits, burst.listed.len(), "hits of prebuilt requests");
        Sample { keys: burst.keys(), time }
    }
}
