//! The attribution stream: credits of all shards in the order of minute, shard and sequence.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use prost::Message;
use prost::encoding::encode_varint;

use crate::state::credit::{Credit, timestamp};
use crate::types::attribution::{RULE_MODELS, eligible, split_eligible};
use crate::types::encoded::{put_nested, put_number};
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

/// The same page, as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedPage {
    /// Its rows, encoded as those of a `PullAttributionsResponse`.
    pub rows: Vec<u8>,
    /// Stands behind everything that was looked at.
    pub cursor: SeqVector,
    /// Whether there is more before the end.
    pub more: bool,
}

/// Credits of one shard that are looked at together: a page has some of each shard, and copies none that it
/// doesn't hold.
const RUN_MAX: usize = 64;

/// Where some of one shard's credits stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Of those that the caller may see: the journal's time and the sequence, ascending.
    places: VecDeque<(i64, u64)>,
    /// The last credit that was looked at, seen or not; 0: none.
    last: u64,
    /// Whether none before the end is behind it.
    ended: bool,
}

impl Run {
    /// Looks at a shard's credits behind a place, in minutes that are closed.
    pub fn of<'a>(
        credits: impl Iterator<Item = &'a Credit>,
        end: Moment,
        sees: impl Fn(&AttributionRow) -> bool,
    ) -> Self {
        let mut run = Self::default();
        for credit in credits.take_while(|credit| credit.at_ms < end.0) {
            if run.places.len() == RUN_MAX {
                return run;
            }
            run.last = credit.seq;
            if sees(&credit.row) {
                run.places.push_back((credit.at_ms, credit.seq));
            }
        }
        run.ended = true;
        run
    }

    /// Returns the first credit's place in the order of all.
    fn head(&self, shard: usize) -> Option<Reverse<(i64, usize, u64)>> {
        let (at_ms, seq) = self.places.front()?;
        Some(Reverse((i64::from(Moment(*at_ms).minute()), shard, *seq)))
    }
}

/// Returns the first moment of the minute that is still open: nothing before it is added any more.
pub fn closed_before(now: Moment) -> Moment {
    Moment(now.0 - now.0.rem_euclid(MINUTE_MS))
}

/// Returns the row of a credit with what each touch of its path earned in the ad sets' own windows.
pub fn whole_row(credit: Credit) -> AttributionRow {
    AttributionRow { path: touch_credits(&credit.path, credit.judged_ms), ..credit.row }
}

/// Returns the touches of a path with what each earned in the ad sets' own windows.
pub fn touch_credits(path: &[PathTouch], judged_ms: i64) -> Vec<TouchCredit> {
    let eligible = eligible(AttributionWindow::Unspecified, path, judged_ms);
    let models = RULE_MODELS.map(|model| split_eligible(model, path, &eligible, judged_ms));
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
    path.iter().enumerate().map(credited).collect()
}

/// The field of `PullAttributionsResponse` that rows stand in, and those of its other fields.
pub const ROWS_FIELD: u32 = 1;
/// The cursor's.
pub const CURSOR_FIELD: u32 = 2;
/// The one of the moment that rows are complete up to.
pub const COMPLETE_FIELD: u32 = 3;

/// The fields of a `TouchCredit`, and that of an `AttributionRow` that they stand in.
mod field {
    pub(super) const PATH: u32 = 21;
    pub(super) const CAMPAIGN_ID: u32 = 1;
    pub(super) const AD_SET_ID: u32 = 2;
    pub(super) const AD_ID: u32 = 3;
    pub(super) const KIND: u32 = 4;
    pub(super) const TIME: u32 = 5;
    pub(super) const CREDIT_MICROS: u32 = 6;
}

/// Writes what [`whole_row`] returns of a credit, as a row of an answer: it is neither copied nor built first.
pub fn put_row(out: &mut Vec<u8>, credit: &Credit) {
    put_nested(out, ROWS_FIELD, |out| {
        // Every field that a row has, now and later. Its path is kept apart, and comes behind them.
        credit.row.encode_raw(out);
        put_path(out, &credit.path, credit.judged_ms);
    });
}

