//! Which core runs what.
//!
//! Clients are on one core and servers on another, so that both sides of a comparison have the same: a thread that the
//! kernel moves about loses its caches, and two that share a core measure the scheduler.

/// Where servers run.
pub(crate) const SERVER: usize = 0;

/// Where clients run, and whatever has no server.
pub(crate) const CLIENT: usize = 1;

/// Keeps the calling thread on one core while it lives; threads and processes that it starts meanwhile inherit that.
/// Does nothing where the system cannot, or where there is no such core.
pub(crate) struct Pinned {
    #[cfg(target_os = "linux")]
    before: Option<rustix::thread::CpuSet>,
}

impl Pinned {
    #[cfg(target_os = "linux")]
    pub(crate) fn to(core: usize) -> Self {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let mut set = CpuSet::new();
        set.set(core);
        let before = sched_getaffinity(None).ok();
        match sched_setaffinity(None, &set) {
            Ok(()) => Self { before },
            Err(_) => {
                eprintln!("  no core {core} to keep a thread on");
                Self { before: None }
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn to(_: usize) -> Self {
        Self {}
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(before) = &self.before {
            let _ = rustix::thread::sched_setaffinity(None, before);
        }
    }
}
