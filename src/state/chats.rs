//! One conversation between a person and an endpoint of a business.

use serde::{Deserialize, Serialize};

use crate::state::people::{Step, Taken};
use crate::state::tariffs::Bill;
use crate::state::windows::Windows;
use crate::types::proto::journal::v1::{
    ConversationOpened, ConversationTouch, MessagePriced, MessageRecorded, OutboxSettled, Proof,
    ReferralNoted,
};
use crate::types::proto::v1::Direction;
use crate::types::time::{DAY_MS, Moment, SECOND_MS};

/// Receipts of messages are told apart for this long; older ones are refused.
pub const MESSAGE_MEMORY_MS: i64 = 3 * DAY_MS;

/// Receipts of the business's messages are told apart for this long: one may be read weeks after it was
/// delivered, and must not be counted and priced again.
pub const RECEIPT_MEMORY_MS: i64 = 31 * DAY_MS;

/// A conversation without an event for this long is forgotten.
pub const CHAT_MEMORY_MS: i64 = 95 * DAY_MS;

/// Most messages of one conversation that are told apart at a time; further ones are refused, not forgotten. The
/// business may write 132 a day.
pub const MESSAGES_MAX: usize = 4_096;

/// Openings of one conversation that are told apart, the newest. So many may be on their way to their viewers; further
/// ones are refused until one has come there.
pub const OPENINGS_MAX: usize = 64;

/// The channel's click ids of one conversation that are kept, the newest.
const CHANNEL_CLICKS_MAX: usize = 8;

/// What is known of one conversation. Never a word of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Chat {
    /// Who pays.
    pub account: u64,
    /// Who answers.
    pub business: u64,
    /// Where.
    pub endpoint: u64,
    /// The person's country, two letters as a big-endian number, as last told; 0: unknown.
    pub country: u16,
    /// The first opening, milliseconds; 0: the business wrote first, and none has come yet.
    pub opened_ms: i64,
    /// How it was first opened.
    pub entry_point: i32,
    /// The printed code or web button of the first opening that named one; 0: none.
    pub source: u64,
    /// Names of the openings counted, oldest first.
    pub openings: Vec<u64>,
    /// What the latest opening claims; a conversion inherits it.
    pub claim: Option<StoredProof>,
    /// The first ad that led here, once proven.
    pub first_touch: Option<StoredTouch>,
    /// The latest ad that led here, once proven.
    pub latest_touch: Option<StoredTouch>,
    /// What was said since the latest opening that claims an ad.
    pub claimed: Talk,
    /// What was said since the opening of the latest touch.
    pub touched: Talk,
    /// The person's first message, milliseconds; 0: none yet.
    pub first_message_ms: i64,
    /// The business's first message, milliseconds; 0: none yet.
    pub first_reply_ms: i64,
    /// Messages of the person. An opening by message is one, whether or not its receipt comes too.
    pub inbound: u64,
    /// Messages of the business.
    pub outbound: u64,
    /// When the opening by message happened whose receipt has not come; 0: there is none.
    unconfirmed_ms: i64,
    /// The steps of the funnel that the person has taken.
    pub taken: Taken,
    /// In which messages are free.
    pub windows: Windows,
    /// The receipts that are told apart, oldest first.
    pub messages: Vec<Heard>,
    /// The channel's own ids of the clicks that led here, by the moments of their referrals.
    pub channel_clicks: Vec<(i64, String)>,
    /// What its messages have cost.
    pub bill: Bill,
    /// The journal's time of the last event.
    pub touched_ms: i64,
}

/// A message that was heard of.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Heard {
    /// Hash of its id.
    pub message: u64,
    /// The journal's time of its receipt.
    pub at_ms: i64,
    /// When it was sent, milliseconds.
    pub event_ms: i64,
    /// Whether the business sent it.
    pub outbound: bool,
    /// Whether its price stands in the journal.
    pub priced: bool,
}

impl Heard {
    /// Tells whether it is still told apart at a moment.
    const fn is_kept(&self, at: Moment) -> bool {
        let memory_ms = if self.outbound { RECEIPT_MEMORY_MS } else { 2 * MESSAGE_MEMORY_MS };
        self.at_ms >= at.plus_ms(-memory_ms).0
    }
}

