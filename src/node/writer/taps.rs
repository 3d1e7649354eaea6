//! The taps that an opening without a sealed proof may come from: those without a conversation, by endpoint.
//!
//! Not journaled: an opening's fact carries what was found. Built from the facts as they are journaled, and from
//! the viewers' touches at a restart.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::decide::chats::FoundTap;
use crate::node::live::Live;
use crate::state::bucket::Outgoing;
use crate::state::chats::MESSAGE_MEMORY_MS;
use crate::state::{BUCKETS, is_imported};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{ConversationOpened, Tapped};
use crate::types::time::{MINUTE_MS, Moment};

/// An opening that names no click comes from a tap that is younger than this (DESIGN section 9).
pub(in crate::node) const TAP_WINDOW_MS: i64 = 30 * MINUTE_MS;

/// Taps that are looked up. Beyond them the oldest is forgotten, and an opening that it might have led to is
/// not taken for another's.
pub(in crate::node) const RECENT_TAPS_MAX: usize = 1 << 18;

/// The oldest opening that is counted may come from a tap this old.
const MEMORY_MS: i64 = MESSAGE_MEMORY_MS + TAP_WINDOW_MS;

/// A valid tap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Tap {
    viewer: u64,
    ad: u64,
    country: u32,
}

/// What an opening names its tap by.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::node) enum Claim {
    /// Its click's id.
    Click(u64),
    /// Its prefill code.
    Code(u64),
}

/// What taps are looked up by, beside their endpoint: an opening must not walk over all the others of a busy one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Of {
    Ad(u64),
    Country(u32),
}

impl Tap {
    const fn kinds(&self) -> [Of; 2] {
        [Of::Ad(self.ad), Of::Country(self.country)]
    }
}

/// Where a tap stands, by its click's id.
#[derive(Clone, Copy, Debug)]
struct Place {
    endpoint: u64,
    tap_ms: i64,
}

/// The recent taps without a conversation.
#[derive(Debug)]
pub(in crate::node) struct RecentTaps {
    /// By endpoint, then by time and click.
    endpoints: HashMap<u64, BTreeMap<(i64, u64), Tap>>,
    /// The same times and clicks by endpoint and kind.
    kinds: HashMap<(u64, Of), BTreeSet<(i64, u64)>>,
    by_age: BTreeSet<(i64, u64)>,
    places: HashMap<u64, Place>,
    /// What openings on their way claim, with each one's outcome: a tap that is told after its opening is not free.
    claims: BTreeSet<(Claim, u64)>,
    max: usize,
    /// Some tap up to this time was forgotten before its time.
    incomplete_ms: i64,
}

impl Default for RecentTaps {
    fn default() -> Self {
        Self {
            endpoints: HashMap::new(),
            kinds: HashMap::new(),
            by_age: BTreeSet::new(),
            places: HashMap::new(),
            claims: BTreeSet::new(),
            max: RECENT_TAPS_MAX,
            incomplete_ms: i64::MIN,
        }
    }
}

impl RecentTaps {
    /// Returns the taps that a journal's end leaves.
    pub(in crate::node) fn of(live: &Live, latest: Moment) -> Self {
        let mut taps = Self::default();
        for bucket in 0..BUCKETS {
            let cell = live.cell_at(bucket);
            for (viewer, known) in cell.facts.viewers.iter() {
                for touch in known.touches() {
                    let open = touch.conversation == 0 && touch.invalid == 0;
                    if !open || touch.endpoint == 0 {
                        continue;
                    }
                    let (viewer, country) = (*viewer, u32::from(touch.country));
                    let tap = Tap { viewer, ad: touch.ad, country };
                    taps.add(touch.endpoint, touch.view, touch.tap_ms, tap, latest);
                }
            }
        }
        taps
    }

