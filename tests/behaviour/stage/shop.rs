//! An advertiser with everything that one ad needs.

use munadi::types::proto::v1::{
    Account, Ad, AdSet, BillingEvent, Budget, Business, Campaign, Channel, ChannelEndpoint,
    ChatDestination, Creative, FrequencyCap, Money, Objective, Targeting,
};
use munadi::types::refusal::Refusal;
use munadi::types::request::{Author, Change, Mutation, Resource};

use crate::stage::{Stage, TENANT};

/// The channel's number of every shop's business account.
pub(crate) const CHANNEL_BUSINESS: &str = "1029384756";

/// What an advertiser offers. The default: 1 MXN an impression, without limits worth the name.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) tenant: u32,
    pub(crate) currency: &'static str,
    pub(crate) zone: &'static str,
    pub(crate) channel: Channel,
    pub(crate) category: &'static str,
    pub(crate) billing: BillingEvent,
    /// For one billed event, also where 1,000 are bid on.
    pub(crate) bid: i64,
    /// Daily and lifetime budget of the campaign.
    pub(crate) campaign: (Option<i64>, Option<i64>),
    /// Daily and lifetime budget of the ad set.
    pub(crate) ad_set: (Option<i64>, Option<i64>),
    pub(crate) spend_limit: Option<i64>,
    pub(crate) caps: Vec<FrequencyCap>,
    pub(crate) targeting: Targeting,
    pub(crate) start: Option<i64>,
    pub(crate) end: Option<i64>,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            tenant: TENANT,
            currency: "MXN",
            zone: "UTC",
            channel: Channel::Telegram,
            category: "",
            billing: BillingEvent::Impressions,
            bid: 1_000_000,
            campaign: (Some(1_000_000_000_000), None),
            ad_set: (None, None),
            spend_limit: None,
            caps: Vec::new(),
            targeting: Targeting::default(),
            start: None,
            end: None,
        }
    }
}

/// An advertiser's things by their ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shop {
    pub(crate) tenant: u32,
    pub(crate) account: u64,
    pub(crate) business: u64,
    pub(crate) endpoint: u64,
    pub(crate) campaign: u64,
    pub(crate) ad_set: u64,
    pub(crate) ad: u64,
}

impl Offer {
    pub(crate) fn money(&self, micros: i64) -> Money {
        Money { micros, currency: self.currency.into() }
    }

    pub(crate) fn budget(&self, (daily, lifetime): (Option<i64>, Option<i64>)) -> Option<Budget> {
        let money = |micros: Option<i64>| micros.map(|micros| self.money(micros));
        let some = daily.is_some() || lifetime.is_some();
        some.then(|| Budget { daily: money(daily), lifetime: money(lifetime) })
    }

    /// Returns the account to create.
    pub(crate) fn account_row(&self) -> Account {
        Account {
            name: "Tacos el Rey".into(),
            currency: self.currency.into(),
            time_zone: self.zone.into(),
            spend_limit: self.spend_limit.map(|micros| self.money(micros)),
            ..Account::default()
        }
    }

    /// Returns the campaign to create.
    pub(crate) fn campaign_row(&self, account_id: u64) -> Campaign {
        Campaign {
            account_id,
            name: "Lunch".into(),
            objective: Objective::OutcomeEngagement.into(),
            budget: self.budget(self.campaign),
            ..Campaign::default()
        }
    }

    /// Returns the ad set to create.
    pub(crate) fn ad_set_row(&self, campaign_id: u64) -> AdSet {
        let time = |seconds: Option<i64>| {
            seconds.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 })
        };
        let many = if self.billing == BillingEvent::Impressions { 1_000 } else { 1 };
        AdSet {
            campaign_id,
            name: "Mexico".into(),
            targeting: Some(self.targeting.clone()),
            billing_event: self.billing.into(),
            bid: Some(self.money(self.bid * many)),
            budget: self.budget(self.ad_set),
            frequency_caps: self.caps.clone(),
            start_time: time(self.start),
            end_time: time(self.end),
            ..AdSet::default()
        }
    }

    /// Returns the ad to create.
    pub(crate) fn ad_row(&self, ad_set_id: u64, endpoint_id: u64) -> Ad {
        let creative = Creative { primary_text: "Two for one".into(), ..Creative::default() };
        let prefilled_text = "Hi".into();
        Ad {
            ad_set_id,
            name: "Two for one".into(),
            creative: Some(creative),
            destination: Some(ChatDestination {
                endpoint_id,
                prefilled_text,
                ..Default::default()
            }),
            ..Ad::default()
        }
    }
}

