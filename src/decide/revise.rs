//! Outcomes told anew: what a finding or a late event changes of whom they are credited to.

use crate::decide::paths::{self, Asked};
use crate::decide::steps::{Place, settled};
use crate::state::catalog::Catalog;
use crate::state::chats::Chat;
use crate::state::credit::Credit;
use crate::state::past::Past;
use crate::state::viewers::{ENGAGING, Viewer, touch_of_standing};
use crate::types::attribution::{PATH_TOUCHES_MAX, last_touch};
use crate::types::proto::journal::v1::fact::Kind;
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

/// What an event tells of a touch, which may lie before an outcome that was judged without it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ToldTouch {
    /// The showing.
    pub showing: Showing,
    /// From when on it is another touch, milliseconds.
    pub event_ms: i64,
}

impl ToldTouch {
    /// Returns what an event of this node tells of a touch; `None`: nothing that paths know.
    pub fn of(fact: &Kind) -> Option<Self> {
        let (showing, event_ms) = match fact {
            Kind::ImpressionSeen(fact) if !fact.imported => (fact.showing, fact.event_ms),
            Kind::Tapped(fact) if !fact.imported => (fact.showing, fact.event_ms),
            Kind::Watched(fact) if !fact.imported => {
                let engages = ENGAGING.iter().any(|kind| *kind as u32 == fact.event_kind);
                (fact.showing.filter(|_| engages), fact.event_ms)
            }
            Kind::ClickMatched(fact) if fact.implied_tap => (fact.showing, fact.touch_ms),
            _ => return None,
        };
        Some(Self { showing: showing?, event_ms })
    }

    /// Tells whether it may be on the path of an outcome.
    pub fn may_earn(&self, credit: &Credit) -> bool {
        credit.row.account_id == self.showing.account && credit.event_ms() >= self.event_ms
    }
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
    // though late touches may have earned that since.
    let conversation = there.viewer.and_then(|it| it.touch(view)).map_or(0, |tap| tap.conversation);
    let opened = credit.shown.view == view
        || conversation != 0 && conversation == credit.row.conversation_id;
    let of_this = credited.billing == BillingEvent::Conversations as u32
        && credit.row.outcome() == Outcome::Conversation
        && opened;
    let charged = if of_this { 0 } else { credit.row.charged_micros };
    Some(OutcomeRevised { charged, ..revised(credit, RevisionCause::InvalidTraffic, after) })
}

/// Returns what becomes of an outcome once a touch is told that lies before it. The viewer in `there` has the touch
/// already. `None`: it stands as it did. What was imported, or is credited to an imported touch, is credited once;
/// the proof of an outcome stays as it was first told, and so does what was charged.
pub fn late(credit: &Credit, told: &ToldTouch, there: &There<'_>) -> Option<OutcomeRevised> {
    let row = &credit.row;
    if row.withdrawn || row.imported || !told.may_earn(credit) {
        return None;
    }
    let before = credit.standing();
    let (account, event_ms) = (row.account_id, credit.event_ms());
    let There { catalog, viewer, past } = *there;
    let asked = Asked { catalog, viewer, past, account, event_ms };
    let after = match &before.showing {
        // Its proof is invalid: it is nobody's, whatever else there was.
        Some(_) if before.invalid != 0 => return None,
        Some(_) => {
            let view = told.showing.view;
            let path = with_touch(&credit.path, view, paths::touch(&asked, view));
            match last_touch(&path).and_then(|index| path.get(index).copied()) {
                Some(touch) => credited_to(credit, path, &touch, there),
                // A tap was told of its only view, and is invalid.
                None => declined(credit, false),
            }
        }
        None => match paths::credited(&asked) {
            Ok((path, touch)) => credited_to(credit, path, &touch, there),
            Err(_) if before.invalid != 0 => return None,
            Err(reason) => Standing { decline_reason: reason.into(), ..before.clone() },
        },
    };
    (after != before).then(|| revised(credit, RevisionCause::LateTouch, after))
}

/// Returns a path on which a showing is as it is known now.
fn with_touch(path: &[PathTouch], view: u64, touch: Option<PathTouch>) -> Vec<PathTouch> {
    let place = |touch: &PathTouch| (touch.event_ms, touch.view);
    let known = path.iter().find(|touch| touch.view == view);
    let is_same = |(known, touch): (&PathTouch, &PathTouch)| {
        (known.kind, known.event_ms) == (touch.kind, touch.event_ms)
    };
    // Whether an outcome is in a touch's window is told once.
    if known.is_some_and(|known| known.proven) || known.zip(touch.as_ref()).is_some_and(is_same) {
        return path.to_vec();
    }
    let mut path: Vec<_> = path.iter().filter(|touch| touch.view != view).copied().collect();
    if let Some(touch) = touch {
        let at = path.partition_point(|known| place(known) < place(&touch));
        path.insert(at, touch);
    }
    let oldest = path.iter().position(|touch| !touch.proven);
    if let Some(oldest) = oldest.filter(|_| path.len() > PATH_TOUCHES_MAX) {
        path.remove(oldest);
    }
    path
}

/// Returns how a conversation takes over an opening that nobody had earned before; nothing: it has a touch, or
/// another opening since.
pub fn earned(chat: &Chat, opening: &Credit) -> Vec<Kind> {
    let row = &opening.row;
    let touch = touch_of_standing(row.outcome_id, opening.event_ms(), opening.standing());
    let is_earned = touch.ad != 0 && touch.invalid == 0;
    let is_last = chat.latest_touch.is_none() && chat.claimed.opened_ms == opening.event_ms();
    if !is_earned || !is_last {
        return Vec::new();
    }
    let place = Place { account: row.account_id, conversation: row.conversation_id };
    settled(row.outcome_id, place, Some(touch), Some(chat))
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
