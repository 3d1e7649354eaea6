//! The auditor's own copy of the catalog: the newest row of each thing in the journal.

use std::collections::BTreeMap;

use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::v1::{
    Account, Ad, AdSet, Budget, Business, Campaign, ChannelEndpoint, ConfiguredStatus,
};

use crate::audit::{Finding, ensure};
use crate::coverage::Coverage;

#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) tenants: BTreeMap<u64, u32>,
    pub(crate) accounts: BTreeMap<u64, Account>,
    pub(crate) businesses: BTreeMap<u64, Business>,
    pub(crate) endpoints: BTreeMap<u64, ChannelEndpoint>,
    pub(crate) campaigns: BTreeMap<u64, Campaign>,
    pub(crate) ad_sets: BTreeMap<u64, AdSet>,
    pub(crate) ads: BTreeMap<u64, Ad>,
}

impl Rows {
    pub(crate) fn put(&mut self, kind: &Kind, coverage: &mut Coverage) -> Finding {
        match kind {
            Kind::AccountPut(fact) => {
                let row = fact.account.clone().ok_or("no row")?;
                let known = self.tenants.insert(row.id, fact.tenant);
                ensure(known.is_none_or(|tenant| tenant == fact.tenant), || "sold".into())?;
                self.accounts.insert(row.id, row);
            }
            Kind::BusinessPut(fact) => {
                let row = fact.business.clone().ok_or("no row")?;
                self.businesses.insert(row.id, row);
            }
            Kind::EndpointPut(fact) => {
                let row = fact.endpoint.clone().ok_or("no row")?;
                self.endpoints.insert(row.id, row);
            }
            Kind::CampaignPut(fact) => {
                let row = fact.campaign.clone().ok_or("no row")?;
                if let Some(known) = self.campaigns.get(&row.id) {
                    note_budget(known.budget.as_ref(), row.budget.as_ref(), coverage);
                }
                self.campaigns.insert(row.id, row);
            }
            Kind::AdSetPut(fact) => {
                let row = fact.ad_set.clone().ok_or("no row")?;
                if let Some(known) = self.ad_sets.get(&row.id) {
                    note_budget(known.budget.as_ref(), row.budget.as_ref(), coverage);
                }
                self.ad_sets.insert(row.id, row);
            }
            Kind::AdPut(fact) => {
                let row = fact.ad.clone().ok_or("no row")?;
                self.ads.insert(row.id, row);
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the campaign and account of an ad set.
    pub(crate) fn above(&self, ad_set: u64) -> Option<(&AdSet, &Campaign, &Account)> {
        let ad_set = self.ad_sets.get(&ad_set)?;
        let campaign = self.campaigns.get(&ad_set.campaign_id)?;
        Some((ad_set, campaign, self.accounts.get(&campaign.account_id)?))
    }

    /// Returns the account behind an endpoint.
    pub(crate) fn account_of_endpoint(&self, endpoint: u64) -> Option<u64> {
        let endpoint = self.endpoints.get(&endpoint)?;
        Some(self.businesses.get(&endpoint.business_id)?.account_id)
    }

    /// Says why an ad must not be served now, if so.
    pub(crate) fn may_serve(&self, ad: u64, now_ms: i64) -> Finding {
        let row = self.ads.get(&ad).ok_or("it is not in the journal")?;
        let (ad_set, campaign, account) = self.above(row.ad_set_id).ok_or("no ad set")?;
        let statuses = [
            row.configured_status(),
            ad_set.configured_status(),
            campaign.configured_status(),
            account.configured_status(),
        ];
        let active = statuses.iter().all(|status| *status == ConfiguredStatus::Active);
        ensure(active, || format!("it or its parents are {statuses:?}"))?;
        let begun = ad_set.start_time.as_ref().is_none_or(|time| time.seconds * 1_000 <= now_ms);
        let ended = ad_set.end_time.as_ref().is_some_and(|time| time.seconds * 1_000 <= now_ms);
        ensure(begun && !ended, || "it is outside its ad set's dates".into())
    }
}

/// Returns the daily and the lifetime budget, micros.
pub(crate) fn terms(budget: Option<&Budget>) -> (Option<i64>, Option<i64>) {
    let micros =
        |money: &Option<munadi::types::proto::v1::Money>| money.as_ref().map(|money| money.micros);
    budget.map_or((None, None), |budget| (micros(&budget.daily), micros(&budget.lifetime)))
}

fn note_budget(old: Option<&Budget>, new: Option<&Budget>, coverage: &mut Coverage) {
    let (old, new) = (terms(old), terms(new));
    if new.0 > old.0 || new.1 > old.1 {
        coverage.note("money", "budget raised");
    }
    if new.0 < old.0 || new.1 < old.1 {
        coverage.note("money", "budget lowered");
    }
}
