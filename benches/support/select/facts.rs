//! The ads as the engine keeps them: a catalog of whole messages, applied fact by fact as they are drawn.

use munadi::state::Stamp;
use munadi::state::catalog::Catalog;
use munadi::types::ids::{IdKind, Seq, Shard, mint};
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{
    AccountPut, AdPut, AdSetPut, BusinessPut, CampaignPut, EndpointPut,
};
use munadi::types::proto::v1;
use munadi::types::request::Profile;
use munadi::types::time::Moment;

use crate::support::select::spec::{Billing, COUNTRIES, LANGUAGES, Query, Spec};

/// When everything happens.
pub(crate) const NOW: Moment = Moment(1_800_000_000_000);

/// Ads of one business, which has one account, one number to write to and one campaign. Each has an ad set
/// of its own.
const ADS_PER_BUSINESS: u64 = 10;

/// What every account pays in.
pub(crate) const CURRENCY: &str = "USD";

/// The countries' codes, by number.
pub(crate) const COUNTRY_CODES: [&str; COUNTRIES] = [
    "IN", "BR", "MX", "ID", "US", "NG", "DE", "ES", "EG", "TR", "PK", "GB", "CO", "AR", "IT", "ZA",
    "FR", "PE", "MY", "SA", "KE", "CL", "VE", "MA", "IR", "IQ", "AE", "NL", "EC", "GH", "GT", "DO",
    "PT", "BO", "LK", "NP", "BD", "TZ", "UG", "SN", "CI", "CM", "HN", "SV", "PY", "UY", "CR", "PA",
    "IL", "CH",
];

/// The languages' codes, by number.
pub(crate) const LANGUAGE_CODES: [&str; LANGUAGES] = [
    "en", "hi", "pt", "es", "id", "ha", "de", "ar", "tr", "ur", "it", "fr", "ms", "sw", "fa", "nl",
    "si", "ne", "bn", "he",
];

const AGE_FROM: [u32; 7] = [13, 18, 25, 35, 45, 55, 65];
const AGE_TO: [u32; 7] = [17, 24, 34, 44, 54, 64, 0];

/// Returns the catalog of these ads.
pub(crate) fn catalog(specs: impl Iterator<Item = Spec>) -> Catalog {
    let mut writer = Writer::default();
    for (number, spec) in (1..).zip(specs) {
        if number % ADS_PER_BUSINESS == 1 {
            writer.business(business_of(number));
        }
        writer.ad(number, &spec);
    }
    writer.catalog
}

/// Returns the number of the business that an ad is of.
pub(crate) const fn business_of(ad: u64) -> u64 {
    1 + (ad - 1) / ADS_PER_BUSINESS
}

/// Returns the id of the nth ad, counted from 0.
pub(crate) const fn ad_id(index: usize) -> u64 {
    mint(IdKind::Ad, index as u64 + 1)
}

#[derive(Default)]
struct Writer {
    catalog: Catalog,
    seq: u64,
}

impl Writer {
    fn put(&mut self, fact: Kind) {
        self.seq += 1;
        self.catalog.apply(Stamp { shard: Shard::CATALOG, seq: Seq(self.seq), at: NOW }, &fact);
    }

    fn business(&mut self, number: u64) {
        let (id, account_id) = (mint(IdKind::Business, number), mint(IdKind::Account, number));
        let account = v1::Account {
            id: account_id,
            name: format!("Account {number}"),
            currency: CURRENCY.to_owned(),
            time_zone: "America/Mexico_City".to_owned(),
            ..Default::default()
        };
        self.put(Kind::AccountPut(Box::new(AccountPut { tenant: 1, account: Some(account) })));
        let business = v1::Business {
            id,
            account_id,
            name: format!("Panaderia {number}"),
            category: format!("category-{}", number % 40),
            ..Default::default()
        };
        self.put(Kind::BusinessPut(Box::new(BusinessPut { business: Some(business) })));
        let endpoint = v1::ChannelEndpoint {
            id: mint(IdKind::Endpoint, number),
            business_id: id,
            channel: v1::Channel::Whatsapp.into(),
            address: format!("52155{number:08}"),
            ..Default::default()
        };
        self.put(Kind::EndpointPut(Box::new(EndpointPut { endpoint: Some(endpoint) })));
        let campaign = v1::Campaign {
            id: mint(IdKind::Campaign, number),
            account_id,
            name: format!("Campaign {number}"),
            objective: v1::Objective::OutcomeEngagement.into(),
            ..Default::default()
        };
        self.put(Kind::CampaignPut(Box::new(CampaignPut { campaign: Some(campaign) })));
    }

