//! Which events are invalid traffic: more than people do, or in an order in which they don't. Such events are
//! kept and marked; nobody pays for them and nothing is learned from them.
//!
//! Times are the devices', so that what a feed reports late is judged as it happened. A rate is the most
//! events within any span shorter than its own: one tap a minute lets two stand exactly a minute apart.
//! Marked events count in the rates too, for the viewer made them.

use crate::state::viewers::{View, Viewer};
use crate::types::proto::v1::InvalidReason;
use crate::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Moment, SECOND_MS};
use crate::types::token::ViewToken;

/// The most events within any span shorter than `span_ms`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EventRate {
    /// Events.
    pub most: usize,
    /// Milliseconds.
    pub span_ms: i64,
}

/// Taps of one viewer on all ads (FACTS, "Invalid traffic": the defaults of EthicalAds).
pub const TAP_RATES: [EventRate; 4] = [
    EventRate { most: 1, span_ms: MINUTE_MS },
    EventRate { most: 3, span_ms: 10 * MINUTE_MS },
    EventRate { most: 10, span_ms: HOUR_MS },
    EventRate { most: 25, span_ms: DAY_MS },
];

/// Views of one ad by one viewer (the same source).
pub const VIEW_RATE: EventRate = EventRate { most: 3, span_ms: 5 * MINUTE_MS };

/// A tap earlier than this after its view was made by no hand (FACTS, "Invalid traffic").
pub const TAP_AFTER_VIEW_MS_MIN: i64 = 100;

/// Taps from which on an account's share of taps says something. Of people who tap every tenth ad, 250 make 50
/// taps or more by chance twice in a million times.
pub const SHARE_TAPS_MIN: u32 = 50;

/// What was tapped of one account's ads, and how often they were seen. Old days fade.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TapShare {
    /// Valid views.
    pub views: u32,
    /// Taps, with those that are invalid for nothing but this share.
    pub taps: u32,
}

impl TapShare {
    /// Tells whether one more tap is beyond so many for each 100 views. Viewers and networks are no part of it: a
    /// farm that has a new one for each tap is still known by what its taps come to.
    pub fn is_passed(self, taps_per_100_views: u32) -> bool {
        let taps = (u64::from(self.taps) + 1) * 100;
        self.taps >= SHARE_TAPS_MIN && taps > u64::from(self.views) * u64::from(taps_per_100_views)
    }

    /// Returns what is left of it so many days later: half for each.
    #[must_use]
    pub fn faded(self, days: u32) -> Self {
        let left = |count: u32| count.checked_shr(days).unwrap_or_default();
        Self { views: left(self.views), taps: left(self.taps) }
    }
}

impl EventRate {
    /// Tells whether one more event at `at_ms` passes the rate: it and `most` of the others lie within one
    /// span. Others may lie behind it too, as events come in any order.
    pub fn is_passed(self, at_ms: i64, others: impl Iterator<Item = i64> + Clone) -> bool {
        let near = others.filter(|other| (other - at_ms).abs() < self.span_ms);
        if near.clone().count() < self.most {
            return false;
        }
        let mut times: Vec<i64> = near.collect();
        times.push(at_ms);
        times.sort_unstable();
        let mut windows = times.windows(self.most + 1);
        windows.any(|window| {
            let (first, last) = (window[0], window[self.most]);
            (first..=last).contains(&at_ms) && last - first < self.span_ms
        })
    }
}

/// Judges a view of an ad at a moment; `None`: it is valid.
pub fn view(
    viewer: Option<&Viewer>,
    ad: u64,
    at_ms: i64,
    suspect: Option<InvalidReason>,
) -> Option<InvalidReason> {
    let too_many = || {
        let views = viewer.into_iter().flat_map(Viewer::views);
        // Unpacked once; mostly there is none.
        let same: Vec<i64> = views.filter(|view| view.ad == ad).map(|view| view.seen_ms).collect();
        let same = same.iter().copied();
        VIEW_RATE.is_passed(at_ms, same).then_some(InvalidReason::ViewRate)
    };
    suspect.or_else(too_many)
}

/// A tap to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Tap<'a> {
    /// Its view; `None`: it never came.
    pub view: Option<&'a View>,
    /// When it happened.
    pub at_ms: i64,
    /// Whether the device said so.
    pub timed: bool,
    /// What the door or the network's rate says against it.
    pub suspect: Option<InvalidReason>,
}

