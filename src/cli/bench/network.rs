//! Load on a server: each thread has its own connections, and on each of these several tasks send batches.

use std::{
    panic,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc as blocking,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use ksn::{Client, ClientConfig, ConnectError, LookupError, LookupOptions, RawAnswer, Status, wire::Welcome};
use tokio::{sync::mpsc, task::JoinSet, time};

use super::{
    batches::{Batches, SampleBatch},
    control::{Lengths, LoadControl, Phase, RunSummary, one_thread},
    pace::{Pace, Schedule},
    record::{Failure, Record},
};

/// Load settings.
pub(super) struct Load {
    pub(super) threads: usize,
    pub(super) connections: usize,
    /// Batches in flight on each connection; `None` for the default.
    pub(super) in_flight: Option<usize>,
    /// Keys per second of an open loop; `None` for a closed loop.
    pub(super) rate: Option<u64>,
    pub(super) lengths: Lengths,
}

/// The result of a run.
pub(super) struct Outcome {
    pub(super) welcome: Arc<Welcome>,
    /// Batches in flight on each connection.
    pub(super) in_flight: usize,
    pub(super) summary: RunSummary,
    pub(super) record: Record,
    /// Keys that were due but not sent.
    pub(super) keys_unsent: u64,
    /// The first wrong answer.
    pub(super) mismatch: Option<String>,
}

/// State shared by all threads.
struct LoadState {
    config: ClientConfig,
    load: Load,
    batches: Batches,
    /// The sequence number of the next batch.
    next_batch: AtomicUsize,
    schedule: Arc<Schedule>,
    control: LoadControl,
}

type Connected = Result<Arc<Welcome>, ConnectError>;

/// Connects, sends batches until the run ends, and returns the measurements. `explain` formats a connection error.
pub(super) fn run(
    config: ClientConfig,
    load: Load,
    batches: Batches,
    explain: impl Fn(&ConnectError) -> String,
) -> Result<Outcome> {
    let runtime = one_thread()?;
    let schedule = Arc::new(Schedule::new(load.rate.unwrap_or(1)));
    let (lengths, is_open) = (load.lengths, load.rate.is_some());
    let shared = Arc::new(LoadState {
        config,
        load,
        batches,
        next_batch: AtomicUsize::new(0),
        schedule,
        control: LoadControl::new(),
    });
    let (connected, connections) = blocking::channel();
    let (done, all_done) = mpsc::channel(1);
    let mut threads = Vec::new();
    for number in 0..shared.load.threads {
        let (shared, connected, done) = (shared.clone(), connected.clone(), done.clone());
        let runtime = one_thread()?;
        threads.push(thread::spawn(move || {
            let _done = done;
            runtime.block_on(shared.run_thread(number, connected))
        }));
    }
    drop((connected, done));
    let mut welcome = None;
    for connected in connections {
        welcome = Some(connected.map_err(|error| anyhow::Error::msg(explain(&error)))?);
    }
    let welcome = welcome.context("no connection was made")?;
    let in_flight = shared.load.in_flight(&welcome);
    // Single lookups are coalesced, so they do not need a stream each.
    if in_flight > welcome.limits.streams as usize && !shared.batches.are_single() {
        bail!(
            "the server accepts at most {} batches at a time on a connection, found --in-flight {in_flight}: give more \
             --connections",
            welcome.limits.streams
        );
    }
    shared.batches.check(&welcome.limits).map_err(anyhow::Error::msg)?;

    let summary = shared.control.run(&runtime, lengths, all_done);
    let mut record = Record::new(Instant::now());
    for thread in threads {
        let measured = thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
        measured.into_iter().for_each(|measured| record.merge(measured));
    }
    record.fail_outstanding();
    let keys_unsent = if is_open { shared.schedule.keys_unsent(summary.total) } else { 0 };
    let mismatch = shared.control.mismatch().map(String::from);
    Ok(Outcome { welcome, in_flight, summary, record, keys_unsent, mismatch })
}

impl Load {
    /// Returns the batches in flight on each connection. The default of an open loop is the maximum of the server, so
    /// that the client is not the limit.
    fn in_flight(&self, welcome: &Welcome) -> usize {
        let default = if self.rate.is_some() { welcome.limits.streams as usize } else { IN_FLIGHT };
        self.in_flight.unwrap_or(default)
    }
}

impl LoadState {
    /// Runs one thread with its share of the connections.
    async fn run_thread(self: Arc<Self>, number: usize, connected: blocking::Sender<Connected>) -> Option<Record> {
        let mut clients = Vec::new();
        for _ in (number..self.load.connections).step_by(self.load.threads) {
            match Client::connect(self.config.clone()).await {
                Ok(client) => {
                    connected.send(Ok(client.welcome()?)).ok()?;
                    clients.push(client);
                }
                Err(error) => {
                    connected.send(Err(error)).ok()?;
                    return None;
                }
            }
        }
        drop(connected);
        let (start, measured_from) = self.control.started().await?;
        let record = Arc::new(Mutex::new(Record::new(measured_from)));
        let pace = Arc::new(match self.load.rate {
            None => Pace::ClosedLoop(self.control.phase()),
            Some(_) => Pace::open_loop(self.schedule.clone(), start, self.control.phase()),
        });
        let mut tasks = JoinSet::new();
        for client in &clients {
            for _ in 0..self.load.in_flight(&*client.welcome()?) {
                tasks.spawn(run_task(self.clone(), client.clone(), pace.clone(), record.clone()));
            }
        }
        let mut phase = self.control.phase();
        tokio::select! {
            () = join_all(&mut tasks) => {}
            _ = phase.wait_for(|phase| *phase == Phase::Aborted) => {}
        }
        tasks.shutdown().await;
        // Concurrently: closing a connection to a dead server takes a while.
        clients.into_iter().map(Client::close).collect::<JoinSet<()>>().join_all().await;
        let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::replace(&mut *record, Record::new(measured_from)))
    }
}

