//! A bound on what all campaigns together can have of a day: a linear programme's dual.
//!
//! The programme gives slots of requests to campaigns: the sum of their values, each campaign's counted up to
//! its budget, is to be greatest; a request has its slots, and a campaign has one of them. It has a variable for
//! each request and campaign, too many to solve. But its Lagrangian, with prices `y` in 0..=1 on the
//! budgets,
//!
//! `sum of y x budget + over requests: the best slots' weight x (1 - y) x value`
//!
//! is a bound from above **whatever y is** (weak duality). So `y` comes from a small programme over kinds of
//! requests and quantiles of what campaigns want of them, which `microlp` solves, is improved by subgradient steps,
//! and the bound is then summed over each single request.

use std::error::Error;

use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOutcome};

use crate::pacing::market::{Campaign, Request, WEIGHTS};

/// Subgradient steps that tighten the bound.
const STEPS: usize = 60;

/// Returns a bound on the value of all campaigns, micros.
pub(crate) fn bound(
    campaigns: &[Campaign],
    requests: &[Request],
    kinds: usize,
) -> Result<f64, Box<dyn Error>> {
    let values: Vec<Vec<(usize, f64)>> = requests
        .iter()
        .map(|request| {
            let mut values = request.rates(campaigns);
            values.iter_mut().for_each(|of| of.1 *= campaigns[of.0].worth);
            values
        })
        .collect();
    let mut prices = prices_of(campaigns, requests, &values, kinds)?;
    let (mut least, mut had) = lagrangian(campaigns, &values, &prices);
    println!("lp prices: bound {least:.0}");
    for step in 0..STEPS {
        for (at, campaign) in campaigns.iter().enumerate() {
            let budget = campaign.budget as f64;
            let off = (had[at] / budget - 1.0).clamp(-1.0, 1.0);
            prices[at] = (prices[at] + 0.1 / (1.0 + step as f64 / 6.0) * off).clamp(0.0, 1.0);
        }
        let next = lagrangian(campaigns, &values, &prices);
        least = least.min(next.0);
        had = next.1;
    }
    println!("after steps: {least:.0}");
    Ok(least)
}

/// Returns the Lagrangian at these prices, and what each campaign has of its solution.
fn lagrangian(
    campaigns: &[Campaign],
    values: &[Vec<(usize, f64)>],
    prices: &[f64],
) -> (f64, Vec<f64>) {
    let budgets = campaigns.iter().zip(prices);
    let mut sum: f64 = budgets.map(|(campaign, price)| campaign.budget as f64 * price).sum();
    let mut had = vec![0.0; campaigns.len()];
    let mut best: Vec<(f64, usize, f64)> = Vec::new();
    for request in values {
        best.clear();
        best.extend(request.iter().map(|of| ((1.0 - prices[of.0]) * of.1, of.0, of.1)));
        best.sort_by(|one, other| other.0.total_cmp(&one.0));
        for (&(priced, campaign, value), weight) in best.iter().zip(WEIGHTS) {
            sum += weight * priced;
            if priced > 0.0 {
                had[campaign] += weight * value;
            }
        }
    }
    (sum, had)
}

/// Returns the prices of the budgets in the programme over kinds: each campaign's mean value of a kind.
fn prices_of(
    campaigns: &[Campaign],
    requests: &[Request],
    values: &[Vec<(usize, f64)>],
    kinds: usize,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut counts = vec![0.0; kinds];
    let mut sums = vec![vec![0.0; kinds]; campaigns.len()];
    for (request, values) in requests.iter().zip(values) {
        counts[request.kind] += 1.0;
        values.iter().for_each(|of| sums[of.0][request.kind] += of.1);
    }
    // The dual: price x budget and kinds' supply, with `value x (1 - price) <= weight of the kind + of one campaign's
    // share of it` for each campaign and kind.
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let slots: f64 = WEIGHTS.iter().sum();
    let prices: Vec<_> =
        campaigns.iter().map(|of| problem.add_var(of.budget as f64 / 1e6, (0.0, 1.0))).collect();
    let supplies: Vec<_> = counts
        .iter()
        .map(|count| problem.add_var(count * slots / 1e6, (0.0, f64::INFINITY)))
        .collect();
    for (at, sums) in sums.iter().enumerate() {
        for (kind, sum) in sums.iter().enumerate().filter(|of| *of.1 > 0.0) {
            let mean = sum / counts[kind];
            let alone = problem.add_var(counts[kind] / 1e6, (0.0, f64::INFINITY));
            let terms = [(prices[at], mean), (supplies[kind], 1.0), (alone, 1.0)];
            problem.add_constraint(terms, ComparisonOp::Ge, mean);
        }
    }
    let SolveOutcome::Solution(solution) = problem.solve()? else {
        return Err("the programme was not solved".into());
    };
    Ok(prices.iter().map(|&price| solution[price].clamp(0.0, 1.0)).collect())
}