fn put_path(out: &mut Vec<u8>, path: &[PathTouch], judged_ms: i64) {
    if path.is_empty() {
        return;
    }
    let eligible = eligible(AttributionWindow::Unspecified, path, judged_ms);
    let models = RULE_MODELS.map(|model| split_eligible(model, path, &eligible, judged_ms));
    for (index, touch) in path.iter().enumerate() {
        put_nested(out, field::PATH, |out| {
            put_number(out, field::CAMPAIGN_ID, touch.campaign);
            put_number(out, field::AD_SET_ID, touch.ad_set);
            put_number(out, field::AD_ID, touch.ad);
            put_number(out, field::KIND, i64::from(touch.kind).cast_unsigned());
            put_nested(out, field::TIME, |out| timestamp(touch.event_ms).encode_raw(out));
            put_nested(out, field::CREDIT_MICROS, |out| {
                for credits in &models {
                    let credit = credits.get(index).copied().unwrap_or_default();
                    encode_varint(credit.into(), out);
                }
            });
        });
    }
}

/// Which credits stand in a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Shard and sequence of each, in order.
    pub places: Vec<(usize, u64)>,
    /// Where they end.
    pub cursor: SeqVector,
    /// Whether there is more before the end.
    pub more: bool,
}

/// Merges the shards behind a cursor into a page of at most `limit` credits. `look` returns the run of a shard
/// behind a sequence.
pub fn page(cursor: &SeqVector, limit: usize, mut look: impl FnMut(usize, Seq) -> Run) -> Page {
    let mut runs: Vec<Run> = (0..SHARDS).map(|shard| look(shard, cursor.0[shard])).collect();
    let heads = runs.iter().enumerate().filter_map(|(shard, run)| run.head(shard));
    let mut heads: BinaryHeap<_> = heads.collect();
    let (mut places, mut cursor) = (Vec::new(), cursor.clone());
    while places.len() < limit
        && let Some(Reverse((_, shard, seq))) = heads.pop()
    {
        places.push((shard, seq));
        cursor.0[shard] = Seq(seq);
        let run = &mut runs[shard];
        run.places.pop_front();
        if run.places.is_empty() && !run.ended {
            *run = look(shard, Seq(run.last));
        }
        heads.extend(run.head(shard));
    }
    let more = !heads.is_empty();
    if !more {
        // What the caller may not see need not be looked at again.
        for (place, run) in cursor.0.iter_mut().zip(runs) {
            *place = Seq(place.0.max(run.last));
        }
    }
    Page { places, cursor, more }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::credit::Shown;
    use crate::types::encoded::put_bytes;
    use crate::types::proto::v1::PullAttributionsResponse;

    fn credit(seq: u64, minute: i64) -> Credit {
        let row = AttributionRow { outcome_id: seq, ..AttributionRow::default() };
        let (path, judged_ms) = (Vec::new(), 0);
        let (at_ms, shown) = (minute * MINUTE_MS + 7, Shown::default());
        Credit { seq, at_ms, click: 0, row, path, judged_ms, shown }
    }

    fn shards() -> Vec<Vec<Credit>> {
        vec![vec![credit(1, 0), credit(2, 2)], vec![credit(11, 0), credit(12, 1), credit(13, 2)]]
    }

    fn page_of(
        shards: &[Vec<Credit>],
        (cursor, limit): (&SeqVector, usize),
        sees: impl Fn(&AttributionRow) -> bool,
    ) -> Page {
        page(cursor, limit, |shard, after| {
            let credits = shards.get(shard).into_iter().flatten();
            Run::of(credits.filter(|credit| credit.seq > after.0), Moment(i64::MAX), &sees)
        })
    }

    fn pages(shards: &[Vec<Credit>], limit: usize, sees: fn(&AttributionRow) -> bool) -> Vec<Page> {
        let mut pages: Vec<Page> = Vec::new();
        while pages.last().is_none_or(|page| page.more) {
            let cursor = pages.last().map_or_else(SeqVector::default, |page| page.cursor.clone());
            pages.push(page_of(shards, (&cursor, limit), sees));
        }
        pages
    }

    #[test]
    fn rows_come_by_minute_then_shard_then_sequence() {
        let all = page_of(&shards(), (&SeqVector::default(), 100), |_| true);
        assert_eq!(all.places, [(0, 1), (1, 11), (1, 12), (0, 2), (1, 13)]);
        assert!(!all.more);
    }

    #[test]
    fn pages_joined_are_what_sorting_everything_gives() {
        let sees: fn(&AttributionRow) -> bool = |row| row.outcome_id % 3 != 0;
        for seed in 0..40_u64 {
            let mut state = seed;
            let mut roll = |end: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % end
            };
            let shards: Vec<Vec<Credit>> = (0..5)
                .map(|_| {
                    let (mut seq, mut minute) = (0, 0);
                    let credits = (0..roll(300)).map(|_| {
                        (seq, minute) = (seq + 1 + roll(3), minute + (roll(9) / 8) as i64);
                        credit(seq, minute)
                    });
                    credits.collect()
                })
                .collect();
            let places = |(shard, credits): (usize, &Vec<Credit>)| {
                let seen = credits.iter().filter(|credit| sees(&credit.row));
                seen.map(|credit| (Moment(credit.at_ms).minute(), shard, credit.seq))
                    .collect::<Vec<_>>()
            };
            let mut plain: Vec<_> = shards.iter().enumerate().flat_map(places).collect();
            plain.sort_unstable();
            let plain: Vec<_> = plain.into_iter().map(|(_, shard, seq)| (shard, seq)).collect();
            for limit in [1, 7, 64, 1_000] {
                let pages = pages(&shards, limit, sees);
                let joined: Vec<_> = pages.iter().flat_map(|page| page.places.clone()).collect();
                assert_eq!(joined, plain, "seed {seed}, pages of {limit}");
                let full = pages.iter().filter(|page| page.places.len() == limit).count();
                assert!(full + 1 >= pages.len(), "only the last one is shorter");
                let end = &pages.last().expect("there is one").cursor;
                let lasts = shards.iter().map(|credits| credits.last().map_or(0, |last| last.seq));
                assert!(lasts.eq(end.0[..shards.len()].iter().map(|seq| seq.0)), "seed {seed}");
            }
        }
    }

    fn random_credit(roll: &mut impl FnMut(u64) -> u64) -> Credit {
        let text = |roll: &mut dyn FnMut(u64) -> u64| "é".repeat(roll(90) as usize);
        let outcome_ms = 1_795_392_000_000 + roll(1 << 30) as i64;
        let touch = |roll: &mut dyn FnMut(u64) -> u64| PathTouch {
            view: roll(1 << 30),
            ad: roll(3) << roll(60),
            ad_set: roll(3) << roll(60),
            campaign: roll(3) << roll(60),
            kind: roll(4) as i32,
            event_ms: outcome_ms - roll(1 << 30) as i64,
            in_window: roll(3) > 0,
            proven: roll(9) == 0,
        };
        let path: Vec<_> = (0..roll(34).saturating_sub(1)).map(|_| touch(roll)).collect();
        let row = AttributionRow {
            outcome_id: roll(1 << 30),
            revision: roll(3) as u32,
            account_id: roll(1 << 30),
            event_id: text(roll),
            name: text(roll),
            event_time: (roll(2) == 0).then(|| timestamp(outcome_ms)),
            touch_kind: roll(4) as i32,
            charged_micros: roll(1 << 30) as i64 - (1 << 29),
            revision_cause: roll(4) as i32,
            withdrawn: roll(2) == 0,
            imported: roll(2) == 0,
            ..AttributionRow::default()
        };
        let shown = Shown::default();
        Credit { seq: 1, at_ms: 0, click: 0, row, path, judged_ms: outcome_ms, shown }
    }

    #[test]
    fn what_is_encoded_where_it_lies_is_the_whole_row() {
        for seed in 0..2_000_u64 {
            let mut state = seed;
            let mut roll = |end: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % end
            };
            let credits: Vec<_> = (0..1 + roll(3)).map(|_| random_credit(&mut roll)).collect();
            let mut out = Vec::new();
            credits.iter().for_each(|credit| put_row(&mut out, credit));
            put_bytes(&mut out, CURSOR_FIELD, b"cursor");
            put_nested(&mut out, COMPLETE_FIELD, |out| timestamp(7_000).encode_raw(out));
            let plain = PullAttributionsResponse {
                rows: credits.into_iter().map(whole_row).collect(),
                cursor: b"cursor".to_vec(),
                complete_up_to: Some(timestamp(7_000)),
            };
            let again = format!("seed {seed}; again: cargo test --lib what_is_encoded_where");
            let decoded = PullAttributionsResponse::decode(&*out);
            assert_eq!(decoded.expect("it can be read"), plain, "{again}");
            // The order of fields is free; but none is there twice.
            assert_eq!(out.len(), plain.encoded_len(), "{again}");
        }
    }

    #[test]
    fn an_open_minute_is_not_sent() {
        let end = closed_before(Moment(2 * MINUTE_MS + 30_000));
        let run = Run::of(shards()[0].iter(), end, |_| true);
        assert_eq!((run.places.len(), run.last, run.ended), (1, 1, true));
    }

    #[test]
    fn what_the_caller_may_not_see_is_passed_over_for_good() {
        let none = page_of(&shards(), (&SeqVector::default(), 100), |_| false);
        assert_eq!((none.places.len(), none.cursor.0[0], none.more), (0, Seq(2), false));
    }
}
