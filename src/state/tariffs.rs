//! What channels charge for messages: dated rate cards, built in and the operator's, and the volume steps
//! that businesses have reached.

mod bill;
mod book;
mod list;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::state::wire;
use crate::types::proto::journal::v1::{RateCardsPut, VolumeTierPut};
use crate::types::proto::v1::{MessageCategory, RateCard};

pub use bill::{Bill, CONVERSATION_MS, Categories, Cost};
pub use book::{Book, Found, Wanted, market_key, valid_from};
pub use list::{LIST_SOURCE, list_cards};

/// Months of which a business's volume step in a market is kept, the last ones: a receipt is at most days old.
const TIER_MONTHS_MAX: usize = 2;

/// Steps of one business, by category and market, of which the channels name a few dozen.
pub const TIERS_MAX: usize = 1_024;

/// Whose step: business, category and market, the last by [`market_key`].
type TierOf = (u64, i32, String);

/// The operator's cards as they were written, all cards in force, and volume steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Tariffs {
    cards: Vec<RateCard>,
    /// By month since 1970-01, ascending: first and last message of the step; 0 is no end.
    tiers: BTreeMap<TierOf, BTreeMap<u32, (u64, u64)>>,
    book: Arc<Book>,
}

impl Default for Tariffs {
    /// Returns the cards that are built in.
    fn default() -> Self {
        Self { cards: Vec::new(), tiers: BTreeMap::new(), book: Arc::new(Book::of(&[])) }
    }
}

impl Tariffs {
    /// Returns the operator's cards as they were written.
    pub fn own(&self) -> &[RateCard] {
        &self.cards
    }

    /// Returns the cards built in that no own one replaces.
    pub fn built_in(&self) -> Vec<RateCard> {
        list_cards().into_iter().filter(|card| !self.book.is_own(card)).collect()
    }

    /// Returns all cards in force: the operator's, and those built in that none of them replaces.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Returns the first message of the volume step that a business has reached in a market and month, in
    /// messages of that month; 0: none was told, it is in the first step.
    ///
    /// Channels count a month's messages from zero (FACTS, "Conversation windows": the tier update names its
    /// month), so a step says nothing of the next month.
    pub fn volume(
        &self,
        business: u64,
        category: MessageCategory,
        market: &str,
        month: u32,
    ) -> u64 {
        let months = self.tiers.get(&(business, category.into(), market_key(market)));
        months.and_then(|months| months.get(&month)).map_or(0, |(from, _)| *from)
    }

    /// Tells whether a step of this month and market is known that is as high.
    pub fn knows_tier(&self, fact: &VolumeTierPut) -> bool {
        let months = self.tiers.get(&tier_of(fact));
        let known = months.and_then(|months| months.get(&fact.month));
        known.is_some_and(|(from, _)| *from >= fact.from)
    }

    /// Tells whether a step is of a further category and market of a business that has as many as one may have.
    pub fn is_full_for(&self, fact: &VolumeTierPut) -> bool {
        let tier = tier_of(fact);
        let from = (fact.business, i32::MIN, String::new());
        let theirs = self.tiers.range(from..).take_while(|((of, ..), _)| *of == fact.business);
        theirs.count() >= TIERS_MAX && !self.tiers.contains_key(&tier)
    }

    /// Takes a slice of cards.
    pub(in crate::state) fn put(&mut self, fact: &RateCardsPut) {
        if !fact.added {
            self.cards.clear();
        }
        self.cards.extend(fact.cards.iter().cloned());
        self.book = Arc::new(Book::of(&self.cards));
    }

    /// Takes a volume step. Steps of a month only rise, so the highest stays in whichever order they come.
    pub(in crate::state) fn step(&mut self, fact: &VolumeTierPut) {
        let months = self.tiers.entry(tier_of(fact)).or_default();
        let known = months.entry(fact.month).or_default();
        *known = (*known).max((fact.from, fact.to));
        while months.len() > TIER_MONTHS_MAX {
            months.pop_first();
        }
    }
}

fn tier_of(fact: &VolumeTierPut) -> TierOf {
    (fact.business, fact.category, market_key(&fact.market))
}

/// Everything that a checkpoint holds.
#[derive(Deserialize, Serialize)]
struct Saved {
    #[serde(with = "wire::message")]
    cards: RateCardsPut,
    tiers: BTreeMap<TierOf, BTreeMap<u32, (u64, u64)>>,
}

impl Serialize for Tariffs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cards = RateCardsPut { cards: self.cards.clone(), added: false };
        Saved { cards, tiers: self.tiers.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tariffs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Saved { cards, tiers } = Saved::deserialize(deserializer)?;
        let book = Arc::new(Book::of(&cards.cards));
        Ok(Self { cards: cards.cards, tiers, book })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::{Channel, Money};

    fn card(market: &str, micros: i64) -> RateCard {
        RateCard {
            channel: Channel::Whatsapp.into(),
            market: market.into(),
            category: MessageCategory::Marketing.into(),
            price: Some(Money { micros, currency: "USD".into() }),
            ..RateCard::default()
        }
    }

    #[test]
    fn a_further_slice_adds_and_a_first_one_replaces() {
        let mut tariffs = Tariffs::default();
        let slice = |market: &str, added| RateCardsPut { cards: vec![card(market, 5)], added };
        tariffs.put(&slice("Mexico", false));
        tariffs.put(&slice("India", false));
        tariffs.put(&slice("Brazil", true));
        assert_eq!(tariffs.own(), [card("India", 5), card("Brazil", 5)]);
        let bytes = postcard::to_allocvec(&tariffs).unwrap();
        assert_eq!(postcard::from_bytes::<Tariffs>(&bytes).unwrap(), tariffs);
        tariffs.put(&RateCardsPut::default());
        assert_eq!(tariffs, Tariffs::default());
    }

    #[test]
    fn a_months_highest_step_stays_and_says_nothing_of_the_next() {
        let mut tariffs = Tariffs::default();
        let category = MessageCategory::Utility;
        let step = |month, from| VolumeTierPut {
            business: 7,
            category: category.into(),
            market: "INDIA".into(),
            month,
            from,
            to: from + 99,
        };
        for (month, from) in [(681, 101), (681, 301), (681, 201), (682, 101)] {
            tariffs.step(&step(month, from));
        }
        let volume = |month| tariffs.volume(7, category, "India", month);
        assert_eq!([volume(680), volume(681), volume(682), volume(683)], [0, 301, 101, 0]);
        assert!(tariffs.knows_tier(&step(681, 301)) && !tariffs.knows_tier(&step(681, 302)));
        assert_eq!(tariffs.volume(8, category, "India", 681), 0);
        tariffs.step(&step(683, 1));
        assert_eq!(tariffs.volume(7, category, "India", 681), 0, "two months are kept");
    }

    #[test]
    fn a_business_has_so_many_steps_and_each_of_them_may_still_rise() {
        let mut tariffs = Tariffs::default();
        let step = |business, number: usize| {
            let market = format!("market {number}");
            VolumeTierPut { business, market, month: 681, from: 1, ..Default::default() }
        };
        (0..TIERS_MAX - 1).for_each(|number| tariffs.step(&step(7, number)));
        tariffs.step(&step(8, 0));
        assert!(!tariffs.is_full_for(&step(7, TIERS_MAX)));
        tariffs.step(&step(7, TIERS_MAX));
        assert!(tariffs.is_full_for(&step(7, TIERS_MAX + 1)));
        assert!(!tariffs.is_full_for(&step(7, 3)), "one of them");
        assert!(!tariffs.is_full_for(&step(8, 1)), "another business");
    }
}
