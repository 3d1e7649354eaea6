//! What is advertised: accounts, businesses, endpoints, campaigns, ad sets and ads. A row is replaced,
//! never edited.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::state::lists::Lists;
use crate::state::rules::Rules;
use crate::state::{Map, Stamp};
use crate::types::ids::{IdKind, Seq, mint, number_of};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::v1::{
    Account, Ad, AdSet, Business, Campaign, ChannelEndpoint, ConfiguredStatus, EffectiveStatus,
};
use crate::types::time::DAY_MS;

/// How long the answer to a write is remembered for its `request_id`.
pub const REQUEST_MEMORY_MS: i64 = DAY_MS;

/// A kind of thing in the catalog.
pub trait Row {
    /// What its ids say.
    const KIND: IdKind;
}

macro_rules! rows {
    ($($row:ident => $kind:ident),*) => {
        $(impl Row for $row {
            const KIND: IdKind = IdKind::$kind;
        })*
    };
}

rows!(
    Account => Account,
    Business => Business,
    ChannelEndpoint => Endpoint,
    Campaign => Campaign,
    AdSet => AdSet,
    Ad => Ad
);

/// The newest version of each thing of one kind, by its number.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(bound = "T: prost::Message + Default")]
pub struct Table<T> {
    #[serde(with = "crate::state::wire::rows")]
    rows: Vec<Option<Arc<T>>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: Vec::new() }
    }
}

impl<T: Row> Table<T> {
    /// Returns the newest version; `None`: there is no such id.
    pub fn get(&self, id: u64) -> Option<&Arc<T>> {
        let row = self.rows.get(number_of(id) as usize)?.as_ref()?;
        (mint(T::KIND, number_of(id)) == id).then_some(row)
    }

    /// Returns the id that the next new one will have. Numbers start at 1.
    pub fn next_id(&self) -> u64 {
        mint(T::KIND, self.rows.len().max(1) as u64)
    }

    /// Returns all in order of creation, beginning after a number.
    pub fn after(&self, number: u64) -> impl Iterator<Item = &Arc<T>> {
        let from = (number.saturating_add(1)).min(self.rows.len() as u64) as usize;
        self.rows[from..].iter().flatten()
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.rows.len().saturating_sub(1)
    }

    fn put(&mut self, id: u64, row: T) {
        let index = number_of(id) as usize;
        if self.rows.len() <= index {
            self.rows.resize_with(index + 1, || None);
        }
        self.rows[index] = Some(Arc::new(row));
    }
}

/// A remembered answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Answered {
    /// First 16 bytes of BLAKE3 over method and body.
    pub body_hash: Vec<u8>,
    /// The encoded resource.
    pub answer: Vec<u8>,
}

/// An ad with everything above it.
#[derive(Clone, Copy, Debug)]
pub struct Family<'a> {
    /// The ad.
    pub ad: &'a Arc<Ad>,
    /// Its ad set.
    pub ad_set: &'a Arc<AdSet>,
    /// Its campaign.
    pub campaign: &'a Arc<Campaign>,
    /// Its account.
    pub account: &'a Arc<Account>,
    /// The endpoint that it opens a chat with.
    pub endpoint: &'a Arc<ChannelEndpoint>,
    /// The business of that endpoint.
    pub business: &'a Arc<Business>,
}

/// The whole catalog.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Catalog {
    applied: u64,
    /// Who pays.
    pub accounts: Table<Account>,
    tenants: Map<u64, u32>,
    /// Who advertises.
    pub businesses: Table<Business>,
    /// Where they are written to.
    pub endpoints: Table<ChannelEndpoint>,
    /// What for.
    pub campaigns: Table<Campaign>,
    /// To whom, and for how much.
    pub ad_sets: Table<AdSet>,
    /// What is seen.
    pub ads: Table<Ad>,
    /// What targeting may name.
    pub lists: Lists,
    /// Where ads of a policy category may be shown.
    pub rules: Rules,
    answers: Map<(u32, String), Answered>,
    answers_by_age: VecDeque<(i64, u32, String)>,
}

impl Catalog {
    /// Returns the last fact of the catalog shard that was applied.
    pub fn applied(&self) -> Seq {
        Seq(self.applied)
    }

    /// Returns the tenant that owns an account.
    pub fn tenant_of(&self, account: u64) -> Option<u32> {
        self.tenants.get(&account).copied()
    }

    /// Returns the remembered answer to a tenant's write.
    pub fn answered(&self, tenant: u32, request_id: &str) -> Option<&Answered> {
        self.answers.get(&(tenant, request_id.to_owned()))
    }

