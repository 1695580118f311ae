//! Prevents lookups that fail, that see two generations, or that have to free gigabytes while a snapshot is replaced.
#![cfg(feature = "net")]

#[path = "common/mod.rs"]
mod common;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use common::{bounded, sha256};
use ksn::{
    Certificate, Client, ClientConfig, Key, Server, ServerConfig, Trust,
    batch::Detail,
    key::Indicator,
    record::{Entry, RecordSink, RecordType},
    reload::{ReloadError, Reloaded, Reloader},
    snapshot::{SnapshotBuilder, SnapshotInfo},
    timestamp::Timestamp,
};

const KEYS: u32 = 300;
const REPLACEMENTS: u64 = 30;

fn now() -> Timestamp {
    Timestamp::from_seconds(1_700_000_000).unwrap()
}

/// Writes a snapshot in which the name of every record is its generation.
fn write(path: &Path, generation: u64, keys: u32) {
    let mut builder = SnapshotBuilder::new();
    let name = generation.to_string();
    for number in 0..keys {
        let entry = Entry {
            indicator: Indicator::Digest(sha256(number)),
            id: number.into(),
            record_type: RecordType::Malware,
            name: &name,
            source: "test",
            timestamp: None,
            expiry: None,
            port: None,
        };
        builder.add(0, entry);
    }
    let info = SnapshotInfo { dataset: "test".into(), generation, created: now(), compiled_with: BTreeMap::new() };
    builder.finish(&info).unwrap().write(path).unwrap();
}

fn keys() -> Vec<Key> {
    (0..KEYS).map(|number| sha256(number).into()).collect()
}

#[tokio::test]
async fn lookups_during_replacements_see_one_generation_each_and_never_fail() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.ksn");
    write(&path, 1, KEYS);
    let mut reloader = Reloader::open(&path, 50).unwrap();
    let index = reloader.index().clone();
    let certificate = Certificate::SelfSigned { state: directory.path().into() };
    let config = ServerConfig { cores: 2, ..ServerConfig::new("127.0.0.1:0".parse().unwrap(), certificate) };
    let server = Server::bind(config, index.clone()).unwrap();
    let config = ClientConfig::new(server.local_addr().to_string(), Trust::Pin(server.pin()));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));

    let (ended, batches) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = bounded(Client::connect(config)).await.unwrap();
    let lookups: Vec<_> = (0..4)
        .map(|_| {
            let (client, ended, batches) = (client.clone(), ended.clone(), batches.clone());
            tokio::spawn(async move {
                let (keys, mut generation) = (keys(), 1);
                while !ended.load(Relaxed) {
                    // Small enough for one batch.
                    let answers = bounded(client.lookup(&keys)).await.unwrap();
                    assert!(answers[0].generation >= generation, "an older generation than before");
                    generation = answers[0].generation;
                    for answer in answers {
                        let name = &answer.winner().expect("a record").name;
                        assert_eq!((answer.generation, &**name), (generation, &*generation.to_string()));
                    }
                    batches.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let replacing = thread::spawn(move || {
        for generation in 2..=REPLACEMENTS + 1 {
            write(&path, generation, KEYS);
            let reloaded = reloader.poll().expect("a change").expect("a good snapshot");
            let Reloaded::Replaced(replaced) = reloaded else { panic!("{reloaded:?}") };
            assert_eq!((replaced.previous.generation(), replaced.current.generation()), (generation - 1, generation));
            drop(replaced.current);
            let weak = Arc::downgrade(&replaced.previous);
            assert!(replaced.previous.retire(Duration::from_secs(20)));
            assert!(weak.upgrade().is_none());
            thread::sleep(Duration::from_millis(20));
        }
        assert!(reloader.poll().is_none());
    });
    tokio::task::spawn_blocking(move || replacing.join().unwrap()).await.unwrap();
    ended.store(true, Relaxed);
    for lookup in lookups {
        bounded(lookup).await.unwrap();
    }
    assert_eq!(index.view().generation(), REPLACEMENTS + 1);
    assert!(batches.load(Relaxed) > REPLACEMENTS, "too few lookups: {batches:?}");
    drop(stop);
    bounded(serving).await.unwrap();
}

/// Prevents a caller that holds a view from being disturbed, and a thread that waits for it forever.
#[test]
fn a_view_in_use_is_left_to_its_user() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.ksn");
    write(&path, 1, KEYS);
    let mut reloader = Reloader::open(&path, 50).unwrap();
    let view = reloader.index().view();
    write(&path, 2, KEYS);
    let Some(Ok(Reloaded::Replaced(replaced))) = reloader.poll() else { panic!("a replacement") };
    assert!(!replaced.previous.retire(Duration::from_millis(30)));
    assert_eq!((view.generation(), view.total_records()), (1, u64::from(KEYS)));
    let answers = reloader.index().lookup(&keys(), Detail::Winner, now());
    assert!(answers.iter().all(|answer| answer.generation == 2 && answer.winner().is_some()));
}

/// Prevents a refused file from being read at every look, and one from being ignored after it was refused.
#[test]
fn a_refused_file_is_tried_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.ksn");
    write(&path, 1, 100);
    let mut reloader = Reloader::open(&path, 50).unwrap();
    write(&path, 2, 49);
    for again in [false, true] {
        let result = if again { Some(reloader.reload()) } else { reloader.poll() };
        let Some(Err(ReloadError::Shrunken { found: 49, current: 100, max_shrink: 50 })) = result else {
            panic!("{result:?}");
        };
        assert!(reloader.poll().is_none());
    }
    write(&path, 3, 0);
    assert!(matches!(reloader.poll(), Some(Err(ReloadError::Empty))));
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(reloader.poll(), Some(Err(ReloadError::Open(_)))));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(reloader.poll(), Some(Err(ReloadError::Open(_)))));
    assert!(reloader.poll().is_none());
    write(&path, 1, 100);
    // The served snapshot itself.
    assert!(matches!(reloader.poll(), Some(Ok(Reloaded::Unchanged))));
    write(&path, 4, 50);
    assert!(matches!(reloader.poll(), Some(Ok(Reloaded::Replaced(_)))));
    assert_eq!(reloader.index().view().generation(), 4);
}

/// Prevents a reload that waits for the writer of a pipe, and never looks at the file again.
#[cfg(target_os = "linux")]
#[test]
fn a_path_that_is_no_regular_file_is_refused() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.ksn");
    write(&path, 1, 100);
    let mut reloader = Reloader::open(&path, 50).unwrap();
    std::fs::remove_file(&path).unwrap();
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert!(matches!(reloader.poll(), Some(Err(ReloadError::NotAFile))));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(reloader.poll(), Some(Err(ReloadError::NotAFile))));
    std::fs::remove_dir(&path).unwrap();
    write(&path, 2, 100);
    assert!(matches!(reloader.poll(), Some(Ok(Reloaded::Replaced(_)))));
}
