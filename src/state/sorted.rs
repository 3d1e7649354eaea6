//! A map of few numbers that lies in one piece: no room is lost to open addressing, and little to growth.

use serde::{Deserialize, Serialize};

/// A part of its length that a full map grows by: more would be memory that millions of them never use.
const GROWTH_PART: usize = 8;

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

    fn place(&self, key: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |(known, _)| *known)
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

    #[test]
    fn it_is_the_map_that_it_stands_for_and_grows_by_little() {
        for seed in 0..120_u64 {
            let (mut sorted, mut plain) = (Sorted::<u64>::default(), BTreeMap::<u64, u64>::new());
            for step in 0..seed % 97 {
                let luck = mix(seed << 32 | step);
                let key = luck % 40;
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
                let room = sorted.0.capacity();
                assert!(room <= 1 + plain.len() + plain.len() / 4 + 40 / GROWTH_PART, "{room}");
            }
        }
    }
}
