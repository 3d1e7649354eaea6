//! The bounded queue between the doors and the writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::node::live::locked;
use crate::node::writer::Work;

/// Pieces of work that may wait for the writer; a further one is refused at once (`BUSY`).
pub const QUEUE_MAX: usize = 4_096;

/// Pieces of work that one round takes at the most.
const ROUND_MAX: usize = 1_024;

#[derive(Default)]
struct Inside {
    work: VecDeque<Work>,
    woken: bool,
    closed: bool,
}

/// Why a piece of work was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::node) enum Turned {
    /// Too many wait.
    Full,
    /// The node is stopping.
    Closed,
}

/// A bounded queue with one reader, who sleeps when there is nothing to do.
#[derive(Default)]
pub(in crate::node) struct Queue {
    inside: Mutex<Inside>,
    wake: Condvar,
}

impl Queue {
    /// Puts work in, or turns it away at once.
    pub(in crate::node) fn push(&self, work: Work) -> Result<(), Turned> {
        let mut inside = locked(&self.inside);
        if inside.closed {
            return Err(Turned::Closed);
        }
        if inside.work.len() >= QUEUE_MAX {
            return Err(Turned::Full);
        }
        inside.work.push_back(work);
        drop(inside);
        self.wake.notify_one();
        Ok(())
    }

    /// Puts in work of the node's own, of which there is never much. A closed queue takes it no more.
    pub(in crate::node) fn put(&self, work: Work) {
        let mut inside = locked(&self.inside);
        if !inside.closed {
            inside.work.push_back(work);
        }
        drop(inside);
        self.wake.notify_one();
    }

    /// Wakes the reader though there may be no work.
    pub(in crate::node) fn nudge(&self) {
        locked(&self.inside).woken = true;
        self.wake.notify_one();
    }

    /// Takes no more work. What waits is still done.
    pub(in crate::node) fn close(&self) {
        locked(&self.inside).closed = true;
        self.wake.notify_one();
    }

    /// Returns what waits, none if `take` says so, and whether the queue is closed and empty. Sleeps until
    /// there is something to do, at most for the patience given.
    pub(in crate::node) fn next(&self, take: bool, patience: Duration) -> (Vec<Work>, bool) {
        let inside = locked(&self.inside);
        let idle = |inside: &mut Inside| {
            !inside.woken && !inside.closed && (!take || inside.work.is_empty())
        };
        let waited = self.wake.wait_timeout_while(inside, patience, idle);
        let (mut inside, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inside.woken = false;
        let count = if take { inside.work.len().min(ROUND_MAX) } else { 0 };
        let work = inside.work.drain(..count).collect();
        (work, inside.closed && inside.work.is_empty())
    }
}
