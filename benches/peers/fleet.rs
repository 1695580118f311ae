//! Many clients on one socket: connections that complete the handshake and send requests.
//!
//! Each [`ksn::Client`] has its own socket, which is not possible for ten thousand clients on one machine; so this
//! module implements the protocol with the frames of [`ksn::wire`].

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use ksn::{
    Pin,
    wire::{AnswerView, FrameKind, HEADER_BYTES, Header, Hello, Welcome, write_request},
};
use quinn::{Connection, Endpoint, SendStream};
use tokio::{runtime::Handle, sync::oneshot, task::JoinSet};

use crate::{
    Skip, cores,
    keys::Burst,
    ours::{Batches, Packets, all_in_flight, one_thread},
};

/// A runtime on its own thread on the client core, which keeps connections alive while other sides are measured.
pub(crate) struct BackgroundRuntime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl BackgroundRuntime {
    pub(crate) fn new() -> Self {
        let runtime = one_thread();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let _pinned = cores::Pinned::to(cores::CLIENT);
            runtime.block_on(async { drop(stopped.await) });
        });
        Self { handle, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.handle.block_on(work)
    }
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection that has completed the handshake.
#[derive(Clone)]
pub(crate) struct Member {
    connection: Connection,
    /// Closing it would signal that the client disconnects.
    _control: Arc<SendStream>,
}

/// The endpoint that opens connections. Must be created within a runtime.
pub(crate) struct Fleet {
    endpoint: Endpoint,
    server: SocketAddr,
}

impl Fleet {
    pub(crate) fn new(server: SocketAddr, pin: Pin) -> Result<Self, Skip> {
        let endpoint = ksn::raw_transport::client(pin, Packets::Default.bytes(), IDLE).map_err(|e| e.to_string())?;
        Ok(Self { endpoint, server })
    }

    /// Opens a connection: a full handshake, a hello, a welcome.
    pub(crate) async fn join(&self) -> Result<Member, Skip> {
        let fail = |e: &dyn std::error::Error| format!("cannot connect a fleet client: {e}");
        let connecting = self.endpoint.connect(self.server, "localhost").map_err(|e| fail(&e))?;
        let connection = connecting.await.map_err(|e| fail(&e))?;
        let (mut send, mut recv) = connection.open_bi().await.map_err(|e| fail(&e))?;
        let hello = Hello::new("ksn-benchmark", "1", std::env::consts::OS).to_frame();
        send.write_chunk(hello.into()).await.map_err(|e| fail(&e))?;
        let mut header = [0; HEADER_BYTES];
        recv.read_exact(&mut header).await.map_err(|e| fail(&e))?;
        let header = Header::parse(&header).map_err(|e| fail(&e))?;
        let mut body = vec![0; header.body_bytes as usize];
        recv.read_exact(&mut body).await.map_err(|e| fail(&e))?;
        Welcome::parse(&header, &body).map_err(|e| fail(&e))?;
        Ok(Member { connection, _control: Arc::new(send) })
    }

    /// Opens `members` connections, [`JOINING`] at a time.
    pub(crate) async fn join_all(self: &Arc<Self>, members: usize) -> Result<Vec<Member>, Skip> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut joining = JoinSet::new();
        for _ in 0..JOINING {
            let (fleet, next) = (self.clone(), next.clone());
            joining.spawn(async move {
                let mut joined = Vec::new();
                while next.fetch_add(1, Relaxed) < members {
                    joined.push(fleet.join().await?);
                }
                Ok::<_, Skip>(joined)
            });
        }
        joining.join_all().await.into_iter().collect::<Result<Vec<_>, _>>().map(|joined| joined.concat())
    }
}

impl Member {
    pub(crate) fn leave(&self) {
        self.connection.close(0u32.into(), b"");
    }

    /// Sends a request and returns the number of hits.
    async fn send_request(&self, request: Bytes) -> usize {
        let (mut send, mut recv) = self.connection.open_bi().await.expect("a stream");
        send.write_chunk(request).await.expect("the request is sent");
        send.finish().expect("the stream is open");
        let frame = recv.read_to_end(1 << 24).await.expect("an answer");
        let (header, body) = Header::split(&frame).expect("a frame");
        assert!(header.kind == FrameKind::Answer, "an answer frame");
        AnswerView::parse(&header, body).expect("a valid answer").hits().len()
    }
}

/// Returns the request for a batch of a burst.
pub(crate) fn request(burst: &Burst, number: usize) -> Option<Bytes> {
    Some(write_request(&Default::default(), &[burst.batch(number)?]).into())
}

/// Sends all requests in the order of their numbers, round-robin over the members, with `in_flight` at a time. Returns
/// the number of hits.
pub(crate) async fn exchange(
    members: &[Member],
    request: impl Fn(usize) -> Option<Bytes> + Send + Sync + 'static,
    in_flight: usize,
) -> usize {
    let members: Arc<[Member]> = members.into();
    all_in_flight(in_flight, move |number| {
        let (member, request) = (members[number % members.len()].clone(), request(number));
        async move { Some(member.send_request(request?).await) }
    })
    .await
}

/// The number of concurrent handshakes.
const JOINING: usize = 32;

/// The idle timeout of ksn clients.
const IDLE: Duration = Duration::from_millis(ksn::limits::IDLE_TIMEOUT_MS);
