//! The live ads: a hundred advertisers with varied targeting, made through `CampaignService`.
//!
//! No ad set has a frequency cap and no budget runs out: what is measured is the plain path.

use munadi::types::proto::v1;
use munadi::types::proto::v1::campaign_service_client::CampaignServiceClient;
use munadi::types::proto::v1::{BillingEvent, Channel as ChatChannel};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

use crate::Failure;
use crate::support::child::Target;
use crate::support::requests::{COUNTRIES, LANGUAGES, interest};

const CURRENCY: &str = "USD";
const ADVERTISERS: u32 = 100;
const CATEGORIES: u32 = 25;
const MICROS_PER_UNIT: i64 = 1_000_000;

/// Creates so many live ads, each in an ad set of its own, spread evenly over the advertisers.
pub(crate) async fn create(target: &Target, ads: u32) -> Result<(), Failure> {
    let channel = Channel::from_shared(format!("http://{}", target.address))?.connect().await?;
    let key: AsciiMetadataValue = format!("Bearer {}", target.key).parse()?;
    let mut advertisers = JoinSet::new();
    for number in 0..ADVERTISERS.min(ads) {
        let advertiser = Advertiser {
            number,
            client: CampaignServiceClient::new(channel.clone()),
            key: key.clone(),
            dice: Xoshiro256PlusPlus::seed_from_u64(u64::from(number)),
        };
        let share = (ads - number).div_ceil(ADVERTISERS);
        advertisers.spawn(advertiser.advertise(share));
    }
    while let Some(created) = advertisers.join_next().await {
        created??;
    }
    Ok(())
}

struct Advertiser {
    number: u32,
    client: CampaignServiceClient<Channel>,
    key: AsciiMetadataValue,
    dice: Xoshiro256PlusPlus,
}

impl Advertiser {
    async fn advertise(mut self, ads: u32) -> Result<(), Failure> {
        let account_id = self.account().await?;
        let endpoint_id = self.endpoint(account_id).await?;
        let campaign_id = self.campaign(account_id).await?;
        for ad in 0..ads {
            let ad_set_id = self.ad_set(campaign_id, ad).await?;
            self.ad(ad_set_id, endpoint_id, ad).await?;
        }
        Ok(())
    }

    async fn account(&mut self) -> Result<u64, Failure> {
        let account = v1::Account {
            name: format!("Account {}", self.number),
            currency: CURRENCY.to_owned(),
            time_zone: "America/Mexico_City".to_owned(),
            ..v1::Account::default()
        };
        let request = self.with_key(v1::CreateAccountRequest {
            request_id: format!("account-{}", self.number),
            account: Some(account),
            validate_only: false,
        });
        let created = self.client.create_account(request).await?.into_inner();
        Ok(created.account.ok_or("no account")?.id)
    }

    /// Creates the business and the number it is written to.
    async fn endpoint(&mut self, account_id: u64) -> Result<u64, Failure> {
        let business = v1::Business {
            account_id,
            name: format!("Panaderia {}", self.number),
            category: format!("category-{}", self.number % CATEGORIES),
            ..v1::Business::default()
        };
        let request = self.with_key(v1::CreateBusinessRequest {
            request_id: format!("business-{}", self.number),
            business: Some(business),
            validate_only: false,
        });
        let created = self.client.create_business(request).await?.into_inner();
        let endpoint = v1::ChannelEndpoint {
            business_id: created.business.ok_or("no business")?.id,
            channel: ChatChannel::Whatsapp.into(),
            address: format!("52155{:08}", self.number),
            ..v1::ChannelEndpoint::default()
        };
        let request = self.with_key(v1::CreateChannelEndpointRequest {
            request_id: format!("endpoint-{}", self.number),
            channel_endpoint: Some(endpoint),
            validate_only: false,
        });
        let created = self.client.create_channel_endpoint(request).await?.into_inner();
        Ok(created.channel_endpoint.ok_or("no endpoint")?.id)
    }

