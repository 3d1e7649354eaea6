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
        regions: &["MX-CMX", "MX-JAL", "MX-NLE", "MX-PUE", "MX-YUC"],
        languages: &["es"],
        ios: 220,
    },
    Place {
        country: "IN",
        share: 330,
        ahead_minutes: 5 * 60 + 30,
        regions: &["IN-MH", "IN-DL", "IN-KA", "IN-TN", "IN-WB", "IN-GJ"],
        languages: &["hi", "en", "mr", "ta", "bn"],
        ios: 40,
    },
    Place {
        country: "BR",
        share: 200,
        ahead_minutes: -3 * 60,
        regions: &["BR-SP", "BR-RJ", "BR-MG", "BR-BA"],
        languages: &["pt"],
        ios: 180,
    },
    Place {
        country: "US",
        share: 50,
        ahead_minutes: -4 * 60,
        regions: &["US-CA", "US-TX", "US-FL", "US-NY"],
        languages: &["en", "es"],
        ios: 550,
    },
    Place {
        country: "ID",
        share: 40,
        ahead_minutes: 7 * 60,
        regions: &["ID-JK", "ID-JB"],
        languages: &["id"],
        ios: 90,
    },
    Place {
        country: "CO",
        share: 25,
        ahead_minutes: -5 * 60,
        regions: &["CO-DC", "CO-ANT"],
        languages: &["es"],
        ios: 150,
    },
    Place {
        country: "AR",
        share: 20,
        ahead_minutes: -3 * 60,
        regions: &["AR-C", "AR-B"],
        languages: &["es"],
        ios: 120,
    },
    Place {
        country: "ES",
        share: 15,
        ahead_minutes: 2 * 60,
        regions: &["ES-MD", "ES-CT"],
        languages: &["es", "ca"],
        ios: 270,
    },
    Place {
        country: "NG",
        share: 20,
        ahead_minutes: 60,
        regions: &["NG-LA", "NG-KN"],
        languages: &["en"],
        ios: 60,
    },
];

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
