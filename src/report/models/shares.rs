//! Whole numbers shared by weights, to the last unit.

use std::cmp::Ordering;

/// Shares `total` (0 or more) by weights of 0 and more: the parts sum to it exactly, by the largest remainders, of
/// equals the first. All parts are 0 where no weight is above 0.
pub(super) fn shares(total: i128, weights: &[f64]) -> Vec<i128> {
    let sum: f64 = weights.iter().sum();
    if sum <= 0.0 || total <= 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: &f64| total as f64 * (weight / sum);
    let mut parts: Vec<_> = weights.iter().map(|weight| exact(weight).floor() as i128).collect();
    let mut order: Vec<_> = (0..weights.len()).filter(|at| weights[*at] > 0.0).collect();
    let rest = |at: &usize| exact(&weights[*at]).fract();
    order.sort_by(|a, b| rest(b).partial_cmp(&rest(a)).unwrap_or(Ordering::Equal));
    // Rounding in floating point may be one unit off either way.
    let mut left = total - parts.iter().sum::<i128>();
    for at in order.iter().copied().cycle() {
        match left.cmp(&0) {
            Ordering::Equal => break,
            Ordering::Greater => (parts[at], left) = (parts[at] + 1, left - 1),
            Ordering::Less if parts[at] > 0 => (parts[at], left) = (parts[at] - 1, left + 1),
            Ordering::Less => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_sum_to_the_whole_and_follow_the_largest_remainders() {
        assert_eq!(shares(10, &[1.0, 1.0, 1.0]), [4, 3, 3]);
        assert_eq!(shares(10, &[0.0, 1.0, 3.0]), [0, 3, 7], "2.5 and 7.5: of equals the first");
        assert_eq!(shares(7, &[0.0, 0.0]), [0, 0]);
        assert_eq!(shares(0, &[1.0]), [0]);
        for seed in 0..2_000_u64 {
            let mut state = seed;
            let mut roll = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state >> 33
            };
            let weights: Vec<_> = (0..1 + roll() % 9).map(|_| (roll() % 1_000) as f64).collect();
            let total = i128::from(roll()) * i128::from(roll() % 4_096);
            let parts = shares(total, &weights);
            let whole = if weights.iter().any(|weight| *weight > 0.0) { total } else { 0 };
            assert_eq!(parts.iter().sum::<i128>(), whole, "seed {seed}");
            assert!(parts.iter().all(|part| *part >= 0), "seed {seed}");
        }
    }
}
