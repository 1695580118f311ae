//! Prevents callers who share a batch from getting one another's answers, from being left behind by one who goes, and
//! from waiting for ever when the connection breaks.
#![cfg(feature = "net")]

mod common;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{MD5_KNOWN, Running, bounded, key, sha256};
use ksn::{Client, Key, LookupError, LookupOptions, Status, batch::Detail, wire::ServerLimits};
use tokio::{task::JoinSet, time};

/// Keys of several kinds; what is known of each does not depend on who asks for what beside it.
fn mixed(number: u32) -> Key {
    match number % 4 {
        0 => sha256(number).into(),
        1 => key(&format!("url:host{number}.{}.example/x?{number}", if number % 8 == 1 { "evil" } else { "good" })),
        2 => key(&format!("ipv4:192.0.{}.{}", number % 3, number % 250)),
        _ => sha256(number / 3 * 10).into(),
    }
}

#[tokio::test]
async fn who_shares_a_batch_gets_what_a_batch_of_its_own_gets() {
    shared_equals_alone(1).await;
}

#[tokio::test]
async fn over_several_connections_too() {
    shared_equals_alone(3).await;
}

async fn shared_equals_alone(connections: usize) {
    let server = Running::start(|_| {}).await;
    let config = ksn::ClientConfig { connections, ..server.client_config() };
    let client = bounded(Client::connect(config)).await.unwrap();
    let keys: Vec<Key> = (0..3_000).map(mixed).collect();
    let alone = bounded(client.lookup(&keys)).await.unwrap();
    assert!(alone.iter().any(|a| a.status == Status::Known) && alone.iter().any(|a| a.status == Status::Unknown));

    let mut callers = JoinSet::new();
    for caller in 0..200u32 {
        let (client, keys) = (client.clone(), keys.clone());
        callers.spawn(async move {
            let mut found = Vec::new();
            for round in 0..15 {
                // From one key to a dozen, so that answers of several length lie side by side.
                let from = (caller * 15 + round) as usize % 2_980;
                let count = 1 + (caller as usize + round as usize) % 12;
                found.push((from, client.lookup(&keys[from..from + count]).await.unwrap()));
            }
            found
        });
    }
    while let Some(found) = bounded(callers.join_next()).await {
        for (from, answers) in found.unwrap() {
            assert_eq!(answers, alone[from..from + answers.len()]);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn threads_share_batches_too() {
    let server = Running::start(|_| {}).await;
    let config = server.client_config();
    let work = tokio::task::spawn_blocking(move || {
        let client = Arc::new(Client::spawn(config).unwrap());
        let threads: Vec<_> = (0..16u32)
            .map(|caller| {
                let client = client.clone();
                thread::spawn(move || {
                    for number in (caller * 100)..(caller * 100 + 100) {
                        let answers = client.lookup(&[sha256(number).into()]).unwrap();
                        let listed = number < 1_000 && number % 10 == 0;
                        assert_eq!(answers[0].status, if listed { Status::Known } else { Status::Unknown });
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    bounded(work).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn ways_of_answering_do_not_mix() {
    let server = Running::start(|_| {}).await;
    let client = bounded(server.client()).await;
    let keys = [key("ipv4:192.0.2.7")];
    let all = LookupOptions { detail: Detail::All, ..LookupOptions::default() };
    for _ in 0..50 {
        let winner = LookupOptions::default();
        let (one, both, again) = tokio::join!(
            client.lookup_with(&keys, &winner),
            client.lookup_with(&keys, &all),
            client.lookup_with(&keys, &winner),
        );
        let counts = [one, both, again].map(|answers| answers.unwrap()[0].records.len());
        assert_eq!(counts, [1, 2, 1]);
    }
    server.stop().await;
}

/// Whoever leads a batch may be dropped at any of its steps; the others must not notice.
#[tokio::test]
async fn callers_who_leave_take_nobody_with_them() {
    let server = Running::start(|_| {}).await;
    let client = bounded(server.client()).await;
    for round in 0..300u64 {
        let mut leaving = JoinSet::new();
        let mut staying = JoinSet::new();
        for caller in 0..8u32 {
            let (one, other) = (client.clone(), client.clone());
            let patience = Duration::from_micros((round * 37 + u64::from(caller) * 11) % 400);
            leaving.spawn(async move {
                let _ = time::timeout(patience, one.lookup(&[sha256(caller).into()])).await;
            });
            staying.spawn(async move { other.lookup(&[key(MD5_KNOWN)]).await });
        }
        while let Some(answers) = bounded(staying.join_next()).await {
            assert_eq!(answers.unwrap().unwrap()[0].status, Status::Known);
        }
        bounded(leaving.shutdown()).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_truncated_answer_left_out_is_asked_again() {
    let server = Running::start(|config| config.limits.answer_bytes = 400).await;
    let client = bounded(server.client()).await;
    let keys: Vec<Key> = (0..100).map(|number| sha256(number * 10 % 1_000).into()).collect();
    let answers = bounded(client.lookup(&keys)).await.unwrap();
    assert!(answers.iter().all(|answer| answer.status == Status::Known));
    server.stop().await;
}

#[tokio::test]
async fn a_server_with_one_stream_and_small_batches_serves_a_crowd() {
    let limits = ServerLimits { keys: 3, streams: 1, ..Default::default() };
    let server = Running::start(|config| config.limits = limits).await;
    let client = bounded(server.client()).await;
    let mut callers = JoinSet::new();
    for number in 0..500 {
        let client = client.clone();
        callers.spawn(async move { (number, client.lookup(&[sha256(number).into()]).await.unwrap()) });
    }
    while let Some(found) = bounded(callers.join_next()).await {
        let (number, answers) = found.unwrap();
        assert_eq!(answers[0].status == Status::Known, number % 10 == 0, "{number}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_crowd_hears_of_a_server_that_is_gone() {
    let server = Running::start(|_| {}).await;
    let mut config = server.client_config();
    config.lookup_timeout = Duration::from_secs(3);
    config.connect_timeout = Duration::from_secs(1);
    let client = bounded(Client::connect(config)).await.unwrap();
    bounded(client.lookup(&[key(MD5_KNOWN)])).await.unwrap();
    server.stop().await;
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..50 {
        let client = client.clone();
        callers.spawn(async move { client.lookup(&[sha256(number).into()]).await });
    }
    while let Some(result) = bounded(callers.join_next()).await {
        let error = result.unwrap().unwrap_err();
        assert!(!matches!(error, LookupError::Protocol(_)), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
}
