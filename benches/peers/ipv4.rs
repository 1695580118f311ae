//! A million IPv4 blocks, and addresses to look up.
//!
//! The address space is split into parts of 4,096 addresses; the first million hold one block each at a pseudo-random
//! position: eight in ten are single addresses, the others a /28 or a /24. So expected answers are known without a
//! search.

use std::net::Ipv4Addr;

use ksn::{
    batch::Column,
    key::{Indicator, Ipv4Block},
    record::{Entry, RecordSink, RecordType},
    snapshot::SnapshotBuilder,
};

use crate::{
    keys::random,
    ours::{BATCH_KEYS, Batches},
};

/// The number of blocks.
pub(crate) const BLOCKS: u64 = 1_000_000;

/// The number of addresses of a part, as a power of two.
const PART_BITS: u32 = 12;

/// Returns the block in a part.
pub(crate) fn block(part: u64) -> Ipv4Block {
    let bits = random(part);
    let address = (part as u32) << PART_BITS | (bits as u32 & ((1 << PART_BITS) - 1));
    let prefix = match (bits >> 32) % 10 {
        0..8 => 32,
        8 => 28,
        _ => 24,
    };
    Ipv4Block::containing(address.into(), prefix)
}

/// Adds a record for each block; its ID is the number of its part.
pub(crate) fn fill(builder: &mut SnapshotBuilder) {
    for part in 0..BLOCKS {
        builder.add(
            0,
            Entry {
                indicator: Indicator::Ipv4(block(part)),
                id: part,
                record_type: RecordType::Abuse,
                name: "Abuse.Example",
                source: "benchmark",
                timestamp: None,
                expiry: None,
                port: None,
            },
        );
    }
}

/// Addresses to look up, with the expected answers.
pub(crate) struct Addresses {
    pub(crate) bytes: Vec<[u8; 4]>,
    /// The row and the part of each address that lies in a block.
    pub(crate) listed: Vec<(u32, u64)>,
}

impl Batches for Addresses {
    fn batch(&self, number: usize) -> Option<Column<'_>> {
        self.bytes.chunks(BATCH_KEYS).nth(number).map(Column::Ipv4)
    }
}

/// A generator of addresses: a tenth or none of them from blocks, the others from the whole address space.
pub(crate) struct DrawAddresses {
    with_hits: bool,
    drawn: u64,
}

impl DrawAddresses {
    pub(crate) fn new(with_hits: bool) -> Self {
        Self { with_hits, drawn: 0 }
    }

    pub(crate) fn burst(&mut self, keys: u64) -> Addresses {
        let mut burst = Addresses { bytes: Vec::with_capacity(keys as usize), listed: Vec::new() };
        while burst.bytes.len() < keys as usize {
            let number = self.drawn;
            self.drawn += 1;
            let look = random(number ^ 0xadd7);
            let from_block = self.with_hits && look.is_multiple_of(10);
            let address = if from_block {
                let block = block(number.wrapping_mul(STRIDE) % BLOCKS);
                u32::from(block.first()) + (look >> 32) as u32 % block.addresses() as u32
            } else {
                // The factor is odd: no address repeats before all have occurred.
                (number as u32).wrapping_mul(0x9e37_79b1)
            };
            let part = u64::from(address >> PART_BITS);
            let listed = part < BLOCKS && block(part).contains(Ipv4Addr::from(address));
            if listed && !from_block && !self.with_hits {
                continue;
            }
            if listed {
                burst.listed.push((burst.bytes.len() as u32, part));
            }
            burst.bytes.push(address.to_be_bytes());
        }
        burst
    }
}

/// The step through the parts, coprime to their number.
const STRIDE: u64 = 618_033;
