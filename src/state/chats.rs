//! One conversation between a person and an endpoint of a business.

use serde::{Deserialize, Serialize};

use crate::types::proto::journal::v1::{
    ConversationOpened, ConversationTouch, MessageRecorded, OutboxSettled, Proof, ReferralNoted,
};
use crate::types::proto::v1::Direction;
use crate::types::time::{DAY_MS, HOUR_MS, Moment};

/// The customer-service window: free answers for this long after the person's last message (FACTS,
/// "Conversation windows").
pub const SERVICE_WINDOW_MS: i64 = 24 * HOUR_MS;

/// Receipts of messages are told apart for this long; older ones are refused.
pub const MESSAGE_MEMORY_MS: i64 = 3 * DAY_MS;

/// A conversation without an event for this long is forgotten.
pub const CHAT_MEMORY_MS: i64 = 95 * DAY_MS;

/// Openings of one conversation that are told apart, the newest.
const OPENINGS_MAX: usize = 64;

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
    /// The first opening, milliseconds.
    pub opened_ms: i64,
    /// How it was first opened.
    pub entry_point: i32,
    /// Names of the openings counted, oldest first.
    pub openings: Vec<u64>,
    /// What the latest opening claims; a conversion inherits it.
    pub claim: Option<StoredProof>,
    /// The first ad that led here, once proven.
    pub first_touch: Option<StoredTouch>,
    /// The latest ad that led here, once proven.
    pub latest_touch: Option<StoredTouch>,
    /// The first answer after the latest opening, milliseconds; 0: none yet.
    pub reply_ms: i64,
    /// Whether the latest touch still waits for its first answer.
    pub awaits_reply: bool,
    /// The first answer of all, milliseconds; 0: none yet.
    pub first_reply_ms: i64,
    /// The person's last message, milliseconds; 0: none.
    pub inbound_ms: i64,
    /// Messages of the person.
    pub inbound: u64,
    /// Messages of the business.
    pub outbound: u64,
    /// Hashes of message ids with the journal's time of their receipt.
    pub messages: Vec<(u64, i64)>,
    /// The journal's time of the last event.
    pub touched_ms: i64,
    /// The channel's own ids of the clicks that led here, by the moments of their referrals.
    pub channel_clicks: Vec<(i64, String)>,
}

/// A [`Proof`] inside a checkpoint.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct StoredProof(#[serde(with = "crate::state::wire::message")] pub Proof);

/// A [`ConversationTouch`] inside a checkpoint.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct StoredTouch(#[serde(with = "crate::state::wire::message")] pub ConversationTouch);

impl Chat {
    /// Tells whether this opening has been counted.
    pub fn knows_opening(&self, outcome: u64) -> bool {
        self.openings.contains(&outcome)
    }

    /// Tells whether a receipt of this message has been counted.
    pub fn knows_message(&self, message: u64) -> bool {
        self.messages.iter().any(|(known, _)| *known == message)
    }

    /// Returns the end of the customer-service window; `None`: the person never wrote.
    pub fn service_window_end(&self) -> Option<Moment> {
        (self.inbound_ms > 0).then(|| Moment(self.inbound_ms + SERVICE_WINDOW_MS))
    }

    pub(in crate::state) fn open(&mut self, fact: &ConversationOpened, at: Moment) {
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
        if let Some(proof) = &fact.proof {
            self.claim = Some(StoredProof(*proof));
            self.reply_ms = 0;
        }
        // An opening is the person's first message.
        self.inbound_ms = self.inbound_ms.max(fact.event_ms);
        self.touched_ms = at.0;
    }

    pub(in crate::state) fn hear(&mut self, fact: &MessageRecorded, at: Moment) {
        self.touched_ms = at.0;
        self.messages.retain(|(_, heard_ms)| *heard_ms >= at.plus_ms(-2 * MESSAGE_MEMORY_MS).0);
        self.messages.push((fact.message, at.0));
        if fact.direction() == Direction::Inbound {
            self.inbound += 1;
            self.inbound_ms = self.inbound_ms.max(fact.event_ms);
            return;
        }
        self.outbound += 1;
        self.awaits_reply = false;
        for reply_ms in [&mut self.first_reply_ms, &mut self.reply_ms] {
            if *reply_ms == 0 {
                *reply_ms = fact.event_ms;
            }
        }
    }

    pub(in crate::state) fn settle(&mut self, fact: &OutboxSettled) {
        let Some(touch) = &fact.touch else { return };
        let (touch, valid) = (StoredTouch(*touch), touch.invalid == 0);
        if self.first_touch.is_none() {
            self.first_touch = Some(touch.clone());
        }
        self.latest_touch = Some(touch);
        self.awaits_reply = fact.first_reply_ad == 0 && valid;
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