/// What crediting an opening needs to know of its conversation: little enough to be copied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gist {
    /// What was said since the latest opening that claims an ad.
    pub claimed: Talk,
    /// The steps of the funnel that the person has taken.
    pub taken: Taken,
    /// The clicks of its first and latest touch.
    views: [Option<u64>; 2],
}

impl Gist {
    /// Tells whether the conversation's first or latest touch is of this click.
    pub fn has_touch(&self, view: u64) -> bool {
        self.views.contains(&Some(view))
    }
}

/// What both sides have said since an opening.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Talk {
    /// The opening, milliseconds.
    pub opened_ms: i64,
    /// The person's first message, in the journal's order; 0: none yet.
    pub wrote_ms: i64,
    /// The business's first message, in the journal's order; 0: none yet.
    pub reply_ms: i64,
    /// Messages of the person.
    pub inbound: u64,
    /// Messages of the business.
    pub outbound: u64,
    /// Whether it was counted as a qualified conversation.
    pub qualified: bool,
}

impl Talk {
    /// Adds a message.
    pub fn hear(&mut self, direction: Direction, event_ms: i64) {
        let (first_ms, count) = match direction {
            Direction::Inbound => (&mut self.wrote_ms, &mut self.inbound),
            Direction::Outbound => (&mut self.reply_ms, &mut self.outbound),
            Direction::Unspecified => return,
        };
        if *first_ms == 0 {
            *first_ms = event_ms;
        }
        *count += 1;
    }

    /// Returns for how many seconds the person had waited for an answer at this time.
    pub fn waited_s(&self, reply_ms: i64) -> u32 {
        let since_ms = if self.wrote_ms == 0 { self.opened_ms } else { self.wrote_ms };
        u32::try_from((reply_ms - since_ms).max(0) / SECOND_MS).unwrap_or(u32::MAX)
    }
}

/// A [`Proof`] inside a checkpoint.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct StoredProof(#[serde(with = "crate::state::wire::message")] pub Proof);

/// A [`ConversationTouch`] inside a checkpoint.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct StoredTouch(#[serde(with = "crate::state::wire::message")] pub ConversationTouch);

impl StoredTouch {
    /// Takes over what a revision says. Without an ad the touch is nobody's, and stays known.
    pub(in crate::state) fn replace(&mut self, revised: &ConversationTouch) {
        if revised.ad == 0 {
            self.0.invalid = revised.invalid;
            self.0.path.clear();
        } else {
            self.0 = revised.clone();
        }
    }
}

impl Chat {
    /// Returns what crediting an opening needs to know of it.
    pub fn gist(&self) -> Gist {
        let touches = [&self.first_touch, &self.latest_touch];
        let views = touches.map(|touch| touch.as_ref().map(|touch| touch.0.view));
        Gist { claimed: self.claimed, taken: self.taken.clone(), views }
    }

    /// Tells whether no further message can be told apart from those that are remembered at a moment.
    pub fn is_full(&self, at: Moment) -> bool {
        // What is past its memory goes with the next message that is heard.
        self.messages.len() >= MESSAGES_MAX
            && self.messages.iter().filter(|heard| heard.is_kept(at)).count() >= MESSAGES_MAX
    }

    /// Tells whether this opening has been counted.
    pub fn knows_opening(&self, outcome: u64) -> bool {
        self.openings.contains(&outcome)
    }

    /// Returns what is known of a message; `None`: nothing was counted of it.
    pub fn heard(&self, message: u64) -> Option<&Heard> {
        self.messages.iter().rev().find(|heard| heard.message == message)
    }

    /// Tells whether a receipt of this message has been counted.
    pub fn knows_message(&self, message: u64) -> bool {
        self.heard(message).is_some()
    }

    /// Tells whether the price of this message stands in the journal.
    pub fn is_priced(&self, message: u64) -> bool {
        self.heard(message).is_some_and(|heard| heard.priced)
    }

