//! The live ads as serving reads them: one row an ad with everything above it resolved. Immutable; a
//! change makes a new shelf.

use crate::state::Map;
use crate::state::catalog::{Catalog, Family};
use crate::types::hash::fnv1a;
use crate::types::ids::number_of;
use crate::types::proto::v1::{
    AgeBand, BillingEvent, Channel, Creative, EffectiveStatus, Placement, Targeting,
};
use crate::types::request::Profile;
use crate::types::token::pack_region;

/// One live ad.
#[derive(Clone, Debug)]
pub struct Row {
    /// The ad.
    pub ad: u64,
    /// Its ad set.
    pub ad_set: u64,
    /// Its campaign.
    pub campaign: u64,
    /// Its account.
    pub account: u64,
    /// The business it is of.
    pub business: u64,
    /// The endpoint it opens a chat with.
    pub endpoint: u64,
    /// Hash of the business's category; 0: none, never separated.
    pub category: u64,
    /// Whom it may be shown to.
    pub target: Target,
    /// Serving starts, milliseconds.
    pub start_ms: i64,
    /// Serving ends, milliseconds; `i64::MAX`: never.
    pub end_ms: i64,
    /// What is paid for.
    pub billing: BillingEvent,
    /// Ceiling for one billed event (for impressions: 1,000), micros.
    pub bid: i64,
    /// Impressions allowed within the cap's interval; 0: not capped.
    pub cap_max: u32,
    /// The cap's interval, hours.
    pub cap_hours: u16,
    /// What the answer carries.
    pub face: Box<Face>,
}

/// What the answer to the feed carries of an ad.
#[derive(Clone, Debug)]
pub struct Face {
    /// What the viewer sees.
    pub creative: Creative,
    /// Who advertises.
    pub advertiser: String,
    /// Where the chat opens.
    pub channel: Channel,
    /// The endpoint's address there.
    pub address: String,
    /// What the viewer finds typed.
    pub prefilled_text: String,
    /// Which parameters chose the ad.
    pub parameters: Vec<String>,
}

/// Targeting in codes and masks. An empty list or a full mask means "anyone".
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Target {
    countries: Vec<u16>,
    regions: Vec<u32>,
    languages: Vec<u16>,
    ages: u8,
    genders: u8,
    systems: u8,
    placements: u8,
    interests: Vec<Vec<u16>>,
    excluded: Vec<u16>,
}

impl Target {
    /// Returns validated targeting in codes.
    pub fn of(targeting: &Targeting) -> Self {
        let all_or = |mask: u8| if mask == 0 { u8::MAX } else { mask };
        let bits = |values: &[i32]| values.iter().fold(0, |mask, value| mask | 1u8 << (value & 7));
        let mut excluded: Vec<_> =
            targeting.excluded_interests.iter().map(|interest| *interest as u16).collect();
        excluded.sort_unstable();
        Self {
            countries: targeting.countries.iter().map(|text| letters(text)).collect(),
            regions: targeting.regions.iter().map(|text| region(text)).collect(),
            languages: targeting.languages.iter().map(|text| letters(text)).collect(),
            ages: ages(targeting.age_min, targeting.age_max),
            genders: all_or(bits(&targeting.genders)),
            systems: all_or(bits(&targeting.os)),
            placements: all_or(bits(&targeting.placements)),
            interests: targeting
                .interests
                .iter()
                .map(|group| group.any_of.iter().map(|interest| *interest as u16).collect())
                .collect(),
            excluded,
        }
    }

    /// Tells whether an ad may be shown to this viewer here. What the request does not tell never
    /// matches a list that names values.
    pub fn matches(&self, profile: &Profile, placement: Placement) -> bool {
        let at_home = self.countries.is_empty() || self.countries.contains(&profile.country);
        at_home && self.matches_at_home(profile, placement)
    }

    /// Tells the same for a viewer whose country is known to match.
    pub fn matches_at_home(&self, profile: &Profile, placement: Placement) -> bool {
        let region = u32::from(profile.country) << 16 | u32::from(profile.region);
        let any = |wanted: &[u16], told: &[u16]| told.iter().any(|value| wanted.contains(value));
        self.placements >> (placement as u8) & 1 == 1
            && self.ages >> profile.age_band & 1 == 1
            && self.genders >> profile.gender & 1 == 1
            && self.systems >> profile.os & 1 == 1
            && (self.regions.is_empty() || self.regions.contains(&region))
            && (self.languages.is_empty() || any(&self.languages, &profile.languages))
            && self.interests.iter().all(|group| any(group, &profile.interests))
            && !any(&self.excluded, &profile.interests)
    }

