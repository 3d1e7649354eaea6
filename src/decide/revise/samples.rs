//! What the tests of revisions have in common: an outcome at noon and its touches.

use crate::decide::revise::{There, ToldTouch, invalidated, late};
use crate::state::catalog::Catalog;
use crate::state::credit::{Credit, Shown, timestamp};
use crate::state::viewers::{Touch, Unpacked, Viewer};
use crate::types::attribution::last_touch;
use crate::types::proto::journal::v1::{EventCredited, OutcomeRevised, PathTouch, Showing};
use crate::types::proto::v1::{
    AttributionRow, BillingEvent, DeclineReason, MatchKind, Outcome, TouchKind,
};
use crate::types::time::DAY_MS;

pub(super) const ACCOUNT: u64 = 1;
pub(super) const VIEWER: u64 = 7;
pub(super) const NOON: i64 = 100 * DAY_MS;

/// A tap so long before the outcome; its view is its ad.
pub(super) fn tap(view: u64, age_ms: i64) -> PathTouch {
    PathTouch {
        view,
        ad: view,
        kind: TouchKind::Tap.into(),
        event_ms: NOON - age_ms,
        in_window: age_ms <= 7 * DAY_MS,
        ..PathTouch::default()
    }
}

pub(super) fn seen(view: u64, age_ms: i64) -> PathTouch {
    PathTouch { kind: TouchKind::View.into(), ..tap(view, age_ms) }
}

pub(super) fn proven(touch: PathTouch) -> PathTouch {
    PathTouch { proven: true, ..touch }
}

/// A conversation that is credited to the touch that earns it, or declined for want of one.
pub(super) fn credit(path: Vec<PathTouch>) -> Credit {
    let last = last_touch(&path).map(|index| path[index]);
    let ad = last.map_or(0, |touch| touch.ad);
    let why = if ad == 0 { DeclineReason::NoTouch } else { DeclineReason::Unspecified };
    let is_proven = last.is_some_and(|touch| touch.proven);
    let match_kind = if is_proven { MatchKind::ClickToken } else { MatchKind::Viewer };
    let row = AttributionRow {
        outcome_id: 9,
        revision: 1,
        outcome: Outcome::Conversation.into(),
        conversation_id: 5,
        account_id: ACCOUNT,
        ad_id: ad,
        charged_micros: 100,
        event_time: Some(timestamp(NOON)),
        touch_time: last.map(|touch| timestamp(touch.event_ms)),
        decline_reason: why.into(),
        match_kind: match_kind.into(),
        ..AttributionRow::default()
    };
    let view = last.map_or(0, |touch| touch.view);
    let shown = Shown { view, viewer: VIEWER, ..Shown::default() };
    Credit { seq: 1, at_ms: NOON, click: 0, row, path, judged_ms: NOON, shown }
}

/// The credit that stands once a revision is applied.
pub(super) fn revised_by(credit: &Credit, fact: &OutcomeRevised) -> Credit {
    let after = fact.after.clone().unwrap_or_default();
    let showing = after.showing.unwrap_or_default();
    let row = AttributionRow {
        revision: fact.revision,
        revision_cause: fact.cause,
        ad_id: showing.ad,
        touch_time: after.showing.map(|_| timestamp(after.touch_ms)),
        decline_reason: after.decline_reason,
        invalid: after.invalid,
        match_kind: after.match_kind,
        charged_micros: fact.charged,
        value: after.value,
        withdrawn: fact.withdrawn,
        ..credit.row.clone()
    };
    let shown = Shown { view: showing.view, ..credit.shown };
    Credit { row, path: after.path, shown, ..credit.clone() }
}

pub(super) fn tapping(taps: &[PathTouch]) -> Viewer {
    opening(taps, 0)
}

/// Returns the viewer of whose taps so many have opened conversation 5.
pub(super) fn opening(taps: &[PathTouch], opened: usize) -> Viewer {
    let touch = |(at, tap): (usize, &PathTouch)| Touch {
        conversation: if at < opened { 5 } else { 0 },
        view: tap.view,
        ad: tap.ad,
        account: ACCOUNT,
        tap_ms: tap.event_ms,
        ..Touch::default()
    };
    let touches = taps.iter().enumerate().map(touch).collect();
    Unpacked { touches, ..Unpacked::default() }.pack()
}

pub(super) fn told(touch: &PathTouch) -> ToldTouch {
    let showing = Showing {
        view: touch.view,
        ad: touch.ad,
        viewer: VIEWER,
        account: ACCOUNT,
        ..Showing::default()
    };
    ToldTouch { showing, event_ms: touch.event_ms }
}

/// Tells a touch of a viewer with these valid taps.
pub(super) fn tell(
    credit: &Credit,
    touch: &PathTouch,
    taps: &[PathTouch],
) -> Option<OutcomeRevised> {
    let (catalog, viewer) = (Catalog::default(), tapping(taps));
    let there = There { catalog: &catalog, viewer: Some(&viewer), past: None };
    late(credit, &told(touch), &there)
}

pub(super) fn given_back(view: u64, billing: BillingEvent) -> EventCredited {
    let showing = Some(Showing { view, viewer: VIEWER, ..Showing::default() });
    EventCredited { showing, billing: billing as u32, ..EventCredited::default() }
}

pub(super) fn find(credit: &Credit, view: u64, viewer: &Viewer) -> Option<OutcomeRevised> {
    let catalog = Catalog::default();
    let there = There { catalog: &catalog, viewer: Some(viewer), past: None };
    invalidated(credit, &given_back(view, BillingEvent::Conversations), &there)
}

/// Returns the views of a path, and the one that earns the outcome; 0: none.
pub(super) fn views(fact: &OutcomeRevised) -> (Vec<u64>, u64) {
    let after = fact.after.clone().unwrap_or_default();
    let earner = after.showing.map_or(0, |showing| showing.view);
    (after.path.iter().map(|touch| touch.view).collect(), earner)
}
