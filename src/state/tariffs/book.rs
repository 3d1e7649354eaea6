//! All rate cards in force, by what they are looked up with.

use std::collections::{BTreeMap, BTreeSet};

use crate::state::tariffs::list::list_cards;
use crate::types::iso::{country_code, currency_at, currency_index};
use crate::types::money::AMOUNT_MICROS_MAX;
use crate::types::proto::v1::{Channel, MessageCategory, RateCard};
use crate::types::time::Moment;

/// The currency that is taken where none is wanted: channels publish their lists in it.
const USUAL_CURRENCY: &str = "USD";

/// Cards that differ by market, date and step only: channel, category and currency.
type Series = (i32, i32, u8);

/// One card, ready to be looked up.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Card {
    from: Moment,
    /// The first and the last message of its step.
    steps: (u64, u64),
    micros: i64,
    /// Ascending.
    countries: Vec<u16>,
}

/// One market's cards of a series.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Market {
    name: String,
    /// Whether an operator loaded them.
    own: bool,
    /// In order of date and step.
    cards: Vec<Card>,
}

/// Cards by series and market.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Book {
    /// By [`market_key`] within a series.
    series: BTreeMap<Series, BTreeMap<String, Market>>,
    /// Channels with a card.
    channels: BTreeSet<i32>,
}

/// What is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Who bills.
    pub channel: Channel,
    /// For what.
    pub category: MessageCategory,
    /// The recipient's, two letters as a big-endian number.
    pub country: u16,
    /// When it was delivered.
    pub at: Moment,
    /// The currency that is best; where no card is in it: USD, else the first that is.
    pub currency: &'a str,
}

/// The card that holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found<'a> {
    /// The recipient's market.
    pub market: &'a str,
    /// ISO 4217.
    pub currency: &'static str,
    steps: &'a [Card],
}

impl Found<'_> {
    /// Returns the price of a message, micros: the `volume`-th of its month, from 1; 0 counts as the first.
    /// `None`: no step has it.
    pub fn micros(&self, volume: u64) -> Option<i64> {
        let volume = volume.max(1);
        let step = self.steps.iter().find(|card| card.steps.0 <= volume && volume <= card.steps.1);
        step.map(|card| card.micros)
    }
}

impl Book {
    /// Returns the operator's cards, and those built in whose channel, market, category and currency none of
    /// them has. What no door lets in (an unknown country or currency, an amount out of its range) counts as
    /// not there.
    pub(in crate::state) fn of(own: &[RateCard]) -> Self {
        let listed = list_cards();
        let group = |card: &RateCard| (card.channel, market_key(&card.market));
        let mut groups: BTreeMap<_, Vec<u16>> = BTreeMap::new();
        for card in &listed {
            groups.entry(group(card)).or_insert_with(|| countries_of(card));
        }
        let mut book = Self::default();
        for card in own {
            let countries = match card.countries.is_empty() {
                true => groups.get(&group(card)).cloned().unwrap_or_default(),
                false => countries_of(card),
            };
            book.put(card, countries, true);
        }
        for card in listed.iter().filter(|card| !book.is_own(card)).collect::<Vec<_>>() {
            book.put(card, countries_of(card), false);
        }
        for market in book.series.values_mut().flat_map(BTreeMap::values_mut) {
            market.cards.sort_by_key(|card| (card.from, card.steps));
        }
        book
    }

    /// Tells whether a card's channel, market, category and currency are those of an operator's card.
    pub(in crate::state) fn is_own(&self, card: &RateCard) -> bool {
        let markets = series_of(card).and_then(|(series, _)| self.series.get(&series));
        let market = markets.and_then(|markets| markets.get(&market_key(&card.market)));
        market.is_some_and(|market| market.own)
    }

    /// Tells whether a channel has any card.
    pub fn has_channel(&self, channel: Channel) -> bool {
        self.channels.contains(&channel.into())
    }

