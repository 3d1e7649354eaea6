//! The queue itself. Its locks are those of the file above: the machine's, or ones whose turns a test chooses.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard};
use crate::node::clock::{Clock, SystemClock};
use crate::node::pressure::Pressure;
use crate::node::queue::QUEUE_MAX;
use crate::node::writer::Work;

/// Pieces of work that one round takes at the most.
const ROUND_MAX: usize = 1_024;

#[derive(Default)]
pub(super) struct Inside {
    /// Each piece with the time at which it came, by the queue's clock.
    work: VecDeque<(Duration, Work)>,
    /// Events in it. Other work counts as one.
    events: usize,
    woken: bool,
    closed: bool,
    /// Nothing more is taken for now.
    turning_away: bool,
    /// Events that the sleeping reader waits for; `None`: it is awake.
    pub(super) awaited: Option<usize>,
}

impl Inside {
    /// Puts work in, and tells whether the reader is to be woken for it.
    pub(super) fn add(&mut self, came: Duration, work: Work) -> bool {
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
    fn locked(&self) -> MutexGuard<'_, Inside> {
        // A panic while it was locked leaves nothing half done.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts work in, or turns it away at once.
    pub(in crate::node) fn push(&self, work: Work) -> Result<(), Turned> {
        let mut inside = self.locked();
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
        let mut inside = self.locked();
        if !inside.closed {
            inside.add(self.clock.monotonic(), work);
            self.waiting.store(inside.work.len(), Ordering::Relaxed);
        }
        drop(inside);
        self.wake.notify_one();
    }

    /// Returns how many events wait.
    pub(in crate::node) fn events(&self) -> usize {
        self.locked().events
    }

    /// Wakes the reader though there may be no work.
    pub(in crate::node) fn nudge(&self) {
        self.locked().woken = true;
        self.wake.notify_one();
    }

    /// Takes no more work for now, or takes it again.
    pub(in crate::node) fn turn_away(&self, turning_away: bool) {
        self.locked().turning_away = turning_away;
    }

    /// Takes no more work. What waits is still done.
    pub(in crate::node) fn close(&self) {
        self.locked().closed = true;
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
        let since = since.or_else(|| self.locked().work.front().map(|(came, _)| *came));
        let micros = since.map_or(0, |since| since.as_micros() as u64 + 1);
        self.oldest.store(micros, Ordering::Relaxed);
    }

    /// Returns what waits. Sleeps until as many events wait as are
    /// worth a round now, or there is something else to do, at most for the patience given. `None`: no round
    /// may be begun, and nothing is taken.
    pub(in crate::node) fn next(&self, least: Option<usize>, patience: Duration) -> Taken {
        let inside = self.locked();
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
