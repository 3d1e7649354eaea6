//! What the doors hand to the engine, parsed: ad requests, events, and writes to the catalog.

mod author;
mod events;
mod imports;
mod writes;

use crate::types::hash::fnv1a;
use crate::types::ids::IdKind;
use crate::types::proto::v1;
use crate::types::time::MINUTE_MS;

pub use author::{Author, KeyChange, KeyMutation, KeyWritten};
pub use events::{
    Adjustment, CHANNEL_AD_ID_CHARS_MAX, CHANNEL_CLICK_ID_CHARS_MAX, Chat, Claim, Conversion,
    Incoming, Opening, Origin, Receipt, Verdict,
};
pub use imports::{Import, ImportVerdict, Imported, ImportedEvent};
pub use writes::{
    Change, EventFilter, FundRequest, Invalidation, ListChange, ListMutation, Mutation, PushChange,
    Resource,
};

/// Whose things a caller may see.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scope {
    /// The caller's tenant.
    pub tenant: u32,
    /// Whether every tenant's (operator, platform).
    pub any: bool,
}

/// The eight kinds of things in the catalog.
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
    /// What is measured by holding ads back.
    Experiment,
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
            Self::Experiment => IdKind::Experiment,
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
