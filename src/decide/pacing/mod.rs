//! Pacing: how much of its ceiling bid an ad set bids, so that its budget lasts and buys the best.
//!
//! An ad is worth `ceiling bid x m x predicted rate`; the multiplier m in (0, 1] is the dual of the
//! budget (the literature's mu is 1/m). Whoever maximises value under a budget at second prices
//! bids its value times one constant; this room finds the constant while the day runs, on two
//! clocks:
//!
//! - **each minute** the rest of the budget is spread anew over the rest of the traffic ([`plan`]),
//!   and a PI controller moves ln m by how far spending is off that plan ("dual PID": convolutional
//!   mirror descent);
//! - **every five minutes** ln m is pulled to where the bid landscape of the last third of a day
//!   ([`landscape`]) would spend exactly the rest, in the last half hour all the way.
//!
//! A cost cap is a second dual beside it ([`cost_cap`]), joined by the minimum of the two bids;
//! [`goals`] counts what it is held to.
//!
//! A budget begins carefully: at three quarters of its plan, rising to all of it within the first
//! 30 % of the traffic. One of few wins a day is corrected once every ten wins that were due, not
//! every minute; the landscape leads it.
//!
//! Floats control here and never charge: what is charged is clipped by the ledger. What a node runs
//! with is what it journals: after each step the state is rounded to 1/65,536, and
//! [`Controller::restore`] gives back exactly the controller whose numbers were written.
//!
//! **A campaign's budget over several ad sets** has one controller of the campaign: the same
//! multiplier for all, so money goes wherever a goal event is cheapest. An ad set has a controller
//! of its own only while its own cap or minimum binds: see [`joined`].

pub mod cost_cap;
pub mod goals;
pub mod landscape;
pub mod plan;

use crate::decide::board::MULTIPLIER_ONE;
use crate::decide::pacing::landscape::Landscape;

/// What logarithms are journaled in: `PaceRow` carries parts of this.
pub const LOG_ONE: f64 = 65_536.0;

/// The least ln m: a bid of a ten-millionth of the ceiling.
pub const LOG_M_MIN: f64 = -16.0;

/// How far ln m moves with one minute's error, and with the integral of errors.
const GAIN_ERROR: f64 = 0.03;
const GAIN_INTEGRAL: f64 = 0.06;

/// What the integral keeps of itself.
const INTEGRAL_KEEP: f64 = 0.9;

/// One minute may be off its plan by so much and is counted as no more.
const ERROR_MIN: f64 = -1.0;
const ERROR_MAX: f64 = 2.0;

/// An error is taken once this many wins were due, or came: one win is noise.
const WINS_MIN: f64 = 10.0;

/// Minutes from pull to pull.
const PULL_MINUTES: u32 = 5;

/// How much of the way to the landscape's solution one pull goes.
const PULL: f64 = 0.3;

/// The last minutes, in which ln m is the landscape's solution.
const LAST_MINUTES: u32 = 30;

/// By how much less than its plan a budget spends at first, and the share of a day's traffic after
/// which it spends as planned: money kept can follow prices that turn out otherwise, money spent
/// can't.
const EASE: f64 = 0.25;
const EASE_UNTIL: f64 = 0.3;

/// What one minute of an ad set, or of a campaign that shares its budget, came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Minute {
    /// What was spent in it: charged, and held for ads on their way. Micros.
    pub spent: f64,
    /// What is left of the budget after it, charges and holds taken off. Micros.
    pub left: f64,
    /// Traffic that the plan expected in it, in average days ([`plan::Plan::between`]).
    pub plan_now: f64,
    /// Traffic that the plan expects after it until the budget ends, in average days.
    pub plan_left: f64,
    /// Traffic of the whole plan, average days; 0 if the budget is not to begin carefully.
    pub plan_whole: f64,
    /// Whole minutes after it until the budget ends.
    pub minutes_left: u32,
    /// What one win costs about, micros; 0: not known, and every minute's error counts.
    pub win_price: f64,
}

impl Minute {
    /// Returns what is to be spent an average day from now on, micros.
    fn rate(&self) -> f64 {
        self.left / self.plan_left * self.ease()
    }

    fn ease(&self) -> f64 {
        ease(self.plan_whole - self.plan_left, self.plan_whole)
    }
}

/// Returns what part of its plan a budget spends after so much of its traffic; both in average days.
pub fn ease(passed: f64, whole: f64) -> f64 {
    // Of a lifetime only the first day is careful.
    let until = EASE_UNTIL * whole.min(1.0);
    let passed = passed.max(0.0);
    if passed < until { 1.0 - EASE * (1.0 - passed / until) } else { 1.0 }
}

