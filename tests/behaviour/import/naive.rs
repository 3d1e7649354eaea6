//! Histories drawn by chance, and a recount that is as plain as the rules are told.

use munadi::types::proto::v1::{DeclineReason, TouchKind};
use munadi::types::time::{DAY_MS, HOUR_MS, SECOND_MS};

use crate::paths::naive::Luck;

/// Click, view and engaged-view windows of each shop, days. The first two are of one account.
pub(super) const SPECS: [[i64; 3]; 3] = [[7, 1, 0], [28, 0, 1], [1, 0, 0]];

/// The longest history: older than what is remembered of what happened here.
const SPAN_MS: i64 = 85 * DAY_MS;

/// An impression.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) shop: usize,
    pub(super) at_ms: i64,
    pub(super) id: String,
    pub(super) viewable: bool,
    pub(super) engaged: bool,
}

/// A tap, of an impression of its shop or of none that is told.
#[derive(Clone, Debug)]
pub(super) struct Tap {
    pub(super) shop: usize,
    pub(super) at_ms: i64,
    pub(super) id: String,
    pub(super) of: Option<usize>,
}

/// A conversation or conversion, proven by a tap or not.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) shop: usize,
    pub(super) at_ms: i64,
    pub(super) id: String,
    pub(super) opens: bool,
    pub(super) tap: Option<usize>,
    pub(super) micros: i64,
}

/// All that happened to one viewer.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) viewer: String,
    pub(super) seen: Vec<Seen>,
    pub(super) taps: Vec<Tap>,
    pub(super) outcomes: Vec<Told>,
}

/// A touch on the way to an outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touch {
    pub(super) shop: usize,
    pub(super) at_ms: i64,
    pub(super) kind: TouchKind,
    inside: bool,
}

/// What an outcome must come to.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) viewer: String,
    pub(super) opens: bool,
    pub(super) at_ms: i64,
    pub(super) micros: i64,
    pub(super) credited: Option<Touch>,
    pub(super) declined: DeclineReason,
    pub(super) path: Vec<Touch>,
}

/// Tells which account a shop is of.
const fn account_of(shop: usize) -> usize {
    if shop == 2 { 1 } else { 0 }
}

impl History {
    /// Draws what happened to a viewer before a moment.
    pub(super) fn drawn(viewer: usize, end_ms: i64) -> Self {
        let luck = &mut Luck::new(viewer as u64 + 7_000);
        let mut history = Self { viewer: format!("viewer {viewer}"), ..Self::default() };
        // Half of them live within two days, so that views count.
        let span_ms = if luck.chance(2) { 2 * DAY_MS } else { SPAN_MS };
        let start_ms = end_ms - span_ms - luck.below((SPAN_MS - span_ms + 1) as u64) as i64;
        for number in 0..luck.below(6) {
            let shop = luck.below(3) as usize;
            let at_ms = start_ms + luck.below(span_ms as u64 - 60_000) as i64;
            let id = format!("{viewer} seen {number}");
            let (viewable, engaged) = (luck.chance(2), luck.chance(4));
            if luck.chance(3) {
                let tap_ms = at_ms + 200 + luck.below(30 * SECOND_MS as u64) as i64;
                let (of, id) = (Some(history.seen.len()), format!("{viewer} tap of {number}"));
                history.taps.push(Tap { shop, at_ms: tap_ms, id, of });
            }
            history.seen.push(Seen { shop, at_ms, id, viewable, engaged });
        }
        for number in 0..luck.below(4) {
            let shop = luck.below(3) as usize;
            let at_ms = start_ms + luck.below(span_ms as u64) as i64;
            let id = format!("{viewer} tap {number}");
            history.taps.push(Tap { shop, at_ms, id, of: None });
        }
        for number in 0..luck.below(4) {
            let told =
                history.outcome(luck, format!("{viewer} outcome {number}"), start_ms, end_ms);
            history.outcomes.push(told);
        }
        history
    }

