//! `cargo bench --bench select`: the best 50 ads of 1 M and 3 M, in thread CPU time, beside other methods.
//!
//! `--ads 1000000,3000000`: the first number meets every workload and the other methods, the others meet
//! the easy and the hard one. Without `--bench` (as `cargo test --benches` calls it) a tiny input runs.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench measures time and prints"
)]

use std::time::Duration;

use cap::Cap;
use mimalloc::MiMalloc;

use crate::support::select::measure::Cores;
use crate::support::select::report::{self, Report};
use crate::support::select::spec::Workload;
use crate::support::select::trial::Trial;
use crate::support::select::{fresh, peers};

mod support {
    pub(crate) mod market;
    pub(crate) mod select;
}

/// As `munadi` runs, and counting what is allocated.
#[global_allocator]
static ALLOCATOR: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

/// What goes wrong in a bench ends it; nobody handles it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How much is run.
pub(crate) struct Plan {
    seed: u64,
    ads: Vec<usize>,
    /// Requests of a case.
    queries: usize,
    /// Requests whose answers are compared with the plain scan's.
    checked: usize,
    /// Requests of the slow methods.
    scanned: usize,
    tree_ads: usize,
    /// How long requests are asked beside changes and rebuilds.
    disturbed: Duration,
    /// Ads of the node that changes are timed on, and changes.
    fresh: (usize, usize),
}

fn main() -> Result<(), Failure> {
    let (plan, cores) = (plan()?, Cores::all());
    let mut report = Report::default();
    let mut checksum = 0;
    for (place, &ads) in plan.ads.iter().enumerate() {
        for workload in Workload::ALL {
            if place > 0 && workload == Workload::Adversarial {
                continue;
            }
            let mut trial = Trial::prepare(&plan, workload, ads);
            let outcome = trial.run(&plan, &cores);
            checksum ^= outcome.checksum;
            report.add(&outcome);
            if place > 0 {
                continue;
            }
            if workload == Workload::Easy {
                report::print_disturbed(&outcome.times, &trial.run_disturbed(&plan, &cores));
            }
            let with_tree = workload == Workload::Easy;
            let peers = peers::measure(&plan, &trial, &cores, with_tree)?;
            report.add_peers(&outcome, &peers);
        }
    }
    report::print_freshness(&fresh::measure(plan.fresh.0, plan.fresh.1, plan.seed)?);
    if !is_bench() {
        println!("checksum {checksum:016x}");
    }
    report.print_line()
}

/// Reads the plan off the command line: `--ads 1000000 --queries 20000 --seed 42`.
fn plan() -> Result<Plan, Failure> {
    let or = |name: &str, bench: &str, tiny: &str| {
        option(name).unwrap_or(if is_bench() { bench } else { tiny }.to_owned())
    };
    let ads = or("--ads", "1000000,3000000", "3000");
    let ads: Result<Vec<usize>, _> = ads.split(',').map(str::parse).collect();
    Ok(Plan {
        seed: or("--seed", "42", "42").parse()?,
        ads: ads?,
        queries: or("--queries", "20000", "50").parse()?,
        checked: or("--checked", "1000", "50").parse()?,
        scanned: or("--scanned", "200", "10").parse()?,
        tree_ads: or("--tree-ads", "20000", "200").parse()?,
        disturbed: Duration::from_secs(if is_bench() { 15 } else { 0 }),
        fresh: if is_bench() { (10_000, 20) } else { (50, 2) },
    })
}

/// Tells whether `cargo bench` called.
fn is_bench() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Returns the argument after this name. Others are ignored: test runners pass theirs along.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}
