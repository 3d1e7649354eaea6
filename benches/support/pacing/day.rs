//! One campaign's day: auctions in order of time, a rule that bids, and what came of it.

use std::collections::VecDeque;
use std::rc::Rc;

use munadi::decide::pacing::plan::Plan;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

pub(crate) const DAY_MINUTES: u32 = 1_440;

/// One auction of a day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Auction {
    pub(crate) minute: u16,
    /// Predicted goal events of one impression.
    pub(crate) rate: f64,
    /// What winning costs, micros.
    pub(crate) price: i64,
}

/// A day to be paced, and what is known before it.
pub(crate) struct Cell {
    pub(crate) name: String,
    pub(crate) yesterday: Rc<Vec<Auction>>,
    pub(crate) today: Rc<Vec<Auction>>,
    /// What traffic is expected to look like.
    pub(crate) forecast: Plan,
    /// What it will have looked like.
    pub(crate) truth: Plan,
    /// Micros.
    pub(crate) budget: i64,
    /// The budget from a minute on, if it is changed.
    pub(crate) change: Option<(u32, i64)>,
    /// What a goal event may cost at most, micros: the bid at multiplier 1.
    pub(crate) ceiling: f64,
    /// Minutes after which spending is known to the rule. Whether an auction may be bought is always known.
    pub(crate) delay: u32,
    /// One auction in so many is seen by the landscape.
    pub(crate) sample: u32,
}

impl Cell {
    /// Returns the budget as of a minute.
    pub(crate) fn budget_at(&self, minute: u32) -> i64 {
        self.change.filter(|change| minute >= change.0).map_or(self.budget, |change| change.1)
    }

    /// Returns the greatest value that the budget can buy in hindsight: the best values by price, the last
    /// one in part, at the budget of the day's end.
    pub(crate) fn optimum(&self) -> f64 {
        let budget = self.budget_at(DAY_MINUTES);
        best(&self.today, budget as f64).value
    }
}

/// A fractional knapsack.
pub(crate) struct Best {
    pub(crate) value: f64,
    /// Price by rate of the dearest that was bought.
    pub(crate) worst: f64,
}

/// Buys the best values by price that the money lasts for.
pub(crate) fn best(auctions: &[Auction], money: f64) -> Best {
    let mut order: Vec<_> = auctions.iter().filter(|auction| auction.rate > 0.0).collect();
    let cost = |auction: &Auction| auction.price as f64 / auction.rate;
    order.sort_by(|one, other| cost(one).total_cmp(&cost(other)));
    let mut best = Best { value: 0.0, worst: 0.0 };
    let mut left = money;
    for auction in order {
        let price = auction.price as f64;
        let part = if price <= left { 1.0 } else { left / price };
        best.value += part * auction.rate;
        best.worst = cost(auction);
        left -= part * price;
        if part < 1.0 {
            break;
        }
    }
    best
}

/// What a rule is told at a minute's end, as far as spending reports have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// The minute that ended.
    pub(crate) minute: u32,
    /// Spent in the reported minute, micros.
    pub(crate) spent: i64,
    /// Left of the budget after the reported minute, micros.
    pub(crate) left: i64,
    pub(crate) wins: u32,
    /// Goal events predicted of what was bought so far, and those that came.
    pub(crate) value: f64,
    pub(crate) real: u32,
}

/// A rule that bids.
pub(crate) trait Rule {
    /// Returns the most that is paid for an impression of this rate, micros.
    fn bid(&mut self, rate: f64, random: &mut Xoshiro256PlusPlus) -> f64;

    /// Takes in an auction, won or lost.
    fn see(&mut self, _auction: &Auction, _won: bool) {}

    /// Takes in the end of a minute.
    fn end_minute(&mut self, told: &Told);
}

/// What a day came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Goal events predicted of what was bought.
    pub(crate) value: f64,
    /// Goal events that came.
    pub(crate) real: u32,
    /// Micros.
    pub(crate) spent: i64,
    /// The greatest distance between the shares of the budget and of the traffic that have passed.
    pub(crate) deviation: f64,
    /// The most that was ever spent above the budget, micros.
    pub(crate) over: i64,
}

/// Lets a rule bid through a day.
pub(crate) fn run(cell: &Cell, rule: &mut dyn Rule) -> Outcome {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(11);
    let mut outcome = Outcome { value: 0.0, real: 0, spent: 0, deviation: 0.0, over: 0 };
    let mut reports = VecDeque::new();
    let mut next = 0;
    for minute in 0..DAY_MINUTES {
        let budget = cell.budget_at(minute);
        let (before, mut wins) = (outcome.spent, 0);
        while let Some(auction) = cell.today.get(next).filter(|at| u32::from(at.minute) == minute) {
            next += 1;
            let bid = rule.bid(auction.rate, &mut random);
            // The hard stop: nothing is bought for more than is left.
            let won = bid >= auction.price as f64 && auction.price <= budget - outcome.spent;
            if won {
                outcome.spent += auction.price;
                outcome.value += auction.rate;
                outcome.real += u32::from(random.random::<f64>() < auction.rate);
                outcome.over = outcome.over.max(outcome.spent - budget);
                wins += 1;
            }
            rule.see(auction, won);
        }
        reports.push_back((
            outcome.spent - before,
            outcome.spent,
            wins,
            outcome.value,
            outcome.real,
        ));
        let known = reports.len() as u32 > cell.delay;
        let report = if known { reports.pop_front() } else { None };
        let (spent, so_far, wins, value, real) = report.unwrap_or((0, 0, 0, 0.0, 0));
        rule.end_minute(&Told { minute, spent, left: budget - so_far, wins, value, real });
        let passed = cell.truth.until(minute + 1) / cell.truth.left(0);
        let share = outcome.spent as f64 / cell.budget_at(DAY_MINUTES) as f64;
        outcome.deviation = outcome.deviation.max((share - passed).abs());
    }
    outcome
}
