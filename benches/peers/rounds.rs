//! Interleaved measurement rounds and their statistics.

use std::time::Duration;

use crate::{
    cores::{self, Pinned},
    options::Options,
};

/// A measurement: the number of keys that were looked up and the time it took.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) keys: u64,
    pub(crate) time: Duration,
}

/// A clock of the CPU time of the calling thread, which excludes other load on the machine; for work that uses no other
/// thread. It is a wall clock on systems other than Unix.
pub(crate) struct ThreadClock(Duration);

impl ThreadClock {
    pub(crate) fn start() -> Self {
        Self(Self::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Self::now() - self.0
    }

    #[cfg(unix)]
    fn now() -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    #[cfg(not(unix))]
    fn now() -> Duration {
        static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
        START.elapsed()
    }
}

/// One side of a comparison: looks up a burst of new keys and measures only that.
pub(crate) type Side<'a> = dyn FnMut() -> Sample + 'a;

/// The results of the sides, one per round, and the results of the second turn of the first side in each round.
pub(crate) struct Turns<T> {
    pub(crate) sides: Vec<Vec<T>>,
    pub(crate) again: Vec<T>,
}

/// Results in keys per second.
pub(crate) type Rates = Turns<f64>;

/// Measures the sides in interleaved turns of the time of a round each.
pub(crate) fn interleave(options: &Options, sides: &mut [&mut Side<'_>]) -> Rates {
    let mut timed: Vec<_> = sides.iter_mut().map(|side| || rate(options.round_time, *side)).collect();
    let mut timed: Vec<&mut dyn FnMut() -> f64> = timed.iter_mut().map(|side| side as _).collect();
    let _pinned = Pinned::to(cores::CLIENT);
    take_turns(options.rounds, |rate| format!("{} keys/s", quantity(*rate)), &mut timed)
}

/// Measures the sides in interleaved turns. Every other round has the reverse order, so that drift affects all sides
/// equally.
pub(crate) fn take_turns<T>(
    rounds: usize,
    show: impl Fn(&T) -> String,
    sides: &mut [&mut (dyn FnMut() -> T + '_)],
) -> Turns<T> {
    // The warm-up turn opens congestion windows and fills caches.
    for side in sides.iter_mut() {
        side();
    }
    let mut turns = Turns { sides: sides.iter().map(|_| Vec::new()).collect(), again: Vec::new() };
    for round in 0..rounds {
        let backwards = round % 2 == 1;
        if backwards {
            turns.again.push(sides[0]());
            for (side, figures) in sides.iter_mut().zip(&mut turns.sides).rev() {
                figures.push(side());
            }
        } else {
            for (side, figures) in sides.iter_mut().zip(&mut turns.sides) {
                figures.push(side());
            }
            turns.again.push(sides[0]());
        }
        let shown: Vec<_> = turns.sides.iter().filter_map(|side| side.last().map(&show)).collect();
        eprintln!("  round {}: {}", round + 1, shown.join(", "));
    }
    turns
}

/// Returns the rate of a few bursts in keys per second, for selecting the fastest client.
pub(crate) fn quick_rate(side: &mut Side<'_>) -> f64 {
    let _pinned = Pinned::to(cores::CLIENT);
    side();
    rate(Duration::from_millis(250), side)
}

/// Returns the rate in keys per second over bursts that take at least `at_least`.
fn rate(at_least: Duration, side: &mut Side<'_>) -> f64 {
    let (mut keys, mut time) = (0, Duration::ZERO);
    while time < at_least {
        let sample = side();
        keys += sample.keys;
        time += sample.time;
    }
    keys as f64 / time.as_secs_f64()
}

/// Values per round with their median and quartiles.
#[derive(Clone)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) rounds: Vec<f64>,
}

impl Spread {
    pub(crate) fn of(rounds: Vec<f64>) -> Self {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = share * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[index.floor() as usize], sorted[index.ceil() as usize]);
            below + (above - below) * index.fract()
        };
        Self { median: at(0.5), low: at(0.25), high: at(0.75), rounds }
    }

    /// Returns the spread of the ratios per round.
    pub(crate) fn of_ratios(over: &[f64], under: &[f64]) -> Self {
        Self::of(over.iter().zip(under).map(|(over, under)| over / under).collect())
    }
}

/// Formats a number with a unit prefix: 1.23 M.
pub(crate) fn quantity(number: f64) -> String {
    let (scaled, unit) = match number.abs() {
        n if n >= 1e9 => (number / 1e9, " G"),
        n if n >= 1e6 => (number / 1e6, " M"),
        n if n >= 1e3 => (number / 1e3, " k"),
        _ => (number, ""),
    };
    let digits = match scaled.abs() {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        _ => 2,
    };
    format!("{scaled:.digits$}{unit}")
}
