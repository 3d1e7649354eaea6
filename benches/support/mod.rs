//! What benches share: the raw disk and the baselines that figures are compared with.

pub(crate) mod engine;
pub(crate) mod fjall_store;
pub(crate) mod raw;
pub(crate) mod shop;

use std::time::Duration;

/// How many batches were made durable, how fast, and how long one took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Batches a second over the whole run.
    pub batches_per_second: f64,
    /// The median time of one batch: of its sync alone in the raw run.
    pub p50: Duration,
}

impl Rate {
    /// Returns the rate of a run of `total` whose batches took `each`.
    pub(crate) fn of(total: Duration, mut each: Vec<Duration>) -> Self {
        each.sort_unstable();
        Self {
            batches_per_second: each.len() as f64 / total.as_secs_f64(),
            p50: each[each.len() / 2],
        }
    }
}

/// Returns the median of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
