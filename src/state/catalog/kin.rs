//! Who is whose, in small numbers: what events and statuses need of the catalog, without decoding a row.
//!
//! Derived from the rows by the same fold, so it is not kept on disk.

use super::sources::{SourceRef, Sources};
use crate::types::attribution::Windows;
use crate::types::hash::category_number;
use crate::types::ids::{IdKind, mint, number_of};
use crate::types::proto::v1::{
    Account, Ad, AdSet, BillingMode, Budget, Business, Campaign, CapEvent, ChannelEndpoint,
    ConfiguredStatus, EffectiveStatus, EntrySource, FrequencyCap, OptimizationGoal, ReviewState,
};

/// How long an impression makes a viewer worth less to an ad set that is for reach, hours.
pub const REACH_HOURS: u16 = 24;

/// An ad with everything above it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Family {
    /// The ad.
    pub ad: u64,
    /// Its ad set.
    pub ad_set: u64,
    /// Its campaign.
    pub campaign: u64,
    /// Its account.
    pub account: u64,
    /// The endpoint that it opens a chat with.
    pub endpoint: u64,
    /// The business of that endpoint.
    pub business: u64,
    /// Number of the business's category; 0: none.
    pub category: u64,
    /// Categories of the operator's policy that the ad was found to be of, a bit each.
    pub policy: u16,
    /// Whether the account has a spend limit, the campaign a budget or cap, the ad set a budget or cap.
    pub limited: [bool; 3],
    /// In which its touches earn outcomes.
    pub windows: Windows,
    /// See [`Family::cap_hours`].
    caps: [u16; 3],
}

impl Family {
    /// Returns the longest interval of the ad set's caps on one kind of event, hours; 0: there is none.
    pub fn cap_hours(&self, event: CapEvent) -> u32 {
        let index = (event as usize).checked_sub(1);
        index.and_then(|index| self.caps.get(index)).copied().unwrap_or_default().into()
    }
}

/// Longest cap interval of each kind of event, hours.
fn caps_of(ad_set: &AdSet) -> [u16; 3] {
    let mut hours = [0; 3];
    for FrequencyCap { interval_hours, event, .. } in &ad_set.frequency_caps {
        // Unspecified counts impressions.
        let at = usize::try_from(event.max(&1) - 1).unwrap_or_default();
        if let Some(longest) = hours.get_mut(at) {
            *longest = (*longest).max(*interval_hours as u16);
        }
    }
    if ad_set.optimization_goal() == OptimizationGoal::Reach {
        let [impressions, ..] = &mut hours;
        *impressions = (*impressions).max(REACH_HOURS);
    }
    hours
}

/// Tells whether there is a daily or lifetime budget.
pub fn has_budget(budget: Option<&Budget>) -> bool {
    budget.is_some_and(|budget| budget.daily.is_some() || budget.lifetime.is_some())
}

/// A configured status; 0: there is no such thing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Status(u8);

impl Status {
    const PAUSED: Self = Self(ConfiguredStatus::Paused as u8);
    const ARCHIVED: Self = Self(ConfiguredStatus::Archived as u8);

    const fn of(status: ConfiguredStatus) -> Self {
        match status {
            ConfiguredStatus::Unspecified => Self(ConfiguredStatus::Active as u8),
            named => Self(named as u8),
        }
    }

    const fn exists(self) -> bool {
        self.0 != 0
    }

