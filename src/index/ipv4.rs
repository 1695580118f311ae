//! Lookups of all blocks that contain an IPv4 address.
//!
//! Blocks may overlap arbitrarily, and each has its own records. Ranges are split into CIDR blocks, which are either
//! nested or disjoint and so form a tree: an address lies in at most one innermost block, and the other blocks that
//! contain it are its ancestors. The address space is split into *segments*, runs of addresses with the same innermost
//! block.
//!
//! ```text
//! address ─top 16 bits─▶ root ─▶ line ─▶ segment ─▶ block ─▶ parent ─▶ …
//! ```
//!
//! A line is one cache line: it holds the start of each segment of its part of a /16, and which of them lie in a block.
//! The roots (512 KiB) stay in the second-level cache, so a miss costs one cache line of memory. Where segments are
//! dense, a /16 has more lines, in proportion to its segments; parts that are denser still use binary search. The
//! structure is built when a snapshot is opened.
//!
//! A batch is processed like a batch of digests: lines are prefetched, and candidates are collected without a branch.

use std::net::Ipv4Addr;

use super::{
    kernel::{self, Kernel},
    prefetch::prefetch,
    probe::PREFETCH_KEYS,
};
use crate::{key::Ipv4Block, snapshot::layout::BlockRow};

/// The search structure over the blocks of a snapshot. Block numbers are row numbers in the snapshot.
#[derive(Debug)]
pub(super) struct Ipv4Index {
    roots: Vec<Root>,
    lines: Vec<Line>,
    /// The first address of each segment; the first segment starts at 0.
    starts: Vec<u32>,
    /// The innermost node of each segment, or [`NONE`].
    innermost: Vec<u32>,
    nodes: Vec<Node>,
    /// The block numbers of all nodes, concatenated.
    node_blocks: Vec<u32>,
}

/// The lines of one /16.
#[derive(Clone, Copy, Debug)]
struct Root {
    first_line: u32,
    /// A line covers 2^shift addresses.
    shift: u32,
}

/// The segments of a part of a /16.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Line {
    /// The segment of the first address, or [`DENSE`](Self::DENSE) if the segments do not fit into the line.
    first_segment: u32,
    /// Bit `n` is set if segment `first_segment + n` lies in a block.
    covered: u32,
    /// The number of segments that start after the first address.
    count: u32,
    /// The low 16 bits of the starts of these segments. Unused elements are 0xffff.
    pub(super) starts: [u16; LINE_STARTS],
}

/// The part of [`Ipv4Index`] that finds the segment of an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineTable<'a> {
    roots: &'a [Root],
    lines: &'a [Line],
}

/// A CIDR block, with the blocks of the snapshot that equal it or whose range was split into it and others.
#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    blocks_start: u32,
    blocks_end: u32,
}

const NONE: u32 = u32::MAX;

/// The number of starts in a line: with the three words before them they fill 64 bytes.
pub(super) const LINE_STARTS: usize = 26;

impl Line {
    /// Segment numbers from here on mark a dense line. The value leaves room for the offset that is added to it.
    const DENSE: u32 = u32::MAX - LINE_STARTS as u32;
}

const _: () = assert!(size_of::<Line>() == 64);

impl Ipv4Index {
    /// Builds the structure over blocks that are sorted by first address, then by descending last address.
    pub(super) fn new(blocks: &[BlockRow]) -> Self {
        let mut index = Self {
            roots: Vec::new(),
            lines: Vec::new(),
            starts: Vec::new(),
            innermost: Vec::new(),
            nodes: Vec::new(),
            node_blocks: Vec::with_capacity(blocks.len()),
        };
        if blocks.is_empty() {
            return index;
        }
        let mut pieces: Vec<(Ipv4Block, u32)> = Vec::with_capacity(blocks.len());
        for (block, number) in blocks.iter().zip(0..) {
            if let Some(block) = Ipv4Block::new(block.first.get().into(), block.last.get().into()) {
                pieces.extend(block.cidr_blocks().map(|piece| (piece, number)));
            }
        }
        pieces.sort_unstable();
        index.build_tree(&pieces);
        index.build_lines();
        index
    }

