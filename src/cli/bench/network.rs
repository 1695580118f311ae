//! Asks a server: threads with connections of their own, on each of which tasks send batch after batch.

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
    batches::{Batch, Batches},
    control::{Control, Course, Lengths, Phase, one_thread},
    pace::{Pace, Schedule},
    record::{Failure, Record},
};

/// How a server is asked.
pub(super) struct Load {
    pub(super) threads: usize,
    pub(super) connections: usize,
    /// Batches on each connection at a time.
    pub(super) in_flight: Option<usize>,
    /// Keys a second of an open loop.
    pub(super) rate: Option<u64>,
    pub(super) lengths: Lengths,
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) welcome: Arc<Welcome>,
    /// Batches on each connection at a time.
    pub(super) in_flight: usize,
    pub(super) course: Course,
    pub(super) record: Record,
    /// Keys that were due and not sent.
    pub(super) keys_unsent: u64,
    /// An answer that was not what it should be.
    pub(super) wrong: Option<String>,
}

/// What all threads share.
struct Shared {
    config: ClientConfig,
    load: Load,
    batches: Batches,
    /// How many batches were taken.
    taken: AtomicUsize,
    schedule: Arc<Schedule>,
    control: Control,
}

type Connected = Result<Arc<Welcome>, ConnectError>;

/// Connects, asks until the time is up, and says what was measured. `explain` words why there is no connection.
pub(super) fn ask(
    config: ClientConfig,
    load: Load,
    batches: Batches,
    explain: impl Fn(&ConnectError) -> String,
) -> Result<Outcome> {
    let runtime = one_thread()?;
    let schedule = Arc::new(Schedule::new(load.rate.unwrap_or(1)));
    let (lengths, is_open) = (load.lengths, load.rate.is_some());
    let shared =
        Arc::new(Shared { config, load, batches, taken: AtomicUsize::new(0), schedule, control: Control::new() });
    let (connected, connections) = blocking::channel();
    let (done, all_done) = mpsc::channel(1);
    let mut threads = Vec::new();
    for number in 0..shared.load.threads {
        let (shared, connected, done) = (shared.clone(), connected.clone(), done.clone());
        let runtime = one_thread()?;
        threads.push(thread::spawn(move || {
            let _done = done;
            runtime.block_on(shared.run(number, connected))
        }));
    }
    drop((connected, done));
    let mut welcome = None;
    for connected in connections {
        welcome = Some(connected.map_err(|error| anyhow::Error::msg(explain(&error)))?);
    }
    let welcome = welcome.context("there is no connection")?;
    let in_flight = shared.load.in_flight(&welcome);
    // Lookups of one key share streams.
    if in_flight > welcome.limits.streams as usize && !shared.batches.are_single() {
        bail!(
            "the server takes at most {} batches at a time on a connection, found --in-flight {in_flight}: give more \
             --connections",
            welcome.limits.streams
        );
    }
    shared.batches.check(&welcome.limits).map_err(anyhow::Error::msg)?;

    let course = shared.control.conduct(&runtime, lengths, all_done);
    let mut record = Record::new(Instant::now());
    for thread in threads {
        let measured = thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
        measured.into_iter().for_each(|measured| record.merge(measured));
    }
    record.give_up_the_rest();
    let keys_unsent = if is_open { shared.schedule.keys_unsent(course.in_all) } else { 0 };
    let wrong = shared.control.wrong().map(String::from);
    Ok(Outcome { welcome, in_flight, course, record, keys_unsent, wrong })
}

impl Load {
    /// A closed loop has its own number; an open loop is to wait for the server, not for itself.
    fn in_flight(&self, welcome: &Welcome) -> usize {
        let default = if self.rate.is_some() { welcome.limits.streams as usize } else { IN_FLIGHT };
        self.in_flight.unwrap_or(default)
    }
}

impl Shared {
    /// The work of one thread: its share of the connections.
    async fn run(self: Arc<Self>, number: usize, connected: blocking::Sender<Connected>) -> Option<Record> {
        let mut clients = Vec::new();
        for _ in (number..self.load.connections).step_by(self.load.threads) {
            match Client::connect(self.config.clone()).await {
                Ok(client) => {
                    connected.send(Ok(client.welcome())).ok()?;
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
            None => Pace::AnswersCome(self.control.phase()),
            Some(_) => Pace::fixed(self.schedule.clone(), start, self.control.phase()),
        });
        let mut tasks = JoinSet::new();
        for client in &clients {
            for _ in 0..self.load.in_flight(&client.welcome()) {
                tasks.spawn(ask_on(self.clone(), client.clone(), pace.clone(), record.clone()));
            }
        }
        let mut phase = self.control.phase();
        tokio::select! {
            () = join_all(&mut tasks) => {}
            _ = phase.wait_for(|phase| *phase == Phase::GivingUp) => {}
        }
        tasks.shutdown().await;
        // At the same time: one whose server is gone takes a while.
        clients.into_iter().map(Client::close).collect::<JoinSet<()>>().join_all().await;
        let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::replace(&mut *record, Record::new(measured_from)))
    }
}

/// Sends batch after batch on one connection, each when it is time and the one before has its answer.
async fn ask_on(shared: Arc<Shared>, client: Client, pace: Arc<Pace>, record: Arc<Mutex<Record>>) {
    let record = || record.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let batch = shared.batches.get(shared.taken.fetch_add(1, Relaxed));
        let Some(began) = pace.next(batch.keys).await else { return };
        record().send(batch, began);
        match ask_one(&client, batch).await {
            Ok(known) => {
                record().answer(batch, began, Instant::now(), known);
                if let Some(wrong) = batch.wrong(known) {
                    shared.control.report_wrong(wrong);
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

/// How many keys of a batch the server knows.
async fn ask_one(client: &Client, batch: &Batch) -> Result<u32, Failure> {
    if let Some(key) = &batch.single {
        let answers = client.lookup(std::slice::from_ref(key)).await?;
        return match answers[0].status {
            Status::Known => Ok(1),
            Status::Unknown => Ok(0),
            status => Err(Failure::new(status.name(), format!("the server does not answer {key}"))),
        };
    }
    let answer = client.exchange(&batch.columns(), &LookupOptions::default()).await?;
    count_known(&answer, batch)
}

fn count_known(answer: &RawAnswer, batch: &Batch) -> Result<u32, Failure> {
    let view = answer.view().map_err(LookupError::from)?;
    let answered: u64 = view.answered().map(u64::from).sum();
    if view.is_truncated() {
        let message = "the answer is longer than the server's frames: give a smaller --batch".to_owned();
        return Err(Failure::new("truncated", message));
    }
    if answered != u64::from(batch.keys) {
        let message = format!("expected answers to {} keys, found {answered}", batch.keys);
        return Err(Failure::new("protocol", message));
    }
    if let Some(exception) = view.exceptions().first() {
        let message = format!("the server does not answer some keys: {:?}", exception.exception());
        return Err(Failure::new("not answered", message));
    }
    // Of a key only the winner is told.
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

/// Of a closed loop.
const IN_FLIGHT: usize = 8;

/// A server that is gone or refuses fails a lookup at once; it is not to be asked in a tight loop.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);
