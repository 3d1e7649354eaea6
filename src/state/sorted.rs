//! A map of few numbers that lies in one piece: no room is lost to open addressing, and little to growth.

use serde::{Deserialize, Serialize};

use crate::state::route::BUCKETS;

/// A part of its length that a full map grows by: more would be memory that millions of them never use.
const GROWTH_PART: usize = 8;

/// How far from the guess is looked first: a map of 150 has a number five places off in the mean.
const STEP: usize = 4;

/// Returns about where a number of this bucket stands among so many: its first bits are those of all here.
const fn guess(key: u64, count: usize) -> usize {
    let part = key << BUCKETS.ilog2();
    ((part as u128 * count as u128) >> 64) as usize
}

/// A map by number, ascending.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sorted<V>(Vec<(u64, V)>);

impl<V> Default for Sorted<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Sorted<V> {
    /// Returns how many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value of a number.
    pub fn get(&self, key: &u64) -> Option<&V> {
        self.place(*key).ok().and_then(|at| self.0.get(at)).map(|(_, value)| value)
    }

    /// Returns the value of a number, to be changed.
    pub fn get_mut(&mut self, key: &u64) -> Option<&mut V> {
        let at = self.place(*key).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    /// Tells whether a number has a value.
    pub fn contains_key(&self, key: &u64) -> bool {
        self.place(*key).is_ok()
    }

    /// Takes a number's value out.
    pub fn remove(&mut self, key: &u64) -> Option<V> {
        self.place(*key).ok().map(|at| self.0.remove(at).1)
    }

    /// Keeps what is as asked.
    pub fn retain(&mut self, mut keep: impl FnMut(&u64, &mut V) -> bool) {
        let before = self.0.len();
        self.0.retain_mut(|(key, value)| keep(key, value));
        if self.0.len() < before {
            self.0.shrink_to(self.0.len() + self.0.len() / GROWTH_PART);
        }
    }

    /// Returns all numbers with their values, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&u64, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Returns all values, ascending by their numbers.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Returns where a number is, or belongs.
    ///
    /// Looked for from where it would stand were all spread evenly, and away from there by steps that double: viewers'
    /// numbers are hashes, so it is a few places off, in one or two lines of the cache. Halving the whole would miss
    /// the cache at almost each step.
    fn place(&self, key: u64) -> Result<usize, usize> {
        let is_before = |at: usize| self.0.get(at).is_some_and(|(known, _)| *known < key);
        let mut step = STEP;
        let guess = guess(key, self.0.len());
        let (mut low, mut high) = (guess, guess);
        if is_before(guess) {
            while is_before(high) {
                (low, high) = (high + 1, high + step);
                step *= 2;
            }
        } else {
            while low > 0 && !is_before(low - 1) {
                (low, high) = (low.saturating_sub(step), low - 1);
                step *= 2;
            }
        }
        let high = high.min(self.0.len());
        let at = low + self.0[low..high].partition_point(|(known, _)| *known < key);
        if self.0.get(at).is_some_and(|(known, _)| *known == key) { Ok(at) } else { Err(at) }
    }
}

impl<V: Default> Sorted<V> {
    /// Returns the value of a number, a new one if it has none.
    pub fn or_default(&mut self, key: u64) -> &mut V {
        let at = self.place(key).unwrap_or_else(|at| {
            if self.0.len() == self.0.capacity() {
                self.0.reserve_exact(1 + self.0.len() / GROWTH_PART);
            }
            self.0.insert(at, (key, V::default()));
            at
        });
        &mut self.0[at].1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::types::hash::mix;

    fn halved(sorted: &Sorted<u64>, key: u64) -> Result<usize, usize> {
        sorted.0.binary_search_by_key(&key, |(known, _)| *known)
    }

    #[test]
    fn a_number_is_found_where_halving_finds_it() {
        for seed in 0..300_u64 {
            let count = mix(seed) % 400;
            let lies = |number: u64| match seed % 4 {
                0 => mix(number) >> BUCKETS.ilog2(),
                1 => mix(number),
                2 => number,
                _ => u64::MAX - number * number,
            };
            let mut sorted = Sorted::default();
            (0..count).for_each(|number| *sorted.or_default(lies(number)) = number);
            let others = (0..400).map(|number| mix(number ^ seed) >> (number % 64));
            for key in (0..400).map(lies).chain(others).chain([0, u64::MAX]) {
                assert_eq!(sorted.place(key), halved(&sorted, key), "seed {seed}, {key}");
            }
        }
    }

    #[test]
    fn it_is_the_map_that_it_stands_for_and_grows_by_little() {
        for seed in 0..120_u64 {
            let (mut sorted, mut plain) = (Sorted::<u64>::default(), BTreeMap::<u64, u64>::new());
            for step in 0..seed % 97 {
                let luck = mix(seed << 32 | step);
                // All near one end, spread as hashes of one bucket are, or over all buckets.
                let key = match seed % 3 {
                    0 => luck % 40,
                    1 => mix(luck % 40) >> BUCKETS.ilog2(),
                    _ => mix(luck % 40),
                };
                match luck >> 60 {
                    0..=1 => assert_eq!(sorted.remove(&key), plain.remove(&key), "seed {seed}"),
                    2 => {
                        let keep = |key: &u64, value: &mut u64| !(*key + *value).is_multiple_of(3);
                        sorted.retain(keep);
                        plain.retain(keep);
                    }
                    3 => sorted
                        .get_mut(&key)
                        .into_iter()
                        .zip(plain.get_mut(&key))
                        .for_each(|(one, other)| (*one, *other) = (*one + 5, *other + 5)),
                    _ => {
                        *sorted.or_default(key) += step;
                        *plain.entry(key).or_default() += step;
                    }
                }
                assert!(sorted.iter().eq(plain.iter()), "seed {seed}");
                assert!(sorted.values().eq(plain.values()), "seed {seed}");
                assert_eq!((sorted.len(), sorted.is_empty()), (plain.len(), plain.is_empty()));
                assert_eq!(sorted.get(&key), plain.get(&key), "seed {seed}");
                assert_eq!(sorted.contains_key(&key), plain.contains_key(&key), "seed {seed}");
                assert_eq!(sorted.place(key), halved(&sorted, key), "seed {seed}");
                let room = sorted.0.capacity();
                assert!(room <= 1 + plain.len() + plain.len() / 4 + 40 / GROWTH_PART, "{room}");
            }
        }
    }
}
