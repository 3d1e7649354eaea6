//! What an operator loads beside lists: exchange rates.

use std::collections::BTreeSet;

use crate::rpc::limits::EXCHANGE_RATES_MAX;
use crate::rpc::parse::field::{Path, at_most, currency, moment, required};
use crate::state::exchange::RATE_MICROS_MAX;
use crate::types::proto::journal::v1::ExchangeRatesPut;
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::ListChange;

/// Returns checked exchange rates, which replace all others.
pub(in crate::rpc) fn exchange_rates(
    wire: v1::SetExchangeRatesRequest,
) -> Result<ListChange, Refusal> {
    let v1::SetExchangeRatesRequest { settlement_currency, rates, .. } = wire;
    let (settlement, list) = (Path::root("settlement_currency"), Path::root("rates"));
    if !settlement_currency.is_empty() {
        currency(&settlement_currency, settlement)?;
    } else if !rates.is_empty() {
        let message = "is empty: name the currency that the rates are in, or leave them out too";
        return Err(settlement.refuse(Reason::FieldMissing, message));
    }
    at_most(rates.len(), EXCHANGE_RATES_MAX, list)?;
    let mut known = BTreeSet::new();
    for (index, rate) in rates.iter().enumerate() {
        let path = list.at(index);
        let (of, worth) = (path.field("currency"), path.field("rate_micros"));
        currency(&rate.currency, of)?;
        if rate.currency == settlement_currency {
            let message = "is the settlement currency, which is always worth 1: leave it out";
            return Err(of.refuse(Reason::CurrencyInvalid, message));
        }
        if !(1..=RATE_MICROS_MAX).contains(&rate.rate_micros) {
            let message = format!("is {}: send 1 to {RATE_MICROS_MAX}", rate.rate_micros);
            return Err(worth.refuse(Reason::FieldInvalid, message));
        }
        let from = path.field("valid_from");
        let from = required(moment(rate.valid_from, from)?, from)?;
        if !known.insert((&rate.currency, from)) {
            let message = "has the currency and moment of an earlier rate: send one of them";
            return Err(path.refuse(Reason::FieldInvalid, message));
        }
    }
    Ok(ListChange::ExchangeRates(ExchangeRatesPut { settlement_currency, rates }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(currency: &str, rate_micros: i64, seconds: i64) -> v1::ExchangeRate {
        let valid_from = Some(prost_types::Timestamp { seconds, nanos: 0 });
        v1::ExchangeRate { currency: currency.into(), rate_micros, valid_from }
    }

    fn parse(settlement: &str, rates: Vec<v1::ExchangeRate>) -> Result<ListChange, Refusal> {
        let (request_id, settlement_currency) = (String::new(), settlement.to_owned());
        exchange_rates(v1::SetExchangeRatesRequest { request_id, settlement_currency, rates })
    }

    #[test]
    fn a_rate_is_of_another_currency_in_its_range_and_dated_once() {
        let good = rate("MXN", 55_000, 10);
        let edges = vec![good.clone(), rate("MXN", 1, 11), rate("BRL", RATE_MICROS_MAX, 10)];
        assert!(parse("USD", edges).is_ok());
        assert!(parse("USD", vec![]).is_ok());
        assert!(parse("", vec![]).is_ok(), "all rates may be taken away");
        let check = |settlement: &str, rates, reason, field: &str| {
            let refusal = parse(settlement, rates).unwrap_err();
            assert_eq!((refusal.reason, &*refusal.field), (reason, field));
        };
        let settlement = "settlement_currency";
        check("", vec![good.clone()], Reason::FieldMissing, settlement);
        check("usd", vec![], Reason::CurrencyInvalid, settlement);
        let one = |rate| vec![good.clone(), rate];
        let (currency, invalid) = (Reason::CurrencyInvalid, Reason::FieldInvalid);
        check("USD", one(rate("XXX", 1, 0)), currency, "rates[1].currency");
        check("USD", one(rate("USD", 1, 0)), currency, "rates[1].currency");
        for wrong in [0, -1, i64::MIN, RATE_MICROS_MAX + 1, i64::MAX] {
            check("USD", one(rate("BRL", wrong, 0)), invalid, "rates[1].rate_micros");
        }
        let undated = v1::ExchangeRate { valid_from: None, ..good.clone() };
        check("USD", one(undated), Reason::FieldMissing, "rates[1].valid_from");
        check("USD", one(rate("BRL", 1, -1)), invalid, "rates[1].valid_from.seconds");
        check("USD", one(rate("MXN", 1, 10)), invalid, "rates[1]");
        let many = (0..=2_000).map(|seconds| rate("MXN", 1, seconds)).collect();
        check("USD", many, Reason::TooLarge, "rates");
    }
}
