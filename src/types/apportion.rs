//! Whole numbers shared by weights, to the last unit and fast.

use std::cmp::Reverse;

/// Totals below this one, 1.1 thousand million units of a currency, are divided the fast way where their products
/// fit in 64 bits: three roundings of 2^-53 are then less than one half.
const TOTAL_NARROW: u64 = 1 << 50;

/// Returns a total in whole parts by weight, by largest remainders: each part is rounded down, and what is left
/// goes by one to the largest remainders, of equals to the first. Empty: no weight is above 0. Weights sum to
/// less than 2^64.
pub(in crate::types) fn apportion<W: Copy + Into<u64>>(total: u64, weights: &[W]) -> Vec<u64> {
    let weights = || weights.iter().map(|weight| (*weight).into());
    let (sum, heaviest) = (weights().sum::<u64>(), weights().max().unwrap_or_default());
    if sum == 0 {
        return Vec::new();
    }
    if sum == heaviest {
        // All of it is one touch's.
        return weights().map(|weight| if weight == 0 { 0 } else { total }).collect();
    }
    let is_narrow = total < TOTAL_NARROW && total.checked_mul(heaviest).is_some();
    let inverse = 1.0 / sum as f64;
    let count = weights().len();
    let (mut parts, mut rests) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let mut left = total;
    for (index, weight) in weights().enumerate() {
        let (part, rest) = if is_narrow {
            divide(total * weight, sum, inverse)
        } else {
            let (exact, sum) = (u128::from(total) * u128::from(weight), u128::from(sum));
            ((exact / sum) as u64, (exact % sum) as u64)
        };
        parts.push(part);
        left -= part;
        if rest > 0 {
            rests.push((Reverse(rest), index));
        }
    }
    if left > 0 {
        rests.sort_unstable();
        rests.iter().take(left as usize).for_each(|(_, index)| parts[*index] += 1);
    }
    parts
}

/// Divides whole numbers, exactly: a guess in floating point is at most one off where the quotient is below
/// [`TOTAL_NARROW`], and costs a fraction of a division of 64 bits.
fn divide(exact: u64, sum: u64, inverse: f64) -> (u64, u64) {
    let guess = (exact as f64 * inverse) as u64;
    let rest = exact.wrapping_sub(guess.wrapping_mul(sum)).cast_signed();
    if rest < 0 {
        (guess - 1, rest.wrapping_add_unsigned(sum).cast_unsigned())
    } else if rest.cast_unsigned() >= sum {
        (guess + 1, rest.cast_unsigned() - sum)
    } else {
        (guess, rest.cast_unsigned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dice(u64);

    impl Dice {
        fn roll(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.0 >> 11
        }
    }

    /// The twin: every division with 128 bits, every remainder sorted.
    fn plain(total: u64, weights: &[u64]) -> Vec<u64> {
        let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        if sum == 0 {
            return Vec::new();
        }
        let exact = |weight: &u64| u128::from(total) * u128::from(*weight);
        let mut parts: Vec<_> = weights.iter().map(|weight| (exact(weight) / sum) as u64).collect();
        let left = total - parts.iter().sum::<u64>();
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by_key(|index| Reverse(exact(&weights[*index]) % sum));
        order.iter().take(left as usize).for_each(|index| parts[*index] += 1);
        parts
    }

    #[test]
    fn parts_are_those_of_dividing_with_128_bits() {
        for seed in 0..20_000 {
            let mut dice = Dice(seed);
            let (count, bits) = (1 + dice.roll() % 32, dice.roll() % 33);
            let weight = |dice: &mut Dice| {
                if dice.roll().is_multiple_of(4) { 0 } else { dice.roll() >> (53 - bits) }
            };
            let weights: Vec<_> = (0..count).map(|_| weight(&mut dice)).collect();
            let total = dice.roll() >> (dice.roll() % 53);
            for total in [total, total << 10] {
                let found = apportion(total, &weights);
                assert_eq!(
                    found,
                    plain(total, &weights),
                    "seed {seed}: cargo test --lib parts_are_those"
                );
            }
        }
    }

    #[test]
    fn the_fast_way_to_divide_is_exact() {
        let mut dice = Dice(3);
        let mut roll = || dice.roll();
        for _ in 0..200_000 {
            let sum = 1 + (roll() >> (roll() % 50));
            let quotient = roll() % TOTAL_NARROW.min(u64::MAX / 2 / sum);
            let near = quotient * sum;
            for exact in [near, near + roll() % sum, near.saturating_sub(1), near + sum - 1] {
                let found = divide(exact, sum, 1.0 / sum as f64);
                assert_eq!(found, (exact / sum, exact % sum), "{exact} by {sum}");
            }
        }
    }
}