/// The PI controller on ln m of one budget.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Controller {
    log_m: f64,
    integral: f64,
    /// What was spent and what was due since the last error was taken. Lost with a restart: at most
    /// ten wins.
    spent: f64,
    due: f64,
}

impl Controller {
    /// Returns a controller that begins at ln m, clipped to [`LOG_M_MIN`]..=0.
    pub fn new(log_m: f64) -> Self {
        Self { log_m: on_grid(log_m), ..Self::default() }
    }

    /// Returns the controller of a budget that begins: where its landscape would spend it, else at
    /// `otherwise`.
    ///
    /// `left` in micros; `plan_left` the traffic until it ends, average days; `otherwise` an ln m.
    pub fn begin(left: f64, plan_left: f64, landscape: Option<&Landscape>, otherwise: f64) -> Self {
        let landscape = landscape.filter(|_| plan_left > 0.0);
        let wanted =
            landscape.and_then(|landscape| landscape.threshold(left / plan_left * (1.0 - EASE)));
        Self::new(wanted.unwrap_or(otherwise))
    }

    /// Returns the controller whose numbers were journaled (`PaceRow.log_mu` and `.integral`).
    pub fn restore(log_mu: i32, integral: i32) -> Self {
        let log_m = (f64::from(log_mu) / LOG_ONE).clamp(LOG_M_MIN, 0.0);
        Self { log_m, integral: f64::from(integral) / LOG_ONE, ..Self::default() }
    }

    /// Returns ln m in parts of [`LOG_ONE`], at most 0.
    pub fn log_mu(&self) -> i32 {
        (self.log_m * LOG_ONE) as i32
    }

    /// Returns the integral part in parts of [`LOG_ONE`].
    pub fn integral(&self) -> i32 {
        (self.integral * LOG_ONE) as i32
    }

    /// Returns ln m, within [`LOG_M_MIN`]..=0.
    pub fn log_m(&self) -> f64 {
        self.log_m
    }

    /// Takes one minute in. Without a landscape, or with an empty one, the PI part works alone.
    pub fn step(&mut self, minute: &Minute, landscape: Option<&Landscape>) {
        self.correct(minute);
        let last = minute.minutes_left <= LAST_MINUTES;
        if (last || minute.minutes_left.is_multiple_of(PULL_MINUTES)) && minute.plan_left > 0.0 {
            let wanted = landscape.and_then(|landscape| landscape.threshold(minute.rate()));
            if let Some(wanted) = wanted {
                let pull = if last { 1.0 } else { PULL };
                self.log_m += pull * (wanted - self.log_m);
            }
        }
        self.log_m = on_grid(self.log_m);
        self.integral = (self.integral * LOG_ONE).round() / LOG_ONE;
    }

    /// Moves ln m by the error of what was spent against the re-solved plan.
    fn correct(&mut self, minute: &Minute) {
        let plan = minute.plan_now + minute.plan_left;
        if plan <= 0.0 || minute.plan_now <= 0.0 {
            return;
        }
        let before = (minute.left + minute.spent).max(0.0);
        self.spent += minute.spent;
        self.due += before * minute.plan_now / plan * minute.ease();
        if self.due <= 0.0 || self.due.max(self.spent) < WINS_MIN * minute.win_price {
            return;
        }
        let error = ((self.spent - self.due) / self.due).clamp(ERROR_MIN, ERROR_MAX);
        (self.spent, self.due) = (0.0, 0.0);
        self.integral = INTEGRAL_KEEP * self.integral + (1.0 - INTEGRAL_KEEP) * error;
        self.log_m -= GAIN_ERROR * error + GAIN_INTEGRAL * self.integral;
    }
}

/// Returns the multiplier of an ad set that shares its campaign's budget, from ln m of the
/// campaign.
///
/// `most` is ln m of the ad set's own cap while that binds, `least` that of its minimum while it
/// has not had it: it then bids more than the campaign would. A cap is stronger than a minimum.
pub fn joined(shared: f64, least: Option<f64>, most: Option<f64>) -> f64 {
    let raised = shared.max(least.unwrap_or(f64::NEG_INFINITY));
    raised.min(most.unwrap_or(f64::INFINITY))
}

/// Returns m in parts of `MULTIPLIER_ONE` from ln m: at least 1, at most all.
pub fn multiplier_of(log_m: f64) -> u32 {
    (log_m.clamp(LOG_M_MIN, 0.0).exp() * f64::from(MULTIPLIER_ONE)).max(1.0) as u32
}

