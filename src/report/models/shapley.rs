//! Shapley values of players, where a set of players is worth the outcomes of the paths that meet no other.

use crate::report::models::{Earned, Paths};

/// Shares each path's outcomes equally between the distinct players that it meets: for this game that is the Shapley
/// value exactly (ALGORITHMS 6). Sums to all outcomes and all value.
pub fn shapley(paths: &Paths) -> Vec<Earned> {
    let mut earned = vec![Earned::default(); paths.players().len()];
    for (path, ends) in paths.iter() {
        let mut met = path.to_vec();
        met.sort_unstable();
        met.dedup();
        let credits = evenly(i128::from(ends.outcomes) * 1_000_000, met.len());
        let values = evenly(ends.value.into(), met.len());
        for ((player, credit), value) in met.iter().zip(credits).zip(values) {
            let one = &mut earned[*player as usize];
            one.credit_micros += u64::try_from(credit).unwrap_or_default();
            one.value = one.value.saturating_add(i64::try_from(value).unwrap_or_default());
        }
    }
    earned
}

/// Shares a whole number into even parts; the first get what is left over.
fn evenly(total: i128, parts: usize) -> impl Iterator<Item = i128> {
    let parts = parts as i128;
    let (each, over) = (total / parts, total % parts);
    (0..parts).map(move |at| each + i128::from(at < over))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::models::Ends;
    use crate::report::models::tests::{Roll, random};

    /// The definition: the mean over all orders of what a player adds when it joins those before it.
    fn by_permutations(paths: &Paths) -> Vec<f64> {
        let count = paths.players().len();
        let worth = |set: u32| -> f64 {
            let inside = |path: &[u32]| path.iter().all(|player| set & (1 << player) != 0);
            let of = |(path, ends): (&[u32], Ends)| if inside(path) { ends.outcomes } else { 0 };
            paths.iter().map(of).sum::<u64>() as f64
        };
        let worths: Vec<_> = (0..1_u32 << count).map(worth).collect();
        let (mut sums, mut orders) = (vec![0.0; count], 0.0);
        let mut order: Vec<usize> = (0..count).collect();
        permute(&mut order, 0, &mut |order| {
            let mut set = 0_usize;
            for player in order {
                let with = set | (1 << player);
                sums[*player] += worths[with] - worths[set];
                set = with;
            }
            orders += 1.0;
        });
        sums.into_iter().map(|sum| sum / orders).collect()
    }

    fn permute(order: &mut [usize], from: usize, each: &mut impl FnMut(&[usize])) {
        if from == order.len() {
            return each(order);
        }
        for at in from..order.len() {
            order.swap(from, at);
            permute(order, from + 1, each);
            order.swap(from, at);
        }
    }

    #[test]
    fn it_equals_the_mean_over_all_orders_up_to_seven_players() {
        for seed in 0..300 {
            let mut roll = Roll(seed);
            let paths = random(&mut roll, 7);
            let plain = by_permutations(&paths);
            for (earned, plain) in shapley(&paths).iter().zip(plain) {
                // A path's even share is rounded to a millionth.
                let off = (earned.credit_micros as f64 / 1e6 - plain).abs();
                assert!(off < 1e-6 * paths.iter().count() as f64, "seed {seed}: {off}");
            }
        }
    }

    #[test]
    fn a_player_met_twice_earns_as_one_met_once() {
        let mut paths = Paths::between([7, 9]);
        paths.add([7, 9, 7], Ends { outcomes: 1, nothing: 5, value: 3 });
        paths.add([9], Ends { outcomes: 2, nothing: 0, value: 4 });
        let earned = shapley(&paths);
        assert_eq!(earned[0], Earned { credit_micros: 500_000, value: 2 });
        assert_eq!(earned[1], Earned { credit_micros: 2_500_000, value: 5 });
    }
}
