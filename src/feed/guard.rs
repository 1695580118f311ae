//! Guards: names and blocks that make poor indicators, whoever lists them.

use std::io::Read;

use super::FeedError;
use crate::key::{Indicator, Ipv4Block};

/// What keeps bad records out.
#[derive(Debug, Default)]
pub struct Guards {}

/// What a list of guards came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardReport {
    /// Entries taken.
    pub entries: u64,
    /// Entries that no guard can be made of (regular expressions, substrings, IPv6).
    pub unsupported: u64,
    /// Entries that could not be read.
    pub rejected: u64,
}

impl Guards {
    /// Reads a list of guards.
    pub fn read(&mut self, _input: impl Read, _name: &str) -> Result<GuardReport, FeedError> {
        Ok(GuardReport::default())
    }

    /// Guards exactly this name (no subdomains). `false` when it is none.
    pub(crate) fn add_exact(&mut self, _name: &str) -> bool {
        true
    }

    /// Guards this name with its subdomains. `false` when it is none.
    pub(crate) fn add_hostname(&mut self, _name: &str) -> bool {
        true
    }

    /// Guards the addresses of a block.
    pub(crate) fn add_block(&mut self, _block: Ipv4Block) {}

    /// Why the indicator is guarded; `None` when it is not.
    pub(super) fn guards(&self, _indicator: &Indicator) -> Option<&'static str> {
        None
    }
}
