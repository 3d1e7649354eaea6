//! Money: whole micros of one currency, never a float.

use std::fmt;

/// Micros in one unit of a currency.
pub const MICROS_PER_UNIT: i64 = 1_000_000;

/// The largest amount that is accepted from outside: a thousand million units. Sums of 9,000 of them
/// still fit an `i64`; sums inside the engine saturate nowhere, they are checked.
pub const AMOUNT_MICROS_MAX: i64 = 1_000_000_000 * MICROS_PER_UNIT;

/// Bids for 1,000 impressions come in steps of this, so that one impression is whole micros.
pub const CPM_STEP_MICROS: i64 = 1_000;

/// An amount in millionths of the account's currency.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Micros(pub i64);

impl fmt::Display for Micros {
    /// Writes units and six decimals: `1.500000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        let unit = MICROS_PER_UNIT.unsigned_abs();
        write!(f, "{sign}{}.{:06}", micros / unit, micros % unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_in_units() {
        assert_eq!(Micros(1_500_000).to_string(), "1.500000");
        assert_eq!(Micros(-1).to_string(), "-0.000001");
    }
}
