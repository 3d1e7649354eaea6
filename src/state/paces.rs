//! How each budget is paced: the latest numbers of its controller, as the minutes' facts tell them.

use serde::{Deserialize, Serialize};

use crate::state::{Applied, Map, Stamp};
use crate::types::proto::journal::v1::PaceRow;
use crate::types::proto::journal::v1::fact::Kind;

/// The numbers of one controller. Logarithms, the integral and predicted goal events are in 1/65,536.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pace {
    /// Minutes since the epoch when it was told.
    pub minute: u32,
    /// Natural logarithm of the multiplier, never above 0.
    pub log_mu: i32,
    /// The integral part.
    pub integral: i32,
    /// Of a cost cap: natural logarithm of the factor on it.
    pub log_cap: i32,
    /// Of a cost cap: what was promised on that day, and what came.
    pub goals: Goals,
}

/// Goal events under a cost cap: as predicted, in 1/65,536, and as they came.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Goals {
    /// Predicted of what was charged on the day.
    pub predicted: i64,
    /// Of these, those whose time to come true is over.
    pub ripe: i64,
    /// What came of the ripe ones.
    pub seen: u64,
    /// What came of all of the day's.
    pub real: u64,
    /// Ripe ones of any day: the last thousand, more or less.
    pub lately_ripe: i64,
    /// What came of those.
    pub lately_seen: u64,
}

impl Pace {
    /// Returns what a minute's row tells.
    pub const fn of(row: &PaceRow, minute: u32) -> Self {
        let PaceRow { log_mu, integral, log_cap, .. } = *row;
        let PaceRow { predicted, ripe, seen, real, lately_ripe, lately_seen, .. } = *row;
        let goals = Goals { predicted, ripe, seen, real, lately_ripe, lately_seen };
        Self { minute, log_mu, integral, log_cap, goals }
    }

    /// Returns the row that tells this of a line.
    pub const fn row(self, line: u64) -> PaceRow {
        let Self { log_mu, integral, log_cap, goals, .. } = self;
        let Goals { predicted, ripe, seen, real, lately_ripe, lately_seen } = goals;
        PaceRow {
            ad_set: line,
            log_mu,
            integral,
            log_cap,
            predicted,
            ripe,
            seen,
            real,
            lately_ripe,
            lately_seen,
        }
    }
}

/// The controllers of all budgets.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Paces {
    applied: Applied,
    /// By the id of an ad set, or of a campaign whose ad sets share its budget.
    pub lines: Map<u64, Pace>,
}

impl Paces {
    /// Returns what was applied here of each shard.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Applies a fact that touches the paces, once. A line's rows all stand in one shard, so the last one
    /// counts.
    pub fn apply(&mut self, stamp: Stamp, fact: &Kind) {
        if !self.applied.advance(stamp) {
            return;
        }
        if let Kind::ServedMinute(fact) = fact {
            let paces = fact.paces.iter().map(|row| (row.ad_set, Pace::of(row, fact.minute)));
            self.lines.extend(paces);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::{Seq, Shard};
    use crate::types::proto::journal::v1::ServedMinute;
    use crate::types::time::Moment;

    const GOALS: Goals =
        Goals { predicted: 6, ripe: 5, seen: 4, real: 3, lately_ripe: 2, lately_seen: 1 };

    #[test]
    fn the_last_row_of_a_line_counts_and_a_fact_counts_once() {
        let mut paces = Paces::default();
        let mut apply = |seq, minute, log_mu| {
            let pace = Pace { log_mu, integral: 3, goals: GOALS, ..Pace::default() };
            let fact = ServedMinute { minute, paces: vec![pace.row(7)], ..Default::default() };
            let shard = Shard::new(1).expect("a shard");
            let stamp = Stamp { shard, seq: Seq(seq), at: Moment(0) };
            paces.apply(stamp, &Kind::ServedMinute(fact));
            paces.lines[&7]
        };
        apply(1, 60, -100);
        let last = Pace { minute: 61, log_mu: -200, integral: 3, log_cap: 0, goals: GOALS };
        assert_eq!(apply(2, 61, -200), last);
        assert_eq!(apply(1, 60, -100), last, "again");
    }
}