fn on_grid(log_m: f64) -> f64 {
    (log_m.clamp(LOG_M_MIN, 0.0) * LOG_ONE).round() / LOG_ONE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minute at noon of an even day, its budget being a million micros.
    fn noon(spent: f64) -> Minute {
        Minute {
            spent,
            left: 500_000.0 - spent,
            plan_now: 1.0 / 1_440.0,
            plan_left: 0.5,
            plan_whole: 1.0,
            minutes_left: 719,
            win_price: 0.0,
        }
    }

    /// Auctions at each ratio of value to price from 1 to 64, each of the same cost, a million
    /// micros a day.
    fn landscape() -> Landscape {
        let mut landscape = Landscape::default();
        (0..64).for_each(|at| landscape.add(f64::from(at + 1), 1.0, 15_625.0, 1.0));
        landscape.pass(1.0, 0.0);
        landscape
    }

    #[test]
    fn what_is_journaled_gives_back_the_same_controller() {
        let mut controller = Controller::new(-1.234_567);
        for spent in [900.0, 0.0, 1_700.0, 300.0] {
            controller.step(&noon(spent), None);
            let restored = Controller::restore(controller.log_mu(), controller.integral());
            assert_eq!(restored, controller);
        }
    }

    #[test]
    fn spending_above_the_plan_lowers_the_bid_and_below_it_raises_it() {
        let due = 500_000.0 / 720.0;
        for (spent, sign) in [(2.0 * due, -1.0), (0.0, 1.0)] {
            let mut controller = Controller::new(-1.0);
            controller.step(&noon(spent), None);
            assert!((controller.log_m() + 1.0) * sign > 0.02, "{spent}");
        }
        let mut controller = Controller::new(-1.0);
        controller.step(&noon(due), None);
        assert!((controller.log_m() + 1.0).abs() < 0.001);
    }

    #[test]
    fn the_last_half_hour_goes_all_the_way_to_the_landscape_and_a_pull_before_a_third() {
        let landscape = landscape();
        let at = |minutes_left| {
            let mut controller = Controller::new(-3.0);
            let due = 500_000.0 / 720.0;
            controller.step(&Minute { minutes_left, ..noon(due) }, Some(&landscape));
            controller.log_m()
        };
        let wanted = landscape.threshold(1_000_000.0 * 0.998_6).unwrap();
        assert!(wanted > -0.2);
        assert!((at(720) - (0.7 * -3.0 + 0.3 * wanted)).abs() < 0.01);
        assert!((at(30) - wanted).abs() < 0.01);
        assert!((at(719) + 3.0).abs() < 0.01, "not in between");
    }

    #[test]
    fn a_budget_of_few_wins_waits_until_ten_are_due() {
        let mut controller = Controller::new(-1.0);
        let due = 500_000.0 / 720.0;
        let minute = Minute { win_price: 2.0 * due, ..noon(0.0) };
        (0..19).for_each(|_| controller.step(&minute, None));
        assert_eq!(controller.log_mu(), -65_536);
        (0..2).for_each(|_| controller.step(&minute, None));
        assert!(controller.log_m() > -1.0);
    }

    #[test]
    fn a_budget_begins_carefully_and_a_lifetime_only_on_its_first_day() {
        let ease = |passed: f64, plan_whole: f64| {
            Minute { plan_left: plan_whole - passed, plan_whole, ..Minute::default() }.ease()
        };
        assert!((ease(0.0, 1.0) - 0.75).abs() < 1e-9);
        assert!((ease(0.15, 1.0) - 0.875).abs() < 1e-9);
        assert!((ease(0.31, 1.0) - 1.0).abs() < 1e-9);
        assert!((ease(0.31, 30.0) - 1.0).abs() < 1e-9);
        assert!((ease(0.031, 0.1) - 1.0).abs() < 1e-9);
        assert!((ease(-0.5, 0.0) - 1.0).abs() < 1e-9, "not told");
    }

    #[test]
    fn a_multiplier_is_above_nothing_and_at_most_all() {
        assert_eq!(multiplier_of(0.0), MULTIPLIER_ONE);
        assert_eq!(multiplier_of(7.0), MULTIPLIER_ONE);
        assert_eq!(Controller::new(1.0).log_mu(), 0);
        assert_eq!(multiplier_of(-1e9), multiplier_of(LOG_M_MIN));
        assert!(multiplier_of(LOG_M_MIN) > 100, "1 % is still told apart");
        let mut controller = Controller::restore(i32::MIN, i32::MIN);
        controller.step(&Minute::default(), None);
        assert!(controller.log_m() <= 0.0 && controller.log_m() >= LOG_M_MIN);
    }

    #[test]
    fn an_ad_set_follows_its_campaign_but_for_its_own_minimum_and_cap() {
        let is = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found}");
        is(joined(-2.0, None, None), -2.0);
        is(joined(-2.0, Some(-1.0), None), -1.0);
        is(joined(-2.0, Some(-3.0), None), -2.0);
        is(joined(-2.0, Some(-1.0), Some(-1.5)), -1.5);
    }
}
