//! What the doors hand to the engine, parsed: ad requests, events, and writes to the catalog.

use crate::types::hash::fnv1a;
use crate::types::ids::IdKind;
use crate::types::proto::journal::v1::{
    ExchangeRatesPut, PolicyRulesPut, TaxonomyPut, VolumeTierPut,
};
use crate::types::proto::v1;
use crate::types::time::{MINUTE_MS, Moment};
use crate::types::token::{ClickToken, PrefillCode, ViewToken};

/// Whose things a caller may see.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scope {
    /// The caller's tenant.
    pub tenant: u32,
    /// Whether every tenant's (operator, platform).
    pub any: bool,
}

/// The seven kinds of things in the catalog.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ResourceKind {
    /// Who pays.
    Account,
    /// Who advertises.
    Business,
    /// Where it is written to.
    Endpoint,
    /// What for.
    Campaign,
    /// To whom, and for how much.
    AdSet,
    /// What they see.
    Ad,
    /// Where else a chat can start.
    Source,
}

impl ResourceKind {
    /// Returns what its ids say.
    pub const fn id_kind(self) -> IdKind {
        match self {
            Self::Account => IdKind::Account,
            Self::Business => IdKind::Business,
            Self::Endpoint => IdKind::Endpoint,
            Self::Campaign => IdKind::Campaign,
            Self::AdSet => IdKind::AdSet,
            Self::Ad => IdKind::Ad,
            Self::Source => IdKind::Source,
        }
    }
}

/// What is known of the viewer, in codes. Zero and empty mean "not told".
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Profile {
    /// Two letters as a big-endian number, see [`crate::types::iso::country_code`].
    pub country: u16,
    /// The packed suffix of ISO 3166-2 within the country.
    pub region: u16,
    /// A number of the operator's cities.
    pub city: u32,
    /// Latitude and longitude, millionths of a degree.
    pub location: Option<(i32, i32)>,
    /// Two letters each as a big-endian number.
    pub languages: Vec<u16>,
    /// A [`v1::AgeBand`], 0 to 7.
    pub age_band: u8,
    /// A [`v1::Gender`], 0 to 3.
    pub gender: u8,
    /// A [`v1::Os`], 0 to 4.
    pub os: u8,
    /// A [`v1::DeviceClass`], 0 to 4.
    pub device_class: u8,
    /// A [`v1::Connection`], 0 to 5.
    pub connection: u8,
    /// A [`v1::ViewerRecency`], 0 to 2.
    pub recency: u8,
    /// The system's version, four numbers of 16 bits, the first highest.
    pub os_version: u64,
    /// The app's version, in the same form.
    pub app_version: u64,
    /// Minutes ahead of UTC.
    pub utc_offset_minutes: Option<i16>,
    /// Numbers of the taxonomy, ascending.
    pub interests: Vec<u16>,
    /// Numbers of the operator's segments, ascending.
    pub segments: Vec<u32>,
    /// Custom key-values, as [`key_value`] hashes them, ascending.
    pub key_values: Vec<u64>,
}

/// Returns the number that stands for a custom key and value.
pub fn key_value(key: &str, value: &str) -> u64 {
    fnv1a(key.bytes().chain([0]).chain(value.bytes()))
}

/// One tray's request, parsed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdRequest {
    /// Where the ads will stand.
    pub placement: v1::Placement,
    /// The viewer's number, from the pseudonym or the frequency token; `None`: never met.
    pub viewer: Option<u64>,
    /// Whether a pseudonym names the viewer; if not, the answer carries a frequency token.
    pub named: bool,
    /// What is known of the viewer.
    pub profile: Profile,
    /// Posts in the tray.
    pub posts: u16,
    /// Exact positions, ascending; empty: by the feed's policy.
    pub positions: Vec<u16>,
    /// Ads shown since the viewer opened the app.
    pub ads_in_session: u32,
}

