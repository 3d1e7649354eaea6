//! Touches that are told after the outcomes behind them were judged.

use crate::decide::paths::{self, Asked};
use crate::decide::revise::{There, credited_to, declined, revised};
use crate::decide::steps::{Place, settled};
use crate::state::chats::Chat;
use crate::state::credit::Credit;
use crate::state::viewers::{ENGAGING, touch_of_standing};
use crate::types::attribution::{PATH_TOUCHES_MAX, last_touch};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{OutcomeRevised, PathTouch, Showing, Standing};
use crate::types::proto::v1::RevisionCause;

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
    settled(row.outcome_id, place, Some(touch), Some(&chat.gist()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::revise::samples::{
        NOON, credit, proven, revised_by, seen, tap, tell, told, views,
    };
    use crate::state::chats::{StoredTouch, Talk};
    use crate::types::proto::journal::v1::{ConversationTouch, ImpressionSeen, Tapped, Watched};
    use crate::types::proto::v1::{
        AttributionRow, DeclineReason, EventKind, InvalidReason, MatchKind, TouchKind,
    };
    use crate::types::time::DAY_MS;

    #[test]
    fn a_late_tap_joins_the_path_and_earns_what_it_is_the_last_of() {
        let first = credit(vec![tap(1, 500)]);
        let newer = tell(&first, &tap(2, 100), &[tap(1, 500), tap(2, 100)]).expect("it is later");
        assert_eq!((views(&newer), newer.revision, newer.charged), ((vec![1, 2], 2), 2, 100));
        assert_eq!(newer.cause(), RevisionCause::LateTouch);
        assert_eq!(newer.after.as_ref().map(|after| after.touch_ms), Some(NOON - 100));
        let older = tell(&first, &tap(2, 900), &[tap(1, 500), tap(2, 900)]).expect("it is longer");
        assert_eq!(views(&older), (vec![2, 1], 1));
        let sure = credit(vec![proven(tap(1, 500))]);
        let fact = tell(&sure, &tap(2, 100), &[tap(1, 500), tap(2, 100)]).expect("it is longer");
        assert_eq!(views(&fact), (vec![1, 2], 1), "what is proven comes before later taps");
    }

    #[test]
    fn what_lies_behind_an_outcome_or_is_no_touch_of_it_changes_nothing() {
        let first = credit(vec![tap(1, 500)]);
        assert_eq!(tell(&first, &tap(2, -1), &[tap(1, 500), tap(2, -1)]), None, "behind it");
        assert_eq!(tell(&first, &tap(2, 29 * DAY_MS), &[tap(2, 29 * DAY_MS)]), None, "too old");
        assert_eq!(tell(&first, &tap(2, 100), &[tap(1, 500)]), None, "invalid");
        assert_eq!(tell(&first, &tap(1, 500), &[tap(1, 500)]), None, "known");
        let sure = credit(vec![proven(tap(1, 500))]);
        assert_eq!(tell(&sure, &tap(1, 400), &[tap(1, 400)]), None, "proven as first told");
        let mut other = told(&tap(2, 100));
        other.showing.account = 2;
        assert!(!other.may_earn(&first), "another account");
        let changes: [fn(&mut AttributionRow); 2] =
            [|row| row.withdrawn = true, |row| row.imported = true];
        for change in changes {
            let mut closed = first.clone();
            change(&mut closed.row);
            assert_eq!(tell(&closed, &tap(2, 100), &[tap(2, 100)]), None);
        }
        let mut fraud = first.clone();
        fraud.row.invalid = InvalidReason::Network.into();
        assert_eq!(tell(&fraud, &tap(2, 100), &[tap(2, 100)]), None, "an invalid click");
    }

    #[test]
    fn a_view_is_a_tap_once_that_is_told_and_nothing_if_it_was_invalid() {
        let first = credit(vec![seen(1, 500)]);
        let fact = tell(&first, &tap(1, 400), &[tap(1, 400)]).expect("it is a tap");
        let after = fact.after.clone().unwrap_or_default();
        assert_eq!((views(&fact), after.touch_ms), ((vec![1], 1), NOON - 400));
        assert_eq!(after.path[0].kind(), TouchKind::Tap);
        let fact = tell(&first, &tap(1, 400), &[]).expect("its tap is invalid");
        let after = fact.after.clone().unwrap_or_default();
        assert_eq!((views(&fact), after.invalid()), ((vec![], 0), InvalidReason::Invalidated));
        let lost = revised_by(&first, &fact);
        assert_eq!(tell(&lost, &tap(2, 8 * DAY_MS), &[tap(2, 8 * DAY_MS)]), None, "still nobody's");
        let fact = tell(&lost, &tap(2, 100), &[tap(2, 100)]).expect("there was another one");
        assert_eq!((views(&fact), fact.revision), ((vec![2], 2), 3));
    }

    #[test]
    fn what_was_declined_is_earned_by_a_late_touch_or_declined_for_its_reason() {
        let first = credit(Vec::new());
        let old = tap(1, 8 * DAY_MS);
        let fact = tell(&first, &old, &[old]).expect("there was a tap");
        let after = fact.after.clone().unwrap_or_default();
        assert_eq!(views(&fact), (vec![], 0));
        assert_eq!(after.decline_reason(), DeclineReason::OutOfLookbackWindow);
        let second = revised_by(&first, &fact);
        assert_eq!(tell(&second, &old, &[old]), None, "told already");
        let fact = tell(&second, &tap(2, 100), &[old, tap(2, 100)]).expect("it is earned");
        let after = fact.after.clone().unwrap_or_default();
        assert_eq!((views(&fact), fact.revision), ((vec![1, 2], 2), 3));
        assert_eq!(after.decline_reason(), DeclineReason::Unspecified);
        assert_eq!(after.match_kind(), MatchKind::Viewer);
    }

    #[test]
    fn a_full_path_loses_its_oldest_touch_but_never_what_is_proven() {
        let full: Vec<_> = (1..=32).rev().map(|view| tap(view, view as i64 * 100)).collect();
        let views = |path: &[PathTouch]| path.iter().map(|it| it.view).collect::<Vec<_>>();
        let newer: Vec<_> = (1..=31).rev().chain([40]).collect();
        assert_eq!(views(&with_touch(&full, 40, Some(tap(40, 0)))), newer);
        assert_eq!(with_touch(&full, 40, Some(tap(40, 9_000))), full, "older than all");
        let mut sure = full;
        sure[0].proven = true;
        let kept: Vec<_> = [32].into_iter().chain((1..=30).rev()).chain([40]).collect();
        assert_eq!(views(&with_touch(&sure, 40, Some(tap(40, 0)))), kept);
    }

    #[test]
    fn only_a_conversation_without_a_touch_takes_over_an_opening_that_is_earned_late() {
        let opening = credit(vec![tap(1, 100)]);
        let said = Talk {
            opened_ms: NOON,
            reply_ms: NOON + 9,
            inbound: 2,
            outbound: 1,
            ..Talk::default()
        };
        let mut chat = Chat::default();
        chat.claimed = said;
        let facts = earned(&chat, &opening);
        assert_eq!(facts.len(), 3, "its touch, the first answer, a qualified conversation");
        assert!(matches!(&facts[0], Kind::OutboxSettled(fact) if fact.first_reply_ad == 1));
        assert_eq!(earned(&chat, &credit(Vec::new())), [], "nobody has earned it");
        let known = StoredTouch(ConversationTouch::default());
        let mut touched = chat.clone();
        touched.latest_touch = Some(known);
        assert_eq!(earned(&touched, &opening), []);
        chat.claimed.opened_ms = NOON + 1;
        assert_eq!(earned(&chat, &opening), [], "another opening since");
    }

    #[test]
    fn views_taps_and_half_played_videos_are_told_touches() {
        let showing = Some(told(&tap(1, 0)).showing);
        let seen = ImpressionSeen { showing, event_ms: 3, ..ImpressionSeen::default() };
        let event_ms = |fact: Kind| ToldTouch::of(&fact).map(|told| told.event_ms);
        assert_eq!(event_ms(Kind::ImpressionSeen(seen)), Some(3));
        let imported = ImpressionSeen { showing, imported: true, ..ImpressionSeen::default() };
        assert_eq!(event_ms(Kind::ImpressionSeen(imported)), None);
        let tapped = Tapped { showing, event_ms: 4, ..Tapped::default() };
        assert_eq!(event_ms(Kind::Tapped(tapped)), Some(4));
        for (kind, is_told) in [(EventKind::Video25, false), (EventKind::Video50, true)] {
            let event_kind = kind as u32;
            let watched = Watched { showing, event_ms: 5, event_kind, ..Watched::default() };
            assert_eq!(event_ms(Kind::Watched(watched)).is_some(), is_told, "{kind:?}");
        }
    }
}
