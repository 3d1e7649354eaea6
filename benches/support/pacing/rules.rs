//! The rules that are compared: the engine's controller and five others.

use munadi::decide::pacing::landscape::Landscape;
use munadi::decide::pacing::{Controller, Minute};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::pacing::day::{Auction, Cell, DAY_MINUTES, Rule, Told, best};

/// The rules by name, in the order of the table.
pub(crate) const NAMES: [&str; 6] =
    ["no_pacing", "throttling", "yesterday", "pid", "dual_descent", "munadi"];

/// Makes a rule for a cell.
pub(crate) fn rule<'a>(name: &str, cell: &'a Cell) -> Box<dyn Rule + 'a> {
    match name {
        "no_pacing" => Box::new(Constant { bid: cell.ceiling }),
        "throttling" => Box::new(Throttling { cell, pass: 0.1 }),
        "yesterday" => Box::new(Constant { bid: yesterdays_bid(cell) }),
        "pid" => Box::new(Pid { cell, log: yesterdays_bid(cell).ln(), sum: 0.0, last: 0.0 }),
        "dual_descent" => Box::new(DualDescent::new(cell)),
        _ => Box::new(Engine::new(cell)),
    }
}

/// Returns the bid for a goal event that would have spent this budget yesterday, micros.
pub(crate) fn yesterdays_bid(cell: &Cell) -> f64 {
    best(&cell.yesterday, cell.budget as f64).worst.min(cell.ceiling)
}

/// One bid for a goal event all day.
struct Constant {
    bid: f64,
}

impl Rule for Constant {
    fn bid(&mut self, rate: f64, _random: &mut Xoshiro256PlusPlus) -> f64 {
        self.bid * rate
    }

    fn end_minute(&mut self, _told: &Told) {}
}

/// LinkedIn's (Agarwal et al., KDD 2014): the full bid in a share of the auctions, which goes up or down by
/// a tenth a minute.
struct Throttling<'a> {
    cell: &'a Cell,
    pass: f64,
}

impl Rule for Throttling<'_> {
    fn bid(&mut self, rate: f64, random: &mut Xoshiro256PlusPlus) -> f64 {
        if random.random::<f64>() < self.pass { self.cell.ceiling * rate } else { 0.0 }
    }

    fn end_minute(&mut self, told: &Told) {
        let plan = &self.cell.forecast;
        let budget = self.cell.budget_at(told.minute);
        let due = budget as f64 * plan.until(told.minute + 1) / plan.left(0);
        let behind = ((budget - told.left) as f64) < due;
        self.pass = (self.pass * if behind { 1.1 } else { 0.9 }).min(1.0);
    }
}

/// A PID controller on the logarithm of the multiplier, against the day's plan as first made.
struct Pid<'a> {
    cell: &'a Cell,
    log: f64,
    sum: f64,
    last: f64,
}

impl Rule for Pid<'_> {
    fn bid(&mut self, rate: f64, _random: &mut Xoshiro256PlusPlus) -> f64 {
        self.log.exp().min(self.cell.ceiling) * rate
    }

    fn end_minute(&mut self, told: &Told) {
        let plan = &self.cell.forecast;
        let budget = self.cell.budget_at(told.minute) as f64;
        let due = budget * plan.between(told.minute, told.minute + 1) / plan.left(0);
        let error = ((told.spent as f64 - due) / due).clamp(-1.0, 2.0);
        self.sum = 0.9 * self.sum + 0.1 * error;
        self.log -= 0.03 * error + 0.06 * self.sum + 0.01 * (error - self.last);
        self.last = error;
    }
}

/// Dual descent by auction, against budget by expected auctions; the step is one by the root of these.
struct DualDescent {
    ceiling: f64,
    log: f64,
    due: f64,
    step: f64,
}

impl DualDescent {
    fn new(cell: &Cell) -> Self {
        let auctions = cell.yesterday.len().max(1) as f64;
        let due = cell.budget as f64 / auctions;
        Self {
            ceiling: cell.ceiling,
            log: yesterdays_bid(cell).ln(),
            due,
            step: auctions.powf(-0.5),
        }
    }
}

impl Rule for DualDescent {
    fn bid(&mut self, rate: f64, _random: &mut Xoshiro256PlusPlus) -> f64 {
        self.log.exp().min(self.ceiling) * rate
    }

    fn see(&mut self, auction: &Auction, won: bool) {
        let spent = if won { auction.price as f64 } else { 0.0 };
        self.log -= self.step * (spent / self.due - 1.0).clamp(-1.0, 100.0);
    }

    fn end_minute(&mut self, _told: &Told) {}
}

/// The engine's.
pub(crate) struct Engine<'a> {
    cell: &'a Cell,
    controller: Controller,
    landscape: Landscape,
    spent: f64,
    wins: f64,
    /// The greatest multiplier that is bid.
    limit: f64,
    seen: u32,
}

impl<'a> Engine<'a> {
    pub(crate) fn new(cell: &'a Cell) -> Self {
        let mut landscape = Landscape::default();
        let watched = -4f64.ln();
        let mut next = 0;
        for minute in 0..DAY_MINUTES {
            let plan = cell.forecast.between(minute, minute + 1);
            while let Some(auction) = cell.yesterday.get(next) {
                if u32::from(auction.minute) > minute {
                    break;
                }
                if (next as u32).is_multiple_of(cell.sample) {
                    add(&mut landscape, cell, auction);
                }
                next += 1;
            }
            landscape.pass(plan, watched);
        }
        let controller =
            Controller::begin(cell.budget as f64, cell.forecast.left(0), Some(&landscape), -1.0);
        Self { cell, controller, landscape, spent: 0.0, wins: 0.0, limit: 1.0, seen: 0 }
    }

    /// Limits the multiplier from now on.
    pub(crate) fn limit(&mut self, limit: f64) {
        self.limit = limit;
    }

    pub(crate) fn landscape(&self) -> &Landscape {
        &self.landscape
    }

    fn log_m(&self) -> f64 {
        self.controller.log_m().min(self.limit.ln())
    }
}

fn add(landscape: &mut Landscape, cell: &Cell, auction: &Auction) {
    let price = auction.price as f64;
    landscape.add(cell.ceiling * auction.rate, price, price, cell.sample.into());
}

impl Rule for Engine<'_> {
    fn bid(&mut self, rate: f64, _random: &mut Xoshiro256PlusPlus) -> f64 {
        self.log_m().exp() * self.cell.ceiling * rate
    }

    fn see(&mut self, auction: &Auction, _won: bool) {
        self.seen += 1;
        if self.seen.is_multiple_of(self.cell.sample) {
            add(&mut self.landscape, self.cell, auction);
        }
    }

    fn end_minute(&mut self, told: &Told) {
        let plan = &self.cell.forecast;
        let plan_now = plan.between(told.minute, told.minute + 1);
        let bid = self.log_m();
        self.landscape.pass(plan_now, bid);
        self.spent += told.spent as f64;
        self.wins += f64::from(told.wins);
        let minute = Minute {
            spent: told.spent as f64,
            left: told.left as f64,
            plan_now,
            plan_left: plan.left(told.minute + 1),
            plan_whole: plan.left(0),
            minutes_left: DAY_MINUTES - told.minute - 1,
            win_price: if self.wins > 0.0 { self.spent / self.wins } else { 0.0 },
        };
        self.controller.step(&minute, Some(&self.landscape));
    }
}