/// The longest that an ad may wait to be seen and still be charged, seconds. Holds last a minute longer,
/// and a showing is remembered until every token of it has ended.
pub const SHOW_BY_S_MAX: u16 = 15 * 60;

/// The attention that the first post gets: weights of positions are parts of this.
pub const ATTENTION_ONE: u32 = 1 << 16;

/// What one feed allows; loaded from the server's configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// No ad before this post.
    pub first_position: u16,
    /// At least this many posts between two ads.
    pub min_gap: u16,
    /// Most ads in one tray.
    pub most_per_tray: u8,
    /// The same advertiser not again to one viewer for this long, milliseconds.
    pub advertiser_distance_ms: i64,
    /// The same category of business not again to one viewer for this long, milliseconds.
    pub category_distance_ms: i64,
    /// Most ads that one viewer is shown between opening the app and leaving it; 0: no limit.
    pub most_per_session: u16,
    /// Most ads that one viewer is shown in 24 hours; 0: no limit.
    pub most_per_day: u16,
    /// How much of a post's attention the next post gets, in 1/65,536: a position `p` is worth this to the
    /// power of `p`. 65,536: all are alike.
    pub attention_keep: u32,
    /// What interrupting the viewer costs the feed, for 1,000 ads, micros: the auction's common reserve.
    pub interruption_cpm_micros: i64,
    /// What one ad that a viewer hides or reports costs the feed, micros: the auction's quality term.
    pub hide_cost_micros: i64,
    /// Least price of 1,000 impressions, micros.
    pub floor_cpm_micros: i64,
    /// How long an ad may wait to be seen and still be charged, seconds.
    pub show_by_s: u16,
}

impl Policy {
    /// What a feed allows that says nothing else.
    pub const USUAL: Self = Self {
        first_position: 2,
        min_gap: 4,
        most_per_tray: 3,
        advertiser_distance_ms: 5 * MINUTE_MS,
        category_distance_ms: 0,
        most_per_session: 0,
        most_per_day: 0,
        attention_keep: ATTENTION_ONE,
        interruption_cpm_micros: 0,
        hide_cost_micros: 0,
        floor_cpm_micros: 0,
        show_by_s: 600,
    };
}

impl Policy {
    /// Returns the attention that the post behind one of this attention gets.
    pub const fn next_attention(&self, weight: u32) -> u32 {
        (weight as u64 * self.attention_keep as u64 / ATTENTION_ONE as u64) as u32
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::USUAL
    }
}

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

/// One write to the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation {
    /// The caller's tenant.
    pub tenant: u32,
    /// Whether the caller may touch every tenant's things (operator).
    pub any_tenant: bool,
    /// The caller's id of the write.
    pub request_id: String,
    /// First 16 bytes of BLAKE3 over method and body.
    pub body_hash: [u8; 16],
    /// Judge, but change nothing.
    pub validate_only: bool,
    /// Whether new and changed ads serve without an operator's review.
    pub approve: bool,
    /// What to write.
    pub change: Change,
}

/// A validated resource to create, or an id with the fields to change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Creates it; id, times, etag and effective status are given by the engine.
    Create(Resource),
    /// Takes the named top-level fields from the resource, which carries the id and maybe an etag.
    Update(Resource, Vec<String>),
    /// An operator's finding on an ad; answered with the ad.
    Review {
        /// Which ad.
        ad: u64,
        /// The etag of the version that was looked at. Empty: not checked.
        etag: String,
        /// What was found. Its time is given by the engine.
        review: v1::Review,
    },
}

/// One write to the operator's lists or rules, checked for its form.
#[derive(Clone, Debug, PartialEq)]
pub struct ListMutation {
    /// The caller's tenant.
    pub tenant: u32,
    /// The caller's id of the write.
    pub request_id: String,
    /// First 16 bytes of BLAKE3 over method and body.
    pub body_hash: [u8; 16],
    /// What to write.
    pub change: ListChange,
}