    /// Notes what a fact says of a tap.
    pub(in crate::node) fn note(&mut self, fact: &Kind, now: Moment) {
        match fact {
            // A history leads to no conversation from here on.
            fact if is_imported(fact) => {}
            Kind::Tapped(fact) => self.tapped(fact, now),
            Kind::ClickMatched(fact) => {
                let view = fact.showing.map_or(0, |showing| showing.view);
                let tap_ms = self.places.get(&view).map(|place| place.tap_ms);
                // What was tapped only after the outcome has led to it as a view.
                if tap_ms == Some(fact.touch_ms) {
                    self.take(view);
                }
            }
            Kind::ConversationOpened(fact) => {
                fact.proof.iter().for_each(|proof| self.take(proof.view));
            }
            _ => {}
        }
    }

    fn tapped(&mut self, fact: &Tapped, now: Moment) {
        let Some(showing) = fact.showing.as_ref().filter(|_| fact.invalid == 0) else { return };
        if [Claim::Click(showing.view), Claim::Code(fact.code)].iter().any(|it| self.claims(*it)) {
            return;
        }
        let tap = Tap { viewer: showing.viewer, ad: showing.ad, country: fact.country };
        self.add(fact.endpoint, showing.view, fact.event_ms, tap, now);
    }

    fn add(&mut self, endpoint: u64, view: u64, tap_ms: i64, tap: Tap, now: Moment) {
        let from_ms = now.0 - MEMORY_MS;
        while let Some((oldest_ms, oldest)) = self.by_age.first().copied()
            && oldest_ms < from_ms
        {
            self.take(oldest);
        }
        if tap_ms < from_ms {
            return;
        }
        self.endpoints.entry(endpoint).or_default().insert((tap_ms, view), tap);
        for kind in tap.kinds() {
            self.kinds.entry((endpoint, kind)).or_default().insert((tap_ms, view));
        }
        self.by_age.insert((tap_ms, view));
        self.places.insert(view, Place { endpoint, tap_ms });
        if self.by_age.len() > self.max
            && let Some((oldest_ms, oldest)) = self.by_age.first().copied()
        {
            self.incomplete_ms = self.incomplete_ms.max(oldest_ms);
            self.take(oldest);
        }
    }

    /// Tells what an opening claims: its click or code, if it names one.
    pub(in crate::node) fn claims_of(
        &mut self,
        opened: &Outgoing,
        tell: impl Fn(&mut Self, Claim, u64),
    ) {
        let Outgoing::Opened(ConversationOpened { outcome, proof: Some(proof), .. }) = opened
        else {
            return;
        };
        if proof.view != 0 {
            tell(self, Claim::Click(proof.view), *outcome);
        }
        if proof.code != 0 {
            tell(self, Claim::Code(proof.code), *outcome);
        }
    }

    /// Notes what an opening claims, until its outcome is settled.
    pub(in crate::node) fn claim(&mut self, claim: Claim, outcome: u64) {
        self.claims.insert((claim, outcome));
    }

    /// Notes that the outcome of an opening is settled.
    pub(in crate::node) fn settle(&mut self, claim: Claim, outcome: u64) {
        self.claims.remove(&(claim, outcome));
    }

    fn claims(&self, claim: Claim) -> bool {
        self.claims.range((claim, 0)..=(claim, u64::MAX)).next().is_some()
    }

    /// Forgets a tap: it has led to a conversation.
    pub(in crate::node) fn take(&mut self, view: u64) {
        let Some(Place { endpoint, tap_ms }) = self.places.remove(&view) else { return };
        self.by_age.remove(&(tap_ms, view));
        let Some(taps) = self.endpoints.get_mut(&endpoint) else { return };
        let taken = taps.remove(&(tap_ms, view));
        if taps.is_empty() {
            self.endpoints.remove(&endpoint);
        }
        for kind in taken.iter().flat_map(Tap::kinds) {
            if let Entry::Occupied(mut known) = self.kinds.entry((endpoint, kind)) {
                known.get_mut().remove(&(tap_ms, view));
                if known.get().is_empty() {
                    known.remove();
                }
            }
        }
    }

