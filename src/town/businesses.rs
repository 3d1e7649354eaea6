//! Who advertises in the demo's town: four advertisers, their businesses, and campaigns of every shape
//! that the engine knows, some of them too poor for the whole day.

use prost_types::Timestamp;

use crate::town::dice::{CERTAIN, Concern, Dice};
use crate::town::lines::Line;
use crate::town::places::{CATEGORIES, CHANNELS, PLACES, PLAN_KEY, PLANS, Place, SEGMENTS, city};
use crate::town::wire::timestamp;
use crate::types::money::CPM_STEP_MICROS;
use crate::types::proto::v1;
use crate::types::request::Resource;
use crate::types::time::{HOUR_MS, Moment};

/// How many advertisers (tenants) the demo's town has.
pub const ADVERTISERS: usize = MARKETS.len();

/// The town that the budgets below were chosen for; a larger one has larger budgets.
const VIEWERS_USUAL: i64 = 20_000;

/// Impressions that a conversation is worth: about one view in 60 is tapped, and two taps in three open a
/// chat.
const CHAT_CPMS: i64 = 90;

/// The highest bid, in hundredths of what the market pays.
const BID_PERCENT_MAX: i64 = 150;

/// One advertiser: where it sells, and what it pays there.
struct Market {
    name: &'static str,
    countries: &'static [&'static str],
    currency: &'static str,
    time_zone: &'static str,
    /// What 1,000 impressions are worth to it, micros.
    cpm_micros: i64,
    businesses: u64,
}

const MARKETS: [Market; 4] = [
    Market {
        name: "Agencia Centro",
        countries: &["MX"],
        currency: "MXN",
        time_zone: "America/Mexico_City",
        cpm_micros: 60_000_000,
        businesses: 12,
    },
    Market {
        name: "Sarak Media",
        countries: &["IN"],
        currency: "INR",
        time_zone: "Asia/Kolkata",
        cpm_micros: 90_000_000,
        businesses: 13,
    },
    Market {
        name: "Praça",
        countries: &["BR"],
        currency: "BRL",
        time_zone: "America/Sao_Paulo",
        cpm_micros: 18_000_000,
        businesses: 8,
    },
    Market {
        name: "Harbor & Co",
        countries: &["US", "ID", "CO", "AR", "ES", "NG"],
        currency: "USD",
        time_zone: "America/New_York",
        cpm_micros: 3_000_000,
        businesses: 9,
    },
];

/// Returns everything that is advertised in the town on the day from `start`.
pub(crate) fn plan(seed: u64, viewers: usize, start: Moment) -> Vec<Line> {
    let mut plan =
        Plan { seed, viewers: viewers as i64, start, lines: Vec::new(), ad_sets: 0, endpoints: 0 };
    for (tenant, market) in MARKETS.iter().enumerate() {
        (0..market.businesses).for_each(|number| plan.business(tenant, market, number));
    }
    plan.lines
}

/// The list as it grows. The counters run through all markets, so that each shape is met by some.
struct Plan {
    seed: u64,
    viewers: i64,
    start: Moment,
    lines: Vec<Line>,
    ad_sets: u64,
    endpoints: usize,
}

impl Plan {
    fn add(&mut self, tenant: usize, parent: &str, name: String, resource: Resource) -> String {
        let reference = name.clone();
        let (parent, endpoint) = (parent.to_owned(), String::new());
        self.lines.push(Line { reference: name, tenant, parent, endpoint, resource });
        reference
    }

    /// Adds an account: an agency keeps one for each of its clients, since ads of one account never
    /// stand in one tray.
    fn account(&mut self, tenant: usize, market: &Market, number: u64) -> String {
        let account = v1::Account {
            name: format!("{} {}", market.name, number + 1),
            currency: market.currency.to_owned(),
            time_zone: market.time_zone.to_owned(),
            // Some have a limit of their own, below what their campaigns may spend together.
            spend_limit: (number % 6 == 4).then(|| self.impressions(market, 2_000)),
            ..Default::default()
        };
        self.add(tenant, "", format!("account-{tenant}-{number}"), Resource::Account(account))
    }

