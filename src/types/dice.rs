//! The random-source seam: chance is an argument, so a replay rolls the same.

/// Gives random numbers. The only source of chance in the engine.
pub trait Dice {
    /// Returns the next 64 random bits.
    fn roll(&mut self) -> u64;
}
