//! The list rates that are built in (FACTS, "Rates"). What a source doesn't say is not here: such messages are
//! unpriced until an operator loads cards.

use crate::state::credit::timestamp;
use crate::types::proto::v1::{Channel, MessageCategory, Money, RateCard};
use crate::types::time::Moment;

/// Where the rates were published.
pub const LIST_SOURCE: &str = "Meta list rates, USD per delivered message, effective 2026-07-01; \
    dates of changes: https://support.wati.io/en/articles/11561662";

/// The list that all figures are of.
const LISTED: Moment = Moment::of_date(2026, 7, 1);

/// What FACTS says of one market. Amounts are micros of USD. An amount holds from the day of its last change,
/// where FACTS names that day, else from the day of the list: what held before is not told.
struct Market {
    name: &'static str,
    countries: &'static [&'static str],
    marketing: (i64, Moment),
    /// Of authentication, too, and from 2026-10-01 of service messages.
    utility: (i64, Moment),
    authentication_international: Option<i64>,
}

const fn market(
    name: &'static str,
    countries: &'static [&'static str],
    marketing: i64,
    utility: i64,
) -> Market {
    let (marketing, utility) = ((marketing, LISTED), (utility, LISTED));
    Market { name, countries, marketing, utility, authentication_international: None }
}

/// All rows of FACTS, "Rates".
const MARKETS: [Market; 12] = [
    // Marketing was cut on 2025-10-01.
    Market {
        marketing: (30_500, Moment::of_date(2025, 10, 1)),
        ..market("Mexico", &["MX"], 30_500, 8_500)
    },
    // Marketing was raised on 2026-01-01.
    Market {
        marketing: (11_800, Moment::of_date(2026, 1, 1)),
        authentication_international: Some(30_400),
        ..market("India", &["IN"], 11_800, 1_400)
    },
    market("Brazil", &["BR"], 62_500, 6_800),
    // Utility and authentication were cut on 2026-01-01.
    Market {
        utility: (3_400, Moment::of_date(2026, 1, 1)),
        ..market("North America", &["CA", "US"], 25_000, 3_400)
    },
    market("Argentina", &["AR"], 61_800, 26_000),
    market("Chile", &["CL"], 88_900, 20_000),
    market("Colombia", &["CO"], 12_500, 800),
    market("Germany", &["DE"], 136_500, 55_000),
    market("France", &["FR"], 85_900, 30_000),
    Market {
        authentication_international: Some(136_000),
        ..market("Indonesia", &["ID"], 41_100, 25_000)
    },
    Market {
        authentication_international: Some(59_800),
        ..market("Saudi Arabia", &["SA"], 50_100, 10_700)
    },
    Market {
        authentication_international: Some(65_000),
        ..market("Egypt", &["EG"], 64_400, 3_600)
    },
];

/// Returns the cards that are built in: WhatsApp's, in the order of FACTS.
///
/// There is none for service messages: where they are charged, they cost what utility costs, and so does an
/// operator's own utility rate.
pub fn list_cards() -> Vec<RateCard> {
    MARKETS.iter().flat_map(cards_of).collect()
}

fn cards_of(market: &Market) -> impl Iterator<Item = RateCard> {
    let international = market.authentication_international.map(|micros| (micros, LISTED));
    let prices = [
        (MessageCategory::Marketing, Some(market.marketing)),
        (MessageCategory::Utility, Some(market.utility)),
        (MessageCategory::Authentication, Some(market.utility)),
        (MessageCategory::AuthenticationInternational, international),
    ];
    prices.into_iter().filter_map(|(category, price)| {
        let (micros, from) = price?;
        Some(RateCard {
            channel: Channel::Whatsapp.into(),
            market: market.name.to_owned(),
            countries: market.countries.iter().map(|&country| country.to_owned()).collect(),
            category: category.into(),
            price: Some(Money { micros, currency: "USD".to_owned() }),
            valid_from: Some(timestamp(from.0)),
            from_messages: 0,
            to_messages: 0,
            source: LIST_SOURCE.to_owned(),
        })
    })
}
