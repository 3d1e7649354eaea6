//! How the credit of one outcome is split between the touches before it: the rule models, in integers.
//!
//! Fixed for ever: credits are not on disk, but computed from a fact's path whenever it is applied. Another
//! split would change what reports have said.

use crate::types::apportion::apportion;
use crate::types::proto::journal::v1::{PathTouch, Showing};
use crate::types::proto::v1::{AttributionModel, AttributionSpec, AttributionWindow, TouchKind};
use crate::types::time::DAY_MS;

/// Most touches of one path: the newest, and the one that is proven.
pub const PATH_TOUCHES_MAX: usize = 32;

/// The whole credit of one outcome, in micro-credits.
pub const WHOLE_CREDIT: u32 = 1_000_000;

/// The longest click window: older taps are in no path (FACTS, "Attribution windows").
pub const CLICK_WINDOW_MS_MAX: i64 = 28 * DAY_MS;

/// The window of views: older ones are in no path.
pub const VIEW_WINDOW_MS: i64 = DAY_MS;

/// After this time a touch counts half under time decay (ALGORITHMS section 6).
const HALF_LIFE_MS: i64 = 7 * DAY_MS;

/// The models that split a single outcome, in the order of their numbers.
pub const RULE_MODELS: [AttributionModel; 6] = [
    AttributionModel::LastTouch,
    AttributionModel::FirstTouch,
    AttributionModel::LastClick,
    AttributionModel::Linear,
    AttributionModel::TimeDecay,
    AttributionModel::PositionBased,
];

/// All windows, in the order of their numbers. The first is the ad sets' own.
pub const WINDOWS: [AttributionWindow; 6] = [
    AttributionWindow::Unspecified,
    AttributionWindow::AttributionWindow1dView,
    AttributionWindow::AttributionWindow1dEngagedView,
    AttributionWindow::AttributionWindow1dClick,
    AttributionWindow::AttributionWindow7dClick,
    AttributionWindow::AttributionWindow28dClick,
];

/// An ad set's windows in one byte: days of clicks in the lowest five bits, then a bit each for views and
/// engaged views.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Windows(u8);

impl Default for Windows {
    fn default() -> Self {
        Self(7 | Self::VIEWS)
    }
}

impl Windows {
    const VIEWS: u8 = 1 << 5;
    const ENGAGED: u8 = 1 << 6;

    /// Returns the windows of a checked spec; absent: 7 days after a tap, one after a view.
    pub fn of(spec: Option<&AttributionSpec>) -> Self {
        let Some(spec) = spec else { return Self::default() };
        let bit = |days: u32, bit| if days == 0 { 0 } else { bit };
        let click = (spec.click_window_days & 31) as u8;
        let views = bit(spec.view_window_days, Self::VIEWS);
        Self(click | views | bit(spec.engaged_view_window_days, Self::ENGAGED))
    }

    /// Returns the click window, milliseconds.
    pub const fn click_ms(self) -> i64 {
        (self.0 & 31) as i64 * DAY_MS
    }

    /// Tells whether they hold an outcome that came so long after a touch, milliseconds. An engaged view is
    /// a view, too.
    pub const fn hold(self, kind: TouchKind, age_ms: i64) -> bool {
        let views = match kind {
            TouchKind::Unspecified => return false,
            TouchKind::Tap => return age_ms <= self.click_ms(),
            TouchKind::EngagedView => Self::VIEWS | Self::ENGAGED,
            TouchKind::View => Self::VIEWS,
        };
        self.0 & views != 0 && age_ms <= VIEW_WINDOW_MS
    }
}

