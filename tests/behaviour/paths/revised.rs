//! What findings of invalid traffic, late touches and adjustments make of outcomes that were told before, as plainly
//! as the rest.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use munadi::decide::credits::{Finder, Found};
use munadi::node::fold;
use munadi::node::writer::{Credit, Work};
use munadi::state::State;
use munadi::types::ids::SeqVector;
use munadi::types::proto::v1::{DeclineReason, Money, Outcome, RevisionCause};
use munadi::types::request::{Adjustment, EventFilter, Incoming, Verdict};
use munadi::types::time::{DAY_MS, HOUR_MS, Moment, SECOND_MS};

use super::naive::{self, Luck};
use super::{Chat, Expected, Recount};

/// Of so many charged events one is found invalid.
const FOUND_OF: u64 = 8;

impl Recount {
    /// Gives some charges back, and notes what that makes of the outcomes before and behind it.
    pub(super) fn find_invalid(&mut self, luck: &mut Luck) {
        let all = EventFilter { end: Moment(i64::MAX), ..EventFilter::default() };
        let mut finder = Finder::new(&all);
        let whole = self.stage.writer.log().read_from(&SeqVector::default(), &mut |block| {
            fold(block, |stamp, fact| finder.take(stamp.at, fact)).unwrap();
            ControlFlow::Continue(())
        });
        whole.unwrap();
        let events = finder.finish().unwrap().events;
        let found: Vec<Found> = events.into_iter().filter(|_| luck.chance(FOUND_OF)).collect();
        let views: Vec<u64> =
            found.iter().map(|found| found.credit(0, 0, "").showing.unwrap().view).collect();
        let reason = "a click farm".to_owned();
        let credit = Credit { found, batch: 7, reason, answered: None, noted: None };
        self.stage.work(|reply| Work::Credit(Box::new(credit), reply)).unwrap();
        let before = self.expected.clone();
        for view in views {
            self.invalidate(view);
        }
        // A conversation hears of its opening once all is found: its steps are told anew once.
        for (name, outcome) in &mut self.expected {
            let is_step = matches!(outcome.kind, Outcome::FirstReply | Outcome::Qualified);
            let known = before[name].revision;
            if is_step && outcome.revision > known {
                outcome.revision = known + 1;
            }
        }
    }

    fn invalidate(&mut self, view: u64) {
        let viewer = (view >> 16) as usize;
        let mut showings = self.viewers[viewer].iter_mut();
        let showing = showings.find(|showing| showing.token.view == view).unwrap();
        showing.seen = showing.seen.map(|_| false);
        showing.tapped = showing.tapped.map(|(ms, _)| (ms, false));
        let theirs = self.expected.values_mut().filter(|outcome| outcome.viewer == viewer);
        theirs.for_each(|outcome| outcome.lose(view));
    }

    /// Counts the outcomes anew that lie behind what was told of a showing.
    pub(super) fn tell_late(&mut self, viewer: usize, index: usize, from_ms: i64) {
        let accounts: Vec<u64> = self.shops.iter().map(|shop| shop.account).collect();
        let showings = self.viewers[viewer].clone();
        let account = accounts[showings[index].shop];
        for key in self.theirs[viewer].clone() {
            let outcome = self.expected.get_mut(&key).expect("it was told");
            let theirs = accounts[outcome.shop] == account;
            if !theirs || outcome.fixed || outcome.event_ms < from_ms {
                continue;
            }
            let was_earned = outcome.credited.is_some();
            if !outcome.tell(&showings, &|shop: usize| accounts[shop] == account) {
                continue;
            }
            let outcome = outcome.clone();
            self.late[0] += 1;
            self.late[1] += usize::from(!was_earned && outcome.credited.is_some());
            if outcome.kind == Outcome::Conversation {
                self.hand_over(&key.0, &outcome);
            }
        }
    }

    /// Tells a conversation what became of its opening.
    fn hand_over(&mut self, id: &str, opening: &Expected) {
        for kind in [Outcome::FirstReply, Outcome::Qualified] {
            if let Some(step) = self.expected.get_mut(&(id.to_owned(), kind.into())) {
                let (revision, event_ms) = (step.revision + 1, step.event_ms);
                *step = Expected { kind, revision, event_ms, ..opening.clone() };
            }
        }
        let chat = self.chats.get_mut(id).expect("it was opened");
        if chat.touched || opening.credited.is_none() {
            return;
        }
        // What was said before anybody had earned it.
        chat.touched = true;
        chat.qualified = chat.is_qualified();
        let chat = *chat;
        if chat.outbound > 0 {
            self.step(id, opening, Outcome::FirstReply, chat.reply_ms);
        }
        if chat.qualified {
            self.step(id, opening, Outcome::Qualified, opening.event_ms);
        }
    }

    /// Notes a step of a conversation.
    pub(super) fn step(&mut self, id: &str, opening: &Expected, kind: Outcome, event_ms: i64) {
        let cause = RevisionCause::Unspecified;
        let expected = Expected { kind, revision: 1, cause, event_ms, ..opening.clone() };
        self.expected.insert((id.to_owned(), kind.into()), expected);
    }

    /// Tells whether nothing is told of a showing any more, and drops it where a node can't know what to make of it.
    pub(super) fn drops(&mut self, viewer: usize, index: usize) -> bool {
        let drops = self.viewers[viewer][index].dropped || self.is_unknowable(viewer, index);
        self.viewers[viewer][index].dropped = drops;
        drops
    }

