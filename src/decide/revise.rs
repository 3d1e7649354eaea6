//! Outcomes told anew: what a finding or a late event changes of whom they are credited to.

mod late;
#[cfg(test)]
mod samples;

pub use late::{ToldTouch, earned, late};

use crate::state::catalog::Catalog;
use crate::state::chats::Chat;
use crate::state::credit::Credit;
use crate::state::past::Past;
use crate::state::viewers::{Viewer, touch_of_standing};
use crate::types::attribution::last_touch;
use crate::types::proto::journal::v1::{
    EventCredited, OutcomeRevised, PathTouch, Showing, Standing, TouchRevised,
};
use crate::types::proto::v1::{
    BillingEvent, DeclineReason, InvalidReason, MatchKind, Money, Outcome, RevisionCause,
};

/// What is known where the viewer lives.
#[derive(Clone, Copy, Debug)]
pub struct There<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// The viewer; `None`: nothing is remembered.
    pub viewer: Option<&'a Viewer>,
    /// What was imported of the viewer.
    pub past: Option<&'a Past>,
}

/// Returns what becomes of an outcome once the charge for a showing on its path was given back: the touch leaves
/// the path, and the last of the others earns it. `None`: it is not on its path.
pub fn invalidated(
    credit: &Credit,
    credited: &EventCredited,
    there: &There<'_>,
) -> Option<OutcomeRevised> {
    let view = credited.showing.map_or(0, |showing| showing.view);
    let gone = credit.path.iter().find(|touch| touch.view == view)?;
    let path: Vec<_> = credit.path.iter().filter(|touch| touch.view != view).copied().collect();
    let after = match last_touch(&path).and_then(|index| path.get(index).copied()) {
        Some(touch) => credited_to(credit, path, &touch, there),
        None => declined(credit, gone.proven),
    };
    // A showing is charged for one event. If that is a conversation, it is the one that it was credited with first,
    // though a late touch, which opens none, may have earned that since.
    let (conversation, shown) = (credit.row.conversation_id, credit.shown.view);
    let of_tap = |view| there.viewer?.touch(view).map(|tap| tap.conversation);
    let opened = |view| conversation != 0 && of_tap(view) == Some(conversation);
    let of_this = credited.billing == BillingEvent::Conversations as u32
        && credit.row.outcome() == Outcome::Conversation
        && (shown == view || opened(view) && !opened(shown));
    let charged = if of_this { 0 } else { credit.row.charged_micros };
    Some(OutcomeRevised { charged, ..revised(credit, RevisionCause::InvalidTraffic, after) })
}

/// Returns what becomes of a conversion that is worth this now; `value` absent: it is retracted. `None`: it says the
/// same already.
pub fn adjusted(credit: &Credit, value: Option<Money>, adjustment: u64) -> Option<OutcomeRevised> {
    let withdrawn = value.is_none();
    let before = credit.standing();
    let after = match withdrawn {
        true => Standing::default(),
        false => Standing { value, ..before.clone() },
    };
    let fact =
        OutcomeRevised { withdrawn, adjustment, ..revised(credit, RevisionCause::Adjusted, after) };
    (withdrawn || fact.after.as_ref() != Some(&before)).then_some(fact)
}

/// Returns what becomes of a step of a conversation whose opening was revised; `None`: it says the same already.
pub fn step(step: &Credit, opening: &Credit) -> Option<OutcomeRevised> {
    let before = step.standing();
    let standing = opening.standing();
    // A conversation's steps are counted without their showing, as they are where it was never revised.
    let showing = standing.showing.map(|showing| Showing { viewer: 0, feed: 0, ..showing });
    let value = before.value.clone();
    let after = Standing { showing, value, placement: 0, ..standing };
    let cause = opening.row.revision_cause();
    (after != before).then(|| revised(step, cause, after))
}

