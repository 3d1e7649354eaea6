//! A Markov chain of order 1 over the players: what would be lost without each of them.

use crate::report::models::solve::inverse;
use crate::report::models::{Earned, Paths, earned};

/// Shares all outcomes and their value in proportion to the removal effects.
pub fn markov(paths: &Paths) -> Vec<Earned> {
    earned(paths.ends(), &removal_effects(paths))
}

/// Returns for each player the share of outcomes that would be lost without it, 0 to 1: one less the chance of an
/// outcome where every step to it ends in nothing, over that chance where none does.
///
/// The states are the start, the players, outcome and nothing; chances of a step are its counts. With Q the steps
/// between players, s those from the start and r those to an outcome, x = (I - Q)^-1 r is the chance of an outcome from
/// each player (ALGORITHMS 6). Whoever meets c does so for a first time, and from there on the chain forgets: without
/// c exactly the paths through it are lost, P(c is ever met) x_c, where P(c is ever met) is the expected number of
/// visits, (s (I - Q)^-1)_c, over that of a chain that begins in c, ((I - Q)^-1)_cc. So one inverse serves all players
/// (the rank-one update of Sherman and Morrison, written out).
pub fn removal_effects(paths: &Paths) -> Vec<f64> {
    let size = paths.players().len();
    let chain = Chain::of(paths, size);
    let none = vec![0.0; size];
    // No player can be left for ever without an end, so I - Q has an inverse.
    let Some(visits) = inverse(chain.left(), size) else { return none };
    let chance: Vec<f64> =
        (0..size).map(|from| dot(&visits[from * size..][..size], &chain.won)).collect();
    let whole = dot(&chain.start, &chance);
    if whole <= 0.0 {
        return none;
    }
    let met = |player: usize| -> f64 {
        let visited: f64 =
            (0..size).map(|from| chain.start[from] * visits[from * size + player]).sum();
        visited / visits[player * size + player]
    };
    (0..size).map(|player| (met(player) * chance[player] / whole).clamp(0.0, 1.0)).collect()
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// Chances of steps.
struct Chain {
    start: Vec<f64>,
    /// From each player (row) to each.
    steps: Vec<f64>,
    /// From each player to an outcome.
    won: Vec<f64>,
}

impl Chain {
    fn of(paths: &Paths, size: usize) -> Self {
        let (mut start, mut steps) = (vec![0.0; size], vec![0.0; size * size]);
        let (mut won, mut left) = (vec![0.0; size], vec![0.0; size]);
        let mut walked = 0.0;
        for (path, ends) in paths.iter() {
            let times = (ends.outcomes + ends.nothing) as f64;
            let (Some(first), Some(last)) = (path.first(), path.last()) else { continue };
            start[*first as usize] += times;
            walked += times;
            for step in path.windows(2) {
                steps[step[0] as usize * size + step[1] as usize] += times;
                left[step[0] as usize] += times;
            }
            won[*last as usize] += ends.outcomes as f64;
            left[*last as usize] += times;
        }
        let over = |count: &mut f64, all: f64| *count = if all > 0.0 { *count / all } else { 0.0 };
        start.iter_mut().for_each(|count| over(count, walked));
        for (player, all) in left.iter().enumerate() {
            over(&mut won[player], *all);
            steps[player * size..][..size].iter_mut().for_each(|count| over(count, *all));
        }
        Self { start, steps, won }
    }

    /// Returns I - Q.
    fn left(&self) -> Vec<f64> {
        let size = self.won.len();
        let mut left: Vec<_> = self.steps.iter().map(|chance| -chance).collect();
        (0..size).for_each(|at| left[at * size + at] += 1.0);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::models::Ends;
    use crate::report::models::tests::{Roll, random};

    /// The definition: the chance of an outcome, step by step until nobody walks any more, with and without a player.
    fn by_walking(paths: &Paths) -> Vec<f64> {
        let size = paths.players().len();
        let chain = Chain::of(paths, size);
        let walk = |without: Option<usize>| -> f64 {
            let (mut here, mut won) = (chain.start.clone(), 0.0);
            for _ in 0..20_000 {
                if let Some(gone) = without {
                    here[gone] = 0.0;
                }
                won += dot(&here, &chain.won);
                let to = |to: usize| -> f64 {
                    (0..size).map(|from| here[from] * chain.steps[from * size + to]).sum()
                };
                here = (0..size).map(to).collect();
                if here.iter().sum::<f64>() < 1e-15 {
                    break;
                }
            }
            won
        };
        let whole = walk(None);
        let effect = |player| if whole > 0.0 { 1.0 - walk(Some(player)) / whole } else { 0.0 };
        (0..size).map(effect).collect()
    }

    #[test]
    fn it_equals_walking_the_chain_with_each_player_taken_out() {
        for seed in 0..1_000 {
            let paths = random(&mut Roll(seed), 7);
            for (fast, plain) in removal_effects(&paths).iter().zip(by_walking(&paths)) {
                assert!((fast - plain).abs() < 1e-9, "seed {seed}: {fast} and {plain}");
            }
        }
    }

    #[test]
    fn a_chain_solved_by_hand() {
        // A to B to an outcome once, A to nothing once, B to an outcome once, B to nothing once.
        let mut paths = Paths::between([1, 2]);
        let won = Ends { outcomes: 1, nothing: 0, value: 0 };
        let lost = Ends { outcomes: 0, nothing: 1, value: 0 };
        paths.add([1, 2], won);
        paths.add([1], lost);
        paths.add([2], won);
        paths.add([2], lost);
        // From B 2 of 3 end well, from A half go to B: 1/3. The start goes to each with 1/2: 1/2 in all.
        // Without A: 1/2 x 2/3 = 1/3, so a third is lost; without B all is.
        let effects = removal_effects(&paths);
        assert!((effects[0] - 1.0 / 3.0).abs() < 1e-12 && (effects[1] - 1.0).abs() < 1e-12);
        let credits: Vec<_> = markov(&paths).iter().map(|it| it.credit_micros).collect();
        assert_eq!(credits, [500_000, 1_500_000]);
    }

    #[test]
    fn staying_with_a_player_changes_nothing() {
        let ends = Ends { outcomes: 3, nothing: 4, value: 0 };
        let run = |path: &[u64]| {
            let mut paths = Paths::between([1, 2]);
            paths.add(path.iter().copied(), ends);
            paths.add([2], Ends { outcomes: 1, nothing: 9, value: 0 });
            removal_effects(&paths)
        };
        for (once, often) in run(&[1, 2]).iter().zip(run(&[1, 1, 1, 2])) {
            assert!((once - often).abs() < 1e-12);
        }
    }

    #[test]
    fn without_an_outcome_nobody_earns() {
        let mut paths = Paths::between([1]);
        paths.add([1], Ends { outcomes: 0, nothing: 4, value: 0 });
        assert_eq!(markov(&paths), [Earned::default()]);
    }
}
