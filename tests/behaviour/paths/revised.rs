//! What findings of invalid traffic make of outcomes that were credited before, told as plainly as the rest.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use munadi::decide::credits::{Finder, Found};
use munadi::node::fold;
use munadi::node::writer::{Credit, Work};
use munadi::state::State;
use munadi::types::ids::SeqVector;
use munadi::types::proto::v1::{DeclineReason, Outcome};
use munadi::types::request::EventFilter;
use munadi::types::time::{HOUR_MS, Moment};

use super::naive::{self, Luck};
use super::{Expected, Recount};

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
        let chats = self.chats.values_mut().filter(|chat| chat.expected.viewer == viewer);
        chats.for_each(|chat| chat.expected.lose(view));
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

impl Expected {
    /// Takes a touch off the path: the last one that is left earns the outcome, or nobody.
    fn lose(&mut self, view: u64) {
        if self.credited.is_none() || !self.path.iter().any(|touch| touch.view == view) {
            return;
        }
        self.revision += 1;
        self.path.retain(|touch| touch.view != view);
        self.credited = naive::last(&self.path, |touch| touch.inside);
        if self.credited.is_none() {
            self.declined = DeclineReason::FraudDetected;
            self.path.clear();
        }
    }
}
