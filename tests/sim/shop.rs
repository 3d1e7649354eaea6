//! Advertisers: the catalog that a run begins with, and what they change while it runs.

use munadi::types::proto::v1::{
    Account, Ad, AdSet, BillingEvent, BillingMode, Budget, Business, Campaign, ChannelEndpoint,
    ChatDestination, ConfiguredStatus, Creative, EventKind, FrequencyCap, Money, Placement,
    Targeting, TransferKind,
};
use munadi::types::request::{AdRequest, Author, Change, Incoming, Mutation, Profile, Resource};
use munadi::types::token::ViewToken;

use crate::audit::{Finding, Handed, Key};
use crate::traffic::{DAY, HOUR, NICHES, Task};
use crate::world::{Sent, World};

/// Zones and currencies of the accounts; the last two pay before they spend.
pub(crate) const ZONES: [(&str, &str); 6] = [
    ("America/Mexico_City", "MXN"),
    ("Asia/Kolkata", "INR"),
    ("America/Sao_Paulo", "BRL"),
    ("America/New_York", "USD"),
    ("Pacific/Auckland", "NZD"),
    ("America/New_York", "USD"),
];

/// The dearest goal event, micros.
pub(crate) const DEAREST: i64 = 2_000_000;

/// Number of the first account that pays before it spends.
const PREPAID_FROM: usize = 4;

pub(crate) fn money(micros: i64, currency: &str) -> Option<Money> {
    Some(Money { micros, currency: currency.to_owned() })
}

/// Returns what a budget has for one event.
fn least(budget: &Budget) -> i64 {
    let parts = budget.daily.iter().chain(&budget.lifetime);
    parts.map(|money| money.micros).min().unwrap_or(i64::MAX)
}

/// Returns the budget with enough for one event.
fn at_least(mut budget: Budget, one: i64) -> Budget {
    let parts = budget.daily.iter_mut().chain(&mut budget.lifetime);
    parts.for_each(|money| money.micros = money.micros.max(one));
    budget
}

fn at(ms: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: ms / 1_000, nanos: 0 })
}

/// Fills a resource's account, campaign or other parent.
pub(crate) struct Shop {
    tenant: u32,
    pub(crate) currency: &'static str,
    account: u64,
    endpoints: Vec<u64>,
}

impl World {
    /// Opens the shops, one after the other, before anything fails.
    pub(crate) fn open_shops(&mut self) -> Finding {
        let request = AdRequest {
            placement: Placement::Status,
            viewer: Some(1),
            profile: Profile::default(),
            posts: 9,
            positions: Vec::new(),
            named: true,
            ads_in_session: 0,
        };
        self.ask(1, request)?;
        let mut shops = Vec::new();
        for (index, (zone, currency)) in ZONES.into_iter().enumerate() {
            let shop = self.open_shop(index, zone, currency, index >= PREPAID_FROM)?;
            for _ in 0..2 {
                self.random_campaign(&shop)?;
            }
            shops.push(shop);
        }
        self.open_niches(&shops)?;
        self.read_journal()?;
        self.set_calm(false);
        self.schedule(0, Task::Session);
        self.schedule(HOUR, Task::Write);
        self.schedule(2 * HOUR, Task::Checkpoint);
        self.schedule(3 * HOUR, Task::Kill);
        self.schedule(4 * HOUR, Task::Clock);
        self.schedule(DAY, Task::Rotate);
        self.schedule(HOUR, Task::Audit);
        self.schedule(DAY / 2, Task::Grumble);
        self.schedule(HOUR, Task::Money);
        self.schedule(DAY, Task::Rates);
        self.schedule(5 * HOUR, Task::Find);
        self.schedule(3 * HOUR, Task::Lower);
        self.schedule(2 * HOUR, Task::Cards);
        self.schedule(4 * HOUR, Task::Step);
        Ok(())
    }

