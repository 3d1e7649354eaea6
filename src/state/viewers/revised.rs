//! What findings and revisions change of a viewer.

use crate::state::viewers::Viewer;
use crate::types::proto::journal::v1::{ConversationTouch, OutcomeRevised, Standing};
use crate::types::proto::v1::InvalidReason;

impl Viewer {
    /// Marks a showing and its tap as invalid: what comes of them from here on is credited to nobody.
    pub(in crate::state) fn invalidate(&mut self, view: u64) {
        let reason = InvalidReason::Invalidated as u8;
        for known in self.views.iter_mut().filter(|known| known.view == view && known.invalid == 0)
        {
            known.invalid = reason;
        }
        for tap in self.touches.iter_mut().filter(|tap| tap.view == view && tap.invalid == 0) {
            tap.invalid = reason;
        }
    }

    /// Remembers to whom an outcome is credited now.
    pub(in crate::state) fn revise(&mut self, fact: &OutcomeRevised) {
        let known = self.credited.iter_mut().find(|credited| credited.outcome == fact.outcome);
        let (Some(known), Some(after)) = (known, &fact.after) else { return };
        known.void = after.showing.is_none() || after.invalid != 0;
        if let Some(touch) = &mut known.touch {
            touch.replace(&touch_of_standing(fact.outcome, fact.event_ms, after.clone()));
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
    use crate::state::chats::StoredTouch;
    use crate::state::viewers::{Credited, Touch, View};
    use crate::types::proto::journal::v1::{PathTouch, Showing};
    use crate::types::proto::v1::Outcome;

    #[test]
    fn an_invalidated_showing_takes_its_tap_with_it_and_its_person_was_counted() {
        let showing = |view| View { view, ..View::default() };
        let tap = |view, campaign| Touch { view, campaign, ..Touch::default() };
        let mut viewer = Viewer {
            views: vec![showing(1), showing(2)],
            touches: vec![tap(1, 5), tap(2, 6)],
            ..Viewer::default()
        };
        viewer.touches[1].invalid = InvalidReason::Network as u8;
        viewer.invalidate(1);
        viewer.invalidate(2);
        let found = Some(InvalidReason::Invalidated);
        assert_eq!((viewer.views[0].invalid(), viewer.touches[0].invalid()), (found, found));
        assert_eq!(viewer.touches[1].invalid(), Some(InvalidReason::Network), "the first reason");
        assert!(viewer.has_tapped(5) && !viewer.has_tapped(6));
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
        let mut viewer = Viewer { credited: vec![credited], ..Viewer::default() };
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
}
