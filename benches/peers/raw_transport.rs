//! The raw transport: QUIC with the settings of ksn and requests of the same size, answered with one bit per key
//! without a lookup.
//!
//! It is the cost of the transport alone, including encryption. The rest of the cost of a ksn exchange is that of
//! frames, index and answers.

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

/// A server that ignores the content of requests, and a client connected to it.
pub(crate) struct RawTransport {
    pub(crate) connection: Connection,
    pub(crate) runtime: Runtime,
    _endpoint: Endpoint,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl RawTransport {
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
        let (address, pin) = bound.recv().map_err(|_| "the raw transport server panicked".to_owned())??;
        let runtime = one_thread();
        let (connection, endpoint) = runtime.block_on(async {
            let endpoint = raw_transport::client(pin, packets.bytes(), IDLE).map_err(|e| e.to_string())?;
            let connecting = endpoint.connect(address, "localhost").map_err(|e| e.to_string())?;
            Ok::<_, Skip>((connecting.await.map_err(|e| e.to_string())?, endpoint))
        })?;
        Ok(Self { connection, runtime, _endpoint: endpoint, stop: Some(stop), thread: Some(thread) })
    }

    /// Measures a burst in batches like those of ksn, with eight in flight.
    pub(crate) fn exchange(&self, draw: &mut Draw) -> Sample {
        let burst = draw.burst(BURST_KEYS);
        let keys = burst.keys();
        // Requests as long as those of ksn, including header, head and column. They are copied before the clock starts.
        let batches: Vec<Bytes> = burst.bytes.chunks(BATCH_KEYS * WIDTH).map(Bytes::copy_from_slice).collect();
        let batches = Arc::new(batches);
        let started = Instant::now();
        let bytes = self.runtime.block_on(exchange_all(&self.connection, &batches));
        let time = started.elapsed();
        assert_eq!(bytes as u64, keys / 8 + (batches.len() * ANSWER_HEAD) as u64, "answer bytes of the raw transport");
        Sample { keys, time }
    }
}

impl Drop for RawTransport {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The idle timeout. The client runs only in its turns, and the other turns may be long on a busy machine.
const IDLE: Duration = Duration::from_secs(600);

/// The bytes before the keys of a request of one column: header, head and column descriptor.
const HEAD: &[u8; 72] = &[0; 72];

/// The number of bytes before the payload of an answer.
const ANSWER_HEAD: usize = 16 + 80 + 4;

async fn exchange_all(connection: &Connection, batches: &Arc<Vec<Bytes>>) -> usize {
    let (connection, batches) = (connection.clone(), batches.clone());
    all_in_flight(IN_FLIGHT, move |number| {
        let (connection, batch) = (connection.clone(), batches.get(number).cloned());
        async move { Some(exchange(&connection, batch?).await) }
    })
    .await
}

/// Sends a request on a new stream and returns the length of the answer in bytes.
pub(crate) async fn exchange(connection: &Connection, keys: Bytes) -> usize {
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    send.write_all_chunks(&mut [Bytes::from_static(HEAD), keys]).await.expect("the request is sent");
    send.finish().expect("the stream is open");
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

/// Reads a stream to its end, discards the data and returns its length in bytes.
async fn read(recv: &mut RecvStream) -> usize {
    let mut chunks: [Bytes; 32] = Default::default();
    let mut bytes = 0;
    while let Ok(Some(count)) = recv.read_chunks(&mut chunks).await {
        bytes += chunks[..count].iter_mut().map(|chunk| std::mem::take(chunk).len()).sum::<usize>();
    }
    bytes
}