    pub(crate) fn open_shop(
        &mut self,
        index: usize,
        zone: &str,
        currency: &'static str,
        prepaid: bool,
    ) -> Result<Shop, String> {
        let tenant = 1 + (index as u32).min(3);
        let mode = if prepaid { BillingMode::Prepaid } else { BillingMode::Invoiced };
        let limit = if index == 1 { money(30_000_000, currency) } else { None };
        let account = Account {
            name: format!("account {index}"),
            currency: currency.to_owned(),
            time_zone: zone.to_owned(),
            spend_limit: limit,
            billing_mode: mode.into(),
            ..Account::default()
        };
        let account = self.create(tenant, Resource::Account(account))?;
        self.read_journal()?;
        let most = if self.brief { 2_000_000 } else { 40_000_000 };
        for kind in [TransferKind::Funding, TransferKind::Promo] {
            if prepaid || self.luck.chance(300) {
                let micros = self.luck.between(1_000, most);
                self.order(account, kind, micros);
            }
        }
        let mut endpoints = Vec::new();
        for number in 0..4_usize {
            let categories = ["food", "travel", "", ""];
            let business = Business {
                account_id: account,
                name: format!("business {index} {number}"),
                category: categories[number].to_owned(),
                ..Business::default()
            };
            let business = self.create(tenant, Resource::Business(business))?;
            let channels = [(1, "+5215512345678"), (6, "some_bot"), (2, "apage"), (7, "@line")];
            let (channel, address) = channels[number];
            let endpoint = ChannelEndpoint {
                business_id: business,
                channel,
                address: address.to_owned(),
                ..ChannelEndpoint::default()
            };
            endpoints.push(self.create(tenant, Resource::Endpoint(endpoint))?);
        }
        Ok(Shop { tenant, currency, account, endpoints })
    }

    pub(crate) fn random_campaign(&mut self, shop: &Shop) -> Finding {
        let shared = self.luck.chance(600);
        let budget = shared.then(|| self.random_budget(shop.currency, 4));
        let most = budget.as_ref().map(least);
        let cap = most.unwrap_or(DEAREST).max(DEAREST) + self.luck.between(0, 1_000_000);
        let campaign = Campaign {
            account_id: shop.account,
            name: "campaign".into(),
            spend_cap: money(cap, shop.currency).filter(|_| self.luck.chance(300)),
            budget,
            ..Campaign::default()
        };
        let campaign = self.create(shop.tenant, Resource::Campaign(campaign))?;
        for _ in 0..2 {
            let ad_set = self.random_ad_set(shop, campaign, most);
            let ad_set = self.create(shop.tenant, Resource::AdSet(ad_set))?;
            // All of one business.
            let endpoint = *self.luck.pick(&shop.endpoints);
            for _ in 0..=self.luck.below(2) {
                self.create(shop.tenant, Resource::Ad(ad_of(ad_set, endpoint)))?;
            }
        }
        Ok(())
    }

    fn random_budget(&mut self, currency: &str, times: i64) -> Budget {
        let most = if self.brief { 15_000 } else { 900_000 };
        let daily = self.luck.between(1_000, most) * times;
        let lifetime = daily * self.luck.between(1, 6);
        let (a, b) = *self.luck.pick(&[(true, false), (true, true), (false, true)]);
        Budget {
            daily: money(daily, currency).filter(|_| a),
            lifetime: money(lifetime, currency).filter(|_| b),
        }
    }

    /// Returns an ad set. `most`: what its campaign's budget has for one event.
    fn random_ad_set(&mut self, shop: &Shop, campaign: u64, most: Option<i64>) -> AdSet {
        let aim = self.random_aims(shop, most);
        let own = most.is_none() || self.luck.chance(300);
        let capped = self.luck.chance(400);
        let cap = FrequencyCap {
            max_frequency: 1 + self.luck.below(3) as u32,
            interval_hours: *self.luck.pick(&[1, 6, 24]),
            ..Default::default()
        };
        let texts = |values: &[&str]| values.iter().map(|text| (*text).to_owned()).collect();
        let countries: [&[&str]; 4] = [&["MX"], &["IN", "US"], &["BR", "MX"], &["US", "BR", "IN"]];
        let targeting = Targeting {
            countries: texts(if self.brief { &[] } else { countries[self.luck.below(4) as usize] }),
            excluded_interests: if self.luck.chance(200) { vec![3] } else { Vec::new() },
            placements: vec![1, 2, 3],
            ..Targeting::default()
        };
        let begins = self.luck.between(0, if self.brief { 3 * HOUR } else { 2 * DAY });
        let scheduled = self.luck.chance(300);
        let span = self.luck.between(HOUR, 3 * DAY);
        AdSet {
            campaign_id: campaign,
            name: "ad set".into(),
            targeting: Some(targeting),
            budget: own.then(|| at_least(self.random_budget(shop.currency, 2), aim.one)),
            frequency_caps: if capped { vec![cap] } else { Vec::new() },
            start_time: at(self.now_ms + begins).filter(|_| scheduled),
            end_time: at(self.now_ms + begins + span).filter(|_| scheduled),
            ..aim.row
        }
    }

