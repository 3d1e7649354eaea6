//! A cost cap: the average cost of a goal event stays under C, as a second dual beside the
//! budget's.
//!
//! Whoever wants the most events at an average cost of at most C bids `C x (1 + nu) / nu` for one,
//! nu the dual of that constraint, and at most what the budget's dual lets him: the minimum of the
//! two bids ("min pacing", Balseiro et al., ICML 2024) is as good as solving both together. The
//! factor on C is kept as its logarithm: 0 at first, where a win never costs more than C an event,
//! since a price is never above its bid. It rises only on what was saved, `C x events - spent`, to
//! where the bid landscape says that the rest of the day spends that; where nothing is saved it is
//! 0 again.

use crate::decide::pacing::LOG_ONE;
use crate::decide::pacing::landscape::Landscape;
use crate::state::paces::Goals;

/// The most that the factor on the cap is: e^3, a bid of 20 times the cap.
pub const LOG_CAP_MAX: f64 = 3.0;

/// The least part of the predicted events that is taken to come true: that next to nothing is
/// reported is no reason to stop.
const TRUTH_MIN: f64 = 0.25;

/// The least factor: a quarter of the cap.
pub const LOG_CAP_MIN: f64 = -1.387;

/// What is kept of the savings, as a share of what was bought at the cap: a minute's error stays
/// inside.
const RESERVE: f64 = 0.002;

/// Savings are spread over at least so much traffic, average days: a quarter of an hour.
const SPREAD_MIN: f64 = 1.0 / 96.0;

/// From so many predicted events on whose time has come, what came true counts, too; of fewer it
/// does if so many standard deviations less came than was predicted (Poisson: the root of it).
const RIPE_MIN: f64 = 500.0;
const RIPE_DEVIATIONS: f64 = 2.5;

/// What a day has come to under a cost cap. Money in micros.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// The cap on the average cost of a goal event.
    pub cap: f64,
    /// What an event may cost at multiplier 1: the ceiling bid.
    pub ceiling: f64,
    /// Charged today.
    pub spent: f64,
    /// Goal events predicted of what that bought.
    pub predicted: f64,
    /// Of these, those whose time has come; 0 if only predictions are to count.
    pub ripe: f64,
    /// What came true of the ripe ones.
    pub seen: f64,
    /// The last thousand ripe ones of any day: no part of today's average, but they tell how true
    /// predictions are.
    pub lately_ripe: f64,
    /// What came true of those.
    pub lately_seen: f64,
    /// Traffic that is left today, average days.
    pub plan_left: f64,
}

impl Cost {
    /// Returns the cost of these goal events, with no cap and nothing spent.
    pub fn of(goals: Goals) -> Self {
        let events = |parts: i64| parts as f64 / LOG_ONE;
        Self {
            predicted: events(goals.predicted),
            ripe: events(goals.ripe),
            seen: goals.seen as f64,
            lately_ripe: events(goals.lately_ripe),
            lately_seen: goals.lately_seen as f64,
            ..Self::default()
        }
    }

    /// Returns how many events come true of a predicted one, by today's and by the last: the less,
    /// and at most 1, for a lucky hour doesn't raise a cap. `None`: too little has come to know.
    fn truth(&self) -> Option<f64> {
        let of = |ripe: f64, seen: f64| {
            let is_known = ripe >= RIPE_MIN || ripe - seen > RIPE_DEVIATIONS * ripe.sqrt();
            is_known.then(|| (seen / ripe).clamp(TRUTH_MIN, 1.0))
        };
        let (today, lately) = (of(self.ripe, self.seen), of(self.lately_ripe, self.lately_seen));
        today.into_iter().chain(lately).reduce(f64::min)
    }

    /// Returns what may be spent above the cap from now on: the less of what was saved by
    /// predictions and by what came true.
    fn saved(&self) -> f64 {
        let saved = |events: f64| self.cap * events * (1.0 - RESERVE) - self.spent;
        let predicted = saved(self.predicted);
        let of_truth =
            |truth: f64| predicted.min(saved(self.seen + truth * (self.predicted - self.ripe)));
        self.truth().map_or(predicted, of_truth)
    }
}

/// The dual of a cost cap.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CostCap {
    log_cap: f64,
}

impl CostCap {
    /// Returns the dual that was journaled (`PaceRow.log_cap`).
    pub fn restore(log_cap: i32) -> Self {
        Self { log_cap: (f64::from(log_cap) / LOG_ONE).clamp(LOG_CAP_MIN, LOG_CAP_MAX) }
    }

    /// Returns the logarithm of the factor on the cap, parts of [`LOG_ONE`].
    pub fn log_cap(&self) -> i32 {
        (self.log_cap * LOG_ONE) as i32
    }

