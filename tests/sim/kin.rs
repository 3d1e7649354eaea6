//! Who is whose, against a twin that looks it up in whole rows.

use std::collections::BTreeMap;

use munadi::decide::mutate::touched;
use munadi::state::Stamp;
use munadi::state::catalog::{Catalog, Head};
use munadi::types::hash::category_number;
use munadi::types::ids::{IdKind, Seq, Shard, mint};
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    AccountPut, AdPut, AdSetPut, BusinessPut, CampaignPut, EndpointPut,
};
use munadi::types::proto::v1::{
    Account, Ad, AdSet, Budget, Business, Campaign, CapEvent, ChannelEndpoint, ChatDestination,
    ConfiguredStatus, EffectiveStatus, FrequencyCap, Review, ReviewState,
};
use munadi::types::request::Resource;
use munadi::types::time::Moment;

use crate::luck::Luck;
use crate::shop::money;

/// Whole rows by id.
#[derive(Default)]
struct Twin {
    accounts: BTreeMap<u64, Account>,
    tenants: BTreeMap<u64, u32>,
    businesses: BTreeMap<u64, Business>,
    endpoints: BTreeMap<u64, ChannelEndpoint>,
    campaigns: BTreeMap<u64, Campaign>,
    ad_sets: BTreeMap<u64, AdSet>,
    ads: BTreeMap<u64, Ad>,
}

/// Returns one of the rows' ids or the next new one.
fn place<T>(luck: &mut Luck, kind: IdKind, rows: &BTreeMap<u64, T>) -> u64 {
    let all: Vec<_> = rows.keys().copied().collect();
    let new = mint(kind, all.len() as u64 + 1);
    if all.is_empty() || luck.chance(500) { new } else { *luck.pick(&all) }
}

fn any<T>(luck: &mut Luck, rows: &BTreeMap<u64, T>) -> u64 {
    let all: Vec<_> = rows.keys().copied().collect();
    *luck.pick(&all)
}

fn budget(luck: &mut Luck) -> Option<Budget> {
    let daily = money(5, "MXN").filter(|_| luck.chance(500));
    luck.chance(500).then_some(Budget { daily, lifetime: None })
}

impl Twin {
    /// Writes a row that chance makes, new or changed; what stands above it never changes.
    fn put(&mut self, luck: &mut Luck) -> Kind {
        let ready = !self.campaigns.is_empty() && !self.endpoints.is_empty();
        let kinds = if self.accounts.is_empty() {
            1
        } else if self.businesses.is_empty() {
            2
        } else if self.ad_sets.is_empty() && !ready {
            4
        } else if self.ad_sets.is_empty() {
            5
        } else {
            6
        };
        let status = luck.below(4) as i32;
        match luck.below(kinds) {
            0 => {
                let id = place(luck, IdKind::Account, &self.accounts);
                let zone = ["UTC", "Asia/Kolkata"][(id % 2) as usize];
                let limit = money(9, "MXN").filter(|_| luck.chance(500));
                let row = Account {
                    id,
                    time_zone: zone.into(),
                    currency: ["MXN", "INR"][(id % 2) as usize].into(),
                    spend_limit: limit,
                    configured_status: status,
                    ..Account::default()
                };
                let tenant = *self.tenants.entry(id).or_insert(luck.below(3) as u32 + 1);
                self.accounts.insert(id, row.clone());
                Kind::AccountPut(Box::new(AccountPut { tenant, account: Some(row) }))
            }
            1 => {
                let id = place(luck, IdKind::Business, &self.businesses);
                let known = self.businesses.get(&id).map(|row| row.account_id);
                let account_id = known.unwrap_or_else(|| any(luck, &self.accounts));
                let category = ["", "food", "travel"][luck.below(3) as usize].into();
                let row = Business { id, account_id, category, ..Business::default() };
                self.businesses.insert(id, row.clone());
                Kind::BusinessPut(Box::new(BusinessPut { business: Some(row) }))
            }
            2 => {
                let id = mint(IdKind::Endpoint, self.endpoints.len() as u64 + 1);
                let business_id = any(luck, &self.businesses);
                let row = ChannelEndpoint { id, business_id, ..ChannelEndpoint::default() };
                self.endpoints.insert(id, row.clone());
                Kind::EndpointPut(Box::new(EndpointPut { endpoint: Some(row) }))
            }
            3 => {
                let id = place(luck, IdKind::Campaign, &self.campaigns);
                let known = self.campaigns.get(&id).map(|row| row.account_id);
                let account_id = known.unwrap_or_else(|| any(luck, &self.accounts));
                let budget = budget(luck);
                let row = Campaign {
                    id,
                    account_id,
                    budget,
                    configured_status: status,
                    ..Campaign::default()
                };
                self.campaigns.insert(id, row.clone());
                Kind::CampaignPut(Box::new(CampaignPut { campaign: Some(row) }))
            }
            4 => self.put_ad_set(luck, status),
            _ => self.put_ad(luck, status),
        }
    }

