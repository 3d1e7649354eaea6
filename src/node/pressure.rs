//! How far the writer is behind, for doors that refuse work before they read it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::node::queue::{QUEUE_MAX, Queue};
use crate::types::ids::BatchNo;

/// How much waits for the writer and the disk at a moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pressure {
    /// Pieces of work in the writer's queue, of [`crate::node::QUEUE_MAX`].
    pub waiting: usize,
    /// How long the oldest piece of work has waited that is not durable yet. Zero: there is none.
    pub lag: Duration,
}

impl Pressure {
    /// Tells whether an event that came now would be turned away, or would hardly be durable within this time: then
    /// nothing is lost by refusing it unread. Whatever is worth less than events is long refused by then.
    pub fn bars_events(self, patience: Duration) -> bool {
        self.waiting >= QUEUE_MAX || self.lag >= patience
    }
}

/// Reads the pressure of a node: two loads, no lock. Cheap to clone.
#[derive(Clone)]
pub struct Gauge(Option<Arc<Queue>>);

impl Gauge {
    /// Returns the gauge of a door without a node, at which nothing ever waits.
    pub const fn of_nothing() -> Self {
        Self(None)
    }

    pub(in crate::node) fn of(queue: &Arc<Queue>) -> Self {
        Self(Some(Arc::clone(queue)))
    }

    /// Returns how much waits now.
    pub fn read(&self) -> Pressure {
        self.0.as_ref().map(|queue| queue.pressure()).unwrap_or_default()
    }

    /// Returns how many pieces of work wait for the writer now.
    pub fn waiting(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.waiting())
    }
}

/// Since when rounds of the writer wait for the disk.
#[derive(Debug, Default)]
pub(in crate::node) struct Unacknowledged {
    /// The last batch of a round, and when the oldest piece of its work came; in the order of the rounds.
    rounds: VecDeque<(BatchNo, Duration)>,
}

impl Unacknowledged {
    /// Notes a round whose work ends in the batch `head`; `came`: its oldest piece, if it had any. Returns
    /// since when the oldest piece waits that is not durable.
    pub(in crate::node) fn note(
        &mut self,
        came: Option<Duration>,
        head: BatchNo,
        durable: BatchNo,
    ) -> Option<Duration> {
        if let Some(came) = came {
            match self.rounds.back_mut() {
                // Rounds that wait for one batch are one.
                Some((batch, since)) if *batch == head => *since = came.min(*since),
                _ => self.rounds.push_back((head, came)),
            }
        }
        while self.rounds.pop_front_if(|(batch, _)| *batch <= durable).is_some() {}
        self.rounds.iter().map(|(_, came)| *came).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn work_waits_from_its_coming_until_its_batch_is_durable() {
        let mut rounds = Unacknowledged::default();
        assert_eq!(rounds.note(None, BatchNo(4), BatchNo(4)), None, "nothing came");
        assert_eq!(rounds.note(Some(s(1)), BatchNo(5), BatchNo(4)), Some(s(1)));
        assert_eq!(rounds.note(Some(s(2)), BatchNo(6), BatchNo(4)), Some(s(1)));
        assert_eq!(rounds.note(None, BatchNo(6), BatchNo(5)), Some(s(2)), "the first is done");
        assert_eq!(rounds.note(None, BatchNo(6), BatchNo(6)), None);
    }

    #[test]
    fn rounds_of_one_batch_wait_for_it_together() {
        let mut rounds = Unacknowledged::default();
        // Work that writes nothing waits for the batch before it.
        rounds.note(Some(s(3)), BatchNo(5), BatchNo(4));
        assert_eq!(rounds.note(Some(s(7)), BatchNo(5), BatchNo(4)), Some(s(3)));
        assert_eq!(rounds.rounds.len(), 1, "a stuck disk keeps no list of rounds");
        assert_eq!(rounds.note(None, BatchNo(5), BatchNo(5)), None);
    }

    #[test]
    fn what_is_durable_already_waits_for_nothing() {
        let mut rounds = Unacknowledged::default();
        assert_eq!(rounds.note(Some(s(1)), BatchNo(4), BatchNo(4)), None);
    }

    #[test]
    fn events_are_barred_when_the_queue_is_full_or_the_disk_is_later_than_they_may_be() {
        let bars = |waiting, lag| Pressure { waiting, lag }.bars_events(s(5));
        assert!(!bars(QUEUE_MAX - 1, s(5) - Duration::from_nanos(1)));
        assert!(bars(QUEUE_MAX, Duration::ZERO));
        assert!(bars(0, s(5)));
    }

    #[test]
    fn a_door_without_a_node_is_under_no_pressure() {
        assert_eq!(Gauge::of_nothing().read(), Pressure::default());
        assert_eq!(Gauge::of_nothing().waiting(), 0);
    }
}
