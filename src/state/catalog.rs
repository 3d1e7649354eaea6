//! What is advertised: accounts, businesses, endpoints, entry sources, campaigns, ad sets, ads and what is
//! measured of them. A row is replaced, never edited.

mod answers;
mod holdouts;
mod kin;
mod names;
mod saved;
mod sources;
mod table;
mod things;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::Stamp;
use crate::state::catalog::answers::Answers;
use crate::state::catalog::names::Names;
use crate::state::catalog::things::Things;
use crate::state::changes::Changes;
use crate::state::exchange::Exchange;
use crate::state::keys::ApiKeys;
use crate::state::kinds::other_kinds;
use crate::state::lists::Lists;
use crate::state::rules::Rules;
use crate::state::tariffs::Tariffs;
use crate::state::traffic_rules::TrafficRules;
use crate::types::attribution::Windows;
use crate::types::ids::{IdKind, Seq, mint};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{ConversionPushPut, RequestAnswered};
use crate::types::proto::v1::{
    Account, Ad, AdSet, Business, Campaign, ChannelEndpoint, EffectiveStatus, EntrySource,
    Experiment,
};
use crate::types::time::DAY_MS;

pub use answers::{ANSWERS_BYTES_MAX, ANSWERS_OF_TENANT_BYTES_MAX, Answered};
pub use holdouts::{Holdout, Holdouts};
pub use kin::{Family, Kin, REACH_HOURS, has_budget};
pub use names::Naming;
pub use saved::{Head, Saved};
pub use sources::SourceRef;
pub use table::{Packed, Row, Table};

/// How long the answer to a write is remembered for its `request_id`.
pub const REQUEST_MEMORY_MS: i64 = DAY_MS;

/// A [`ConversionPushPut`] inside a checkpoint.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct StoredPush(#[serde(with = "crate::state::wire::message")] pub ConversionPushPut);

/// The whole catalog.
#[derive(Debug, Default, PartialEq)]
pub struct Catalog {
    applied: u64,
    /// Who pays.
    pub accounts: Table<Account>,
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
    /// Where else a chat can start.
    pub sources: Table<EntrySource>,
    /// What is measured by holding ads back.
    pub experiments: Table<Experiment>,
    /// The same, by what they cover.
    pub holdouts: Holdouts,
    kin: Kin,
    names: Names,
    /// What targeting may name.
    pub lists: Lists,
    /// Where ads of a policy category may be shown.
    pub rules: Rules,
    /// What currencies are worth to each other.
    pub exchange: Exchange,
    /// What the operator knows to be invalid traffic.
    pub traffic: TrafficRules,
    /// What channels charge for messages.
    pub tariffs: Tariffs,
    /// Where conversions are sent, by account.
    pub pushes: BTreeMap<u64, StoredPush>,
    /// Keys that were made while the engine runs.
    pub keys: ApiKeys,
    /// The newest changes, and who made them.
    pub changes: Changes,
    answers: Answers,
    things: Things,
}

impl Catalog {
    /// Returns the last fact of the catalog shard that was applied.
    pub fn applied(&self) -> Seq {
        Seq(self.applied)
    }

    /// Returns the tenant that owns an account.
    pub fn tenant_of(&self, account: u64) -> Option<u32> {
        self.kin.tenant(account)
    }

    /// Returns an account's time zone; `None`: there is no such account.
    pub fn zone_of(&self, account: u64) -> Option<&str> {
        self.kin.zone_and_currency(account).map(|(zone, _)| zone)
    }

    /// Returns an account's currency.
    pub fn currency_of(&self, account: u64) -> Option<&str> {
        self.kin.zone_and_currency(account).map(|(_, currency)| currency)
    }

    /// Returns what stands directly above a thing.
    pub fn parent_of(&self, kind: IdKind, id: u64) -> Option<u64> {
        self.kin.parent(kind, id)
    }

    /// Returns the account that a thing belongs to; an account is its own.
    pub fn account_of(&self, kind: IdKind, id: u64) -> Option<u64> {
        let parent = |kind| self.kin.parent(kind, id);
        match kind {
            IdKind::Account => self.accounts.has(id).then_some(id),
            IdKind::Business | IdKind::Campaign => parent(kind),
            IdKind::Endpoint => self.account_of(IdKind::Business, parent(kind)?),
            IdKind::Source => self.account_of(IdKind::Endpoint, parent(kind)?),
            IdKind::Experiment => self.experiments.get(id).map(|row| row.account_id),
            IdKind::AdSet => self.account_of(IdKind::Campaign, parent(kind)?),
            IdKind::Ad => self.account_of(IdKind::AdSet, parent(kind)?),
        }
    }

