//! Blocks of IPv4 addresses: single addresses, CIDR blocks and arbitrary ranges.

use std::{fmt, net::Ipv4Addr, str::FromStr};

/// A non-empty range of IPv4 addresses, both ends included.
///
/// Ordered by first address, then the larger block first, which is the order of a snapshot: a block precedes all blocks
/// that it covers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4Block {
    first: u32,
    last: u32,
}

/// An error in the text of a block of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ipv4BlockError {
    /// The text is not an address, a CIDR block or a range.
    #[error("expected an IPv4 address, a CIDR block such as 192.0.2.0/24 or a range such as 192.0.2.1-192.0.2.9")]
    Syntax,
    /// The prefix length is above 32.
    #[error("expected a prefix length from 0 to 32")]
    PrefixLength,
    /// The address of a CIDR block has bits set after its prefix.
    #[error("expected no bits set after a prefix of {prefix_bits} bits; the containing block is {block}")]
    HostBits {
        /// The prefix length found.
        prefix_bits: u8,
        /// The block that contains the address.
        block: Ipv4Block,
    },
    /// The last address of a range is below its first.
    #[error("the range ends before it starts")]
    Reversed,
}

impl Ipv4Block {
    /// Creates a block from its first and last address. Returns `None` when `last` is below `first`.
    pub fn new(first: Ipv4Addr, last: Ipv4Addr) -> Option<Self> {
        (first <= last).then(|| Self { first: first.into(), last: last.into() })
    }

    /// Returns the CIDR block of `prefix_bits` (0 to 32) that contains `address`.
    pub fn containing(address: Ipv4Addr, prefix_bits: u8) -> Self {
        let host_mask = u32::MAX.checked_shr(u32::from(prefix_bits)).unwrap_or(0);
        let address = u32::from(address);
        Self { first: address & !host_mask, last: address | host_mask }
    }

    /// Returns the first address.
    pub fn first(self) -> Ipv4Addr {
        self.first.into()
    }

    /// Returns the last address.
    pub fn last(self) -> Ipv4Addr {
        self.last.into()
    }

    /// Returns the number of addresses, from 1 to 2³².
    pub fn addresses(self) -> u64 {
        u64::from(self.last - self.first) + 1
    }

    /// Returns whether the block contains the address.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address.into())
    }

    /// Returns whether the block contains every address of the other block.
    pub fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Returns the prefix length, if the block is a CIDR block.
    pub fn prefix_bits(self) -> Option<u8> {
        let host_mask = self.last ^ self.first;
        let aligned = self.first & host_mask == 0 && host_mask.wrapping_add(1) & host_mask == 0;
        aligned.then(|| host_mask.leading_zeros() as u8)
    }

    /// Returns the CIDR blocks that make up this one, in ascending order: one for a CIDR block, at most 62 for any
    /// range.
    pub fn cidr_blocks(self) -> impl Iterator<Item = Self> {
        let mut next = Some(self.first);
        std::iter::from_fn(move || {
            let first = next?;
            let aligned_bits = first.trailing_zeros();
            let fitting_bits = (u64::from(self.last - first) + 1).ilog2();
            let host_mask = ((1u64 << aligned_bits.min(fitting_bits)) - 1) as u32;
            let last = first | host_mask;
            next = (last < self.last).then(|| last + 1);
            Some(Self { first, last })
        })
    }

    /// Returns this block minus the other: zero, one or two blocks.
    pub fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let before = (other.first > self.first)
            .then(|| Self { first: self.first, last: self.last.min(other.first.wrapping_sub(1)) });
        let after = (other.last < self.last)
            .then(|| Self { first: self.first.max(other.last.wrapping_add(1)), last: self.last });
        let disjoint = other.first > self.last || other.last < self.first;
        let (before, after) = if disjoint { (Some(self), None) } else { (before, after) };
        before.into_iter().chain(after)
    }
}

impl From<Ipv4Addr> for Ipv4Block {
    fn from(address: Ipv4Addr) -> Self {
        Self::containing(address, 32)
    }
}

impl Ord for Ipv4Block {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.first.cmp(&other.first).then(other.last.cmp(&self.last))
    }
}

impl PartialOrd for Ipv4Block {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Parses `a.b.c.d`, `a.b.c.d/len` (no bits set after the prefix) and `a.b.c.d-e.f.g.h`.
impl FromStr for Ipv4Block {
    type Err = Ipv4BlockError;

    fn from_str(text: &str) -> Result<Self, Ipv4BlockError> {
        let address = |text: &str| text.trim().parse::<Ipv4Addr>().map_err(|_| Ipv4BlockError::Syntax);
        if let Some((network, bits)) = text.split_once('/') {
            let network = address(network)?;
            let bits = bits.trim();
            if bits.is_empty() || bits.len() > 3 || !bits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Ipv4BlockError::Syntax);
            }
            let prefix_bits = bits.parse().ok().filter(|&n| n <= 32).ok_or(Ipv4BlockError::PrefixLength)?;
            let block = Self::containing(network, prefix_bits);
            if block.first() != network {
                return Err(Ipv4BlockError::HostBits { prefix_bits, block });
            }
            return Ok(block);
        }
        if let Some((first, last)) = text.split_once('-') {
            return Self::new(address(first)?, address(last)?).ok_or(Ipv4BlockError::Reversed);
        }
        address(text).map(Self::from)
    }
}

