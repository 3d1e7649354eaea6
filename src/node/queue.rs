//! The bounded queue between the doors and the writer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::node::clock::{Clock, SystemClock};
use crate::node::live::locked;
use crate::node::pressure::Pressure;
use crate::node::writer::Work;

/// Pieces of work that may wait for the writer; a further one is refused at once (`BUSY`).
pub const QUEUE_MAX: usize = 4_096;

/// Pieces of work that one round takes at the most.
const ROUND_MAX: usize = 1_024;

#[derive(Default)]
struct Inside {
    /// Each piece with the time at which it came, by the queue's clock.
    work: VecDeque<(Duration, Work)>,
    /// Events in it. Other work counts as one.
    events: usize,
    woken: bool,
    closed: bool,
    /// Nothing more is taken for now.
    turning_away: bool,
    /// Events that the sleeping reader waits for; `None`: it is awake.
    awaited: Option<usize>,
}

impl Inside {
    /// Puts work in, and tells whether the reader is to be woken for it.
    fn add(&mut self, came: Duration, work: Work) -> bool {
        self.events += work.events();
        self.work.push_back((came, work));
        self.awaited.is_some_and(|awaited| self.events >= awaited)
    }
}

/// Why a piece of work was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::node) enum Turned {
    /// Too many wait.
    Full,
    /// The journal's disk is full.
    NoSpace,
    /// The node is stopping.
    Closed,
}

/// A bounded queue with one reader, who sleeps when there is nothing to do.
#[derive(Default)]
pub(in crate::node) struct Queue {
    inside: Mutex<Inside>,
    wake: Condvar,
    clock: SystemClock,
    /// Pieces that wait, as doors read it at every call.
    waiting: AtomicUsize,
    /// When the oldest piece came that is not acknowledged, microseconds and one. 0: there is none.
    oldest: AtomicU64,
}

/// What the reader takes for one round.
pub(in crate::node) struct Taken {
    /// The work, in the order in which it came.
    pub(in crate::node) work: Vec<Work>,
    /// When the oldest of it came.
    pub(in crate::node) came: Option<Duration>,
    /// Whether the queue is closed and empty.
    pub(in crate::node) ended: bool,
}

impl Queue {
    /// Puts work in, or turns it away at once.
    pub(in crate::node) fn push(&self, work: Work) -> Result<(), Turned> {
        let mut inside = locked(&self.inside);
        if inside.closed {
            return Err(Turned::Closed);
        }
        if inside.turning_away {
            return Err(Turned::NoSpace);
        }
        if inside.work.len() >= QUEUE_MAX {
            return Err(Turned::Full);
        }
        let wakes = inside.add(self.clock.monotonic(), work);
        self.waiting.store(inside.work.len(), Ordering::Relaxed);
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
            inside.add(self.clock.monotonic(), work);
            self.waiting.store(inside.work.len(), Ordering::Relaxed);
        }
        drop(inside);
        self.wake.notify_one();
    }

    /// Returns how many events wait.
    pub(in crate::node) fn events(&self) -> usize {
        locked(&self.inside).events
    }

    /// Wakes the reader though there may be no work.
    pub(in crate::node) fn nudge(&self) {
        locked(&self.inside).woken = true;
        self.wake.notify_one();
    }

    /// Takes no more work for now, or takes it again.
    pub(in crate::node) fn turn_away(&self, turning_away: bool) {
        locked(&self.inside).turning_away = turning_away;
    }

    /// Takes no more work. What waits is still done.
    pub(in crate::node) fn close(&self) {
        locked(&self.inside).closed = true;
        self.wake.notify_one();
    }

    /// Returns how many pieces wait.
    pub(in crate::node) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns how many pieces wait, and how long the oldest has that is not durable.
    pub(in crate::node) fn pressure(&self) -> Pressure {
        let oldest = self.oldest.load(Ordering::Relaxed);
        let since = |oldest| self.clock.monotonic().saturating_sub(Duration::from_micros(oldest));
        let lag = oldest.checked_sub(1).map(since).unwrap_or_default();
        Pressure { waiting: self.waiting(), lag }
    }

    /// Tells doors since when the oldest piece waits that left the queue and is not durable.
    pub(in crate::node) fn note_unacknowledged(&self, since: Option<Duration>) {
        // A piece in the queue came later, unless there is none before it.
        let since = since.or_else(|| locked(&self.inside).work.front().map(|(came, _)| *came));
        let micros = since.map_or(0, |since| since.as_micros() as u64 + 1);
        self.oldest.store(micros, Ordering::Relaxed);
    }

    /// Returns what waits. Sleeps until as many events wait as are
    /// worth a round now, or there is something else to do, at most for the patience given. `None`: no round
    /// may be begun, and nothing is taken.
    pub(in crate::node) fn next(&self, least: Option<usize>, patience: Duration) -> Taken {
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
        let came = inside.work.front().map(|(came, _)| *came).filter(|_| count > 0);
        let work: Vec<Work> = inside.work.drain(..count).map(|(_, work)| work).collect();
        inside.events -= work.iter().map(Work::events).sum::<usize>();
        self.waiting.store(inside.work.len(), Ordering::Relaxed);
        Taken { work, came, ended: inside.closed && inside.work.is_empty() }
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
        assert!(!inside.add(Duration::ZERO, events(9)), "it is awake");
        inside.awaited = Some(12);
        assert!(!inside.add(Duration::ZERO, events(2)));
        assert!(
            inside.add(Duration::ZERO, Work::Settle(Box::new(drop))),
            "other work counts as one"
        );
        assert!(inside.add(Duration::ZERO, events(0)));
    }

    #[test]
    fn what_waits_is_taken_when_the_reader_has_waited_long_enough_or_is_nudged() {
        let queue = Queue::default();
        queue.push(events(3)).unwrap();
        assert_eq!(queue.next(None, Duration::ZERO).work.len(), 0, "no round may be begun");
        assert_eq!(queue.next(Some(4), Duration::ZERO).work.len(), 1);
        queue.push(events(3)).unwrap();
        queue.nudge();
        assert_eq!(queue.next(Some(4), Duration::MAX).work.len(), 1);
        queue.push(events(1)).unwrap();
        queue.push(events(3)).unwrap();
        assert_eq!(
            queue.next(Some(4), Duration::MAX).work.len(),
            2,
            "enough, and none is counted twice"
        );
        queue.close();
        assert!(queue.next(Some(4), Duration::MAX).ended);
    }

    #[test]
    fn a_reader_that_sleeps_for_several_events_gets_them_together() {
        let queue = Queue::default();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| queue.next(Some(3), Duration::MAX).work.len());
            (0..3).for_each(|_| queue.push(events(1)).unwrap());
            assert_eq!(reader.join().unwrap(), 3);
        });
    }

    #[test]
    fn a_queue_tells_how_much_waits_and_for_how_long() {
        let queue = Queue::default();
        assert_eq!(queue.pressure(), Pressure::default());
        (0..3).for_each(|_| queue.push(events(1)).unwrap());
        queue.note_unacknowledged(None);
        let before = queue.pressure();
        assert_eq!(before.waiting, 3);
        let taken = queue.next(Some(1), Duration::ZERO);
        assert_eq!((taken.work.len(), queue.waiting()), (3, 0));
        queue.note_unacknowledged(taken.came);
        assert!(queue.pressure().lag >= before.lag, "it waits for the disk now");
        queue.note_unacknowledged(None);
        assert_eq!(queue.pressure(), Pressure::default(), "all is durable");
        assert_eq!(queue.next(Some(1), Duration::ZERO).came, None);
    }
}
