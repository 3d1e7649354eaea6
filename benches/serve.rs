//! `cargo bench --bench serve`: trays per second beside a no-op method that answers the same bytes.
//!
//! Each server is a process of its own, so that its CPU can be read; the load shares its cores.
//! Without `--bench` (as `cargo test --benches` calls it) a tiny input runs and a checksum is printed.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench measures time and prints"
)]

use std::time::Duration;

use crate::support::child::{self, Child};
use crate::support::load::{Mode, Shape};
use crate::support::report::{Case, Report};
use crate::support::requests;
use crate::support::round::{Round, measure};

mod support {
    pub(crate) mod campaigns;
    pub(crate) mod child;
    pub(crate) mod codec;
    pub(crate) mod door;
    pub(crate) mod load;
    pub(crate) mod market;
    pub(crate) mod noop;
    pub(crate) mod real;
    pub(crate) mod report;
    pub(crate) mod requests;
    pub(crate) mod round;
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What goes wrong in a bench ends it; nobody handles it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

const UNARY: Shape = Shape { mode: Mode::Unary, connections: 8, streams: 1, in_flight: 32 };
const STREAM: Shape = Shape { mode: Mode::Stream, connections: 4, streams: 4, in_flight: 16 };

/// How much is run.
struct Plan {
    ads: Vec<u32>,
    /// Trays that are filled without the door.
    trays: u32,
    rounds: usize,
    round: Round,
}

fn main() -> Result<(), Failure> {
    match option("--server").as_deref() {
        Some("noop") => {
            let server = support::noop::start(&child::told(&option("--like"))?)?;
            child::answer(&server.target, "")
        }
        Some("real") => {
            let plan = plan()?;
            let server = support::real::start(plan.ads[0], plan.trays)?;
            child::answer(&server.target, &server.tray_us.to_string())
        }
        Some(other) => Err(format!("no such server: {other}").into()),
        None => run(&plan()?),
    }
}

/// Runs every case and prints what came out.
fn run(plan: &Plan) -> Result<(), Failure> {
    let mut report = Report::default();
    for &ads in &plan.ads {
        let trays = plan.trays.to_string();
        let mut real =
            Child::start(&["--server", "real", "--ads", &ads.to_string(), "--trays", &trays])?;
        let tray_us: f64 = real.line()?.trim().parse()?;
        let noop = Child::start(&["--server", "noop", "--like", &real.target.to_string()])?;
        for shape in [UNARY, STREAM] {
            let case = Case::new(ads, shape, tray_us);
            report.add(compare(plan, case, shape, &noop, &real)?);
        }
    }
    if !is_bench() {
        println!("checksum {:08x}", requests::checksum());
    }
    report.print_line()
}

/// Measures both servers in turn, so that a slow moment of the machine meets both.
fn compare(
    plan: &Plan,
    mut case: Case,
    shape: Shape,
    noop: &Child,
    real: &Child,
) -> Result<Case, Failure> {
    for _ in 0..plan.rounds {
        case.noop.push(measure(noop, shape, plan.round)?);
        case.real.push(measure(real, shape, plan.round)?);
    }
    case.print(plan.round);
    Ok(case)
}

/// Reads the plan off the command line: `--ads 100000,1000000 --rounds 5 --seconds 2 --trays 50000`.
fn plan() -> Result<Plan, Failure> {
    let or = |name: &str, bench: &str, tiny: &str| {
        option(name).unwrap_or(if is_bench() { bench } else { tiny }.to_owned())
    };
    let ads: Result<Vec<u32>, _> =
        or("--ads", "100000,1000000", "50").split(',').map(str::parse).collect();
    let seconds: f64 = or("--seconds", "1", "0.05").parse()?;
    Ok(Plan {
        ads: ads?,
        trays: or("--trays", "50000", "50").parse()?,
        rounds: or("--rounds", "11", "1").parse()?,
        round: Round {
            warm_up: Duration::from_secs_f64(seconds / 4.0),
            measured: Duration::from_secs_f64(seconds),
        },
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