    /// Returns what that many impressions in the usual town are worth, scaled to this one; at least the
    /// highest bid, which every budget must cover.
    fn impressions(&self, market: &Market, count: i64) -> v1::Money {
        let micros = market.cpm_micros / 1_000 * count * self.viewers / VIEWERS_USUAL;
        let least = market.cpm_micros / 1_000 * CHAT_CPMS * BID_PERCENT_MAX / 100;
        v1::Money { micros: micros.max(least), currency: market.currency.into() }
    }

    fn business(&mut self, tenant: usize, market: &Market, number: u64) {
        let account = self.account(tenant, market, number);
        let mut dice = Dice::new(self.seed, Concern::Businesses, &[tenant as u64, number]);
        let category = (number as usize * 5 + tenant) % CATEGORIES.len();
        let name = format!("{} {} {}", market.name, CATEGORIES[category], number + 1);
        let business = v1::Business {
            name: name.clone(),
            category: CATEGORIES[category].to_owned(),
            ..Default::default()
        };
        let reference = format!("business-{tenant}-{number}");
        let business = self.add(tenant, &account, reference, Resource::Business(business));
        let endpoints: Vec<String> =
            (0..1 + number % 2).map(|_| self.endpoint(tenant, &business)).collect();
        for campaign in 0..1 + (number + 1) % 2 {
            let subject = Subject {
                tenant,
                market,
                category,
                name: format!("{name}, {}", campaign + 1),
                reference: format!("campaign-{tenant}-{number}-{campaign}"),
                endpoints: &endpoints,
            };
            self.campaign(&mut dice, &account, &subject);
        }
    }

    fn endpoint(&mut self, tenant: usize, business: &str) -> String {
        let number = self.endpoints;
        self.endpoints += 1;
        let channel = CHANNELS[number % CHANNELS.len()];
        let endpoint = v1::ChannelEndpoint {
            channel: channel.into(),
            address: address(channel, tenant, number),
            ..Default::default()
        };
        self.add(tenant, business, format!("endpoint-{number}"), Resource::Endpoint(endpoint))
    }

    fn campaign(&mut self, dice: &mut Dice, account: &str, subject: &Subject<'_>) {
        let of_ad_sets = dice.chance(CERTAIN / 4);
        let budget = (!of_ad_sets).then(|| self.budget(dice, subject.market, 700..=4_500));
        let objectives = [
            v1::Objective::OutcomeAwareness,
            v1::Objective::OutcomeTraffic,
            v1::Objective::OutcomeEngagement,
            v1::Objective::OutcomeLeads,
            v1::Objective::OutcomeSales,
        ];
        let campaign = v1::Campaign {
            name: subject.name.clone(),
            objective: (*dice.pick(&objectives)).into(),
            budget,
            ..Default::default()
        };
        let reference = subject.reference.clone();
        let campaign = self.add(subject.tenant, account, reference, Resource::Campaign(campaign));
        for number in 0..1 + dice.below(2) {
            let own = of_ad_sets || dice.chance(CERTAIN / 8);
            let budget = own.then(|| self.budget(dice, subject.market, 400..=2_500));
            self.ad_set(dice, &campaign, number, budget, subject);
        }
    }

    fn budget(
        &self,
        dice: &mut Dice,
        market: &Market,
        impressions: std::ops::RangeInclusive<i64>,
    ) -> v1::Budget {
        let amount = self.impressions(market, dice.between(impressions));
        match dice.weighted(&[55, 20, 25]) {
            0 => v1::Budget { daily: Some(amount), lifetime: None },
            1 => v1::Budget { daily: None, lifetime: Some(amount) },
            // The town lives in two days of most accounts: a lifetime of one and a half days binds.
            _ => {
                let lifetime = v1::Money { micros: amount.micros / 2 * 3, ..amount.clone() };
                v1::Budget { daily: Some(amount), lifetime: Some(lifetime) }
            }
        }
    }

