//! What rows share, made when the first of them wants it.

use std::sync::Arc;

use ksn::Index;

use crate::{Skip, memcached::Memcached, options::Options, redis::Redis, snapshots};

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

    /// An index of so many records. Only the last is kept: several of the large ones would not fit.
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

    /// A Redis with the records of the options.
    pub(crate) fn redis(&mut self) -> Result<&Redis, Skip> {
        match &mut self.redis {
            Some(redis) => Ok(redis),
            empty => Ok(empty.insert(Redis::start(self.options.records)?)),
        }
    }

    /// The same for memcached.
    pub(crate) fn memcached(&mut self) -> Result<&Memcached, Skip> {
        match &mut self.memcached {
            Some(memcached) => Ok(memcached),
            empty => Ok(empty.insert(Memcached::start(self.options.records)?)),
        }
    }

    /// Lets go of everything, for rows that need the memory.
    pub(crate) fn empty(&mut self) {
        (self.index, self.redis, self.memcached) = (None, None, None);
    }
}
