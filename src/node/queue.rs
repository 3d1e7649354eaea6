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
    /// Events in it. Other work counts as one.
    events: usize,
    woken: bool,
    closed: bool,
    /// Events that the sleeping reader waits for; `None`: it is awake.
    awaited: Option<usize>,
}

impl Inside {
    /// Puts work in, and tells whether the reader is to be woken for it.
    fn add(&mut self, work: Work) -> bool {
        self.events += work.events();
        self.work.push_back(work);
        self.awaited.is_some_and(|awaited| self.events >= awaited)
    }
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
        let wakes = inside.add(work);
        drop(inside);
        // Each call costs a switch to the kernel, whether or not the reader sleeps.
        if wakes {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Puts in work of the node's own, of which there is never much. A closed queue takes it no more.
    pub(in crate::node) fn put(&self, work: Work) {
        let mut inside = locked(&self.inside);
        if !inside.closed {
            inside.add(work);
        }
        drop(inside);
        self.wake.notify_one();
    }

    /// Returns how many pieces of work wait, and how many events are in them.
    pub(in crate::node) fn waiting(&self) -> (usize, usize) {
        let inside = locked(&self.inside);
        (inside.work.len(), inside.events)
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

    /// Returns what waits, and whether the queue is closed and empty. Sleeps until as many events wait as are
    /// worth a round now, or there is something else to do, at most for the patience given. `None`: no round
    /// may be begun, and nothing is taken.
    pub(in crate::node) fn next(
        &self,
        least: Option<usize>,
        patience: Duration,
    ) -> (Vec<Work>, bool) {
        let inside = locked(&self.inside);
        let idle = |inside: &mut Inside| {
            let idle =
                !inside.woken && !inside.closed && least.is_none_or(|least| inside.events < least);
            inside.awaited = least.filter(|_| idle);
            idle
        };
        let waited = self.wake.wait_timeout_while(inside, patience, idle);
        let (mut inside, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (inside.woken, inside.awaited) = (false, None);
        let count = least.map_or(0, |_| inside.work.len().min(ROUND_MAX));
        let work: Vec<Work> = inside.work.drain(..count).collect();
        inside.events -= work.iter().map(Work::events).sum::<usize>();
        (work, inside.closed && inside.work.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::request::Incoming;

    fn events(count: usize) -> Work {
        let tap = || Incoming::SourceTapped { source: 1, country: 0, at: None };
        Work::Record(std::iter::repeat_with(tap).take(count).collect(), Box::new(drop))
    }

    #[test]
    fn a_sleeping_reader_is_woken_only_for_as_many_events_as_it_waits_for() {
        let mut inside = Inside::default();
        assert!(!inside.add(events(9)), "it is awake");
        inside.awaited = Some(12);
        assert!(!inside.add(events(2)));
        assert!(inside.add(Work::Settle(Box::new(drop))), "other work counts as one");
        assert!(inside.add(events(0)));
    }

    #[test]
    fn what_waits_is_taken_when_the_reader_has_waited_long_enough_or_is_nudged() {
        let queue = Queue::default();
        queue.push(events(3)).unwrap();
        assert_eq!(queue.next(None, Duration::ZERO).0.len(), 0, "no round may be begun");
        assert_eq!(queue.next(Some(4), Duration::ZERO).0.len(), 1);
        queue.push(events(3)).unwrap();
        queue.nudge();
        assert_eq!(queue.next(Some(4), Duration::MAX).0.len(), 1);
        queue.push(events(1)).unwrap();
        queue.push(events(3)).unwrap();
        assert_eq!(
            queue.next(Some(4), Duration::MAX).0.len(),
            2,
            "enough, and none is counted twice"
        );
        queue.close();
        assert!(queue.next(Some(4), Duration::MAX).1);
    }

    #[test]
    fn a_reader_that_sleeps_for_several_events_gets_them_together() {
        let queue = Queue::default();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| queue.next(Some(3), Duration::MAX).0.len());
            (0..3).for_each(|_| queue.push(events(1)).unwrap());
            assert_eq!(reader.join().unwrap(), 3);
        });
    }
}