    /// Makes one country for each reason that a busy market hides.
    fn open_niches(&mut self, shops: &[Shop]) -> Finding {
        let before = (at(self.now_ms - 2 * DAY), at(self.now_ms + 1_000));
        self.niche(&shops[0], NICHES[0], |set| (set.start_time, set.end_time) = before)?;
        let cap =
            |max_frequency| vec![FrequencyCap { max_frequency, interval_hours: 240, event: 1 }];
        self.niche(&shops[1], NICHES[1], |set| set.frequency_caps = cap(1))?;
        self.niche(&shops[2], NICHES[2], |_| {})?;
        self.niche(&shops[3], NICHES[3], |set| set.bid = money(100_000, "USD"))?;
        for round in 0..17 {
            let place = if round == 16 { Placement::Stories } else { Placement::Feed };
            self.niche(&shops[round % 4], NICHES[4], |set| {
                set.frequency_caps = cap(1);
                set.targeting.as_mut().expect("given").placements = vec![place.into()];
            })?;
        }
        self.niche(&shops[3], NICHES[5], |set| {
            set.budget = Some(Budget { daily: money(2_000, "USD"), lifetime: None });
        })
    }

    fn niche(
        &mut self,
        shop: &Shop,
        country: &[u8; 2],
        change: impl FnOnce(&mut AdSet),
    ) -> Finding {
        let budget = Some(Budget { daily: money(90_000_000, shop.currency), lifetime: None });
        let campaign = Campaign { account_id: shop.account, ..Campaign::default() };
        let campaign = self.create(shop.tenant, Resource::Campaign(campaign))?;
        let targeting = Targeting {
            countries: vec![String::from_utf8_lossy(country).into_owned()],
            placements: vec![1, 2, 3],
            ..Targeting::default()
        };
        let mut ad_set = AdSet {
            campaign_id: campaign,
            targeting: Some(targeting),
            billing_event: BillingEvent::Impressions.into(),
            bid: money(2_000_000, shop.currency),
            budget,
            ..AdSet::default()
        };
        change(&mut ad_set);
        let ad_set = self.create(shop.tenant, Resource::AdSet(ad_set))?;
        let endpoint = *self.luck.pick(&shop.endpoints);
        self.create(shop.tenant, Resource::Ad(ad_of(ad_set, endpoint))).map(drop)
    }

    fn create(&mut self, tenant: u32, resource: Resource) -> Result<u64, String> {
        let mutation = self.mutation(tenant, Change::Create(resource));
        let written = self.write(mutation)?;
        Ok(match written {
            Resource::Account(row) => row.id,
            Resource::Business(row) => row.id,
            Resource::Endpoint(row) => row.id,
            Resource::Campaign(row) => row.id,
            Resource::AdSet(row) => row.id,
            Resource::Ad(row) => row.id,
            Resource::Source(row) => row.id,
            Resource::Experiment(row) => row.id,
        })
    }

    pub(crate) fn mutation(&mut self, tenant: u32, change: Change) -> Mutation {
        self.town.writes += 1;
        let request_id = format!("write {}", self.town.writes);
        let hash = blake3::hash(format!("{change:?}").as_bytes());
        let mut body_hash = [0; 16];
        body_hash.copy_from_slice(&hash.as_bytes()[..16]);
        Mutation {
            tenant,
            any_tenant: false,
            request_id,
            body_hash,
            by: Author::default(),
            validate_only: false,
            change,
            approve: true,
        }
    }

