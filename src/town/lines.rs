//! A town's businesses as a list of lines, parents first: what a campaigns file holds, and what the
//! demo writes for itself.

use crate::types::request::Resource;

/// One thing to create. References are local to the list; the engine's ids take their place when it
/// is founded.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The thing's own name within the list; its kind is part of it, so kinds may share names.
    pub reference: String,
    /// Which of the town's advertisers owns it, from 0.
    pub tenant: usize,
    /// The parent's reference: business and campaign -> account, endpoint -> business, ad set ->
    /// campaign, ad -> ad set. Empty for an account.
    pub parent: String,
    /// The reference of the endpoint whose chat an ad opens. Empty for everything else.
    pub endpoint: String,
    /// What to create; ids of parents and endpoints are filled in.
    pub resource: Resource,
}

/// The seven kinds of lines, as a campaigns file names them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// An account.
    Account,
    /// A business.
    Business,
    /// A channel endpoint.
    Endpoint,
    /// A campaign.
    Campaign,
    /// An ad set.
    AdSet,
    /// An ad.
    Ad,
    /// A printed code or web button.
    Source,
    /// A holdout.
    Experiment,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Account,
        Self::Business,
        Self::Endpoint,
        Self::Campaign,
        Self::AdSet,
        Self::Ad,
        Self::Source,
        Self::Experiment,
    ];

    /// Returns the kind of a resource.
    pub const fn of(resource: &Resource) -> Self {
        match resource {
            Resource::Account(_) => Self::Account,
            Resource::Business(_) => Self::Business,
            Resource::Endpoint(_) => Self::Endpoint,
            Resource::Campaign(_) => Self::Campaign,
            Resource::AdSet(_) => Self::AdSet,
            Resource::Ad(_) => Self::Ad,
            Resource::Source(_) => Self::Source,
            Resource::Experiment(_) => Self::Experiment,
        }
    }

    /// Returns the name in a campaigns file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Business => "business",
            Self::Endpoint => "endpoint",
            Self::Campaign => "campaign",
            Self::AdSet => "ad_set",
            Self::Ad => "ad",
            Self::Source => "entry_source",
            Self::Experiment => "experiment",
        }
    }

    /// Returns the name of the kind's message in the public interface.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Account => "munadi.v1.Account",
            Self::Business => "munadi.v1.Business",
            Self::Endpoint => "munadi.v1.ChannelEndpoint",
            Self::Campaign => "munadi.v1.Campaign",
            Self::AdSet => "munadi.v1.AdSet",
            Self::Ad => "munadi.v1.Ad",
            Self::Source => "munadi.v1.EntrySource",
            Self::Experiment => "munadi.v1.Experiment",
        }
    }

    /// Returns the kind of the parent; `None` for an account.
    pub const fn parent(self) -> Option<Self> {
        match self {
            Self::Account => None,
            Self::Business | Self::Campaign | Self::Experiment => Some(Self::Account),
            Self::Endpoint => Some(Self::Business),
            Self::AdSet => Some(Self::Campaign),
            Self::Ad => Some(Self::AdSet),
            Self::Source => Some(Self::Endpoint),
        }
    }
}
