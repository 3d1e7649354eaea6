//! What the webhooks of chat platforms tell, read without a word of what people wrote.
//!
//! No struct here has a field for a text, caption, name, button or place: what has no field is passed over
//! where it lies. One visitor looks at a first message's text and keeps the code in it, if there is one.
//! Reading is lenient: what is JSON but not as expected is unknown, never an error, since a platform whose
//! webhooks are refused sends them again for days.

mod cloud;
mod field;
mod form;
mod messenger;
mod referral;
mod twilio;
mod whatsapp;

use std::borrow::Cow;

use thiserror::Error;

use crate::channels::Channel;
use crate::types::proto::v1::{ChannelPricing, MessageCategory, MessageStatus};
use crate::types::token::PrefillCode;

pub use field::ID_BYTES_MAX;
pub use form::Form;
pub use messenger::parse_messenger;
pub use referral::find_in_source;
pub use twilio::parse_twilio;
pub use whatsapp::parse_whatsapp;

/// A body that is no JSON, or names a field twice. What stands in it is not repeated.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("no JSON that can be read, from line {line}, column {column}")]
pub struct Malformed {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1.
    pub column: usize,
}

/// One thing that a webhook tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Inbound<'a> {
    /// A person wrote, or opened the chat.
    Message(Message<'a>),
    /// A message of the business came a step further.
    Status(Status<'a>),
    /// A person goes on under another name.
    Moved(Moved<'a>),
    /// A business's messages of a category cost by another step of the rate card from now on.
    Tier(Tier<'a>),
    /// Understood, and of no use here.
    Ignored,
    /// Not known here.
    Unknown,
}

/// Where a business was written to, as the channel names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<'a> {
    /// On which channel.
    pub channel: Channel,
    /// The channel's own number of it. Empty: not told.
    pub account: Cow<'a, str>,
    /// Its address, as `validate_address` takes it. Empty: not told.
    pub address: Cow<'a, str>,
}

/// A person, as the channel names them. Never kept: what is kept is a keyed hash.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Person<'a> {
    /// The channel's id for this person at this business. Empty: not told.
    pub user_id: Cow<'a, str>,
    /// Digits of the phone number, with the country's code. Empty: not told.
    pub phone: Cow<'a, str>,
}

impl Person<'_> {
    /// Returns the name that a conversation is known by; empty: there is none.
    pub fn name(&self) -> &str {
        if self.user_id.is_empty() { &self.phone } else { &self.user_id }
    }
}

/// What a person did.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    /// Where.
    pub line: Line<'a>,
    /// Who.
    pub person: Person<'a>,
    /// When, milliseconds since the epoch; `None`: not told.
    pub at_ms: Option<i64>,
    /// The channel's id of the message. Empty: there is none.
    pub id: Cow<'a, str>,
    /// Whether the person wrote: `false` when only the chat was opened.
    pub wrote: bool,
    /// Where the person came from.
    pub referral: Option<Referral<'a>>,
    /// The code in the text.
    pub code: Option<PrefillCode>,
}

/// Where a person came from, by the channel's word.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Referral<'a> {
    /// Whether an ad led here.
    pub is_ad: bool,
    /// Whether the channel opens its free entry point for it.
    pub free_entry: bool,
    /// The channel's id of the ad. Empty: not told.
    pub ad_id: Cow<'a, str>,
    /// The address or `ref` that was followed: see [`find_in_source`]. Empty: not told.
    pub source: Cow<'a, str>,
    /// The channel's id of the click. Empty: not told.
    pub click_id: Cow<'a, str>,
}

/// How far a message of the business came.
#[derive(Clone, Debug, PartialEq)]
pub struct Status<'a> {
    /// From where.
    pub line: Line<'a>,
    /// To whom.
    pub person: Person<'a>,
    /// When, milliseconds since the epoch; `None`: not told.
    pub at_ms: Option<i64>,
    /// The channel's id of the message.
    pub id: Cow<'a, str>,
    /// How far.
    pub status: MessageStatus,
    /// As the channel counts it; unspecified: it does not say.
    pub category: MessageCategory,
    /// The channel's own word on its price.
    pub pricing: Option<ChannelPricing>,
}

/// A person's new name.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved<'a> {
    /// Where the person wrote to.
    pub line: Line<'a>,
    /// When, milliseconds since the epoch; `None`: not told.
    pub at_ms: Option<i64>,
    /// What they were called.
    pub from: Person<'a>,
    /// What they are called.
    pub to: Person<'a>,
}

/// A step of a rate card that a business has come to (FACTS, "Conversation windows": volume tiers).
#[derive(Clone, Debug, PartialEq)]
pub struct Tier<'a> {
    /// On which channel.
    pub channel: Channel,
    /// The channel's number of the whole business account.
    pub business: Cow<'a, str>,
    /// Messages of this category.
    pub category: MessageCategory,
    /// To people of this market, as the channel's rate cards name it.
    pub market: Cow<'a, str>,
    /// From this month on, months since 1970-01.
    pub month: u32,
    /// The first message of the step, counted in a month.
    pub from: u64,
    /// The last one; 0: no end.
    pub to: u64,
}
