//! What the checks know of one viewer: how often ad sets were seen, what was hidden, what was shown
//! just now. A copy, so that selection holds no lock; its buffers are kept from request to request.

use crate::decide::promise::{Promise, half};
use crate::decide::skip::Skip;
use crate::state::viewers::{CAPPED_AD_SETS_MAX, Viewer};
use crate::types::proto::v1::{AdSet, CapEvent};
use crate::types::request::Policy;
use crate::types::time::{DAY_MS, Moment};

/// Kinds of events that caps count, by [`CapEvent`]'s number.
const EVENTS: usize = CapEvent::Conversations as usize + 1;

/// One cap as a row carries it: at most `max` events within any `interval_hours`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Cap {
    /// A [`CapEvent`], 1 to 3.
    pub event: u8,
    /// Most events.
    pub max: u8,
    /// The interval, hours.
    pub interval_hours: u16,
}

impl Cap {
    /// Returns the caps of a validated ad set.
    pub fn of(ad_set: &AdSet) -> impl Iterator<Item = Self> {
        ad_set.frequency_caps.iter().map(|cap| Self {
            event: (cap.event() as u8).max(CapEvent::Impressions as u8),
            max: u8::try_from(cap.max_frequency).unwrap_or(u8::MAX),
            interval_hours: u16::try_from(cap.interval_hours).unwrap_or(u16::MAX),
        })
    }
}

/// What the checks need to know of an ad.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// The ad.
    pub ad: u64,
    /// Its ad set.
    pub ad_set: u64,
    /// The business it is of.
    pub business: u64,
    /// Hash of the business's category; 0: none, never separated.
    pub category: u64,
    /// The caps of its ad set.
    pub caps: &'a [Cap],
    /// Whether it is counted how often a viewer is shown the ad set, also without a cap.
    pub is_counted: bool,
}

/// A copy of what selection needs to know of one viewer.
#[derive(Clone, Debug, Default)]
pub struct Onlooker {
    /// Ad sets with counted events or promises, ascending.
    counts: Vec<Counts>,
    /// For each count a run of hours, ascending, with the events up to the end of each.
    hours: Vec<(u32, u32)>,
    /// Whether the viewer's record has no room for another ad set.
    is_full: bool,
    hidden_ads: Numbers,
    hidden_businesses: Numbers,
    near_businesses: Numbers,
    /// Halves of their hashes.
    near_categories: Numbers,
    /// Showings that are near, with their businesses and categories: kept for its room.
    near: Vec<(i64, u64, u64)>,
    shown_today: usize,
}

/// What was counted of one ad set.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    ad_set: u64,
    /// Whether it has, or will have, a place in the viewer's record.
    is_recorded: bool,
    promised: u32,
    /// First and end of each event's run of hours.
    runs: [(u32, u32); EVENTS],
}

impl Onlooker {
    /// Takes the copy of a viewer and the promises made to it. Only what lies within the policy's
    /// distances is kept of its views.
    pub fn look(
        &mut self,
        viewer: Option<&Viewer>,
        promised: &[Promise],
        policy: &Policy,
        now: Moment,
    ) {
        self.stranger();
        let open = || promised.iter().filter(|promise| promise.is_open(now));
        let since = Since::of(policy, now);
        if let Some(viewer) = viewer {
            self.take_counts(viewer, now);
            self.take_hidden(viewer);
        }
        // Counted first, so that the sets are as large as they must be and no larger.
        let (mut of_business, mut of_category) = (0, 0);
        let mut near = std::mem::take(&mut self.near);
        near.clear();
        for view in viewer.into_iter().flat_map(Viewer::views) {
            let issued_ms = Moment::from_seconds(view.issued_s).0;
            let (business, category) =
                (issued_ms > since.business_ms, issued_ms > since.category_ms);
            of_business += usize::from(business);
            of_category += usize::from(category);
            self.shown_today += usize::from(issued_ms > since.yesterday_ms);
            if business || category {
                near.push((issued_ms, view.business, view.category));
            }
        }
        self.near_businesses.reset(of_business + promised.len());
        self.near_categories.reset(of_category + promised.len());
        for (issued_ms, business, category) in &near {
            self.pass_by(&since, *issued_ms, *business, *category);
        }
        self.near = near;
        for promise in open() {
            self.pass_by(&since, promise.issued().0, promise.business(), promise.category());
            self.shown_today += 1;
            let counts = self.counts_of(promise.ad_set());
            counts.promised += 1;
            counts.is_recorded |= promise.is_counted();
        }
        let recorded = self.counts.iter().filter(|counts| counts.is_recorded).count();
        self.is_full = recorded >= CAPPED_AD_SETS_MAX;
    }

