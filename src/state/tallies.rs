//! Counts and money by ad and hour: what reports are made of.

use serde::{Deserialize, Serialize};

pub use crate::state::ad_tally::{AdTally, PASSED_HOURS, PASSED_REASONS_MAX, Slot};
use crate::state::credits::{Change, Earned};
use crate::state::kinds::catalog_kinds;
use crate::state::lateness::Lateness;
pub use crate::state::tally::Tally;
use crate::state::totals::Totals;
use crate::state::{Applied, Map, Stamp, chunk_of, is_imported};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    MessagePriced, MessageRecorded, OutboxSettled, OutcomeRevised, ServedMinute, ServedRow,
    Showing, Watched,
};
use crate::types::proto::v1::EventKind;
use crate::types::time::{MINUTE_MS, Moment};

/// Tallies of 1,024 ads.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TallyChunk {
    applied: Applied,
    /// By ad.
    pub ads: Map<u64, AdTally>,
    /// How late their events are told.
    pub lateness: Lateness,
}

impl TallyChunk {
    /// Returns what was applied here of each shard.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Applies a fact that touches this chunk, once. A minute's rows are of many chunks; `chunk` says
    /// which this one is.
    pub fn apply(&mut self, chunk: usize, stamp: Stamp, kind: &Kind) {
        if !self.applied.advance(stamp) {
            return;
        }
        match kind {
            Kind::ImpressionSeen(fact) => {
                self.learn(&fact.showing, kind, stamp.at).see(fact, stamp.at);
                self.wait(kind, fact.event_ms, stamp);
            }
            Kind::Watched(fact) if is_viewable(fact) => {
                self.learn(&fact.showing, kind, stamp.at).watch(fact, stamp.at);
            }
            Kind::Tapped(fact) => {
                self.learn(&fact.showing, kind, stamp.at).tap(fact, stamp.at);
                self.wait(kind, fact.event_ms, stamp);
            }
            Kind::FeedbackGiven(fact) if fact.invalid == 0 => {
                let ad = self.of(&fact.showing);
                let kind = fact.event_kind;
                ad.note_shown(fact.event_ms, &fact.showing, 0, |tally| tally.hear(kind));
                ad.hides += u64::from(fact.event_kind != EventKind::Undo as u32);
            }
            Kind::ClickMatched(fact) => {
                // Other chunks hold other touches of its path.
                if chunk_of(ad_of(&fact.showing)) == chunk {
                    self.learn(&fact.showing, kind, stamp.at).open(fact, stamp.at);
                    self.wait(kind, fact.event_ms, stamp);
                }
                self.earn(chunk, Change::Add, &Earned::by_match(fact));
            }
            Kind::StepCredited(fact) => self.earn(chunk, Change::Add, &Earned::by_step(fact)),
            Kind::OutcomeRevised(fact) => self.revise(chunk, fact),
            Kind::EventCredited(fact) => {
                let ad = self.of(&fact.showing);
                ad.note_shown(stamp.at.0, &fact.showing, 0, |tally| tally.credited += fact.amount);
            }
            Kind::ConversionCredited(fact) if fact.invalid == 0 => {
                if chunk_of(ad_of(&fact.showing)) == chunk {
                    self.learn(&fact.showing, kind, stamp.at).convert(fact, stamp.at);
                    self.wait(kind, fact.event_ms, stamp);
                }
                self.earn(chunk, Change::Add, &Earned::by_conversion(fact));
            }
            Kind::MessageRecorded(fact) => self.hear(chunk, fact),
            Kind::OutboxSettled(fact) => self.settle(chunk, fact),
            Kind::MessagePriced(fact) => self.price(chunk, fact),
            Kind::ServedMinute(fact) => self.pass_minute(chunk, fact),
            catalog_kinds!()
            | Kind::Funded(_)
            | Kind::Granted(_)
            | Kind::Watched(_)
            | Kind::FeedbackGiven(_)
            | Kind::ConversionCredited(_)
            | Kind::ConversationOpened(_)
            | Kind::Converted(_)
            | Kind::ConversionsPushed(_)
            | Kind::ContactMoved(_)
            | Kind::SourceTapped(_)
            | Kind::ReferralNoted(_)
            | Kind::GhostNoted(_)
            | Kind::ViewerErased(_)
            | Kind::OutcomeNoted(_)
            | Kind::RevisionSettled(_)
            | Kind::TouchRevised(_)
            | Kind::OutcomeDeclined(_) => {}
        }
    }

