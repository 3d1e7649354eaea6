//! Touches that are told after the outcomes behind them: what they earn, through crashes, the audit and reports.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use munadi::node::fold;
use munadi::state::{State, chunk_of};
use munadi::types::ids::SeqVector;
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{OutcomeRevised, RevisionSettled, Standing};
use munadi::types::proto::v1::{
    AttributionRow, DeclineReason, Direction, EntryPoint, EventKind, MatchKind, Outcome,
    RevisionCause,
};
use munadi::types::request::{Conversion, Incoming, Opening, Origin, Verdict};
use munadi::types::time::{HOUR_MS, MINUTE_MS, Moment};
use munadi::types::token::ViewToken;

use crate::audited::audited_with;
use crate::revisions::find_invalid;
use crate::stage::{ALL, FEED, Offer, Shop, Stage, sale};

/// What a conversation costs.
const PRICE: i64 = 1_000;

/// Two ads of one account, and a viewer whom the platform tells.
struct Story {
    stage: Stage,
    shops: [Shop; 2],
}

/// A showing that was handed out, and when it is seen and tapped.
#[derive(Clone, Copy)]
struct Shown {
    token: ViewToken,
    seen: Moment,
    tapped: Moment,
}

impl Story {
    fn new() -> Self {
        let mut stage = Stage::new();
        let first = stage.shop(&Offer::default());
        let second = stage.shop_in(first.account, &Offer::default());
        Self { stage, shops: [first, second] }
    }

    /// Hands an ad out to the viewer, who taps it soon; nothing is told yet.
    fn show(&mut self, view: u64) -> Shown {
        self.stage.wait(2 * MINUTE_MS);
        let now = self.stage.now;
        let token = ViewToken {
            view,
            ad: self.shops[view as usize - 1].ad,
            viewer: self.stage.viewer("ana"),
            feed: FEED,
            issued: now.seconds() - 1,
            show_by: 900,
            placement: 1,
            billing: 3,
            price_micros: PRICE,
            country: *b"MX",
            ..ViewToken::default()
        };
        let shown = Shown { token, seen: now.plus_ms(5_000), tapped: now.plus_ms(10_000) };
        self.stage.wait(MINUTE_MS);
        shown
    }

    fn tell(&mut self, shown: &Shown, kind: EventKind) {
        let at = Some(if kind == EventKind::Tap { shown.tapped } else { shown.seen });
        let told = Incoming::Ad { token: shown.token, kind, at, suspect: None, network: 0 };
        let verdict = self.stage.record(told);
        assert!(matches!(verdict, Verdict::Recorded { invalid: None, .. }), "{verdict:?}");
    }

    /// Opens a chat, is answered, writes again and buys.
    fn come(&mut self) {
        let (shop, viewer) = (self.shops[0], self.stage.viewer("ana"));
        let chat = self.stage.chat(&shop, "ana");
        let opening = Opening { viewer, ..Opening::by_message(EntryPoint::Ad, None) };
        let opened = self.stage.record(Incoming::Opened { chat, opening });
        assert!(matches!(opened, Verdict::Recorded { .. }), "{opened:?}");
        self.stage.wait(MINUTE_MS);
        self.stage.answer(&shop, "ana", "hello");
        self.stage.wait(MINUTE_MS);
        let again = self.stage.receipt(&shop, "ana", "and?", Direction::Inbound);
        self.stage.record(again);
        self.stage.wait(MINUTE_MS);
        let origin = Origin::Viewer { account: shop.account };
        let sold = Conversion { viewer, ..sale(&shop, "order", 9_000_000, origin) };
        let sold = self.stage.record(Incoming::Converted(Box::new(sold)));
        assert!(matches!(sold, Verdict::Recorded { .. }), "{sold:?}");
        self.stage.wait(2 * MINUTE_MS);
    }

    fn rows(&self, end: Moment) -> Vec<AttributionRow> {
        self.stage.front.pull_before(ALL, &SeqVector::default(), end).rows
    }

    /// Returns the newest rows by what they are of.
    fn newest(&self) -> BTreeMap<i32, AttributionRow> {
        let rows = self.rows(self.stage.now.plus_ms(HOUR_MS));
        rows.into_iter().map(|row| (row.outcome, row)).collect()
    }