    async fn campaign(&mut self, account_id: u64) -> Result<u64, Failure> {
        let campaign = v1::Campaign {
            account_id,
            name: format!("Campaign {}", self.number),
            objective: v1::Objective::OutcomeEngagement.into(),
            budget: Some(v1::Budget {
                daily: Some(money(10_000_000 * MICROS_PER_UNIT)),
                lifetime: None,
            }),
            ..v1::Campaign::default()
        };
        let request = self.with_key(v1::CreateCampaignRequest {
            request_id: format!("campaign-{}", self.number),
            campaign: Some(campaign),
            validate_only: false,
        });
        let created = self.client.create_campaign(request).await?.into_inner();
        Ok(created.campaign.ok_or("no campaign")?.id)
    }

    async fn ad_set(&mut self, campaign_id: u64, number: u32) -> Result<u64, Failure> {
        let (billing_event, bid) = self.bid();
        let ad_set = v1::AdSet {
            campaign_id,
            name: format!("Ad set {number}"),
            targeting: Some(self.targeting()),
            billing_event: billing_event.into(),
            bid: Some(money(bid)),
            ..v1::AdSet::default()
        };
        let request = self.with_key(v1::CreateAdSetRequest {
            request_id: format!("ad-set-{}-{number}", self.number),
            ad_set: Some(ad_set),
            validate_only: false,
        });
        let created = self.client.create_ad_set(request).await?.into_inner();
        Ok(created.ad_set.ok_or("no ad set")?.id)
    }

    async fn ad(&mut self, ad_set_id: u64, endpoint_id: u64, number: u32) -> Result<(), Failure> {
        let ad = v1::Ad {
            ad_set_id,
            name: format!("Ad {number}"),
            creative: Some(v1::Creative {
                primary_text: "Fresh bread, baked while you sleep. Write to us before nine and it is at your door by ten.".to_owned(),
                headline: "Bread at your door".to_owned(),
                media_url: format!("https://media.example/bread/{}/{number}.jpg", self.number),
                media_sha256: vec![7; 32],
                ..Default::default()
            }),
            destination: Some(v1::ChatDestination {
                endpoint_id,
                prefilled_text: "Hello! I would like to order.".to_owned(),
            }),
            ..v1::Ad::default()
        };
        let request = self.with_key(v1::CreateAdRequest {
            request_id: format!("ad-{}-{number}", self.number),
            ad: Some(ad),
            validate_only: false,
        });
        self.client.create_ad(request).await?;
        Ok(())
    }

    /// Draws what is paid for, and a ceiling that fits it.
    fn bid(&mut self) -> (BillingEvent, i64) {
        let cents = self.dice.random_range(100..=1_000);
        match self.dice.random_range(0..10) {
            0..6 => (BillingEvent::Impressions, cents * 10_000),
            6..8 => (BillingEvent::LinkClicks, cents * 1_000),
            _ => (BillingEvent::Conversations, cents * 5_000),
        }
    }

    /// Draws a targeting: 60 % by country, a third by age, some by language, interests and others.
    fn targeting(&mut self) -> v1::Targeting {
        let dice = &mut self.dice;
        let mut targeting = v1::Targeting::default();
        let place = dice.random_range(0..10).min(dice.random_range(0..10));
        if dice.random_bool(0.6) {
            targeting.countries.push(COUNTRIES[place].to_owned());
        }
        if dice.random_bool(0.3) {
            targeting.languages.push(LANGUAGES[place].to_owned());
        }
        if dice.random_bool(0.35) {
            targeting.age_min = *[18, 25, 35].choose(dice).expect("not empty");
            targeting.age_max = *[0, 44, 54, 64].choose(dice).expect("not empty");
        }
        if dice.random_bool(0.2) {
            targeting.genders.push(dice.random_range(1..=2));
        }
        if dice.random_bool(0.2) {
            targeting.os.push(dice.random_range(1..=2));
        }
        if dice.random_bool(0.25) {
            let mut any_of: Vec<u32> = (0..4).map(|_| interest(dice)).collect();
            any_of.sort_unstable();
            any_of.dedup();
            targeting.interests.push(v1::InterestGroup { any_of });
        }
        if dice.random_bool(0.1) {
            targeting.excluded_interests.push(interest(dice));
        }
        targeting
    }

    fn with_key<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.key.clone());
        request
    }
}

fn money(micros: i64) -> v1::Money {
    v1::Money { micros, currency: CURRENCY.to_owned() }
}