    /// Forgets everything: a viewer of whom nothing is known and to whom nothing was promised.
    pub fn stranger(&mut self) {
        self.counts.clear();
        self.hours.clear();
        self.is_full = false;
        self.hidden_ads.reset(0);
        self.hidden_businesses.reset(0);
        self.near_businesses.reset(0);
        self.near_categories.reset(0);
        self.shown_today = 0;
    }

    /// Tells whether the viewer may be shown an ad, or the first reason why not: hidden, no room in its
    /// record, a cap reached, or too near to what was shown before.
    pub fn admits(&self, ad: &Passing<'_>, now: Moment) -> Result<(), Skip> {
        if self.hidden_ads.has(ad.ad) || self.hidden_businesses.has(ad.business) {
            return Err(Skip::HiddenByViewer);
        }
        if !ad.caps.is_empty() || ad.is_counted {
            self.admits_capped(ad, now)?;
        }
        if self.near_businesses.has(ad.business) || self.near_categories.has(half(ad.category)) {
            return Err(Skip::Separation);
        }
        Ok(())
    }

    /// Returns how many ads the viewer was shown in the last 24 hours, or may still be shown.
    pub const fn shown_today(&self) -> usize {
        self.shown_today
    }

    fn admits_capped(&self, ad: &Passing<'_>, now: Moment) -> Result<(), Skip> {
        let known = self.counts.binary_search_by_key(&ad.ad_set, |counts| counts.ad_set);
        let counts = known.ok().map(|index| &self.counts[index]);
        if self.is_full && !counts.is_some_and(|counts| counts.is_recorded) {
            return Err(Skip::CapStateFull);
        }
        let reached = |cap: &Cap| counts.is_some_and(|counts| self.is_reached(cap, counts, now));
        if ad.caps.iter().any(reached) { Err(Skip::FrequencyCapped) } else { Ok(()) }
    }

    /// Returns how often the viewer was shown an ad set within an interval, or may still be.
    pub fn shown(&self, ad_set: u64, interval_hours: u16, now: Moment) -> u32 {
        let known = self.counts.binary_search_by_key(&ad_set, |counts| counts.ad_set);
        let cap = Cap { event: CapEvent::Impressions as u8, max: u8::MAX, interval_hours };
        known.map_or(0, |index| self.within(&cap, &self.counts[index], now))
    }

    fn is_reached(&self, cap: &Cap, counts: &Counts, now: Moment) -> bool {
        let (first, end) = counts.runs[usize::from(cap.event)];
        let ever = self.hours[first as usize..end as usize].last().map_or(0, |(_, events)| *events);
        let max = u32::from(cap.max);
        // Most have counted less than their cap ever.
        counts.promised + ever >= max && self.within(cap, counts, now) >= max
    }

    /// Returns what was counted, and for impressions promised, within a cap's interval.
    fn within(&self, cap: &Cap, counts: &Counts, now: Moment) -> u32 {
        let impressions = cap.event == CapEvent::Impressions as u8;
        let promised = if impressions { counts.promised } else { 0 };
        let (first, end) = counts.runs[usize::from(cap.event)];
        let run = &self.hours[first as usize..end as usize];
        let ever = run.last().map_or(0, |(_, events)| *events);
        // The hour that is partly inside counts whole, so a cap is never exceeded.
        let from = now.hour().saturating_sub(u32::from(cap.interval_hours));
        let outside = run.partition_point(|(hour, _)| *hour < from);
        let before = outside.checked_sub(1).map_or(0, |last| run[last].1);
        promised + ever - before
    }

