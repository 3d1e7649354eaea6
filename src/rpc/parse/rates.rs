//! Rate cards of channels that an operator loads.

use crate::decide::tariff::{FaultKind, check};
use crate::rpc::limits::RATE_CARDS_MAX;
use crate::rpc::parse::field::{Path, at_most};
use crate::types::proto::v1::RateCard;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::ListChange;

/// Returns checked rate cards, which replace all that were loaded.
pub(in crate::rpc) fn rate_cards(cards: Vec<RateCard>) -> Result<ListChange, Refusal> {
    let list = Path::root("cards");
    at_most(cards.len(), RATE_CARDS_MAX, list)?;
    let Some(fault) = check(&cards).into_iter().next() else {
        return Ok(ListChange::RateCards(cards));
    };
    let reason = match fault.kind {
        FaultKind::Missing => Reason::FieldMissing,
        FaultKind::Invalid | FaultKind::Gap | FaultKind::Overlap => Reason::FieldInvalid,
        FaultKind::TooLong => Reason::TooLarge,
        FaultKind::Money => Reason::MoneyInvalid,
        FaultKind::Currency => Reason::CurrencyInvalid,
    };
    Err(list.at(fault.index).field(fault.field).refuse(reason, fault.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tariffs::list_cards;

    #[test]
    fn the_first_fault_of_the_cards_is_told() {
        assert_eq!(rate_cards(Vec::new()), Ok(ListChange::RateCards(Vec::new())));
        let good = list_cards();
        assert!(rate_cards(good.clone()).is_ok());
        let check = |reason, field: &str, spoil: fn(&mut RateCard)| {
            let mut cards = good.clone();
            spoil(&mut cards[2]);
            let refusal = rate_cards(cards).unwrap_err();
            assert_eq!((refusal.reason, &*refusal.field), (reason, field));
        };
        check(Reason::FieldMissing, "cards[2].market", |card| card.market.clear());
        check(Reason::FieldInvalid, "cards[2].category", |card| card.category = 77);
        check(Reason::TooLarge, "cards[2].source", |card| card.source = "x".repeat(201));
        let micros = "cards[2].price.micros";
        check(Reason::MoneyInvalid, micros, |card| card.price.as_mut().unwrap().micros = -1);
        let currency = "cards[2].price.currency";
        let spoil = |card: &mut RateCard| card.price.as_mut().unwrap().currency.clear();
        check(Reason::CurrencyInvalid, currency, spoil);
        check(Reason::FieldInvalid, "cards[2].from_messages", |card| card.from_messages = 2);
        let many = rate_cards(vec![RateCard::default(); RATE_CARDS_MAX + 1]).unwrap_err();
        assert_eq!((many.reason, &*many.field), (Reason::TooLarge, "cards"));
    }
}
