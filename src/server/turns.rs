//! Turns: which batch may work next on the core of a worker.
//!
//! The work of a batch is done in slices, each within one turn. Turns go round by connection, and within a connection
//! by batch: a peer with many batches, or with heavy ones, delays another by one slice, not by all of its work. Between
//! two turns the other tasks of the worker run, so that packets are received and sent.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The turns of one worker.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whether a turn is taken.
    taken: bool,
    /// The connections with batches that wait, in the order of their turns.
    connections: VecDeque<usize>,
    /// The batches that wait, by connection.
    waiting: HashMap<usize, VecDeque<oneshot::Sender<Turn>>>,
}

/// The right to work until it is dropped; then the next batch has its turn.
#[derive(Debug)]
pub(super) struct Turn {
    /// `None` once it was passed on.
    turns: Option<Arc<Turns>>,
}

impl Turns {
    /// Waits for the next turn of a batch of this connection. Dropping the future gives up the place.
    pub(super) async fn next(self: &Arc<Self>, connection: usize) -> Turn {
        match self.join(connection) {
            Ok(turn) => turn,
            // Every sender in the queue is granted a turn: a turn that is dropped passes on.
            Err(granted) => granted.await.expect("a turn"),
        }
    }

    /// Takes the turn if nobody has it, else queues for it.
    fn join(self: &Arc<Self>, connection: usize) -> Result<Turn, oneshot::Receiver<Turn>> {
        let mut queue = self.lock();
        if !queue.taken {
            queue.taken = true;
            return Ok(Turn { turns: Some(self.clone()) });
        }
        let (grant, granted) = oneshot::channel();
        let own = queue.waiting.entry(connection).or_default();
        own.push_back(grant);
        if own.len() == 1 {
            queue.connections.push_back(connection);
        }
        Err(granted)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that panics runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Removes and returns the batch that is next.
    fn pop(&mut self) -> Option<oneshot::Sender<Turn>> {
        let connection = self.connections.pop_front()?;
        let own = self.waiting.get_mut(&connection)?;
        let next = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&connection);
        } else {
            self.connections.push_back(connection);
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.turns.take() else { return };
        loop {
            let next = {
                let mut queue = turns.lock();
                let next = queue.pop();
                queue.taken = next.is_some();
                next
            };
            let Some(grant) = next else { return };
            match grant.send(Turn { turns: Some(turns.clone()) }) {
                Ok(()) => return,
                // That batch has given up. Its turn must not pass itself on from within this loop.
                Err(mut turn) => turn.turns = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Queues a batch of a connection, and returns what completes with its turn.
    fn queue(turns: &Arc<Turns>, connection: usize) -> oneshot::Receiver<Turn> {
        turns.join(connection).expect_err("a turn is taken")
    }

    #[tokio::test]
    async fn turns_go_round_by_connection() {
        let turns = Arc::new(Turns::default());
        let mut turn = turns.next(0).await;
        let mut waiting: Vec<(usize, usize, oneshot::Receiver<Turn>)> = Vec::new();
        for (connection, batches) in [(1, 4), (2, 1), (3, 2)] {
            waiting.extend((0..batches).map(|batch| (connection, batch, queue(&turns, connection))));
        }
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(turn);
            let at = waiting.iter_mut().position(|(.., granted)| !granted.is_empty()).expect("a turn was granted");
            let (connection, batch, granted) = waiting.remove(at);
            assert!(waiting.iter().all(|(.., granted)| granted.is_empty()), "two turns at once");
            turn = granted.await.unwrap();
            order.push((connection, batch));
        }
        assert_eq!(order, [(1, 0), (2, 0), (3, 0), (1, 1), (3, 1), (1, 2), (1, 3)]);
        drop(turn);
        assert!(!turns.lock().taken && turns.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn a_batch_that_gives_up_does_not_keep_the_turn() {
        let turns = Arc::new(Turns::default());
        let turn = turns.next(0).await;
        let (gone, granted_then_gone, last) = (queue(&turns, 1), queue(&turns, 2), queue(&turns, 3));
        drop(gone);
        drop(turn);
        // The second was granted the turn, and drops it without having looked.
        drop(granted_then_gone);
        drop(last.await.unwrap());
        assert!(!turns.lock().taken);
        // A future that is dropped while it waits gives up its place.
        let turn = turns.next(0).await;
        let mut waits = Box::pin(turns.next(1));
        poll_fn(|context| {
            assert!(waits.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(waits);
        drop(turn);
        assert!(!turns.lock().taken && turns.lock().connections.is_empty());
    }
}
