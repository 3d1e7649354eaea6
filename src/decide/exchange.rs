//! Amounts of different currencies side by side: values are compared in one settlement currency, and each
//! account pays in its own.
//!
//! Both ways are rounded down, so what comes back of an amount is never more than the amount: a payer is
//! not charged above its bid by conversion.

use std::fmt;

use crate::state::exchange::RATE_ONE;

/// Currencies that can be told apart: a [`crate::types::iso::currency_index`] is a byte.
const CURRENCIES: usize = 256;

/// How bounds of segments are corrected when rates have changed, in parts of [`SCALE_ONE`].
pub const SCALE_ONE: u64 = 1 << 16;

/// What one unit of each currency is worth, micros of the settlement currency, by the currency's number. One
/// without a rate is worth nothing: its ads don't serve.
#[derive(Clone, Eq, PartialEq)]
pub struct Converter(Box<[i64; CURRENCIES]>);

impl Default for Converter {
    /// Compares micros of all currencies as they are, until rates are loaded.
    fn default() -> Self {
        Self(Box::new([RATE_ONE; CURRENCIES]))
    }
}

impl fmt::Debug for Converter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.0.iter().enumerate().filter(|(_, rate)| **rate != RATE_ONE);
        f.debug_map().entries(others).finish()
    }
}

impl Converter {
    /// Returns the table of these rates, micros of the settlement currency for one unit; 0 or less: none.
    pub fn of(rate_of: impl Fn(u8) -> i64) -> Self {
        let mut rates = Box::new([0; CURRENCIES]);
        rates.iter_mut().zip(0..=u8::MAX).for_each(|(at, number)| *at = rate_of(number).max(0));
        Self(rates)
    }

    /// Returns an amount of a currency in the settlement currency, rounded down.
    pub fn settle(&self, currency: u8, micros: i64) -> i64 {
        let rate = self.0[usize::from(currency)];
        if rate == RATE_ONE {
            return micros;
        }
        // Every survivor of a walk is valued, and a division of 128 bits costs more than the rest of it.
        match micros.checked_mul(rate) {
            Some(product) => product.div_euclid(RATE_ONE),
            None => narrow((wide(micros) * wide(rate)).div_euclid(wide(RATE_ONE))),
        }
    }

    /// Returns an amount of the settlement currency in another, rounded down; 0: it has no rate.
    pub fn back(&self, currency: u8, micros: i64) -> i64 {
        match self.0[usize::from(currency)] {
            RATE_ONE => micros,
            0 => 0,
            rate => narrow((wide(micros) * wide(RATE_ONE)).div_euclid(wide(rate))),
        }
    }

    /// Returns the least amount of another currency that is worth this much, micros; `None`: no amount is.
    pub fn back_up(&self, currency: u8, micros: i64) -> Option<i64> {
        match self.0[usize::from(currency)] {
            RATE_ONE => Some(micros),
            0 => None,
            rate => {
                let up = wide(micros) * wide(RATE_ONE) + wide(rate) - 1;
                Some(narrow(up.div_euclid(wide(rate))))
            }
        }
    }

    /// Returns what a bound of amounts of these currencies by `older` rates must be multiplied with so that it
    /// still is one, in parts of [`SCALE_ONE`], rounded up; at least 1.
    pub fn scale_since(&self, older: &Self, currencies: &Currencies) -> u64 {
        let scale = |number: usize| {
            let (new, old) = (&self.0[number], &older.0[number]);
            if new <= old {
                return SCALE_ONE;
            }
            let scaled = u128::from(new.unsigned_abs()) * u128::from(SCALE_ONE);
            // What was worth nothing has no bound.
            let scaled = scaled.checked_div(u128::from(old.unsigned_abs())).unwrap_or(u128::MAX);
            u64::try_from(scaled).unwrap_or(u64::MAX).saturating_add(1)
        };
        let numbers = (0..CURRENCIES).filter(|number| currencies.has(*number));
        numbers.map(scale).max().unwrap_or(SCALE_ONE)
    }
}

/// Currencies, a bit each by number.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Currencies([u64; CURRENCIES / u64::BITS as usize]);

impl Currencies {
    /// Puts one in.
    pub fn put(&mut self, currency: u8) {
        self.0[usize::from(currency) / u64::BITS as usize] |=
            1 << (u32::from(currency) % u64::BITS);
    }

    /// Returns those that are in either.
    pub fn or(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(one, other)| *one |= other);
        self
    }

    fn has(&self, number: usize) -> bool {
        self.0[number / u64::BITS as usize] >> (number % u64::BITS as usize) & 1 == 1
    }
}

/// Returns a bound that holds after rates have changed; see [`Converter::scale_since`].
pub fn scaled(bound: i64, scale: u64) -> i64 {
    match scale {
        SCALE_ONE => bound,
        u64::MAX => i64::MAX,
        // Each rounding, of the old amount and of the new, takes less than a micro.
        _ => {
            let scaled = (wide(bound.max(0)) + 1) * i128::from(scale);
            narrow(scaled / i128::from(SCALE_ONE) + 1)
        }
    }
}

fn wide(micros: i64) -> i128 {
    micros.into()
}

fn narrow(micros: i128) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::hash::mix;

    fn rates(seed: u64) -> Converter {
        Converter::of(|number| {
            let roll = mix(seed ^ u64::from(number));
            (roll % 10_i64.pow((roll >> 60) as u32 % 13).unsigned_abs()) as i64
        })
    }

    #[test]
    fn nothing_is_gained_by_going_there_and_back() {
        for seed in 0..2_000_u64 {
            let (table, number) = (rates(seed), seed as u8);
            let micros = (mix(seed ^ 7) >> (seed % 60 + 2)) as i64;
            let settled = table.settle(number, micros);
            let back = table.back(number, settled);
            assert!(back <= micros, "seed {seed}: {micros} became {back}");
            if let Some(up) = table.back_up(number, settled) {
                assert!(table.settle(number, up) >= settled, "seed {seed}");
                assert!(up <= micros.max(0), "seed {seed}: it is the least");
            }
        }
    }

    #[test]
    fn without_rates_micros_are_compared_as_they_are() {
        let table = Converter::default();
        assert_eq!((table.settle(9, 1_234), table.back(9, 1_234)), (1_234, 1_234));
        assert_eq!(table, Converter::of(|_| RATE_ONE));
    }

    #[test]
    fn a_bound_by_older_rates_still_is_one_when_it_is_scaled() {
        for seed in 0..2_000_u64 {
            let (old, new) = (rates(seed), rates(seed + 1));
            let number = mix(seed) as u8;
            let mut currencies = Currencies::default();
            currencies.put(number);
            let scale = new.scale_since(&old, &currencies);
            let micros = (mix(seed ^ 7) >> (seed % 40 + 20)) as i64;
            let bound = scaled(old.settle(number, micros), scale);
            assert!(new.settle(number, micros) <= bound, "seed {seed}");
        }
    }

    #[test]
    fn a_rate_of_a_currency_that_nobody_has_changes_no_bound() {
        let only = |known: &'static [u8]| {
            Converter::of(move |number| if known.contains(&number) { RATE_ONE } else { 0 })
        };
        let (old, new) = (only(&[7]), only(&[7, 9]));
        let mut mine = Currencies::default();
        mine.put(7);
        assert_eq!(new.scale_since(&old, &mine), SCALE_ONE);
        let mut both = Currencies::default();
        both.put(9);
        assert_eq!(new.scale_since(&old, &mine.or(both)), u64::MAX);
    }
}
