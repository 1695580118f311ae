//! Row 7: prefixes of eight bytes, verified by the client, against whole digests.
//!
//! The client has whole digests. It sends eight bytes of each in batches of 16,384, and compares the suffix of every
//! candidate with the rest of the digest: all of this is measured, and the answers are as exact as those to whole
//! digests, which are looked up as in row 1.

use std::{sync::Arc, time::Instant};

use ksn::{
    Client,
    batch::Column,
    key::{DigestKind, PrefixWidth},
};

use crate::{
    Outcome,
    keys::{Burst, Draw, WIDTH},
    ours::{BURST_KEYS, IN_FLIGHT, OurClient, OurServer, Packets, all_in_flight},
    report::Figure,
    rounds::{Sample, interleave},
    world::World,
};

/// The number of keys per batch, whose request is as long as that of 4,096 whole digests.
const BATCH_KEYS: usize = 16_384;

pub(crate) fn run(world: &mut World) -> Outcome {
    let records = world.options.records;
    let server = OurServer::start(world.index(records)?, Packets::Default)?;
    let (prefix, whole) = (server.connect()?, server.connect()?);
    let (mut prefix_draw, mut whole_draw) = (Draw::tenth(records), Draw::tenth(records));
    whole.check(&mut whole_draw);
    // Every round checks the number of hits.
    let mut prefix_side = || time(&prefix, &mut prefix_draw);
    let mut whole_side = || whole.exchange(&mut whole_draw);
    let rates = interleave(&world.options, &mut [&mut prefix_side, &mut whole_side]);
    let figure =
        Figure::rate(&rates, 1, "SHA-256 by 8 bytes, verified, batches of 16,384", "whole digests, as in row 1");
    Ok(vec![figure.at_least(1.5)])
}

fn time(client: &OurClient, draw: &mut Draw) -> Sample {
    let burst = draw.burst(BURST_KEYS);
    let started = Instant::now();
    let found = client.runtime.block_on(lookup_all(&client.client, &burst));
    let time = started.elapsed();
    assert_eq!(found, burst.listed.len(), "verified hits of ksn");
    Sample { keys: burst.keys(), time }
}

async fn lookup_all(client: &Client, burst: &Arc<Burst>) -> usize {
    let (client, burst) = (client.clone(), burst.clone());
    all_in_flight(IN_FLIGHT, move |number| {
        let (client, burst) = (client.clone(), burst.clone());
        async move { Some(lookup(&client, burst.digests().chunks(BATCH_KEYS).nth(number)?).await) }
    })
    .await
}

/// Looks up digests by prefix and returns the number of verified hits.
async fn lookup(client: &Client, digests: &[[u8; WIDTH]]) -> usize {
    let mut bytes = Vec::with_capacity(digests.len() * 8);
    digests.iter().for_each(|digest| bytes.extend_from_slice(&digest[..8]));
    let columns = [Column::Prefixes { kind: DigestKind::Sha256, width: PrefixWidth::Eight, bytes: &bytes }];
    let answer = client.exchange(&columns, &Default::default()).await.expect("an answer");
    let answer = answer.view().expect("a valid answer");
    let candidates = answer.candidates(&columns).expect("suffixes of the right length");
    candidates.filter(|(hit, suffix)| digests[hit.position().row as usize][8..] == **suffix).count()
}
