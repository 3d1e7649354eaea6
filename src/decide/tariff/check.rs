//! Whether rate cards can be loaded: each card alone, then gaps and overlaps among them.

use std::collections::{BTreeMap, BTreeSet};

use crate::state::tariffs::{list_cards, market_key, valid_from};
use crate::types::iso::{country_code, is_currency};
use crate::types::money::AMOUNT_MICROS_MAX;
use crate::types::proto::v1::{Channel, MessageCategory, RateCard};
use crate::types::time::Moment;

/// Characters of a market's name.
pub const MARKET_CHARS_MAX: usize = 64;

/// Characters of a card's source.
pub const SOURCE_CHARS_MAX: usize = 200;

/// What is wrong.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum FaultKind {
    /// Something that is needed is empty.
    Missing,
    /// A value that is none of those allowed.
    Invalid,
    /// A text is over its limit.
    TooLong,
    /// An amount out of its range.
    Money,
    /// No currency of ISO 4217.
    Currency,
    /// A message of a month has no price.
    Gap,
    /// Two cards have a price for the same message.
    Overlap,
}

/// One finding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Which card, from 0.
    pub index: usize,
    /// Which of its fields; empty: the card as a whole.
    pub field: &'static str,
    /// What kind of fault.
    pub kind: FaultKind,
    /// What is wrong and what to do.
    pub message: String,
}

/// Cards of one channel, category and currency.
type Series<'a> = (i32, i32, &'a str);

/// Returns all faults of these cards, in order of the cards. None: they can be loaded.
pub fn check(cards: &[RateCard]) -> Vec<Fault> {
    let known = known_markets();
    let mut faults: Vec<_> =
        cards.iter().enumerate().flat_map(|(index, card)| alone(index, card, &known)).collect();
    // What is wrong alone would be found again among the others.
    if faults.is_empty() {
        let among = Among::of(cards);
        faults.extend(among.steps());
        faults.extend(among.countries(&known));
    }
    faults.sort_by_key(|fault| (fault.index, fault.kind));
    faults
}

/// Countries of markets that are built in, by channel and [`market_key`].
type Known = BTreeMap<(i32, String), Vec<String>>;

fn known_markets() -> Known {
    let market = |card: RateCard| ((card.channel, market_key(&card.market)), card.countries);
    list_cards().into_iter().map(market).collect()
}

fn alone(index: usize, card: &RateCard, known: &Known) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut find = |field, kind, message: &str| {
        faults.push(Fault { index, field, kind, message: message.to_owned() });
    };
    match Channel::try_from(card.channel) {
        Ok(Channel::Unspecified) => find("channel", FaultKind::Missing, "is empty: send it"),
        Ok(_) => {}
        Err(_) => find("channel", FaultKind::Invalid, "is no channel: take one of the interface's"),
    }
    match MessageCategory::try_from(card.category) {
        Ok(MessageCategory::Unspecified) => {
            find("category", FaultKind::Missing, "is empty: send it");
        }
        Ok(MessageCategory::ReferralConversion) => {
            find("category", FaultKind::Invalid, "is always free: leave the card out");
        }
        Ok(_) => {}
        Err(_) => {
            find("category", FaultKind::Invalid, "is no category: take one of the interface's");
        }
    }
    text(&card.market, MARKET_CHARS_MAX, "market", &mut find);
    if !card.market.is_empty() && market_key(&card.market).is_empty() {
        find("market", FaultKind::Invalid, "has neither letter nor digit: name the market");
    }
    if !card.source.is_empty() {
        text(&card.source, SOURCE_CHARS_MAX, "source", &mut find);
    }
    if card.countries.is_empty() && !known.contains_key(&(card.channel, market_key(&card.market))) {
        let message = "is empty, and the market is not built in: name its countries";
        find("countries", FaultKind::Missing, message);
    }
    let mut seen = BTreeSet::new();
    for country in &card.countries {
        if country_code(country).is_none() {
            let message = "has a code that is not in ISO 3166-1: send two upper-case letters";
            find("countries", FaultKind::Invalid, message);
        } else if !seen.insert(country) {
            find("countries", FaultKind::Invalid, "has a country twice: send it once");
        }
    }
    price(card, &mut find);
    time(card, &mut find);
    if card.to_messages != 0 && card.to_messages < card.from_messages.max(1) {
        let message = "is before the step's first message: send 0 for no end";
        find("to_messages", FaultKind::Invalid, message);
    }
    faults
}

