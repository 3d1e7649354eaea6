//! What feeds asked for, what they got, and why slots stayed empty.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::{Applied, Stamp};
use crate::types::proto::journal::v1::FeedRow;
use crate::types::proto::journal::v1::fact::Kind;

/// One hour of one feed and placement.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct FeedHour {
    /// Trays asked for.
    pub requests: u64,
    /// Slots filled with an ad.
    pub served: u64,
    /// Slots left empty, by reason (`munadi.v1.NoAdReason`).
    pub empty: BTreeMap<u32, u64>,
}

/// The counts of all feeds.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Feeds {
    applied: Applied,
    /// By feed, placement (`munadi.v1.Placement`) and hour since the epoch.
    pub hours: BTreeMap<(u32, i32, u32), FeedHour>,
}

impl Feeds {
    /// Returns what was applied here of each shard.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Applies a fact that touches the feeds, once.
    pub fn apply(&mut self, stamp: Stamp, fact: &Kind) {
        if !self.applied.advance(stamp) {
            return;
        }
        if let Kind::ServedMinute(fact) = fact {
            fact.feeds.iter().for_each(|row| self.count(row, fact.minute / 60));
        }
    }

    fn count(&mut self, row: &FeedRow, hour: u32) {
        let known = self.hours.entry((row.feed, row.placement, hour)).or_default();
        known.requests += u64::from(row.requests);
        known.served += u64::from(row.served);
        for empty in &row.empty {
            *known.empty.entry(empty.reason).or_default() += u64::from(empty.count);
        }
    }
}