    /// Returns the names of the parameters that this targeting uses.
    fn parameters(&self) -> Vec<String> {
        let uses = [
            ("country", !self.countries.is_empty()),
            ("region", !self.regions.is_empty()),
            ("language", !self.languages.is_empty()),
            ("age", self.ages != u8::MAX),
            ("gender", self.genders != u8::MAX),
            ("os", self.systems != u8::MAX),
            ("interests", !self.interests.is_empty() || !self.excluded.is_empty()),
        ];
        uses.iter().filter(|(_, used)| *used).map(|(name, _)| (*name).to_owned()).collect()
    }
}

/// Returns two ASCII letters as a big-endian number.
fn letters(text: &str) -> u16 {
    text.bytes().take(2).fold(0, |code, byte| code << 8 | u16::from(byte))
}

fn region(text: &str) -> u32 {
    let suffix = text.split_once('-').map_or("", |(_, suffix)| suffix);
    u32::from(letters(text)) << 16 | u32::from(pack_region(suffix).unwrap_or_default())
}

/// First and last year of each band, by [`AgeBand`]'s number.
const BANDS: [(AgeBand, u32, u32); 7] = [
    (AgeBand::AgeBand1317, 13, 17),
    (AgeBand::AgeBand1824, 18, 24),
    (AgeBand::AgeBand2534, 25, 34),
    (AgeBand::AgeBand3544, 35, 44),
    (AgeBand::AgeBand4554, 45, 54),
    (AgeBand::AgeBand5564, 55, 64),
    (AgeBand::AgeBand65Up, 65, u32::MAX),
];

fn ages(min: u32, max: u32) -> u8 {
    if min == 0 && max == 0 {
        return u8::MAX;
    }
    let max = if max == 0 { u32::MAX } else { max };
    let inside = BANDS.iter().filter(|(_, from, to)| *from >= min && *to <= max);
    inside.fold(0, |mask, (band, ..)| mask | 1u8 << (*band as u8))
}

impl Row {
    /// Returns the row of a live ad.
    fn of(catalog: &Catalog, family: Family) -> Option<Self> {
        let ad = catalog.ads.get(family.ad)?;
        let ad_set = catalog.ad_sets.get(family.ad_set)?;
        let endpoint = catalog.endpoints.get(family.endpoint)?;
        let business = catalog.businesses.get(family.business)?;
        let target = Target::of(&ad_set.targeting.clone().unwrap_or_default());
        let cap = ad_set.frequency_caps.first().copied().unwrap_or_default();
        let ms = |time: &prost_types::Timestamp| {
            time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000)
        };
        Some(Self {
            ad: ad.id,
            ad_set: ad_set.id,
            campaign: family.campaign,
            account: family.account,
            business: business.id,
            endpoint: endpoint.id,
            category: category(&business.category),
            start_ms: ad_set.start_time.as_ref().map_or(i64::MIN, ms),
            end_ms: ad_set.end_time.as_ref().map_or(i64::MAX, ms),
            billing: ad_set.billing_event(),
            bid: ad_set.bid.as_ref().map_or(0, |bid| bid.micros),
            cap_max: cap.max_frequency,
            cap_hours: cap.interval_hours as u16,
            face: Box::new(Face {
                creative: ad.creative.clone().unwrap_or_default(),
                advertiser: business.name.clone(),
                channel: endpoint.channel(),
                address: endpoint.address.clone(),
                prefilled_text: ad
                    .destination
                    .as_ref()
                    .map_or_else(String::new, |chat| chat.prefilled_text.clone()),
                parameters: target.parameters(),
            }),
            target,
        })
    }
}

fn category(name: &str) -> u64 {
    // Zero stays free for "none".
    if name.is_empty() { 0 } else { fnv1a(name.bytes()).max(1) }
}

/// All live ads at one moment.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    /// Every live ad, in order of creation.
    pub rows: Vec<Row>,
    by_country: Map<u16, Vec<u32>>,
    worldwide: Vec<u32>,
    /// By ad number: where its row is.
    by_ad: Map<u64, u32>,
}

