//! Rounds that take turns, and what they come to.

use std::time::Duration;

use crate::{
    cores::{self, Pinned},
    options::Options,
};

/// So many keys were answered in so much time.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) keys: u64,
    pub(crate) time: Duration,
}

/// Measures what the calling thread itself runs, so that whatever else the machine does is left out; for work that
/// needs no other thread. Elsewhere than on Unix it is a common clock.
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

/// One side of a comparison: asks for a burst of fresh keys, times that and nothing else.
pub(crate) type Side<'a> = dyn FnMut() -> Sample + 'a;

/// What the sides measured, one figure a round; and what the first side did when it had a second turn in each round.
pub(crate) struct Turns<T> {
    pub(crate) sides: Vec<Vec<T>>,
    pub(crate) again: Vec<T>,
}

/// Keys a second.
pub(crate) type Rates = Turns<f64>;

/// Lets the sides take turns, each for the time of a round.
pub(crate) fn interleave(options: &Options, sides: &mut [&mut Side<'_>]) -> Rates {
    let mut timed: Vec<_> = sides.iter_mut().map(|side| || rate(options.round_time, *side)).collect();
    let mut timed: Vec<&mut dyn FnMut() -> f64> = timed.iter_mut().map(|side| side as _).collect();
    let _pinned = Pinned::to(cores::CLIENT);
    take_turns(options.rounds, |rate| format!("{} keys/s", quantity(*rate)), &mut timed)
}

/// Lets the sides take turns. Every other round goes backwards, so that what drifts harms all of them alike.
pub(crate) fn take_turns<T>(
    rounds: usize,
    show: impl Fn(&T) -> String,
    sides: &mut [&mut (dyn FnMut() -> T + '_)],
) -> Turns<T> {
    // The first turn opens windows and fills caches.
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

/// The rate of a few bursts, for choosing between ways to ask.
pub(crate) fn scout(side: &mut Side<'_>) -> f64 {
    let _pinned = Pinned::to(cores::CLIENT);
    side();
    rate(Duration::from_millis(250), side)
}

/// Keys a second over as many bursts as fill the time.
fn rate(at_least: Duration, side: &mut Side<'_>) -> f64 {
    let (mut keys, mut time) = (0, Duration::ZERO);
    while time < at_least {
        let sample = side();
        keys += sample.keys;
        time += sample.time;
    }
    keys as f64 / time.as_secs_f64()
}

/// Some figures, one a round: their median and quartiles.
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
            let place = share * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Self { median: at(0.5), low: at(0.25), high: at(0.75), rounds }
    }

    /// Of the ratios, round by round.
    pub(crate) fn of_ratios(over: &[f64], under: &[f64]) -> Self {
        Self::of(over.iter().zip(under).map(|(over, under)| over / under).collect())
    }
}

/// A number as people read it: 1.23 M.
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
