//! The comparison: the stream's rows and the tallies beside the recount.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use munadi::node::fold;
use munadi::state::State;
use munadi::state::credit::timestamp;
use munadi::types::ids::SeqVector;
use munadi::types::proto::v1::{
    AttributionRow, DeclineReason, InvalidReason, MatchKind, Outcome, PullAttributionsResponse,
};
use munadi::types::time::{HOUR_MS, Moment};
use prost::Message;

use super::naive::{self, cells, near, sums};
use super::{Expected, Recount};
use crate::stage::ALL;

/// By event id, or by conversation and kind.
pub(super) type Outcomes = BTreeMap<(String, i32), Expected>;

impl Recount {
    /// Compares the stream's rows and the tallies with the recount.
    pub(super) fn check(&mut self) {
        self.stage.settle();
        let now = self.stage.now.plus_ms(HOUR_MS);
        let told = self.check_rows(now, &self.expected);
        assert!(told > self.expected.len() + 100, "{told} rows: some were revised");
        for (moment, expected) in &self.snapshots {
            self.check_rows(*moment, expected);
        }
        self.check_pages(now);
        for reason in ["Unspecified", "OutOfLookbackWindow", "ViewThroughDisabled", "NoTouch"] {
            let of = |kind| self.reasons.get(&format!("{kind} {reason}")).copied();
            assert!(of("Conversion").is_some_and(|count| count > 3), "{:?}", self.reasons);
        }
        let [changed, earned] = self.late;
        assert!(changed > 30 && earned > 10, "{:?}: too few late touches", self.late);
        self.check_tallies();
    }

    /// Compares the newest row of each outcome, as known at a moment, with what it must come to; returns how many
    /// rows there are.
    fn check_rows(&self, moment: Moment, outcomes: &Outcomes) -> usize {
        let rows = self.rows(moment, &SeqVector::default());
        let mut newest = BTreeMap::<u64, &AttributionRow>::new();
        for row in &rows {
            let known = newest.insert(row.outcome_id, row).map_or(0, |known| known.revision);
            // Revisions of an outcome come in their order and without a gap.
            assert_eq!(row.revision, known + 1, "{row:?}");
        }
        for row in newest.values() {
            let id = match row.outcome() {
                Outcome::Conversion => row.event_id.clone(),
                _ => row.conversation_id.to_string(),
            };
            self.check_row(row, &outcomes[&(id, row.outcome)]);
        }
        assert_eq!(newest.len(), outcomes.len());
        rows.len()
    }

    /// Checks that two pulls from one cursor give the same bytes, wherever they begin.
    fn check_pages(&self, end: Moment) {
        let all = self.rows(end, &SeqVector::default());
        let bytes = |rows: &[AttributionRow]| -> Vec<Vec<u8>> {
            rows.iter().map(Message::encode_to_vec).collect()
        };
        let mut cursor = SeqVector::default();
        let mut behind = 0;
        loop {
            let rest = self.rows(end, &cursor);
            assert_eq!(bytes(&rest), bytes(&all[behind..]));
            let page = self.stage.front.pull_before(ALL, &cursor, end);
            (cursor, behind) = (page.cursor, behind + page.rows.len());
            if !page.more {
                return assert_eq!(behind, all.len());
            }
        }
    }

    fn rows(&self, end: Moment, from: &SeqVector) -> Vec<AttributionRow> {
        let (mut cursor, mut rows) = (from.clone(), Vec::new());
        loop {
            let page = self.stage.front.pull_before(ALL, &cursor, end);
            let sent = self.stage.front.pull_encoded(ALL, &cursor, end);
            let told = PullAttributionsResponse::decode(&*sent.rows).unwrap().rows;
            assert_eq!((&told, &sent.cursor, sent.more), (&page.rows, &page.cursor, page.more));
            rows.extend(page.rows);
            cursor = page.cursor;
            if !page.more {
                return rows;
            }
        }
    }

    fn check_row(&self, row: &AttributionRow, expected: &Expected) {
        let what = format!("{row:?}\nexpected {expected:?}");
        let told = row.decline_reason();
        let older = [DeclineReason::OutOfLookbackWindow, DeclineReason::FraudDetected];
        let remembered = expected.unsure && older.contains(&told);
        assert!(told == expected.declined || remembered, "{what}");
        if let Some(credited) = expected.credited {
            assert_eq!(row.touch_time, Some(timestamp(credited.ms)), "{what}");
            assert_eq!(row.ad_id, self.shops[credited.shop].ad, "{what}");
            assert_eq!(row.touch_kind(), credited.kind, "{what}");
            let by_viewer = row.match_kind() == MatchKind::Viewer;
            assert_eq!(by_viewer, !credited.proven, "{what}");
        }
        // Of an unsure one the reason may have been told anew or not.
        if !expected.unsure {
            assert_eq!(row.revision, expected.revision, "{what}");
            assert_eq!(row.revision_cause(), expected.cause, "{what}");
        }
        assert_eq!(row.withdrawn, expected.withdrawn, "{what}");
        if expected.lost {
            assert_eq!(row.invalid(), InvalidReason::Invalidated, "{what}");
        }
        assert_eq!(row.event_time, Some(timestamp(expected.event_ms)), "{what}");
        assert_eq!(row.path.len(), expected.path.len(), "{what}");
        for (model, sum) in (1..).zip(sums(row)) {
            let credits = naive::split(model, 0, &expected.path, expected.judged_ms);
            let whole = if credits.iter().any(|credit| *credit > 0) { 1_000_000 } else { 0 };
            assert_eq!(sum, whole, "{what}");
            for ((told, touch), credit) in row.path.iter().zip(&expected.path).zip(credits) {
                let place = (told.ad_id, told.kind(), told.time);
                let ours = (self.shops[touch.shop].ad, touch.kind);
                assert_eq!(place, (ours.0, ours.1, Some(timestamp(touch.ms))), "{what}");
                let told = i64::from(told.credit_micros[model - 1]);
                assert!(near(model, told, credit, 1), "{what}");
            }
        }
    }

    fn check_tallies(&self) {
        let mut state = State::default();
        let log = self.stage.writer.log();
        log.read_from(&SeqVector::default(), &mut |block| {
            fold(block, |stamp, kind| state.apply(stamp, kind)).unwrap();
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(self.stage.front.difference(&state), None, "live, and folded anew");
        self.check_counts(&state);
        let mut counted = BTreeMap::new();
        for expected in self.expected.values() {
            cells(expected, &mut counted);
        }
        let mut found = 0;
        for (shop, place) in self.shops.iter().zip(0..) {
            let chunk = munadi::state::chunk_of(shop.ad);
            for ((hour, ..), tally) in &state.tallies[chunk].ads[&shop.ad].hours {
                for ((model, window), cell) in tally.credits.iter().flat_map(|it| &it.cells) {
                    let key = (place, i64::from(*hour), *model as usize, *window as usize);
                    let (ours, touches) = counted.get(&key).cloned().unwrap_or_default();
                    let told = [
                        cell.conversations as i64,
                        cell.first_replies as i64,
                        cell.qualified as i64,
                        cell.conversions as i64,
                        cell.values.get("MXN").copied().unwrap_or_default(),
                    ];
                    for (told, ours) in told.into_iter().zip(ours) {
                        assert!(near(key.2, told, ours, touches), "{key:?}: {told}, not {ours}");
                    }
                    found += 1;
                }
            }
        }
        counted.retain(|_, (ours, _)| ours.iter().any(|count| *count != 0));
        assert!(found >= counted.len() && found > 1_000, "{found} of {}", counted.len());
    }
}