/// Tells whether a touch may earn an outcome under a window. Clocks of devices and chat platforms differ: a
/// touch of a path that lies behind its outcome counts as one at the same moment.
pub fn is_eligible(window: AttributionWindow, touch: &PathTouch, outcome_ms: i64) -> bool {
    use AttributionWindow as Window;
    let age_ms = age_ms(touch, outcome_ms);
    let tap = touch.kind() == TouchKind::Tap;
    match window {
        Window::Unspecified => touch.in_window,
        Window::AttributionWindow1dView => {
            matches!(touch.kind(), TouchKind::View | TouchKind::EngagedView)
                && age_ms <= VIEW_WINDOW_MS
        }
        Window::AttributionWindow1dEngagedView => {
            touch.kind() == TouchKind::EngagedView && age_ms <= VIEW_WINDOW_MS
        }
        Window::AttributionWindow1dClick => tap && age_ms <= DAY_MS,
        Window::AttributionWindow7dClick => tap && age_ms <= 7 * DAY_MS,
        Window::AttributionWindow28dClick => tap && age_ms <= CLICK_WINDOW_MS_MAX,
    }
}

/// Returns the micro-credits of each touch of a path, the oldest first, for an outcome at that time. They sum
/// to exactly 1,000,000; empty: no touch earns it, or the model is none of single outcomes.
pub fn split(
    model: AttributionModel,
    window: AttributionWindow,
    path: &[PathTouch],
    outcome_ms: i64,
) -> Vec<u32> {
    split_eligible(model, path, &eligible(window, path, outcome_ms), outcome_ms)
}

/// Returns which touches of a path may earn an outcome under a window.
pub fn eligible(window: AttributionWindow, path: &[PathTouch], outcome_ms: i64) -> Vec<bool> {
    path.iter().map(|touch| is_eligible(window, touch, outcome_ms)).collect()
}

/// Returns what [`split`] does, between the touches of a path that are eligible.
pub fn split_eligible(
    model: AttributionModel,
    path: &[PathTouch],
    eligible: &[bool],
    outcome_ms: i64,
) -> Vec<u32> {
    let whole = |chosen: Option<usize>| {
        let credit = |index| if Some(index) == chosen { WHOLE_CREDIT } else { 0 };
        chosen.map_or_else(Vec::new, |_| (0..path.len()).map(credit).collect())
    };
    match model {
        AttributionModel::LastTouch => whole(last_of(path, |index| eligible[index])),
        AttributionModel::FirstTouch => whole(eligible.iter().position(|eligible| *eligible)),
        AttributionModel::LastClick => {
            let tap = |index: &usize| eligible[*index] && path[*index].kind() == TouchKind::Tap;
            whole((0..path.len()).rfind(tap))
        }
        _ => {
            let weights = weights(model, path, eligible, outcome_ms);
            let parts = apportion(WHOLE_CREDIT.into(), &weights);
            parts.into_iter().map(|part| part as u32).collect()
        }
    }
}

/// Returns a value in parts, as its credits say. The parts sum to exactly the value; empty: there are no credits.
pub fn share(value: i64, credits: &[u32]) -> Vec<i64> {
    let parts = apportion(value.unsigned_abs(), credits);
    // A part of a value is never larger than it, so it fits; that of the smallest wraps to itself.
    let signed = |part: u64| {
        let part = part.cast_signed();
        if value < 0 { part.wrapping_neg() } else { part }
    };
    parts.into_iter().map(signed).collect()
}

/// Returns which touch earns an outcome by default, in the ad sets' own windows: the one that is proven, else
/// the last tap, else the last engaged view, else the last view.
pub fn last_touch(path: &[PathTouch]) -> Option<usize> {
    last_of(path, |index| path[index].in_window)
}

/// Returns the tap that is proven to have led to an outcome in its window.
pub fn proven_tap(showing: &Showing, tap_ms: i64) -> PathTouch {
    PathTouch {
        view: showing.view,
        ad: showing.ad,
        ad_set: showing.ad_set,
        campaign: showing.campaign,
        kind: TouchKind::Tap.into(),
        event_ms: tap_ms,
        in_window: true,
        proven: true,
    }
}

