//! The `ip4set` zones of rbldnsd, as DNS block lists are published (rbldnsd(8)).
//!
//! ```text
//! :127.0.0.2:Blacklisted, see http://list.example/?$     default values for what follows
//! 127.0.0.0/24   127.0.0   127/8   127.16-31   127.0.0.1-127.0.0.5   127.0.0.1-255
//! 127.1.2.3 :3:An open relay                              values of an entry: A and TXT, or TXT alone
//! !127.0.0.1                                              an exclusion
//! $TTL 3600                                               a directive
//! ```
//!
//! The TXT value, a template, is the name as it stands; the A value only means something to who asks that zone and is
//! dropped. Exclusions may stand behind what they exclude from and hold for the whole file, so that entries are kept
//! until its end; the exclusion itself counts as withheld. A block with bits set behind its prefix is rejected, as in
//! plain lists.

use std::net::Ipv4Addr;

use super::{
    FeedError,
    input::Input,
    intake::{Draft, Intake},
    recognise::{Likeness, Sample},
};
use crate::{
    key::{Indicator, Ipv4Block},
    record::RecordType,
};

pub(super) fn recognise(sample: &Sample<'_>) -> Option<Likeness> {
    let (mut rows, mut such, mut short, mut own) = (0u32, 0u32, 0u32, false);
    for line in sample.data_lines() {
        if line.starts_with('$') {
            continue;
        }
        if let Some(values) = line.strip_prefix(':') {
            own |= values
                .split(':')
                .next()
                .is_some_and(|a| !a.is_empty() && a.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
            continue;
        }
        rows += 1;
        let excluded = line.strip_prefix('!');
        let key = key(excluded.unwrap_or(line)).0;
        if range(key).is_ok() {
            such += 1;
            own |= excluded.is_some();
            short += u32::from(key.parse::<Ipv4Block>().is_err());
        }
    }
    // What a plain list has as well is a plain list, and so is one with a mistyped address: a zone has default values
    // or exclusions, or abbreviates as a habit.
    own |= short * SHORT_SHARE >= rows.max(1);
    (own && such > 0 && such * 100 >= rows * SHARE_PERCENT_MIN).then_some(Likeness::Certain)
}

pub(super) fn read(input: &mut Input<'_>, intake: &mut Intake<'_>) -> Result<(), FeedError> {
    let mut zone = Zone::default();
    let mut excluded = Vec::new();
    let mut value = None;
    let mut foreign = false;
    while let Some(line) = input.next_line()? {
        let text = line.text.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            continue;
        }
        if let Some(directive) = text.strip_prefix('$') {
            if let Some(dataset) = directive.strip_prefix("DATASET") {
                foreign = !dataset.split_whitespace().next().is_some_and(|kind| kind.starts_with("ip4set"));
                value = None;
            }
            continue;
        }
        if let Some(default) = text.strip_prefix(':') {
            value = zone.text(txt(default))?;
            continue;
        }
        if foreign {
            intake.row_of(&line);
            intake.unsupported("an entry of an rbldnsd dataset other than ip4set");
            continue;
        }
        let exclusion = text.strip_prefix('!');
        let (key, own) = key(exclusion.unwrap_or(text));
        match (range(key), exclusion) {
            (Err(why), _) => {
                intake.row_of(&line);
                intake.reject(why);
            }
            (Ok(block), Some(_)) => {
                intake.row_of(&line);
                intake.withhold("an exclusion");
                excluded.push(block);
                check(excluded.len())?;
            }
            (Ok(block), None) => {
                let own = own.strip_prefix(':').map_or(own, txt);
                let text = if own.is_empty() { value } else { zone.text(own)? };
                zone.entries.push(Entry { line: line.number, block, text });
                check(zone.entries.len())?;
            }
        }
    }
    zone.list(&merged(excluded), intake)
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
    /// Where its text stands.
    text: Option<(u32, u32)>,
}

impl Zone {
    /// Keeps a text; `None` for the empty one.
    fn text(&mut self, text: &str) -> Result<Option<(u32, u32)>, FeedError> {
        if text.is_empty() {
            return Ok(None);
        }
        let start = self.texts.len();
        // The same text often stands with entry after entry.
        if self.texts.ends_with(text) {
            return Ok(Some(((start - text.len()) as u32, start as u32)));
        }
        if start + text.len() > TEXT_BYTES_MAX {
            return Err(FeedError::TooLarge { what: "the texts of the zone in bytes", limit: TEXT_BYTES_MAX as u64 });
        }
        self.texts.push_str(text);
        Ok(Some((start as u32, self.texts.len() as u32)))
    }