    /// Returns whether there is no block.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Finds the addresses that may lie in a block, and prefetches the data that
    /// [`for_each_block`](Self::for_each_block) will read. `found` is set to the row of each address and its segment,
    /// as passed to `for_each_block`.
    pub(super) fn segments(&self, addresses: &[[u8; 4]], found: &mut Vec<(u32, u32)>) {
        found.clear();
        if self.is_empty() {
            return;
        }
        found.resize(addresses.len(), (0, 0));
        let count = Kernel::fastest().segments(self.lines(), addresses, found);
        found.truncate(count);
        // Each pass prefetches the addresses that the previous pass computed.
        let innermost = |segment: u32| self.innermost.get(segment as usize).copied().unwrap_or(NONE) as usize;
        found.iter().for_each(|&(_, segment)| prefetch(&self.innermost, segment as usize));
        found.iter().for_each(|&(_, segment)| prefetch(&self.nodes, innermost(segment)));
        for &(_, segment) in &*found {
            if let Some(node) = self.nodes.get(innermost(segment)) {
                prefetch(&self.node_blocks, node.blocks_start as usize);
            }
        }
    }

    /// Calls `found` with the number of every block that contains the address, the innermost first. Each range is
    /// reported once.
    #[inline]
    pub(super) fn search(&self, address: Ipv4Addr, found: impl FnMut(usize)) {
        if let Some(segment) = self.lines().segment_of(address.into(), kernel::starts_until) {
            self.for_each_block(address, segment, found);
        }
    }

    /// Does the same as [`search`](Self::search) for an address whose segment is known.
    #[inline]
    pub(super) fn for_each_block(&self, address: Ipv4Addr, segment: u32, mut found: impl FnMut(usize)) {
        let segment = match segment {
            Line::DENSE.. => self.starts.partition_point(|&start| start <= u32::from(address)) - 1,
            segment => segment as usize,
        };
        let mut node = self.innermost[segment];
        while let Some(&Node { parent, blocks_start, blocks_end }) = self.nodes.get(node as usize) {
            for &block in &self.node_blocks[blocks_start as usize..blocks_end as usize] {
                found(block as usize);
            }
            node = parent;
        }
    }

    fn lines(&self) -> LineTable<'_> {
        LineTable { roots: &self.roots, lines: &self.lines }
    }

    /// Creates a node for each distinct CIDR block, links the nodes to their parents, and splits the address space into
    /// segments.
    fn build_tree(&mut self, pieces: &[(Ipv4Block, u32)]) {
        // The nodes that contain the current address, the outermost first, with their last addresses.
        let mut open: Vec<(u32, u32)> = Vec::new();
        self.start_segment(0, NONE);
        for group in pieces.chunk_by(|a, b| a.0 == b.0) {
            let (first, last) = (u32::from(group[0].0.first()), u32::from(group[0].0.last()));
            self.close_until(&mut open, Some(first));
            let number = self.nodes.len() as u32;
            let blocks_start = self.node_blocks.len() as u32;
            self.node_blocks.extend(group.iter().map(|&(_, block)| block));
            self.nodes.push(Node {
                parent: open.last().map_or(NONE, |&(node, _)| node),
                blocks_start,
                blocks_end: self.node_blocks.len() as u32,
            });
            self.start_segment(first, number);
            open.push((number, last));
        }
        self.close_until(&mut open, None);
    }

    /// Closes the nodes that end before an address, or all nodes.
    fn close_until(&mut self, open: &mut Vec<(u32, u32)>, address: Option<u32>) {
        while let Some(&(_, last)) = open.last()
            && address.is_none_or(|address| last < address)
        {
            open.pop();
            if let Some(next) = last.checked_add(1) {
                self.start_segment(next, open.last().map_or(NONE, |&(node, _)| node));
            }
        }
    }

    fn start_segment(&mut self, start: u32, node: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.innermost.pop();
        }
        // Adjacent segments with the same innermost block are merged.
        if self.innermost.last() != Some(&node) {
            self.starts.push(start);
            self.innermost.push(node);
        }
    }

    fn build_lines(&mut self) {
        self.roots.reserve_exact(1 << 16);
        // The first segment that starts after the current address.
        let mut next = 1;
        for top in 0..1u32 << 16 {
            let first = top << 16;
            let in_root = self.starts[next..].iter().take_while(|&&start| start >> 16 == top).count();
            // A segment that starts at the first address of the /16 counts as its initial segment.
            let shift = self.line_shift(&self.starts[next..next + in_root]);
            self.roots.push(Root { first_line: self.lines.len() as u32, shift });
            for part in 0..1u32 << (16 - shift) {
                let line_first = first + (part << shift);
                let line_last = line_first + ((1 << shift) - 1);
                while self.starts.get(next).is_some_and(|&start| start <= line_first) {
                    next += 1;
                }
                let begin = next;
                while self.starts.get(next).is_some_and(|&start| start <= line_last) {
                    next += 1;
                }
                let line = self.line(begin, next);
                self.lines.push(line);
            }
        }
    }

    /// Returns the number of addresses, as a power of two, that each line of a /16 covers: the largest for which the
    /// segments fit. The number of lines is limited to a quarter of the segments, so that a hostile list cannot use
    /// excessive memory.
    fn line_shift(&self, starts: &[u32]) -> u32 {
        let most_lines = (starts.len() / 4).max(1).ilog2();
        let fits =
            |shift: u32| starts.chunk_by(|a, b| a >> shift == b >> shift).all(|in_line| in_line.len() <= LINE_STARTS);
        (16 - most_lines.min(16)..=16).rev().find(|&shift| fits(shift)).unwrap_or(16 - most_lines.min(16))
    }

    /// Builds the line over the segments `begin..end` and the segment before them.
    fn line(&self, begin: usize, end: usize) -> Line {
        let mut line =
            Line { first_segment: Line::DENSE, covered: !0, count: u32::MAX, starts: [u16::MAX; LINE_STARTS] };
        if end - begin <= LINE_STARTS {
            (line.first_segment, line.covered, line.count) = (begin as u32 - 1, 0, (end - begin) as u32);
            for (slot, &start) in line.starts.iter_mut().zip(&self.starts[begin..end]) {
                *slot = start as u16;
            }
            for (bit, &node) in self.innermost[begin - 1..end].iter().enumerate() {
                line.covered |= u32::from(node != NONE) << bit;
            }
        }
        line
    }
}

