//! The path to an outcome: the touches of its viewer before it that may have led to it, and which one is credited
//! where nothing is proven.

use crate::state::catalog::Catalog;
use crate::state::past::{Past, PastTouch};
use crate::state::viewers::{View, Viewer};
use crate::types::attribution::{
    CLICK_WINDOW_MS_MAX, PATH_TOUCHES_MAX, VIEW_WINDOW_MS, last_touch,
};
use crate::types::proto::journal::v1::PathTouch;
use crate::types::proto::v1::{DeclineReason, EventKind, TouchKind};

/// Whose touches, and before what.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// Whose touches they are.
    pub viewer: Option<&'a Viewer>,
    /// What was imported of the viewer.
    pub past: Option<&'a Past>,
    /// The account whose ads may have led to the outcome.
    pub account: u64,
    /// When it happened.
    pub event_ms: i64,
}

/// Returns the eligible touches of an outcome, the oldest first: taps within 28 days and views within one day
/// before it, on ads of its account, at most 32, the newest. What is proven is among them whenever it was.
pub fn path(asked: &Asked<'_>, proven: Option<PathTouch>) -> Vec<PathTouch> {
    let view = proven.map_or(0, |touch| touch.view);
    let others = taps(asked).chain(views(asked)).filter(|touch| touch.view != view);
    let mut path: Vec<_> = others.filter(|touch| is_near(touch, asked.event_ms)).collect();
    path.sort_by_key(|touch| (touch.event_ms, touch.view));
    let room = PATH_TOUCHES_MAX - usize::from(proven.is_some());
    path.drain(..path.len().saturating_sub(room));
    if let Some(proven) = proven {
        let place = (proven.event_ms, proven.view);
        let at = path.partition_point(|touch| (touch.event_ms, touch.view) < place);
        path.insert(at, proven);
    }
    path
}

/// Returns the path of an outcome of which only the viewer is known, and the touch in it that is credited.
///
/// # Errors
/// With the reason for which no touch is.
pub fn credited(asked: &Asked<'_>) -> Result<(Vec<PathTouch>, PathTouch), DeclineReason> {
    let path = path(asked, None);
    match last_touch(&path).and_then(|index| path.get(index).copied()) {
        Some(touch) => Ok((path, touch)),
        None => Err(reason(asked, &path)),
    }
}

/// Returns as what a showing of this node is on the path of an outcome whose proof it is not; `None`: it is not.
pub fn touch(asked: &Asked<'_>, view: u64) -> Option<PathTouch> {
    let here = Asked { past: None, ..*asked };
    let theirs = |touch: &PathTouch| touch.view == view && is_near(touch, asked.event_ms);
    taps(&here).chain(views(&here)).find(theirs)
}

fn reason(asked: &Asked<'_>, path: &[PathTouch]) -> DeclineReason {
    let before = |touch: &PathTouch| touch.event_ms <= asked.event_ms;
    if taps(asked).any(|touch| before(&touch)) {
        DeclineReason::OutOfLookbackWindow
    } else if !path.is_empty() {
        DeclineReason::ViewThroughDisabled
    } else if views(asked).any(|touch| before(&touch)) {
        DeclineReason::OutOfLookbackWindow
    } else if has_invalid(asked) {
        DeclineReason::FraudDetected
    } else {
        DeclineReason::NoTouch
    }
}

fn is_near(touch: &PathTouch, event_ms: i64) -> bool {
    let longest_ms = match touch.kind() {
        TouchKind::Tap => CLICK_WINDOW_MS_MAX,
        TouchKind::Unspecified | TouchKind::EngagedView | TouchKind::View => VIEW_WINDOW_MS,
    };
    (0..=longest_ms).contains(&(event_ms - touch.event_ms))
}

/// Returns the viewer's valid taps on the account's ads.
fn taps<'a>(asked: &Asked<'a>) -> impl Iterator<Item = PathTouch> + use<'a> {
    let Asked { catalog, viewer, account, event_ms, past } = *asked;
    let asked = *asked;
    let imported = past.into_iter().flat_map(Past::taps);
    let imported = imported.filter_map(move |tap| imported_touch(&asked, tap, TouchKind::Tap));
    let touches = viewer.into_iter().flat_map(Viewer::touches);
    let valid = touches.filter(move |touch| touch.account == account && touch.invalid == 0);
    let valid = valid.map(move |touch| {
        let windows = catalog.windows_of(touch.ad);
        PathTouch {
            view: touch.view,
            ad: touch.ad,
            ad_set: touch.ad_set,
            campaign: touch.campaign,
            kind: TouchKind::Tap.into(),
            event_ms: touch.tap_ms,
            in_window: windows.hold(TouchKind::Tap, event_ms - touch.tap_ms),
            proven: false,
        }
    });
    valid.chain(imported)
}