impl Shelf {
    /// Returns the shelf of a catalog's live ads.
    pub fn of(catalog: &Catalog) -> Self {
        let mut shelf = Self::default();
        for ad in catalog.ads.ids_after(0) {
            if catalog.ad_status(ad) != EffectiveStatus::Active {
                continue;
            }
            let family = catalog.family(ad);
            if let Some(row) = family.and_then(|family| Row::of(catalog, family)) {
                shelf.put(row);
            }
        }
        shelf
    }

    fn put(&mut self, row: Row) {
        let index = self.rows.len() as u32;
        let countries = &row.target.countries;
        if countries.is_empty() {
            self.worldwide.push(index);
        }
        for country in countries {
            let listed = self.by_country.entry(*country).or_default();
            if listed.last() != Some(&index) {
                listed.push(index);
            }
        }
        self.by_ad.insert(number_of(row.ad), index);
        self.rows.push(row);
    }

    /// Returns the indexes of all rows that may match in a country; every other row cannot.
    pub fn in_country(&self, country: u16) -> impl Iterator<Item = u32> + '_ {
        let local = self.by_country.get(&country).map_or(&[][..], Vec::as_slice);
        local.iter().chain(&self.worldwide).copied()
    }

    /// Returns the row of a live ad.
    pub fn row(&self, ad: u64) -> Option<&Row> {
        let row = &self.rows[*self.by_ad.get(&number_of(ad))? as usize];
        (row.ad == ad).then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::{Gender, InterestGroup};

    fn profile() -> Profile {
        Profile {
            country: letters("MX"),
            region: pack_region("CMX").expect("a region"),
            languages: vec![letters("es"), letters("en")],
            age_band: AgeBand::AgeBand2534 as u8,
            gender: Gender::Female as u8,
            os: 1,
            interests: vec![3, 9],
            ..Default::default()
        }
    }

    fn matches(targeting: Targeting) -> bool {
        Target::of(&targeting).matches(&profile(), Placement::Status)
    }

    #[test]
    fn empty_targeting_matches_anyone_even_without_a_profile() {
        assert!(matches(Targeting::default()));
        let target = Target::of(&Targeting::default());
        assert!(target.matches(&Profile::default(), Placement::Feed));
    }

    #[test]
    fn each_attribute_includes_and_excludes() {
        let texts = |values: &[&str]| values.iter().map(|text| (*text).to_owned()).collect();
        let base = Targeting::default;
        let cases = [
            (Targeting { countries: texts(&["IN", "MX"]), ..base() }, true),
            (Targeting { countries: texts(&["IN"]), ..base() }, false),
            (Targeting { regions: texts(&["MX-CMX"]), ..base() }, true),
            (Targeting { regions: texts(&["MX-JAL"]), ..base() }, false),
            (Targeting { languages: texts(&["en"]), ..base() }, true),
            (Targeting { languages: texts(&["pt"]), ..base() }, false),
            (Targeting { age_min: 25, age_max: 34, ..base() }, true),
            (Targeting { age_min: 35, ..base() }, false),
            (Targeting { age_max: 24, ..base() }, false),
            (Targeting { genders: vec![Gender::Female.into()], ..base() }, true),
            (Targeting { genders: vec![Gender::Male.into()], ..base() }, false),
            (Targeting { placements: vec![Placement::Feed.into()], ..base() }, false),
            (Targeting { excluded_interests: vec![4, 9], ..base() }, false),
            (Targeting { excluded_interests: vec![4], ..base() }, true),
        ];
        for (targeting, expected) in cases {
            assert_eq!(matches(targeting.clone()), expected, "{targeting:?}");
        }
    }

    #[test]
    fn interest_groups_are_an_and_of_ors() {
        let group = |any_of: &[u32]| InterestGroup { any_of: any_of.to_vec() };
        let both = vec![group(&[1, 3]), group(&[9])];
        assert!(matches(Targeting { interests: both, ..Targeting::default() }));
        let one = vec![group(&[1, 3]), group(&[8])];
        assert!(!matches(Targeting { interests: one, ..Targeting::default() }));
    }

    #[test]
    fn a_named_value_never_matches_what_the_request_does_not_tell() {
        let targeting = Targeting { age_min: 18, ..Targeting::default() };
        assert!(!Target::of(&targeting).matches(&Profile::default(), Placement::Status));
    }
}
