//! The primitives that the coalescer synchronises its callers with.

use std::sync::PoisonError;

pub(super) use std::sync::{Mutex, MutexGuard, atomic::AtomicUsize};

/// Locks a mutex, ignoring poison: nothing that panics runs under the locks of the coalescer.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
