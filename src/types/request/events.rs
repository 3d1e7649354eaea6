//! What happened to ads and conversations, parsed, and how it ended.

use crate::types::proto::v1;
use crate::types::time::Moment;
use crate::types::token::{ClickToken, PrefillCode, ViewToken};

/// Characters of a channel's click id (`ctwa_clid`).
pub const CHANNEL_CLICK_ID_CHARS_MAX: usize = 512;

/// Characters of a channel's own id of an ad.
pub const CHANNEL_AD_ID_CHARS_MAX: usize = 64;

/// One event to be judged and counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// Something happened to an ad that was served. The token is opened already.
    Ad {
        /// The opened token; its feed is the caller's.
        token: ViewToken,
        /// What happened.
        kind: v1::EventKind,
        /// When, by the device; `None`: now.
        at: Option<Moment>,
        /// What the operator's lists say against it.
        suspect: Option<v1::InvalidReason>,
        /// Keyed hash of the network that it came from; 0: not told.
        network: u64,
    },
    /// A conversation was opened.
    Opened {
        /// Which one.
        chat: Chat,
        /// How.
        opening: Opening,
    },
    /// A message went over a conversation.
    Message {
        /// Which one.
        chat: Chat,
        /// What is known of the message.
        receipt: Receipt,
    },
    /// A person goes on under another name.
    Moved {
        /// The conversation that the new name would make.
        chat: Chat,
        /// The conversation of the earlier name.
        from: u64,
    },
    /// A sale or lead.
    Converted(Box<Conversion>),
    /// A conversion that was reported before is corrected.
    Adjusted(Box<Adjustment>),
    /// Somebody followed a printed code or web button.
    SourceTapped {
        /// Which one.
        source: u64,
        /// The person's country, two letters as a big-endian number; 0: unknown.
        country: u16,
        /// When; `None`: now.
        at: Option<Moment>,
    },
}

/// A conversation as the caller names it, hashed at the door.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chat {
    /// The caller's tenant; 0: the platform, which may speak for every business.
    pub tenant: u32,
    /// The business that the caller speaks for.
    pub business: u64,
    /// The endpoint written to.
    pub endpoint: u64,
    /// The conversation's id: the business's shard and a keyed hash of endpoint and contact.
    pub id: u64,
    /// When it happened; `None`: now.
    pub at: Option<Moment>,
    /// The person's country, two letters as a big-endian number; 0: unknown.
    pub country: u16,
    /// Whether it is told by another than the advertiser itself: the platform, or a channel that signs.
    pub independent: bool,
}

/// How a conversation was opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opening {
    /// How it came about.
    pub entry_point: v1::EntryPoint,
    /// What says which ad or place it came from.
    pub claim: Option<Claim>,
    /// Whether the person has written, too.
    pub wrote: bool,
    /// Whether the channel opened its free entry point.
    pub free_entry: bool,
    /// The channel's own ids of click and ad. Empty: not told.
    pub channel_click_id: String,
    /// The channel's own id of the ad. Empty: not told.
    pub channel_ad_id: String,
    /// Who it was, as the platform says; 0: not told.
    pub viewer: u64,
}

impl Opening {
    /// Returns an opening by the person's first message, of which the channel tells nothing more.
    pub const fn by_message(entry_point: v1::EntryPoint, claim: Option<Claim>) -> Self {
        Self {
            entry_point,
            claim,
            wrote: true,
            free_entry: false,
            channel_click_id: String::new(),
            channel_ad_id: String::new(),
            viewer: 0,
        }
    }
}

/// What is known of one message. Never a word of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Receipt {
    /// Keyed hash of the channel's message id.
    pub message: u64,
    /// From whom to whom.
    pub direction: v1::Direction,
    /// As the channel counts it.
    pub category: v1::MessageCategory,
    /// How far it came; of the person's own messages always `Delivered`.
    pub status: v1::MessageStatus,
    /// Whether it is a template.
    pub template: bool,
    /// The channel's own word on its price.
    pub pricing: Option<v1::ChannelPricing>,
}

impl Receipt {
    /// Returns a delivered message of which the channel tells nothing more.
    pub const fn delivered(
        message: u64,
        direction: v1::Direction,
        category: v1::MessageCategory,
    ) -> Self {
        let status = v1::MessageStatus::Delivered;
        Self { message, direction, category, status, template: false, pricing: None }
    }
}

/// What says which click an opening or conversion came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Claim {
    /// The opened click token.
    Click(ClickToken),
    /// The code of the first message: a click's, or that of a source.
    Code(PrefillCode),
    /// The ad that the channel's referral names.
    Ad(u64),
    /// The source that was followed.
    Source(u64),
}

/// A sale, lead or other conversion.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    /// The caller's tenant; 0: the platform.
    pub tenant: u32,
    /// The caller's id of it.
    pub event_id: String,
    /// What happened.
    pub name: String,
    /// What it was worth.
    pub value: Option<v1::Money>,
    /// When; `None`: now.
    pub at: Option<Moment>,
    /// Where it came from.
    pub origin: Origin,
    /// Who it was, as the platform says; 0: not told.
    pub viewer: u64,
}

/// A correction of a conversion.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjustment {
    /// The caller's tenant; 0: the platform.
    pub tenant: u32,
    /// Whose conversion it is.
    pub account: u64,
    /// The conversion's id.
    pub event_id: String,
    /// The caller's id of the adjustment.
    pub adjustment_id: String,
    /// What it is worth now; `None`: it is retracted.
    pub value: Option<v1::Money>,
}

/// Where a conversion came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// A click, by its opened token.
    Click(ClickToken),
    /// A conversation: its endpoint and id.
    Conversation {
        /// The endpoint written to.
        endpoint: u64,
        /// The conversation's id.
        id: u64,
    },
    /// Nothing but the viewer is known.
    Viewer {
        /// Whose conversion it is.
        account: u64,
    },
}

/// How an incoming event ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// New: it counts, and this was charged, micros.
    Recorded {
        /// Micros of the account's currency.
        charged: i64,
        /// Why it is invalid traffic: kept, but not charged and not learned from. `None`: it is valid.
        invalid: Option<v1::InvalidReason>,
    },
    /// It was counted before.
    Already,
    /// Nothing was counted.
    Refused(crate::types::refusal::Refusal),
}
