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
//! requests, with each campaign's mean value of a kind, which `microlp` solves; the bound is then summed over
//! each single request with its own values.

use std::error::Error;

use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOutcome};

use crate::pacing::market::{Campaign, Request, WEIGHTS};

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
    let prices = prices_of(campaigns, requests, &values, kinds)?;
    Ok(lagrangian(campaigns, &values, &prices))
}

/// Returns the Lagrangian at these prices: each request's best slots, and what the budgets are worth.
fn lagrangian(campaigns: &[Campaign], values: &[Vec<(usize, f64)>], prices: &[f64]) -> f64 {
    let budgets = campaigns.iter().zip(prices);
    let mut sum: f64 = budgets.map(|(campaign, price)| campaign.budget as f64 * price).sum();
    let mut best: Vec<f64> = Vec::new();
    for request in values {
        best.clear();
        best.extend(request.iter().map(|of| (1.0 - prices[of.0]) * of.1));
        best.sort_by(|one, other| other.total_cmp(one));
        sum += best.iter().zip(WEIGHTS).map(|(priced, weight)| priced * weight).sum::<f64>();
    }
    sum
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
    // The dual of the small programme, in millions: a price for each budget, one for the slots of a kind, and one
    // for that a campaign has one slot of a request at most.
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