    /// Returns the newest tap of an ad in the window before an opening.
    pub(in crate::node) fn newest(
        &self,
        endpoint: u64,
        ad: u64,
        event_ms: i64,
    ) -> Option<FoundTap> {
        self.window(endpoint, Of::Ad(ad), event_ms).next_back()
    }

    /// Returns the only tap in the window before an opening that may be of its country, if it is known to be.
    pub(in crate::node) fn only(
        &self,
        endpoint: u64,
        country: u16,
        event_ms: i64,
    ) -> Option<FoundTap> {
        let country = u32::from(country);
        let complete = self.incomplete_ms <= event_ms - TAP_WINDOW_MS;
        if country == 0 || !complete {
            return None;
        }
        let mut taps = self.window(endpoint, Of::Country(country), event_ms);
        let only = taps.next()?;
        let mut others = taps.chain(self.window(endpoint, Of::Country(0), event_ms));
        others.next().is_none().then_some(only)
    }

    /// Returns an endpoint's taps of one kind in the window that ends with an opening, oldest first.
    fn window(
        &self,
        endpoint: u64,
        kind: Of,
        event_ms: i64,
    ) -> impl DoubleEndedIterator<Item = FoundTap> {
        let range = (event_ms - TAP_WINDOW_MS + 1, 0)..=(event_ms, u64::MAX);
        let places = self.kinds.get(&(endpoint, kind)).into_iter();
        let places = places.flat_map(move |places| places.range(range.clone()));
        places.filter_map(move |place| {
            let tap = self.endpoints.get(&endpoint)?.get(place)?;
            Some(FoundTap { view: place.1, viewer: tap.viewer, ad: tap.ad })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::dice::SeededDice;
    use crate::types::dice::Dice;
    use crate::types::proto::journal::v1::Showing;

    const ENDPOINT: u64 = 3;
    const MX: u32 = 0x4D58;
    const NOON: i64 = 1_000_000_000_000;

    fn tap(taps: &mut RecentTaps, view: u64, country: u32, tap_ms: i64) {
        let tap = Tap { viewer: view + 100, ad: 7, country };
        taps.add(ENDPOINT, view, tap_ms, tap, Moment(NOON));
    }

    fn only(taps: &RecentTaps, event_ms: i64) -> Option<u64> {
        taps.only(ENDPOINT, MX as u16, event_ms).map(|tap| tap.view)
    }

    #[test]
    fn a_tap_is_the_only_one_for_less_than_half_an_hour() {
        let mut taps = RecentTaps::default();
        tap(&mut taps, 1, MX, NOON);
        assert_eq!(only(&taps, NOON - 1), None);
        assert_eq!(only(&taps, NOON), Some(1));
        assert_eq!(only(&taps, NOON + TAP_WINDOW_MS - 1), Some(1));
        assert_eq!(only(&taps, NOON + TAP_WINDOW_MS), None);
        taps.take(1);
        assert_eq!(only(&taps, NOON), None);
    }

    #[test]
    fn a_tap_that_is_told_after_its_opening_is_not_free_and_another_is_once_that_is_settled() {
        let mut taps = RecentTaps::default();
        let told = |taps: &mut RecentTaps, view: u64, code: u64| {
            let showing = Some(Showing { view, viewer: 5, ad: 7, ..Showing::default() });
            let (endpoint, event_ms, country) = (ENDPOINT, NOON, MX);
            let fact = Tapped { showing, event_ms, endpoint, country, code, ..Tapped::default() };
            taps.note(&Kind::Tapped(fact), Moment(NOON));
            only(taps, NOON)
        };
        taps.claim(Claim::Click(1), 40);
        taps.claim(Claim::Click(1), 41);
        taps.claim(Claim::Code(9), 42);
        taps.settle(Claim::Click(1), 40);
        assert_eq!(told(&mut taps, 1, 8), None, "the other opening is on its way");
        assert_eq!(told(&mut taps, 2, 9), None, "claimed by its code");
        taps.settle(Claim::Click(1), 41);
        taps.settle(Claim::Code(9), 42);
        assert_eq!(told(&mut taps, 1, 9), Some(1));
        assert!(taps.claims.is_empty());
    }

    #[test]
    fn two_taps_are_not_one_and_an_unknown_country_may_be_any() {
        let mut taps = RecentTaps::default();
        tap(&mut taps, 1, MX, NOON);
        tap(&mut taps, 2, MX + 1, NOON);
        assert_eq!(only(&taps, NOON), Some(1), "the other is of another country");
        tap(&mut taps, 3, 0, NOON);
        assert_eq!(only(&taps, NOON), None);
        taps.take(1);
        assert_eq!(only(&taps, NOON), None, "nobody knows where it was");
        assert_eq!(taps.only(ENDPOINT, 0, NOON), None);
    }

    #[test]
    fn a_full_ring_forgets_the_oldest_and_guesses_no_more_about_its_time() {
        let mut taps = RecentTaps { max: 2, ..RecentTaps::default() };
        tap(&mut taps, 1, MX, NOON - 9_000);
        tap(&mut taps, 2, MX, NOON - TAP_WINDOW_MS);
        tap(&mut taps, 3, MX + 1, NOON);
        assert_eq!(taps.by_age.len(), 2);
        assert_eq!(only(&taps, NOON - 9_000), None, "there may have been one more before");
        assert_eq!(only(&taps, NOON), Some(1));
    }

    #[test]
    fn nothing_is_kept_of_a_tap_that_is_taken() {
        let mut taps = RecentTaps::default();
        tap(&mut taps, 1, MX, NOON);
        tap(&mut taps, 2, 0, NOON);
        assert_eq!(taps.kinds.len(), 3, "one ad, two countries");
        taps.take(1);
        taps.take(2);
        assert!(taps.kinds.is_empty() && taps.endpoints.is_empty());
        assert!(taps.by_age.is_empty() && taps.places.is_empty());
    }

    #[test]
    fn the_ring_finds_what_a_list_of_all_facts_finds() {
        for seed in 0..300 {
            let mut dice = SeededDice::new(seed);
            let (mut taps, mut all) = (RecentTaps::default(), Vec::new());
            let mut now = NOON;
            for view in 1..60_u64 {
                now += (dice.roll() % (20 * MINUTE_MS as u64)) as i64;
                let tap_ms = now - (dice.roll() % (40 * MINUTE_MS as u64)) as i64;
                let (ad, country) = (dice.roll() % 3, MX + (dice.roll() % 2) as u32);
                let (endpoint, invalid) =
                    (dice.roll() % 2, i32::from(dice.roll().is_multiple_of(4)));
                let showing = Some(Showing { view, viewer: view, ad, ..Showing::default() });
                let event_ms = tap_ms;
                let fact =
                    Tapped { showing, event_ms, endpoint, country, invalid, ..Tapped::default() };
                taps.note(&Kind::Tapped(fact), Moment(now));
                if invalid == 0 {
                    all.push(fact);
                }
                let near = |tap: &&Tapped| (0..1_800_000).contains(&(now - tap.event_ms));
                let here = || all.iter().filter(near).filter(|tap| tap.endpoint == 1);
                let of_ad = here().filter(|tap| tap.showing.unwrap().ad == 2);
                let newest = of_ad.max_by_key(|tap| (tap.event_ms, tap.showing.unwrap().view));
                let newest = newest.map(|tap| tap.showing.unwrap().view);
                assert_eq!(taps.newest(1, 2, now).map(|tap| tap.view), newest, "seed {seed}");
                let mexican: Vec<_> = here().filter(|tap| tap.country == MX).collect();
                let only = match *mexican {
                    [only] => Some(only.showing.unwrap().view),
                    _ => None,
                };
                assert_eq!(taps.only(1, MX as u16, now).map(|tap| tap.view), only, "seed {seed}");
                if let Some(view) = newest.filter(|_| dice.roll().is_multiple_of(2)) {
                    taps.take(view);
                    all.retain(|tap| tap.showing.unwrap().view != view);
                }
            }
        }
    }
}
