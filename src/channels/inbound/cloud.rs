//! The Cloud API's bodies: what of them is read. There is no field for what a person wrote.

use serde::Deserialize;

use crate::channels::inbound::field::{Code, Flag, List, Maybe, Number, Word};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Payload<'a> {
    #[serde(borrow)]
    pub(super) object: Word<'a>,
    #[serde(borrow)]
    pub(super) entry: List<Maybe<Entry<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub(super) id: Word<'a>,
    #[serde(borrow)]
    pub(super) changes: List<Maybe<Change<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Change<'a> {
    #[serde(borrow)]
    pub(super) field: Word<'a>,
    #[serde(borrow)]
    pub(super) value: Maybe<Value<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Value<'a> {
    #[serde(borrow)]
    pub(super) metadata: Maybe<Metadata<'a>>,
    #[serde(borrow)]
    pub(super) contacts: List<Maybe<Contact<'a>>>,
    #[serde(borrow)]
    pub(super) messages: List<Maybe<Said<'a>>>,
    #[serde(borrow)]
    pub(super) message_echoes: List<Maybe<Echo<'a>>>,
    #[serde(borrow)]
    pub(super) statuses: List<Maybe<Step<'a>>>,
    #[serde(borrow)]
    pub(super) event: Word<'a>,
    #[serde(borrow)]
    pub(super) volume_tier_info: Maybe<TierInfo<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) display_phone_number: Word<'a>,
    #[serde(borrow)]
    pub(super) phone_number_id: Word<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Contact<'a> {
    #[serde(borrow)]
    pub(super) wa_id: Word<'a>,
    #[serde(borrow)]
    pub(super) user_id: Word<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Said<'a> {
    #[serde(borrow)]
    pub(super) from: Word<'a>,
    #[serde(borrow)]
    pub(super) from_user_id: Word<'a>,
    #[serde(borrow)]
    pub(super) id: Word<'a>,
    pub(super) timestamp: Number,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Word<'a>,
    pub(super) text: Maybe<Text>,
    #[serde(borrow)]
    pub(super) referral: Maybe<Source<'a>>,
    #[serde(borrow)]
    pub(super) system: Maybe<System<'a>>,
}

/// A person's text: only the code in it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Text {
    pub(super) body: Code,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Source<'a> {
    #[serde(borrow)]
    pub(super) source_type: Word<'a>,
    #[serde(borrow)]
    pub(super) source_id: Word<'a>,
    #[serde(borrow)]
    pub(super) source_url: Word<'a>,
    #[serde(borrow)]
    pub(super) ctwa_clid: Word<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct System<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Word<'a>,
    #[serde(borrow)]
    pub(super) wa_id: Word<'a>,
    #[serde(borrow)]
    pub(super) user_id: Word<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Echo<'a> {
    #[serde(borrow)]
    pub(super) to: Word<'a>,
    #[serde(borrow)]
    pub(super) to_user_id: Word<'a>,
    #[serde(borrow)]
    pub(super) id: Word<'a>,
    pub(super) timestamp: Number,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Step<'a> {
    #[serde(borrow)]
    pub(super) id: Word<'a>,
    #[serde(borrow)]
    pub(super) status: Word<'a>,
    pub(super) timestamp: Number,
    #[serde(borrow)]
    pub(super) recipient_id: Word<'a>,
    #[serde(borrow)]
    pub(super) recipient_user_id: Word<'a>,
    #[serde(borrow)]
    pub(super) recipient_type: Word<'a>,
    #[serde(borrow)]
    pub(super) conversation: Maybe<Conversation<'a>>,
    #[serde(borrow)]
    pub(super) pricing: Maybe<Pricing<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Conversation<'a> {
    #[serde(borrow)]
    pub(super) origin: Maybe<Origin<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Origin<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Word<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Pricing<'a> {
    pub(super) billable: Flag,
    #[serde(borrow)]
    pub(super) pricing_model: Word<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Word<'a>,
    #[serde(borrow)]
    pub(super) category: Word<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TierInfo<'a> {
    #[serde(borrow)]
    pub(super) pricing_category: Word<'a>,
    #[serde(borrow)]
    pub(super) tier: Word<'a>,
    #[serde(borrow)]
    pub(super) effective_month: Word<'a>,
    #[serde(borrow)]
    pub(super) region: Word<'a>,
}
