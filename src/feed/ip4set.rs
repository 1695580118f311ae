//! The `ip4set` zones of rbldnsd, in which DNS block lists are published (rbldnsd(8)).
//!
//! ```text
//! :127.0.0.2:Blacklisted, see http://list.example/?$     default values for later entries
//! 127.0.0.0/24   127.0.0   127/8   127.16-31   127.0.0.1-127.0.0.5   127.0.0.1-255
//! 127.1.2.3 :3:An open relay                              values of an entry: A and TXT, or TXT alone
//! !127.0.0.1                                              an exclusion
//! $TTL 3600                                               a directive
//! ```
//!
//! The TXT value, a template, is used unchanged as the name; the A value is only meaningful to clients of the zone and
//! is dropped. Exclusions may follow the entries that they affect and apply to the whole file, so that entries are kept
//! until its end; the exclusion itself counts as withheld. A block with host bits set is rejected, as in plain lists.

use std::net::Ipv4Addr;

use super::{
    error::FeedError,
    input::Input,
    row_sink::{Draft, RowSink},
    sample::{Confidence, Sample},
};
use crate::{
    key::{Indicator, Ipv4Block},
    record::RecordType,
};

pub(super) fn detect(sample: &Sample<'_>) -> Option<Confidence> {
    let (mut rows, mut valid, mut abbreviated, mut has_mark) = (0u32, 0u32, 0u32, false);
    for line in sample.data_lines() {
        if line.starts_with('$') {
            continue;
        }
        if let Some(values) = line.strip_prefix(':') {
            has_mark |= values
                .split(':')
                .next()
                .is_some_and(|a| !a.is_empty() && a.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
            continue;
        }
        rows += 1;
        let excluded = line.strip_prefix('!');
        let key = key(excluded.unwrap_or(line)).0;
        if range(key).is_ok() {
            valid += 1;
            has_mark |= excluded.is_some();
            abbreviated += u32::from(key.parse::<Ipv4Block>().is_err());
        }
    }
    // Content that is valid as a plain list is a plain list, even with a mistyped address: a zone has default values or
    // exclusions, or a share of abbreviated entries.
    has_mark |= abbreviated * ABBREVIATED_SHARE >= rows.max(1);
    (has_mark && valid > 0 && valid * 100 >= rows * SHARE_PERCENT_MIN).then_some(Confidence::Certain)
}

pub(super) fn read(input: &mut Input<'_>, sink: &mut RowSink<'_>) -> Result<(), FeedError> {
    let mut zone = Zone::default();
    let mut excluded = Vec::new();
    let mut default_text = None;
    let mut is_other_dataset = false;
    while let Some(line) = input.next_line()? {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            continue;
        }
        if let Some(directive) = text.strip_prefix('$') {
            if let Some(dataset) = directive.strip_prefix("DATASET") {
                is_other_dataset = !dataset.split_whitespace().next().is_some_and(|kind| kind.starts_with("ip4set"));
                default_text = None;
            }
            continue;
        }
        if let Some(default) = text.strip_prefix(':') {
            default_text = zone.text(txt(default))?;
            continue;
        }
        if is_other_dataset {
            sink.row_of(&line);
            sink.unsupported("an entry of an rbldnsd dataset other than ip4set");
            continue;
        }
        let exclusion = text.strip_prefix('!');
        let (key, values) = key(exclusion.unwrap_or(text));
        match (range(key), exclusion) {
            (Err(e), _) => {
                sink.row_of(&line);
                sink.reject(e);
            }
            (Ok(block), Some(_)) => {
                sink.row_of(&line);
                sink.withhold("an exclusion");
                excluded.push(block);
                check(excluded.len())?;
            }
            (Ok(block), None) => {
                let own_text = values.strip_prefix(':').map_or(values, txt);
                let text = if own_text.is_empty() { default_text } else { zone.text(own_text)? };
                zone.entries.push(Entry { line: line.number, block, text });
                check(zone.entries.len())?;
            }
        }
    }
    zone.list(&merged(excluded), sink)
}

/// The entries of a zone until all exclusions are known.
#[derive(Debug, Default)]
struct Zone {
    entries: Vec<Entry>,
    texts: String,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    line: u64,
    block: Ipv4Block,
    /// The start and end offsets of its text in [`Zone::texts`].
    text: Option<(u32, u32)>,
}

