//! Prevents a client that gets answers for the wrong keys, trusts the wrong server, or waits for ever.
#![cfg(feature = "net")]

mod common;

use common::{MD5_KNOWN, Running, bounded, key};
use ksn::{Origin, Status};

#[tokio::test]
async fn a_first_key_is_answered() {
    let server = Running::start(|_| {}).await;
    let client = bounded(server.client()).await;
    let answers = bounded(client.lookup(&[key(MD5_KNOWN)])).await.unwrap();
    assert_eq!((answers[0].status, answers[0].origin), (Status::Known, Origin::Server));
    assert_eq!(&*answers[0].records[0].name, "Eicar");
    drop(client);
    server.stop().await;
}
