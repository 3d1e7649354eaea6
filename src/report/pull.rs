//! The attribution stream: credits of all shards in the order of minute, shard and sequence.

use crate::state::credit::{Credit, timestamp};
use crate::types::attribution::{RULE_MODELS, split};
use crate::types::ids::{SHARDS, Seq, SeqVector};
use crate::types::proto::journal::v1::PathTouch;
use crate::types::proto::v1::{AttributionRow, AttributionWindow, TouchCredit};
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

/// One shard's part of a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardPage {
    /// Credits that the caller may see, in order: as many as a page holds, and one.
    pub credits: Vec<Credit>,
    /// The last credit of a closed minute, seen or not; 0: none behind the cursor.
    pub last: u64,
}

impl ShardPage {
    /// Returns the part of one shard: its credits behind the cursor, in minutes that are closed.
    pub fn of<'a>(
        credits: impl Iterator<Item = &'a Credit>,
        end: Moment,
        limit: usize,
        sees: impl Fn(&AttributionRow) -> bool,
    ) -> Self {
        let mut page = Self::default();
        for credit in credits.take_while(|credit| credit.at_ms < end.0) {
            if page.credits.len() > limit {
                break;
            }
            page.last = credit.seq;
            if sees(&credit.row) {
                page.credits.push(credit.clone());
            }
        }
        page
    }
}

/// Returns the first moment of the minute that is still open: nothing before it is added any more.
pub fn closed_before(now: Moment) -> Moment {
    Moment(now.0 - now.0.rem_euclid(MINUTE_MS))
}

/// Merges the shards' parts, by shard, into one page of at most `limit` rows.
pub fn merge(shards: Vec<ShardPage>, cursor: &SeqVector, limit: usize) -> Pulled {
    let (credits, cursor, more) = merge_credits(shards, cursor, limit);
    Pulled {
        rows: credits.into_iter().map(|(_, credit)| whole_row(credit)).collect(),
        cursor,
        more,
    }
}

/// Returns the row of a credit with what each touch of its path earned in the ad sets' own windows.
pub fn whole_row(credit: Credit) -> AttributionRow {
    let Credit { row, path, judged_ms, .. } = credit;
    let own = AttributionWindow::Unspecified;
    let models = RULE_MODELS.map(|model| split(model, own, &path, judged_ms));
    let credited = |(index, touch): (usize, &PathTouch)| TouchCredit {
        campaign_id: touch.campaign,
        ad_set_id: touch.ad_set,
        ad_id: touch.ad,
        kind: touch.kind,
        time: Some(timestamp(touch.event_ms)),
        credit_micros: models
            .iter()
            .map(|credits| credits.get(index).copied().unwrap_or_default())
            .collect(),
    };
    AttributionRow { path: path.iter().enumerate().map(credited).collect(), ..row }
}

/// Merges the shards' parts, by shard, into at most `limit` credits with their shards; says where they end,
/// and whether there are more.
pub fn merge_credits(
    shards: Vec<ShardPage>,
    cursor: &SeqVector,
    limit: usize,
) -> (Vec<(usize, Credit)>, SeqVector, bool) {
    let lasts: Vec<_> = shards.iter().map(|page| page.last).collect();
    let mut all: Vec<_> = (0..SHARDS)
        .zip(shards)
        .flat_map(|(shard, page)| page.credits.into_iter().map(move |credit| (shard, credit)))
        .collect();
    all.sort_by_key(|(shard, credit)| (Moment(credit.at_ms).minute(), *shard, credit.seq));
    let (mut at, more) = (cursor.clone(), all.len() > limit);
    all.truncate(limit);
    for (shard, credit) in &all {
        at.0[*shard] = Seq(credit.seq);
    }
    if !more {
        // What the caller may not see need not be looked at again.
        for (place, last) in at.0.iter_mut().zip(lasts) {
            *place = Seq(place.0.max(last));
        }
    }
    (all, at, more)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credit(seq: u64, minute: i64) -> Credit {
        let row = AttributionRow { outcome_id: seq, ..AttributionRow::default() };
        let (path, judged_ms) = (Vec::new(), 0);
        Credit { seq, at_ms: minute * MINUTE_MS + 7, click: 0, row, path, judged_ms }
    }

    fn shards() -> Vec<Vec<Credit>> {
        vec![vec![credit(1, 0), credit(2, 2)], vec![credit(11, 0), credit(12, 1), credit(13, 2)]]
    }

    fn pages(cursor: &SeqVector, limit: usize) -> Vec<ShardPage> {
        let page = |(shard, credits): (usize, Vec<Credit>)| {
            let behind = credits.iter().filter(|credit| credit.seq > cursor.0[shard].0);
            ShardPage::of(behind, Moment(i64::MAX), limit, |_| true)
        };
        (0..).zip(shards()).map(page).collect()
    }

    #[test]
    fn rows_come_by_minute_then_shard_then_sequence() {
        let start = SeqVector::default();
        let pulled = merge(pages(&start, 100), &start, 100);
        let ids: Vec<_> = pulled.rows.iter().map(|row| row.outcome_id).collect();
        assert_eq!(ids, [1, 11, 12, 2, 13]);
        assert!(!pulled.more);
    }

    #[test]
    fn pages_joined_are_the_whole() {
        let start = SeqVector::default();
        let whole = merge(pages(&start, 100), &start, 100);
        for limit in 1..6 {
            let (mut cursor, mut rows) = (start.clone(), Vec::new());
            loop {
                let page = merge(pages(&cursor, limit), &cursor, limit);
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
        let page = ShardPage::of(shards()[0].iter(), end, 100, |_| true);
        assert_eq!((page.credits.len(), page.last), (1, 1));
    }

    #[test]
    fn what_the_caller_may_not_see_is_passed_over_for_good() {
        let start = SeqVector::default();
        let page = ShardPage::of(shards()[0].iter(), Moment(i64::MAX), 100, |_| false);
        let pulled = merge(vec![page], &start, 100);
        assert_eq!((pulled.rows.len(), pulled.cursor.0[0]), (0, Seq(2)));
    }
}