    /// Returns what it says of the thing itself.
    fn own(self, paused: EffectiveStatus) -> EffectiveStatus {
        match self {
            Self::PAUSED => paused,
            Self::ARCHIVED => EffectiveStatus::Archived,
            _ => EffectiveStatus::Active,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct AccountKin {
    tenant: u32,
    zone: u16,
    currency: u16,
    status: Status,
    limited: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct CampaignKin {
    account: u32,
    status: Status,
    limited: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct AdSetKin {
    campaign: u32,
    caps: [u16; 3],
    windows: Windows,
    status: Status,
    limited: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct AdKin {
    ad_set: u32,
    endpoint: u32,
    policy: u16,
    status: Status,
    review: u8,
}

/// The children of each parent, in order of creation. Numbers start at 1; 0 is nobody.
#[derive(Clone, Debug, Default, PartialEq)]
struct Children {
    /// By parent: its first and last child.
    ends: Vec<(u32, u32)>,
    /// By child: the next one.
    next: Vec<u32>,
}

impl Children {
    fn append(&mut self, parent: u32, child: u32) {
        let (_, last) = *slot(&mut self.ends, parent);
        *slot(&mut self.next, child) = 0;
        if last != 0 {
            *slot(&mut self.next, last) = child;
        }
        let ends = slot(&mut self.ends, parent);
        *ends = (if last == 0 { child } else { ends.0 }, child);
    }

    fn first(&self, parent: u32) -> u32 {
        self.ends.get(parent as usize).map_or(0, |ends| ends.0)
    }

    fn of(&self, parent: u32) -> impl Iterator<Item = u32> + '_ {
        let next = |child: u32| self.next.get(child as usize).copied().unwrap_or_default();
        let some = |child: u32| (child != 0).then_some(child);
        std::iter::successors(some(self.first(parent)), move |child| some(next(*child)))
    }
}

/// Returns the place of a number. Grows by an eighth: at millions, doubling would waste megabytes.
fn slot<T: Default>(list: &mut Vec<T>, number: u32) -> &mut T {
    let index = number as usize;
    if list.len() <= index {
        if list.capacity() <= index {
            list.reserve_exact(index + 1 - list.len() + list.len() / 8);
        }
        list.resize_with(index + 1, T::default);
    }
    &mut list[index]
}

/// The number in an id of this kind; 0 in any other.
fn number(kind: IdKind, id: u64) -> u32 {
    let number = number_of(id);
    match u32::try_from(number) {
        Ok(small) if mint(kind, number) == id => small,
        _ => 0,
    }
}

fn id(kind: IdKind, number: u32) -> u64 {
    mint(kind, number.into())
}

/// The derived numbers of all rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kin {
    accounts: Vec<AccountKin>,
    /// By business: its account.
    businesses: Vec<u32>,
    /// By business: the number of its category.
    categories: Vec<u64>,
    /// By endpoint: its business.
    endpoints: Vec<u32>,
    campaigns: Vec<CampaignKin>,
    ad_sets: Vec<AdSetKin>,
    ads: Vec<AdKin>,
    sources: Sources,
    campaigns_of: Children,
    ad_sets_of: Children,
    ads_of: Children,
    /// Time zones and currencies, each once.
    names: Vec<String>,
}

impl Kin {
    pub(super) fn put_account(&mut self, tenant: u32, row: &Account) {
        let kin = AccountKin {
            tenant,
            zone: self.name(&row.time_zone),
            currency: self.name(&row.currency),
            status: Status::of(row.configured_status()),
            // A prepaid account has only what was paid in.
            limited: row.spend_limit.is_some() || row.billing_mode() == BillingMode::Prepaid,
        };
        *slot(&mut self.accounts, number(IdKind::Account, row.id)) = kin;
    }

    /// Returns the kin of accounts of these tenants, by account number, before their rows are known.
    pub(super) fn of_tenants(tenants: &[u32]) -> Self {
        let account = |tenant: &u32| AccountKin { tenant: *tenant, ..AccountKin::default() };
        Self { accounts: tenants.iter().map(account).collect(), ..Self::default() }
    }

    /// Returns the tenant of each account, by its number.
    pub(super) fn tenants(&self) -> Vec<u32> {
        self.accounts.iter().map(|account| account.tenant).collect()
    }

    /// Takes an account whose tenant is known.
    pub(super) fn put_known_account(&mut self, row: &Account) {
        let tenant = slot(&mut self.accounts, number(IdKind::Account, row.id)).tenant;
        self.put_account(tenant, row);
    }

    pub(super) fn put_business(&mut self, row: &Business) {
        let account = number(IdKind::Account, row.account_id);
        *slot(&mut self.businesses, number(IdKind::Business, row.id)) = account;
        let category = category_number(&row.category);
        *slot(&mut self.categories, number(IdKind::Business, row.id)) = category;
    }

    pub(super) fn put_endpoint(&mut self, row: &ChannelEndpoint) {
        let business = number(IdKind::Business, row.business_id);
        *slot(&mut self.endpoints, number(IdKind::Endpoint, row.id)) = business;
    }

    pub(super) fn put_campaign(&mut self, row: &Campaign) {
        let number_here = number(IdKind::Campaign, row.id);
        let kin = CampaignKin {
            account: number(IdKind::Account, row.account_id),
            status: Status::of(row.configured_status()),
            limited: has_budget(row.budget.as_ref()) || row.spend_cap.is_some(),
        };
        let before = std::mem::replace(slot(&mut self.campaigns, number_here), kin);
        // A thing never changes its parent.
        if !before.status.exists() {
            self.campaigns_of.append(kin.account, number_here);
        }
    }

    pub(super) fn put_ad_set(&mut self, row: &AdSet) {
        let number_here = number(IdKind::AdSet, row.id);
        let kin = AdSetKin {
            campaign: number(IdKind::Campaign, row.campaign_id),
            caps: caps_of(row),
            windows: Windows::of(row.attribution_spec.as_ref()),
            status: Status::of(row.configured_status()),
            limited: has_budget(row.budget.as_ref()) || has_budget(row.spend_cap.as_ref()),
        };
        let before = std::mem::replace(slot(&mut self.ad_sets, number_here), kin);
        if !before.status.exists() {
            self.ad_sets_of.append(kin.campaign, number_here);
        }
    }

    pub(super) fn put_ad(&mut self, row: &Ad) {
        let number_here = number(IdKind::Ad, row.id);
        let endpoint = row.destination.as_ref().map_or(0, |chat| chat.endpoint_id);
        let categories = row.review.iter().flat_map(|review| &review.categories);
        let kin = AdKin {
            ad_set: number(IdKind::AdSet, row.ad_set_id),
            endpoint: number(IdKind::Endpoint, endpoint),
            status: Status::of(row.configured_status()),
            policy: categories.fold(0, |mask, category| mask | 1 << (category & 15)),
            review: row.review.as_ref().map_or(0, |review| review.state as u8),
        };
        let before = std::mem::replace(slot(&mut self.ads, number_here), kin);
        if !before.status.exists() {
            self.ads_of.append(kin.ad_set, number_here);
        }
    }

    pub(super) fn put_source(&mut self, row: &EntrySource) {
        let endpoint = number(IdKind::Endpoint, row.endpoint_id);
        self.sources.put(number(IdKind::Source, row.id), endpoint, row);
    }

    pub(super) fn source(&self, thing: u64) -> Option<SourceRef> {
        let endpoint = self.parent(IdKind::Source, thing)?;
        let business = self.parent(IdKind::Endpoint, endpoint)?;
        let entry_point = self.sources.entry_point(number(IdKind::Source, thing));
        Some(SourceRef { id: thing, endpoint, business, entry_point })
    }

    pub(super) fn source_of_code(&self, code: u64) -> Option<SourceRef> {
        self.source(id(IdKind::Source, self.sources.by_code(code)?))
    }

    fn name(&mut self, name: &str) -> u16 {
        let known = self.names.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        }) as u16
    }

    fn account(&self, number: u32) -> Option<&AccountKin> {
        self.accounts.get(number as usize).filter(|account| account.status.exists())
    }

    fn campaign(&self, number: u32) -> Option<&CampaignKin> {
        self.campaigns.get(number as usize).filter(|campaign| campaign.status.exists())
    }

    fn ad_set(&self, number: u32) -> Option<&AdSetKin> {
        self.ad_sets.get(number as usize).filter(|ad_set| ad_set.status.exists())
    }

    fn ad(&self, number: u32) -> Option<&AdKin> {
        self.ads.get(number as usize).filter(|ad| ad.status.exists())
    }

    fn account_number_of_business(&self, business: u32) -> u32 {
        self.businesses.get(business as usize).copied().unwrap_or_default()
    }

    pub(super) fn tenant(&self, account: u64) -> Option<u32> {
        self.account(number(IdKind::Account, account)).map(|account| account.tenant)
    }

    pub(super) fn zone_and_currency(&self, account: u64) -> Option<(&str, &str)> {
        let account = self.account(number(IdKind::Account, account))?;
        let name = |index: u16| self.names.get(usize::from(index)).map(String::as_str);
        name(account.zone).zip(name(account.currency))
    }

    pub(super) fn family(&self, ad: u64) -> Option<Family> {
        let kin = self.ad(number(IdKind::Ad, ad))?;
        let ad_set = self.ad_set(kin.ad_set)?;
        let campaign = self.campaign(ad_set.campaign)?;
        let account = self.account(campaign.account)?;
        let business = *self.endpoints.get(kin.endpoint as usize)?;
        if business == 0 || self.account_number_of_business(business) == 0 {
            return None;
        }
        Some(Family {
            ad,
            ad_set: id(IdKind::AdSet, kin.ad_set),
            campaign: id(IdKind::Campaign, ad_set.campaign),
            account: id(IdKind::Account, campaign.account),
            endpoint: id(IdKind::Endpoint, kin.endpoint),
            business: id(IdKind::Business, business),
            policy: kin.policy,
            category: self.categories.get(business as usize).copied().unwrap_or_default(),
            limited: [account.limited, campaign.limited, ad_set.limited],
            windows: ad_set.windows,
            caps: ad_set.caps,
        })
    }

    /// Returns what stands directly above a thing; `None`: nothing does, or there is no such thing.
    pub(super) fn parent(&self, kind: IdKind, thing: u64) -> Option<u64> {
        let number = number(kind, thing);
        let (kind, parent) = match kind {
            IdKind::Account | IdKind::Experiment => return None,
            IdKind::Business => (IdKind::Account, self.account_number_of_business(number)),
            IdKind::Endpoint => {
                (IdKind::Business, self.endpoints.get(number as usize).copied().unwrap_or_default())
            }
            IdKind::Campaign => (IdKind::Account, self.campaign(number)?.account),
            IdKind::AdSet => (IdKind::Campaign, self.ad_set(number)?.campaign),
            IdKind::Ad => (IdKind::AdSet, self.ad(number)?.ad_set),
            IdKind::Source => (IdKind::Endpoint, self.sources.endpoint(number)),
        };
        (parent != 0).then(|| id(kind, parent))
    }

    pub(super) fn campaigns_of(&self, account: u64) -> impl Iterator<Item = u64> + '_ {
        let campaigns = self.campaigns_of.of(number(IdKind::Account, account));
        campaigns.map(|number| id(IdKind::Campaign, number))
    }

    pub(super) fn ad_sets_of(&self, campaign: u64) -> impl Iterator<Item = u64> + '_ {
        let ad_sets = self.ad_sets_of.of(number(IdKind::Campaign, campaign));
        ad_sets.map(|number| id(IdKind::AdSet, number))
    }

