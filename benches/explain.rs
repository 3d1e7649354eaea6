//! `cargo bench --bench explain`: what watching serving costs it, in CPU time of the serving thread.
//!
//! Two nodes hold the same ads; one notes sampled requests and viewers, the other doesn't. They fill the
//! same trays in turn. Every tray is another viewer's, which is the worst case for the panel. Without
//! `--bench` a tiny input runs.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench measures time and prints"
)]

use cpu_time::ThreadTime;
use munadi::types::request::Policy;

use crate::support::market::{FEED, Market};
use crate::support::{campaigns, requests};

#[allow(dead_code, reason = "other benches use the rest")]
mod support {
    pub(crate) mod campaigns;
    pub(crate) mod market;
    pub(crate) mod requests;
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What goes wrong in a bench ends it; nobody handles it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let full = std::env::args().any(|argument| argument == "--bench");
    // The sampled share has fallen to one in 1,000 after half a million trays.
    let (ads, warm_up, rounds, trays) =
        if full { (100_000, 600_000, 21, 20_000) } else { (50, 100, 3, 50) };
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let plain = Market::open_watched(folders[0].path(), false)?;
    let watched = Market::open_watched(folders[1].path(), true)?;
    for market in [&plain, &watched] {
        campaigns::create(market, ads)?;
        market.wait_for(ads as usize)?;
    }
    fill(&watched, 0, warm_up);
    fill(&plain, 0, warm_up);
    let (mut off, mut on) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let from = warm_up + round * trays;
        off.push(fill(&plain, from, trays));
        on.push(fill(&watched, from, trays));
    }
    let (off, on) = (median(off), median(on));
    let cost = (on / off - 1.0) * 100.0;
    println!("a tray: {off:.2} us, watched {on:.2} us: {cost:+.1} %");
    let line = serde_json::json!({
        "bench": "explain", "ads": ads, "tray_us": off, "watched_us": on, "cost_percent": cost,
    });
    println!("{line}");
    Ok(())
}

/// Fills so many trays; returns the thread's CPU time of one, us.
fn fill(market: &Market, from: u32, trays: u32) -> f64 {
    let (policy, front, now) = (Policy::default(), market.node.front(), market.node.now());
    let start = ThreadTime::now();
    for turn in from..from + trays {
        let request = requests::parsed(turn);
        std::hint::black_box(front.request_ads(FEED, &policy, &request, now));
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(trays)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
