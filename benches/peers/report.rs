//! The result table, and the same figures as JSON.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{
    options::Options,
    rounds::{Rates, Spread, quantity},
};

/// The goal of a ratio or of a value.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    ValueAtLeast(f64),
    ValueAtMost(f64),
}

/// A row of the result table.
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) against: String,
    /// The value of the peer, in the same unit.
    pub(crate) peer_value: Option<f64>,
    pub(crate) ratio: Option<Spread>,
    /// The ratio of the first side to itself (A/A).
    pub(crate) same: Option<Spread>,
    pub(crate) goal: Option<Goal>,
    /// The number of records, for figures that are plotted over it.
    pub(crate) records: Option<u64>,
}

impl Figure {
    /// Compares the rate of the first side with that of another, in keys per second.
    pub(crate) fn rate(rates: &Rates, side: usize, what: impl Into<String>, against: impl Into<String>) -> Self {
        Self::compare(&rates.sides[0], &rates.sides[side], &rates.again, "keys/s", what, against)
    }

    /// Compares the time per key of the first side with that of another, in nanoseconds.
    pub(crate) fn time(rates: &Rates, side: usize, what: impl Into<String>, against: impl Into<String>) -> Self {
        let nanoseconds = |rates: &[f64]| rates.iter().map(|rate| 1e9 / rate).collect::<Vec<_>>();
        let [ours, theirs, again] = [&rates.sides[0], &rates.sides[side], &rates.again].map(|r| nanoseconds(r));
        Self::compare(&ours, &theirs, &again, "ns/key", what, against)
    }

    /// Compares the values of the first side with those of another and with its own second turns, per round.
    pub(crate) fn compare(
        ours: &[f64],
        theirs: &[f64],
        again: &[f64],
        unit: &'static str,
        what: impl Into<String>,
        against: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            value: Spread::of(ours.to_vec()).median,
            unit,
            against: against.into(),
            peer_value: Some(Spread::of(theirs.to_vec()).median),
            ratio: Some(Spread::of_ratios(ours, theirs)),
            same: Some(Spread::of_ratios(ours, again)),
            goal: None,
            records: None,
        }
    }

    /// Reports a value that was measured once, and that of a peer, if any.
    pub(crate) fn once(
        value: f64,
        unit: &'static str,
        what: impl Into<String>,
        against: impl Into<String>,
        peer_value: Option<f64>,
    ) -> Self {
        let ratio = peer_value.map(|peer| Spread::of(vec![value / peer]));
        let (what, against) = (what.into(), against.into());
        Self { what, value, unit, against, peer_value, ratio, same: None, goal: None, records: None }
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Sets a lower limit of the ratio as the goal.
    pub(crate) fn at_least(self, goal: f64) -> Self {
        self.goal(Goal::RatioAtLeast(goal))
    }

    /// Sets an upper limit of the ratio as the goal.
    pub(crate) fn at_most(self, goal: f64) -> Self {
        self.goal(Goal::RatioAtMost(goal))
    }

    fn is_met(&self) -> Option<bool> {
        let ratio = self.ratio.as_ref().map(|ratio| ratio.median);
        Some(match self.goal? {
            Goal::RatioAtLeast(goal) => ratio? >= goal,
            Goal::RatioAtMost(goal) => ratio? <= goal,
            Goal::ValueAtLeast(goal) => self.value >= goal,
            Goal::ValueAtMost(goal) => self.value <= goal,
        })
    }

    fn cells(&self, row: u8) -> [String; 9] {
        let value = |value: f64| format!("{} {}", quantity(value), self.unit);
        let spread = |spread: &Spread| format!("{:.2}..{:.2}", spread.low, spread.high);
        let or_none = |text: Option<String>| text.unwrap_or("-".into());
        [
            row.to_string(),
            self.what.clone(),
            value(self.value),
            match self.peer_value {
                Some(peer) => format!("{}: {}", self.against, value(peer)),
                None => self.against.clone(),
            },
            or_none(self.ratio.as_ref().map(|ratio| format!("{:.2}", ratio.median))),
            or_none(self.ratio.as_ref().map(spread)),
            or_none(self.same.as_ref().map(|same| format!("{:.2} ({})", same.median, spread(same)))),
            or_none(self.goal.map(|goal| match goal {
                Goal::RatioAtLeast(goal) => format!(">= {goal}"),
                Goal::RatioAtMost(goal) => format!("<= {goal}"),
                Goal::ValueAtLeast(goal) => format!(">= {} {}", quantity(goal), self.unit),
                Goal::ValueAtMost(goal) => format!("<= {} {}", quantity(goal), self.unit),
            })),
            or_none(self.is_met().map(|met| if met { "met" } else { "not met" }.into())),
        ]
    }

    fn json(&self, row: u8) -> Value {
        json!({
            "row": row,
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "against": self.against,
            "peer_value": self.peer_value,
            "ratio": self.ratio.as_ref().map(|r| r.median),
            "quartiles": self.ratio.as_ref().map(|r| [r.low, r.high]),
            "same": self.same.as_ref().map(|r| r.median),
            "rounds": self.ratio.as_ref().map(|r| r.rounds.clone()),
            "met": self.is_met(),
            "records": self.records,
        })
    }
}

