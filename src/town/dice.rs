//! Chance for the town: seeded streams, one for each concern, so that a draw in one moves no other.

use std::ops::RangeInclusive;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::types::time::DAY_MS;

/// Certainty, in the unit of all the town's chances.
pub(crate) const CERTAIN: u32 = 1_000_000;

/// What a stream of chance is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Concern {
    /// Who lives in the town.
    People = 1,
    /// Who advertises there.
    Businesses = 2,
    /// When people look.
    Rhythm = 3,
    /// What they do with what they see.
    Behaviour = 4,
    /// Names that nobody should be able to guess from their number.
    Names = 5,
}

/// One stream of chance. Whole numbers only, so that every machine draws the same.
pub(crate) struct Dice(Xoshiro256PlusPlus);

impl Dice {
    /// Returns the stream of a concern at a place in the town (viewer, tick, slot, …), which no other
    /// place shares.
    pub(crate) fn new(seed: u64, concern: Concern, place: &[u64]) -> Self {
        let start = mix(seed ^ mix(concern as u64));
        let mixed = place.iter().fold(start, |mixed, &part| mix(mixed ^ mix(part)));
        Self(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// Returns any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number from 0 to `end` - 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // Lemire's multiply-and-shift; the bias for the town's small ends is far below notice.
        ((u128::from(self.0.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// Returns a number of the range, its end included.
    pub(crate) fn between(&mut self, range: RangeInclusive<i64>) -> i64 {
        range.start() + self.below((range.end() - range.start() + 1) as u64) as i64
    }

    /// Tells whether something of this chance, in millionths, happens.
    pub(crate) fn chance(&mut self, millionths: u32) -> bool {
        self.below(u64::from(CERTAIN)) < u64::from(millionths)
    }

    /// Returns one of the choices.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Returns the index of one of the weights, as often as its weight says.
    pub(crate) fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        let mut left = self.below(total);
        for (index, &weight) in weights.iter().enumerate() {
            match left.checked_sub(u64::from(weight)) {
                Some(rest) => left = rest,
                None => return index,
            }
        }
        weights.len() - 1
    }

    /// Returns a delay whose half of all draws lie below the median and a few far above it (a
    /// log-logistic distribution), at most a day.
    pub(crate) fn skewed(&mut self, median_ms: i64) -> i64 {
        let share = self.between(1..=999);
        (median_ms * share / (1_000 - share)).min(DAY_MS)
    }
}

/// Spreads a number over all 64 bits (the finaliser of SplitMix64).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: u64, concern: Concern, place: &[u64]) -> Vec<u64> {
        let mut dice = Dice::new(seed, concern, place);
        (0..8).map(|_| dice.below(1_000)).collect()
    }

    #[test]
    fn one_seed_gives_one_stream_and_every_place_its_own() {
        assert_eq!(draws(1, Concern::People, &[3]), draws(1, Concern::People, &[3]));
        assert_ne!(draws(1, Concern::People, &[3]), draws(2, Concern::People, &[3]));
        assert_ne!(draws(1, Concern::People, &[3]), draws(1, Concern::Rhythm, &[3]));
        assert_ne!(draws(1, Concern::People, &[3]), draws(1, Concern::People, &[4]));
        assert_ne!(draws(1, Concern::People, &[3, 4]), draws(1, Concern::People, &[4, 3]));
    }

    #[test]
    fn weights_and_chances_are_kept() {
        let mut dice = Dice::new(7, Concern::Behaviour, &[]);
        let mut counts = [0; 3];
        (0..10_000).for_each(|_| counts[dice.weighted(&[1, 0, 3])] += 1);
        assert_eq!(counts[1], 0);
        assert!((2_300..2_700).contains(&counts[0]), "{counts:?}");
        assert!((0..1_000).all(|_| dice.chance(CERTAIN) && !dice.chance(0)));
    }

    #[test]
    fn a_skewed_delay_has_its_median_and_an_end() {
        let mut dice = Dice::new(7, Concern::Behaviour, &[]);
        let mut delays: Vec<i64> = (0..10_001).map(|_| dice.skewed(60_000)).collect();
        delays.sort_unstable();
        assert!((55_000..65_000).contains(&delays[5_000]));
        assert!(delays[10_000] > 600_000 && dice.skewed(DAY_MS) <= DAY_MS);
    }
}