    /// Copies the viewer's cap record, which is in the order of ad sets. What has left its interval is
    /// passed by: it may stand there until the next fact of its bucket.
    fn take_counts(&mut self, viewer: &Viewer, now: Moment) {
        for count in viewer.caps().iter().filter(|count| !count.is_over(now)) {
            if self.counts.last().is_none_or(|last| last.ad_set != count.ad_set) {
                let (ad_set, is_recorded) = (count.ad_set, true);
                self.counts.push(Counts { ad_set, is_recorded, ..Counts::default() });
            }
            let first = self.hours.len() as u32;
            let mut events = 0;
            self.hours.extend(count.hours.iter().map(|(hour, more)| {
                events += u32::from(*more);
                (*hour, events)
            }));
            if let Some(counts) = self.counts.last_mut() {
                counts.runs[usize::from(count.event)] = (first, self.hours.len() as u32);
            }
        }
    }

    fn take_hidden(&mut self, viewer: &Viewer) {
        self.hidden_ads.reset(viewer.hidden().len());
        self.hidden_businesses.reset(viewer.hidden().len());
        for hidden in viewer.hidden() {
            let set =
                if hidden.business { &mut self.hidden_businesses } else { &mut self.hidden_ads };
            set.put(hidden.id);
        }
    }

    fn pass_by(&mut self, since: &Since, at_ms: i64, business: u64, category: u64) {
        if at_ms > since.business_ms {
            self.near_businesses.put(business);
        }
        if at_ms > since.category_ms {
            self.near_categories.put(half(category));
        }
    }

    fn counts_of(&mut self, ad_set: u64) -> &mut Counts {
        let known = self.counts.binary_search_by_key(&ad_set, |counts| counts.ad_set);
        let index = known.unwrap_or_else(|index| {
            self.counts.insert(index, Counts { ad_set, ..Counts::default() });
            index
        });
        &mut self.counts[index]
    }
}

/// From when on showings are too near, or of today.
struct Since {
    business_ms: i64,
    category_ms: i64,
    yesterday_ms: i64,
}

impl Since {
    fn of(policy: &Policy, now: Moment) -> Self {
        Self {
            business_ms: now.0 - policy.advertiser_distance_ms,
            category_ms: now.0 - policy.category_distance_ms,
            yesterday_ms: now.0 - DAY_MS,
        }
    }
}

/// A small set of numbers in open addressing, at most half full. Zero is never in it.
#[derive(Clone, Debug, Default)]
struct Numbers {
    slots: Vec<u64>,
    /// How far a hash is shifted to become a slot; meaningless while there are none.
    shift: u32,
}

impl Numbers {
    /// Empties the set and makes room for so many numbers.
    fn reset(&mut self, count: usize) {
        self.slots.clear();
        if count > 0 {
            let size = (2 * count).next_power_of_two();
            self.slots.resize(size, 0);
            self.shift = u64::BITS - size.trailing_zeros();
        }
    }

    fn put(&mut self, number: u64) {
        if let Some(slot) = self.slot_of(number) {
            self.slots[slot] = number;
        }
    }

    fn has(&self, number: u64) -> bool {
        self.slot_of(number).is_some_and(|slot| self.slots[slot] == number && number != 0)
    }