impl Stage {
    /// Returns a write by a tenant, its body hashed as a door would: same body, same hash.
    pub(crate) fn writing(tenant: u32, request_id: &str, change: Change) -> Mutation {
        let mut body_hash = [0; 16];
        let text = format!("{change:?}");
        text.bytes().enumerate().for_each(|(index, byte)| {
            let place: &mut u8 = &mut body_hash[index % 16];
            *place = place.rotate_left(3) ^ byte;
        });
        let request_id = request_id.to_owned();
        let (any_tenant, validate_only) = (false, false);
        let by = Author::default();
        Mutation {
            tenant,
            any_tenant,
            request_id,
            body_hash,
            by,
            validate_only,
            change,
            approve: true,
        }
    }

    pub(crate) fn try_create(&mut self, tenant: u32, row: Resource) -> Result<u64, Refusal> {
        let request_id = self.fresh_id();
        let written = self.mutate(Self::writing(tenant, &request_id, Change::Create(row)))?;
        Ok(written.id())
    }

    pub(crate) fn create(&mut self, tenant: u32, row: Resource) -> u64 {
        self.try_create(tenant, row).unwrap()
    }

    pub(crate) fn try_update(
        &mut self,
        tenant: u32,
        row: Resource,
        mask: &[&str],
    ) -> Result<Resource, Refusal> {
        let request_id = self.fresh_id();
        let mask = mask.iter().map(|field| (*field).to_owned()).collect();
        self.mutate(Self::writing(tenant, &request_id, Change::Update(row, mask)))
    }

    pub(crate) fn update(&mut self, tenant: u32, row: Resource, mask: &[&str]) -> Resource {
        self.try_update(tenant, row, mask).unwrap()
    }

    /// Creates an advertiser with one live ad.
    pub(crate) fn shop(&mut self, offer: &Offer) -> Shop {
        let account = self.create(offer.tenant, Resource::Account(offer.account_row()));
        self.shop_in(account, offer)
    }

    /// Creates everything below an account.
    pub(crate) fn shop_in(&mut self, account: u64, offer: &Offer) -> Shop {
        self.shop_of(account, offer, |_| {})
    }

    /// Creates everything below an account, its ad set changed before it is written.
    pub(crate) fn shop_of(
        &mut self,
        account: u64,
        offer: &Offer,
        change: impl Fn(&mut AdSet),
    ) -> Shop {
        let tenant = offer.tenant;
        let business = Business {
            account_id: account,
            name: "Tacos el Rey".into(),
            category: offer.category.into(),
            ..Business::default()
        };
        let business = self.create(tenant, Resource::Business(business));
        let address = match offer.channel {
            Channel::Telegram => "tacos_bot",
            _ => "+5215512345678",
        };
        let endpoint = ChannelEndpoint {
            business_id: business,
            channel: offer.channel.into(),
            address: address.into(),
            channel_business_id: CHANNEL_BUSINESS.into(),
            ..ChannelEndpoint::default()
        };
        let endpoint = self.create(tenant, Resource::Endpoint(endpoint));
        let campaign = self.create(tenant, Resource::Campaign(offer.campaign_row(account)));
        let mut row = offer.ad_set_row(campaign);
        change(&mut row);
        let ad_set = self.create(tenant, Resource::AdSet(row));
        let ad = self.create(tenant, Resource::Ad(offer.ad_row(ad_set, endpoint)));
        Shop { tenant, account, business, endpoint, campaign, ad_set, ad }
    }
}
