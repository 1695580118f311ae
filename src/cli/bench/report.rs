//! The report of a run, as a table or as JSON.

use std::{io::Write, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    control::RunSummary,
    record::{Count, Record},
};
use crate::cli::output::{self, Plural};

/// The measurements and settings of a run.
pub(super) struct Report {
    pub(super) target: Target,
    /// The dataset of the target, and its generation.
    pub(super) dataset: String,
    pub(super) generation: u64,
    /// The mix of kinds, or the file that the keys are from.
    pub(super) keys_from: String,
    pub(super) distinct: u64,
    pub(super) distinct_known: u64,
    pub(super) batch_keys: u32,
    pub(super) threads: usize,
    pub(super) seed: u64,
    pub(super) warmup: Duration,
    pub(super) summary: RunSummary,
    pub(super) record: Record,
}

/// The target of the load, and the settings for it.
pub(super) enum Target {
    Local,
    Server { address: String, connections: usize, in_flight: usize, rate: Option<u64>, keys_unsent: u64 },
}

/// Reported quantiles, with their names.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

impl Report {
    /// Writes a table.
    pub(super) fn text(&self, out: &mut impl Write) -> Result<()> {
        let Self { record, summary, dataset, generation, threads, batch_keys, .. } = self;
        let (threads, unit) = (Plural(*threads as u64, "thread"), if *batch_keys == 1 { "key" } else { "batch" });
        let size = if *batch_keys == 1 { "single keys".into() } else { format!("in batches of {batch_keys} keys") };
        match &self.target {
            Target::Local => {
                line(out, "target", &format!("in process ({dataset}, generation {generation})"))?;
                line(out, "load", &format!("{size}, {threads}"))?;
            }
            Target::Server { address, connections, in_flight, rate, .. } => {
                line(out, "target", &format!("{address} ({}, generation {generation})", output::plain(dataset)))?;
                let pace = match rate {
                    None => "as fast as answers arrive".to_owned(),
                    Some(rate) => format!("{rate} keys/s on a fixed schedule"),
                };
                line(out, "load", &format!("{pace}, {size}"))?;
                let connections = Plural(*connections as u64, "connection");
                line(out, "clients", &format!("{connections}, {in_flight} in flight on each, {threads}"))?;
            }
        }
        let Self { distinct, distinct_known, keys_from, .. } = self;
        let known = if record.expected.is_some() { format!(", {distinct_known} of them known") } else { String::new() };
        line(out, "keys", &format!("{distinct} distinct{known} ({})", output::plain(keys_from)))?;
        let ended = if summary.is_interrupted { ", interrupted" } else { "" };
        line(out, "measured", &format!("{:.1?} after {:.1?} of warm-up{ended}\n", summary.measured, self.warmup))?;

        writeln!(out, "{:15}{:>12} {:>15}", "", "batches", "keys")?;
        for (name, Count { batches, keys }) in
            [("sent", record.sent), ("answered", record.answered), ("failed", record.failed)]
        {
            writeln!(out, "{name:15}{batches:>12} {keys:>15}")?;
        }
        let checked = if record.expected.is_some() { "as expected" } else { "not checked: give --db" };
        writeln!(out, "{:15}{:>12} {:>15}  {checked}\n", "known", "", record.known)?;

        if let Some(rate) = record.rate(summary.measured) {
            let (median, min, max) = (scaled(rate.median), scaled(rate.min), scaled(rate.max));
            line(out, "keys/s", &format!("{median} (median of slices of {:?}, min {min}, max {max})", rate.slice))?;
        }
        match &self.target {
            Target::Local => {
                if let Some(nanoseconds) = self.nanoseconds_per_key() {
                    line(out, "ns/key", &format!("{nanoseconds:.1} on each thread"))?;
                }
            }
            Target::Server { keys_unsent, rate, .. } => {
                if let Some(bytes) = self.request_bytes_per_second() {
                    line(out, "requests", &format!("{:.1} MB/s", bytes / 1e6))?;
                }
                if *keys_unsent > u64::from(*batch_keys) && rate.is_some() {
                    line(out, "rate missed", &format!("{keys_unsent} keys were due but not sent at the end"))?;
                }
            }
        }
        if !record.latency.is_empty() {
            let quantiles = QUANTILES.map(|(name, q)| (name, record.latency.value_at_quantile(q)));
            let all = quantiles.into_iter().chain([("max", record.latency.max())]);
            let texts: Vec<_> = all.map(|(name, ns)| format!("{name} {:.1?}", Duration::from_nanos(ns))).collect();
            line(out, "latency", &format!("{} (per {unit})", texts.join("  ")))?;
        }
        for (kind, failures) in &record.failures {
            let batches = Plural(failures.batches, "batch");
            line(out, "failed", &format!("{batches}: {kind}: {}", output::plain(&failures.first)))?;
        }
        Ok(out.flush()?)
    }