impl Zone {
    /// Stores a text and returns its offsets; `None` if it is empty.
    fn text(&mut self, text: &str) -> Result<Option<(u32, u32)>, FeedError> {
        if text.is_empty() {
            return Ok(None);
        }
        let start = self.texts.len();
        // Consecutive entries often have the same text.
        if self.texts.ends_with(text) {
            return Ok(Some(((start - text.len()) as u32, start as u32)));
        }
        if start + text.len() > TEXT_BYTES_MAX {
            return Err(FeedError::TooLarge {
                what: "the total size in bytes of the zone's texts",
                limit: TEXT_BYTES_MAX as u64,
            });
        }
        self.texts.push_str(text);
        Ok(Some((start as u32, self.texts.len() as u32)))
    }

    /// Lists the entries without the excluded addresses.
    fn list(&self, excluded: &[Ipv4Block], sink: &mut RowSink<'_>) -> Result<(), FeedError> {
        let mut listed = 0;
        for entry in &self.entries {
            sink.row_with(entry.line, "");
            let name = entry.text.map_or("", |(start, end)| &self.texts[start as usize..end as usize]);
            let before = listed;
            let mut list = |block| {
                sink.list(Draft::new(Indicator::Ipv4(block), RecordType::MaliciousAddress, name));
                listed += 1;
            };
            let mut rest = Some(entry.block);
            let first = excluded.partition_point(|exclusion| exclusion.last() < entry.block.first());
            for exclusion in excluded[first..].iter().take_while(|exclusion| exclusion.first() <= entry.block.last()) {
                let Some(block) = rest.take() else { break };
                for piece in block.without(*exclusion) {
                    // The exclusions ascend: a piece before this one is final.
                    if piece.first() > exclusion.last() { rest = Some(piece) } else { list(piece) }
                }
            }
            rest.into_iter().for_each(&mut list);
            if listed == before {
                sink.withhold("excluded by the list itself");
            }
            check(listed)?;
        }
        Ok(())
    }
}

/// Returns the blocks sorted and without overlaps.
fn merged(mut blocks: Vec<Ipv4Block>) -> Vec<Ipv4Block> {
    blocks.sort_unstable();
    let mut merged: Vec<Ipv4Block> = Vec::with_capacity(blocks.len());
    for block in blocks {
        match merged.last_mut() {
            Some(last) if block.first() <= last.last() => {
                let end = last.last().max(block.last());
                *last = Ipv4Block::new(last.first(), end).unwrap_or(*last);
            }
            _ => merged.push(block),
        }
    }
    merged
}

fn check(entries: usize) -> Result<(), FeedError> {
    if entries > ENTRIES_MAX {
        return Err(FeedError::TooLarge { what: "the number of entries of the zone", limit: ENTRIES_MAX as u64 });
    }
    Ok(())
}

/// Splits an entry into its range and the rest without comment.
fn key(entry: &str) -> (&str, &str) {
    let entry = entry.trim_start();
    let end = entry.find(|c: char| c.is_whitespace() || matches!(c, ':' | '#' | ';')).unwrap_or(entry.len());
    let (key, rest) = entry.split_at(end);
    let rest = rest.trim();
    (key, if rest.starts_with(['#', ';']) { "" } else { rest })
}

/// Returns the TXT value after an A value: `127.0.0.2:text`.
fn txt(values: &str) -> &str {
    values.split_once(':').map_or("", |(_, text)| text.trim())
}

/// Parses `127.0.0.0/24`, `127.0.0`, `127/8`, `127.16-31`, `127.16-127.31` or `127.0.0.1-255`.
fn range(text: &str) -> Result<Ipv4Block, &'static str> {
    const EXPECTED: &str = "expected an address, a prefix such as 127.0.0, a block or a range";
    if let Some((network, bits)) = text.split_once('/') {
        let (octets, _) = octets(network).ok_or(EXPECTED)?;
        let bits = bits.parse().ok().filter(|&bits: &u8| bits <= 32).ok_or("expected a prefix length up to 32")?;
        let block = Ipv4Block::containing(octets.into(), bits);
        return if block.first() == Ipv4Addr::from(octets) {
            Ok(block)
        } else {
            Err("the address has bits set after its prefix")
        };
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (start, given) = octets(first).ok_or(EXPECTED)?;
    let (mut end, mut ends) = octets(last).ok_or(EXPECTED)?;
    if ends == 1 && given > 1 {
        // A single number replaces the last given octet of the first address.
        let value = end[0];
        end = start;
        end[given - 1] = value;
        ends = given;
    }
    end[ends..].fill(255);
    Ipv4Block::new(start.into(), end.into()).ok_or("the range ends before it starts")
}

