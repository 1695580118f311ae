//! Row 5: many callers with one key each that wait for its answer, with one shared client.
//!
//! This is the load of a scanner with many workers that does not batch its keys. Redis has 64 connections, one per
//! caller, and a client that waits for all of them at once. The faster of TCP and Unix socket is reported.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use ksn::{BlockingClient, Client, key::Key};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{net::TcpStream, runtime::Runtime, task::JoinSet};

use crate::{
    Outcome, Skip,
    keys::Draw,
    ours::{OurServer, Packets, one_thread, single_keys},
    redis::{self, Redis, Transport},
    report::Figure,
    rounds::{Sample, interleave, quantity, quick_rate},
    world::World,
};

/// The number of connections to Redis, and the default number of callers.
const CALLERS: usize = 64;

pub(crate) fn run(world: &mut World) -> Outcome {
    let records = world.options.records;
    let index = world.index(records)?;
    let redis = world.redis()?;
    let mut best: Option<(f64, Gets)> = None;
    for &transport in Transport::PLAIN {
        let mut gets = Gets::connect(redis, transport)?;
        let rate = quick_rate(&mut || gets.exchange(&mut Draw::tenth(records)));
        eprintln!("  {}: {} keys/s", gets.name(), quantity(rate));
        if best.as_ref().is_none_or(|(most, _)| rate > *most) {
            best = Some((rate, gets));
        }
    }
    let (_, mut gets) = best.ok_or("no client for single lookups")?;
    let against = gets.name();
    let server = OurServer::start(index, Packets::Default)?;
    let mut redis_draw = Draw::tenth(records);
    let mut figures = Vec::new();

    for (tasks, goal) in [(CALLERS, 10.0), (1_024, 30.0)] {
        let ours = server.connect()?;
        let mut draw = Draw::tenth(records);
        let mut ours_side = || lookup_in_tasks(&ours.runtime, &ours.client, tasks, &mut draw);
        let mut redis_side = || gets.exchange(&mut redis_draw);
        let rates = interleave(&world.options, &mut [&mut ours_side, &mut redis_side]);
        figures.push(Figure::rate(&rates, 1, format!("{tasks} tasks, one key each"), &against).at_least(goal));
    }

    let client = {
        // The thread of the client inherits the core of the thread that spawns it.
        let _pinned = crate::cores::Pinned::to(crate::cores::CLIENT);
        Arc::new(Client::spawn(server.client_config()).map_err(|e| e.to_string())?)
    };
    let mut draw = Draw::tenth(records);
    let mut ours_side = || lookup_in_threads(&client, &mut draw);
    let mut redis_side = || gets.exchange(&mut redis_draw);
    let rates = interleave(&world.options, &mut [&mut ours_side, &mut redis_side]);
    figures.push(Figure::rate(&rates, 1, format!("{CALLERS} threads, one key each"), &against).at_least(3.0));
    Ok(figures)
}

/// A queue of keys that callers take keys from.
struct Queue {
    keys: Vec<Key>,
    next: AtomicUsize,
}

impl Queue {
    fn next(&self) -> Option<&Key> {
        self.keys.get(self.next.fetch_add(1, Relaxed))
    }
}

fn lookup_in_tasks(runtime: &Runtime, client: &Client, tasks: usize, draw: &mut Draw) -> Sample {
    let burst = draw.burst(1 << 16);
    let queue = Arc::new(Queue { keys: single_keys(&burst), next: AtomicUsize::new(0) });
    let started = Instant::now();
    let hits: usize = runtime.block_on(async {
        let mut callers = JoinSet::new();
        for _ in 0..tasks {
            let (client, queue) = (client.clone(), queue.clone());
            callers.spawn(async move {
                let mut hits = 0;
                while let Some(key) = queue.next() {
                    let answers = client.lookup(std::slice::from_ref(key)).await.expect("an answer");
                    hits += usize::from(answers[0].winner().is_some());
                }
                hits
            });
        }
        callers.join_all().await.into_iter().sum()
    });
    let time = started.elapsed();
    assert_eq!(hits, burst.listed.len(), "hits of ksn");
    Sample { keys: burst.keys(), time }
}

