//! The bounded queue between the doors and the writer.

mod bounded;

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Condvar, Mutex, MutexGuard};

pub(in crate::node) use bounded::{Queue, Taken, Turned};

/// Pieces of work that may wait for the writer; a further one is refused at once (`BUSY`).
pub const QUEUE_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::bounded::Inside;
    use super::*;
    use crate::node::pressure::Pressure;
    use crate::node::writer::Work;
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
