//! Pinning of clients and servers to cores.
//!
//! Clients run on one core and servers on another, so that both sides of a comparison have equal conditions: a thread
//! that the kernel migrates loses its caches, and two threads on one core measure the scheduler.

/// The core of servers.
pub(crate) const SERVER: usize = 0;

/// The core of clients and of benchmarks without a server.
pub(crate) const CLIENT: usize = 1;

/// A guard that pins the calling thread to a core; threads and processes started meanwhile inherit the pinning. Does
/// nothing if the system does not support it or the core does not exist.
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
                eprintln!("  cannot pin a thread to core {core}");
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