fn lookup_in_threads(client: &Arc<BlockingClient>, draw: &mut Draw) -> Sample {
    let burst = draw.burst(1 << 15);
    let queue = Queue { keys: single_keys(&burst), next: AtomicUsize::new(0) };
    let lookup = || {
        let mut hits = 0;
        while let Some(key) = queue.next() {
            let answers = client.lookup(std::slice::from_ref(key)).expect("an answer");
            hits += usize::from(answers[0].winner().is_some());
        }
        hits
    };
    let started = Instant::now();
    let hits: usize = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(lookup)).collect();
        callers.into_iter().map(|caller| caller.join().expect("no panic")).sum()
    });
    let time = started.elapsed();
    assert_eq!(hits, burst.listed.len(), "hits of ksn");
    Sample { keys: burst.keys(), time }
}

/// Connections to Redis that each look up one key and wait.
struct Gets {
    runtime: Runtime,
    transport: Transport,
    connections: Vec<Arc<Connection>>,
}

enum Connection {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Gets {
    fn connect(redis: &Redis, transport: Transport) -> Result<Self, Skip> {
        let runtime = one_thread();
        let connect = async || {
            Ok::<_, io::Error>(match transport {
                #[cfg(unix)]
                Transport::Unix => Connection::Unix(UnixStream::connect(&redis.unix).await?),
                _ => {
                    let stream = TcpStream::connect(redis.tcp).await?;
                    stream.set_nodelay(true)?;
                    Connection::Tcp(stream)
                }
            })
        };
        let connections = (0..CALLERS)
            .map(|_| runtime.block_on(connect()).map(Arc::new))
            .collect::<Result<_, _>>()
            .map_err(|e| format!("Redis over {transport:?}: {e}"))?;
        Ok(Self { runtime, transport, connections })
    }

    fn name(&self) -> String {
        format!("Redis GET, {CALLERS} connections over {:?}", self.transport)
    }

    fn exchange(&mut self, draw: &mut Draw) -> Sample {
        let burst = draw.burst(1 << 14);
        let mut requests = Vec::with_capacity(burst.keys() as usize);
        for digest in burst.digests() {
            let mut request = Vec::new();
            redis::get(&mut request, digest);
            requests.push(request);
        }
        let requests = Arc::new((requests, AtomicUsize::new(0)));
        let started = Instant::now();
        let hits: usize = self.runtime.block_on(async {
            let mut callers = JoinSet::new();
            for connection in &self.connections {
                let (connection, requests) = (connection.clone(), requests.clone());
                callers.spawn(async move {
                    let (mut hits, mut answer) = (0, [0; 256]);
                    while let Some(request) = requests.0.get(requests.1.fetch_add(1, Relaxed)) {
                        hits += usize::from(connection.get(request, &mut answer).await.expect("Redis answers"));
                    }
                    hits
                });
            }
            callers.join_all().await.into_iter().sum()
        });
        let time = started.elapsed();
        assert_eq!(hits, burst.listed.len(), "hits of Redis");
        Sample { keys: burst.keys(), time }
    }
}

impl Connection {
    /// Returns whether the key has a value.
    async fn get(&self, request: &[u8], answer: &mut [u8]) -> io::Result<bool> {
        let mut written = 0;
        while written < request.len() {
            match self.try_write(&request[written..]) {
                Ok(bytes) => written += bytes,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(e) => return Err(e),
            }
        }
        let mut read = 0;
        loop {
            self.readable().await?;
            match self.try_read(&mut answer[read..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => read += bytes,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                Err(e) => return Err(e),
            }
            // `$-1`, or a length like `$41` and a line of that length: values contain no line feed.
            let has_value = answer[1] != b'-';
            let lines = answer[..read].iter().filter(|&&byte| byte == b'\n').count();
            if lines == if has_value { 2 } else { 1 } {
                return Ok(has_value);
            }
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_read(bytes),
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            #[cfg(unix)]
            Self::Unix(stream) => stream.readable().await,
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            #[cfg(unix)]
            Self::Unix(stream) => stream.writable().await,
        }
    }
}