/// Writes an address, a CIDR block or a range, whichever is shortest.
impl fmt::Display for Ipv4Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = BlockText::default();
        text.push_address(self.first());
        match self.prefix_bits() {
            Some(32) => {}
            Some(bits) => {
                text.push(b'/');
                text.push_number(bits);
            }
            None => {
                text.push(b'-');
                text.push_address(self.last());
            }
        }
        f.write_str(str::from_utf8(&text.bytes[..text.length]).map_err(|_| fmt::Error)?)
    }
}

/// Buffer for the text of a block. An answer has one per hit, so it is written without the overhead of `write!`.
#[derive(Default)]
struct BlockText {
    bytes: [u8; "255.255.255.255-255.255.255.255".len()],
    length: usize,
}

impl BlockText {
    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn push_number(&mut self, number: u8) {
        if number >= 100 {
            self.push(b'0' + number / 100);
        }
        if number >= 10 {
            self.push(b'0' + number / 10 % 10);
        }
        self.push(b'0' + number % 10);
    }

    fn push_address(&mut self, address: Ipv4Addr) {
        let [first, rest @ ..] = address.octets();
        self.push_number(first);
        for octet in rest {
            self.push(b'.');
            self.push_number(octet);
        }
    }
}

impl fmt::Debug for Ipv4Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(text: &str) -> Ipv4Block {
        text.parse().unwrap()
    }

    #[test]
    fn text_forms_round_trip() {
        for text in ["1.2.3.4", "10.0.0.0/8", "0.0.0.0/0", "1.2.3.4-1.2.3.9", "255.255.255.255"] {
            assert_eq!(block(text).to_string(), text);
        }
        assert_eq!(block("1.2.3.0-1.2.3.255").to_string(), "1.2.3.0/24");
        assert_eq!(block("1.2.3.4/32").to_string(), "1.2.3.4");
    }

    #[test]
    fn rejected_texts() {
        assert_eq!("1.2.3.4/33".parse::<Ipv4Block>(), Err(Ipv4BlockError::PrefixLength));
        assert!(matches!("1.2.3.4/24".parse::<Ipv4Block>(), Err(Ipv4BlockError::HostBits { .. })));
        assert_eq!("1.2.3.9-1.2.3.4".parse::<Ipv4Block>(), Err(Ipv4BlockError::Reversed));
        for text in ["", "1.2.3", "1.2.3.4/", "1.2.3.4/x", "::1", "1.2.3.256", "185.55..243.110"] {
            assert_eq!(text.parse::<Ipv4Block>(), Err(Ipv4BlockError::Syntax), "{text}");
        }
    }

    #[test]
    fn larger_blocks_sort_first() {
        let mut blocks = [block("1.2.3.0"), block("1.2.3.0/24"), block("1.2.0.0/16"), block("1.2.3.1")];
        blocks.sort();
        assert_eq!(blocks.map(|b| b.to_string()), ["1.2.0.0/16", "1.2.3.0/24", "1.2.3.0", "1.2.3.1"]);
    }

    proptest! {
        #[test]
        fn texts_equal_those_of_the_standard_library(a: u32, b: u32, bits in 0..=32u8) {
            let range = Ipv4Block { first: a.min(b), last: a.max(b) };
            if range.prefix_bits().is_none() {
                prop_assert_eq!(range.to_string(), format!("{}-{}", range.first(), range.last()));
            }
            let single = Ipv4Block::from(Ipv4Addr::from(a));
            prop_assert_eq!(single.to_string(), Ipv4Addr::from(a).to_string());
            let cidr = Ipv4Block::containing(a.into(), bits);
            let suffix = if bits < 32 { format!("/{bits}") } else { String::new() };
            prop_assert_eq!(cidr.to_string(), format!("{}{suffix}", cidr.first()));
        }

        #[test]
        fn cidr_blocks_tile_the_range(a: u32, b: u32) {
            let range = Ipv4Block { first: a.min(b), last: a.max(b) };
            let pieces: Vec<_> = range.cidr_blocks().collect();
            prop_assert!(pieces.len() <= 62);
            prop_assert_eq!(pieces[0].first, range.first);
            prop_assert_eq!(pieces[pieces.len() - 1].last, range.last);
            prop_assert!(pieces.iter().all(|p| p.prefix_bits().is_some()));
            prop_assert!(pieces.windows(2).all(|w| w[0].last + 1 == w[1].first));
        }

        #[test]
        fn without_removes_exactly_the_other(a: u8, b: u8, c: u8, d: u8) {
            let this = Ipv4Block { first: a.min(b).into(), last: a.max(b).into() };
            let other = Ipv4Block { first: c.min(d).into(), last: c.max(d).into() };
            let rest: Vec<_> = this.without(other).collect();
            for address in (0..=255u32).map(Ipv4Addr::from) {
                let expected = this.contains(address) && !other.contains(address);
                prop_assert_eq!(rest.iter().filter(|r| r.contains(address)).count(), usize::from(expected));
            }
        }
    }
}
