//! Writes to the catalog, to the operator's lists and to accounts, parsed.

use crate::types::proto::journal::v1::{
    ExchangeRatesPut, PolicyRulesPut, TaxonomyPut, VolumeTierPut,
};
use crate::types::proto::v1;
use crate::types::request::{Author, Scope};
use crate::types::time::Moment;

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
    /// Who writes.
    pub by: Author,
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
    /// Who writes.
    pub by: Author,
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
    /// Who orders it.
    pub by: Author,
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
    /// Who found it.
    pub by: Author,
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
    /// Who writes.
    pub by: Author,
    /// Whose conversions.
    pub account: u64,
    /// Where to; empty: nowhere.
    pub url: String,
    /// Whether a new key signs from now on.
    pub rotate_key: bool,
    /// Not empty: conversions of test clicks are sent with it.
    pub test_event_code: String,
}

/// One of the catalog's eight kinds of things.
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
    /// What is measured by holding ads back.
    Experiment(v1::Experiment),
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
            Self::Experiment(row) => row.id,
        }
    }
}
