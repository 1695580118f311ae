//! Reads lists of guards: MISP warninglists, or text.

use std::io::Read;

use super::{
    error::FeedError,
    guard::{GuardReport, Guards},
    input::{self, Input, Unpacked},
    misp, value,
};
use crate::key::Indicator;

impl Guards {
    /// Reads a guard list: a MISP warninglist, or text with a host name or an IPv4 block per line. Names in text cover
    /// their subdomains too.
    pub fn read(&mut self, input: impl Read, _name: &str) -> Result<GuardReport, FeedError> {
        let mut input = match input::unpack(input)? {
            Unpacked::Feed(input) => input,
            Unpacked::Archive(..) => {
                return Err(FeedError::UnknownFormat {
                    looks: "a zip archive (expected a guard list; extract it first)".into(),
                });
            }
        };
        let is_json = input.head().0.trim_ascii_start().starts_with(b"{");
        let report =
            if is_json { misp::warninglist::read_guards(&mut input, self) } else { self.read_text(&mut input) };
        self.sort_and_dedup();
        report
    }

    fn read_text(&mut self, input: &mut Input<'_>) -> Result<GuardReport, FeedError> {
        let mut report = GuardReport::default();
        while let Some(line) = input.next_line()? {
            let entry = line.text.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() || entry.starts_with(';') {
                continue;
            }
            let added = match value::ipv4_port(entry) {
                Ok((Indicator::Ipv4(block), _)) => {
                    self.add_block(block);
                    true
                }
                Err(value::ValueError::Unsupported(_)) => {
                    report.unsupported += 1;
                    continue;
                }
                _ => self.add_hostname(entry),
            };
            *if added { &mut report.entries } else { &mut report.rejected } += 1;
        }
        report.rejected += input.overlong().count;
        Ok(report)
    }
}