/// Sends batches on one connection, each when it is due and the previous one was answered.
async fn run_task(shared: Arc<LoadState>, client: Client, pace: Arc<Pace>, record: Arc<Mutex<Record>>) {
    let record = || record.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let batch = shared.batches.get(shared.next_batch.fetch_add(1, Relaxed));
        let Some(began) = pace.next(batch.keys).await else { return };
        record().send(batch, began);
        match look_up(&client, batch).await {
            Ok(known) => {
                record().answer(batch, began, Instant::now(), known);
                if let Some(mismatch) = batch.mismatch(known) {
                    shared.control.report_mismatch(mismatch);
                    return;
                }
            }
            Err(failure) => {
                record().fail(batch, began, failure);
                time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}

/// Looks up a batch, and returns the number of known keys.
async fn look_up(client: &Client, batch: &SampleBatch) -> Result<u32, Failure> {
    if let Some(key) = &batch.single {
        let answers = client.lookup(std::slice::from_ref(key)).await?;
        return match answers[0].status {
            Status::Known => Ok(1),
            Status::Unknown => Ok(0),
            status => Err(Failure::new(status.name(), format!("the server did not answer {key}"))),
        };
    }
    let answer = client.exchange(&batch.columns(), &LookupOptions::default()).await?;
    count_known(&answer, batch)
}

fn count_known(answer: &RawAnswer, batch: &SampleBatch) -> Result<u32, Failure> {
    let view = answer.view().map_err(LookupError::from)?;
    let answered: u64 = view.answered().map(u64::from).sum();
    if view.is_truncated() {
        let message = "the answer was truncated to the frame size of the server: give a smaller --batch".to_owned();
        return Err(Failure::new("truncated", message));
    }
    if answered != u64::from(batch.keys) {
        let message = format!("expected answers to {} keys, found {answered}", batch.keys);
        return Err(Failure::new("protocol", message));
    }
    if let Some(unanswered) = view.unanswered().first() {
        let message = format!("the server did not answer some keys: {:?}", unanswered.unanswered());
        return Err(Failure::new("unanswered", message));
    }
    // A known key has one hit, its winner.
    Ok(view.hits().len() as u32)
}

impl From<LookupError> for Failure {
    fn from(error: LookupError) -> Self {
        let kind = match &error {
            LookupError::Connect(_) => "no connection",
            LookupError::Timeout { .. } => "timeout",
            LookupError::Lost(_) => "connection lost",
            LookupError::GoingAway => "going away",
            LookupError::Paused { .. } => "paused",
            LookupError::Server { code, .. } => return Self::new(format!("refused, code {code}"), error.to_string()),
            LookupError::Protocol(_) => "protocol",
            _ => "other",
        };
        Self::new(kind, error.to_string())
    }
}

async fn join_all(tasks: &mut JoinSet<()>) {
    while let Some(task) = tasks.join_next().await {
        if let Err(error) = task
            && error.is_panic()
        {
            panic::resume_unwind(error.into_panic());
        }
    }
}

/// Default batches in flight of a closed loop.
const IN_FLIGHT: usize = 8;

/// Delay after a failure: without it, a dead or refusing server would be retried in a tight loop.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);