impl LineTable<'_> {
    /// Writes the addresses that may lie in a block to `found`, as described at [`Ipv4Index::segments`], and returns
    /// their number. `found` must be at least as long as `addresses`.
    #[inline(always)]
    pub(super) fn run(
        &self,
        addresses: &[[u8; 4]],
        found: &mut [(u32, u32)],
        starts_until: impl Fn(&Line, u16) -> u32,
    ) -> usize {
        let found = &mut found[..addresses.len()];
        addresses.iter().take(PREFETCH_KEYS).for_each(|&address| self.prefetch(address));
        let mut count = 0;
        for (row, &address) in addresses.iter().enumerate() {
            if let Some(&ahead) = addresses.get(row + PREFETCH_KEYS) {
                self.prefetch(ahead);
            }
            let address = u32::from_be_bytes(address);
            let line = &self.lines[self.line_of(address)];
            let (segment, covered) = line.segment_of(address, &starts_until);
            found[count] = (row as u32, segment);
            count += usize::from(covered);
        }
        count
    }

    /// Returns the segment of an address if it may lie in a block.
    #[inline]
    fn segment_of(&self, address: u32, starts_until: impl Fn(&Line, u16) -> u32) -> Option<u32> {
        let line = self.lines.get(self.roots.get((address >> 16) as usize)?.line_of(address))?;
        let (segment, covered) = line.segment_of(address, starts_until);
        covered.then_some(segment)
    }

    #[inline(always)]
    fn prefetch(&self, address: [u8; 4]) {
        prefetch(self.lines, self.line_of(u32::from_be_bytes(address)));
    }

    #[inline(always)]
    fn line_of(&self, address: u32) -> usize {
        self.roots[(address >> 16) as usize].line_of(address)
    }
}

impl Root {
    #[inline(always)]
    fn line_of(&self, address: u32) -> usize {
        (self.first_line + ((address & 0xffff) >> self.shift)) as usize
    }
}