    /// Returns conversations, first replies, qualified ones and conversions of both ads, as a fold of the journal
    /// has them.
    fn counts(&self) -> [[u64; 4]; 2] {
        let mut state = State::default();
        let whole = self.stage.writer.log().read_from(&SeqVector::default(), &mut |block| {
            fold(block, |stamp, fact| state.apply(stamp, fact)).unwrap();
            ControlFlow::Continue(())
        });
        whole.unwrap();
        assert_eq!(self.stage.front.difference(&state), None, "live, and folded anew");
        self.shops.map(|shop| {
            let chunk = state.tallies.get(chunk_of(shop.ad));
            let Some(ad) = chunk.and_then(|chunk| chunk.ads.get(&shop.ad)) else {
                return [0; 4];
            };
            ad.by_hour().values().fold([0; 4], |sums, tally| {
                let qualified = tally.chats.as_ref().map_or(0, |chats| chats.qualified);
                [
                    sums[0] + tally.conversations,
                    sums[1] + tally.first_replies,
                    sums[2] + qualified,
                    sums[3] + tally.conversions,
                ]
            })
        })
    }

    /// Alters the revision with this number; tells whether the audit finds nothing, and how many there are.
    fn audited(&self, number: usize, alter: fn(&mut OutcomeRevised)) -> (bool, usize) {
        let seen = Cell::new(0);
        let report = audited_with(&self.stage, |kind| {
            if let Kind::OutcomeRevised(fact) = kind {
                if seen.get() == number {
                    alter(fact);
                }
                seen.set(seen.get() + 1);
            }
        });
        (report.equal, seen.get())
    }
}

fn after(fact: &mut OutcomeRevised) -> &mut Standing {
    fact.after.as_mut().unwrap()
}

#[test]
fn a_late_tap_earns_what_it_is_the_last_touch_of_and_the_old_rows_stay() {
    let mut story = Story::new();
    let one = story.show(1);
    story.tell(&one, EventKind::Impression);
    story.tell(&one, EventKind::Tap);
    let two = story.show(2);
    story.come();
    let first = story.newest();
    assert_eq!(first.len(), 4, "an opening, its two steps, a sale");
    let [ad, other] = story.shops.map(|shop| shop.ad);
    assert!(first.values().all(|row| row.ad_id == ad && row.path.len() == 1));
    assert_eq!(first[&Outcome::Conversation.into()].charged_micros, PRICE);
    assert_eq!(story.counts(), [[1; 4], [0; 4]]);
    let before = story.stage.now;
    story.stage.wait(MINUTE_MS);

    // A view joins the path; the tap still earns all.
    story.tell(&two, EventKind::Impression);
    for row in story.newest().values() {
        assert_eq!((row.revision, row.path.len(), row.ad_id), (2, 2, ad), "{row:?}");
    }
    story.stage.wait(MINUTE_MS);
    story.tell(&two, EventKind::Tap);
    for row in story.newest().values() {
        let earlier = &first[&row.outcome];
        assert_eq!((row.revision, row.path.len(), row.ad_id), (3, 2, other), "{row:?}");
        assert_eq!(row.revision_cause(), RevisionCause::LateTouch);
        assert_eq!(row.match_kind(), MatchKind::Viewer);
        assert_eq!(row.charged_micros, earlier.charged_micros, "nothing is charged for it");
        assert_eq!((row.event_time, &row.value), (earlier.event_time, &earlier.value));
    }
    assert_eq!(story.counts(), [[0; 4], [1; 4]]);
    let touch = story.stage.conversation(&story.shops[0], "ana").latest_touch.unwrap();
    assert_eq!(touch.click_id, 2);
    let known: Vec<_> = first.values().cloned().collect();
    let mut then = story.rows(before.plus_ms(1));
    then.sort_by_key(|row| row.outcome);
    assert_eq!(then, known, "as known before");

    // What was charged for the first tap's conversation is given back once, and still by its own tap.
    story.stage.wait(MINUTE_MS);
    find_invalid(&mut story.stage, 1);
    let opening = &story.newest()[&Outcome::Conversation.into()];
    assert_eq!((opening.revision, opening.ad_id, opening.charged_micros), (4, other, 0));
    story.stage.wait(2 * MINUTE_MS);
    story.stage.settle();
    let rows = story.rows(story.stage.now.plus_ms(HOUR_MS));
    let story = Story { stage: story.stage.restarted(), ..story };
    assert_eq!(story.rows(story.stage.now.plus_ms(HOUR_MS)), rows);
    assert_eq!(story.counts(), [[0; 4], [1; 4]]);
}

