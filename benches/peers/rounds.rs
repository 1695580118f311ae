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

/// One side of a comparison: asks for a burst of fresh keys, times that and nothing else.
pub(crate) type Side<'a> = dyn FnMut() -> Sample + 'a;

/// Rates of the sides, in keys a second, one a round; and those of the first side when it was run a second time in
/// each round.
pub(crate) struct Rates {
    pub(crate) sides: Vec<Vec<f64>>,
    pub(crate) again: Vec<f64>,
}

/// Lets the sides take turns on the client's core. Every other round goes backwards, so that what drifts harms all of
/// them alike.
pub(crate) fn interleave(options: &Options, sides: &mut [&mut Side<'_>]) -> Rates {
    let _pinned = Pinned::to(cores::CLIENT);
    // The first burst opens windows and fills caches.
    for side in sides.iter_mut() {
        side();
    }
    let mut rates = Rates { sides: vec![Vec::new(); sides.len()], again: Vec::new() };
    for round in 0..options.rounds {
        let mut order: Vec<usize> = (0..sides.len()).chain([0]).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        let mut first = None;
        for side in order {
            let rate = rate(options.round_time, sides[side]);
            match first {
                Some(first) if side == 0 => {
                    let (rate, again) = if round % 2 == 1 { (rate, first) } else { (first, rate) };
                    rates.sides[0].push(rate);
                    rates.again.push(again);
                }
                _ if side == 0 => first = Some(rate),
                _ => rates.sides[side].push(rate),
            }
        }
        let shown: Vec<_> = rates.sides.iter().map(|s| quantity(*s.last().expect("just pushed"))).collect();
        eprintln!("  round {}: {} keys/s", round + 1, shown.join(", "));
    }
    rates
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