    /// Returns the card that holds for a message, of the operator's first.
    pub fn find(&self, wanted: &Wanted<'_>) -> Option<Found<'_>> {
        let (channel, category) = (i32::from(wanted.channel), i32::from(wanted.category));
        let best = [wanted.currency, USUAL_CURRENCY];
        let best = best.into_iter().filter_map(currency_index).map(|at| (channel, category, at));
        let all = (channel, category, 0)..=(channel, category, u8::MAX);
        let all = self.series.range(all).map(|(series, _)| *series);
        best.chain(all).find_map(|series| self.found(series, wanted))
    }

    fn found(&self, series: Series, wanted: &Wanted<'_>) -> Option<Found<'_>> {
        let markets = self.series.get(&series)?.values();
        let covering = markets.filter_map(|market| {
            let steps = market.at(wanted.at);
            let covers = steps.first()?.countries.binary_search(&wanted.country).is_ok();
            covers.then_some((market, steps))
        });
        // Of several the first by name: an operator's before one that is built in.
        let (market, steps) = covering.min_by_key(|(market, _)| !market.own)?;
        Some(Found { market: &market.name, currency: currency_at(series.2)?, steps })
    }

    /// Returns the moments behind `after` at which cards of a channel come into force, ascending.
    pub fn starts_after(&self, channel: Channel, after: Moment) -> Vec<Moment> {
        let channel = i32::from(channel);
        let series = self.series.range((channel, i32::MIN, 0)..=(channel, i32::MAX, u8::MAX));
        let cards = series.flat_map(|(_, markets)| markets.values()).flat_map(|one| &one.cards);
        let starts: BTreeSet<_> =
            cards.map(|card| card.from).filter(|from| *from > after).collect();
        starts.into_iter().collect()
    }

    fn put(&mut self, card: &RateCard, countries: Vec<u16>, own: bool) {
        let Some((series, micros)) = series_of(card) else { return };
        self.channels.insert(card.channel);
        let markets = self.series.entry(series).or_default();
        let market = markets.entry(market_key(&card.market)).or_default();
        if market.name.is_empty() {
            market.name.clone_from(&card.market);
        }
        market.own = own;
        let last = if card.to_messages == 0 { u64::MAX } else { card.to_messages };
        let steps = (card.from_messages, last);
        market.cards.push(Card { from: valid_from(card), steps, micros, countries });
    }
}

impl Market {
    /// Returns the cards that hold at a moment: the steps of the latest date that has come.
    fn at(&self, now: Moment) -> &[Card] {
        let end = self.cards.partition_point(|card| card.from <= now);
        let Some(latest) = end.checked_sub(1).map(|last| self.cards[last].from) else { return &[] };
        let start = self.cards.partition_point(|card| card.from < latest);
        &self.cards[start..end]
    }
}

/// Returns the moment from which a card holds.
pub fn valid_from(card: &RateCard) -> Moment {
    card.valid_from.as_ref().map_or(Moment(0), Moment::from)
}

/// Returns the form of a market's name in which names are compared: letters and digits, in upper case. Channels
/// write `NORTH_AMERICA` in one place and "North America" in another.
pub fn market_key(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

/// Returns a card's series and price.
fn series_of(card: &RateCard) -> Option<(Series, i64)> {
    let price = card.price.as_ref()?;
    let micros = Some(price.micros).filter(|micros| (0..=AMOUNT_MICROS_MAX).contains(micros))?;
    Some(((card.channel, card.category, currency_index(&price.currency)?), micros))
}

fn countries_of(card: &RateCard) -> Vec<u16> {
    let mut codes: Vec<_> = card.countries.iter().filter_map(|text| country_code(text)).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::credit::timestamp;
    use crate::types::proto::v1::Money;

    const OCTOBER: Moment = Moment::of_date(2026, 10, 1);

    fn card(market: &str, countries: &[&str], micros: i64, currency: &str) -> RateCard {
        RateCard {
            channel: Channel::Whatsapp.into(),
            market: market.into(),
            countries: countries.iter().map(|&country| country.into()).collect(),
            category: MessageCategory::Utility.into(),
            price: Some(Money { micros, currency: currency.into() }),
            valid_from: Some(timestamp(OCTOBER.0)),
            ..RateCard::default()
        }
    }

    fn find(book: &Book, country: &str, at: Moment, currency: &str) -> Option<(String, i64)> {
        let wanted = Wanted {
            channel: Channel::Whatsapp,
            category: MessageCategory::Utility,
            country: country_code(country).unwrap(),
            at,
            currency,
        };
        let found = book.find(&wanted)?;
        Some((format!("{} {}", found.market, found.currency), found.micros(1)?))
    }

    fn is(market: &str, micros: i64) -> Option<(String, i64)> {
        Some((market.to_owned(), micros))
    }

    #[test]
    fn the_list_has_all_rows_and_each_from_its_day() {
        let book = Book::of(&[]);
        let cards = list_cards();
        assert_eq!(cards.len(), 12 * 3 + 4);
        assert!(cards.iter().all(|card| !card.source.is_empty()));
        let july = Moment::of_date(2026, 7, 1);
        assert_eq!(find(&book, "MX", july, "MXN"), is("Mexico USD", 8_500));
        assert_eq!(find(&book, "MX", july.plus_ms(-1), "MXN"), None, "nobody says what held then");
        let january = Moment::of_date(2026, 1, 1);
        for country in ["US", "CA"] {
            assert_eq!(find(&book, country, january, "USD"), is("North America USD", 3_400));
        }
        assert_eq!(find(&book, "US", january.plus_ms(-1), "USD"), None);
        assert_eq!(find(&book, "GB", july, "USD"), None);
        assert_eq!(book.starts_after(Channel::Whatsapp, january), [july]);
        assert!(book.has_channel(Channel::Whatsapp) && !book.has_channel(Channel::Rcs));
    }

    #[test]
    fn own_cards_replace_the_built_in_ones_of_their_market_category_and_currency_only() {
        let own = [card("NORTH_AMERICA", &[], 3_000, "USD"), card("Mexico", &[], 150_000, "MXN")];
        let book = Book::of(&own);
        let before = OCTOBER.plus_ms(-1);
        assert_eq!(find(&book, "US", OCTOBER, "USD"), is("NORTH_AMERICA USD", 3_000));
        assert_eq!(find(&book, "US", before, "USD"), None, "the list's own dates are gone, too");
        assert_eq!(find(&book, "MX", OCTOBER, "MXN"), is("Mexico MXN", 150_000));
        assert_eq!(find(&book, "MX", OCTOBER, "BRL"), is("Mexico USD", 8_500));
        assert_eq!(find(&book, "MX", before, "MXN"), is("Mexico USD", 8_500));
        assert_eq!(find(&book, "BR", OCTOBER, "USD"), is("Brazil USD", 6_800));
    }

    #[test]
    fn a_country_moves_to_a_market_of_its_own_on_its_day() {
        let later = Some(timestamp(OCTOBER.plus_ms(10).0));
        let own = [
            card("Rest of Asia", &["BD", "NP"], 10, "USD"),
            RateCard { valid_from: later, ..card("Rest of Asia", &["NP"], 11, "USD") },
            RateCard { valid_from: later, ..card("Bangladesh", &["BD"], 5, "USD") },
        ];
        let book = Book::of(&own);
        assert_eq!(find(&book, "BD", OCTOBER.plus_ms(9), ""), is("Rest of Asia USD", 10));
        assert_eq!(find(&book, "BD", OCTOBER.plus_ms(10), ""), is("Bangladesh USD", 5));
        assert_eq!(find(&book, "NP", OCTOBER.plus_ms(10), ""), is("Rest of Asia USD", 11));
    }

    #[test]
    fn a_step_holds_from_its_first_to_its_last_message() {
        let step = |from_messages, to_messages, micros| RateCard {
            from_messages,
            to_messages,
            ..card("India", &["IN"], micros, "INR")
        };
        let own = [step(101, 0, 80), step(1, 100, 90)];
        let book = Book::of(&own);
        let wanted = Wanted {
            channel: Channel::Whatsapp,
            category: MessageCategory::Utility,
            country: country_code("IN").unwrap(),
            at: OCTOBER,
            currency: "INR",
        };
        let found = book.find(&wanted).unwrap();
        let micros = [0, 1, 100, 101, u64::MAX].map(|volume| found.micros(volume));
        assert_eq!(micros, [Some(90), Some(90), Some(90), Some(80), Some(80)]);
    }

    #[test]
    fn of_two_markets_that_claim_a_country_an_own_one_holds() {
        let book = Book::of(&[card("Latin America", &["MX"], 5, "USD")]);
        assert_eq!(find(&book, "MX", OCTOBER, "USD"), is("Latin America USD", 5));
    }

    #[test]
    fn a_card_out_of_its_range_is_none() {
        let wrong = [card("X", &["GB"], -1, "USD"), card("X", &["GB"], 1, "XXX")];
        assert_eq!(find(&Book::of(&wrong), "GB", OCTOBER, "USD"), None);
        let largest = [card("X", &["GB"], AMOUNT_MICROS_MAX, "USD")];
        assert_eq!(find(&Book::of(&largest), "GB", OCTOBER, "USD"), is("X USD", AMOUNT_MICROS_MAX));
    }
}
