//! Outcomes told anew: a story with two touches, followed through crashes, the audit and what goes out.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use munadi::decide::credits::{Finder, Found};
use munadi::node::fold;
use munadi::node::writer::{Credit, Work};
use munadi::state::tallies::Tally;
use munadi::state::{State, chunk_of};
use munadi::types::ids::SeqVector;
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{OutcomeRevised, PathTouch, Standing};
use munadi::types::proto::v1::{
    AttributionRow, Conversation, DeclineReason, Direction, EventKind, InvalidReason, MatchKind,
    Money, Outcome, RevisionCause,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{Adjustment, Claim, EventFilter, Incoming, Origin, Verdict};
use munadi::types::time::{HOUR_MS, MINUTE_MS, Moment};
use munadi::types::token::{ClickToken, ViewToken};

use crate::audited::audited_with;
use crate::stage::{ALL, FEED, Offer, Shop, Stage};

/// What one tap costs.
const PRICE: i64 = 1_000;

/// A viewer taps the ad twice, opens a chat by the second tap, is answered, writes again and buys.
struct Story {
    stage: Stage,
    shop: Shop,
}

impl Story {
    fn new() -> Self {
        let mut stage = Stage::new();
        let shop = stage.shop(&Offer::default());
        let mut story = Self { stage, shop };
        story.tap(1);
        story.tap(2);
        let click = story.click(2);
        story.stage.wait(MINUTE_MS);
        let opened = story.stage.open_chat(&shop, "ana", Some(Claim::Click(click)));
        assert!(matches!(opened, Verdict::Recorded { .. }), "{opened:?}");
        story.stage.wait(MINUTE_MS);
        story.stage.answer(&shop, "ana", "hello");
        story.stage.wait(MINUTE_MS);
        let again = story.stage.receipt(&shop, "ana", "and?", Direction::Inbound);
        story.stage.record(again);
        story.stage.wait(MINUTE_MS);
        story.stage.convert(&shop, "order", Origin::Click(click));
        story.stage.wait(2 * MINUTE_MS);
        story
    }

    /// Lets the viewer see and tap the ad, for which the tap is charged.
    fn tap(&mut self, view: u64) {
        self.stage.wait(2 * MINUTE_MS);
        let token = ViewToken {
            view,
            ad: self.shop.ad,
            viewer: self.stage.viewer("ana"),
            feed: FEED,
            issued: self.stage.now.seconds() - 1,
            show_by: 900,
            placement: 1,
            billing: 2,
            price_micros: PRICE,
            country: *b"MX",
            ..ViewToken::default()
        };
        for kind in [EventKind::Impression, EventKind::Tap] {
            self.stage.wait(5_000);
            let at = Some(self.stage.now);
            let told = Incoming::Ad { token, kind, at, suspect: None, network: 0 };
            let verdict = self.stage.record(told);
            let valid = matches!(verdict, Verdict::Recorded { invalid: None, .. });
            assert!(valid, "{verdict:?}");
        }
    }

    fn click(&self, view: u64) -> ClickToken {
        let issued = self.stage.now.seconds() - 10;
        let (ad, viewer) = (self.shop.ad, self.stage.viewer("ana"));
        ClickToken { entry_point: 1, view, ad, viewer, issued, ..ClickToken::default() }
    }

    fn find_invalid(&mut self, view: u64) {
        find_invalid(&mut self.stage, view);
    }

    fn rows(&self, end: Moment) -> Vec<AttributionRow> {
        self.stage.front.pull_before(ALL, &SeqVector::default(), end).rows
    }

    /// Returns the newest rows by what they are of.
    fn newest(&self) -> BTreeMap<i32, AttributionRow> {
        let rows = self.rows(self.stage.now.plus_ms(HOUR_MS));
        rows.into_iter().map(|row| (row.outcome, row)).collect()
    }

    fn chat(&self) -> Conversation {
        let id = self.stage.chat(&self.shop, "ana").id;
        self.stage.front.conversation(ALL, id, self.stage.now).unwrap()
    }
}

/// Gives the charge for one showing back.
pub(crate) fn find_invalid(stage: &mut Stage, view: u64) {
    let all = EventFilter { end: Moment(i64::MAX), ..EventFilter::default() };
    let mut finder = Finder::new(&all);
    let whole = stage.writer.log().read_from(&SeqVector::default(), &mut |block| {
        fold(block, |stamp, fact| finder.take(stamp.at, fact)).unwrap();
        ControlFlow::Continue(())
    });
    whole.unwrap();
    let of_view = |found: &Found| found.credit(0, 0, "").showing.unwrap().view == view;
    let found: Vec<_> = finder.finish().unwrap().events.into_iter().filter(of_view).collect();
    assert_eq!(found.len(), 1);
    let credit =
        Credit { found, batch: 7, reason: "a click farm".into(), answered: None, noted: None };
    stage.work(|reply| Work::Credit(Box::new(credit), reply)).unwrap();
}

#[test]
fn the_next_touch_earns_what_an_invalid_one_had_and_then_nobody() {
    let mut story = Story::new();
    let first = story.newest();
    assert_eq!(first.len(), 4, "an opening, its two steps, a sale");
    assert!(first.values().all(|row| row.revision == 1 && row.path.len() == 2));
    assert_eq!(story.chat().latest_touch.unwrap().click_id, 2);
    let before = story.stage.now;
    story.stage.wait(MINUTE_MS);

    story.find_invalid(2);
    for row in story.newest().values() {
        assert_eq!((row.revision, row.path.len()), (2, 1), "{row:?}");
        assert_eq!(row.revision_cause(), RevisionCause::InvalidTraffic);
        assert_eq!(row.decline_reason(), DeclineReason::Unspecified);
        assert_eq!(row.match_kind(), MatchKind::Viewer, "the viewer is known, the click is none");
        assert_eq!(row.path[0].credit_micros, [1_000_000; 6]);
        assert_eq!(row.ad_id, story.shop.ad);
        let earlier = &first[&row.outcome];
        let touched = |row: &AttributionRow| row.touch_time.unwrap().seconds;
        assert!(touched(row) < touched(earlier));
        assert_eq!(row.event_time, earlier.event_time);
    }
    let touch = story.chat().latest_touch.unwrap();
    assert_eq!((touch.click_id, touch.match_kind()), (1, MatchKind::Viewer));

    story.stage.wait(MINUTE_MS);
    story.find_invalid(1);
    for row in story.newest().values() {
        assert_eq!((row.revision, row.path.len()), (3, 0), "{row:?}");
        assert_eq!(row.decline_reason(), DeclineReason::FraudDetected);
        assert_eq!(row.invalid(), InvalidReason::Invalidated);
        assert_eq!((row.campaign_id, row.touch_time), (0, None));
    }
    let known: Vec<_> = first.values().cloned().collect();
    let mut then = story.rows(before.plus_ms(1));
    then.sort_by_key(|row| row.outcome);
    assert_eq!(then, known, "as known before anything was found");
    let end = story.stage.now.plus_ms(HOUR_MS);
    let sent = story.stage.front.payloads(ALL, 0, "", &SeqVector::default(), end).0.rows;
    assert_eq!(sent.len(), 1, "a sale goes out once, as it was first credited");
    let rows = story.rows(end);
    let story = Story { stage: story.stage.restarted(), ..story };
    assert_eq!(story.rows(end), rows);
}

#[test]
fn what_comes_behind_an_invalid_touch_is_credited_to_nobody() {
    let mut story = Story::new();
    story.find_invalid(2);
    story.find_invalid(1);
    let shop = story.shop;
    let click = story.click(2);
    story.stage.convert(&shop, "another order", Origin::Click(click));
    let rows = story.rows(story.stage.now.plus_ms(HOUR_MS));
    let row = rows.iter().find(|row| row.event_id == "another order").unwrap();
    assert_eq!((row.revision, row.invalid()), (1, InvalidReason::Invalidated));
    assert_eq!(row.decline_reason(), DeclineReason::FraudDetected);
}

#[test]
fn a_conversation_hears_of_its_opening_wherever_a_crash_cuts() {
    for lost in 0..=6 {
        let mut story = Story::new();
        story.find_invalid(2);
        let batches = story.stage.writer.log().last_batch().0;
        assert!(batches > lost);
        let story = Story { stage: story.stage.losing(lost), ..story };
        let newest = story.newest();
        let touch = story.chat().latest_touch.map_or(0, |touch| touch.click_id);
        let Some(opening) = newest.get(&Outcome::Conversation.into()) else { continue };
        let expected = if opening.revision == 1 { 2 } else { 1 };
        assert_eq!(touch, expected, "{lost} batches lost");
        for step in [Outcome::FirstReply, Outcome::Qualified] {
            let step = newest.get(&step.into()).expect("both were there before");
            let told = |row: &AttributionRow| (row.revision, row.path.clone(), row.ad_id);
            assert_eq!(told(step), told(opening), "{lost} batches lost");
        }
    }
}

/// Alters the revision with this number; tells how many revisions there are.
fn altered(story: &Story, number: usize, alter: fn(&mut OutcomeRevised)) -> (bool, usize) {
    let seen = Cell::new(0);
    let report = audited_with(&story.stage, |kind| {
        if let Kind::OutcomeRevised(fact) = kind {
            if seen.get() == number {
                alter(fact);
            }
            seen.set(seen.get() + 1);
        }
    });
    (report.equal, seen.get())
}

fn after(fact: &mut OutcomeRevised) -> &mut Standing {
    fact.after.as_mut().unwrap()
}

#[test]
fn the_audit_counts_revisions_again_and_finds_an_altered_one() {
    let mut story = Story::new();
    story.stage.wait(MINUTE_MS);
    story.find_invalid(2);
    story.stage.wait(MINUTE_MS);
    story.find_invalid(1);
    story.stage.wait(2 * MINUTE_MS);
    story.stage.settle();
    let (equal, count) = altered(&story, usize::MAX, |_| ());
    assert!(equal, "{}", audited_with(&story.stage, |_| ()));
    assert_eq!(count, 8, "four outcomes, twice");
    let alters: [fn(&mut OutcomeRevised); 9] = [
        |fact| fact.revision += 1,
        |fact| fact.event_ms += 1,
        |fact| fact.charged += 1,
        |fact| fact.before.as_mut().unwrap().touch_ms += 1,
        |fact| fact.before.as_mut().unwrap().path[0].event_ms += 1,
        |fact| fact.before = None,
        |fact| after(fact).invalid = InvalidReason::TapRate.into(),
        |fact| after(fact).path.push(PathTouch { view: 9, ..PathTouch::default() }),
        |fact| after(fact).decline_reason = DeclineReason::NoTouch.into(),
    ];
    for number in 0..count {
        for (which, alter) in alters.iter().enumerate() {
            assert!(!altered(&story, number, *alter).0, "revision {number}, alteration {which}");
        }
    }
}

impl Story {
    fn adjust(&mut self, id: &str, micros: Option<i64>) -> Verdict {
        let currency = "MXN".to_owned();
        self.stage.wait(MINUTE_MS);
        self.stage.record(Incoming::Adjusted(Box::new(Adjustment {
            tenant: self.shop.tenant,
            account: self.shop.account,
            event_id: "order".into(),
            adjustment_id: id.into(),
            value: micros.map(|micros| Money { micros, currency }),
        })))
    }

    /// Returns the newest row of the sale.
    fn sale(&self) -> AttributionRow {
        self.newest()[&Outcome::Conversion.into()].clone()
    }

    /// Returns conversions and their value, as the tallies of the ad have them.
    fn sold(&self) -> (u64, i64) {
        let mut state = State::default();
        let whole = self.stage.writer.log().read_from(&SeqVector::default(), &mut |block| {
            fold(block, |stamp, fact| state.apply(stamp, fact)).unwrap();
            ControlFlow::Continue(())
        });
        whole.unwrap();
        assert_eq!(self.stage.front.difference(&state), None, "live, and folded anew");
        let hours = state.tallies[chunk_of(self.shop.ad)].ads[&self.shop.ad].by_hour();
        let value = |tally: &Tally| tally.values.get("MXN").copied().unwrap_or_default();
        hours
            .values()
            .fold((0, 0), |(count, sum), tally| (count + tally.conversions, sum + value(tally)))
    }
}

#[test]
fn a_sale_is_worth_what_was_told_last_until_it_is_retracted() {
    let mut story = Story::new();
    let first = story.sale();
    assert_eq!(story.sold(), (1, 9_000_000));
    assert!(matches!(story.adjust("less", Some(4_000_000)), Verdict::Recorded { .. }));
    assert_eq!(story.adjust("less", Some(4_000_000)), Verdict::Already);
    let restated = story.sale();
    assert_eq!((restated.revision, restated.revision_cause()), (2, RevisionCause::Adjusted));
    assert_eq!(restated.value.as_ref().unwrap().micros, 4_000_000);
    assert_eq!((&restated.path, restated.ad_id), (&first.path, first.ad_id), "it stays credited");
    assert_eq!(story.sold(), (1, 4_000_000));
    // What is found invalid afterwards keeps the new value.
    story.find_invalid(2);
    assert_eq!((story.sale().revision, story.sold()), (3, (1, 4_000_000)));
    assert!(matches!(story.adjust("returned", None), Verdict::Recorded { .. }));
    let gone = story.sale();
    assert!(gone.withdrawn && gone.path.is_empty() && gone.value.is_none(), "{gone:?}");
    assert_eq!((gone.revision, gone.outcome_id, gone.campaign_id), (4, first.outcome_id, 0));
    assert_eq!(story.sold(), (0, 0));
    assert_eq!(story.adjust("returned", None), Verdict::Already);
    let Verdict::Refused(refusal) = story.adjust("again", Some(1)) else { panic!("it is gone") };
    assert_eq!(refusal.reason, Reason::ConversionRetracted);
    let shop = story.shop;
    let click = story.click(2);
    let again = story.stage.convert(&shop, "order", Origin::Click(click));
    assert_eq!(again, Verdict::Already, "a retracted sale does not come back by its id");
    let mut story = Story { stage: story.stage.restarted(), ..story };
    assert_eq!(story.adjust("less", Some(4_000_000)), Verdict::Already, "known after a restart");
    let report = audited_with(&story.stage, |_| ());
    assert!(report.equal, "{report}");
    let altered = audited_with(&story.stage, |kind| {
        if let Kind::OutcomeRevised(fact) = kind {
            fact.withdrawn = false;
        }
    });
    assert!(!altered.equal, "a tombstone that is none any more");
}
