//! When people ask: requests of each market by hour, for two weeks. Pacing plans by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::{Applied, Stamp};
use crate::types::proto::journal::v1::fact::Kind;

/// Hours that are kept: each hour of the week twice.
pub const SHAPE_HOURS: u32 = 14 * 24;

const MINUTES: u32 = 60;

/// Requests by market and hour.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shapes {
    applied: Applied,
    /// The latest hour that was counted.
    latest: u32,
    /// By country (two letters as a big-endian number; 0: not told) and hour since the epoch. There are 249
    /// countries, and the door knows no other.
    markets: BTreeMap<u32, BTreeMap<u32, u64>>,
}

impl Shapes {
    /// Returns what was applied here of each shard.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Applies a fact that touches the shapes, once. What is too old to be kept is not counted, whether it
    /// comes before the newer or after it.
    pub fn apply(&mut self, stamp: Stamp, fact: &Kind) {
        if !self.applied.advance(stamp) {
            return;
        }
        let Kind::ServedMinute(fact) = fact else { return };
        if fact.markets.is_empty() {
            return;
        }
        let hour = fact.minute / MINUTES;
        if hour > self.latest {
            self.latest = hour;
            let first = self.first();
            self.markets.retain(|_, hours| {
                *hours = hours.split_off(&first);
                !hours.is_empty()
            });
        }
        if hour < self.first() {
            return;
        }
        for row in &fact.markets {
            let hours = self.markets.entry(row.country).or_default();
            *hours.entry(hour).or_default() += u64::from(row.requests);
        }
    }

    /// Returns the requests of one market by hour since the epoch, ascending.
    pub fn of(&self, country: u32) -> impl Iterator<Item = (u32, u64)> + '_ {
        let hours = self.markets.get(&country).into_iter().flatten();
        hours.map(|(hour, requests)| (*hour, *requests))
    }

    /// Returns the markets that were counted, ascending.
    pub fn markets(&self) -> impl Iterator<Item = u32> + '_ {
        self.markets.keys().copied()
    }

    fn first(&self) -> u32 {
        self.latest.saturating_sub(SHAPE_HOURS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::{Seq, Shard};
    use crate::types::proto::journal::v1::{MarketRow, ServedMinute};
    use crate::types::time::Moment;

    fn counted(minutes: &[(u8, u32, u32)]) -> Shapes {
        let mut shapes = Shapes::default();
        for (seq, (shard, minute, requests)) in (1..).zip(minutes) {
            let markets = vec![MarketRow { country: 5, requests: *requests }];
            let fact = ServedMinute { minute: *minute, markets, ..Default::default() };
            let shard = Shard::new(*shard).expect("a shard");
            let stamp = Stamp { shard, seq: Seq(seq), at: Moment(0) };
            shapes.apply(stamp, &Kind::ServedMinute(fact));
        }
        shapes.applied = Applied::default();
        shapes
    }

    #[test]
    fn requests_are_kept_by_hour_for_two_weeks() {
        let shapes = counted(&[(0, 60, 1), (0, 119, 2), (0, 120, 4)]);
        assert_eq!(shapes.of(5).collect::<Vec<_>>(), [(1, 3), (2, 4)]);
        assert_eq!(shapes.of(6).count(), 0);
        let last = (SHAPE_HOURS + 1) * MINUTES;
        let shapes = counted(&[(0, 60, 1), (0, 120, 4), (0, last, 8)]);
        assert_eq!(shapes.of(5).collect::<Vec<_>>(), [(2, 4), (SHAPE_HOURS + 1, 8)]);
    }

    #[test]
    fn shards_may_be_applied_in_any_order() {
        let last = (SHAPE_HOURS + 1) * MINUTES;
        let minutes = [(0, 60, 1), (1, 125, 2), (2, last, 4), (3, 130, 8)];
        let mut other = minutes;
        other.reverse();
        assert_eq!(counted(&minutes), counted(&other));
    }
}
