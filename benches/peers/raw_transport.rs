//! The bare exchange: QUIC with our settings that carries the same requests, and answers one bit a key unseen.
//!
//! It is what the transport alone takes, encryption included. What our exchange takes beyond it is ours: frames, the
//! index, answers.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ksn::raw_transport;
use quinn::{Connection, Endpoint, RecvStream};
use tokio::{runtime::Runtime, sync::oneshot};

use crate::{
    Skip,
    cores::{self, Pinned},
    keys::{Draw, WIDTH},
    ours::{BATCH_KEYS, BURST_KEYS, IN_FLIGHT, Packets, all_in_flight, one_thread},
    rounds::Sample,
};

/// A server that looks at nothing, and a client of it.
pub(crate) struct Bare {
    pub(crate) connection: Connection,
    pub(crate) runtime: Runtime,
    _endpoint: Endpoint,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Bare {
    pub(crate) fn start(packets: Packets) -> Result<Self, Skip> {
        let (stop, stopped) = oneshot::channel();
        let (ready, bound) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _pinned = Pinned::to(cores::SERVER);
            one_thread().block_on(async {
                match raw_transport::server(packets.bytes(), IDLE) {
                    Err(error) => drop(ready.send(Err(error.to_string()))),
                    Ok((endpoint, pin)) => {
                        let _ = ready.send(Ok((endpoint.local_addr().expect("it is bound"), pin)));
                        tokio::select! {
                            () = serve(&endpoint) => {}
                            _ = stopped => {}
                        }
                    }
                }
            });
        });
        let (address, pin) = bound.recv().map_err(|_| "the bare server panicked".to_owned())??;
        let runtime = one_thread();
        let (connection, endpoint) = runtime.block_on(async {
            let endpoint = raw_transport::client(pin, packets.bytes(), IDLE).map_err(|e| e.to_string())?;
            let connecting = endpoint.connect(address, "localhost").map_err(|e| e.to_string())?;
            Ok::<_, Skip>((connecting.await.map_err(|e| e.to_string())?, endpoint))
        })?;
        Ok(Self { connection, runtime, _endpoint: endpoint, stop: Some(stop), thread: Some(thread) })
    }

    /// Times a burst in batches as ours are, eight in flight.
    pub(crate) fn exchange(&self, draw: &mut Draw) -> Sample {
        let burst = draw.burst(BURST_KEYS);
        let keys = burst.keys();
        // Requests as long as ours, header, head and column included; borrowed from the burst as ours cannot be.
        let batches: Vec<Bytes> = burst.bytes.chunks(BATCH_KEYS * WIDTH).map(Bytes::copy_from_slice).collect();
        let batches = Arc::new(batches);
        let started = Instant::now();
        let bytes = self.runtime.block_on(exchange_all(&self.connection, &batches));
        let time = started.elapsed();
        assert_eq!(bytes as u64, keys / 8 + (batches.len() * ANSWER_HEAD) as u64, "the bare answers");
        Sample { keys, time }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A client is driven only while it has its turn; on a busy machine the others' may take long.
const IDLE: Duration = Duration::from_secs(600);

/// What stands before the keys of a request of one column: a header, a head and the column's descriptor.
const HEAD: &[u8; 72] = &[0; 72];

/// The same of an answer.
const ANSWER_HEAD: usize = 16 + 80 + 4;

async fn exchange_all(connection: &Connection, batches: &Arc<Vec<Bytes>>) -> usize {
    let (connection, batches) = (connection.clone(), batches.clone());
    all_in_flight(IN_FLIGHT, move |number| {
        let (connection, batch) = (connection.clone(), batches.get(number).cloned());
        async move { Some(ask(&connection, batch?).await) }
    })
    .await
}

/// Asks on a fresh stream; gives the length of the answer.
pub(crate) async fn ask(connection: &Connection, keys: Bytes) -> usize {
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    send.write_all_chunks(&mut [Bytes::from_static(HEAD), keys]).await.expect("it is taken");
    send.finish().expect("it is open");
    read(&mut recv).await
}

async fn serve(endpoint: &Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    let keys = (read(&mut recv).await - HEAD.len()) / WIDTH;
                    let answer = Bytes::from(vec![0; ANSWER_HEAD + keys.div_ceil(8)]);
                    if send.write_chunk(answer).await.is_ok() {
                        let _ = send.finish();
                    }
                });
            }
        });
    }
}

/// Reads to the end and forgets; gives how much it was.
async fn read(recv: &mut RecvStream) -> usize {
    let mut chunks: [Bytes; 32] = Default::default();
    let mut bytes = 0;
    while let Ok(Some(count)) = recv.read_chunks(&mut chunks).await {
        bytes += chunks[..count].iter_mut().map(|chunk| std::mem::take(chunk).len()).sum::<usize>();
    }
    bytes
}