    /// Tells whether a message is the one that opened the conversation, and was counted with the opening.
    pub fn is_opening_again(&self, direction: Direction, event_ms: i64) -> bool {
        direction == Direction::Inbound && self.unconfirmed_ms == event_ms
    }

    pub(in crate::state) fn open(&mut self, fact: &ConversationOpened, at: Moment) {
        self.touched_ms = at.0;
        if self.openings.is_empty() {
            self.account = fact.account;
            self.business = fact.business;
            self.endpoint = fact.endpoint;
            self.opened_ms = fact.event_ms;
            self.entry_point = fact.entry_point;
        }
        if self.openings.len() == OPENINGS_MAX {
            self.openings.remove(0);
        }
        self.openings.push(fact.outcome);
        if fact.country != 0 {
            self.country = fact.country as u16;
        }
        if self.source == 0 {
            self.source = fact.source;
        }
        if let Some(proof) = &fact.proof {
            self.claim = Some(StoredProof(*proof));
            self.claimed = Talk { opened_ms: fact.event_ms, ..Talk::default() };
        }
        if fact.free_entry {
            self.windows.refer(fact.event_ms);
        }
        if fact.wrote {
            self.open_by_message(fact);
        }
    }

    /// Counts the message that an opening is, unless its receipt came before.
    fn open_by_message(&mut self, fact: &ConversationOpened) {
        let event_ms = fact.event_ms;
        if fact.proof.is_some() {
            self.claimed.hear(Direction::Inbound, event_ms);
        }
        let heard = self.messages.iter().any(|heard| !heard.outbound && heard.event_ms == event_ms);
        if !heard {
            self.unconfirmed_ms = event_ms;
            self.count(Direction::Inbound, event_ms);
        }
    }

    pub(in crate::state) fn hear(&mut self, fact: &MessageRecorded, at: Moment) {
        self.touched_ms = at.0;
        if self.account == 0 {
            // The business wrote first.
            self.account = fact.account;
            self.business = fact.business;
            self.endpoint = fact.endpoint;
        }
        let (direction, event_ms) = (fact.direction(), fact.event_ms);
        let outbound = direction == Direction::Outbound;
        // They stand in the order of their receipts: mostly a look at the first says that none is past its memory.
        let inbound_from = at.plus_ms(-2 * MESSAGE_MEMORY_MS).0;
        let mut old = self.messages.iter().take_while(|heard| heard.at_ms < inbound_from);
        if old.any(|heard| !heard.is_kept(at)) {
            self.messages.retain(|heard| heard.is_kept(at));
        }
        let (message, at_ms, priced) = (fact.message, at.0, false);
        self.messages.push(Heard { message, at_ms, event_ms, outbound, priced });
        if self.is_opening_again(direction, event_ms) {
            self.unconfirmed_ms = 0;
            return;
        }
        self.take([fact.wrote_ad, fact.first_reply_ad, fact.qualified_ad]);
        self.count(direction, event_ms);
        self.claimed.hear(direction, event_ms);
        self.touched.hear(direction, event_ms);
        self.touched.qualified |= fact.qualified_ad != 0;
    }

    pub(in crate::state) fn price(&mut self, fact: &MessagePriced, at: Moment) {
        self.touched_ms = at.0;
        let heard = self.messages.iter_mut().rev().find(|heard| heard.message == fact.message);
        if let Some(heard) = heard {
            heard.priced = true;
        }
        self.bill.add(fact);
    }

    /// Remembers steps that were taken in the campaign of the latest touch; 0: it was not.
    fn take(&mut self, [wrote, replied, qualified]: [u64; 3]) {
        let campaign = self.latest_touch.as_ref().map_or(0, |touch| touch.0.campaign);
        for (ad, step) in
            [(wrote, Step::Wrote), (replied, Step::Replied), (qualified, Step::Qualified)]
        {
            if ad != 0 {
                self.taken.take(campaign, step);
            }
        }
    }

