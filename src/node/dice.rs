//! The random-source seam: seeded dice for simulation and town, the system's for a server.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use crate::types::dice::Dice;

/// Xoshiro256++: portable, so one seed rolls the same everywhere. For choosing and naming, never for
/// secrets.
#[derive(Clone, Debug)]
pub struct SeededDice(Xoshiro256PlusPlus);

impl SeededDice {
    /// Returns dice that roll this seed's numbers.
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Returns dice seeded by the operating system.
    pub fn from_system() -> Self {
        let mut seed = [0; 8];
        fill_from_system(&mut seed);
        Self::new(u64::from_le_bytes(seed))
    }
}

impl Dice for SeededDice {
    fn roll(&mut self) -> u64 {
        self.0.next_u64()
    }
}

/// Fills a buffer with the operating system's randomness: keys and names that must not be guessed.
///
/// # Panics
/// When the operating system has none to give; nothing safe can be done then.
pub fn fill_from_system(buffer: &mut [u8]) {
    use rand::TryRng;
    rand::rngs::SysRng.try_fill_bytes(buffer).expect("the operating system gives randomness");
}