/// Returns an imported touch of an ad of the account.
fn imported_touch(asked: &Asked<'_>, touch: &PastTouch, kind: TouchKind) -> Option<PathTouch> {
    let family = asked.catalog.family(touch.ad).filter(|it| it.account == asked.account)?;
    Some(PathTouch {
        view: touch.view,
        ad: touch.ad,
        ad_set: family.ad_set,
        campaign: family.campaign,
        kind: kind.into(),
        event_ms: touch.event_ms,
        in_window: family.windows.hold(kind, asked.event_ms - touch.event_ms),
        proven: false,
    })
}

/// Returns the viewer's valid views of the account's ads that were not tapped by then: one that was is a tap.
fn views<'a>(asked: &Asked<'a>) -> impl Iterator<Item = PathTouch> + use<'a> {
    let Asked { catalog, viewer, account, event_ms, past } = *asked;
    let asked = *asked;
    let imported = past.into_iter().flat_map(Past::untapped);
    let imported = imported.filter_map(move |view| {
        let engaged = view.has(EventKind::Video50);
        imported_touch(&asked, view, if engaged { TouchKind::EngagedView } else { TouchKind::View })
    });
    let views = viewer.into_iter().flat_map(Viewer::views);
    let tap_of = move |view: &View| viewer.and_then(|viewer| viewer.touch(view.view));
    let is_tapped = move |view: &View| tap_of(view).is_some_and(|tap| tap.tap_ms <= event_ms);
    let valid = views.filter(move |view| view.invalid == 0 && !is_tapped(view));
    let valid = valid.filter_map(move |view| {
        let family = catalog.family(view.ad).filter(|family| family.account == account)?;
        let kind =
            if view.is_engaged_by(event_ms) { TouchKind::EngagedView } else { TouchKind::View };
        Some(PathTouch {
            view: view.view,
            ad: view.ad,
            ad_set: family.ad_set,
            campaign: family.campaign,
            kind: kind.into(),
            event_ms: view.seen_ms,
            in_window: family.windows.hold(kind, event_ms - view.seen_ms),
            proven: false,
        })
    });
    valid.chain(imported)
}

/// Tells whether the viewer has touched an ad of the account before the outcome in a way that was invalid.
fn has_invalid(asked: &Asked<'_>) -> bool {
    let Asked { catalog, viewer, account, event_ms, .. } = *asked;
    let theirs = |ad| catalog.family(ad).is_some_and(|family| family.account == account);
    viewer.is_some_and(|viewer| {
        let tapped = viewer.touches().iter().any(|touch| {
            touch.invalid != 0 && touch.account == account && touch.tap_ms <= event_ms
        });
        let seen = |view: &View| view.invalid != 0 && view.seen_ms <= event_ms && theirs(view.ad);
        tapped || viewer.views().iter().any(|view| seen(&view))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::viewers::{Touch, Unpacked};
    use crate::types::time::DAY_MS;

    #[test]
    fn of_too_many_touches_the_newest_are_on_the_path_and_what_is_proven() {
        let (catalog, event_ms) = (Catalog::default(), 100 * DAY_MS);
        let tap = |view: u64| {
            let tap_ms = event_ms - view as i64;
            Touch { view, tap_ms, account: 1, ..Touch::default() }
        };
        let viewer =
            Unpacked { touches: (1..=40).map(tap).collect(), ..Unpacked::default() }.pack();
        let (viewer, past) = (Some(&viewer), None);
        let asked = Asked { catalog: &catalog, viewer, past, account: 1, event_ms };
        let views =
            |proven| -> Vec<u64> { path(&asked, proven).iter().map(|touch| touch.view).collect() };
        assert_eq!(views(None), (1..=32).rev().collect::<Vec<_>>());
        let proven =
            PathTouch { view: 40, event_ms: event_ms - 40, proven: true, ..PathTouch::default() };
        let kept: Vec<_> = std::iter::once(40).chain((1..=31).rev()).collect();
        assert_eq!(views(Some(proven)), kept);
    }
}