    /// Returns an ad with everything above it; `None`: there is no such ad.
    pub fn family(&self, ad: u64) -> Option<Family<'_>> {
        let ad = self.ads.get(ad)?;
        let ad_set = self.ad_sets.get(ad.ad_set_id)?;
        let campaign = self.campaigns.get(ad_set.campaign_id)?;
        let account = self.accounts.get(campaign.account_id)?;
        let endpoint = self.endpoints.get(ad.destination.as_ref()?.endpoint_id)?;
        let business = self.businesses.get(endpoint.business_id)?;
        Some(Family { ad, ad_set, campaign, account, endpoint, business })
    }

    /// Returns what holds for an account now.
    pub fn account_status(&self, account: &Account) -> EffectiveStatus {
        own_status(account.configured_status(), EffectiveStatus::Paused)
    }

    /// Returns what holds for a campaign now.
    pub fn campaign_status(&self, campaign: &Campaign) -> EffectiveStatus {
        let account = self
            .accounts
            .get(campaign.account_id)
            .map(|account| own_status(account.configured_status(), EffectiveStatus::AccountPaused));
        above(account, own_status(campaign.configured_status(), EffectiveStatus::Paused))
    }

    /// Returns what holds for an ad set now.
    pub fn ad_set_status(&self, ad_set: &AdSet) -> EffectiveStatus {
        let campaign = self.campaigns.get(ad_set.campaign_id).map(|campaign| {
            match self.campaign_status(campaign) {
                EffectiveStatus::Paused => EffectiveStatus::CampaignPaused,
                status => status,
            }
        });
        above(campaign, own_status(ad_set.configured_status(), EffectiveStatus::Paused))
    }

    /// Returns what holds for an ad now.
    pub fn ad_status(&self, ad: &Ad) -> EffectiveStatus {
        let ad_set =
            self.ad_sets.get(ad.ad_set_id).map(|ad_set| match self.ad_set_status(ad_set) {
                EffectiveStatus::Paused => EffectiveStatus::AdsetPaused,
                status => status,
            });
        above(ad_set, own_status(ad.configured_status(), EffectiveStatus::Paused))
    }

    /// Applies a fact that touches the catalog, once.
    pub fn apply(&mut self, stamp: Stamp, fact: &Kind) {
        if stamp.seq.0 <= self.applied {
            return;
        }
        self.applied = stamp.seq.0;
        match fact {
            Kind::AccountPut(fact) => {
                if let Some(account) = &fact.account {
                    self.tenants.insert(account.id, fact.tenant);
                    self.accounts.put(account.id, account.clone());
                }
            }
            Kind::BusinessPut(fact) => put(&mut self.businesses, &fact.business, |row| row.id),
            Kind::EndpointPut(fact) => put(&mut self.endpoints, &fact.endpoint, |row| row.id),
            Kind::CampaignPut(fact) => put(&mut self.campaigns, &fact.campaign, |row| row.id),
            Kind::AdSetPut(fact) => put(&mut self.ad_sets, &fact.ad_set, |row| row.id),
            Kind::AdPut(fact) => put(&mut self.ads, &fact.ad, |row| row.id),
            Kind::RequestAnswered(fact) => {
                let answered =
                    Answered { body_hash: fact.body_hash.clone(), answer: fact.answer.clone() };
                self.answers.insert((fact.tenant, fact.request_id.clone()), answered);
                let aged = (stamp.at.0, fact.tenant, fact.request_id.clone());
                self.answers_by_age.push_back(aged);
                self.forget_answers(stamp.at.0 - REQUEST_MEMORY_MS);
            }
            Kind::TaxonomyPut(fact) => self.lists.put(fact),
            Kind::PolicyRulesPut(fact) => self.rules = Rules::of((**fact).clone()),
            Kind::Granted(_)
            | Kind::ServedMinute(_)
            | Kind::ImpressionSeen(_)
            | Kind::Watched(_)
            | Kind::Tapped(_)
            | Kind::FeedbackGiven(_)
            | Kind::ClickMatched(_)
            | Kind::ConversionCredited(_)
            | Kind::ConversationOpened(_)
            | Kind::MessageRecorded(_)
            | Kind::Converted(_)
            | Kind::OutboxSettled(_)
            | Kind::OutcomeDeclined(_) => {}
        }
    }

    fn forget_answers(&mut self, from_ms: i64) {
        while let Some((_, tenant, id)) =
            self.answers_by_age.pop_front_if(|(answered_ms, ..)| *answered_ms < from_ms)
        {
            self.answers.remove(&(tenant, id));
        }
    }
}

fn put<T: Row + Clone>(table: &mut Table<T>, row: &Option<T>, id: impl Fn(&T) -> u64) {
    if let Some(row) = row {
        table.put(id(row), row.clone());
    }
}

fn own_status(configured: ConfiguredStatus, paused: EffectiveStatus) -> EffectiveStatus {
    match configured {
        ConfiguredStatus::Unspecified | ConfiguredStatus::Active => EffectiveStatus::Active,
        ConfiguredStatus::Paused => paused,
        ConfiguredStatus::Archived => EffectiveStatus::Archived,
    }
}

/// Returns a thing's own status unless that is "active" and its parent says otherwise.
fn above(parent: Option<EffectiveStatus>, own: EffectiveStatus) -> EffectiveStatus {
    match (own, parent) {
        (EffectiveStatus::Active, Some(parent)) => parent,
        _ => own,
    }
}