/// Parses one to four octets. Returns them, with zeros for missing ones, and their number.
fn octets(text: &str) -> Option<([u8; 4], usize)> {
    let mut octets = [0; 4];
    let mut count = 0;
    for octet in text.split('.') {
        // Other parsers would read a leading zero as octal.
        let padded = octet.len() > 1 && octet.starts_with('0');
        if octet.is_empty() || octet.len() > 3 || padded || !octet.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *octets.get_mut(count)? = octet.parse().ok()?;
        count += 1;
    }
    Some((octets, count))
}

/// Minimum percentage of valid entries.
const SHARE_PERCENT_MIN: u32 = 80;

/// Without values and exclusions, at least one of this many entries of a zone is abbreviated.
const ABBREVIATED_SHARE: u32 = 10;

/// Maximum number of entries, exclusions and pieces of a zone: each is held until the file's end, at 32 bytes per
/// entry.
const ENTRIES_MAX: usize = 1 << 25;

/// Maximum total size in bytes of the texts of one zone.
const TEXT_BYTES_MAX: usize = 1 << 28;

#[cfg(test)]
mod tests {
    use super::super::{Format, Outcome, testing::collect};
    use super::range;

    fn text_of(range_text: &str) -> String {
        range(range_text).map_or_else(str::to_owned, |block| block.to_string())
    }

    #[test]
    fn ranges_from_the_manual() {
        for text in ["127.0.0.0/24", "127.0.0", "127.0.0-127.0.0", "127.0.0.0-127.0.0.255", "127.0.0.0-255"] {
            assert_eq!(text_of(text), "127.0.0.0/24", "{text}");
        }
        for text in [
            "127.16.0.0-127.31.255.255",
            "127.16.0-127.31.255",
            "127.16-127.31",
            "127.16-31",
            "127.16.0.0/12",
            "127.16.0/12",
            "127.16/12",
        ] {
            assert_eq!(text_of(text), "127.16.0.0/12", "{text}");
        }
        assert_eq!(text_of("127/8"), "127.0.0.0/8");
        assert_eq!(text_of("127"), "127.0.0.0/8");
        for text in
            ["", "1.2.3.4.5", "256", "1..2", "1.2.3.4/33", "1.2.3.4/24", "9-1", "evil.com", "1.2.3.4-x", "1.2.3.04"]
        {
            assert!(range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_and_exclusions() {
        let text = "$SOA 3600 ns.x a.x 0 1 1 1 1\n$TTL 60\n!93.184.216.34\n:127.0.0.2:Bad $\n93.184.216.32/30\n93.184.217 # c\n\
                    93.184.218.1 :3:Open relay\n93.184.218.2 Text only\n!93.184.217.0-127\n!93.184.219\n93.184.219.7\nword\n";
        let (entries, report) = collect(text.as_bytes(), "x", None);
        assert_eq!(report.format, Format::Ip4Set);
        let expected = [
            "ipv4:93.184.216.32/31 malicious-address \"Bad $\"",
            "ipv4:93.184.216.35 malicious-address \"Bad $\"",
            "ipv4:93.184.217.128/25 malicious-address \"Bad $\"",
            "ipv4:93.184.218.1 malicious-address \"Open relay\"",
            "ipv4:93.184.218.2 malicious-address \"Text only\"",
        ];
        assert_eq!(entries, expected);
        assert_eq!((report.rows, report.withheld, report.rejected), (9, 4, 1), "{report:?}");
        assert_eq!(report.refusals[0].outcome, Outcome::Withheld);
    }

    #[test]
    fn a_plain_list_is_not_detected_as_a_zone() {
        let (_, report) = collect(b"93.184.216.34\n93.184.217.0/24\n", "x", None);
        assert_eq!(report.format, Format::Ipv4List);
        let (_, report) = collect(b"93.184.216\n93.184.217.0/24\n", "x", None);
        assert_eq!(report.format, Format::Ip4Set);
    }
}