fn text(
    value: &str,
    max: usize,
    field: &'static str,
    find: &mut impl FnMut(&'static str, FaultKind, &str),
) {
    if value.is_empty() {
        find(field, FaultKind::Missing, "is empty: send it");
    } else if value.chars().count() > max {
        find(field, FaultKind::TooLong, &format!("is too long: send at most {max} characters"));
    } else if value.chars().any(char::is_control) {
        find(field, FaultKind::Invalid, "has a control character: leave it out");
    }
}

fn price(card: &RateCard, find: &mut impl FnMut(&'static str, FaultKind, &str)) {
    let Some(price) = &card.price else {
        return find("price", FaultKind::Missing, "is empty: send it");
    };
    if !(0..=AMOUNT_MICROS_MAX).contains(&price.micros) {
        let message = format!("is out of its range: send 0 to {AMOUNT_MICROS_MAX} micros");
        find("price.micros", FaultKind::Money, &message);
    }
    if !is_currency(&price.currency) {
        let message = "is not money of ISO 4217: send three upper-case letters, such as MXN";
        find("price.currency", FaultKind::Currency, message);
    }
}

fn time(card: &RateCard, find: &mut impl FnMut(&'static str, FaultKind, &str)) {
    match &card.valid_from {
        None => find("valid_from", FaultKind::Missing, "is empty: send it"),
        Some(time)
            if !(0..=i64::from(u32::MAX)).contains(&time.seconds)
                || !(0..1_000_000_000).contains(&time.nanos) =>
        {
            find("valid_from", FaultKind::Invalid, "must lie between 1970 and 2105");
        }
        Some(_) => {}
    }
}

/// A market's cards of one series from one moment on: the steps of a month.
struct Group<'a> {
    /// Places among all cards, in order of the steps.
    cards: Vec<(usize, &'a RateCard)>,
}

/// Cards, each good alone, by series, market and moment.
struct Among<'a>(BTreeMap<Series<'a>, BTreeMap<String, BTreeMap<Moment, Group<'a>>>>);

impl<'a> Among<'a> {
    fn of(cards: &'a [RateCard]) -> Self {
        let mut all = Self(BTreeMap::new());
        for (index, card) in cards.iter().enumerate() {
            let currency = card.price.as_ref().map_or("", |price| &price.currency);
            let markets = all.0.entry((card.channel, card.category, currency)).or_default();
            let dates = markets.entry(market_key(&card.market)).or_default();
            let group = dates.entry(valid_from(card)).or_insert(Group { cards: Vec::new() });
            group.cards.push((index, card));
        }
        let markets = all.0.values_mut().flat_map(BTreeMap::values_mut);
        for group in markets.flat_map(BTreeMap::values_mut) {
            group.cards.sort_by_key(|(_, card)| card.from_messages);
        }
        all
    }

    fn groups(&self) -> impl Iterator<Item = &Group<'a>> {
        self.0.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values)
    }

    /// Finds messages of a month without a price, or with two.
    fn steps(&self) -> Vec<Fault> {
        self.groups().flat_map(Group::faults).collect()
    }

    /// Finds countries that are in two markets at a time.
    fn countries(&self, known: &Known) -> Vec<Fault> {
        let mut faults = Vec::new();
        for ((channel, ..), markets) in &self.0 {
            let mut spans = Vec::new();
            for (market, dates) in markets {
                let mut ends = dates.keys().skip(1).map(|end| end.0);
                for (from, group) in dates {
                    let end = ends.next().unwrap_or(i64::MAX);
                    let Some((index, card)) = group.cards.first() else { continue };
                    let built_in = known.get(&(*channel, market.clone()));
                    let countries = match (card.countries.is_empty(), built_in) {
                        (true, Some(countries)) => countries,
                        _ => &card.countries,
                    };
                    spans.extend(countries.iter().map(|one| (one, from.0, end, market, *index)));
                }
            }
            spans.sort_unstable();
            for pair in spans.windows(2) {
                let [(country, _, end, market, first), (other, start, _, second, index)] = pair
                else {
                    continue;
                };
                if country == other && market != second && start < end {
                    let message = format!(
                        "has {country}, which card {first} has in another market at the same time"
                    );
                    let (index, field) = (*index, "countries");
                    faults.push(Fault { index, field, kind: FaultKind::Overlap, message });
                }
            }
        }
        faults
    }
}

impl Group<'_> {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut find = |index, field, kind, message: String| {
            faults.push(Fault { index, field, kind, message });
        };
        // The next message that has no price yet; `None`: every further one has.
        let mut next = Some(1);
        for (index, card) in &self.cards {
            let first = card.from_messages.max(1);
            match next {
                Some(next) if first > next => {
                    let message =
                        format!("leaves messages {next} to {} without a price", first - 1);
                    find(*index, "from_messages", FaultKind::Gap, message);
                }
                Some(next) if first == next => {}
                _ => {
                    let message = format!("has message {first}, which another card has, too");
                    find(*index, "from_messages", FaultKind::Overlap, message);
                }
            }
            next = match (next, card.to_messages) {
                (None, _) | (_, 0) => None,
                (Some(next), last) => last.checked_add(1).map(|after| after.max(next)),
            };
        }
        if let (Some(next), Some((index, _))) = (next, self.cards.last()) {
            let message = format!("leaves messages from {next} on without a price: send 0");
            find(*index, "to_messages", FaultKind::Gap, message);
        }
        let set = |card: &RateCard| card.countries.iter().cloned().collect::<BTreeSet<_>>();
        let Some((_, first)) = self.cards.first() else { return faults };
        for (index, card) in &self.cards[1..] {
            if set(card) != set(first) {
                let message = "differs from that of the market's other steps: send the same";
                find(*index, "countries", FaultKind::Invalid, message.to_owned());
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::credit::timestamp;
    use crate::types::proto::v1::Money;

    fn card(market: &str, countries: &[&str], day: i32) -> RateCard {
        RateCard {
            channel: Channel::Whatsapp.into(),
            market: market.into(),
            countries: countries.iter().map(|&country| country.into()).collect(),
            category: MessageCategory::Utility.into(),
            price: Some(Money { micros: 5, currency: "USD".into() }),
            valid_from: Some(timestamp(Moment::of_date(2026, 1, day).0)),
            ..RateCard::default()
        }
    }

    fn step(from_messages: u64, to_messages: u64) -> RateCard {
        RateCard { from_messages, to_messages, ..card("India", &[], 1) }
    }

    fn found(cards: &[RateCard]) -> Vec<(usize, &'static str, FaultKind)> {
        check(cards).into_iter().map(|fault| (fault.index, fault.field, fault.kind)).collect()
    }

    #[test]
    fn each_field_is_checked() {
        let check = |field, kind, spoil: &dyn Fn(&mut RateCard)| {
            let mut wrong = card("Asia", &["BD", "NP"], 2);
            spoil(&mut wrong);
            assert_eq!(found(&[card("India", &[], 1), wrong]), [(1, field, kind)]);
        };
        let (missing, invalid) = (FaultKind::Missing, FaultKind::Invalid);
        check("channel", missing, &|card| card.channel = 0);
        check("channel", invalid, &|card| card.channel = 99);
        check("category", missing, &|card| card.category = 0);
        check("category", invalid, &|card| card.category = 6);
        check("category", invalid, &|card| card.category = 99);
        check("market", missing, &|card| card.market.clear());
        check("market", invalid, &|card| card.market = "-".into());
        check("market", invalid, &|card| card.market = "a\nb".into());
        check("market", FaultKind::TooLong, &|card| card.market = "é".repeat(65));
        check("source", FaultKind::TooLong, &|card| card.source = "x".repeat(201));
        check("countries", missing, &|card| card.countries.clear());
        check("countries", invalid, &|card| card.countries[0] = "XX".into());
        check("countries", invalid, &|card| card.countries[0] = "NP".into());
        check("price", missing, &|card| card.price = None);
        check("valid_from", missing, &|card| card.valid_from = None);
        check("valid_from", invalid, &|card| card.valid_from.as_mut().unwrap().seconds = -1);
        check("to_messages", invalid, &|card| (card.from_messages, card.to_messages) = (5, 4));
        for wrong in [-1, i64::MIN, AMOUNT_MICROS_MAX + 1] {
            let kind = FaultKind::Money;
            check("price.micros", kind, &|card| card.price.as_mut().unwrap().micros = wrong);
        }
        let kind = FaultKind::Currency;
        check("price.currency", kind, &|card| card.price.as_mut().unwrap().currency = "usd".into());
        let longest = RateCard { market: "é".repeat(64), ..card("", &["BD"], 1) };
        assert_eq!(found(&[longest]), []);
    }

    #[test]
    fn steps_begin_with_the_first_message_and_leave_none_out() {
        let (gap, overlap) = (FaultKind::Gap, FaultKind::Overlap);
        let (first, last) = ("from_messages", "to_messages");
        assert_eq!(found(&[step(0, 0)]), []);
        assert_eq!(found(&[step(101, 0), step(1, 100)]), [], "in any order");
        assert_eq!(found(&[step(0, 100), step(101, 200), step(201, 0)]), []);
        assert_eq!(found(&[step(2, 0)]), [(0, first, gap)]);
        assert_eq!(found(&[step(1, 100)]), [(0, last, gap)]);
        assert_eq!(found(&[step(1, 100), step(102, 0)]), [(1, first, gap)]);
        assert_eq!(found(&[step(1, 100), step(100, 0)]), [(1, first, overlap)]);
        assert_eq!(found(&[step(0, 0), step(0, 0)]), [(1, first, overlap)]);
        assert_eq!(found(&[step(0, 0), step(5, 9)]), [(1, first, overlap)]);
        assert_eq!(found(&[step(1, u64::MAX)]), [], "there is no message behind the last");
        let other = RateCard { countries: vec!["IN".into()], ..step(101, 0) };
        assert_eq!(found(&[step(1, 100), other]), [(1, "countries", FaultKind::Invalid)]);
    }

    #[test]
    fn a_country_is_in_one_market_at_a_time() {
        let asia = card("Asia", &["BD", "NP"], 1);
        let own = card("Bangladesh", &["BD"], 5);
        let overlap = [(1, "countries", FaultKind::Overlap)];
        assert_eq!(found(&[asia.clone(), own.clone()]), overlap);
        let leaves = |day| card("Asia", &["NP"], day);
        assert_eq!(found(&[asia.clone(), own.clone(), leaves(5)]), []);
        assert_eq!(found(&[asia.clone(), own.clone(), leaves(6)]), overlap);
        let other = RateCard { category: MessageCategory::Marketing.into(), ..own };
        assert_eq!(found(&[asia, other]), [], "of another category it may be");
        assert_eq!(
            found(&[card("India", &[], 1), card("Asia", &["IN"], 1)]),
            [(0, "countries", FaultKind::Overlap)]
        );
    }
}
