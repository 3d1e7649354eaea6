//! How many different people: a few of them exactly, many by a sketch. Both are the same whatever the order in
//! which people come, so shards need not be in step.

use std::collections::BTreeMap;

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
    Sparse(BTreeMap<u16, u8>),
    /// All registers.
    Dense(Vec<u8>),
}

impl Default for People {
    fn default() -> Self {
        Self::Sparse(BTreeMap::new())
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
                registers.iter().for_each(|(index, rank)| self.raise(*index, *rank));
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
            Self::Sparse(registers) => registers.len(),
            Self::Dense(registers) => registers.iter().filter(|rank| **rank > 0).count(),
        }
    }

    /// Returns all registers.
    pub fn registers(&self) -> Vec<u8> {
        match self {
            Self::Dense(registers) => registers.clone(),
            Self::Sparse(some) => {
                let mut registers = vec![0; SKETCH_REGISTERS];
                some.iter().for_each(|(index, rank)| registers[usize::from(*index)] = *rank);
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
                let register = registers.entry(index).or_default();
                *register = (*register).max(rank);
                if registers.len() > SPARSE_MAX {
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

/// Whether there are enough different people. Who they are is forgotten as soon as there are, so both are the
/// same whatever the order.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Few {
    /// Hashes of those that there are, ascending.
    Known(Vec<u32>),
    /// There are enough.
    Enough,
}

impl Default for Few {
    fn default() -> Self {
        Self::Known(Vec::new())
    }
}

impl Few {
    /// Adds a person. `enough` is always the same.
    pub fn add(&mut self, person: u64, enough: usize) {
        let Self::Known(known) = self else { return };
        // The upper bits are the shard's, the same in a bucket.
        let hash = person as u32;
        let Err(at) = known.binary_search(&hash) else { return };
        known.insert(at, hash);
        if known.len() >= enough {
            *self = Self::Enough;
        }
    }

    /// Tells whether there are enough.
    pub const fn is_enough(&self) -> bool {
        matches!(self, Self::Enough)
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
        let all = people(9, 80);
        for count in [0, 1, 49, 50, 51, 80] {
            let (mut one, mut other) = (Few::default(), Few::default());
            all[..count].iter().for_each(|person| one.add(*person, 50));
            all[..count].iter().rev().chain(&all[..count]).for_each(|it| other.add(*it, 50));
            assert_eq!((one.is_enough(), &one), (count >= 50, &other));
        }
    }
}