    fn outcome(&self, luck: &mut Luck, id: String, start_ms: i64, end_ms: i64) -> Told {
        let seen = self.seen.iter().map(|it| (it.shop, it.at_ms));
        let touches: Vec<_> = seen.chain(self.taps.iter().map(|it| (it.shop, it.at_ms))).collect();
        let any = (touches.len() as u64).max(1);
        let (shop, touched_ms) =
            touches.get(luck.below(any) as usize).copied().unwrap_or((0, start_ms));
        let day = [DAY_MS, 7 * DAY_MS, 28 * DAY_MS][luck.below(3) as usize];
        let at_ms = match luck.below(4) {
            0 => touched_ms + day,
            1 => touched_ms + day + 1,
            2 => touched_ms + luck.below(20 * HOUR_MS as u64) as i64,
            _ => start_ms + luck.below((end_ms - start_ms) as u64) as i64,
        };
        let at_ms = at_ms.min(end_ms);
        let shop = if luck.chance(4) { luck.below(3) as usize } else { shop };
        // Some tap of the account up to then.
        let before = |tap: &Tap| account_of(tap.shop) == account_of(shop) && tap.at_ms <= at_ms;
        let tap = self.taps.iter().position(before).filter(|_| luck.chance(3));
        let (opens, micros) = (luck.chance(2), luck.below(1 << 30) as i64);
        Told { shop, at_ms, id, opens, tap, micros }
    }

    /// Returns all touches of an account up to a moment, with their ages.
    fn touches(&self, account: usize, at_ms: i64) -> Vec<(i64, Touch)> {
        let is_tapped = |index: usize| self.taps.iter().any(|tap| tap.of == Some(index));
        let views = self.seen.iter().enumerate().filter(|(index, _)| !is_tapped(*index));
        let views = views.map(|(_, seen)| {
            let kind = if seen.engaged { TouchKind::EngagedView } else { TouchKind::View };
            (seen.shop, seen.at_ms, kind)
        });
        let taps = self.taps.iter().map(|tap| (tap.shop, tap.at_ms, TouchKind::Tap));
        let all = views
            .chain(taps)
            .filter(|(shop, touched_ms, _)| account_of(*shop) == account && *touched_ms <= at_ms);
        all.map(|(shop, touched_ms, kind)| {
            let (age_ms, [click, view, engaged]) = (at_ms - touched_ms, SPECS[shop]);
            let days = match kind {
                TouchKind::Tap => click,
                TouchKind::EngagedView => view.max(engaged),
                _ => view,
            };
            let inside = days > 0 && age_ms <= days * DAY_MS;
            (age_ms, Touch { shop, at_ms: touched_ms, kind, inside })
        })
        .collect()
    }
}

/// Says what an outcome must come to.
pub(super) fn expect(history: &History, told: &Told) -> Expected {
    let before = history.touches(account_of(told.shop), told.at_ms);
    let near = |(age_ms, touch): &&(i64, Touch)| {
        *age_ms <= if touch.kind == TouchKind::Tap { 28 * DAY_MS } else { DAY_MS }
    };
    let mut path: Vec<Touch> = before.iter().filter(near).map(|(_, touch)| *touch).collect();
    let proven = told.tap.map(|tap| &history.taps[tap]);
    let is_proven = |touch: &Touch| {
        proven.is_some_and(|tap| tap.at_ms == touch.at_ms && tap.shop == touch.shop)
    };
    let found = |wanted: &dyn Fn(&Touch) -> bool| {
        let fits = |touch: &&Touch| touch.inside && wanted(touch);
        path.iter().filter(fits).max_by_key(|touch| touch.at_ms).copied()
    };
    let (credited, declined) = if proven.is_some() {
        match found(&is_proven) {
            Some(tap) => (Some(tap), DeclineReason::Unspecified),
            None => (None, DeclineReason::OutOfLookbackWindow),
        }
    } else {
        let kinds = [TouchKind::Tap, TouchKind::EngagedView, TouchKind::View];
        let last = kinds.into_iter().find_map(|kind| found(&|touch| touch.kind == kind));
        let has = |tap: bool| before.iter().any(|(_, it)| (it.kind == TouchKind::Tap) == tap);
        let reason = match () {
            () if last.is_some() => DeclineReason::Unspecified,
            () if has(true) => DeclineReason::OutOfLookbackWindow,
            () if !path.is_empty() => DeclineReason::ViewThroughDisabled,
            () if has(false) => DeclineReason::OutOfLookbackWindow,
            () => DeclineReason::NoTouch,
        };
        (last, reason)
    };
    path.sort_by_key(|touch| touch.at_ms);
    let (opens, at_ms, viewer) = (told.opens, told.at_ms, history.viewer.clone());
    let micros = if opens { 0 } else { told.micros };
    Expected { viewer, opens, at_ms, micros, credited, declined, path }
}