    pub(super) fn ads_of(&self, ad_set: u64) -> impl Iterator<Item = u64> + '_ {
        self.ads_of.of(number(IdKind::AdSet, ad_set)).map(|number| id(IdKind::Ad, number))
    }

    /// Returns the business that an ad's endpoint is of.
    pub(super) fn business_of_ad(&self, ad: u64) -> Option<u64> {
        let endpoint = self.ad(number(IdKind::Ad, ad))?.endpoint;
        self.parent(IdKind::Endpoint, id(IdKind::Endpoint, endpoint))
    }

    /// Tells whether an account, campaign or ad set has a budget or cap: a line that is granted.
    pub(super) fn is_limited(&self, kind: IdKind, thing: u64) -> bool {
        let number = number(kind, thing);
        match kind {
            IdKind::Account => self.account(number).is_some_and(|kin| kin.limited),
            IdKind::Campaign => self.campaign(number).is_some_and(|kin| kin.limited),
            IdKind::AdSet => self.ad_set(number).is_some_and(|kin| kin.limited),
            _ => false,
        }
    }

    pub(super) fn is_archived(&self, kind: IdKind, thing: u64) -> bool {
        let number = number(kind, thing);
        let status = match kind {
            IdKind::Account => self.account(number).map(|kin| kin.status),
            IdKind::Campaign => self.campaign(number).map(|kin| kin.status),
            IdKind::AdSet => self.ad_set(number).map(|kin| kin.status),
            IdKind::Ad => self.ad(number).map(|kin| kin.status),
            IdKind::Business | IdKind::Endpoint | IdKind::Source | IdKind::Experiment => None,
        };
        status == Some(Status::ARCHIVED)
    }

    pub(super) fn account_status(&self, account: u64) -> EffectiveStatus {
        let account = self.account(number(IdKind::Account, account));
        account.map_or(EffectiveStatus::Unspecified, |kin| kin.status.own(EffectiveStatus::Paused))
    }

    pub(super) fn campaign_status(&self, campaign: u64) -> EffectiveStatus {
        let campaign = self.campaign(number(IdKind::Campaign, campaign));
        campaign.map_or(EffectiveStatus::Unspecified, |kin| self.status_of_campaign(kin))
    }

    pub(super) fn ad_set_status(&self, ad_set: u64) -> EffectiveStatus {
        let ad_set = self.ad_set(number(IdKind::AdSet, ad_set));
        ad_set.map_or(EffectiveStatus::Unspecified, |kin| self.status_of_ad_set(kin))
    }

    pub(super) fn ad_status(&self, ad: u64) -> EffectiveStatus {
        let ad = self.ad(number(IdKind::Ad, ad));
        ad.map_or(EffectiveStatus::Unspecified, |kin| self.status_of_ad(kin))
    }

    fn status_of_campaign(&self, kin: &CampaignKin) -> EffectiveStatus {
        let account = self.account(kin.account);
        let account = account.map(|kin| kin.status.own(EffectiveStatus::AccountPaused));
        above(account, kin.status.own(EffectiveStatus::Paused))
    }

    fn status_of_ad_set(&self, kin: &AdSetKin) -> EffectiveStatus {
        let campaign = self.campaign(kin.campaign).map(|kin| self.status_of_campaign(kin));
        let campaign = campaign.map(|status| named(status, EffectiveStatus::CampaignPaused));
        above(campaign, kin.status.own(EffectiveStatus::Paused))
    }

    fn status_of_ad(&self, kin: &AdKin) -> EffectiveStatus {
        let ad_set = self.ad_set(kin.ad_set).map(|kin| self.status_of_ad_set(kin));
        let ad_set = ad_set.map(|status| named(status, EffectiveStatus::AdsetPaused));
        match above(ad_set, kin.status.own(EffectiveStatus::Paused)) {
            EffectiveStatus::Active => match ReviewState::try_from(i32::from(kin.review)) {
                Ok(ReviewState::Pending) => EffectiveStatus::PendingReview,
                Ok(ReviewState::Rejected) => EffectiveStatus::Disapproved,
                // Ads made before there were reviews serve.
                Ok(ReviewState::Unspecified | ReviewState::Approved) | Err(_) => {
                    EffectiveStatus::Active
                }
            },
            status => status,
        }
    }
}

/// Returns a parent's status as its children say it.
fn named(parent: EffectiveStatus, paused: EffectiveStatus) -> EffectiveStatus {
    if parent == EffectiveStatus::Paused { paused } else { parent }
}

/// Returns a thing's own status unless that is "active" and its parent says otherwise.
fn above(parent: Option<EffectiveStatus>, own: EffectiveStatus) -> EffectiveStatus {
    match (own, parent) {
        (EffectiveStatus::Active, Some(parent)) => parent,
        _ => own,
    }
}