    /// Hands over what the exclusions leave.
    fn list(&self, excluded: &[Ipv4Block], intake: &mut Intake<'_>) -> Result<(), FeedError> {
        let mut listed = 0;
        for entry in &self.entries {
            intake.row_with(entry.line, "");
            let name = entry.text.map_or("", |(start, end)| &self.texts[start as usize..end as usize]);
            let before = listed;
            let mut list = |block| {
                intake.list(Draft::new(Indicator::Ipv4(block), RecordType::MaliciousAddress, name));
                listed += 1;
            };
            let mut rest = Some(entry.block);
            let first = excluded.partition_point(|exclusion| exclusion.last() < entry.block.first());
            for exclusion in excluded[first..].iter().take_while(|exclusion| exclusion.first() <= entry.block.last()) {
                let Some(block) = rest.take() else { break };
                for piece in block.without(*exclusion) {
                    // The exclusions ascend: what lies before this one is done with.
                    if piece.first() > exclusion.last() { rest = Some(piece) } else { list(piece) }
                }
            }
            rest.into_iter().for_each(&mut list);
            if listed == before {
                intake.withhold("excluded by the list itself");
            }
            check(listed)?;
        }
        Ok(())
    }
}

/// Sorted, without overlaps.
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
        return Err(FeedError::TooLarge { what: "the number of the zone's entries", limit: ENTRIES_MAX as u64 });
    }
    Ok(())
}

/// An entry's range, and what stands behind it up to a comment.
fn key(entry: &str) -> (&str, &str) {
    let entry = entry.trim_start();
    let end = entry.find(|c: char| c.is_whitespace() || matches!(c, ':' | '#' | ';')).unwrap_or(entry.len());
    let (key, rest) = entry.split_at(end);
    let rest = rest.trim();
    (key, if rest.starts_with(['#', ';']) { "" } else { rest })
}

/// The TXT value behind an A value: `127.0.0.2:text`.
fn txt(values: &str) -> &str {
    values.split_once(':').map_or("", |(_, text)| text.trim())
}

/// `127.0.0.0/24`, `127.0.0`, `127/8`, `127.16-31`, `127.16-127.31`, `127.0.0.1-255`.
fn range(text: &str) -> Result<Ipv4Block, &'static str> {
    const EXPECTED: &str = "expected an address, a prefix such as 127.0.0, a block or a range";
    if let Some((network, bits)) = text.split_once('/') {
        let (octets, _) = octets(network).ok_or(EXPECTED)?;
        let bits = bits.parse().ok().filter(|&bits: &u8| bits <= 32).ok_or("expected a prefix length up to 32")?;
        let block = Ipv4Block::containing(octets.into(), bits);
        return if block.first() == Ipv4Addr::from(octets) {
            Ok(block)
        } else {
            Err("the address has bits set behind its prefix")
        };
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (start, given) = octets(first).ok_or(EXPECTED)?;
    let (mut end, mut ends) = octets(last).ok_or(EXPECTED)?;
    if ends == 1 && given > 1 {
        // A lone number is the last octet that was given.
        let value = end[0];
        end = start;
        end[given - 1] = value;
        ends = given;
    }
    end[ends..].fill(255);
    Ipv4Block::new(start.into(), end.into()).ok_or("the range ends before it starts")
}

/// One to four octets, the missing ones zero, and how many there were.
fn octets(text: &str) -> Option<([u8; 4], usize)> {
    let mut octets = [0; 4];
    let mut count = 0;
    for octet in text.split('.') {
        // A leading zero would be octal elsewhere.
        let padded = octet.len() > 1 && octet.starts_with('0');
        if octet.is_empty() || octet.len() > 3 || padded || !octet.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *octets.get_mut(count)? = octet.parse().ok()?;
        count += 1;
    }
    Some((octets, count))
}

/// Entries that have to have the shape.
const SHARE_PERCENT_MIN: u32 = 80;

/// One abbreviated entry of so many makes a zone that neither has values nor exclusions.
const SHORT_SHARE: u32 = 10;

/// Entries, exclusions and pieces that one zone may have: each is held until the file's end, at 32 bytes an entry.
const ENTRIES_MAX: usize = 1 << 25;

/// Bytes of the texts of one zone.
const TEXT_BYTES_MAX: usize = 1 << 28;

#[cfg(test)]
mod tests {
    use super::super::{Format, Outcome, testing::collect};
    use super::range;

    fn text_of(range_text: &str) -> String {
        range(range_text).map_or_else(str::to_owned, |block| block.to_string())
    }

    #[test]
    fn ranges_of_the_manual() {
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
        let (listings, report) = collect(text.as_bytes(), "x", None);
        assert_eq!(report.format, Format::Ip4Set);
        let expected = [
            "ipv4:93.184.216.32/31 malicious-address \"Bad $\"",
            "ipv4:93.184.216.35 malicious-address \"Bad $\"",
            "ipv4:93.184.217.128/25 malicious-address \"Bad $\"",
            "ipv4:93.184.218.1 malicious-address \"Open relay\"",
            "ipv4:93.184.218.2 malicious-address \"Text only\"",
        ];
        assert_eq!(listings, expected);
        assert_eq!((report.rows, report.withheld, report.rejected), (9, 4, 1), "{report:?}");
        assert_eq!(report.refusals[0].outcome, Outcome::Withheld);
    }

    #[test]
    fn a_plain_list_is_none() {
        let (_, report) = collect(b"93.184.216.34\n93.184.217.0/24\n", "x", None);
        assert_eq!(report.format, Format::Ipv4List);
        let (_, report) = collect(b"93.184.216\n93.184.217.0/24\n", "x", None);
        assert_eq!(report.format, Format::Ip4Set);
    }
}
