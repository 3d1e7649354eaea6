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

impl Micros {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Returns the sum.
    ///
    /// # Panics
    /// When it leaves the range of an `i64`: amounts are bounded at the door, so that is a fault here.
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.checked_add(other.0).expect("amounts are bounded at the door"))
    }

    /// Returns what is left above zero after taking `other` away.
    pub const fn less(self, other: Self) -> Self {
        let left = self.0.saturating_sub(other.0);
        Self(if left > 0 { left } else { 0 })
    }

    /// Returns `self x numerator / denominator`, rounded down, for amounts that are not negative.
    pub const fn scaled(self, numerator: u32, denominator: u32) -> Self {
        let product = self.0 as i128 * numerator as i128 / denominator as i128;
        Self(product as i64)
    }
}

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
    fn what_is_left_is_never_below_nothing() {
        assert_eq!(Micros(5).less(Micros(7)), Micros::ZERO);
        assert_eq!(Micros(i64::MIN).less(Micros(1)), Micros::ZERO);
        assert_eq!(Micros(7).less(Micros(5)), Micros(2));
    }

    #[test]
    fn scaling_rounds_down_and_does_not_overflow() {
        assert_eq!(Micros(10).scaled(1, 3), Micros(3));
        assert_eq!(Micros(AMOUNT_MICROS_MAX).scaled(u32::MAX, u32::MAX), Micros(AMOUNT_MICROS_MAX));
    }

    #[test]
    fn amounts_are_written_in_units() {
        assert_eq!(Micros(1_500_000).to_string(), "1.500000");
        assert_eq!(Micros(-1).to_string(), "-0.000001");
    }
}
