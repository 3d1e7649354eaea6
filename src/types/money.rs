//! Money: whole micros of one currency, never a float.

use std::fmt;

/// Micros in one unit of a currency.
pub const MICROS_PER_UNIT: i64 = 1_000_000;

/// The largest amount that is accepted from outside: a thousand million units. Sums of 9,000 of them fit an `i64`.
/// What is charged is bounded below that; sums of what others only tell (what conversions are worth, what was
/// delivered for nothing) stay at the largest number there is.
pub const AMOUNT_MICROS_MAX: i64 = 1_000_000_000 * MICROS_PER_UNIT;

/// The most that may ever be paid into one account and given to it as promo credit, micros: no balance of
/// its ledger outgrows an `i64` then.
pub const PAID_IN_MICROS_MAX: i64 = 1_000 * AMOUNT_MICROS_MAX;

/// The most that one account is ever charged, micros: what comes beyond is delivered for nothing, so that no sum of
/// charges outgrows an `i64`.
pub const CHARGED_MICROS_MAX: i64 = 4_000 * AMOUNT_MICROS_MAX;

/// Transfers of the operator's in one account: each is kept for ever, so that its id stays used.
pub const FUNDINGS_MAX: usize = 100_000;

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

/// Returns an amount in steps of `step` micros, rounded half to even.
pub const fn half_even(micros: i64, step: i64) -> i64 {
    let (steps, rest) = (micros.div_euclid(step), micros.rem_euclid(step));
    // In i128: twice a rest may be beyond an i64 for a step near its end.
    let twice = rest as i128 * 2;
    let up = twice > step as i128 || twice == step as i128 && steps % 2 != 0;
    (steps + up as i64) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_in_units() {
        assert_eq!(Micros(1_500_000).to_string(), "1.500000");
        assert_eq!(Micros(-1).to_string(), "-0.000001");
    }

    #[test]
    fn a_half_goes_to_the_even_step() {
        let rounded = [14, 15, 16, 25, 26, 5, -5, -15, -16, 0].map(|micros| half_even(micros, 10));
        assert_eq!(rounded, [10, 20, 20, 20, 30, 0, 0, -20, -20, 0]);
    }
}