    fn put_ad_set(&mut self, luck: &mut Luck, status: i32) -> Kind {
        let id = place(luck, IdKind::AdSet, &self.ad_sets);
        let known = self.ad_sets.get(&id).map(|row| row.campaign_id);
        let campaign_id = known.unwrap_or_else(|| any(luck, &self.campaigns));
        let cap = |luck: &mut Luck| FrequencyCap {
            max_frequency: 1,
            interval_hours: luck.below(720) as u32 + 1,
            event: luck.below(4) as i32,
        };
        let row = AdSet {
            id,
            campaign_id,
            budget: budget(luck),
            frequency_caps: (0..luck.below(4)).map(|_| cap(luck)).collect(),
            configured_status: status,
            ..AdSet::default()
        };
        self.ad_sets.insert(id, row.clone());
        Kind::AdSetPut(Box::new(AdSetPut { ad_set: Some(row) }))
    }

    fn put_ad(&mut self, luck: &mut Luck, status: i32) -> Kind {
        let id = place(luck, IdKind::Ad, &self.ads);
        let known = self.ads.get(&id).map(|row| row.ad_set_id);
        let ad_set_id = known.unwrap_or_else(|| any(luck, &self.ad_sets));
        let endpoint_id = any(luck, &self.endpoints);
        let state = luck.below(4) as i32;
        let row = Ad {
            id,
            ad_set_id,
            destination: Some(ChatDestination { endpoint_id, ..ChatDestination::default() }),
            review: luck.chance(800).then(|| Review { state, ..Review::default() }),
            configured_status: status,
            ..Ad::default()
        };
        self.ads.insert(id, row.clone());
        Kind::AdPut(Box::new(AdPut { ad: Some(row) }))
    }

    /// Returns an ad's status, told in the order in which a person would ask.
    fn status(&self, ad: &Ad) -> EffectiveStatus {
        let ad_set = &self.ad_sets[&ad.ad_set_id];
        let campaign = &self.campaigns[&ad_set.campaign_id];
        let account = &self.accounts[&campaign.account_id];
        let chain = [
            (ad.configured_status(), EffectiveStatus::Paused),
            (ad_set.configured_status(), EffectiveStatus::AdsetPaused),
            (campaign.configured_status(), EffectiveStatus::CampaignPaused),
        ];
        for (status, paused) in chain {
            match status {
                ConfiguredStatus::Paused => return paused,
                ConfiguredStatus::Archived => return EffectiveStatus::Archived,
                ConfiguredStatus::Unspecified | ConfiguredStatus::Active => {}
            }
        }
        match (account.configured_status(), ad.review.clone().unwrap_or_default().state()) {
            (ConfiguredStatus::Paused, _) => EffectiveStatus::AccountPaused,
            (ConfiguredStatus::Archived, _) => EffectiveStatus::Archived,
            (_, ReviewState::Pending) => EffectiveStatus::PendingReview,
            (_, ReviewState::Rejected) => EffectiveStatus::Disapproved,
            _ => EffectiveStatus::Active,
        }
    }