/// All results of a run.
pub(crate) struct Report {
    head: String,
    out: PathBuf,
    figures: Vec<(u8, Figure)>,
    skipped: Vec<(u8, String, String)>,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        let head = format!(
            "{}; {} records unless stated otherwise; {} rounds of {} ms per side",
            machine(),
            quantity(options.records as f64),
            options.rounds,
            options.round_time.as_millis()
        );
        Self { head, out: options.out.clone(), figures: Vec::new(), skipped: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: u8, figures: Vec<Figure>) {
        self.figures.extend(figures.into_iter().map(|figure| (row, figure)));
    }

    pub(crate) fn skip(&mut self, row: u8, title: &str, reason: &str) {
        eprintln!("  skipped: {reason}");
        self.skipped.push((row, title.into(), reason.into()));
    }

    /// Writes the figures to the output file.
    pub(crate) fn save(&self) {
        let figures: Vec<Value> = self.figures.iter().map(|(row, figure)| figure.json(*row)).collect();
        let text = serde_json::to_string_pretty(&figures).expect("numbers and strings");
        if let Err(e) = std::fs::write(&self.out, text + "\n") {
            eprintln!("  cannot write {}: {e}", self.out.display());
        }
    }

    pub(crate) fn print(&self) {
        let titles = ["row", "what", "value", "against", "ratio", "spread", "A/A", "goal", ""].map(String::from);
        let mut figures: Vec<_> = self.figures.iter().collect();
        figures.sort_by_key(|(row, _)| *row);
        let rows = figures.into_iter().map(|(row, figure)| figure.cells(*row));
        let lines: Vec<[String; 9]> = std::iter::once(titles).chain(rows).collect();
        let widths: Vec<usize> =
            (0..9).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)).collect();
        println!("\n{}\n{}\n", self.head, peers());
        for line in &lines {
            let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            println!("{}", cells.join("  ").trim_end());
        }
        for (row, title, reason) in &self.skipped {
            println!("{row:<3}  {title}: skipped, {reason}");
        }
        println!("\nwritten to {}", self.out.display());
    }
}

/// Returns the installed peers with their versions.
fn peers() -> String {
    let peers = [("redis-server", "--version"), ("memcached", "--version"), ("rbldnsd", "-h")];
    let versions =
        peers.iter().filter_map(|(program, option)| Some(format!("{program} {}", version(program, option)?)));
    versions.collect::<Vec<_>>().join(", ")
}

/// Returns the version of a program: the first word of its first line of output that starts with a digit, after an
/// optional `v=`.
fn version(program: &str, option: &str) -> Option<String> {
    let output = std::process::Command::new(program).arg(option).output().ok()?.stdout;
    let output = String::from_utf8_lossy(&output);
    let mut words = output.lines().next()?.split_whitespace().map(|word| word.strip_prefix("v=").unwrap_or(word));
    words.find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

/// Describes the machine.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let model = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| Some(text.lines().find(|l| l.starts_with("model name"))?.split_once(": ")?.1.to_owned()));
    format!("{} {}, {cores} cores, {}", std::env::consts::OS, std::env::consts::ARCH, model.unwrap_or("?".into()))
}
