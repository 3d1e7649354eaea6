//! What few viewers have: taps, what they have hidden, and the outcomes of their taps.

use serde::{Deserialize, Serialize};

use crate::state::chats::StoredTouch;
use crate::state::context::Context;
use crate::state::viewers::reason_of;
use crate::types::proto::journal::v1::Showing;
use crate::types::proto::v1::InvalidReason;

/// Most taps remembered for one viewer; further ones are refused, not forgotten. People tap 35 ads a day on no day of a
/// month.
pub const TOUCHES_MAX: usize = 1_024;

/// Most outcomes remembered for one viewer; what comes beyond is credited to nobody.
pub const CREDITED_MAX: usize = 1_024;

/// Of these, those credited to one account's ads: no advertiser can take the others' room.
pub const CREDITED_OF_ACCOUNT_MAX: usize = 256;

/// And those that nobody has earned. Further ones are declined all the same, and no late touch earns them.
pub const MISSED_MAX: usize = 256;

/// How a tap came to be known, in one byte. Checkpoints of earlier builds have its first bit alone.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Serialize)]
pub struct Told(u8);

/// By what earlier builds know too: a backup of theirs is the same state.
impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.is_implied() == other.is_implied()
    }
}

impl Told {
    const IMPLIED: u8 = 1;
    const AFTER_ITS_FINDING: u8 = 2;

    /// Returns how a tap is told that has an [`InvalidReason`], or 0.
    pub(crate) fn new(implied: bool, invalid: i32) -> Self {
        let late = if is_found(invalid as u8) { Self::AFTER_ITS_FINDING } else { 0 };
        Self(u8::from(implied) | late)
    }

    /// Tells whether the tap was never reported, but a click token implies it; its moment is then the earliest.
    pub const fn is_implied(self) -> bool {
        self.0 & Self::IMPLIED != 0
    }

    /// Tells whether its view had been invalidated before the tap was told.
    const fn is_after_its_finding(self) -> bool {
        self.0 & Self::AFTER_ITS_FINDING != 0
    }
}

fn is_found(invalid: u8) -> bool {
    invalid == InvalidReason::Invalidated as u8
}

/// One tap that may still earn a conversation or sale.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Touch {
    /// The click's id.
    pub view: u64,
    /// The ad tapped.
    pub ad: u64,
    /// Its ad set.
    pub ad_set: u64,
    /// Its campaign.
    pub campaign: u64,
    /// Its account.
    pub account: u64,
    /// Its business.
    pub business: u64,
    /// The endpoint it opens a chat with.
    pub endpoint: u64,
    /// The feed it was shown in.
    pub feed: u32,
    /// When the ad was handed out, seconds.
    pub issued_s: u32,
    /// How it came to be known.
    pub told: Told,
    /// An [`InvalidReason`]; 0: valid.
    pub invalid: u8,
    /// The viewer's country, two letters as a big-endian number; 0: unknown.
    pub country: u16,
    /// When it was tapped, milliseconds.
    pub tap_ms: i64,
    /// Price of the conversation that may follow, micros; 0 when that is not what is billed.
    pub conversation_price: i64,
    /// The conversation that it was matched to; 0: none yet.
    pub conversation: u64,
    /// Where, and by whom.
    pub context: Context,
}

impl Touch {
    /// Returns what a tap has of its showing.
    pub(super) fn of(showing: &Showing) -> Self {
        Self {
            view: showing.view,
            ad: showing.ad,
            ad_set: showing.ad_set,
            campaign: showing.campaign,
            account: showing.account,
            business: showing.business,
            feed: showing.feed,
            issued_s: showing.issued_s,
            ..Self::default()
        }
    }

    /// Returns why it is invalid traffic; `None`: it is valid.
    pub fn invalid(&self) -> Option<InvalidReason> {
        reason_of(self.invalid)
    }

    /// Tells whether it was valid when it was told: its person was counted then, or before.
    pub(super) fn was_valid(&self) -> bool {
        self.invalid == 0 || is_found(self.invalid) && !self.told.is_after_its_finding()
    }

    /// Returns the showing that was tapped.
    pub fn showing(&self, viewer: u64) -> Showing {
        Showing {
            view: self.view,
            viewer,
            ad: self.ad,
            ad_set: self.ad_set,
            campaign: self.campaign,
            account: self.account,
            business: self.business,
            feed: self.feed,
            issued_s: self.issued_s,
        }
    }
}

/// Something the viewer does not want to see again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hidden {
    /// The ad or business.
    pub id: u64,
    /// Whether `id` is a business.
    pub business: bool,
    /// The showing it was hidden from; an undo names it.
    pub view: u64,
}

/// A conversation or conversion that was credited to one of the viewer's touches, or declined.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Credited {
    /// Its outcome.
    pub outcome: u64,
    /// The campaign that a conversion was first credited to; 0: its click was invalid, or it is a conversation.
    pub campaign: u64,
    /// Whether nobody earned it, or it was found later that nobody had.
    pub void: bool,
    /// The journal's time of the credit.
    pub at_ms: i64,
    /// When the outcome happened, milliseconds.
    pub event_ms: i64,
    /// Whether it is of a history, and remembered as long as that is.
    pub imported: bool,
    /// What a conversation is settled with.
    pub touch: Option<StoredTouch>,
}