    /// Returns the ads that fit, in order of creation.
    fn ads(&self, fits: impl Fn(&Ad, &AdSet, &Campaign) -> bool) -> Vec<u64> {
        let fitting = self.ads.values().filter(|ad| {
            let ad_set = &self.ad_sets[&ad.ad_set_id];
            fits(ad, ad_set, &self.campaigns[&ad_set.campaign_id])
        });
        let mut ids: Vec<_> = fitting.map(|ad| ad.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Checks which ads a write to each thing touches.
    fn check_touched(&self, catalog: &Catalog) {
        let touched = |written: Resource| {
            let mut ids: Vec<_> = touched(catalog, &written).collect();
            ids.sort_unstable();
            ids
        };
        for (id, row) in &self.accounts {
            let wanted = self.ads(|_, _, campaign| campaign.account_id == *id);
            assert_eq!(touched(Resource::Account(row.clone())), wanted);
        }
        for (id, row) in &self.businesses {
            let wanted = self.ads(|ad, _, campaign| {
                let endpoint = ad.destination.as_ref().map_or(0, |chat| chat.endpoint_id);
                // Ads of a business stand in its own account; the door sees to that.
                let at_home = campaign.account_id == row.account_id;
                at_home && self.endpoints[&endpoint].business_id == *id
            });
            assert_eq!(touched(Resource::Business(row.clone())), wanted);
        }
        for (id, row) in &self.campaigns {
            let wanted = self.ads(|_, _, campaign| campaign.id == *id);
            assert_eq!(touched(Resource::Campaign(row.clone())), wanted);
        }
        for (id, row) in &self.ad_sets {
            let wanted = self.ads(|_, ad_set, _| ad_set.id == *id);
            assert_eq!(touched(Resource::AdSet(row.clone())), wanted);
        }
    }

    fn check(&self, catalog: &Catalog) {
        self.check_touched(catalog);
        for (id, ad) in &self.ads {
            let family = catalog.family(*id).expect("all is there");
            let ad_set = &self.ad_sets[&ad.ad_set_id];
            let campaign = &self.campaigns[&ad_set.campaign_id];
            let account = &self.accounts[&campaign.account_id];
            let endpoint = ad.destination.as_ref().map_or(0, |chat| chat.endpoint_id);
            assert_eq!((family.ad, family.ad_set, family.campaign), (*id, ad_set.id, campaign.id));
            let business = self.endpoints[&endpoint].business_id;
            let above = (family.account, family.endpoint, family.business);
            assert_eq!(above, (account.id, endpoint, business));
            assert_eq!(family.category, category_number(&self.businesses[&business].category));
            let has = |budget: &Option<Budget>| {
                budget.as_ref().is_some_and(|budget| budget.daily.is_some())
            };
            let limited =
                [account.spend_limit.is_some(), has(&campaign.budget), has(&ad_set.budget)];
            assert_eq!(family.limited, limited);
            for event in [CapEvent::Impressions, CapEvent::Taps, CapEvent::Conversations] {
                let counted = |cap: &&FrequencyCap| cap.event.max(1) == event as i32;
                let caps = ad_set.frequency_caps.iter().filter(counted);
                let hours = caps.map(|cap| cap.interval_hours).max().unwrap_or_default();
                assert_eq!(family.cap_hours(event), hours, "{event:?}");
            }
            assert_eq!(catalog.ad_status(*id), self.status(ad));
            assert_eq!(catalog.ads.get(*id).as_ref(), Some(ad));
            assert_eq!(catalog.account_of(IdKind::Ad, *id), Some(account.id));
        }
        for (id, account) in &self.accounts {
            assert_eq!(catalog.zone_of(*id), Some(&*account.time_zone));
            assert_eq!(catalog.currency_of(*id), Some(&*account.currency));
            assert_eq!(catalog.tenant_of(*id), self.tenants.get(id).copied());
            let wanted = self.campaigns.values().filter(|row| row.account_id == *id);
            same(catalog.campaigns_of_account(*id), wanted.map(|row| row.id));
        }
        for id in self.campaigns.keys() {
            let wanted = self.ad_sets.values().filter(|row| row.campaign_id == *id);
            same(catalog.ad_sets_of_campaign(*id), wanted.map(|row| row.id));
        }
        for id in self.ad_sets.keys() {
            let wanted = self.ads.values().filter(|row| row.ad_set_id == *id);
            same(catalog.ads_of_ad_set(*id), wanted.map(|row| row.id));
        }
    }
}

/// Ids of one kind in order of creation, whatever their shards.
fn same(found: impl Iterator<Item = u64>, wanted: impl Iterator<Item = u64>) {
    let number = |id: &u64| munadi::types::ids::number_of(*id);
    let mut wanted: Vec<_> = wanted.collect();
    wanted.sort_by_key(number);
    assert_eq!(found.collect::<Vec<_>>(), wanted);
}

/// Returns the catalog as a restart finds it.
fn reloaded(catalog: &Catalog) -> Catalog {
    let saved = catalog.saved();
    let head = postcard::to_allocvec(&saved.head).expect("it can be encoded");
    let head: Head = postcard::from_bytes(&head).expect("it can be decoded");
    let mut loaded = Catalog::of_head(head);
    for (index, page) in saved.pages() {
        let page = postcard::to_allocvec(&page).expect("it can be encoded");
        loaded.load_page(index, &page).expect("it can be decoded");
    }
    loaded
}

#[test]
fn what_is_derived_is_what_whole_rows_say_after_any_writes_and_after_a_restart() {
    for seed in 0..30 {
        let mut luck = Luck::new(seed);
        let (mut twin, mut catalog) = (Twin::default(), Catalog::default());
        for seq in 1..=400 {
            let fact = twin.put(&mut luck);
            let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(0) };
            catalog.apply(stamp, &fact);
            if seq % 40 == 0 {
                twin.check(&catalog);
            }
        }
        assert!(twin.ads.len() > 5, "seed {seed}: {} ads", twin.ads.len());
        let loaded = reloaded(&catalog);
        assert!(loaded == catalog, "seed {seed}: a restart finds another catalog");
        twin.check(&loaded);
    }
}
