//! Prevents callers of a coalesced batch from getting one another's answers, from getting none when another caller is
//! dropped, and from waiting forever when the connection breaks.
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

/// Returns keys of several kinds, whose answers do not depend on the other keys of a batch.
fn mixed(number: u32) -> Key {
    match number % 4 {
        0 => sha256(number).into(),
        1 => key(&format!("url:host{number}.{}.example/x?{number}", if number % 8 == 1 { "evil" } else { "good" })),
        2 => key(&format!("ipv4:192.0.{}.{}", number % 3, number % 250)),
        _ => sha256(number / 3 * 10).into(),
    }
}

#[tokio::test]
async fn coalesced_answers_equal_separate_ones() {
    check_coalesced_answers(1).await;
}

#[tokio::test]
async fn coalesced_answers_equal_separate_ones_over_several_connections() {
    check_coalesced_answers(3).await;
}

async fn check_coalesced_answers(connections: usize) {
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
                // One to twelve keys, so that answers of different lengths share a batch.
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
async fn threads_share_batches() {
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
async fn lookups_of_different_detail_are_not_mixed() {
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

/// Prevents other callers from losing their answers when the leader of a batch is dropped at any of its steps.
#[tokio::test]
async fn dropped_callers_do_not_affect_others() {
    let server = Running::start(|_| {}).await;
    let client = bounded(server.client()).await;
    for round in 0..300u64 {
        let mut leaving = JoinSet::new();
        let mut staying = JoinSet::new();
        for caller in 0..8u32 {
            let (one, other) = (client.clone(), client.clone());
            let timeout = Duration::from_micros((round * 37 + u64::from(caller) * 11) % 400);
            leaving.spawn(async move {
                let _ = time::timeout(timeout, one.lookup(&[sha256(caller).into()])).await;
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
async fn keys_missing_from_a_truncated_answer_are_requested_again() {
    let server = Running::start(|config| config.limits.answer_bytes = 400).await;
    let client = bounded(server.client()).await;
    let keys: Vec<Key> = (0..100).map(|number| sha256(number * 10 % 1_000).into()).collect();
    let answers = bounded(client.lookup(&keys)).await.unwrap();
    assert!(answers.iter().all(|answer| answer.status == Status::Known));
    server.stop().await;
}

#[tokio::test]
async fn a_server_with_one_stream_and_small_batches_serves_many_callers() {
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
async fn many_callers_get_an_error_from_a_stopped_server() {
    let server = Running::start(|_| {}).await;
    let mut config = server.client_config();
    config.lookup_timeout = Duration::from_secs(3);
    config.connect_timeout = Duration::from_secs(1);
    let client = bounded(Client::connect(config)).await.unwrap();
    bounded(client.lookup(&[key(MD5_KNOWN)])).await.unwrap();
    server.stop().await;
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..50 {
        let client = client.clone();
        callers.spawn(async move { client.lookup(&[sha256(number).into()]).await });
    }
    while let Some(result) = bounded(callers.join_next()).await {
        let error = result.unwrap().unwrap_err();
        assert!(!matches!(error, LookupError::Protocol(_)), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}