    fn count(&mut self, direction: Direction, event_ms: i64) {
        self.windows.hear(direction, event_ms);
        let (first_ms, count) = match direction {
            Direction::Inbound => (&mut self.first_message_ms, &mut self.inbound),
            Direction::Outbound => (&mut self.first_reply_ms, &mut self.outbound),
            Direction::Unspecified => return,
        };
        if *first_ms == 0 || event_ms < *first_ms {
            *first_ms = event_ms;
        }
        *count += 1;
    }

    pub(in crate::state) fn settle(&mut self, fact: &OutboxSettled) {
        let Some(touch) = &fact.touch else { return };
        let touch = StoredTouch(touch.clone());
        if self.first_touch.is_none() {
            self.first_touch = Some(touch.clone());
        }
        if touch.0.invalid == 0 {
            self.taken.take(touch.0.campaign, Step::Opened);
        }
        self.latest_touch = Some(touch);
        self.take([fact.wrote_ad, fact.first_reply_ad, fact.qualified_ad]);
        self.touched = Talk { qualified: fact.qualified_ad != 0, ..self.claimed };
    }

    /// Puts a revised touch in the place of the one with its opening. What was said, and by whom for the first time,
    /// stays as it was counted.
    pub fn revise(&mut self, revised: &ConversationTouch) {
        let touches = [&mut self.first_touch, &mut self.latest_touch];
        for touch in touches.into_iter().flatten() {
            if touch.0.outcome == revised.outcome {
                touch.replace(revised);
            }
        }
    }

    /// Returns the channel's id of the last click before a moment, and when its referral came.
    pub fn channel_click(&self, before: Moment) -> Option<(&str, Moment)> {
        let clicks = self.channel_clicks.iter().filter(|(at_ms, _)| *at_ms <= before.0);
        clicks.max_by_key(|(at_ms, _)| *at_ms).map(|(at_ms, id)| (&**id, Moment(*at_ms)))
    }

    pub(in crate::state) fn refer(&mut self, fact: &ReferralNoted) {
        let id = &fact.channel_click_id;
        if id.is_empty() || self.channel_clicks.iter().any(|(_, known)| known == id) {
            return;
        }
        if self.channel_clicks.len() == CHANNEL_CLICKS_MAX {
            self.channel_clicks.remove(0);
        }
        self.channel_clicks.push((fact.event_ms, id.clone()));
    }

    pub(in crate::state) fn is_over(&self, at: Moment) -> bool {
        self.touched_ms < at.plus_ms(-CHAT_MEMORY_MS).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_forgotten_each_in_its_time() {
        let mut chat = Chat::default();
        let mut hear = |message: u64, direction: Direction, at_ms: i64| {
            let (direction, event_ms) = (direction.into(), at_ms);
            let fact = MessageRecorded { message, direction, event_ms, ..Default::default() };
            chat.hear(&fact, Moment(at_ms));
            chat.messages.iter().map(|heard| heard.message).collect::<Vec<_>>()
        };
        let began = 100 * DAY_MS;
        let last = began + 2 * MESSAGE_MEMORY_MS;
        hear(1, Direction::Inbound, began);
        assert_eq!(hear(2, Direction::Outbound, began), [1, 2]);
        assert_eq!(hear(3, Direction::Inbound, last), [1, 2, 3]);
        assert_eq!(hear(4, Direction::Inbound, last + 1), [2, 3, 4]);
        assert_eq!(hear(5, Direction::Inbound, began + RECEIPT_MEMORY_MS), [2, 5]);
        assert_eq!(hear(6, Direction::Inbound, began + RECEIPT_MEMORY_MS + 1), [5, 6]);
    }

    #[test]
    fn a_conversation_is_full_of_what_is_still_told_apart() {
        let messages = vec![Heard::default(); MESSAGES_MAX];
        let mut chat = Chat { messages, ..Chat::default() };
        let last = Moment(2 * MESSAGE_MEMORY_MS);
        assert!(chat.is_full(last) && !chat.is_full(last.plus_ms(1)));
        chat.messages.iter_mut().for_each(|heard| heard.outbound = true);
        assert!(chat.is_full(last.plus_ms(1)), "the business's are told apart for longer");
        chat.messages.pop();
        assert!(!chat.is_full(last));
    }
}
