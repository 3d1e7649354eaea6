//! Models that look at all paths of a period at once: Markov removal effects and Shapley values.
//!
//! A path is the order in which a person met the players (campaigns, ad sets or ads) before it ended in an outcome
//! or in nothing. Many people share a path, so paths are counted, not listed.

pub mod compare;
mod markov;
mod shapley;
mod shares;
mod solve;

use std::collections::BTreeMap;

use shares::shares;

pub use markov::{markov, removal_effects};
pub use shapley::shapley;

/// Most players of one run: the matrix of the chain is dense, 8 bytes a pair.
pub const PLAYERS_MAX: usize = 1_024;

/// How often a path was walked, and how it ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ends {
    /// Ended in an outcome.
    pub outcomes: u64,
    /// Ended in nothing.
    pub nothing: u64,
    /// What the outcomes were worth, micros.
    pub value: i64,
}

/// All paths of a period.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Paths {
    players: Vec<u64>,
    walked: BTreeMap<Vec<u32>, Ends>,
}

impl Paths {
    /// Returns no paths yet, between these players.
    ///
    /// # Panics
    /// With more than [`PLAYERS_MAX`] players.
    pub fn between(players: impl IntoIterator<Item = u64>) -> Self {
        let mut players: Vec<_> = players.into_iter().collect();
        players.sort_unstable();
        players.dedup();
        assert!(players.len() <= PLAYERS_MAX, "the caller bounds the players");
        Self { players, walked: BTreeMap::new() }
    }

    /// Returns the players, ascending.
    pub fn players(&self) -> &[u64] {
        &self.players
    }

    /// Adds a path. Players that are not among those told are passed over; a path that meets none is none.
    pub fn add(&mut self, path: impl IntoIterator<Item = u64>, ends: Ends) {
        let place = |player: u64| self.players.binary_search(&player).ok().map(|it| it as u32);
        let path: Vec<_> = path.into_iter().filter_map(place).collect();
        if path.is_empty() {
            return;
        }
        let all = self.walked.entry(path).or_default();
        all.outcomes += ends.outcomes;
        all.nothing += ends.nothing;
        all.value = all.value.saturating_add(ends.value);
    }

    /// Returns how all paths ended.
    pub fn ends(&self) -> Ends {
        let add = |sum: Ends, ends: &Ends| Ends {
            outcomes: sum.outcomes + ends.outcomes,
            nothing: sum.nothing + ends.nothing,
            value: sum.value.saturating_add(ends.value),
        };
        self.walked.values().fold(Ends::default(), add)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u32], Ends)> {
        self.walked.iter().map(|(path, ends)| (&path[..], *ends))
    }
}

/// What one player earned under one model.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Earned {
    /// Millionths of an outcome.
    pub credit_micros: u64,
    /// Its part of the value, micros.
    pub value: i64,
}

/// Shares all outcomes and their value by weights, one a player: the parts sum to exactly the whole, or are all
/// nothing where no weight is above 0.
fn earned(ends: Ends, weights: &[f64]) -> Vec<Earned> {
    let credits = shares(i128::from(ends.outcomes) * 1_000_000, weights);
    let values = shares(ends.value.into(), weights);
    let both = credits.into_iter().zip(values);
    let one = |(credit, value)| Earned {
        credit_micros: u64::try_from(credit).unwrap_or_default(),
        value: i64::try_from(value).unwrap_or_default(),
    };
    both.map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that a seed repeats.
    pub(super) struct Roll(pub(super) u64);

    impl Roll {
        pub(super) fn below(&mut self, end: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }
    }

    /// Returns random paths between at most so many players.
    pub(super) fn random(roll: &mut Roll, players: u64) -> Paths {
        let players = 1 + roll.below(players);
        let mut paths = Paths::between(1..=players);
        for _ in 0..1 + roll.below(12) {
            let path: Vec<_> = (0..1 + roll.below(6)).map(|_| 1 + roll.below(players)).collect();
            let value = roll.below(1_000) as i64;
            paths.add(path, Ends { outcomes: roll.below(4), nothing: roll.below(9), value });
        }
        paths
    }

    #[test]
    fn credits_and_values_sum_to_the_whole() {
        for seed in 0..1_000 {
            let paths = random(&mut Roll(seed), 20);
            let whole = paths.ends();
            for earned in [markov(&paths), shapley(&paths)] {
                let credits: u64 = earned.iter().map(|it| it.credit_micros).sum();
                let values: i64 = earned.iter().map(|it| it.value).sum();
                assert_eq!(credits, whole.outcomes * 1_000_000, "seed {seed}");
                // Without an outcome nobody earns, whatever the value.
                assert!(values == whole.value || whole.outcomes == 0, "seed {seed}");
            }
        }
    }

    #[test]
    fn players_that_were_not_told_are_passed_over() {
        let mut paths = Paths::between([5, 3, 5]);
        paths.add([9], Ends { outcomes: 1, nothing: 0, value: 1 });
        paths.add([9, 3, 8, 5], Ends { outcomes: 1, nothing: 0, value: 1 });
        assert_eq!((paths.players(), paths.ends().outcomes), (&[3, 5][..], 1));
    }
}
