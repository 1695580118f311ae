//! A few futures polled together.

use std::{future::poll_fn, pin::Pin, task::Poll};

/// Futures of which the first to complete is returned first. All are polled whenever one wakes, which for a few futures
/// costs less than a list of wakers.
pub(super) struct InFlight<F>(Vec<Pin<Box<F>>>);

impl<F: Future> InFlight<F> {
    /// Creates it without futures, and without an allocation.
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn push(&mut self, future: F) {
        self.0.push(Box::pin(future));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the output of the first future that is ready; `None` when there are no futures.
    pub(super) async fn next(&mut self) -> Option<F::Output> {
        poll_fn(|context| {
            if self.0.is_empty() {
                return Poll::Ready(None);
            }
            for at in 0..self.0.len() {
                if let Poll::Ready(output) = self.0[at].as_mut().poll(context) {
                    drop(self.0.swap_remove(at));
                    return Poll::Ready(Some(output));
                }
            }
            Poll::Pending
        })
        .await
    }
}