    /// Writes one thing to the catalog, right or wrong, sometimes twice.
    pub(crate) fn change_something(&mut self) {
        let after_ms = self.luck.between(60_000, HOUR);
        self.schedule(after_ms, Task::Write);
        let campaigns: Vec<_> = self.ledger.rows.campaigns.values().cloned().collect();
        let campaign = self.luck.pick(&campaigns).clone();
        let ad_sets: Vec<_> = self.ledger.rows.ad_sets.values().cloned().collect();
        let ad_set = self.luck.pick(&ad_sets).clone();
        let ads: Vec<_> = self.ledger.rows.ads.values().cloned().collect();
        let ad = self.luck.pick(&ads).clone();
        let (account, change) = match self.luck.below(10) {
            0..3 => self.change_campaign(campaign),
            3..6 => self.change_ad_set(ad_set),
            6..8 => self.change_ad(ad),
            8 => {
                let account = self.ledger.rows.accounts[&campaign.account_id].clone();
                self.change_account(account)
            }
            _ => self.add_one(&ad_set, &ad),
        };
        let tenant = self.ledger.rows.tenants.get(&account).copied().unwrap_or_default();
        let tenant = if self.luck.chance(30) { tenant + 1 } else { tenant };
        let mut mutation = self.mutation(tenant, change);
        mutation.validate_only = self.luck.chance(60);
        if self.luck.chance(200) {
            // The same id again, with the same body or another.
            let mut again = mutation.clone();
            if self.luck.chance(400) {
                again.body_hash[0] ^= 1;
            }
            let after_ms = self.luck.between(0, 3 * HOUR);
            self.schedule(after_ms, Task::Resend(Sent::Write(Box::new(again))));
        }
        self.send(Sent::Write(Box::new(mutation)));
        (0..3).for_each(|second| self.schedule(second * 100, Task::Visit));
    }

    fn random_status(&mut self) -> i32 {
        let status = if self.luck.chance(80) {
            ConfiguredStatus::Archived
        } else if self.luck.chance(350) {
            ConfiguredStatus::Paused
        } else {
            ConfiguredStatus::Active
        };
        status.into()
    }

    fn change_campaign(&mut self, mut row: Campaign) -> (u64, Change) {
        let (account, mask) = (
            row.account_id,
            if self.luck.chance(650) {
                let currency = self.ledger.rows.accounts[&row.account_id].currency.clone();
                let budget = self.random_budget(&currency, 4);
                row.budget = Some(budget).filter(|_| !self.luck.chance(150));
                "budget"
            } else {
                row.configured_status = self.random_status();
                "configured_status"
            },
        );
        if !self.luck.chance(300) {
            row.etag.clear();
        }
        if self.luck.chance(50) {
            row.etag = "0".into();
        }
        let mask = if self.luck.chance(30) { "no such field" } else { mask };
        (account, Change::Update(Resource::Campaign(row), vec![mask.into()]))
    }

    fn change_ad_set(&mut self, mut row: AdSet) -> (u64, Change) {
        let campaign = &self.ledger.rows.campaigns[&row.campaign_id];
        let account = self.ledger.rows.accounts[&campaign.account_id].clone();
        row.etag.clear();
        let mask = match self.luck.below(10) {
            0..4 => {
                let budget = self.random_budget(&account.currency, 2);
                row.budget = Some(budget).filter(|_| !self.luck.chance(150));
                "budget"
            }
            4 => {
                let currency = if self.luck.chance(300) { "XXX" } else { &account.currency };
                row.bid = money(self.luck.between(200, 3_000) * 1_000, currency);
                "bid"
            }
            5 => {
                row.start_time = at(self.now_ms);
                row.end_time = at(self.now_ms + self.luck.between(-DAY, 3 * DAY));
                let mask = vec!["start_time".into(), "end_time".into()];
                return (account.id, Change::Update(Resource::AdSet(row), mask));
            }
            6 => {
                if let Some(cap) = row.frequency_caps.first_mut() {
                    cap.max_frequency = 1 + self.luck.below(4) as u32;
                }
                "frequency_caps"
            }
            _ => {
                row.configured_status = self.random_status();
                "configured_status"
            }
        };
        (account.id, Change::Update(Resource::AdSet(row), vec![mask.into()]))
    }