/// What changes of the operator's lists and rules.
#[derive(Clone, Debug, PartialEq)]
pub enum ListChange {
    /// Adds, replaces and removes entries of one list.
    Taxonomy(TaxonomyPut),
    /// Replaces all rules.
    PolicyRules(PolicyRulesPut),
    /// Replaces all exchange rates.
    ExchangeRates(ExchangeRatesPut),
    /// Replaces all rules for invalid traffic.
    TrafficRules(v1::TrafficRules),
    /// Replaces all rate cards that were loaded.
    RateCards(Vec<v1::RateCard>),
    /// Notes the volume step that a business has reached, as its channel says.
    VolumeTier(VolumeTierPut),
}

/// Money or promo credit that an operator puts into an account or takes out, checked for its form.
#[derive(Clone, Debug, PartialEq)]
pub struct FundRequest {
    /// The caller's tenant.
    pub tenant: u32,
    /// The caller's id of the write.
    pub request_id: String,
    /// First 16 bytes of BLAKE3 over method and body.
    pub body_hash: [u8; 16],
    /// Whose.
    pub account: u64,
    /// The caller's id of the transfer, not 0.
    pub transfer: u128,
    /// Funding, promo or withdrawal.
    pub kind: v1::TransferKind,
    /// Above zero.
    pub amount: v1::Money,
    /// Why, for people.
    pub reason: String,
}

/// Which charged events. A 0 names nothing; at least one of the ids is told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EventFilter {
    /// Of this account.
    pub account: u64,
    /// Of this campaign.
    pub campaign: u64,
    /// Of this ad set.
    pub ad_set: u64,
    /// Of this ad.
    pub ad: u64,
    /// From this feed.
    pub feed: u32,
    /// Journaled from here on.
    pub start: Moment,
    /// And before this.
    pub end: Moment,
    /// Only these; empty: all.
    pub billed: Vec<v1::BillingEvent>,
    /// Only of viewers with as many charged taps among those events; 0: of all.
    pub taps_per_viewer_min: u32,
}

/// A finding that charged events were invalid.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalidation {
    /// The caller's tenant.
    pub tenant: u32,
    /// The caller's id of the request.
    pub request_id: String,
    /// First 16 bytes of BLAKE3 over method and body.
    pub body_hash: [u8; 16],
    /// Which events.
    pub filter: EventFilter,
    /// Why, for people.
    pub reason: String,
    /// Count, but change nothing.
    pub dry_run: bool,
}

/// A write of where an account's conversions are sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PushChange {
    /// Whose things the caller may change.
    pub scope: Scope,
    /// The caller's id of the write.
    pub request_id: String,
    /// First 16 bytes of BLAKE3 over method and body.
    pub body_hash: [u8; 16],
    /// Whose conversions.
    pub account: u64,
    /// Where to; empty: nowhere.
    pub url: String,
    /// Whether a new key signs from now on.
    pub rotate_key: bool,
    /// Not empty: conversions of test clicks are sent with it.
    pub test_event_code: String,
}

/// One of the catalog's seven kinds of things.
#[allow(clippy::large_enum_variant, reason = "writes are rare; a box each would only be noise")]
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// Who pays.
    Account(v1::Account),
    /// Who advertises.
    Business(v1::Business),
    /// Where it is written to.
    Endpoint(v1::ChannelEndpoint),
    /// What for.
    Campaign(v1::Campaign),
    /// To whom, and for how much.
    AdSet(v1::AdSet),
    /// What they see.
    Ad(v1::Ad),
    /// Where else a chat can start.
    Source(v1::EntrySource),
}

impl Resource {
    /// Returns its id; 0 before it was given one.
    pub const fn id(&self) -> u64 {
        match self {
            Self::Account(row) => row.id,
            Self::Business(row) => row.id,
            Self::Endpoint(row) => row.id,
            Self::Campaign(row) => row.id,
            Self::AdSet(row) => row.id,
            Self::Ad(row) => row.id,
            Self::Source(row) => row.id,
        }
    }
}