    fn ad(&mut self, number: u64, spec: &Spec) {
        let parent = business_of(number);
        let ad_set_id = mint(IdKind::AdSet, number);
        let ad_set = v1::AdSet {
            id: ad_set_id,
            campaign_id: mint(IdKind::Campaign, parent),
            name: format!("Ad set {number}"),
            ..ad_set(spec)
        };
        self.put(Kind::AdSetPut(Box::new(AdSetPut { ad_set: Some(ad_set) })));
        let ad = v1::Ad {
            id: mint(IdKind::Ad, number),
            ad_set_id,
            ..ad(number, mint(IdKind::Endpoint, parent))
        };
        self.put(Kind::AdPut(Box::new(AdPut { ad: Some(ad) })));
    }
}

/// Returns an ad set without its place in the catalog.
pub(crate) fn ad_set(spec: &Spec) -> v1::AdSet {
    let billing = match spec.billing {
        Billing::Impressions => v1::BillingEvent::Impressions,
        Billing::Taps => v1::BillingEvent::LinkClicks,
        Billing::Chats => v1::BillingEvent::Conversations,
    };
    v1::AdSet {
        targeting: Some(targeting(spec)),
        billing_event: billing.into(),
        bid: Some(money(spec.bid)),
        ..Default::default()
    }
}

/// Returns an ad without its place in the catalog: as long as real ones are.
pub(crate) fn ad(number: u64, endpoint_id: u64) -> v1::Ad {
    v1::Ad {
        name: format!("Ad {number}"),
        creative: Some(v1::Creative {
            primary_text: "Fresh bread, baked while you sleep. Write to us before nine and it is \
                           at your door by ten."
                .to_owned(),
            headline: "Bread at your door".to_owned(),
            media_url: format!("https://media.example/bread/{number}.jpg"),
            media_sha256: vec![7; 32],
            ..Default::default()
        }),
        destination: Some(v1::ChatDestination {
            endpoint_id,
            prefilled_text: "Hello! I would like to order.".to_owned(),
            ..v1::ChatDestination::default()
        }),
        ..Default::default()
    }
}

fn targeting(spec: &Spec) -> v1::Targeting {
    let code = |number: u8, codes: &[&str]| match number {
        0 => Vec::new(),
        _ => vec![codes[usize::from(number) - 1].to_owned()],
    };
    let some = |number: u32| if number == 0 { Vec::new() } else { vec![number] };
    let (age_min, age_max) = match spec.ages {
        (0, _) => (0, 0),
        (first, last) => (AGE_FROM[usize::from(first) - 1], AGE_TO[usize::from(last) - 1]),
    };
    let any_of: Vec<u32> = spec.interests().iter().map(|interest| (*interest).into()).collect();
    let interests = if any_of.is_empty() { Vec::new() } else { vec![v1::InterestGroup { any_of }] };
    let segments = if spec.segment == 0 {
        Vec::new()
    } else {
        vec![v1::SegmentGroup { any_of: vec![spec.segment] }]
    };
    v1::Targeting {
        countries: code(spec.country, &COUNTRY_CODES),
        languages: code(spec.language, &LANGUAGE_CODES),
        age_min,
        age_max,
        genders: if spec.gender == 0 { Vec::new() } else { vec![spec.gender.into()] },
        cities: some(spec.city),
        interests,
        segments,
        excluded_segments: some(spec.excluded_segment),
        ..Default::default()
    }
}

/// Returns an amount in the accounts' currency.
pub(crate) fn money(micros: i64) -> v1::Money {
    v1::Money { micros, currency: CURRENCY.to_owned() }
}

/// Returns a viewer as the door hands it on.
pub(crate) fn profile(query: &Query) -> Profile {
    let letters = |text: &str| text.bytes().fold(0, |code, byte| code << 8 | u16::from(byte));
    let language = |number: &u8| letters(LANGUAGE_CODES[usize::from(*number) - 1]);
    Profile {
        country: letters(COUNTRY_CODES[usize::from(query.country) - 1]),
        city: query.city,
        languages: query.languages.iter().map(language).collect(),
        age_band: query.age,
        gender: query.gender,
        os: v1::Os::Android as u8,
        device_class: v1::DeviceClass::Phone as u8,
        connection: v1::Connection::Cellular4g as u8,
        recency: v1::ViewerRecency::Returning as u8,
        interests: query.interests.clone(),
        segments: query.segments.clone(),
        ..Profile::default()
    }
}