    fn change_ad(&mut self, mut row: Ad) -> (u64, Change) {
        let account = self.ledger.rows.above(row.ad_set_id).map_or(0, |(.., account)| account.id);
        row.etag.clear();
        if self.luck.chance(200) {
            let all: Vec<_> = self.ledger.rows.endpoints.keys().copied().collect();
            let endpoint_id = *self.luck.pick(&all);
            row.destination = Some(ChatDestination { endpoint_id, ..ChatDestination::default() });
            return (account, Change::Update(Resource::Ad(row), vec!["destination".into()]));
        }
        row.configured_status = self.random_status();
        (account, Change::Update(Resource::Ad(row), vec!["configured_status".into()]))
    }

    fn change_account(&mut self, mut row: Account) -> (u64, Change) {
        row.etag.clear();
        if self.luck.chance(600) {
            let limit = self.luck.between(1_000_000, 90_000_000);
            row.spend_limit = money(limit, &row.currency).filter(|_| !self.luck.chance(300));
            return (row.id, Change::Update(Resource::Account(row), vec!["spend_limit".into()]));
        }
        let paused = self.luck.chance(300);
        let status = if paused { ConfiguredStatus::Paused } else { ConfiguredStatus::Active };
        row.configured_status = status.into();
        (row.id, Change::Update(Resource::Account(row), vec!["configured_status".into()]))
    }

    fn add_one(&mut self, ad_set: &AdSet, ad: &Ad) -> (u64, Change) {
        let account = self.ledger.rows.above(ad_set.id).map_or(0, |(.., account)| account.id);
        let created = if self.luck.chance(500) {
            Resource::Ad(Ad { ad_set_id: ad_set.id, ..ad.clone() })
        } else {
            let budget = ad_set.budget.clone().filter(|_| !self.luck.chance(400));
            let status = ConfiguredStatus::Active.into();
            Resource::AdSet(AdSet { budget, configured_status: status, ..ad_set.clone() })
        };
        (account, Change::Create(created))
    }

    /// Fills one viewer's record: another node showed it more ads than one is remembered to hide.
    pub(crate) fn grumble(&mut self) -> Finding {
        let uncapped = |set: &&AdSet| set.frequency_caps.is_empty();
        let ad_sets: Vec<_> =
            self.ledger.rows.ad_sets.values().filter(uncapped).map(|set| set.id).collect();
        let mut ads = self.ledger.rows.ads.values();
        let Some(ad) = ads.find(|ad| ad_sets.contains(&ad.ad_set_id)).cloned() else {
            return Ok(());
        };
        let account = self.ledger.rows.above(ad.ad_set_id).map_or(0, |(.., account)| account.id);
        let now = self.clock();
        for number in 0..90 {
            let token = ViewToken {
                view: 7_000_000 + number,
                ad: ad.id,
                viewer: 8_000_000,
                feed: 1,
                issued: now.seconds(),
                show_by: 600,
                price_micros: 10,
                billing: 1,
                ..ViewToken::default()
            };
            let handed = Handed { token, account, ad_set: ad.ad_set_id };
            self.ledger.handed.insert(token.view, handed);
            let kinds = [
                EventKind::Impression,
                EventKind::HideAd,
                EventKind::HideBusiness,
                EventKind::Report,
            ];
            let told = |kind| Incoming::Ad { token, kind, at: None, suspect: None, network: 0 };
            let item = |kind| (Key::Ad(token.view, kind), told(kind));
            let batch = kinds.into_iter().map(item).collect();
            self.schedule(number as i64 * 2_000, Task::Resend(Sent::Items(batch)));
        }
        Ok(())
    }
}

fn ad_of(ad_set: u64, endpoint_id: u64) -> Ad {
    Ad {
        ad_set_id: ad_set,
        name: "ad".into(),
        creative: Some(Creative { headline: "Hello".into(), ..Creative::default() }),
        destination: Some(ChatDestination {
            endpoint_id,
            prefilled_text: "Hi".into(),
            ..Default::default()
        }),
        ..Ad::default()
    }
}