    /// Returns an account's campaigns in order of creation.
    pub fn campaigns_of_account(&self, account: u64) -> impl Iterator<Item = u64> + '_ {
        self.kin.campaigns_of(account)
    }

    /// Returns a campaign's ad sets in order of creation.
    pub fn ad_sets_of_campaign(&self, campaign: u64) -> impl Iterator<Item = u64> + '_ {
        self.kin.ad_sets_of(campaign)
    }

    /// Returns an ad set's ads in order of creation.
    pub fn ads_of_ad_set(&self, ad_set: u64) -> impl Iterator<Item = u64> + '_ {
        self.kin.ads_of(ad_set)
    }

    /// Returns the business that an ad is of.
    pub fn business_of_ad(&self, ad: u64) -> Option<u64> {
        self.kin.business_of_ad(ad)
    }

    /// Tells whether a campaign or ad set is archived itself.
    pub fn is_archived(&self, kind: IdKind, id: u64) -> bool {
        self.kin.is_archived(kind, id)
    }

    /// Tells whether an account has a spend limit, a campaign or ad set a budget.
    pub fn is_limited(&self, kind: IdKind, id: u64) -> bool {
        self.kin.is_limited(kind, id)
    }

    /// Returns an entry source; `None`: there is no such id.
    pub fn source(&self, id: u64) -> Option<SourceRef> {
        self.kin.source(id)
    }

    /// Returns the entry source whose code this is, by [`crate::types::token::PrefillCode::number`].
    pub fn source_of_code(&self, code: u64) -> Option<SourceRef> {
        self.kin.source_of_code(code)
    }

    /// Returns the oldest endpoint that a channel means by a name, among those of a tenant; 0: of anyone's.
    pub fn endpoint_named(
        &self,
        naming: Naming,
        channel: i32,
        name: &str,
        tenant: u32,
    ) -> Option<ChannelEndpoint> {
        let ids = self
            .names
            .of(naming, channel, name)
            .map(|number| mint(IdKind::Endpoint, number.into()));
        let mut theirs = ids.filter(|id| {
            let account = self.account_of(IdKind::Endpoint, *id);
            tenant == 0 || account.and_then(|account| self.tenant_of(account)) == Some(tenant)
        });
        theirs.find_map(|id| {
            let row = self.endpoints.get(id)?;
            (row.channel == channel && naming.of(&row) == name).then_some(row)
        })
    }

    /// Returns the remembered answer to a tenant's write.
    pub fn answered(&self, tenant: u32, request_id: &str) -> Option<&Answered> {
        self.answers.get(tenant, request_id)
    }

    /// Returns an ad with everything above it; `None`: there is no such ad. Decodes nothing.
    pub fn family(&self, ad: u64) -> Option<Family> {
        self.kin.family(ad)
    }

    /// Returns the attribution windows of an ad; the default ones of one that is not known.
    pub fn windows_of(&self, ad: u64) -> Windows {
        self.family(ad).map(|family| family.windows).unwrap_or_default()
    }

    /// Returns what holds for an account now; unspecified: there is none.
    pub fn account_status(&self, account: u64) -> EffectiveStatus {
        self.kin.account_status(account)
    }

    /// Returns what holds for a campaign now.
    pub fn campaign_status(&self, campaign: u64) -> EffectiveStatus {
        self.kin.campaign_status(campaign)
    }

    /// Returns what holds for an ad set now.
    pub fn ad_set_status(&self, ad_set: u64) -> EffectiveStatus {
        self.kin.ad_set_status(ad_set)
    }

    /// Returns what holds for an ad now.
    pub fn ad_status(&self, ad: u64) -> EffectiveStatus {
        self.kin.ad_status(ad)
    }

    /// Applies a fact that touches the catalog, once.
    pub fn apply(&mut self, stamp: Stamp, fact: &Kind) {
        if stamp.seq.0 <= self.applied {
            return;
        }
        self.applied = stamp.seq.0;
        match fact {
            Kind::AccountPut(fact) => {
                if let Some(row) = &fact.account {
                    self.kin.put_account(fact.tenant, row);
                    self.keep(|it| &mut it.accounts, row);
                }
            }
            Kind::BusinessPut(fact) => {
                if let Some(row) = &fact.business {
                    self.kin.put_business(row);
                    self.keep(|it| &mut it.businesses, row);
                }
            }
            Kind::EndpointPut(fact) => {
                if let Some(row) = &fact.endpoint {
                    self.kin.put_endpoint(row);
                    self.names.put(row);
                    self.keep(|it| &mut it.endpoints, row);
                }
            }
            Kind::CampaignPut(fact) => {
                if let Some(row) = &fact.campaign {
                    self.kin.put_campaign(row);
                    self.keep(|it| &mut it.campaigns, row);
                }
            }
            Kind::AdSetPut(fact) => {
                if let Some(row) = &fact.ad_set {
                    self.kin.put_ad_set(row);
                    self.keep(|it| &mut it.ad_sets, row);
                }
            }
            Kind::AdPut(fact) => {
                if let Some(row) = &fact.ad {
                    self.kin.put_ad(row);
                    self.keep(|it| &mut it.ads, row);
                }
            }
            Kind::EntrySourcePut(fact) => {
                if let Some(row) = &fact.source {
                    self.kin.put_source(row);
                    self.keep(|it| &mut it.sources, row);
                }
            }
            Kind::RequestAnswered(fact) => self.answers.remember(stamp, fact),
            Kind::TaxonomyPut(fact) => self.lists.put(fact),
            Kind::PolicyRulesPut(fact) => self.rules = Rules::of((**fact).clone()),
            Kind::ExchangeRatesPut(fact) => self.exchange = Exchange::of((**fact).clone()),
            Kind::TrafficRulesPut(fact) => self.traffic.put(fact),
            Kind::RateCardsPut(fact) => self.tariffs.put(fact),
            Kind::VolumeTierPut(fact) => self.tariffs.step(fact),
            Kind::ConversionPushPut(fact) => self.put_push(fact),
            Kind::ExperimentPut(fact) => {
                if let Some(row) = &fact.experiment {
                    self.holdouts.put(row);
                    self.keep(|it| &mut it.experiments, row);
                }
            }
            Kind::ChangeNoted(fact) => self.changes.note(stamp, fact),
            Kind::ApiKeyPut(fact) => self.keys.put(stamp.at, fact),
            Kind::ApiKeysUsed(fact) => self.keys.note_used(fact),
            other_kinds!() => {}
        }
    }

    fn put_push(&mut self, fact: &ConversionPushPut) {
        self.pushes.insert(fact.account, StoredPush(fact.clone()));
    }

    /// Keeps the newest version of a thing, and counts one that is new. What stands above it is known.
    fn keep<T: Row>(&mut self, table: impl FnOnce(&mut Self) -> &mut Table<T>, row: &T) {
        let (id, table) = (row.id(), table(self));
        let is_new = !table.has(id);
        table.put(id, Packed::of(row));
        if is_new {
            self.count(T::KIND, id);
        }
    }

    /// Counts a thing for its tenant.
    fn count(&mut self, kind: IdKind, id: u64) {
        let account = self.account_of(kind, id);
        if let Some(tenant) = account.and_then(|account| self.tenant_of(account)) {
            self.things.add(tenant, kind, 1);
        }
    }

    /// Returns how many things of a kind a tenant has.
    pub fn things_of(&self, tenant: u32, kind: IdKind) -> u64 {
        self.things.of(tenant, kind)
    }

    /// Returns when there may be room for one more answer to a tenant's write, milliseconds; `None`: there is now.
    pub fn answers_full_until(&self, fact: &RequestAnswered) -> Option<i64> {
        let asked = (&*fact.request_id, &*fact.answer);
        let most = [ANSWERS_BYTES_MAX, ANSWERS_OF_TENANT_BYTES_MAX];
        self.answers.full_until(fact.tenant, asked, most)
    }

    /// Takes answers as remembered that are not there.
    #[cfg(test)]
    pub(crate) fn pretend_answers(&mut self, tenant: u32, bytes: usize, given_ms: i64) {
        self.answers.pretend(tenant, bytes, given_ms);
    }

    /// Takes things as counted that are not there.
    #[cfg(test)]
    pub(crate) fn pretend_things(&mut self, tenant: u32, kind: IdKind, count: u64) {
        self.things.add(tenant, kind, count);
    }
}