    fn ad_set(
        &mut self,
        dice: &mut Dice,
        campaign: &str,
        number: u64,
        budget: Option<v1::Budget>,
        subject: &Subject<'_>,
    ) {
        let shape = self.ad_sets;
        self.ad_sets += 1;
        let (billing_event, bid) = billing(dice, shape, subject.market);
        let (start_time, end_time) = schedule(dice, shape, self.start);
        let cap = v1::FrequencyCap {
            max_frequency: 1 + dice.below(4) as u32,
            interval_hours: *dice.pick(&[6, 12, 24, 168]),
            event: v1::CapEvent::Impressions.into(),
        };
        let ad_set = v1::AdSet {
            name: format!("{}, set {}", subject.name, number + 1),
            targeting: Some(narrowed(targeting(dice, shape, subject), shape, subject)),
            or_targeting: others(shape, subject),
            billing_event: billing_event.into(),
            bid_strategy: v1::BidStrategy::LowestCostWithBidCap.into(),
            bid: Some(bid),
            budget,
            frequency_caps: if shape.is_multiple_of(2) { vec![cap] } else { Vec::new() },
            start_time,
            end_time,
            ..Default::default()
        };
        let reference = format!("{campaign}-set-{number}");
        let ad_set = self.add(subject.tenant, campaign, reference, Resource::AdSet(ad_set));
        for number in 0..1 + dice.below(2) {
            let reference = format!("{ad_set}-ad-{number}");
            let ad = Resource::Ad(ad(dice, number, subject));
            self.add(subject.tenant, &ad_set, reference, ad);
            let line = self.lines.last_mut().expect("the ad was just added");
            line.endpoint = dice.pick(subject.endpoints).clone();
        }
    }
}

/// What all parts of one campaign share.
struct Subject<'a> {
    tenant: usize,
    market: &'a Market,
    category: usize,
    name: String,
    reference: String,
    endpoints: &'a [String],
}

impl Subject<'_> {
    /// Returns where the market sells first, with its index.
    fn home(&self) -> (usize, &'static Place) {
        let at = |country| PLACES.iter().position(|place| place.country == country);
        let index = at(self.market.countries[0]).expect("every market sells where people live");
        (index, &PLACES[index])
    }
}

/// Returns an address as the channel spells it. The numbers are of ranges that nobody is given.
fn address(channel: v1::Channel, tenant: usize, number: usize) -> String {
    match channel {
        v1::Channel::Whatsapp => format!("1555{tenant}{number:06}"),
        v1::Channel::Rcs => format!("1555{tenant}{number:06}/town_agent_{number}"),
        v1::Channel::Messenger => format!("town.page.{number}"),
        v1::Channel::InstagramDirect => format!("town_shop_{number}"),
        v1::Channel::AppleMessages => format!("urn:biz:00000000-0000-4000-8000-{number:012}"),
        v1::Channel::Telegram => format!("town{number}_bot"),
        v1::Channel::Line => format!("@town{number}"),
        v1::Channel::Unspecified => String::new(),
    }
}

/// Returns what an ad set pays for, and its ceiling for one of them.
fn billing(dice: &mut Dice, shape: u64, market: &Market) -> (v1::BillingEvent, v1::Money) {
    let (event, per_cpm) = match shape % 5 {
        0 | 3 => (v1::BillingEvent::Impressions, 1_000),
        // About one view in 60 is tapped, and two taps in three open a chat.
        1 | 4 => (v1::BillingEvent::LinkClicks, 60),
        _ => (v1::BillingEvent::Conversations, CHAT_CPMS),
    };
    let micros = market.cpm_micros / 1_000 * per_cpm * dice.between(60..=BID_PERCENT_MAX) / 100;
    let micros = micros / CPM_STEP_MICROS * CPM_STEP_MICROS;
    (event, v1::Money { micros, currency: market.currency.to_owned() })
}

