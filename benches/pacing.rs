//! How near pacing comes to the best a budget could buy in hindsight, beside five other rules.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::error::Error;

#[path = "support/pacing/mod.rs"]
mod pacing;

use pacing::cells::Maker;
use pacing::data::Data;
use pacing::{day, rules};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let folder =
        arguments.iter().position(|at| at == "--data").and_then(|at| arguments.get(at + 1));
    let data = match folder {
        Some(folder) => Data::read(folder.as_ref())?,
        None => Data::generate(1),
    };
    let verbose = arguments.iter().any(|at| at == "--verbose");
    let cells = Maker::new(&data).suite();
    println!("{} cells", cells.len());
    for name in rules::NAMES {
        if std::env::var("ONLY").is_ok_and(|only| only != name) {
            continue;
        }
        let mut optimum = Vec::new();
        let mut utilisation = Vec::new();
        let mut deviation = Vec::new();
        for cell in &cells {
            let outcome = day::run(cell, &mut *rules::rule(name, cell));
            let share = outcome.value / cell.optimum();
            let used = outcome.spent as f64 / cell.budget as f64;
            if verbose && name == "munadi" {
                println!("{:50} {:.4} {:.4} {:.4}", cell.name, share, used, outcome.deviation);
            }
            optimum.push(share);
            utilisation.push(used);
            deviation.push(outcome.deviation);
        }
        for list in [&mut optimum, &mut utilisation, &mut deviation] {
            list.sort_by(f64::total_cmp);
        }
        let n = optimum.len();
        println!(
            "{name:14} opt min {:.2} p10 {:.2} med {:.2} | util min {:.2} med {:.2} | dev med {:.2} max {:.2}",
            100.0 * optimum[0],
            100.0 * optimum[n / 10],
            100.0 * optimum[n / 2],
            100.0 * utilisation[0],
            100.0 * utilisation[n / 2],
            100.0 * deviation[n / 2],
            100.0 * deviation[n - 1],
        );
    }
    Ok(())
}
