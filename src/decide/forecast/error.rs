//! How far forecasts are off in themselves: what their samples don't explain of earlier errors.

use crate::decide::forecast::tally::Span;

/// The middle absolute size of a standard normal number.
const MIDDLE: f64 = 0.674_5;

/// How many standard deviations of a normal number the ends of a [`Span`] are away from its middle: so many of
/// ten stay within.
const END: f64 = 1.281_6;
/// See [`END`].
const WITHIN: usize = 8;

/// Halvings of the search: an error is found to a thousand-millionth.
const HALVINGS: usize = 30;

/// A forecast that was compared with what came.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// By which share it was off.
    pub error: f64,
    /// What its sample explains of that: a standard deviation, a share.
    pub sampling: f64,
}

impl Outcome {
    /// Compares a forecast, made by a plan whose `off` is 0, with what came.
    pub fn of(told: Span, truth: f64) -> Self {
        let expected = told.expected.max(1) as f64;
        let width = told.high.saturating_sub(told.low) as f64;
        let error = (told.expected as f64 / truth - 1.0).abs();
        Self { error, sampling: width / 2.0 / END / expected }
    }
}

/// Returns the middle of errors that the samples don't explain, a share: that of the normal error with which,
/// beside the samples' own, eight of ten of the intervals would have held what came. Errors have longer tails
/// than a normal one, so their own middle would say too little of that. 0 where samples explain all.
pub fn model_error(outcomes: &[Outcome]) -> f64 {
    let end = |model: f64| {
        let sizes = outcomes.iter().map(|it| it.error / it.sampling.hypot(model).max(1e-12));
        let mut sizes: Vec<f64> = sizes.collect();
        sizes.sort_by(f64::total_cmp);
        sizes.get(sizes.len() * WITHIN / 10).copied().unwrap_or_default()
    };
    let most = outcomes.iter().map(|it| it.error).fold(0.0, f64::max) / END;
    let (mut low, mut high) = (0.0, most);
    for _ in 0..HALVINGS {
        let between = f64::midpoint(low, high);
        if end(between) > END {
            low = between;
        } else {
            high = between;
        }
    }
    if end(0.0) <= END { 0.0 } else { high * MIDDLE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::hash::mix;

    /// A standard normal number, nearly.
    fn normal(seed: u64) -> f64 {
        let uniform = |n: u64| mix(mix(seed) ^ n) as f64 / u64::MAX as f64;
        (0..12).map(uniform).sum::<f64>() - 6.0
    }

    #[test]
    fn what_samples_explain_is_not_laid_to_the_model() {
        for (sampling, model) in [(0.03, 0.0), (0.03, 0.04), (0.001, 0.02), (0.05, 0.05)] {
            let outcome = |n: u64| {
                let error = sampling * normal(n) + model * normal(n + (1 << 32));
                Outcome { error: error.abs(), sampling }
            };
            let outcomes: Vec<Outcome> = (0..4_000).map(outcome).collect();
            let found = model_error(&outcomes) / MIDDLE;
            assert!((found - model).abs() < 0.1 * model + 0.008, "{sampling} {model}: {found}");
        }
        assert!(model_error(&[]).abs() < 1e-12);
    }

    #[test]
    fn a_span_says_its_deviation() {
        let told = Span { low: 872, expected: 1_000, high: 1_128 };
        let Outcome { error, sampling } = Outcome::of(told, 800.0);
        assert!((error - 0.25).abs() < 1e-9 && (sampling - 0.1).abs() < 1e-3, "{sampling}");
    }
}
