//! Many clients on one socket: connections that say hello, and ask.
//!
//! [`ksn::Client`] has a socket each, which ten thousand clients on one machine cannot have; so this speaks the
//! protocol by itself, with the frames that [`ksn::wire`] has for everybody.

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

/// A runtime with a thread of its own on the client's core, which keeps connections alive while others have their turn.
pub(crate) struct Driven {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Driven {
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

impl Drop for Driven {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection whose hello was accepted.
#[derive(Clone)]
pub(crate) struct Member {
    connection: Connection,
    /// Its end would say that the client leaves.
    _control: Arc<SendStream>,
}

/// Where members come from. To be made within a runtime.
pub(crate) struct Fleet {
    endpoint: Endpoint,
    server: SocketAddr,
}

impl Fleet {
    pub(crate) fn new(server: SocketAddr, pin: Pin) -> Result<Self, Skip> {
        let endpoint = ksn::bare::client(pin, Packets::Default.bytes(), IDLE).map_err(|e| e.to_string())?;
        Ok(Self { endpoint, server })
    }

    /// One member more: a full handshake, a hello, a welcome.
    pub(crate) async fn join(&self) -> Result<Member, Skip> {
        let fail = |e: &dyn std::error::Error| format!("a client of many: {e}");
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

    /// So many members, joining some at a time.
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

    /// Sends a request; gives the number of hits.
    async fn ask(&self, request: Bytes) -> usize {
        let (mut send, mut recv) = self.connection.open_bi().await.expect("a stream");
        send.write_chunk(request).await.expect("it is taken");
        send.finish().expect("it is open");
        let frame = recv.read_to_end(1 << 24).await.expect("an answer");
        let (header, body) = Header::split(&frame).expect("a frame");
        assert!(header.kind == FrameKind::Answer, "an answer and no error");
        AnswerView::parse(&header, body).expect("a sound answer").hits().len()
    }
}

/// The request for a batch of a burst.
pub(crate) fn request(burst: &Burst, number: usize) -> Option<Bytes> {
    Some(write_request(&Default::default(), &[burst.batch(number)?]).into())
}

/// Sends requests by their numbers, one after the other over one member after the other, so many at a time; gives the
/// number of hits.
pub(crate) async fn exchange(
    members: &[Member],
    request: impl Fn(usize) -> Option<Bytes> + Send + Sync + 'static,
    in_flight: usize,
) -> usize {
    let members: Arc<[Member]> = members.into();
    all_in_flight(in_flight, move |number| {
        let (member, request) = (members[number % members.len()].clone(), request(number));
        async move { Some(member.ask(request?).await) }
    })
    .await
}

/// Handshakes at a time.
const JOINING: usize = 32;

/// That of the project's clients.
const IDLE: Duration = Duration::from_millis(ksn::limits::IDLE_TIMEOUT_MS);
