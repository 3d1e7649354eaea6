//! What one currency is worth in another: dated rates that the operator loads, and the table in force.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::state::wire;
use crate::types::iso::{CURRENCIES_COUNT, currency_index};
use crate::types::proto::journal::v1::ExchangeRatesPut;
use crate::types::proto::v1::ExchangeRate;
use crate::types::time::Moment;

/// The rate of a currency that is worth as much as the settlement currency.
pub const RATE_ONE: i64 = 1_000_000;

/// The highest rate. With the largest amount, a product fits 128 bits by far.
pub const RATE_MICROS_MAX: i64 = 1_000_000_000_000;

/// The operator's rates, as written and by currency.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exchange {
    put: ExchangeRatesPut,
    /// By a currency's place in ISO 4217 and the moment from which the rate holds.
    dated: BTreeMap<(u8, i64), i64>,
}

/// What each currency is worth at a moment. Immutable; a new one is made when a rate becomes due.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Table {
    /// Micros of the settlement currency for one unit, by [`currency_index`]; 0: no rate.
    rates: [i64; CURRENCIES_COUNT],
    /// When the next rate becomes due; `None`: none is loaded.
    until: Option<Moment>,
}

impl Default for Table {
    /// Returns the table of nothing loaded: micros of all currencies are compared as they are.
    fn default() -> Self {
        Self { rates: [RATE_ONE; CURRENCIES_COUNT], until: None }
    }
}

impl Table {
    /// Returns what one unit of a currency is worth, micros of the settlement currency, 1 to
    /// [`RATE_MICROS_MAX`]; 0: it has no rate, and its ads do not serve.
    pub fn rate(&self, currency: u8) -> i64 {
        self.rates.get(usize::from(currency)).copied().unwrap_or_default()
    }

    /// Returns when the next rate becomes due; `None`: no other one is loaded.
    pub const fn until(&self) -> Option<Moment> {
        self.until
    }
}

impl Exchange {
    /// Returns these rates. What no door lets in (an unknown currency, a rate out of its range) counts as
    /// not there.
    pub fn of(put: ExchangeRatesPut) -> Self {
        let mut dated = BTreeMap::new();
        for rate in &put.rates {
            let Some(currency) = currency_index(&rate.currency) else { continue };
            if (1..=RATE_MICROS_MAX).contains(&rate.rate_micros) {
                dated.insert((currency, valid_from(rate).0), rate.rate_micros);
            }
        }
        Self { put, dated }
    }

    /// Tells whether anything is loaded.
    pub fn is_loaded(&self) -> bool {
        !self.put.settlement_currency.is_empty()
    }

    /// Returns the currency in which auctions compare; empty: nothing is loaded.
    pub fn settlement_currency(&self) -> &str {
        &self.put.settlement_currency
    }

    /// Returns all rates as they were written.
    pub fn all(&self) -> &[ExchangeRate] {
        &self.put.rates
    }

    /// Returns what one unit of a currency is worth at a moment, micros of the settlement currency, 1 to
    /// [`RATE_MICROS_MAX`]; `None`: no rate of it is known.
    pub fn rate_at(&self, currency: u8, now: Moment) -> Option<i64> {
        if currency_index(&self.put.settlement_currency) == Some(currency) {
            return Some(RATE_ONE);
        }
        let due = self.dated.range((currency, i64::MIN)..=(currency, now.0));
        due.last().map(|(_, rate)| *rate)
    }

    /// Returns what holds at a moment: of each currency the latest rate that is valid by then.
    pub fn table_at(&self, now: Moment) -> Table {
        if !self.is_loaded() {
            return Table::default();
        }
        let (mut rates, mut until) = ([0; CURRENCIES_COUNT], None);
        // Ascending by currency and moment: the last one that is due stays.
        for (&(currency, from_ms), &rate) in &self.dated {
            if from_ms <= now.0 {
                rates[usize::from(currency)] = rate;
            } else if until.is_none_or(|until: Moment| from_ms < until.0) {
                until = Some(Moment(from_ms));
            }
        }
        if let Some(settlement) = currency_index(&self.put.settlement_currency) {
            rates[usize::from(settlement)] = RATE_ONE;
        }
        Table { rates, until }
    }
}

/// Returns the moment from which a rate holds.
pub fn valid_from(rate: &ExchangeRate) -> Moment {
    rate.valid_from.as_ref().map_or(Moment(0), Moment::from)
}

impl Serialize for Exchange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::message::serialize(&self.put, serializer)
    }
}

impl<'de> Deserialize<'de> for Exchange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wire::message::deserialize(deserializer).map(Self::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(currency: &str, rate_micros: i64, seconds: i64) -> ExchangeRate {
        let valid_from = Some(prost_types::Timestamp { seconds, nanos: 0 });
        ExchangeRate { currency: currency.into(), rate_micros, valid_from }
    }

    fn index(currency: &str) -> u8 {
        currency_index(currency).unwrap()
    }

    fn exchange() -> Exchange {
        let rates = vec![
            rate("BRL", 200_000, 10),
            rate("MXN", 55_000, 20),
            rate("MXN", 50_000, 10),
            rate("MXN", 60_000, 30),
        ];
        Exchange::of(ExchangeRatesPut { settlement_currency: "USD".into(), rates })
    }

    #[test]
    fn the_latest_rate_that_is_valid_holds_until_the_next() {
        let at = |ms| {
            let table = exchange().table_at(Moment(ms));
            let rates = ["MXN", "BRL", "USD", "EUR"].map(|currency| table.rate(index(currency)));
            let one = |currency| exchange().rate_at(index(currency), Moment(ms)).unwrap_or(0);
            assert_eq!(["MXN", "BRL", "USD", "EUR"].map(one), rates, "{ms}");
            (rates, table.until().map(|until| until.0))
        };
        assert_eq!(at(9_999), ([0, 0, RATE_ONE, 0], Some(10_000)));
        assert_eq!(at(10_000), ([50_000, 200_000, RATE_ONE, 0], Some(20_000)));
        assert_eq!(at(19_999), ([50_000, 200_000, RATE_ONE, 0], Some(20_000)));
        assert_eq!(at(20_000), ([55_000, 200_000, RATE_ONE, 0], Some(30_000)));
        assert_eq!(at(30_000), ([60_000, 200_000, RATE_ONE, 0], None));
    }

    #[test]
    fn with_nothing_loaded_all_currencies_are_worth_the_same() {
        let table = Exchange::default().table_at(Moment(5));
        assert_eq!(table, Table::default());
        let only = ExchangeRatesPut { settlement_currency: "MXN".into(), rates: Vec::new() };
        let table = Exchange::of(only).table_at(Moment(5));
        assert_eq!((table.rate(index("MXN")), table.rate(index("USD"))), (RATE_ONE, 0));
    }

    #[test]
    fn a_rate_out_of_its_range_is_none() {
        let put = |rate_micros| ExchangeRatesPut {
            settlement_currency: "USD".into(),
            rates: vec![rate("KWD", rate_micros, 0)],
        };
        let table = |rate_micros| Exchange::of(put(rate_micros)).table_at(Moment(0));
        let kwd = index("KWD");
        assert_eq!(table(RATE_MICROS_MAX + 1).rate(kwd), 0, "no door lets it in");
        assert_eq!(table(RATE_ONE).rate(u8::MAX), 0);
    }
}
