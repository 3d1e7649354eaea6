//! The rules of credit, told as plainly as can be: by fractions, and by looking through everything.

use std::collections::BTreeMap;

use munadi::types::proto::v1::{AttributionRow, DeclineReason, Outcome, TouchKind};
use munadi::types::time::{DAY_MS, HOUR_MS};

use super::{Expected, SPECS, Showing};

/// Time decay, which the engine weighs in whole numbers.
const TIME_DECAY: usize = 5;

/// One touch of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Touch {
    pub(super) ms: i64,
    pub(super) view: u64,
    pub(super) kind: TouchKind,
    pub(super) shop: usize,
    /// Whether the outcome is in its ad set's own window.
    pub(super) inside: bool,
    pub(super) proven: bool,
}

/// Chance, the same for the same seed.
pub(crate) struct Luck(u64);

impl Luck {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x1234_5678_9ABC_DEF1)
    }

    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// Tells whether a chance of one in so many came true.
    pub(crate) const fn chance(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

fn touch_of(showing: &Showing, at_ms: i64) -> Option<(Touch, bool)> {
    let [click, view, engaged] = SPECS[showing.shop];
    let engaged_by = showing.engaged_ms.is_some_and(|ms| ms <= at_ms);
    // A view is a tap, or an engaged one, from when on it was.
    let (ms, kind, valid) = match (showing.tapped, showing.seen) {
        (Some((ms, valid)), _) if ms <= at_ms => (ms, TouchKind::Tap, valid),
        (_, Some(valid)) if engaged_by => (showing.seen_ms, TouchKind::EngagedView, valid),
        (_, Some(valid)) => (showing.seen_ms, TouchKind::View, valid),
        (_, None) => return None,
    };
    let days = match kind {
        TouchKind::Tap => click,
        TouchKind::EngagedView => view.max(engaged),
        _ => view,
    };
    let inside = days > 0 && at_ms - ms <= days * DAY_MS;
    let (view, shop) = (showing.token.view, showing.shop);
    Some((Touch { ms, view, kind, shop, inside, proven: false }, valid))
}

/// Returns the touches that may have led to an outcome, the oldest first.
pub(super) fn path_of(
    showings: &[Showing],
    of_account: impl Fn(usize) -> bool,
    at_ms: i64,
    proven: Option<Touch>,
) -> Vec<Touch> {
    let mut path: Vec<Touch> = proven.into_iter().collect();
    for showing in showings.iter().filter(|showing| of_account(showing.shop)) {
        let Some((touch, valid)) = touch_of(showing, at_ms) else { continue };
        let days = if touch.kind == TouchKind::Tap { 28 } else { 1 };
        let age_ms = at_ms - touch.ms;
        let again = proven.is_some_and(|proven| proven.view == touch.view);
        if valid && !again && age_ms >= 0 && age_ms <= days * DAY_MS {
            path.push(touch);
        }
    }
    path.sort_by_key(|touch| (touch.ms, touch.view));
    path
}

/// Returns why nothing is credited where the path, empty or not, has nothing in its window.
pub(super) fn reason(
    showings: &[Showing],
    of_account: impl Fn(usize) -> bool,
    at_ms: i64,
    any_near: bool,
) -> DeclineReason {
    let theirs = showings.iter().filter(|showing| of_account(showing.shop));
    let before: Vec<(Touch, bool)> = theirs
        .filter_map(|showing| touch_of(showing, at_ms))
        .filter(|(touch, _)| touch.ms <= at_ms && at_ms - touch.ms <= surely_remembered_ms(touch))
        .collect();
    let valid = |tap: bool| {
        before.iter().any(|(touch, valid)| *valid && (touch.kind == TouchKind::Tap) == tap)
    };
    if valid(true) {
        DeclineReason::OutOfLookbackWindow
    } else if any_near {
        DeclineReason::ViewThroughDisabled
    } else if valid(false) {
        DeclineReason::OutOfLookbackWindow
    } else if !before.is_empty() {
        DeclineReason::FraudDetected
    } else {
        DeclineReason::NoTouch
    }
}

/// Views are remembered for 25 hours after they were handed out, taps for 29 days, from when a sweep comes.
const fn surely_remembered_ms(touch: &Touch) -> i64 {
    match touch.kind {
        TouchKind::Tap => 29 * DAY_MS - HOUR_MS,
        _ => DAY_MS,
    }
}

/// Tells whether there was a touch that is older than those that count: it may be remembered for a while.
pub(super) fn is_unsure(
    showings: &[Showing],
    of_account: impl Fn(usize) -> bool,
    at_ms: i64,
) -> bool {
    let theirs = showings.iter().filter(|showing| of_account(showing.shop));
    let mut touches = theirs.filter_map(|showing| touch_of(showing, at_ms));
    touches.any(|(touch, _)| at_ms - touch.ms > surely_remembered_ms(&touch))
}

/// Returns the last touch of the best kind.
pub(super) fn last(path: &[Touch], eligible: impl Fn(&Touch) -> bool) -> Option<Touch> {
    let find = |wanted: &dyn Fn(&Touch) -> bool| {
        path.iter().rev().find(|touch| eligible(touch) && wanted(touch)).copied()
    };
    find(&|touch| touch.proven)
        .or_else(|| find(&|touch| touch.kind == TouchKind::Tap))
        .or_else(|| find(&|touch| touch.kind == TouchKind::EngagedView))
        .or_else(|| find(&|_| true))
}

/// Returns the micro-credits of each touch by a model and window, by their numbers.
pub(super) fn split(model: usize, window: usize, path: &[Touch], at_ms: i64) -> Vec<i64> {
    let age_ms = |touch: &Touch| (at_ms - touch.ms).max(0);
    let within = |touch: &Touch, days: i64| age_ms(touch) <= days * DAY_MS;
    let tap = |touch: &Touch| touch.kind == TouchKind::Tap;
    let eligible = |touch: &Touch| match window {
        0 => touch.inside,
        1 => !tap(touch) && within(touch, 1),
        2 => touch.kind == TouchKind::EngagedView && within(touch, 1),
        3 => tap(touch) && within(touch, 1),
        4 => tap(touch) && within(touch, 7),
        _ => tap(touch) && within(touch, 28),
    };
    let mine: Vec<&Touch> = path.iter().filter(|touch| eligible(touch)).collect();
    let only = |view: Option<u64>| -> Vec<f64> {
        mine.iter().map(|touch| if Some(touch.view) == view { 1.0 } else { 0.0 }).collect()
    };
    let count = mine.len();
    let shares: Vec<f64> = match model {
        1 => only(last(path, eligible).map(|touch| touch.view)),
        2 => only(mine.first().map(|touch| touch.view)),
        3 => only(mine.iter().rfind(|touch| tap(touch)).map(|touch| touch.view)),
        4 => vec![1.0 / count as f64; count],
        TIME_DECAY => {
            let weight = |touch: &&Touch| 0.5_f64.powf(age_ms(touch) as f64 / (7 * DAY_MS) as f64);
            let sum: f64 = mine.iter().map(weight).sum();
            mine.iter().map(|touch| weight(touch) / sum).collect()
        }
        _ => (0..count)
            .map(|place| match count {
                1 => 1.0,
                2 => 0.5,
                _ if place == 0 || place == count - 1 => 0.4,
                _ => 0.2 / (count - 2) as f64,
            })
            .collect(),
    };
    let parts = largest_remainders(1_000_000, &shares);
    let mut parts = parts.into_iter();
    path.iter().map(|touch| if eligible(touch) { parts.next().unwrap() } else { 0 }).collect()
}

fn largest_remainders(whole: i64, shares: &[f64]) -> Vec<i64> {
    if shares.iter().sum::<f64>() < 0.5 {
        return vec![0; shares.len()];
    }
    let exact: Vec<f64> = shares.iter().map(|share| share * whole as f64).collect();
    let mut parts: Vec<i64> = exact.iter().map(|part| (part + 1e-5).floor() as i64).collect();
    let mut left = whole - parts.iter().sum::<i64>();
    let mut given = vec![false; parts.len()];
    while left > 0 {
        let rest = |place: &usize| exact[*place] - parts[*place] as f64;
        let open: Vec<usize> = (0..parts.len()).filter(|place| !given[*place]).collect();
        let most = open.iter().map(rest).fold(f64::MIN, f64::max);
        let first = *open.iter().find(|place| rest(place) > most - 1e-5).unwrap();
        parts[first] += 1;
        given[first] = true;
        left -= 1;
    }
    parts
}

/// Returns a value in parts, by its credits.
fn share(value: i64, credits: &[i64]) -> Vec<i64> {
    if credits.iter().sum::<i64>() == 0 {
        return vec![0; credits.len()];
    }
    let exact = |credit: &i64| i128::from(value) * i128::from(*credit);
    let mut parts: Vec<i64> =
        credits.iter().map(|credit| (exact(credit) / 1_000_000) as i64).collect();
    let mut order: Vec<usize> = (0..credits.len()).collect();
    order.sort_by_key(|place| -(exact(&credits[*place]) % 1_000_000));
    let left = value - parts.iter().sum::<i64>();
    order.iter().take(left as usize).for_each(|place| parts[*place] += 1);
    parts
}

/// Shop, hour, model and window.
type Key = (usize, i64, usize, usize);

/// Credits of conversations, first replies, qualified ones and conversions, and their value; and of how many
/// touches.
type Cell = ([i64; 5], i64);

/// Adds what an outcome gives to each cell.
pub(super) fn cells(expected: &Expected, counted: &mut BTreeMap<Key, Cell>) {
    let column = match expected.kind {
        Outcome::Conversation => 0,
        Outcome::FirstReply => 1,
        Outcome::Qualified => 2,
        _ => 3,
    };
    for model in 1..=6 {
        for window in 0..=5 {
            let credits = split(model, window, &expected.path, expected.judged_ms);
            let values = share(expected.micros, &credits);
            for ((touch, credit), value) in expected.path.iter().zip(credits).zip(values) {
                let hour = expected.event_ms.div_euclid(HOUR_MS);
                let (counts, touches) =
                    counted.entry((touch.shop, hour, model, window)).or_default();
                counts[column] += credit;
                counts[4] += value;
                // A micro-credit of a value is a millionth of it.
                *touches += 1 + expected.micros / 1_000_000;
            }
        }
    }
}

/// Tells whether a figure is what was counted; under time decay, within what whole numbers may be apart.
pub(super) const fn near(model: usize, told: i64, counted: i64, touches: i64) -> bool {
    let apart = if model == TIME_DECAY { 2 * touches } else { 0 };
    told.abs_diff(counted) <= apart.unsigned_abs()
}

/// Returns the sums of a row's credits by model.
pub(super) fn sums(row: &AttributionRow) -> [i64; 6] {
    let mut sums = [0; 6];
    for touch in &row.path {
        for (sum, credit) in sums.iter_mut().zip(&touch.credit_micros) {
            *sum += i64::from(*credit);
        }
    }
    sums
}
