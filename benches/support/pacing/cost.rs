//! Days under a cost cap: the engine's two duals against the most events in hindsight.

use std::rc::Rc;

use munadi::decide::pacing::cost_cap::{Cost, CostCap};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::pacing::cells::{Maker, PLAIN, Turn};
use crate::pacing::day::{self, Auction, Cell, Rule, Told};
use crate::pacing::rules::Engine;

/// Runs generated days of every advertiser: prices as forecast, dearer by 0.3, and with a shock.
/// Returns those held to predictions, and those held to what came, too, of a hundred times as many
/// events.
pub(crate) fn run(maker: &mut Maker<'_>) -> (Days, Days) {
    let turns = [
        PLAIN,
        Turn { name: "dearer", prices: 1.3, ..PLAIN },
        Turn { name: "shock", shock: Some((600, 2.0)), ..PLAIN },
    ];
    let (mut predicted, mut real) = (Days::default(), Days::default());
    for advertiser in 0..maker.data.prices.len() {
        for turn in turns {
            for (at, cell) in maker.drawn(advertiser, turn).into_iter().enumerate() {
                if at % 2 == 0 {
                    predicted.add(&cell, false);
                } else {
                    real.add(&more_often(cell), true);
                }
            }
        }
    }
    (predicted, real)
}

/// What some days under a cap came to.
#[derive(Default)]
pub(crate) struct Days {
    /// Shares of the capped optimum.
    pub(crate) shares: Vec<f64>,
    /// By how much the average cost of a predicted event was above the cap, as a share of it.
    pub(crate) breaches: Vec<f64>,
    /// The same of events that came, of days with 1,000 and more.
    pub(crate) real_breaches: Vec<f64>,
    /// Days in which the cap bound, and not the budget.
    pub(crate) bound: usize,
}

impl Days {
    fn add(&mut self, cell: &Cell, by_real: bool) {
        let cap = cap_of(cell);
        let (best, bound) = optimum(&cell.today, cell.budget as f64, cap);
        let outcome = day::run(cell, &mut Capped::new(cell, cap, by_real));
        let spent = outcome.spent as f64;
        self.shares.push(outcome.value / best);
        self.breaches.push(spent / outcome.value / cap - 1.0);
        self.bound += usize::from(bound);
        if outcome.real >= 1_000 {
            self.real_breaches.push(spent / f64::from(outcome.real) / cap - 1.0);
        }
    }
}

/// Makes events a hundred times as frequent, and worth as much less.
fn more_often(mut cell: Cell) -> Cell {
    const OFTEN: f64 = 100.0;
    for day in [&mut cell.yesterday, &mut cell.today] {
        let more =
            |auction: &Auction| Auction { rate: (auction.rate * OFTEN).min(1.0), ..*auction };
        *day = Rc::new(day.iter().map(more).collect());
    }
    cell.ceiling /= OFTEN;
    cell
}

/// Returns a cap that is the average cost of an event to whoever buys a fifth of what there was
/// yesterday.
fn cap_of(cell: &Cell) -> f64 {
    let money = cell.yesterday.iter().map(|auction| auction.price as f64).sum::<f64>() / 5.0;
    money / day::best(&cell.yesterday, money).value
}

/// Returns the most events that the budget buys at an average cost of at most the cap, the last in
/// part, and whether the cap bound.
fn optimum(auctions: &[Auction], budget: f64, cap: f64) -> (f64, bool) {
    let mut order: Vec<_> = auctions.iter().filter(|auction| auction.rate > 0.0).collect();
    let cost = |auction: &Auction| auction.price as f64 / auction.rate;
    order.sort_by(|one, other| cost(one).total_cmp(&cost(other)));
    let (mut value, mut spent) = (0.0, 0.0);
    for auction in order {
        let price = auction.price as f64;
        let by_budget = (budget - spent) / price.max(1.0);
        // Spent and saved by a part of it: (spent + part x price) <= cap x (value + part x rate).
        let dearer = price - cap * auction.rate;
        let by_cap = if dearer > 0.0 { (cap * value - spent) / dearer } else { 1.0 };
        let part = by_budget.min(by_cap).min(1.0);
        value += part * auction.rate;
        spent += part * price;
        if part < 1.0 {
            return (value, by_cap < by_budget);
        }
    }
    (value, false)
}

/// The engine's controller with a cost cap beside it.
struct Capped<'a> {
    cell: &'a Cell,
    engine: Engine<'a>,
    dual: CostCap,
    cap: f64,
    /// Whether what came is told, too.
    real: bool,
}

impl<'a> Capped<'a> {
    fn new(cell: &'a Cell, cap: f64, real: bool) -> Self {
        let mut capped =
            Self { cell, engine: Engine::new(cell), dual: CostCap::default(), cap, real };
        capped.engine.limit(cap / cell.ceiling);
        capped
    }
}

impl Rule for Capped<'_> {
    fn bid(&mut self, rate: f64, random: &mut Xoshiro256PlusPlus) -> f64 {
        self.engine.bid(rate, random)
    }

    fn see(&mut self, auction: &Auction, won: bool) {
        self.engine.see(auction, won);
    }

    fn end_minute(&mut self, told: &Told) {
        self.engine.end_minute(told);
        let (ripe, seen) = if self.real { (told.value, told.real.into()) } else { (0.0, 0.0) };
        let cost = Cost {
            cap: self.cap,
            ceiling: self.cell.ceiling,
            spent: (self.cell.budget - told.left) as f64,
            predicted: told.value,
            ripe,
            seen,
            plan_left: self.cell.forecast.left(told.minute + 1),
            ..Cost::default()
        };
        self.dual.step(&cost, Some(self.engine.landscape()));
        self.engine.limit(self.dual.log_m(self.cap, self.cell.ceiling).exp());
    }
}