    /// Adds what an event teaches of its ad, and returns it.
    fn learn(&mut self, showing: &Option<Showing>, kind: &Kind, at: Moment) -> &mut AdTally {
        let ad = self.of(showing);
        ad.roll(at);
        ad.totals.add(&Totals::of(kind));
        ad
    }

    /// Notes how late an event is told. A history says nothing of that.
    fn wait(&mut self, kind: &Kind, event_ms: i64, stamp: Stamp) {
        if !is_imported(kind) {
            self.lateness.note(event_ms, stamp.at);
        }
    }

    fn of(&mut self, showing: &Option<Showing>) -> &mut AdTally {
        self.ads.entry(ad_of(showing)).or_default()
    }

    /// Returns an ad of this chunk. A message may name ads of several.
    fn here(&mut self, chunk: usize, ad: u64) -> Option<&mut AdTally> {
        (ad != 0 && chunk_of(ad) == chunk).then(|| self.ads.entry(ad).or_default())
    }

    /// Adds to each ad of this chunk what its touches earned of an outcome, or takes it off.
    fn earn(&mut self, chunk: usize, change: Change, earned: &Earned<'_>) {
        let currency = earned.value.map_or("", |value| value.currency.as_str());
        for part in earned.parts() {
            if let Some(ad) = self.here(chunk, part.ad) {
                let credits = &mut ad.hour(earned.event_ms).credits;
                credits.get_or_insert_default().change(change, &part, earned.kind, currency);
            }
        }
    }

    /// Takes off what the row before a revision gave, and adds what it gives now, in the hour of the outcome.
    fn revise(&mut self, chunk: usize, fact: &OutcomeRevised) {
        let (before, after) = (fact.before.as_ref(), fact.after.as_ref());
        for (change, standing) in [(Change::TakeOff, before), (Change::Add, after)] {
            let Some(standing) = standing else { continue };
            self.earn(chunk, change, &Earned::by_standing(fact, standing));
            if let Some(ad) = self.here(chunk, ad_of(&standing.showing)) {
                let (ms, kind) = (fact.event_ms, fact.kind());
                ad.note_shown(ms, &standing.showing, standing.placement, |tally| {
                    tally.revise(change, kind, standing);
                });
            }
        }
    }

    fn hear(&mut self, chunk: usize, fact: &MessageRecorded) {
        let ms = fact.event_ms;
        if let Some(ad) = self.here(chunk, fact.first_reply_ad) {
            ad.note(ms, |tally| tally.answer(fact.new_reply_person, fact.reply_after_s));
        }
        if let Some(ad) = self.here(chunk, fact.wrote_ad) {
            ad.note(ms, |tally| tally.write(fact.new_wrote_person));
        }
        if let Some(ad) = self.here(chunk, fact.qualified_ad) {
            ad.note(ms, |tally| tally.qualify(fact.new_qualified_person));
        }
    }

    /// Counts what came before the match: the answer when it came, the rest when the chat was opened.
    fn settle(&mut self, chunk: usize, fact: &OutboxSettled) {
        let ms = fact.touch.as_ref().map_or(fact.first_reply_ms, |touch| touch.event_ms);
        if let Some(ad) = self.here(chunk, fact.first_reply_ad) {
            let (new, waited) = (fact.new_reply_person, fact.reply_after_s);
            ad.note(fact.first_reply_ms, |tally| tally.answer(new, waited));
        }
        if let Some(ad) = self.here(chunk, fact.wrote_ad) {
            ad.note(ms, |tally| tally.write(fact.new_wrote_person));
        }
        if let Some(ad) = self.here(chunk, fact.qualified_ad) {
            ad.note(ms, |tally| tally.qualify(fact.new_qualified_person));
        }
    }