    /// Writes one JSON document. Fields are added, never removed or changed.
    pub(super) fn json(&self, out: &mut impl Write) -> Result<()> {
        let Self { record, summary, .. } = self;
        let count = |count: Count| json!({ "batches": count.batches, "keys": count.keys });
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        let latency: Value = match record.latency.is_empty() {
            true => Value::Null,
            false => QUANTILES
                .map(|(name, q)| (name, record.latency.value_at_quantile(q)))
                .into_iter()
                .chain([("max", record.latency.max())])
                .map(|(name, ns)| (name.replace('.', "_"), microseconds(ns).into()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        };
        let failures: Vec<_> = record
            .failures
            .iter()
            .map(|(kind, failures)| json!({ "kind": kind, "batches": failures.batches, "first": failures.first }))
            .collect();
        let rate = record.rate(summary.measured).map(|rate| {
            let slice_s = rate.slice.as_secs_f64();
            json!({ "median": rate.median, "min": rate.min, "max": rate.max, "slice_s": slice_s })
        });
        let mut document = json!({
            "asked": "local",
            "dataset": self.dataset,
            "generation": self.generation,
            "keys_from": self.keys_from,
            "distinct_keys": self.distinct,
            "distinct_known_keys": record.expected.map(|_| self.distinct_known),
            "batch_keys": self.batch_keys,
            "threads": self.threads,
            "seed": self.seed,
            "warmup_s": self.warmup.as_secs_f64(),
            "measured_s": summary.measured.as_secs_f64(),
            "interrupted": summary.is_interrupted,
            "sent": count(record.sent),
            "answered": count(record.answered),
            "failed": count(record.failed),
            "known_keys": record.known,
            "expected_known_keys": record.expected,
            "keys_per_second": rate,
            "latency_us": latency,
            "failures": failures,
        });
        let more = match &self.target {
            Target::Local => json!({ "ns_per_key": self.nanoseconds_per_key() }),
            Target::Server { address, connections, in_flight, rate, keys_unsent } => json!({
                "asked": address,
                "connections": connections,
                "in_flight": in_flight,
                "rate": rate,
                "unsent_keys": rate.map(|_| keys_unsent),
                "request_bytes_per_second": self.request_bytes_per_second(),
            }),
        };
        if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
            document.extend(more);
        }
        serde_json::to_writer(&mut *out, &document)?;
        writeln!(out)?;
        Ok(out.flush()?)
    }

    /// Returns the nanoseconds per key and thread: every thread is busy all the time.
    fn nanoseconds_per_key(&self) -> Option<f64> {
        let keys = self.record.answered.keys;
        (keys > 0).then(|| self.summary.measured.as_nanos() as f64 * self.threads as f64 / keys as f64)
    }

    /// Returns the request bytes per second; `None` for single keys, which the client coalesces.
    fn request_bytes_per_second(&self) -> Option<f64> {
        let seconds = self.summary.measured.as_secs_f64();
        (seconds > 0.0 && self.batch_keys > 1).then(|| self.record.request_bytes as f64 / seconds)
    }
}

fn line(out: &mut impl Write, name: &str, value: &str) -> Result<()> {
    Ok(writeln!(out, "{name:15}{value}")?)
}

/// Formats a number with an SI suffix: `31.4 M`.
fn scaled(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([7.4, 1_500.0, 31_415_926.0, 2e9].map(scaled), ["7", "1.5 k", "31.42 M", "2.00 G"]);
    }
}
