//! Seeded chance for the simulation, one stream for each purpose.

use munadi::node::dice::SeededDice;
use munadi::types::dice::Dice;

/// A stream of chance.
pub(crate) struct Luck(SeededDice);

impl Luck {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SeededDice::new(seed))
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0.roll()
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// Returns a number from `start`, below `end`.
    pub(crate) fn between(&mut self, start: i64, end: i64) -> i64 {
        start + self.below((end - start) as u64) as i64
    }

    /// Comes true so many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Returns the seed of another stream.
    pub(crate) fn split(&mut self) -> Self {
        Self::new(self.roll())
    }
}
