//! The state that all connections of a server share, and that of one connection.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use quinn::Connection;
use tokio::sync::{Semaphore, watch};

use super::{
    admission::Admission,
    config::ServerConfig,
    counts::Counts,
    memory::{Budget, Share},
    turns::Turns,
};
use crate::{
    engine::Index,
    net::transport::Profile,
    wire::{AnswerCaps, AnswerWriter, HEADER_BYTES},
};

/// The state that all connections share.
pub(super) struct ServerState {
    pub(super) config: ServerConfig,
    pub(super) index: Arc<Index>,
    pub(super) admission: Arc<Admission>,
    pub(super) counts: Counts,
    /// Memory budget of request bodies.
    pub(super) requests: Arc<Budget>,
    /// Memory budget of answers.
    pub(super) answers: Arc<Budget>,
    /// Budget of the windows after the hello, in KiB.
    pub(super) windows: Arc<Semaphore>,
    /// The window of one connection after the hello, in bytes.
    pub(super) window_bytes: u32,
    /// Answer writers for reuse.
    pub(super) writers: Mutex<Vec<AnswerWriter>>,
    pub(super) generation: watch::Sender<u64>,
    pub(super) going_away: watch::Sender<bool>,
    /// QUIC settings for peers on this machine, in a private network, and elsewhere.
    pub(super) local: Arc<quinn::ServerConfig>,
    pub(super) near: Arc<quinn::ServerConfig>,
    pub(super) far: Arc<quinn::ServerConfig>,
}

/// The state that the streams of one connection share.
pub(super) struct ServerSession {
    pub(super) shared: Arc<ServerState>,
    pub(super) connection: Connection,
    /// The turns of the worker that serves the connection.
    pub(super) turns: Arc<Turns>,
    /// The share of the connection in the memory of requests, and of answers.
    pub(super) requests: Share,
    pub(super) answers: Share,
    /// Whether a hello was received: a second one is an error.
    pub(super) hello_received: AtomicBool,
    /// Whether the hello was accepted.
    pub(super) hello_accepted: watch::Sender<bool>,
    /// Number of batches received before the hello was accepted.
    early: AtomicUsize,
}

impl ServerState {
    pub(super) fn watch_generation(&self) {
        let generation = self.index.view().generation();
        self.generation.send_if_modified(|last| std::mem::replace(last, generation) != generation);
    }

    /// Returns the QUIC settings for a peer.
    pub(super) fn settings(&self, peer: IpAddr) -> Arc<quinn::ServerConfig> {
        let settings = match Profile::of(peer) {
            Profile::Local => &self.local,
            Profile::Near => &self.near,
            Profile::Far => &self.far,
        };
        settings.clone()
    }

    /// Returns the longest answer frame, in bytes.
    pub(super) fn answer_bytes_max(&self) -> usize {
        HEADER_BYTES + self.config.limits.answer_bytes as usize
    }

    pub(super) fn take_writer(&self) -> AnswerWriter {
        let kept = self.writers.lock().ok().and_then(|mut writers| writers.pop());
        kept.unwrap_or_else(|| {
            AnswerWriter::new(AnswerCaps {
                body_bytes: self.config.limits.answer_bytes as usize,
                text_bytes: self.config.answer_text_bytes,
                records_per_key: self.config.records_per_key,
            })
        })
    }

    pub(super) fn keep_writer(&self, writer: AnswerWriter) {
        if writer.kept_bytes() <= WRITER_BYTES_KEPT
            && let Ok(mut writers) = self.writers.lock()
            && writers.len() < WRITERS_KEPT
        {
            writers.push(writer);
        }
    }
}

impl ServerSession {
    pub(super) fn new(shared: Arc<ServerState>, turns: Arc<Turns>, connection: Connection) -> Self {
        // Two of the longest: one is computed while the other is sent.
        let requests = 2 * shared.config.limits.request_bytes as usize;
        let answers = 2 * shared.answer_bytes_max();
        Self {
            requests: Share::new(shared.requests.clone(), requests),
            answers: Share::new(shared.answers.clone(), answers),
            shared,
            connection,
            turns,
            hello_received: AtomicBool::new(false),
            hello_accepted: watch::Sender::new(false),
            early: AtomicUsize::new(0),
        }
    }

    /// Counts a batch received before the hello. Returns whether it may wait for the hello.
    pub(super) fn may_wait_for_hello(&self) -> bool {
        self.early.fetch_add(1, Relaxed) < self.shared.config.early_batches
    }
}

/// Answer writers kept for reuse: more batches are rarely computed at the same time.
const WRITERS_KEPT: usize = 32;

/// The tables of a writer that is kept, in bytes: longer answers are rare, and would be paid for in memory for ever.
const WRITER_BYTES_KEPT: usize = 512 << 10;