/// Returns what a revised opening changes of its conversation's touches; `None`: nothing.
pub fn touch(chat: &Chat, opening: &Credit) -> Option<TouchRevised> {
    let row = &opening.row;
    let touch = touch_of_standing(row.outcome_id, opening.event_ms(), opening.standing());
    let mut changed = chat.clone();
    changed.revise(&touch);
    let same = changed.first_touch == chat.first_touch && changed.latest_touch == chat.latest_touch;
    let conversation = row.conversation_id;
    (!same).then_some(TouchRevised { conversation, touch: Some(touch) })
}

/// Returns the next revision of an outcome.
fn revised(credit: &Credit, cause: RevisionCause, after: Standing) -> OutcomeRevised {
    let row = &credit.row;
    OutcomeRevised {
        outcome: row.outcome_id,
        kind: row.outcome,
        account: row.account_id,
        conversation: row.conversation_id,
        event_ms: credit.event_ms(),
        judged_ms: credit.judged_ms,
        event_id: row.event_id.clone(),
        name: row.name.clone(),
        revision: row.revision + 1,
        cause: cause.into(),
        before: Some(credit.standing()),
        after: Some(after),
        withdrawn: false,
        charged: row.charged_micros,
        viewer: credit.shown.viewer,
        adjustment: 0,
    }
}

/// Returns how an outcome stands that a touch of its path earns.
fn credited_to(
    credit: &Credit,
    path: Vec<PathTouch>,
    touch: &PathTouch,
    there: &There<'_>,
) -> Standing {
    let before = credit.standing();
    if touch.view == credit.shown.view && before.invalid == 0 && before.showing.is_some() {
        return Standing { path, touch_ms: touch.event_ms, ..before };
    }
    let (showing, placement) = shown(credit, touch, there);
    // Without a proof of its own it is known by its viewer.
    let match_kind = if touch.proven { before.match_kind } else { MatchKind::Viewer.into() };
    Standing {
        showing: Some(showing),
        touch_ms: touch.event_ms,
        path,
        value: before.value,
        match_kind,
        decline_reason: DeclineReason::Unspecified.into(),
        invalid: InvalidReason::Unspecified.into(),
        placement,
    }
}

/// Returns how an outcome stands that nobody earns any more. Of a proven touch it is still told whose it was.
fn declined(credit: &Credit, proven: bool) -> Standing {
    let before = credit.standing();
    Standing {
        showing: before.showing.filter(|_| proven),
        touch_ms: if proven { before.touch_ms } else { 0 },
        path: Vec::new(),
        decline_reason: DeclineReason::FraudDetected.into(),
        invalid: InvalidReason::Invalidated.into(),
        placement: if proven { before.placement } else { 0 },
        ..before
    }
}

