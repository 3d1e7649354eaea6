//! What findings and revisions change of a viewer, and what is told late.

use crate::state::chats::StoredTouch;
use crate::state::revisions::REVISED_OUTCOMES_MAX;
use crate::state::viewers::{Credited, Rest, View, Viewer};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    ConversationTouch, OutcomeDeclined, OutcomeRevised, Showing, Standing, Watched,
};
use crate::types::proto::v1::{EventKind, InvalidReason, Outcome};
use crate::types::time::Moment;

/// What makes a view an engaged one: half of its video was played, or more.
pub const ENGAGING: [EventKind; 3] = [EventKind::Video50, EventKind::Video75, EventKind::Video100];

impl View {
    /// Tells whether half of its video had been played by a moment, milliseconds, or more.
    pub fn is_engaged_by(&self, moment_ms: i64) -> bool {
        self.is_engaged() && self.seen_ms + i64::from(self.engaged_after_ms) <= moment_ms
    }

    fn is_engaged(&self) -> bool {
        ENGAGING.into_iter().any(|kind| self.flags.has(kind))
    }
}

impl Viewer {
    /// Marks a showing and its tap as invalid: what comes of them from here on is credited to nobody.
    pub(in crate::state) fn invalidate(&mut self, view: u64) {
        let reason = InvalidReason::Invalidated as u8;
        if self.view(view).is_some() {
            self.views.change(|views| {
                let valid = |known: &&mut View| known.view == view && known.invalid == 0;
                views.iter_mut().filter(valid).for_each(|known| known.invalid = reason);
            });
        }
        let touches = self.rest.as_mut().map_or(&mut [][..], |rest| &mut rest.touches);
        for tap in touches.iter_mut().filter(|tap| tap.view == view && tap.invalid == 0) {
            tap.invalid = reason;
        }
    }

    /// Returns a viewer's showings and taps as they are behind an event. The rest is left out: of somebody with many
    /// outcomes it would be megabytes.
    pub fn after(known: Option<&Self>, fact: &Kind, at: Moment) -> Self {
        let mut viewer = known.map_or_else(Self::default, Self::without_outcomes);
        match fact {
            Kind::ImpressionSeen(fact) => {
                fact.showing.iter().for_each(|showing| viewer.see(fact, showing, at));
            }
            Kind::Watched(fact) => {
                fact.showing.iter().for_each(|showing| viewer.watch(fact, showing));
            }
            Kind::Tapped(fact) => {
                fact.showing.iter().for_each(|showing| viewer.tap(fact, showing, at));
            }
            Kind::ClickMatched(fact) => {
                fact.showing.iter().for_each(|showing| viewer.open(fact, showing, at));
            }
            _ => {}
        }
        viewer
    }

    fn without_outcomes(&self) -> Self {
        let touches = self.touches().to_vec();
        let rest = self.rest.as_ref().map(|_| Box::new(Rest { touches, ..Rest::default() }));
        Self { version: self.version, oldest_s: self.oldest_s, views: self.views.clone(), rest }
    }

    /// Tells whether an outcome of the viewer is remembered that happened at a moment, milliseconds, or after it.
    pub fn has_outcome_since(&self, moment_ms: i64) -> bool {
        let newest = self.credited().iter().rev().take(REVISED_OUTCOMES_MAX);
        newest.into_iter().any(|credited| credited.event_ms >= moment_ms)
    }

    /// Marks what else happened to a showing, and how soon half of its video had been played.
    pub(in crate::state) fn watch(&mut self, fact: &Watched, showing: &Showing) {
        let kind = EventKind::try_from(fact.event_kind as i32).unwrap_or_default();
        if !ENGAGING.contains(&kind) {
            return self.views.mark(showing.view, kind);
        }
        let Some(known) = self.view(showing.view) else { return };
        let after_ms = (fact.event_ms - known.seen_ms).max(0);
        let after_ms = u32::try_from(after_ms).unwrap_or(u32::MAX);
        let earlier_ms = if known.is_engaged() { known.engaged_after_ms } else { u32::MAX };
        self.views.change(|views| {
            if let Some(known) = views.iter_mut().rev().find(|known| known.view == showing.view) {
                known.engaged_after_ms = after_ms.min(earlier_ms);
                known.flags.set(kind);
            }
        });
    }

