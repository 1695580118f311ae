//! The primitives that the coalescer synchronises its callers with: those of the standard library, and in unit tests
//! those of shuttle, which switches tasks at every use of them. The latter work only within a test that shuttle runs.

use std::sync::PoisonError;

#[cfg(test)]
pub(super) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicUsize};
#[cfg(not(test))]
pub(super) use std::sync::{Mutex, MutexGuard, atomic::AtomicUsize};

/// Locks a mutex, ignoring poison: nothing that panics runs under the locks of the coalescer.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