#[test]
fn what_was_declined_for_want_of_a_touch_is_earned_by_a_late_one_with_all_that_was_said() {
    let mut story = Story::new();
    let one = story.show(1);
    story.come();
    let first = story.newest();
    assert_eq!(first.len(), 2, "nobody's conversation has no steps");
    assert!(first.values().all(|row| row.decline_reason() == DeclineReason::NoTouch));
    assert_eq!(story.counts(), [[0; 4]; 2]);
    story.stage.wait(MINUTE_MS);
    story.tell(&one, EventKind::Impression);
    let newest = story.newest();
    assert_eq!(newest.len(), 4);
    for row in newest.values() {
        assert_eq!((row.decline_reason, row.ad_id), (0, story.shops[0].ad), "{row:?}");
        assert_eq!((row.path.len(), row.charged_micros), (1, 0), "{row:?}");
        let step = !first.contains_key(&row.outcome);
        assert_eq!(row.revision, if step { 1 } else { 2 }, "{row:?}");
    }
    assert_eq!(story.counts(), [[1; 4], [0; 4]]);
    let mut story = Story { stage: story.stage.restarted(), ..story };
    story.stage.wait(MINUTE_MS);
    // The view was tapped: the same touch, as another kind and at another time.
    story.tell(&one, EventKind::Tap);
    let newest = story.newest();
    assert!(newest.values().all(|row| row.path.len() == 1), "{newest:?}");
    assert_eq!(newest[&Outcome::Conversation.into()].revision, 3);
    assert_eq!(story.counts(), [[1; 4], [0; 4]]);
    story.stage.wait(2 * MINUTE_MS);
    story.stage.settle();
    let report = audited_with(&story.stage, |_| ());
    assert!(report.equal, "{report}");
}

#[test]
fn a_touch_behind_its_outcome_changes_nothing() {
    let mut story = Story::new();
    let one = story.show(1);
    story.tell(&one, EventKind::Impression);
    story.come();
    let two = story.show(2);
    story.tell(&two, EventKind::Impression);
    story.tell(&two, EventKind::Tap);
    assert!(story.newest().values().all(|row| row.revision == 1 && row.path.len() == 1));
}

#[test]
fn a_conversation_hears_of_a_late_touch_wherever_a_crash_cuts() {
    for lost in 0..=4 {
        let mut story = Story::new();
        let one = story.show(1);
        story.come();
        story.tell(&one, EventKind::Impression);
        let story = Story { stage: story.stage.losing(lost), ..story };
        let newest = story.newest();
        let Some(opening) = newest.get(&Outcome::Conversation.into()) else { continue };
        let steps = usize::from(opening.decline_reason == 0) * 2;
        let told = newest.values().filter(|row| row.revision == 1 && row.decline_reason == 0);
        assert_eq!(told.count(), steps, "{lost} batches lost: {newest:?}");
    }
}

#[test]
fn the_audit_follows_late_touches_and_finds_an_altered_revision() {
    let mut story = Story::new();
    let (one, two) = (story.show(1), story.show(2));
    story.tell(&one, EventKind::Impression);
    story.tell(&one, EventKind::Tap);
    story.come();
    story.tell(&two, EventKind::Impression);
    story.stage.wait(MINUTE_MS);
    story.tell(&two, EventKind::Tap);
    story.stage.wait(2 * MINUTE_MS);
    story.stage.settle();
    let (equal, count) = story.audited(usize::MAX, |_| ());
    assert!(equal, "{}", audited_with(&story.stage, |_| ()));
    assert_eq!(count, 8, "four outcomes, twice");
    let alters: [fn(&mut OutcomeRevised); 7] = [
        |fact| fact.revision += 1,
        |fact| fact.charged += 1,
        |fact| fact.cause = RevisionCause::InvalidTraffic.into(),
        |fact| fact.before.as_mut().unwrap().touch_ms += 1,
        |fact| after(fact).path.truncate(1),
        |fact| after(fact).touch_ms += 1,
        |fact| after(fact).decline_reason = DeclineReason::NoTouch.into(),
    ];
    for number in 0..count {
        for (which, alter) in alters.iter().enumerate() {
            // Steps follow their opening whatever the cause.
            let (equal, _) = story.audited(number, *alter);
            assert!(!equal || which == 2, "revision {number}, alteration {which}");
        }
    }
    // A touch that nobody was told anew for.
    let silent = audited_with(&story.stage, |kind| {
        if matches!(kind, Kind::OutcomeRevised(fact) if fact.kind() == Outcome::Conversion) {
            *kind = Kind::RevisionSettled(RevisionSettled::default());
        }
    });
    assert!(!silent.equal, "an outcome was left as it was");
}