impl Line {
    /// Returns the segment of an address of this line, and whether it may lie in a block.
    #[inline(always)]
    fn segment_of(&self, address: u32, starts_until: impl Fn(&Self, u16) -> u32) -> (u32, bool) {
        // Unused starts are 0xffff, which only the last address matches; hence the limit.
        let offset = starts_until(self, address as u16).min(self.count);
        (self.first_segment + offset, self.covered >> offset & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index_of(blocks: &mut Vec<Ipv4Block>) -> Ipv4Index {
        blocks.sort();
        blocks.dedup();
        let rows: Vec<BlockRow> = blocks
            .iter()
            .map(|b| BlockRow { first: u32::from(b.first()).into(), last: u32::from(b.last()).into() })
            .collect();
        Ipv4Index::new(&rows)
    }

    fn check(blocks: &mut Vec<Ipv4Block>, addresses: impl Iterator<Item = u32> + Clone) {
        let index = index_of(blocks);
        assert_kernels_agree(&index, addresses.clone());
        for address in addresses.map(Ipv4Addr::from) {
            let mut found = Vec::new();
            index.search(address, |block| found.push(block));
            found.sort_unstable();
            let expected: Vec<usize> =
                blocks.iter().enumerate().filter(|(_, b)| b.contains(address)).map(|(n, _)| n).collect();
            assert_eq!(found, expected, "{address} in {blocks:?}");
        }
    }

    fn assert_kernels_agree(index: &Ipv4Index, addresses: impl Iterator<Item = u32>) {
        if index.is_empty() {
            return;
        }
        let addresses: Vec<[u8; 4]> = addresses.map(u32::to_be_bytes).collect();
        let expected: Vec<(u32, u32)> = (0..)
            .zip(&addresses)
            .filter_map(|(row, &address)| {
                let segment = index.lines().segment_of(u32::from_be_bytes(address), kernel::starts_until)?;
                Some((row, segment))
            })
            .collect();
        for kernel in kernel::all() {
            let mut found = vec![(0, 0); addresses.len()];
            let count = kernel.segments(index.lines(), &addresses, &mut found);
            assert_eq!(found[..count], expected);
        }
    }

    fn edges(blocks: &[Ipv4Block]) -> Vec<u32> {
        let ends = blocks.iter().flat_map(|b| [u32::from(b.first()), u32::from(b.last())]);
        let mut edges: Vec<u32> =
            ends.flat_map(|a| [a.wrapping_sub(1), a, a.wrapping_add(1)]).chain([0, u32::MAX]).collect();
        edges.dedup();
        edges
    }

    #[test]
    fn nested_equal_and_whole_space_blocks_are_found() {
        let mut blocks: Vec<Ipv4Block> =
            ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.1.2.3-10.1.2.9", "255.255.255.255", "0.0.0.0"]
                .map(|b| b.parse().unwrap())
                .into();
        let points = edges(&blocks);
        check(&mut blocks, points.into_iter());
        check(&mut Vec::new(), [0, 1, u32::MAX].into_iter());
    }

    #[test]
    fn dense_lines_use_binary_search() {
        // Every second address of a /22, which the permitted number of lines cannot hold.
        let mut blocks: Vec<Ipv4Block> = (0..512u32).map(|n| Ipv4Addr::from(0x0a00_0000 + n * 2).into()).collect();
        let index = index_of(&mut blocks);
        assert!(index.lines.len() < (1 << 16) + 512);
        check(&mut blocks, 0x09ff_fff0..0x0a00_0500);
        // A part so dense that its lines are marked as dense.
        let mut blocks: Vec<Ipv4Block> = (0..64u32).map(|n| Ipv4Addr::from(0x0a00_ff00 + n * 2).into()).collect();
        assert!(index_of(&mut blocks).lines.iter().any(|line| line.first_segment == Line::DENSE));
        check(&mut blocks, 0x0a00_fef0..0x0a01_0010);
    }

    proptest! {
        #[test]
        fn matches_a_linear_scan(ends in prop::collection::vec((0u32..0x4_0000, 0u32..600), 0..80), base: u16) {
            let base = u32::from(base) << 16;
            let mut blocks: Vec<Ipv4Block> = ends
                .into_iter()
                .map(|(first, length)| {
                    let first = base.wrapping_add(first);
                    Ipv4Block::new(first.into(), first.saturating_add(length).into()).unwrap()
                })
                .collect();
            let points = edges(&blocks);
            check(&mut blocks, points.into_iter());
        }
    }
}
