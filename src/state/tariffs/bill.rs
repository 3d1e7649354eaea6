//! What the messages of one conversation have cost so far. A memo: it is in no purse.

use serde::{Deserialize, Serialize};

use crate::types::proto::journal::v1::MessagePriced;
use crate::types::proto::v1::{MessageCategory, PriceReason};
use crate::types::time::{HOUR_MS, Moment};

/// How long a conversation of one category lasts after the message that paid for it, in the times of
/// per-conversation prices (FACTS, section 0).
pub const CONVERSATION_MS: i64 = 24 * HOUR_MS;

/// What messages of one category have cost in one currency.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cost {
    /// A [`MessageCategory`].
    pub category: i32,
    /// Of the rate cards; empty: they were free or no card covered them.
    pub currency: String,
    /// How many were priced.
    pub messages: u64,
    /// Micros.
    pub micros: i64,
}

/// Categories, a bit each.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Categories(u16);

impl Categories {
    /// Returns these too.
    #[must_use]
    pub fn with(self, category: MessageCategory) -> Self {
        Self(self.0 | 1 << i32::from(category))
    }

    /// Tells whether one is among them.
    pub fn has(self, category: MessageCategory) -> bool {
        self.0 >> i32::from(category) & 1 == 1
    }
}

/// The bill of one conversation.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Bill {
    /// In order of category and currency.
    costs: Vec<Cost>,
    /// The latest message that was charged, by category: milliseconds.
    charged: Vec<(i32, i64)>,
}

impl Bill {
    /// Returns the costs in order of category and currency.
    pub fn costs(&self) -> &[Cost] {
        &self.costs
    }

    /// Returns the end of a category's conversation that is paid for and open at a moment.
    pub fn paid_until(&self, category: MessageCategory, at: Moment) -> Option<Moment> {
        let category = i32::from(category);
        let start = self.charged.iter().find(|(known, _)| *known == category)?.1;
        let end = Moment(start).plus_ms(CONVERSATION_MS);
        (start <= at.0 && at < end).then_some(end)
    }

    /// Returns the categories with a conversation that is paid for and open at a moment.
    pub fn paid_at(&self, at: Moment) -> Categories {
        let known = self.charged.iter();
        let known = known.filter_map(|(category, _)| MessageCategory::try_from(*category).ok());
        known.fold(Categories::default(), |open, category| {
            if self.paid_until(category, at).is_some() { open.with(category) } else { open }
        })
    }

    /// Returns the moments at which conversations that are paid for end.
    pub fn ends(&self) -> impl Iterator<Item = Moment> + '_ {
        self.charged.iter().map(|(_, start_ms)| Moment(*start_ms).plus_ms(CONVERSATION_MS))
    }

    /// Adds a priced message.
    pub(in crate::state) fn add(&mut self, fact: &MessagePriced) {
        let key = |cost: &Cost| (cost.category, cost.currency.clone());
        let of = (fact.category, fact.currency.clone());
        let at = self.costs.binary_search_by(|cost| key(cost).cmp(&of)).unwrap_or_else(|at| {
            let (category, currency) = (of.0, of.1.clone());
            self.costs.insert(at, Cost { category, currency, messages: 0, micros: 0 });
            at
        });
        let cost = &mut self.costs[at];
        cost.messages += 1;
        cost.micros = cost.micros.saturating_add(fact.amount);
        // A message without a card would have been charged, too: it opens its conversation all the same.
        if !matches!(fact.reason(), PriceReason::Regular | PriceReason::Unpriced) {
            return;
        }
        match self.charged.iter_mut().find(|(category, _)| *category == fact.category) {
            Some((_, latest_ms)) => *latest_ms = fact.event_ms.max(*latest_ms),
            None => self.charged.push((fact.category, fact.event_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priced(category: MessageCategory, reason: PriceReason, event_ms: i64) -> MessagePriced {
        MessagePriced {
            category: category.into(),
            reason: reason.into(),
            event_ms,
            amount: 5,
            currency: "USD".into(),
            ..MessagePriced::default()
        }
    }

    #[test]
    fn a_charged_message_opens_its_category_for_a_day() {
        let mut bill = Bill::default();
        let (utility, marketing) = (MessageCategory::Utility, MessageCategory::Marketing);
        bill.add(&priced(utility, PriceReason::Regular, 1_000));
        bill.add(&priced(marketing, PriceReason::FreeEntryPoint, 1_000));
        let open = |category, ms| bill.paid_until(category, Moment(ms)).map(|end| end.0);
        let end = 1_000 + CONVERSATION_MS;
        assert_eq!(open(utility, 999), None);
        assert_eq!(open(utility, 1_000), Some(end));
        assert_eq!(open(utility, end - 1), Some(end));
        assert_eq!(open(utility, end), None);
        assert_eq!(open(marketing, 1_000), None, "a free one opens nothing");
        assert_eq!(bill.paid_at(Moment(1_000)), Categories::default().with(utility));
        assert!(!bill.paid_at(Moment(end)).has(utility));
    }

    #[test]
    fn costs_are_kept_by_category_and_currency_in_order() {
        let mut bill = Bill::default();
        for (category, currency) in [(2, "USD"), (1, "USD"), (2, "MXN"), (2, "USD"), (1, "")] {
            let currency = currency.to_owned();
            bill.add(&MessagePriced { category, currency, amount: 7, ..Default::default() });
        }
        let told = |cost: &Cost| (cost.category, cost.currency.clone(), cost.messages, cost.micros);
        let costs: Vec<_> = bill.costs().iter().map(told).collect();
        let cost = |category, currency: &str, messages, micros| {
            (category, currency.to_owned(), messages, micros)
        };
        let expected =
            [cost(1, "", 1, 7), cost(1, "USD", 1, 7), cost(2, "MXN", 1, 7), cost(2, "USD", 2, 14)];
        assert_eq!(costs, expected);
        bill.add(&MessagePriced { category: 1, amount: i64::MAX, ..Default::default() });
        assert_eq!(bill.costs()[0].micros, i64::MAX, "a sum stays at the end of its range");
    }
}
