//! What is printed: tables with ratios for people, and one line of JSON for programs.

use serde::Serialize;

use crate::Failure;
use crate::support::select::fresh::Freshness;
use crate::support::select::measure::Times;
use crate::support::select::peers::{Peer, Peers};
use crate::support::select::trial::{Disturbed, Outcome, TOP};

/// All figures of a run, as the line for programs has them.
#[derive(Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    cases: Vec<Case>,
    scan_p50_us: f64,
    roaring_p50_us: f64,
    dense_p50_us: f64,
    dense_p999_us: f64,
    atree_20k_p50_us: f64,
}

#[derive(Serialize)]
struct Case {
    ads: usize,
    workload: &'static str,
    k: usize,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    build_s: f64,
    index_bytes_per_ad: f64,
    catalog_bytes_per_ad: f64,
    mismatches: usize,
}

impl Default for Report {
    fn default() -> Self {
        let none = 0.0;
        Self {
            bench: "select",
            cases: Vec::new(),
            scan_p50_us: none,
            roaring_p50_us: none,
            dense_p50_us: none,
            dense_p999_us: none,
            atree_20k_p50_us: none,
        }
    }
}

impl Report {
    /// Takes a case in and prints it.
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        let [p50_us, p99_us, p999_us] = percentiles(&outcome.times);
        println!(
            "{} ads, {}: top {TOP} in {p50_us} / {p99_us} / {p999_us} us (p50 / p99 / p99.9 of {}), {:.0} \
             ads match, {:.1} bytes allocated a request",
            outcome.ads,
            outcome.workload.name(),
            outcome.times.count(),
            outcome.matches,
            outcome.bytes_per_request,
        );
        println!(
            "  built in {:.2} s of CPU, index {:.1}, catalog {:.1} and board {:.1} bytes an ad, {} \
             mismatches in {} requests",
            outcome.build_s,
            outcome.index_bytes_per_ad,
            outcome.catalog_bytes_per_ad,
            outcome.board_bytes_per_ad,
            outcome.mismatches,
            outcome.checked,
        );
        self.cases.push(Case {
            ads: outcome.ads,
            workload: outcome.workload.name(),
            k: TOP,
            p50_us,
            p99_us,
            p999_us,
            build_s: rounded(outcome.build_s, 1_000.0),
            index_bytes_per_ad: rounded(outcome.index_bytes_per_ad, 10.0),
            catalog_bytes_per_ad: rounded(outcome.catalog_bytes_per_ad, 10.0),
            mismatches: outcome.mismatches,
        });
    }

    /// Prints the other methods beside the engine's index. Those of the first workload go on the line.
    pub(crate) fn add_peers(&mut self, outcome: &Outcome, peers: &Peers) {
        println!("  method      ads      all matches p50 / p99 / p99.9 us    with top {TOP}");
        let (scan, inverted, dense) = (&peers.scan, &peers.inverted, &peers.dense);
        for peer in [scan, inverted, dense].into_iter().chain(&peers.tree) {
            print_peer(peer);
        }
        let ratio = |share: f64| dense.all.us_at(share) / outcome.times.us_at(share);
        println!(
            "  top {TOP} against all matches of the dense pass: {:.2} times as fast at p50, {:.2} at p99, \
             {:.2} at p99.9",
            ratio(0.5),
            ratio(0.99),
            ratio(0.999),
        );
        let median = |times: &Times| rounded(times.us_at(0.5), 10.0);
        if let Some(tree) = &peers.tree {
            self.scan_p50_us = median(&scan.top);
            self.roaring_p50_us = median(&inverted.all);
            self.dense_p50_us = median(&dense.all);
            self.dense_p999_us = rounded(dense.all.us_at(0.999), 10.0);
            self.atree_20k_p50_us = median(&tree.all);
        }
    }

    /// Prints the line for programs.
    pub(crate) fn print_line(&self) -> Result<(), Failure> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }
}

fn print_peer(peer: &Peer) {
    let [p50, p99, p999] = percentiles(&peer.all);
    let [top_p50, top_p99, top_p999] = percentiles(&peer.top);
    println!(
        "  {:10} {:8}  {p50:>9} / {p99} / {p999}    {top_p50} / {top_p99} / {top_p999}  ({} requests; \
         built in {:.2} s, {:.0} bytes an ad)",
        peer.name,
        peer.ads,
        peer.all.count(),
        peer.build_s,
        peer.bytes_per_ad,
    );
}

/// Prints what changes cost those who ask at the same time.
pub(crate) fn print_disturbed(idle: &Times, disturbed: &Disturbed) {
    let Disturbed { busy, after, churn } = disturbed;
    let [p50, p99, p999] = percentiles(busy);
    println!(
        "  during {} changes and {} rebuilds: {p50} / {p99} / {p999} us of {}; p99 is {:.2} times that \
         before, {:.2} times that after",
        churn.updates,
        churn.rebuilds,
        busy.count(),
        busy.us_at(0.99) / idle.us_at(0.99),
        busy.us_at(0.99) / after.us_at(0.99),
    );
}

/// Prints how soon a change is seen.
pub(crate) fn print_freshness(fresh: &Freshness) {
    println!(
        "seen after its acknowledgement, ms of the wall clock: an insert {:.3} (at most {:.3}), a pause \
         {:.3} (at most {:.3}), {} of each beside {} ads",
        fresh.insert.0, fresh.insert.1, fresh.pause.0, fresh.pause.1, fresh.rounds, fresh.ads,
    );
}

fn percentiles(times: &Times) -> [f64; 3] {
    [0.5, 0.99, 0.999].map(|share| rounded(times.us_at(share), 10.0))
}

fn rounded(figure: f64, steps_per_one: f64) -> f64 {
    (figure * steps_per_one).round() / steps_per_one
}
