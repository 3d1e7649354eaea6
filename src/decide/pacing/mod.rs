//! Pacing: how much of its ceiling bid an ad set bids, so that its budget lasts and buys the best.
//!
//! An ad is worth `ceiling bid x m x predicted rate`; the multiplier m in (0, 1] is the dual of the budget
//! (the literature's mu is 1/m). Whoever maximises value under a budget at second prices bids its value
//! times one constant; this room finds the constant while the day runs, on two clocks:
//!
//! - **each minute** the rest of the budget is spread anew over the rest of the traffic ([`plan`]), and a
//!   PI controller moves ln m by how far spending is off that plan ("dual PID": convolutional mirror
//!   descent);
//! - **every five minutes** ln m is pulled to where the bid landscape of the last third of a day
//!   ([`landscape`]) would spend exactly the rest, in the last half hour all the way.
//!
//! A cost cap is a second dual beside it ([`cost_cap`]), joined by the minimum of the two bids.
//!
//! Floats control here and never charge: what is charged is clipped by the ledger. What a node runs with is
//! what it journals: after each step the state is rounded to 1/65,536, and [`Controller::restore`] gives
//! back exactly the controller whose numbers were written.
//!
//! **A campaign's budget over several ad sets** has one controller of the campaign: the same multiplier for
//! all, so money goes wherever a goal event is cheapest. An ad set has a controller of its own only while
//! its own cap or minimum binds: see [`joined`].

pub mod cost_cap;
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
    /// Whole minutes after it until the budget ends.
    pub minutes_left: u32,
    /// What one win costs about, micros; 0: not known, and every minute's error counts.
    pub win_price: f64,
}

/// The PI controller on ln m of one budget.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Controller {
    log_m: f64,
    integral: f64,
    /// What was spent and what was due since the last error was taken. Lost with a restart: at most ten wins.
    spent: f64,
    due: f64,
}

impl Controller {
    /// Returns a controller that begins at ln m, clipped to [`LOG_M_MIN`]..=0.
    pub fn new(log_m: f64) -> Self {
        Self { log_m: on_grid(log_m), ..Self::default() }
    }

    /// Returns the controller of a budget that begins: where its landscape would spend it, else at `otherwise`.
    ///
    /// `left` in micros; `plan_left` the traffic until it ends, average days; `otherwise` an ln m.
    pub fn begin(left: f64, plan_left: f64, landscape: Option<&Landscape>, otherwise: f64) -> Self {
        let landscape = landscape.filter(|_| plan_left > 0.0);
        let wanted = landscape.and_then(|landscape| landscape.threshold(left / plan_left));
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

    /// Returns m in parts of `MULTIPLIER_ONE`, at least 1.
    pub fn multiplier(&self) -> u32 {
        multiplier_of(self.log_m)
    }

    /// Takes one minute in. Without a landscape, or with an empty one, the PI part works alone.
    pub fn step(&mut self, minute: &Minute, landscape: Option<&Landscape>) {
        self.correct(minute);
        let last = minute.minutes_left <= LAST_MINUTES;
        if (last || minute.minutes_left.is_multiple_of(PULL_MINUTES)) && minute.plan_left > 0.0 {
            let wanted =
                landscape.and_then(|landscape| landscape.threshold(minute.left / minute.plan_left));
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
        self.due += before * minute.plan_now / plan;
        if self.due <= 0.0 || self.due.max(self.spent) < WINS_MIN * minute.win_price {
            return;
        }
        let error = ((self.spent - self.due) / self.due).clamp(ERROR_MIN, ERROR_MAX);
        (self.spent, self.due) = (0.0, 0.0);
        self.integral = INTEGRAL_KEEP * self.integral + (1.0 - INTEGRAL_KEEP) * error;
        self.log_m -= GAIN_ERROR * error + GAIN_INTEGRAL * self.integral;
    }
}

/// Returns the multiplier of an ad set that shares its campaign's budget, from ln m of the campaign.
///
/// `most` is ln m of the ad set's own cap while that binds, `least` that of its minimum while it has not
/// had it: it then bids more than the campaign would. A cap is stronger than a minimum.
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