fn last_of(path: &[PathTouch], eligible: impl Fn(usize) -> bool) -> Option<usize> {
    let rank = |touch: &PathTouch| match touch.kind() {
        _ if touch.proven => 4,
        TouchKind::Tap => 3,
        TouchKind::EngagedView => 2,
        TouchKind::View => 1,
        TouchKind::Unspecified => 0,
    };
    let touches = path.iter().enumerate().filter(|(index, _)| eligible(*index));
    // Of equals the last one.
    touches.max_by_key(|(_, touch)| rank(touch)).map(|(index, _)| index)
}

fn age_ms(touch: &PathTouch, outcome_ms: i64) -> i64 {
    outcome_ms.saturating_sub(touch.event_ms).max(0)
}

/// Returns the weight of each touch under a model of several; 0: it earns nothing.
fn weights(
    model: AttributionModel,
    path: &[PathTouch],
    eligible: &[bool],
    outcome_ms: i64,
) -> Vec<u64> {
    let touches = || path.iter().zip(eligible);
    match model {
        AttributionModel::Linear => eligible.iter().map(|eligible| u64::from(*eligible)).collect(),
        AttributionModel::TimeDecay => {
            let weight = |(touch, eligible): (&PathTouch, &bool)| {
                if *eligible { decay(age_ms(touch, outcome_ms)) } else { 0 }
            };
            touches().map(weight).collect()
        }
        AttributionModel::PositionBased => positions(eligible),
        _ => Vec::new(),
    }
}

/// 40 % the first, 40 % the last, 20 % those between in equal parts; half each where there are two.
fn positions(eligible: &[bool]) -> Vec<u64> {
    let count = eligible.iter().filter(|eligible| **eligible).count() as u64;
    let end = (2 * count.saturating_sub(2)).max(1);
    let mut place = 0;
    let mut weight = |eligible: &bool| {
        if !eligible {
            return 0;
        }
        place += 1;
        if place == 1 || place == count { end } else { 1 }
    };
    eligible.iter().map(&mut weight).collect()
}

/// 2^(-2^-i) for i from 1 to 24, times 2^32: a time's share of the half-life is a sum of such parts.
const ROOTS: [u64; 24] = [
    3_037_000_500,
    3_611_622_603,
    3_938_502_376,
    4_112_874_773,
    4_202_935_003,
    4_248_701_965,
    4_271_771_996,
    4_283_353_945,
    4_289_156_690,
    4_292_061_010,
    4_293_513_907,
    4_294_240_540,
    4_294_603_903,
    4_294_785_595,
    4_294_876_445,
    4_294_921_870,
    4_294_944_583,
    4_294_955_939,
    4_294_961_618,
    4_294_964_457,
    4_294_965_876,
    4_294_966_586,
    4_294_966_941,
    4_294_967_119,
];