    /// Remembers an outcome that none of the viewer's touches has earned.
    pub(in crate::state) fn miss(&mut self, fact: &OutcomeDeclined, at: Moment) {
        let OutcomeDeclined { outcome, event_ms, imported, .. } = *fact;
        self.rest_mut().credited.push(Credited {
            outcome,
            campaign: 0,
            void: true,
            at_ms: at.0,
            event_ms,
            imported,
            touch: None,
        });
    }

    /// Remembers to whom an outcome is credited now.
    pub(in crate::state) fn revise(&mut self, fact: &OutcomeRevised) {
        let credited = self.rest.as_mut().map_or(&mut [][..], |rest| &mut rest.credited);
        let known = credited.iter_mut().find(|credited| credited.outcome == fact.outcome);
        let (Some(known), Some(after)) = (known, &fact.after) else { return };
        known.void = after.showing.is_none() || after.invalid != 0;
        let touch = touch_of_standing(fact.outcome, fact.event_ms, after.clone());
        match &mut known.touch {
            Some(known) => known.replace(&touch),
            None if !known.void && fact.kind() == Outcome::Conversation => {
                known.touch = Some(StoredTouch(touch));
            }
            None => {}
        }
    }
}

/// Returns the touch that a conversation has by how its opening stands; without an ad: nobody's.
pub fn touch_of_standing(outcome: u64, event_ms: i64, standing: Standing) -> ConversationTouch {
    let showing = standing.showing.unwrap_or_default();
    ConversationTouch {
        campaign: showing.campaign,
        ad_set: showing.ad_set,
        ad: showing.ad,
        view: showing.view,
        match_kind: standing.match_kind,
        event_ms,
        invalid: standing.invalid,
        path: standing.path,
        outcome,
        touch_ms: standing.touch_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::viewers::{Touch, Unpacked};
    use crate::types::proto::journal::v1::{ClickMatched, PathTouch, Tapped};

    #[test]
    fn an_invalidated_showing_takes_its_tap_with_it_and_its_person_was_counted() {
        let showing = |view| View { view, ..View::default() };
        let tap = |view, campaign| Touch { view, campaign, ..Touch::default() };
        let network = Touch { invalid: InvalidReason::Network as u8, ..tap(2, 6) };
        let mut viewer = Unpacked {
            views: vec![showing(1), showing(2)],
            touches: vec![tap(1, 5), network],
            ..Unpacked::default()
        }
        .pack();
        viewer.invalidate(1);
        viewer.invalidate(2);
        let found = Some(InvalidReason::Invalidated);
        let of_view = viewer.view(1).and_then(|view| view.invalid());
        assert_eq!((of_view, viewer.touches()[0].invalid()), (found, found));
        assert_eq!(viewer.touches()[1].invalid(), Some(InvalidReason::Network), "the first reason");
        assert!(viewer.has_tapped(5) && !viewer.has_tapped(6));
    }

    #[test]
    fn nobody_is_counted_by_a_tap_that_is_told_after_its_view_was_invalidated() {
        let invalid = InvalidReason::Invalidated.into();
        let showing = |view, campaign| Showing { view, campaign, ..Showing::default() };
        let mut viewer = Viewer::default();
        viewer.tap(&Tapped { invalid, ..Tapped::default() }, &showing(1, 5), Moment(0));
        let implied_tap = true;
        let opening = ClickMatched { implied_tap, invalid, ..ClickMatched::default() };
        viewer.open(&opening, &showing(2, 6), Moment(0));
        viewer.tap(&Tapped::default(), &showing(3, 7), Moment(0));
        viewer.invalidate(3);
        let known = [5, 6, 7].map(|campaign| viewer.has_tapped(campaign));
        assert_eq!(known, [false, false, true]);
        let implied = viewer.touches().iter().map(|touch| touch.told.is_implied());
        assert_eq!(implied.collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn a_revised_opening_is_settled_with_its_new_touch_and_with_none_it_is_nobodys() {
        let path = vec![PathTouch { view: 1, ..PathTouch::default() }];
        let touch = ConversationTouch { ad: 7, view: 1, outcome: 9, path, ..Default::default() };
        let credited = Credited {
            outcome: 9,
            campaign: 0,
            void: false,
            at_ms: 0,
            event_ms: 0,
            imported: false,
            touch: Some(StoredTouch(touch)),
        };
        let mut viewer = Unpacked { credited: vec![credited], ..Unpacked::default() }.pack();
        let mut revise = |showing: Option<Showing>, invalid: InvalidReason| {
            let after = Standing { showing, invalid: invalid.into(), ..Standing::default() };
            let kind = Outcome::Conversation.into();
            let (outcome, after) = (9, Some(after));
            viewer.revise(&OutcomeRevised { outcome, kind, after, ..Default::default() });
            let known = viewer.credit_of(9).expect("it stays known");
            let touch = known.touch.clone().expect("it had one").0;
            (known.void, touch.ad, touch.view, touch.invalid())
        };
        let other = Showing { ad: 8, view: 2, ..Showing::default() };
        let valid = InvalidReason::Unspecified;
        assert_eq!(revise(Some(other), valid), (false, 8, 2, valid));
        let found = InvalidReason::Invalidated;
        assert_eq!(revise(None, found), (true, 8, 2, found), "it stays known whose it was");
    }

    #[test]
    fn a_view_is_engaged_from_its_earliest_half_played_video() {
        let seen = View { view: 1, seen_ms: 1_000, ..View::default() };
        let mut viewer = Unpacked { views: vec![seen], ..Unpacked::default() }.pack();
        let showing = Showing { view: 1, ..Showing::default() };
        let mut watch = |kind: EventKind, event_ms: i64| {
            let fact = Watched { event_ms, event_kind: kind as u32, ..Watched::default() };
            viewer.watch(&fact, &showing);
            viewer.view(1).expect("it was seen")
        };
        assert!(!watch(EventKind::Video25, 2_000).is_engaged_by(i64::MAX));
        for (kind, ms, from_ms) in [
            (EventKind::Video75, 9_000, 9_000),
            (EventKind::Video50, 5_000, 5_000),
            (EventKind::Video100, 12_000, 5_000),
        ] {
            let view = watch(kind, ms);
            assert!(view.is_engaged_by(from_ms) && !view.is_engaged_by(from_ms - 1), "{kind:?}");
        }
        let view = watch(EventKind::Video50, 0);
        assert!(view.is_engaged_by(1_000), "from when it was seen");
    }

    #[test]
    fn a_viewer_behind_an_event_has_its_touches_and_none_of_its_outcomes() {
        let missed = OutcomeDeclined { outcome: 9, event_ms: 50, viewer: 7, ..Default::default() };
        let tap = |view| Touch { view, ..Touch::default() };
        let views = vec![View { view: 1, ..View::default() }];
        let touches = vec![tap(1)];
        let mut known = Unpacked { views, touches, ..Unpacked::default() }.pack();
        known.miss(&missed, Moment(60));
        let showing = Some(Showing { view: 2, ..Showing::default() });
        let tapped = Kind::Tapped(Tapped { showing, ..Tapped::default() });
        let after = Viewer::after(Some(&known), &tapped, Moment(70));
        assert_eq!(after.touches().iter().map(|tap| tap.view).collect::<Vec<_>>(), [1, 2]);
        assert!(after.view(1).is_some() && after.credited().is_empty());
        assert!(Viewer::after(None, &tapped, Moment(70)).touch(2).is_some());
    }

    #[test]
    fn a_missed_outcome_is_known_and_has_a_touch_once_it_is_earned() {
        let mut viewer = Viewer::default();
        let missed = OutcomeDeclined { outcome: 9, event_ms: 50, viewer: 7, ..Default::default() };
        viewer.miss(&missed, Moment(60));
        assert!(viewer.has_outcome_since(50) && !viewer.has_outcome_since(51));
        assert!(viewer.credit_of(9).is_some_and(|known| known.void && known.touch.is_none()));
        let showing = Some(Showing { ad: 8, view: 2, ..Showing::default() });
        let after = Some(Standing { showing, ..Standing::default() });
        let kind = Outcome::Conversation.into();
        viewer.revise(&OutcomeRevised { outcome: 9, kind, after, ..Default::default() });
        let known = viewer.credit_of(9).expect("it stays known");
        assert!(!known.void && known.touch.as_ref().is_some_and(|touch| touch.0.ad == 8));
    }
}
