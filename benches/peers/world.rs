//! Resources shared by rows, created on first use.

use std::sync::Arc;

use ksn::Index;

use crate::{Skip, memcached::Memcached, options::Options, redis::Redis, snapshots};

/// The options and the shared resources.
pub(crate) struct World {
    pub(crate) options: Options,
    index: Option<(u64, Arc<Index>)>,
    redis: Option<Redis>,
    memcached: Option<Memcached>,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, index: None, redis: None, memcached: None }
    }

    /// Returns an index of `records` records. Only the last one is kept, as several large ones would not fit into
    /// memory.
    pub(crate) fn index(&mut self, records: u64) -> Result<Arc<Index>, Skip> {
        if let Some((kept, index)) = &self.index
            && *kept == records
        {
            return Ok(index.clone());
        }
        self.index = None;
        let index = snapshots::open(&snapshots::digests(records)?)?;
        self.index = Some((records, index.clone()));
        Ok(index)
    }

    /// Returns a Redis with the default number of records.
    pub(crate) fn redis(&mut self) -> Result<&Redis, Skip> {
        match &mut self.redis {
            Some(redis) => Ok(redis),
            none => Ok(none.insert(Redis::start(self.options.records)?)),
        }
    }

    /// Returns a memcached with the default number of records.
    pub(crate) fn memcached(&mut self) -> Result<&Memcached, Skip> {
        match &mut self.memcached {
            Some(memcached) => Ok(memcached),
            none => Ok(none.insert(Memcached::start(self.options.records)?)),
        }
    }

    /// Releases all resources, for rows that need the memory.
    pub(crate) fn clear(&mut self) {
        (self.index, self.redis, self.memcached) = (None, None, None);
    }
}
