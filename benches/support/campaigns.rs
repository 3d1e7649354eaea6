//! The live ads: ten of each advertiser, with varied targeting, written to the node itself. A million of
//! them through the door would take an hour.
//!
//! No ad set has a frequency cap and no budget runs out: what is measured is the plain path.

use munadi::types::proto::v1;
use munadi::types::proto::v1::{BillingEvent, Channel as ChatChannel};
use munadi::types::request::Resource;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::Failure;
use crate::support::market::Market;
use crate::support::requests::{COUNTRIES, LANGUAGES, interest};

const CURRENCY: &str = "USD";
const ADS_PER_ADVERTISER: u32 = 10;
/// However few ads there are: so many that separation leaves enough of them.
const ADVERTISERS_MIN: u32 = 100;
/// What the businesses do.
const CATEGORIES: [&str; 25] = [
    "restaurants",
    "clothing",
    "travel",
    "banking",
    "education",
    "beauty",
    "groceries",
    "electronics",
    "health",
    "real_estate",
    "automotive",
    "events",
    "hotels",
    "insurance",
    "jewelry",
    "fitness",
    "games",
    "music",
    "books",
    "furniture",
    "pets",
    "toys",
    "pharmacy",
    "flowers",
    "cafes",
];
const MICROS_PER_UNIT: i64 = 1_000_000;
/// Advertisers that are written together.
const TOGETHER: usize = 1_000;

/// Creates so many live ads, each in an ad set of its own, spread evenly over the advertisers.
pub(crate) fn create(market: &Market, ads: u32) -> Result<(), Failure> {
    let advertisers = (ads / ADS_PER_ADVERTISER).max(ADVERTISERS_MIN).min(ads);
    let numbers: Vec<u32> = (0..advertisers).collect();
    for together in numbers.chunks(TOGETHER) {
        let share = |number: &u32| (ads - number).div_ceil(advertisers);
        advertise(market, together, share)?;
    }
    Ok(())
}

/// Creates these advertisers, and of each the share of ads that this says.
fn advertise(market: &Market, numbers: &[u32], share: impl Fn(&u32) -> u32) -> Result<(), Failure> {
    let accounts = market.create(numbers.iter().map(account).collect())?;
    let owned = || numbers.iter().zip(&accounts);
    let business = |(number, account): (&u32, &u64)| business(*number, *account);
    let businesses = market.create(owned().map(business).collect())?;
    let endpoint = |(number, business): (&u32, &u64)| endpoint(*number, *business);
    let endpoints = numbers.iter().zip(&businesses).map(endpoint).collect();
    let endpoints = market.create(endpoints)?;
    let campaign = |(number, account): (&u32, &u64)| campaign(*number, *account);
    let campaigns = market.create(owned().map(campaign).collect())?;
    let (mut ad_sets, mut places) = (Vec::new(), Vec::new());
    for ((number, campaign), endpoint) in numbers.iter().zip(&campaigns).zip(&endpoints) {
        let mut dice = Xoshiro256PlusPlus::seed_from_u64(u64::from(*number));
        for ad in 0..share(number) {
            ad_sets.push(ad_set(&mut dice, *campaign, ad));
            places.push((*number, *endpoint, ad));
        }
    }
    let ad_sets = market.create(ad_sets)?;
    let ad = |(ad_set, (number, endpoint, ad)): (u64, (u32, u64, u32))| {
        self::ad(ad_set, number, endpoint, ad)
    };
    market.create(ad_sets.into_iter().zip(places).map(ad).collect())?;
    Ok(())
}

fn account(number: &u32) -> Resource {
    Resource::Account(v1::Account {
        name: format!("Account {number}"),
        currency: CURRENCY.to_owned(),
        time_zone: "America/Mexico_City".to_owned(),
        ..v1::Account::default()
    })
}

fn business(number: u32, account_id: u64) -> Resource {
    Resource::Business(v1::Business {
        account_id,
        name: format!("Panaderia {number}"),
        category: CATEGORIES[number as usize % CATEGORIES.len()].to_owned(),
        ..v1::Business::default()
    })
}

/// Returns the number that a business is written to.
fn endpoint(number: u32, business_id: u64) -> Resource {
    Resource::Endpoint(v1::ChannelEndpoint {
        business_id,
        channel: ChatChannel::Whatsapp.into(),
        address: format!("52155{number:08}"),
        ..v1::ChannelEndpoint::default()
    })
}

fn campaign(number: u32, account_id: u64) -> Resource {
    Resource::Campaign(v1::Campaign {
        account_id,
        name: format!("Campaign {number}"),
        objective: v1::Objective::OutcomeEngagement.into(),
        budget: Some(v1::Budget {
            daily: Some(money(10_000_000 * MICROS_PER_UNIT)),
            lifetime: None,
        }),
        ..v1::Campaign::default()
    })
}

fn ad_set(dice: &mut Xoshiro256PlusPlus, campaign_id: u64, number: u32) -> Resource {
    let (billing_event, bid) = bid(dice);
    Resource::AdSet(v1::AdSet {
        campaign_id,
        name: format!("Ad set {number}"),
        targeting: Some(targeting(dice)),
        billing_event: billing_event.into(),
        bid: Some(money(bid)),
        ..v1::AdSet::default()
    })
}

fn ad(ad_set_id: u64, advertiser: u32, endpoint_id: u64, number: u32) -> Resource {
    Resource::Ad(v1::Ad {
        ad_set_id,
        name: format!("Ad {number}"),
        creative: Some(v1::Creative {
            primary_text: "Fresh bread, baked while you sleep. Write to us before nine and it is at your door by ten.".to_owned(),
            headline: "Bread at your door".to_owned(),
            media_url: format!("https://media.example/bread/{advertiser}/{number}.jpg"),
            media_sha256: vec![7; 32],
            ..Default::default()
        }),
        destination: Some(v1::ChatDestination {
            endpoint_id,
            prefilled_text: "Hello! I would like to order.".to_owned(),
            ..v1::ChatDestination::default()
        }),
        ..v1::Ad::default()
    })
}

/// Draws what is paid for, and a ceiling that fits it.
fn bid(dice: &mut Xoshiro256PlusPlus) -> (BillingEvent, i64) {
    let cents = dice.random_range(100..=1_000);
    match dice.random_range(0..10) {
        0..6 => (BillingEvent::Impressions, cents * 10_000),
        6..8 => (BillingEvent::LinkClicks, cents * 1_000),
        _ => (BillingEvent::Conversations, cents * 5_000),
    }
}

/// Draws a targeting: 60 % by country, a third by age, some by language, interests and others.
fn targeting(dice: &mut Xoshiro256PlusPlus) -> v1::Targeting {
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

fn money(micros: i64) -> v1::Money {
    v1::Money { micros, currency: CURRENCY.to_owned() }
}
