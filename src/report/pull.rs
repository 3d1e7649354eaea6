//! The attribution stream: credits of all shards in the order of minute, shard and sequence.

use crate::state::credit::Credit;
use crate::types::ids::{SHARDS, Seq, SeqVector};
use crate::types::proto::v1::AttributionRow;
use crate::types::time::{MINUTE_MS, Moment};

/// One page of the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulled {
    /// Rows that the caller may see, in order.
    pub rows: Vec<AttributionRow>,
    /// Stands behind everything that was looked at.
    pub cursor: SeqVector,
    /// Whether there is more before the end.
    pub more: bool,
}

/// Returns the credits of one shard that a pull may send: behind the cursor, in minutes that are closed.
pub fn after(credits: impl Iterator<Item = Credit>, from: Seq, end: Moment) -> Vec<Credit> {
    credits.filter(|credit| credit.seq > from.0 && credit.at_ms < end.0).collect()
}

/// Returns the first moment of the minute that is still open: nothing before it is added any more.
pub fn closed_before(now: Moment) -> Moment {
    Moment(now.0 - now.0.rem_euclid(MINUTE_MS))
}

/// Merges the shards' credits, by shard, into one page of at most `limit` rows that `sees` lets through.
pub fn merge(
    shards: Vec<Vec<Credit>>,
    cursor: &SeqVector,
    limit: usize,
    sees: impl Fn(u64) -> bool,
) -> Pulled {
    let mut all: Vec<_> = (0..SHARDS)
        .zip(shards)
        .flat_map(|(shard, credits)| credits.into_iter().map(move |credit| (shard, credit)))
        .collect();
    all.sort_by_key(|(shard, credit)| (Moment(credit.at_ms).minute(), *shard, credit.seq));
    let mut pulled = Pulled { rows: Vec::new(), cursor: cursor.clone(), more: false };
    for (shard, credit) in all {
        if pulled.rows.len() == limit {
            pulled.more = true;
            break;
        }
        pulled.cursor.0[shard] = Seq(credit.seq);
        if sees(credit.row.account_id) {
            pulled.rows.push(credit.row);
        }
    }
    pulled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credit(seq: u64, minute: i64) -> Credit {
        let row = AttributionRow { outcome_id: seq, ..AttributionRow::default() };
        Credit { seq, at_ms: minute * MINUTE_MS + 7, row }
    }

    fn shards() -> Vec<Vec<Credit>> {
        vec![vec![credit(1, 0), credit(2, 2)], vec![credit(11, 0), credit(12, 1), credit(13, 2)]]
    }

    #[test]
    fn rows_come_by_minute_then_shard_then_sequence() {
        let pulled = merge(shards(), &SeqVector::default(), 100, |_| true);
        let ids: Vec<_> = pulled.rows.iter().map(|row| row.outcome_id).collect();
        assert_eq!(ids, [1, 11, 12, 2, 13]);
        assert!(!pulled.more);
    }

    #[test]
    fn pages_joined_are_the_whole() {
        let whole = merge(shards(), &SeqVector::default(), 100, |_| true);
        for limit in 1..6 {
            let (mut cursor, mut rows) = (SeqVector::default(), Vec::new());
            loop {
                let left = (0..).zip(shards()).map(|(shard, credits): (usize, _)| {
                    after(credits.into_iter(), cursor.0[shard], Moment(i64::MAX))
                });
                let page = merge(left.collect(), &cursor, limit, |_| true);
                rows.extend(page.rows);
                cursor = page.cursor;
                if !page.more {
                    break;
                }
            }
            assert_eq!(rows, whole.rows, "pages of {limit}");
        }
    }

    #[test]
    fn an_open_minute_is_not_sent() {
        let end = closed_before(Moment(2 * MINUTE_MS + 30_000));
        assert_eq!(after(shards()[0].clone().into_iter(), Seq(0), end).len(), 1);
    }
}