    /// Tells whether an outcome that nobody has earned could be told anew for a showing, while views from before it
    /// may be forgotten: they are remembered for 25 hours, and then until a sweep comes.
    pub(super) fn is_unknowable(&self, viewer: usize, index: usize) -> bool {
        let showings = &self.viewers[viewer];
        let account = |shop: usize| self.shops[shop].account;
        let theirs = self.theirs[viewer].iter().map(|key| &self.expected[key]);
        let mut open = theirs.filter(|outcome| outcome.credited.is_none() && !outcome.fixed);
        open.any(|outcome| {
            let may_be_old = |showing: &super::Showing| {
                let issued_ms = i64::from(showing.token.issued) * SECOND_MS;
                showing.seen.is_some()
                    && account(showing.shop) == account(outcome.shop)
                    && (0..=DAY_MS).contains(&(outcome.event_ms - showing.seen_ms))
                    && self.stage.now.0 - issued_ms > DAY_MS
            };
            account(showings[index].shop) == account(outcome.shop)
                && showings.iter().any(may_be_old)
        })
    }

    /// Retracts or restates a sale.
    pub(super) fn adjust(
        &mut self,
        viewer: usize,
        number: u32,
        adjustment: u32,
        micros: Option<i64>,
    ) {
        let event_id = format!("order {number}");
        let key = (event_id.clone(), Outcome::Conversion.into());
        let shop = self.shops[self.expected[&key].shop];
        let currency = "MXN".to_owned();
        let verdict = self.stage.record(Incoming::Adjusted(Box::new(Adjustment {
            tenant: shop.tenant,
            account: shop.account,
            event_id,
            adjustment_id: format!("adjustment {viewer} {number} {adjustment}"),
            value: micros.map(|micros| Money { micros, currency }),
        })));
        let expected = self.expected.get_mut(&key).expect("it was told");
        if expected.withdrawn {
            return assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
        }
        assert!(matches!(verdict, Verdict::Recorded { .. }), "{verdict:?}");
        expected.revision += 1;
        expected.cause = RevisionCause::Adjusted;
        match micros {
            Some(micros) => expected.micros = micros,
            None => {
                expected.withdrawn = true;
                (expected.fixed, expected.lost) = (true, false);
                expected.credited = None;
                expected.declined = DeclineReason::Unspecified;
                expected.path.clear();
            }
        }
    }

    /// Compares what hours count of each shop with the outcomes that stand.
    pub(super) fn check_counts(&self, state: &State) {
        let mut counted = BTreeMap::<(usize, i64), [i64; 5]>::new();
        for outcome in self.expected.values() {
            let Some(credited) = outcome.credited else { continue };
            let hour = outcome.event_ms.div_euclid(HOUR_MS);
            let counts = counted.entry((credited.shop, hour)).or_default();
            let column = match outcome.kind {
                Outcome::Conversation => 0,
                Outcome::FirstReply => 1,
                Outcome::Qualified => 2,
                _ => 3,
            };
            counts[column] += 1;
            counts[4] += outcome.micros;
        }
        for (place, shop) in self.shops.iter().enumerate() {
            let chunk = munadi::state::chunk_of(shop.ad);
            for (hour, tally) in state.tallies[chunk].ads[&shop.ad].by_hour() {
                let ours = counted.remove(&(place, hour.into())).unwrap_or_default();
                let qualified = tally.chats.as_ref().map_or(0, |chats| chats.qualified);
                let told = [
                    tally.conversations as i64,
                    tally.first_replies as i64,
                    qualified as i64,
                    tally.conversions as i64,
                    tally.values.get("MXN").copied().unwrap_or_default(),
                ];
                assert_eq!(told, ours, "shop {place}, hour {hour}");
                let matches = tally.chats.iter().flat_map(|chats| chats.matches.values());
                assert_eq!(matches.sum::<u64>(), tally.conversations, "by match");
            }
        }
        assert!(counted.is_empty(), "counted nowhere: {counted:?}");
    }
}

impl Chat {
    pub(super) const fn is_qualified(&self) -> bool {
        self.inbound >= 2 && self.outbound >= 1
    }
}

impl Expected {
    /// Counts it anew by all that was told; tells whether it is another.
    fn tell(&mut self, showings: &[super::Showing], of_account: &dyn Fn(usize) -> bool) -> bool {
        let before = (self.path.clone(), self.declined);
        let path = naive::path_of(showings, of_account, self.event_ms, self.proof);
        let any_near = !path.is_empty();
        match naive::last(&path, |touch| touch.inside) {
            Some(touch) => {
                (self.credited, self.path, self.lost) = (Some(touch), path, false);
                self.declined = DeclineReason::Unspecified;
            }
            None if self.credited.is_some() => self.end(),
            // Nobody earns it for what was found, and still nobody does.
            None if self.lost => {}
            None => {
                self.declined = naive::reason(showings, of_account, self.event_ms, any_near);
                self.unsure |= naive::is_unsure(showings, of_account, self.event_ms);
            }
        }
        let is_other = before != (self.path.clone(), self.declined);
        if is_other {
            self.revision += 1;
            self.cause = RevisionCause::LateTouch;
        }
        is_other
    }

    /// Takes a touch off the path: the last one that is left earns the outcome, or nobody.
    fn lose(&mut self, view: u64) {
        if self.credited.is_none() || !self.path.iter().any(|touch| touch.view == view) {
            return;
        }
        self.revision += 1;
        self.cause = RevisionCause::InvalidTraffic;
        self.path.retain(|touch| touch.view != view);
        let was_proven = self.proof.is_some_and(|proof| proof.view == view);
        if was_proven {
            self.proof = None;
        }
        self.credited = naive::last(&self.path, |touch| touch.inside);
        if self.credited.is_none() {
            self.end();
            // It stays known whose it was.
            self.fixed = was_proven;
        }
    }

    fn end(&mut self) {
        (self.credited, self.lost) = (None, true);
        self.declined = DeclineReason::FraudDetected;
        self.path.clear();
    }
}