/// Returns 2^(-age / 7 days) times 2^32, the age taken to 1/2^24 of the 7 days (36 milliseconds).
fn decay(age_ms: i64) -> u64 {
    let age_ms = age_ms.clamp(0, 30 * HALF_LIFE_MS) as u64;
    let half_life_ms = HALF_LIFE_MS as u64;
    let part = ((age_ms % half_life_ms) << 24) / half_life_ms;
    let mut factor = 1_u64 << 32;
    for (index, root) in ROOTS.iter().enumerate() {
        if (part >> (23 - index)) & 1 == 1 {
            // At most 2^32 times less than that.
            factor = (factor * root) >> 32;
        }
    }
    factor >> (age_ms / half_life_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::HOUR_MS;

    const T0: i64 = 1_800_000_000_000;

    fn touch(kind: TouchKind, age_ms: i64) -> PathTouch {
        let in_window = Windows::default().hold(kind, age_ms);
        PathTouch { kind: kind.into(), event_ms: T0 - age_ms, in_window, ..PathTouch::default() }
    }

    fn own(model: AttributionModel, path: &[PathTouch]) -> Vec<u32> {
        split(model, AttributionWindow::Unspecified, path, T0)
    }

    /// A tap two weeks ago, one a week ago, a view and an engaged view of today, a tap of yesterday.
    fn path() -> Vec<PathTouch> {
        vec![
            touch(TouchKind::Tap, 14 * DAY_MS),
            touch(TouchKind::Tap, 7 * DAY_MS),
            touch(TouchKind::Tap, DAY_MS + HOUR_MS),
            touch(TouchKind::EngagedView, 5 * HOUR_MS),
            touch(TouchKind::View, HOUR_MS),
        ]
    }

    #[test]
    fn golden_each_model_splits_as_it_always_did() {
        use AttributionModel::{
            FirstTouch, LastClick, LastTouch, Linear, PositionBased, TimeDecay,
        };
        assert_eq!(own(LastTouch, &path()), [0, 0, 1_000_000, 0, 0]);
        assert_eq!(own(FirstTouch, &path()), [0, 1_000_000, 0, 0, 0]);
        assert_eq!(own(LastClick, &path()), [0, 0, 1_000_000, 0, 0]);
        assert_eq!(own(Linear, &path()), [0, 250_000, 250_000, 250_000, 250_000]);
        assert_eq!(own(PositionBased, &path()), [0, 400_000, 100_000, 100_000, 400_000]);
        assert_eq!(own(TimeDecay, &path()), GOLDEN_DECAY);
        let third = vec![touch(TouchKind::Tap, 0); 3];
        assert_eq!(own(Linear, &third), [333_334, 333_333, 333_333]);
        assert_eq!(own(PositionBased, &third), [400_000, 200_000, 400_000]);
        assert_eq!(own(PositionBased, &third[..2]), [500_000, 500_000]);
        assert_eq!(own(PositionBased, &third[..1]), [1_000_000]);
        assert!(own(AttributionModel::Markov, &third).is_empty());
    }

    /// 2^-1, 2^(-25/168), 2^(-5/168) and 2^(-1/168), each over their sum.
    const GOLDEN_DECAY: [u32; 5] = [0, 148_040, 267_063, 290_035, 294_862];

    #[test]
    fn a_touch_is_in_a_window_to_its_last_millisecond() {
        for (window, kind, last_ms) in [
            (AttributionWindow::AttributionWindow1dView, TouchKind::View, DAY_MS),
            (AttributionWindow::AttributionWindow1dView, TouchKind::EngagedView, DAY_MS),
            (AttributionWindow::AttributionWindow1dEngagedView, TouchKind::EngagedView, DAY_MS),
            (AttributionWindow::AttributionWindow1dClick, TouchKind::Tap, DAY_MS),
            (AttributionWindow::AttributionWindow7dClick, TouchKind::Tap, 7 * DAY_MS),
            (AttributionWindow::AttributionWindow28dClick, TouchKind::Tap, 28 * DAY_MS),
        ] {
            let holds = |kind, age_ms| is_eligible(window, &touch(kind, age_ms), T0);
            assert!(holds(kind, last_ms) && !holds(kind, last_ms + 1), "{window:?} {kind:?}");
            assert!(holds(kind, -HOUR_MS), "clocks differ");
            let tap = kind == TouchKind::Tap;
            assert!(!holds(if tap { TouchKind::View } else { TouchKind::Tap }, 0));
        }
        let engaged = AttributionWindow::AttributionWindow1dEngagedView;
        assert!(!is_eligible(engaged, &touch(TouchKind::View, 0), T0));
    }

    #[test]
    fn an_ad_sets_windows_are_what_its_spec_says() {
        let spec = |click, view, engaged| {
            Windows::of(Some(&AttributionSpec {
                click_window_days: click,
                view_window_days: view,
                engaged_view_window_days: engaged,
            }))
        };
        assert_eq!(Windows::of(None), spec(7, 1, 0));
        for days in [1, 7, 28] {
            let windows = spec(days, 0, 0);
            assert_eq!(windows.click_ms(), i64::from(days) * DAY_MS);
            assert!(windows.hold(TouchKind::Tap, i64::from(days) * DAY_MS));
            assert!(!windows.hold(TouchKind::Tap, i64::from(days) * DAY_MS + 1));
            assert!(!windows.hold(TouchKind::View, 0) && !windows.hold(TouchKind::EngagedView, 0));
        }
        let engaged = spec(1, 0, 1);
        assert!(engaged.hold(TouchKind::EngagedView, DAY_MS));
        assert!(!engaged.hold(TouchKind::View, 0));
        assert!(!engaged.hold(TouchKind::EngagedView, DAY_MS + 1));
        assert!(spec(1, 1, 0).hold(TouchKind::EngagedView, 0), "an engaged view is a view");
    }

    #[test]
    fn what_is_proven_comes_before_later_taps_and_views_come_last() {
        let mut path = path();
        assert_eq!(last_touch(&path), Some(2));
        path[1].proven = true;
        assert_eq!(last_touch(&path), Some(1));
        assert_eq!(last_touch(&path[3..]), Some(0), "an engaged view before a later view");
        assert_eq!(last_touch(&path[..1]), None, "out of its window");
        assert_eq!(own(AttributionModel::LastTouch, &path), [0, 1_000_000, 0, 0, 0]);
        let window = AttributionWindow::AttributionWindow1dView;
        let views = split(AttributionModel::LastTouch, window, &path, T0);
        assert_eq!(views, [0, 0, 0, 1_000_000, 0]);
    }

    #[test]
    fn decay_halves_each_week_and_is_within_a_millionth_between() {
        for week in 0..=4 {
            assert_eq!(decay(week * HALF_LIFE_MS), 1 << (32 - week));
        }
        for minute in (0..28 * 24 * 60).step_by(7) {
            let age_ms = minute * 60_000;
            let exact = (-(age_ms as f64) / HALF_LIFE_MS as f64).exp2();
            let ours = decay(age_ms) as f64 / (1_u64 << 32) as f64;
            assert!((ours / exact - 1.0).abs() < 1e-6, "{age_ms}: {ours} for {exact}");
        }
    }

    #[test]
    fn credits_and_values_sum_to_the_whole_and_stay_within_one_of_their_share() {
        let mut seed = 7_u64;
        let mut roll = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for case in 0..20_000 {
            let count = 1 + roll(PATH_TOUCHES_MAX as u64);
            let mut path: Vec<PathTouch> = (0..count)
                .map(|_| {
                    let kind = TouchKind::try_from(1 + roll(3) as i32).unwrap();
                    touch(kind, roll(28 * DAY_MS as u64) as i64)
                })
                .collect();
            path.sort_by_key(|touch| touch.event_ms);
            let value = roll(1 << 40) as i64 - (1 << 39);
            for (model, window) in
                RULE_MODELS.iter().flat_map(|model| WINDOWS.map(|window| (*model, window)))
            {
                let credits = split(model, window, &path, T0);
                let any = path.iter().any(|touch| is_eligible(window, touch, T0));
                let clicks = path
                    .iter()
                    .any(|touch| is_eligible(window, touch, T0) && touch.kind() == TouchKind::Tap);
                let earns = if model == AttributionModel::LastClick { clicks } else { any };
                assert_eq!(!credits.is_empty(), earns, "case {case}, {model:?}, {window:?}");
                if !earns {
                    continue;
                }
                assert_eq!(credits.iter().sum::<u32>(), WHOLE_CREDIT, "case {case}, {model:?}");
                let parts = share(value, &credits);
                assert_eq!(parts.iter().sum::<i64>(), value, "case {case}, {model:?}");
                for ((part, credit), touch) in parts.iter().zip(&credits).zip(&path) {
                    let exact = i128::from(value) * i128::from(*credit) / 1_000_000;
                    assert!((i128::from(*part) - exact).abs() <= 1, "case {case}");
                    assert!(*credit == 0 || is_eligible(window, touch, T0), "case {case}");
                }
            }
        }
        assert_eq!(share(i64::MIN, &[1_000_000]), [i64::MIN]);
    }
}