/// Returns the showing of a touch and its placement, as far as they are remembered.
fn shown(credit: &Credit, touch: &PathTouch, there: &There<'_>) -> (Showing, u32) {
    let (row, viewer) = (&credit.row, credit.shown.viewer);
    let tap = there.viewer.and_then(|it| it.touch(touch.view)).map(|tap| (tap.feed, tap.issued_s));
    let view = || there.viewer?.view(touch.view).map(|view| (view.feed, view.issued_s));
    let (feed, issued_s) = tap.or_else(view).unwrap_or_default();
    let context = there.viewer.and_then(|viewer| viewer.context_of(touch.view));
    let showing = Showing {
        view: touch.view,
        viewer,
        ad: touch.ad,
        ad_set: touch.ad_set,
        campaign: touch.campaign,
        account: row.account_id,
        business: there.catalog.family(touch.ad).map_or(0, |family| family.business),
        feed,
        issued_s,
    };
    (showing, context.map_or(0, |context| context.placement))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::revise::samples::{
        NOON, credit, find, opening, proven, revised_by, tap, views,
    };
    use crate::state::chats::StoredTouch;

    #[test]
    fn without_an_invalid_touch_the_next_one_earns_it_and_then_nobody() {
        let viewer = Viewer::default();
        let first = credit(vec![tap(1, 500), proven(tap(2, 100))]);
        assert_eq!(find(&first, 3, &viewer), None, "it is not on its path");
        let fact = find(&first, 2, &viewer).expect("it has lost its touch");
        assert_eq!((views(&fact), fact.revision, fact.charged), ((vec![1], 1), 2, 0));
        assert_eq!(fact.after.as_ref().map(Standing::match_kind), Some(MatchKind::Viewer));
        assert_eq!(fact.before.as_ref(), Some(&first.standing()));
        let second = revised_by(&first, &fact);
        let fact = find(&second, 1, &viewer).expect("it has lost its touch");
        assert_eq!((views(&fact), fact.revision), ((vec![], 0), 3));
        let after = fact.after.unwrap_or_default();
        assert_eq!(after.decline_reason(), DeclineReason::FraudDetected);
        assert_eq!(after.invalid(), InvalidReason::Invalidated);
        // A proven click that was the only one is still told.
        let alone = credit(vec![proven(tap(2, 100))]);
        let fact = find(&alone, 2, &viewer).expect("it has lost its touch");
        assert_eq!(views(&fact), (vec![], 2));
    }

    #[test]
    fn a_charge_goes_with_the_tap_that_opened_the_conversation_whoever_earns_it_now() {
        let viewer = opening(&[tap(1, 500), tap(2, 100)], 1);
        let moved = credit(vec![tap(1, 500), tap(2, 100)]);
        assert_eq!(find(&moved, 1, &viewer).map(|fact| fact.charged), Some(0));
        // Two taps that have opened it one after the other: each has its own charge.
        let viewer = opening(&[tap(1, 500), tap(2, 100)], 2);
        assert_eq!(find(&moved, 1, &viewer).map(|fact| fact.charged), Some(100));
        assert_eq!(find(&moved, 2, &viewer).map(|fact| fact.charged), Some(0));
    }

    #[test]
    fn an_adjustment_that_says_what_stands_changes_nothing() {
        let money = |micros| Some(Money { micros, currency: "MXN".into() });
        let mut sale = credit(vec![tap(1, 100)]);
        (sale.row.outcome, sale.row.value) = (Outcome::Conversion.into(), money(5));
        assert_eq!(adjusted(&sale, money(5), 3), None);
        let fact = adjusted(&sale, money(4), 3).expect("it is worth less");
        let after = fact.after.clone().unwrap_or_default();
        assert_eq!((after.value, fact.adjustment, fact.withdrawn), (money(4), 3, false));
        assert_eq!(views(&fact), (vec![1], 1));
        let fact = adjusted(&sale, None, 4).expect("it is gone");
        assert_eq!((fact.withdrawn, fact.after), (true, Some(Standing::default())));
    }

    #[test]
    fn a_step_and_a_conversation_follow_their_opening_once() {
        let opening = credit(vec![tap(1, 500), tap(2, 100)]);
        let fact = find(&opening, 2, &Viewer::default()).expect("it has lost its touch");
        let revised = revised_by(&opening, &fact);
        let mut reply = credit(vec![tap(1, 500), tap(2, 100)]);
        reply.row.outcome = Outcome::FirstReply.into();
        reply.shown.viewer = 0;
        let told = step(&reply, &revised).expect("its opening has another touch");
        assert_eq!((views(&told), told.cause), ((vec![1], 1), fact.cause));
        assert_eq!(step(&revised_by(&reply, &told), &revised), None);
        let known = touch_of_standing(9, NOON, opening.standing());
        let mut chat = Chat::default();
        chat.latest_touch = Some(StoredTouch(known));
        let told = touch(&chat, &revised).and_then(|fact| fact.touch).expect("it is another");
        assert_eq!(told.view, 1);
        chat.revise(&told);
        assert_eq!(touch(&chat, &revised), None);
    }
}