/// Judges a viewer's tap; `None`: it is valid. A tap on an invalid view is invalid as that is.
pub fn tap(viewer: Option<&Viewer>, tap: &Tap<'_>) -> Option<InvalidReason> {
    let Some(view) = tap.view else {
        return Some(tap.suspect.unwrap_or(InvalidReason::NoView));
    };
    if let Some(reason) = view.invalid().or(tap.suspect) {
        return Some(reason);
    }
    // Two moments at which a feed happened to report say nothing about a hand.
    if tap.timed && view.timed && tap.at_ms - view.seen_ms < TAP_AFTER_VIEW_MS_MIN {
        return Some(InvalidReason::TapTooFast);
    }
    let touches = viewer.map_or(&[][..], Viewer::touches);
    // Nobody saw when a tap was made that is only implied.
    let taps = touches.iter().filter(|touch| !touch.told.is_implied()).map(|touch| touch.tap_ms);
    let passed = TAP_RATES.iter().any(|rate| rate.is_passed(tap.at_ms, taps.clone()));
    passed.then_some(InvalidReason::TapRate)
}

/// Tells whether the view of a tap may still be on its way: the feed then sends the tap again.
pub fn awaits_view(token: &ViewToken, now: Moment) -> bool {
    now.0 <= show_by_ms(token)
}

