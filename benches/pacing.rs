//! How near pacing comes to the best that a budget could have bought in hindsight, beside five
//! other rules.
//!
//! `-- --data DIR` reads real logs: `DIR/ipinyou` (an advertiser's auctions, price histograms of
//! nine) and `DIR/bat` (traffic by hour of the week); without it they are generated. A cell is a
//! pair of days and a budget; its optimum is the fractional knapsack over today's auctions. Then
//! what goes otherwise than forecast, days under a cost cap, and 200 campaigns in the engine's own
//! auction against a linear programme's bound; and what a minute of pacing costs a node. Without `--bench` (under `cargo test`) the input is
//! tiny.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::error::Error;

use crate::pacing::cells::{Maker, ROWS};
use crate::pacing::cost::{self, Days};
use crate::pacing::data::Data;
use crate::pacing::day::{self, Cell, DAY_MINUTES};
use crate::pacing::market::{self, Size};
use crate::pacing::minute::{self, MinuteCost};
use crate::pacing::rules::{self, NAMES};

#[path = "support/pacing/mod.rs"]
mod pacing;

/// What one rule made of some cells, each list ascending.
struct Line {
    optimum: Vec<f64>,
    utilisation: Vec<f64>,
    deviation: Vec<f64>,
    over: i64,
}

impl Line {
    fn of(rule: &str, cells: &[Cell]) -> Self {
        let mut line =
            Self { optimum: vec![], utilisation: vec![], deviation: vec![], over: i64::MIN };
        for cell in cells {
            let outcome = day::run(cell, &mut *rules::rule(rule, cell));
            line.optimum.push(outcome.value / cell.optimum());
            line.utilisation.push(outcome.spent as f64 / cell.budget_at(DAY_MINUTES) as f64);
            line.deviation.push(outcome.deviation);
            line.over = line.over.max(outcome.over);
            if std::env::args().any(|argument| argument == "--cells") {
                let (share, used) = (line.optimum.last(), line.utilisation.last());
                println!("{rule}: {}: {share:.4?} {used:.4?}", cell.name);
            }
        }
        for list in [&mut line.optimum, &mut line.utilisation, &mut line.deviation] {
            list.sort_by(f64::total_cmp);
        }
        line
    }

    fn print(&self, name: &str) {
        let percent =
            |list: &[f64], part: usize| 100.0 * list[(list.len() * part / 100).min(list.len() - 1)];
        println!(
            "{name:30} | {:6.2} {:6.2} {:6.2} | {:6.2} {:6.2} | {:5.1} {:5.1} | {}",
            percent(&self.optimum, 0),
            percent(&self.optimum, 10),
            percent(&self.optimum, 50),
            percent(&self.utilisation, 0),
            percent(&self.utilisation, 50),
            percent(&self.deviation, 50),
            percent(&self.deviation, 100),
            self.over.max(0),
        );
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "optimum_min": self.optimum[0],
            "optimum_median": self.optimum[self.optimum.len() / 2],
            "utilisation_min": self.utilisation[0],
            "utilisation_median": self.utilisation[self.utilisation.len() / 2],
        })
    }
}

/// Returns the greatest of some figures.
fn greatest(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn print_days(name: &str, days: &mut Days) {
    days.shares.sort_by(f64::total_cmp);
    let count = days.shares.len();
    println!(
        "cost cap held to {name}: {count} days, {} bound by it; share of the capped optimum min \
         {:.2} %, median {:.2} %; cost of a predicted event by the cap {:+.2} % at most",
        days.bound,
        100.0 * days.shares[0],
        100.0 * days.shares[count / 2],
        100.0 * greatest(&days.breaches),
    );
    if !days.real_breaches.is_empty() {
        println!(
            "  cost of a real event by the cap {:+.2} % at most, in {} days with 1,000 and more",
            100.0 * greatest(&days.real_breaches),
            days.real_breaches.len(),
        );
    }
}

fn print_market(market: &market::Report) {
    println!(
        "market: {:.2} % of the bound on value; {:.1} % of the budgets spent, {} of {} campaigns \
         98 % and more; cost of an event by its cap {:+.2} % at most",
        100.0 * market.value_of_bound,
        100.0 * market.spent,
        market.exhausted,
        market.campaigns,
        100.0 * market.breach,
    );
}

fn print_minute(cost: MinuteCost) {
    println!(
        "a minute of {} budgets: CPU {:.2} us each, {:.2} in the dearest of 20 minutes; {:.0} us without any",
        cost.budgets, cost.median, cost.most, cost.without,
    );
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let full = arguments.iter().any(|argument| argument == "--bench");
    let folder =
        arguments.iter().position(|at| at == "--data").and_then(|at| arguments.get(at + 1));
    let offers = if full { 60_000 } else { 600 };
    let data = match folder {
        Some(folder) => Data::read(folder.as_ref())?,
        None => Data::generate(1, if full { 156_000 } else { 2_000 }),
    };
    let cells = Maker::new(&data, offers, 7).suite();
    println!(
        "{} cells, % | optimum min, p10, median | utilisation min, median | deviation from traffic \
         median, max | over, micros",
        cells.len(),
    );
    let lines: Vec<_> = NAMES.iter().map(|name| (*name, Line::of(name, &cells))).collect();
    lines.iter().for_each(|(name, line)| line.print(name));
    let Some(((_, ours), others)) = lines.split_last() else { return Err("no rule".into()) };
    let mut over = ours.over;
    let mut maker = Maker::new(&data, offers, 8);
    for turn in ROWS {
        let line = Line::of(NAMES[NAMES.len() - 1], &maker.row(turn));
        line.print(turn.name);
        over = over.max(line.over);
    }
    let (mut predicted, mut real) = cost::run(&mut maker);
    print_days("predictions", &mut predicted);
    print_days("what came, too", &mut real);
    let market = market::run(5, if full { Size::FULL } else { Size::TINY })?;
    print_market(&market);
    let minute = minute::run(if full { 10_000 } else { 100 })?;
    print_minute(minute);
    let baselines: serde_json::Map<_, _> =
        others.iter().map(|(name, line)| ((*name).to_owned(), line.json())).collect();
    let breach = greatest(&predicted.breaches).max(greatest(&real.breaches)).max(market.breach);
    let line = serde_json::json!({
        "bench": "pacing",
        "data": if data.real { "real" } else { "generated" },
        "cells": cells.len(),
        "optimum_min": ours.optimum[0],
        "optimum_median": ours.optimum[ours.optimum.len() / 2],
        "utilisation_min": ours.utilisation[0],
        "utilisation_median": ours.utilisation[ours.utilisation.len() / 2],
        "over_budget_micros": over.max(market.over).max(0),
        "baselines": baselines,
        "cost_cap_share_min": predicted.shares[0],
        "cost_cap_breach": breach,
        "cost_cap_breach_real": greatest(&real.real_breaches),
        "cost_cap_share_median": predicted.shares[predicted.shares.len() / 2],
        "equilibrium_value_of_bound": market.value_of_bound,
        "minute_budgets": minute.budgets,
        "minute_cpu_us_per_budget": minute.median,
        "minute_cpu_us_per_budget_max": minute.most,
    });
    println!("{line}");
    Ok(())
}