/// Returns the span of an ad set: most have none, some begin or end during the town's day.
fn schedule(dice: &mut Dice, shape: u64, start: Moment) -> (Option<Timestamp>, Option<Timestamp>) {
    let mut after = |hours| Some(timestamp(start.plus_ms(dice.between(hours) * HOUR_MS)));
    match shape % 8 {
        3 => (after(8..=14), None),
        5 => (None, after(10..=18)),
        7 => (after(2..=8), after(16..=22)),
        _ => (None, None),
    }
}

fn targeting(dice: &mut Dice, shape: u64, subject: &Subject<'_>) -> v1::Targeting {
    let countries = subject.market.countries;
    let country = *dice.pick(countries);
    let place = PLACES.iter().find(|place| place.country == country);
    let place = place.expect("every market sells where people live");
    let one_in = |dice: &mut Dice, n: u32| dice.chance(CERTAIN / n);
    let interest = subject.category as u32 + 1;
    v1::Targeting {
        countries: countries.iter().map(ToString::to_string).collect(),
        regions: if one_in(dice, 8) { vec![place.regions[0].into()] } else { Vec::new() },
        languages: if one_in(dice, 6) { vec![place.languages[0].into()] } else { Vec::new() },
        age_min: *dice.pick(&[0, 0, 18, 18, 25]),
        age_max: *dice.pick(&[0, 0, 0, 44, 64]),
        genders: if one_in(dice, 8) { vec![v1::Gender::Female.into()] } else { Vec::new() },
        os: if one_in(dice, 10) { vec![v1::Os::Android.into()] } else { Vec::new() },
        placements: match shape % 6 {
            1 => vec![v1::Placement::Status.into()],
            4 => vec![v1::Placement::Status.into(), v1::Placement::Stories.into()],
            _ => Vec::new(),
        },
        interests: if one_in(dice, 7) {
            vec![v1::InterestGroup { any_of: vec![interest, interest % 12 + 1] }]
        } else {
            Vec::new()
        },
        excluded_interests: if one_in(dice, 10) { vec![interest + 20] } else { Vec::new() },
        ..Default::default()
    }
}

/// Returns a targeting narrowed by one of the rarer attributes, so that the town meets each of them.
fn narrowed(wide: v1::Targeting, shape: u64, subject: &Subject<'_>) -> v1::Targeting {
    let (place, home) = subject.home();
    match shape % 14 {
        1 => v1::Targeting { device_classes: vec![v1::DeviceClass::Phone.into()], ..wide },
        2 => {
            let fast =
                [v1::Connection::Wifi, v1::Connection::Cellular4g, v1::Connection::Cellular5g];
            v1::Targeting { connections: fast.map(Into::into).into(), ..wide }
        }
        // Each day from seven in the morning to eleven at night, by the viewer's own clock.
        3 => v1::Targeting {
            hours_of_week: (0..7 * 24).filter(|hour| (7..23).contains(&(hour % 24))).collect(),
            ..wide
        },
        5 => v1::Targeting { cities: vec![city(place, 0), city(place, 1)], ..wide },
        6 => {
            let (latitude_e6, longitude_e6) = home.middle;
            let around = v1::Radius { latitude_e6, longitude_e6, meters: 25_000 };
            v1::Targeting { radii: vec![around], cities: vec![city(place, 1)], ..wide }
        }
        8 => v1::Targeting {
            key_values: vec![plans(&PLANS)],
            excluded_segments: vec![1, 2, 3],
            ..wide
        },
        9 => v1::Targeting {
            os: vec![v1::Os::Android.into()],
            os_version: Some(v1::VersionRange { min: "11".into(), max: String::new() }),
            ..wide
        },
        11 => v1::Targeting {
            app_version: Some(v1::VersionRange { min: "2.23".into(), max: "2.26.99".into() }),
            excluded_key_values: vec![plans(&PLANS[..1])],
            ..wide
        },
        12 => v1::Targeting { viewer_recency: v1::ViewerRecency::Returning.into(), ..wide },
        _ => wide,
    }
}

