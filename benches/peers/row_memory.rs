//! Row 10: the server's memory per SHA-256 record, with fifty records per name.
//!
//! It is the resident memory of the process after it has answered a few million keys: the index, the program, the
//! buffers of a connection. Redis, shown for comparison, stores a digest and a short string.

use crate::{
    Outcome, Skip,
    child::ChildServer,
    keys::Draw,
    ours::OurClient,
    report::{Figure, Goal},
    rounds::quantity,
    snapshots::{self, resident_memory},
    world::World,
};

pub(crate) fn run(world: &mut World) -> Outcome {
    let redis_records = world.options.records as f64;
    let redis = world.redis()?.id();
    let redis = resident_memory(redis).map(|bytes| bytes as f64 / redis_records);
    // Frees the memory of shared resources.
    world.clear();
    let mut figures = Vec::new();
    let sizes = if world.options.quick { vec![world.options.records] } else { vec![10_000_000, 100_000_000] };
    for records in sizes {
        match bytes_a_record(records) {
            Ok(bytes) => {
                let what = format!("memory of the server, {} records", quantity(records as f64));
                let figure = Figure::once(bytes, "B/record", what, "Redis", redis);
                figures.push(figure.goal(Goal::ValueAtMost(64.0)));
            }
            Err(reason) => eprintln!("  skipped {} records: {reason}", quantity(records as f64)),
        }
    }
    Ok(figures)
}

fn bytes_a_record(records: u64) -> Result<f64, Skip> {
    let path = snapshots::digests(records)?;
    let bytes = std::fs::metadata(&path).map_or(0, |m| m.len());
    snapshots::need_memory(bytes, "serving the snapshot")?;
    let server = ChildServer::start(&path)?;
    let ours = OurClient::connect(server.client_config())?;
    let mut draw = Draw::tenth(records);
    ours.check(&mut draw);
    ours.exchange(&mut draw);
    Ok(server.memory()? as f64 / records as f64)
}
