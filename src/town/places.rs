//! Where the town's people live: the three pilots first, and a few of the others.

use crate::types::proto::v1::Channel;

/// One country, as far as the town knows it.
#[derive(Debug)]
pub(crate) struct Place {
    /// ISO 3166-1 alpha-2.
    pub(crate) country: &'static str,
    /// Share of the town's people, in thousandths.
    pub(crate) share: u32,
    /// Minutes that its clocks are ahead of UTC (one zone for a whole country is enough here).
    pub(crate) ahead_minutes: i64,
    /// The middle of its largest city, millionths of a degree north and east.
    pub(crate) middle: (i32, i32),
    /// ISO 3166-2, the most frequent first.
    pub(crate) regions: &'static [&'static str],
    /// ISO 639-1, the most frequent first.
    pub(crate) languages: &'static [&'static str],
    /// How many people in a thousand hold an iPhone.
    pub(crate) ios: u32,
}

/// All places. Their shares sum to 1,000.
pub(crate) const PLACES: [Place; 9] = [
    Place {
        country: "MX",
        share: 300,
        ahead_minutes: -6 * 60,
        middle: (19_432_600, -99_133_200),
        regions: &["MX-CMX", "MX-JAL", "MX-NLE", "MX-PUE", "MX-YUC"],
        languages: &["es"],
        ios: 220,
    },
    Place {
        country: "IN",
        share: 330,
        ahead_minutes: 5 * 60 + 30,
        middle: (19_076_000, 72_877_700),
        regions: &["IN-MH", "IN-DL", "IN-KA", "IN-TN", "IN-WB", "IN-GJ"],
        languages: &["hi", "en", "mr", "ta", "bn"],
        ios: 40,
    },
    Place {
        country: "BR",
        share: 200,
        ahead_minutes: -3 * 60,
        middle: (-23_550_500, -46_633_300),
        regions: &["BR-SP", "BR-RJ", "BR-MG", "BR-BA"],
        languages: &["pt"],
        ios: 180,
    },
    Place {
        country: "US",
        share: 50,
        ahead_minutes: -4 * 60,
        middle: (34_052_200, -118_243_700),
        regions: &["US-CA", "US-TX", "US-FL", "US-NY"],
        languages: &["en", "es"],
        ios: 550,
    },
    Place {
        country: "ID",
        share: 40,
        ahead_minutes: 7 * 60,
        middle: (-6_208_800, 106_845_600),
        regions: &["ID-JK", "ID-JB"],
        languages: &["id"],
        ios: 90,
    },
    Place {
        country: "CO",
        share: 25,
        ahead_minutes: -5 * 60,
        middle: (4_711_000, -74_072_100),
        regions: &["CO-DC", "CO-ANT"],
        languages: &["es"],
        ios: 150,
    },
    Place {
        country: "AR",
        share: 20,
        ahead_minutes: -3 * 60,
        middle: (-34_603_700, -58_381_600),
        regions: &["AR-C", "AR-B"],
        languages: &["es"],
        ios: 120,
    },
    Place {
        country: "ES",
        share: 15,
        ahead_minutes: 2 * 60,
        middle: (40_416_800, -3_703_800),
        regions: &["ES-MD", "ES-CT"],
        languages: &["es", "ca"],
        ios: 270,
    },
    Place {
        country: "NG",
        share: 20,
        ahead_minutes: 60,
        middle: (6_524_400, 3_379_200),
        regions: &["NG-LA", "NG-KN"],
        languages: &["en"],
        ios: 60,
    },
];

/// Returns the town's number of the largest city of a place's region, both by their index.
pub(crate) const fn city(place: usize, region: usize) -> u32 {
    (place * 100 + region + 1) as u32
}

/// Audiences that the feed knows: numbers 1 to this.
pub(crate) const SEGMENTS: u32 = 40;

/// The key by which the feed tells how a viewer pays for the line, and how it may be.
pub(crate) const PLAN_KEY: &str = "plan";
pub(crate) const PLANS: [&str; 2] = ["prepaid", "contract"];

/// The channels of the town's businesses, as often as they stand here.
pub(crate) const CHANNELS: [Channel; 10] = [
    Channel::Whatsapp,
    Channel::Whatsapp,
    Channel::Messenger,
    Channel::Whatsapp,
    Channel::InstagramDirect,
    Channel::Telegram,
    Channel::Whatsapp,
    Channel::Rcs,
    Channel::AppleMessages,
    Channel::Line,
];

/// What the town's businesses do; the number in the operator's taxonomy is the index + 1.
pub(crate) const CATEGORIES: [&str; 12] = [
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
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_of_one_town() {
        assert_eq!(PLACES.iter().map(|place| place.share).sum::<u32>(), 1_000);
        for place in &PLACES {
            assert!(!place.languages.is_empty());
            assert!(place.regions.iter().all(|region| region.starts_with(place.country)));
        }
    }
}
