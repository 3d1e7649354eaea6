//! How many different people: a few of them exactly, many by a sketch. Both are the same whatever the order in
//! which people come, so shards need not be in step.

use serde::{Deserialize, Serialize};

/// Bits of a person's number that choose a register: 4,096 registers, a standard error of 1.04 / 64 = 1.6 %
/// (Flajolet et al. 2007).
pub const SKETCH_PRECISION: u32 = 12;

/// Registers of a sketch.
pub const SKETCH_REGISTERS: usize = 1 << SKETCH_PRECISION;

/// Registers that are kept one by one; with more, all are.
const SPARSE_MAX: usize = 1_024;

/// Bits of a person's number that are a keyed hash; those above are its shard.
const HASH_BITS: u32 = 58;

/// A HyperLogLog of people, its registers only. Numbers of viewers are keyed hashes already.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum People {
    /// Registers above 0.
    Sparse(Registers),
    /// All registers.
    Dense(Vec<u8>),
}

/// Some registers of a sketch. Most views find theirs among the numbers alone, which fit in a few cache lines.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Registers {
    /// Their numbers, ascending.
    numbers: Vec<u16>,
    /// What each holds, in the same order.
    ranks: Vec<u8>,
}

impl Registers {
    fn iter(&self) -> impl Iterator<Item = (u16, u8)> {
        self.numbers.iter().copied().zip(self.ranks.iter().copied())
    }

    fn raise(&mut self, number: u16, rank: u8) {
        match self.numbers.binary_search(&number) {
            Ok(at) => self.ranks[at] = self.ranks[at].max(rank),
            Err(at) => {
                self.numbers.insert(at, number);
                self.ranks.insert(at, rank);
            }
        }
    }
}

impl Default for People {
    fn default() -> Self {
        Self::Sparse(Registers::default())
    }
}

impl People {
    /// Adds a person, once however often.
    pub fn add(&mut self, person: u64) {
        let index = person as usize % SKETCH_REGISTERS;
        let rest = person >> SKETCH_PRECISION;
        let rank = rest.trailing_zeros().min(HASH_BITS - SKETCH_PRECISION) + 1;
        self.raise(index as u16, rank as u8);
    }

    /// Adds everybody whom another one holds.
    pub fn merge(&mut self, other: &Self) {
        match other {
            Self::Sparse(registers) => {
                registers.iter().for_each(|(index, rank)| self.raise(index, rank));
            }
            Self::Dense(registers) => {
                self.densify();
                let Self::Dense(own) = self else { return };
                for (own, other) in own.iter_mut().zip(registers) {
                    *own = (*own).max(*other);
                }
            }
        }
    }

    /// Returns how many registers are above 0: there are at least as many people.
    pub fn filled(&self) -> usize {
        match self {
            Self::Sparse(registers) => registers.numbers.len(),
            Self::Dense(registers) => registers.iter().filter(|rank| **rank > 0).count(),
        }
    }

    /// Returns all registers.
    pub fn registers(&self) -> Vec<u8> {
        match self {
            Self::Dense(registers) => registers.clone(),
            Self::Sparse(some) => {
                let mut registers = vec![0; SKETCH_REGISTERS];
                some.iter().for_each(|(index, rank)| registers[usize::from(index)] = rank);
                registers
            }
        }
    }

    fn raise(&mut self, index: u16, rank: u8) {
        match self {
            Self::Dense(registers) => {
                let register = &mut registers[usize::from(index) % SKETCH_REGISTERS];
                *register = (*register).max(rank);
            }
            Self::Sparse(registers) => {
                registers.raise(index, rank);
                if registers.numbers.len() > SPARSE_MAX {
                    self.densify();
                }
            }
        }
    }

    fn densify(&mut self) {
        if matches!(self, Self::Sparse(_)) {
            *self = Self::Dense(self.registers());
        }
    }
}

/// People of whom there are not enough yet: their hashes, ascending.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Few(Vec<u32>);

impl Few {
    /// Adds a person, and tells whether there are enough now: then who they are is forgotten, so the same is
    /// known whatever the order.
    pub fn add(&mut self, person: u64, enough: usize) -> bool {
        // The upper bits are the shard's, the same in a bucket.
        let hash = person as u32;
        let Err(at) = self.0.binary_search(&hash) else { return false };
        if self.0.len() + 1 >= enough {
            self.0 = Vec::new();
            return true;
        }
        self.0.insert(at, hash);
        false
    }

    /// Tells whether nobody is known.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns numbers as keyed hashes are.
    fn people(seed: u64, count: usize) -> Vec<u64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn a_sketch_is_the_same_in_any_order_and_by_any_merge() {
        for (seed, count) in [(1, 0), (2, 7), (3, 900), (4, 1_200), (5, 20_000)] {
            let all = people(seed, count);
            let (mut one, mut other) = (People::default(), People::default());
            all.iter().for_each(|person| one.add(*person));
            all.iter().rev().chain(&all).for_each(|person| other.add(*person));
            assert_eq!(one, other, "{count}");
            let (mut left, mut right) = (People::default(), People::default());
            all.iter().take(count / 3).for_each(|person| left.add(*person));
            all.iter().skip(count / 4).for_each(|person| right.add(*person));
            let mut swapped = right.clone();
            swapped.merge(&left);
            left.merge(&right);
            assert_eq!((left.registers(), swapped.registers()), (one.registers(), one.registers()));
        }
    }

    #[test]
    fn few_are_counted_exactly_and_in_any_order() {
        fn count(people: &[u64]) -> (bool, Few) {
            let mut few = Few::default();
            let reached = people.iter().any(|person| few.add(*person, 50));
            (reached, few)
        }
        let all = people(9, 80);
        for different in [0, 1, 49, 50, 51, 80] {
            let twice = [&all[..different], &all[..different]].concat();
            let reversed: Vec<u64> = twice.iter().rev().copied().collect();
            let (reached, few) = count(&twice);
            assert_eq!(
                (reached, few.0.len()),
                (different >= 50, different % 50 * usize::from(different < 50))
            );
            assert_eq!(count(&reversed), (reached, few));
        }
    }
}