fn plans(plans: &[&str]) -> v1::KeyValues {
    let any_of = plans.iter().map(ToString::to_string).collect();
    v1::KeyValues { key: PLAN_KEY.to_owned(), any_of }
}

/// Returns who else may see the ads of some ad sets: people in a segment, and everyone in one region.
fn others(shape: u64, subject: &Subject<'_>) -> Vec<v1::Targeting> {
    if shape % 7 != 4 {
        return Vec::new();
    }
    let (_, home) = subject.home();
    let countries = vec![home.country.to_owned()];
    let segments = vec![v1::SegmentGroup { any_of: (1..=SEGMENTS / 2).collect() }];
    let regions = vec![home.regions[0].to_owned()];
    vec![
        v1::Targeting { countries: countries.clone(), segments, ..Default::default() },
        v1::Targeting { countries, regions, age_min: 18, ..Default::default() },
    ]
}

fn ad(dice: &mut Dice, number: u64, subject: &Subject<'_>) -> v1::Ad {
    let with_media = dice.chance(CERTAIN / 3 * 2);
    let hash: Vec<u8> = (0..4).flat_map(|_| dice.number().to_be_bytes()).collect();
    v1::Ad {
        name: format!("{}, ad {}", subject.name, number + 1),
        creative: Some(v1::Creative {
            primary_text: format!("{}: write to us, we answer.", subject.name),
            headline: CATEGORIES[subject.category].to_owned(),
            media_url: if with_media {
                format!("https://media.example/{}-{number}.mp4", subject.reference)
            } else {
                String::new()
            },
            media_sha256: if with_media { hash } else { Vec::new() },
            ..Default::default()
        }),
        destination: Some(v1::ChatDestination {
            endpoint_id: 0,
            prefilled_text: if dice.chance(CERTAIN / 2) { "Hola!".into() } else { String::new() },
            ..v1::ChatDestination::default()
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::town::lines::Kind;

    const START: Moment = Moment(1_780_272_000_000);

    #[test]
    fn the_same_seed_gives_the_same_businesses() {
        assert_eq!(plan(7, 20_000, START), plan(7, 20_000, START));
        assert_ne!(plan(7, 20_000, START), plan(8, 20_000, START));
    }

    #[test]
    fn every_parent_stands_before_its_children_and_names_are_short_enough() {
        let mut known = BTreeSet::new();
        for line in plan(7, 20_000, START) {
            let kind = Kind::of(&line.resource);
            if let Some(parent) = kind.parent() {
                assert!(known.contains(&(parent, line.parent.clone())), "{line:?}");
            }
            if kind == Kind::Ad {
                assert!(known.contains(&(Kind::Endpoint, line.endpoint.clone())), "{line:?}");
            }
            assert!(line.reference.len() <= 40 && known.insert((kind, line.reference)));
        }
    }

    #[test]
    fn the_town_has_every_shape() {
        let (mut billing, mut channels, mut capped, mut timed) =
            (BTreeSet::new(), BTreeSet::new(), 0, 0);
        for line in plan(7, 20_000, START) {
            match line.resource {
                Resource::Endpoint(endpoint) => drop(channels.insert(endpoint.channel)),
                Resource::AdSet(ad_set) => {
                    billing.insert(ad_set.billing_event);
                    capped += usize::from(!ad_set.frequency_caps.is_empty());
                    timed += usize::from(ad_set.start_time.is_some() || ad_set.end_time.is_some());
                    assert!(ad_set.bid.unwrap().micros > 0);
                }
                _ => {}
            }
        }
        assert_eq!((billing.len(), channels.len()), (3, 7));
        assert!(capped > 10 && timed > 10, "{capped} capped, {timed} timed");
    }
}