/// Returns the last moment at which the ad may be drawn first.
pub fn show_by_ms(token: &ViewToken) -> i64 {
    Moment::from_seconds(token.issued).0 + i64::from(token.show_by) * SECOND_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::viewers::{Told, Touch, Unpacked};

    fn passed(rate: EventRate, at_ms: i64, others: &[i64]) -> bool {
        rate.is_passed(at_ms, others.iter().copied())
    }

    #[test]
    fn a_rate_is_passed_only_within_less_than_its_span() {
        let rate = EventRate { most: 1, span_ms: 60 };
        assert!(!passed(rate, 100, &[]));
        assert!(passed(rate, 100, &[41]));
        assert!(!passed(rate, 100, &[40]), "exactly a span apart");
        assert!(passed(rate, 100, &[159]), "whichever came in first");
        assert!(!passed(rate, 100, &[160]));
        assert!(passed(rate, 100, &[100]), "at the same moment");
    }

    #[test]
    fn many_in_one_span_count_wherever_the_new_one_lies_among_them() {
        let rate = EventRate { most: 3, span_ms: 100 };
        assert!(!passed(rate, 50, &[0, 99]));
        assert!(passed(rate, 50, &[0, 10, 99]));
        assert!(!passed(rate, 50, &[0, 10, 100]), "no span holds all four");
        assert!(!passed(rate, 50, &[-30, 0, 80, 110]), "each span holds three");
        assert!(passed(rate, 0, &[10, 20, 99]));
        assert!(passed(rate, 99, &[0, 10, 20]));
        assert!(!passed(rate, 200, &[0, 10, 20, 30]), "an old crowd is no fault of the new one");
    }

    #[test]
    fn a_share_of_taps_has_its_edge_and_says_nothing_of_few() {
        let passed = |views, taps| TapShare { views, taps }.is_passed(20);
        assert!(!passed(0, SHARE_TAPS_MIN - 1), "too few to tell");
        assert!(passed(0, SHARE_TAPS_MIN));
        assert!(passed(254, 50), "51 of 254 are above a fifth");
        assert!(!passed(255, 50), "51 of 255 are a fifth");
        assert!(!TapShare { views: 51, taps: 50 }.is_passed(100), "every view tapped");
        assert!(!TapShare { views: u32::MAX, taps: u32::MAX - 1 }.is_passed(100));
        assert!(TapShare { views: u32::MAX, taps: u32::MAX }.is_passed(100));
    }

    #[test]
    fn a_share_fades_by_half_a_day() {
        let share = TapShare { views: 1_001, taps: 100 };
        assert_eq!(share.faded(0), share);
        assert_eq!(share.faded(1), TapShare { views: 500, taps: 50 });
        assert_eq!(share.faded(3), TapShare { views: 125, taps: 12 });
        for days in [10, 31, 32, u32::MAX] {
            assert_eq!(share.faded(days), TapShare::default(), "{days}");
        }
    }

    fn judge(taps: &[i64], at_ms: i64) -> Option<InvalidReason> {
        let touch = |tap_ms: &i64| Touch { tap_ms: *tap_ms, ..Touch::default() };
        let touches = taps.iter().map(touch).collect();
        let viewer = Unpacked { touches, ..Unpacked::default() }.pack();
        let one = Tap { view: Some(&View::default()), at_ms, timed: true, suspect: None };
        tap(Some(&viewer), &one)
    }

    #[test]
    fn a_marked_tap_counts_and_an_implied_one_does_not() {
        let judge = |touch: Touch| {
            let viewer = Unpacked { touches: vec![touch], ..Unpacked::default() }.pack();
            let one = Tap { view: Some(&View::default()), at_ms: 5, timed: true, suspect: None };
            tap(Some(&viewer), &one)
        };
        let marked = Touch { invalid: InvalidReason::Network as u8, ..Touch::default() };
        assert_eq!(judge(marked), Some(InvalidReason::TapRate));
        let told = Told::new(true, 0);
        assert_eq!(judge(Touch { told, ..Touch::default() }), None);
    }

    #[test]
    fn each_rate_of_taps_has_its_edge() {
        let invalid = Some(InvalidReason::TapRate);
        let every = |step: i64, count: i64| (0..count).map(|i| i * step).collect::<Vec<_>>();
        assert_eq!(judge(&[0], MINUTE_MS - 1), invalid);
        assert_eq!(judge(&[0], MINUTE_MS), None);
        let three = every(2 * MINUTE_MS, 3);
        assert_eq!(judge(&three, 10 * MINUTE_MS - 1), invalid);
        assert_eq!(judge(&three, 10 * MINUTE_MS), None);
        let ten = every(5 * MINUTE_MS, 10);
        assert_eq!(judge(&ten, HOUR_MS - 1), invalid);
        assert_eq!(judge(&ten, HOUR_MS), None);
        let day = every(30 * MINUTE_MS, 25);
        assert_eq!(judge(&day, DAY_MS - 1), invalid);
        assert_eq!(judge(&day, DAY_MS), None);
    }

    #[test]
    fn a_tap_needs_a_hands_time_after_its_view() {
        let check = |timed, view_timed, after_ms: i64| {
            let view = View { seen_ms: 1_000, timed: view_timed, ..View::default() };
            let one = Tap { view: Some(&view), at_ms: 1_000 + after_ms, timed, suspect: None };
            tap(None, &one)
        };
        assert_eq!(check(true, true, 99), Some(InvalidReason::TapTooFast));
        assert_eq!(check(true, true, 100), None);
        assert_eq!(check(true, true, -1), Some(InvalidReason::TapTooFast), "before its view");
        assert_eq!(check(false, true, 0), None, "nobody knows when");
        assert_eq!(check(true, false, 0), None);
    }

    #[test]
    fn a_tap_inherits_what_its_view_was_and_says_what_is_wrong_first() {
        let suspect = Some(InvalidReason::Network);
        let mut one = Tap { view: None, at_ms: 0, timed: true, suspect: None };
        assert_eq!(tap(None, &one), Some(InvalidReason::NoView));
        one.suspect = suspect;
        assert_eq!(tap(None, &one), suspect);
        let view = View { invalid: InvalidReason::ViewRate as u8, ..View::default() };
        one.view = Some(&view);
        assert_eq!(tap(None, &one), Some(InvalidReason::ViewRate));
    }

    #[test]
    fn a_fourth_view_of_an_ad_within_five_minutes_is_invalid() {
        let seen = |seen_ms| View { ad: 7, seen_ms, ..View::default() };
        let viewer =
            Unpacked { views: [0, 1_000, 2_000].map(seen).into(), ..Unpacked::default() }.pack();
        let judge = |ad, at_ms| view(Some(&viewer), ad, at_ms, None);
        assert_eq!(judge(7, 5 * MINUTE_MS - 1), Some(InvalidReason::ViewRate));
        assert_eq!(judge(7, 5 * MINUTE_MS), None);
        assert_eq!(judge(8, 3_000), None, "another ad");
        let suspect = Some(InvalidReason::UserAgent);
        assert_eq!(view(None, 7, 0, suspect), suspect);
    }
}