    /// Returns where a number is or would be.
    fn slot_of(&self, number: u64) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize;
        while self.slots[slot] != 0 && self.slots[slot] != number {
            slot = (slot + 1) & mask;
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::viewers::{CapCount, Hidden, Unpacked, View};
    use crate::types::ids::{IdKind, mint};
    use crate::types::time::{HOUR_MS, MINUTE_MS, SECOND_MS};

    const NOW: Moment = Moment(500_000 * HOUR_MS + MINUTE_MS);
    const ONE_A_DAY: Cap = Cap { event: 1, max: 1, interval_hours: 24 };

    fn ad<'a>(ad: u64, ad_set: u64, caps: &'a [Cap]) -> Passing<'a> {
        let ad_set = mint(IdKind::AdSet, ad_set);
        Passing { ad, ad_set, business: 1_000 + ad, category: 0, caps, is_counted: false }
    }

    fn promise(ad_set: u64, capped: bool) -> Promise {
        let caps = if capped { &[ONE_A_DAY][..] } else { &[] };
        Promise::of(0, &Passing { business: 2_000 + ad_set, ..ad(1, ad_set, caps) }, NOW, 1)
    }

    fn count(ad_set: u64, event: CapEvent, hours: &[(u32, u16)]) -> CapCount {
        let ad_set = mint(IdKind::AdSet, ad_set);
        CapCount { ad_set, event: event as u8, interval_hours: 24, hours: hours.to_vec() }
    }

    fn looked(viewer: &Viewer, promised: &[Promise]) -> Onlooker {
        let mut onlooker = Onlooker::default();
        onlooker.look(Some(viewer), promised, &Policy::USUAL, NOW);
        onlooker
    }

    #[test]
    fn a_stranger_is_shown_capped_ads_until_one_is_promised() {
        let mut onlooker = looked(&Viewer::default(), &[promise(7, true)]);
        let capped = ad(1, 7, &[ONE_A_DAY]);
        assert_eq!(onlooker.admits(&capped, NOW), Err(Skip::FrequencyCapped));
        onlooker.stranger();
        assert_eq!(onlooker.admits(&capped, NOW), Ok(()));
        assert_eq!(onlooker.shown_today(), 0);
    }

    #[test]
    fn a_promise_counts_as_an_impression_and_as_no_tap() {
        let onlooker = looked(&Viewer::default(), &[promise(7, true)]);
        let (two, tap) = (Cap { max: 2, ..ONE_A_DAY }, Cap { event: 2, ..ONE_A_DAY });
        assert_eq!(onlooker.admits(&ad(1, 7, &[two, tap]), NOW), Ok(()));
        let capped = Err(Skip::FrequencyCapped);
        assert_eq!(onlooker.admits(&ad(1, 7, &[two, ONE_A_DAY]), NOW), capped);
    }

    #[test]
    fn each_cap_counts_its_own_event_within_its_own_interval() {
        let hour = NOW.hour();
        let taps = count(7, CapEvent::Taps, &[(hour - 30, 2), (hour - 24, 1), (hour, 1)]);
        let viewer = Unpacked { caps: vec![taps], ..Unpacked::default() }.pack();
        let onlooker = looked(&viewer, &[]);
        let admits = |event: CapEvent, max, interval_hours| {
            let cap = Cap { event: event as u8, max, interval_hours };
            onlooker.admits(&ad(1, 7, &[cap]), NOW).is_ok()
        };
        assert!(!admits(CapEvent::Taps, 1, 1));
        assert!(admits(CapEvent::Taps, 2, 23), "the hour before is outside");
        assert!(!admits(CapEvent::Taps, 2, 24), "the hour partly inside counts whole");
        assert!(admits(CapEvent::Taps, 3, 29));
        assert!(!admits(CapEvent::Taps, 4, 30));
        assert!(admits(CapEvent::Taps, 5, 720));
        assert!(admits(CapEvent::Impressions, 1, 720));
        assert!(admits(CapEvent::Conversations, 1, 720));
    }

    #[test]
    fn a_full_record_has_room_for_what_it_knows_or_was_promised() {
        let now = [(NOW.hour(), 1)];
        let counts = (1..=14).map(|ad_set| count(ad_set, CapEvent::Impressions, &now));
        let mut caps: Vec<_> = counts.collect();
        caps.sort_unstable_by_key(|count| count.ad_set);
        let viewer = Unpacked { caps, ..Unpacked::default() }.pack();
        let admits = |promised: &[Promise], ad_set| {
            looked(&viewer, promised).admits(&ad(1, ad_set, &[Cap { max: 9, ..ONE_A_DAY }]), NOW)
        };
        let full = Err(Skip::CapStateFull);
        let (one, other) = (promise(15, true), promise(16, true));
        assert_eq!(admits(&[one, one, promise(30, false)], 99), Ok(()), "one place is left");
        assert_eq!(admits(&[one, other], 99), full);
        assert_eq!(admits(&[one, other], 16), Ok(()));
        assert_eq!(admits(&[one, other], 3), Ok(()));
        let uncapped = promise(99, false);
        assert_eq!(admits(&[one, other, uncapped], 99), full, "promised before it had a cap");
        assert_eq!(looked(&viewer, &[one, other]).admits(&ad(1, 99, &[]), NOW), Ok(()));
    }

    #[test]
    fn what_is_hidden_is_told_before_all_else_and_separation_last() {
        let hide = |id, business| Hidden { id, business, view: 0 };
        let caps = vec![count(7, CapEvent::Impressions, &[(NOW.hour(), 1)])];
        let views = vec![view(1_001, 5, NOW.0)];
        let hidden = vec![hide(2, false), hide(1_003, true)];
        let viewer = Unpacked { caps, views, hidden, ..Unpacked::default() }.pack();
        let onlooker = looked(&viewer, &[]);
        let admits = |number| onlooker.admits(&ad(number, 7, &[ONE_A_DAY]), NOW);
        assert_eq!(admits(2), Err(Skip::HiddenByViewer));
        assert_eq!(admits(3), Err(Skip::HiddenByViewer));
        assert_eq!(admits(1_003), Err(Skip::FrequencyCapped), "a business is no ad");
        assert_eq!(admits(1), Err(Skip::FrequencyCapped));
        assert_eq!(onlooker.admits(&ad(1, 8, &[ONE_A_DAY]), NOW), Err(Skip::Separation));
        assert_eq!(onlooker.admits(&ad(4, 8, &[ONE_A_DAY]), NOW), Ok(()));
    }

    #[test]
    fn businesses_and_categories_each_keep_their_distance() {
        let minutes = |count: i64| NOW.0 - count * MINUTE_MS;
        let views = vec![view(1, 50, minutes(59)), view(2, 60, minutes(61)), view(3, 0, NOW.0)];
        let viewer = Unpacked { views, ..Unpacked::default() }.pack();
        let policy = Policy { category_distance_ms: HOUR_MS, ..Policy::USUAL };
        let mut onlooker = Onlooker::default();
        onlooker.look(Some(&viewer), &[promise(7, false)], &policy, NOW);
        let admits = |business, category| {
            let passing = Passing { business, category, ..ad(1, 1, &[]) };
            onlooker.admits(&passing, NOW).is_ok()
        };
        assert!(admits(1, 0), "shown 59 minutes ago: far enough for a business");
        assert!(!admits(1, 50) && admits(1, 60));
        assert!(!admits(3, 0) && admits(4, 0), "no category keeps no distance");
        assert!(!admits(mint(IdKind::Business, 2_007), 0), "promised just now");
    }

    #[test]
    fn todays_ads_are_those_of_24_hours_and_those_promised() {
        let views = vec![view(1, 0, NOW.0 - DAY_MS), view(1, 0, NOW.0 - DAY_MS + MINUTE_MS)];
        let viewer = Unpacked { views, ..Unpacked::default() }.pack();
        let lapsed = Promise::of(0, &ad(1, 1, &[]), NOW.plus_ms(-SECOND_MS - 1), 1);
        assert_eq!(looked(&viewer, &[promise(1, true), lapsed]).shown_today(), 2);
    }

    #[test]
    fn a_set_of_numbers_has_what_was_put_and_nothing_else() {
        let mut numbers = Numbers::default();
        for count in [0, 1, 2, 5, 256, 1_024, 3] {
            numbers.reset(count);
            // Multiples of a power of two meet in few slots.
            (1..=count as u64).for_each(|number| numbers.put(number << 32));
            (1..=count as u64).for_each(|number| assert!(numbers.has(number << 32)));
            assert!((1..9_999).all(|number| !numbers.has(number)), "{count}");
            assert!(!numbers.has(0));
        }
    }

    fn view(business: u64, category: u64, issued_ms: i64) -> View {
        let issued_s = Moment(issued_ms).seconds();
        View { view: 1, ad: 1, business, category, issued_s, ..View::default() }
    }
}