    fn price(&mut self, chunk: usize, fact: &MessagePriced) {
        if let Some(ad) = self.here(chunk, fact.ad) {
            ad.note(fact.event_ms, |tally| tally.funnel().price(fact));
        }
    }

    fn pass_minute(&mut self, chunk: usize, fact: &ServedMinute) {
        let here = fact.rows.iter().filter(|row| chunk_of(row.ad) == chunk);
        here.for_each(|row| self.serve(row, fact.minute));
    }

    fn serve(&mut self, row: &ServedRow, minute: u32) {
        let ad = self.ads.entry(row.ad).or_default();
        if row.served > 0 {
            let ms = i64::from(minute) * MINUTE_MS;
            ad.note(ms, |tally| tally.served += u64::from(row.served));
        }
        ad.pass(minute / 60, &row.passed);
    }
}

fn ad_of(showing: &Option<Showing>) -> u64 {
    showing.as_ref().map_or(0, |showing| showing.ad)
}

/// Tells whether a fact says that a valid view was viewable.
fn is_viewable(fact: &Watched) -> bool {
    fact.event_kind == EventKind::Viewable as u32 && fact.invalid == 0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::types::ids::{Seq, Shard};
    use crate::types::proto::journal::v1::{
        ClickMatched, ConversionCredited, EventCredited, ImpressionSeen, Reason, Tapped,
    };
    use crate::types::proto::v1::InvalidReason;
    use crate::types::time::HOUR_MS;

    fn row(reasons: &[(u32, u32)]) -> ServedRow {
        let reason = |(reason, count): &(u32, u32)| Reason { reason: *reason, count: *count };
        ServedRow { ad: 1, passed: reasons.iter().map(reason).collect(), ..ServedRow::default() }
    }

    fn passed(rows: &[(u32, &[(u32, u32)])]) -> BTreeMap<u32, BTreeMap<u32, u64>> {
        let mut chunk = TallyChunk::default();
        rows.iter().for_each(|(hour, reasons)| chunk.serve(&row(reasons), hour * 60 + 59));
        chunk.ads.remove(&1).map(|ad| ad.passed).unwrap_or_default()
    }

    #[test]
    fn the_eight_largest_reasons_of_an_hour_are_kept() {
        let nine: Vec<(u32, u32)> = (1..=9).map(|reason| (reason, 10 + reason)).collect();
        let kept = passed(&[(7, &nine), (7, &[(1, 5), (9, 1)])]);
        assert_eq!(kept[&7].keys().copied().collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(kept[&7][&9], 20);
        let equal: Vec<(u32, u32)> = (1..=9).map(|reason| (reason, 4)).collect();
        assert!(!passed(&[(7, &equal)])[&7].contains_key(&9), "of equals the highest number goes");
    }

    #[test]
    fn invalid_events_are_neither_counted_nor_learned_from() {
        use crate::types::ids::{Seq, Shard};
        use crate::types::proto::v1::InvalidReason;
        let showing = Some(Showing { ad: 1, ..Showing::default() });
        let mut chunk = TallyChunk::default();
        for (seq, reason) in [(1, InvalidReason::Unspecified), (3, InvalidReason::ViewRate)] {
            let invalid = reason.into();
            let seen = ImpressionSeen { showing, invalid, ..ImpressionSeen::default() };
            let tapped = Tapped { showing, invalid, ..Tapped::default() };
            for (fact, seq) in [(Kind::ImpressionSeen(seen), seq), (Kind::Tapped(tapped), seq + 1)]
            {
                let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(0) };
                chunk.apply(0, stamp, &fact);
            }
        }
        let ad = &chunk.ads[&1];
        assert_eq!(ad.totals.funnel(), [1, 1, 0]);
        assert_eq!((ad.hours[&(0, 0, 0)].impressions, ad.hours[&(0, 0, 0)].taps), (1, 1));
    }

    #[test]
    fn imported_events_are_counted_and_not_learned_from() {
        use crate::types::ids::{Seq, Shard};
        let (showing, imported) = (Some(Showing { ad: 1, ..Showing::default() }), true);
        let event_kind = EventKind::Viewable as u32;
        let seen = ImpressionSeen { showing, imported, ..ImpressionSeen::default() };
        let watched = Watched { showing, event_kind, imported, ..Watched::default() };
        let tapped = Tapped { showing, imported, ..Tapped::default() };
        let matched = ClickMatched { showing, imported, ..ClickMatched::default() };
        let sold = ConversionCredited { showing, imported, ..ConversionCredited::default() };
        let facts = [
            Kind::ImpressionSeen(seen),
            Kind::Watched(watched),
            Kind::Tapped(tapped),
            Kind::ClickMatched(matched),
            Kind::ConversionCredited(Box::new(sold)),
        ];
        let mut chunk = TallyChunk::default();
        for (seq, fact) in (1..).map(Seq).zip(&facts) {
            chunk.apply(0, Stamp { shard: Shard::CATALOG, seq, at: Moment(HOUR_MS) }, fact);
        }
        let (ad, tally) = (&chunk.ads[&1], &chunk.ads[&1].hours[&(0, 0, 0)]);
        let counts = [tally.impressions, tally.viewable, tally.taps, tally.conversations];
        assert_eq!((counts, tally.conversions), ([1; 4], 1));
        assert_eq!((ad.totals, &chunk.lateness), (Totals::NONE, &Lateness::default()));
    }

    #[test]
    fn two_days_are_kept_whatever_the_order() {
        let one: &[(u32, u32)] = &[(4, 1)];
        let kept = passed(&[(100, one), (147, one), (148, one), (100, one), (101, one)]);
        assert_eq!(kept.keys().copied().collect::<Vec<_>>(), [101, 147, 148]);
        assert!(passed(&[(3, &[])]).is_empty());
    }
    #[test]
    fn invalid_events_are_kept_apart_and_credits_stand_in_the_hour_they_were_given() {
        let mut chunk = TallyChunk::default();
        let showing = || Some(Showing { ad: 1, ..Showing::default() });
        let mut facts = Vec::new();
        for invalid in [0, InvalidReason::Network as i32] {
            let (showing, event_ms) = (showing, HOUR_MS);
            let seen =
                ImpressionSeen { showing: showing(), event_ms, invalid, ..Default::default() };
            let tapped = Tapped { showing: showing(), event_ms, invalid, ..Default::default() };
            let matched = ClickMatched {
                showing: showing(),
                event_ms,
                touch_ms: event_ms,
                implied_tap: true,
                invalid,
                ..Default::default()
            };
            facts.push(Kind::ImpressionSeen(seen));
            facts.extend([Kind::ImpressionSeen(seen), Kind::Tapped(tapped)]);
            facts.push(Kind::ClickMatched(matched));
        }
        let credit = EventCredited { showing: showing(), amount: 70, ..Default::default() };
        facts.push(Kind::EventCredited(Box::new(credit)));
        for (seq, fact) in (1..).map(Seq).zip(&facts) {
            let stamp = Stamp { shard: Shard::CATALOG, seq, at: Moment(2 * HOUR_MS) };
            chunk.apply(0, stamp, fact);
        }
        let ad = &chunk.ads[&1];
        let Tally { impressions, taps, conversations, .. } = ad.hours[&(1, 0, 0)];
        assert_eq!((impressions, taps, conversations), (2, 2, 1));
        let Tally { invalid_impressions, invalid_taps, invalid_conversations, .. } =
            ad.hours[&(1, 0, 0)];
        assert_eq!((invalid_impressions, invalid_taps, invalid_conversations), (2, 2, 1));
        assert_eq!((ad.hours[&(1, 0, 0)].credited, ad.hours[&(2, 0, 0)].credited), (0, 70));
        assert_eq!(ad.totals.funnel(), [2, 2, 1]);
    }
}
