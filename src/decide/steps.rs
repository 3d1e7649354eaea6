//! First replies and qualified conversations as outcomes of their own, credited as their opening was.

use crate::decide::chats::is_qualified;
use crate::state::chats::Gist;
use crate::state::people::Step;
use crate::types::ids::from_hash;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{ConversationTouch, OutboxSettled, Showing, StepCredited};
use crate::types::proto::v1::Outcome;

/// Bits of an id that say its shard and bucket.
const PLACE_BITS: u32 = 16;

/// What is counted of a conversation after its opening, as outcomes of their own.
pub const STEPS: [Outcome; 2] = [Outcome::FirstReply, Outcome::Qualified];

/// Whose conversation it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// The account.
    pub account: u64,
    /// The conversation.
    pub conversation: u64,
}

/// Returns the rows of the steps that a conversation has taken at these times; of one that is invalid, or was
/// matched before such rows were, none.
pub fn step_rows(
    place: Place,
    touch: &ConversationTouch,
    replied_ms: Option<i64>,
    qualified_ms: Option<i64>,
) -> Vec<Kind> {
    if touch.outcome == 0 || touch.invalid != 0 {
        return Vec::new();
    }
    let steps = [(Outcome::FirstReply, replied_ms), (Outcome::Qualified, qualified_ms)];
    let taken = steps.into_iter().filter_map(|(kind, at_ms)| Some((kind, at_ms?)));
    taken.map(|(kind, at_ms)| row(place, touch, kind, at_ms)).collect()
}

fn row(place: Place, touch: &ConversationTouch, kind: Outcome, event_ms: i64) -> Kind {
    Kind::StepCredited(Box::new(StepCredited {
        outcome: step_outcome(touch.outcome, kind),
        kind: kind.into(),
        account: place.account,
        conversation: place.conversation,
        event_ms,
        opened_ms: touch.event_ms,
        showing: Some(Showing {
            view: touch.view,
            ad: touch.ad,
            ad_set: touch.ad_set,
            campaign: touch.campaign,
            account: place.account,
            ..Showing::default()
        }),
        touch_ms: touch.touch_ms,
        match_kind: touch.match_kind,
        path: touch.path.clone(),
    }))
}

/// Returns how a conversation takes its touch over, with the steps that it had taken before.
pub fn settled(
    outcome: u64,
    place: Place,
    touch: Option<ConversationTouch>,
    chat: Option<&Gist>,
) -> Vec<Kind> {
    // What was said before the match is counted now.
    let said = touch.as_ref().filter(|touch| touch.invalid == 0).zip(chat);
    let settled =
        said.map_or_else(OutboxSettled::default, |(touch, chat)| said_before(touch, chat));
    let steps = touch.as_ref().map_or_else(Vec::new, |touch| {
        let replied = (settled.first_reply_ad != 0).then_some(settled.first_reply_ms);
        let qualified = (settled.qualified_ad != 0).then_some(touch.event_ms);
        step_rows(place, touch, replied, qualified)
    });
    let conversation = place.conversation;
    let settled = Kind::OutboxSettled(OutboxSettled { outcome, conversation, touch, ..settled });
    [settled].into_iter().chain(steps).collect()
}

/// Returns which steps a conversation had taken before its match.
fn said_before(touch: &ConversationTouch, chat: &Gist) -> OutboxSettled {
    let said = chat.claimed;
    let (replied, wrote) = (said.reply_ms > 0, said.wrote_ms > 0);
    let qualified = is_qualified(said.inbound, said.outbound);
    let is_new = |step| chat.taken.is_new(touch.campaign, step);
    OutboxSettled {
        first_reply_ad: if replied { touch.ad } else { 0 },
        first_reply_ms: said.reply_ms,
        reply_after_s: if replied { said.waited_s(said.reply_ms) } else { 0 },
        wrote_ad: if wrote { touch.ad } else { 0 },
        qualified_ad: if qualified { touch.ad } else { 0 },
        new_reply_person: replied && is_new(Step::Replied),
        new_wrote_person: wrote && is_new(Step::Wrote),
        new_qualified_person: qualified && is_new(Step::Qualified),
        ..OutboxSettled::default()
    }
}

/// Names a step: the place of its opening's name, then a hash of both.
pub fn step_outcome(opening: u64, kind: Outcome) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"munadi step").update(&opening.to_be_bytes()).update(&[kind as u8]);
    let hash = from_hash(hasher.finalize().as_bytes());
    let place = u64::MAX << (u64::BITS - PLACE_BITS);
    (opening & place) | (hash & !place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::shard_of;
    use crate::types::proto::v1::InvalidReason;

    #[test]
    fn each_step_has_a_name_of_its_own_in_its_openings_shard() {
        let opening = 0x8123_4567_89AB_CDEF;
        let names =
            [Outcome::FirstReply, Outcome::Qualified].map(|kind| step_outcome(opening, kind));
        assert_eq!(names, names.map(|name| name), "the same each time");
        assert!(names[0] != names[1] && !names.contains(&opening));
        assert!(names.iter().all(|name| shard_of(*name) == shard_of(opening)));
    }

    #[test]
    fn an_invalid_or_unnamed_opening_has_no_steps() {
        let place = Place { account: 1, conversation: 2 };
        let touch = ConversationTouch { outcome: 3, ad: 4, ..ConversationTouch::default() };
        assert_eq!(step_rows(place, &touch, Some(5), Some(6)).len(), 2);
        assert_eq!(step_rows(place, &touch, None, None), []);
        let unnamed = ConversationTouch { outcome: 0, ..touch.clone() };
        assert_eq!(step_rows(place, &unnamed, Some(5), Some(6)), []);
        let invalid = ConversationTouch { invalid: InvalidReason::Network.into(), ..touch };
        assert_eq!(step_rows(place, &invalid, Some(5), Some(6)), []);
    }
}