    /// Takes one minute in: moves to the bid at which the rest of the day spends just what was
    /// saved. Without a landscape the bid is the cap.
    pub fn step(&mut self, cost: &Cost, landscape: Option<&Landscape>) {
        let truth = cost.truth().unwrap_or(1.0);
        let share = truth * cost.cap / cost.ceiling;
        let saved = cost.saved();
        let log_cap = match landscape {
            Some(landscape) if saved > 0.0 && share > 0.0 => landscape
                .cap_threshold(share, saved / cost.plan_left.max(SPREAD_MIN))
                .map_or(truth.ln(), |log_m| log_m - (cost.cap / cost.ceiling).ln()),
            _ => truth.ln(),
        };
        let log_cap = log_cap.clamp(LOG_CAP_MIN, LOG_CAP_MAX);
        self.log_cap = (log_cap * LOG_ONE).round() / LOG_ONE;
    }

    /// Returns the ln m that the cap allows, given the ceiling bid: not above 0.
    pub fn log_m(&self, cap: f64, ceiling: f64) -> f64 {
        ((cap / ceiling).ln() + self.log_cap).min(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Auctions of equal cost at each price of an event from a fifth of the ceiling to all of it.
    fn landscape() -> Landscape {
        let mut landscape = Landscape::default();
        for at in 1..=200 {
            let price = 0.2 + 0.8 * f64::from(at) / 200.0;
            landscape.add(1.0, price, 100.0, 1.0);
        }
        landscape.pass(1.0, 0.0);
        landscape
    }

    fn cost(spent: f64, predicted: f64) -> Cost {
        Cost { cap: 40.0, ceiling: 100.0, spent, predicted, plan_left: 0.5, ..Cost::default() }
    }

    #[test]
    fn a_day_begins_at_the_cap_and_goes_back_to_it_when_nothing_is_saved() {
        let mut cap = CostCap::default();
        assert!((cap.log_m(40.0, 100.0) - 0.4f64.ln()).abs() < 1e-9);
        cap.step(&cost(0.0, 0.0), Some(&landscape()));
        assert_eq!(cap.log_cap(), 0);
        cap.step(&cost(2_000.0, 100.0), Some(&landscape()));
        assert!(cap.log_cap() > 0);
        cap.step(&cost(4_000.0, 100.0), Some(&landscape()));
        assert_eq!(cap.log_cap(), 0);
        cap.step(&cost(2_000.0, 100.0), None);
        assert_eq!(cap.log_cap(), 0, "without a landscape");
    }

    #[test]
    fn the_more_is_saved_the_higher_the_bid_up_to_the_ceiling() {
        let bid = |spent| {
            let mut cap = CostCap::default();
            cap.step(&cost(spent, 100.0), Some(&landscape()));
            cap.log_m(40.0, 100.0)
        };
        assert!(bid(3_900.0) < bid(3_000.0));
        assert!(bid(3_000.0) < bid(1_000.0));
        let rich = Cost { spent: 0.0, predicted: 1e6, ..cost(0.0, 0.0) };
        let mut cap = CostCap::default();
        cap.step(&rich, Some(&landscape()));
        assert!(cap.log_m(40.0, 100.0) > -1e-4);
    }

    #[test]
    fn what_comes_true_less_often_than_predicted_lowers_the_bid_below_the_cap() {
        let mut cap = CostCap::default();
        let poor = Cost { ripe: 1_000.0, seen: 800.0, ..cost(39_000.0, 1_000.0) };
        cap.step(&poor, Some(&landscape()));
        assert!((cap.log_m(40.0, 100.0) - 0.32f64.ln()).abs() < 1e-4);
        // A few less are no evidence, and luck is none for more.
        for (ripe, seen) in [(100.0, 80.0), (1_000.0, 1_300.0)] {
            let mut other = CostCap::default();
            other.step(&Cost { ripe, seen, ..cost(39_999.0, 1_000.0) }, Some(&landscape()));
            assert_eq!(other.log_cap(), 0, "{seen} of {ripe}");
        }
    }

    #[test]
    fn half_of_few_is_evidence_and_so_is_what_came_lately() {
        for poor in [
            Cost { ripe: 40.0, seen: 20.0, ..cost(3_000.0, 100.0) },
            Cost { lately_ripe: 40.0, lately_seen: 20.0, ..cost(3_000.0, 100.0) },
        ] {
            let mut cap = CostCap::default();
            cap.step(&poor, Some(&landscape()));
            assert!((cap.log_m(40.0, 100.0) - 0.2f64.ln()).abs() < 1e-4, "{poor:?}");
        }
        let mut cap = CostCap::default();
        let none = Cost { ripe: 1_000.0, seen: 0.0, ..cost(3_000.0, 1_000.0) };
        cap.step(&none, Some(&landscape()));
        assert!((cap.log_m(40.0, 100.0) - 0.1f64.ln()).abs() < 1e-3, "a quarter of the cap");
    }

    #[test]
    fn what_is_journaled_gives_back_the_same_dual() {
        let mut cap = CostCap::default();
        cap.step(&cost(3_000.0, 100.0), Some(&landscape()));
        assert_eq!(CostCap::restore(cap.log_cap()), cap);
        assert!(CostCap::restore(i32::MAX).log_m(40.0, 100.0).abs() < 1e-9);
    }
}
