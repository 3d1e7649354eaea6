//! Offers a server more calls than it can do, as an open loop does, and counts what became of each.
//!
//! `OVERLOAD_SECONDS=60 cargo test --release --test overload -- --nocapture` for the long form: the server gets a
//! tenth of a core, and 1, 2, 5 and 10 times what it can do for so long each. It prints a table, and one line of JSON.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop there")]

mod load;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/shop.rs"]
mod shop;
mod table;
mod throttle;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use munadi::journal::file::scan;
use munadi::node::Files;
use munadi::tokens::Sealer;
use munadi::types::proto::journal::v1::{Decision, fact::Kind};
use prost::Message;

use crate::load::{Class, Load, Tally};
use crate::process::Process;
use crate::table::{Measured, Run};
use crate::throttle::{Throttle, memory};

/// How long each rate is offered in the quick form.
const QUICK: Duration = Duration::from_secs(1);

/// Callers, each of whom waits for an answer before the next call: of some number most is done.
const CALLERS: [usize; 4] = [4, 16, 32, 64];

/// Callers while a server gets warm.
const WARM_CALLERS: usize = 16;

/// Times the capacity that is offered in the long form.
const TIMES: [f64; 4] = [1.0, 2.0, 5.0, 10.0];

#[test]
fn reports_go_before_ads_and_ads_before_events_and_no_acknowledged_event_is_lost() {
    let long = std::env::var("OVERLOAD_SECONDS").ok().and_then(|text| text.parse().ok());
    let life = long.map_or(QUICK, Duration::from_secs);
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path(), "cores = 1\n", "");
    let pid = server.child.id();
    let load = Load::new(&server.addr);
    // What the quick form measures on a machine that builds and tests at once says nothing.
    let throttle = long.map(|_| Throttle::on(pid));
    let mut acknowledged = BTreeSet::new();
    let idle = load.closed_loop(1, (life / 4).max(QUICK));
    acknowledged.extend(&idle.acknowledged);
    let capacity = if long.is_some() {
        // What it does for every caller, and keeps of what it was asked for, is there before the load.
        acknowledged.extend(&load.closed_loop(WARM_CALLERS, life).acknowledged);
        peak((life / 4).max(QUICK))
    } else {
        capacity(&load, &CALLERS[1..2], QUICK, &mut acknowledged)
    };
    let before = memory(pid);
    let mut runs = Vec::new();
    for times in if long.is_some() { &TIMES[..] } else { &[2.0] } {
        let mut most = before;
        let tally = load.open_loop(capacity * times, life, || most = most.max(memory(pid)));
        in_order(&tally);
        acknowledged.extend(&tally.acknowledged);
        let normal = long.is_some().then(|| load.recovery()).flatten();
        let growth = most as f64 / before as f64 - 1.0;
        runs.push(Run { times: *times, tally, growth, normal });
    }
    let by = throttle.as_ref().map_or("nothing", Throttle::name);
    drop(throttle);
    server.stop();
    assert!(!acknowledged.is_empty(), "no event was ever acknowledged");
    let journaled = journaled(&folder.path().join("data"));
    let views = load.views(&Sealer::new(ring(folder.path())));
    let lost: Vec<_> = acknowledged.iter().filter(|it| !journaled.contains(&views[**it])).collect();
    if long.is_some() {
        let (acknowledged, lost) = (acknowledged.len(), lost.len());
        let measured = Measured { by, life, capacity, idle, runs, acknowledged, lost };
        println!("{}\n{}", measured.table(), measured.line());
    }
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?} of {}", acknowledged.len());
}

/// Returns the most calls a second that a server does which refuses none, on a tenth of a core likewise.
fn peak(life: Duration) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path(), "cores = 1\n", "shed = false\n");
    let load = Load::new(&server.addr);
    let throttle = Throttle::on(server.child.id());
    let peak = capacity(&load, &CALLERS, life, &mut BTreeSet::new());
    drop(throttle);
    server.stop();
    peak
}

/// Returns the most calls a second that so many callers get done who send the next one only then.
fn capacity(
    load: &Load,
    callers: &[usize],
    life: Duration,
    acknowledged: &mut BTreeSet<usize>,
) -> f64 {
    let mut most: f64 = 0.0;
    for callers in callers {
        let tally = load.closed_loop(*callers, life);
        acknowledged.extend(&tally.acknowledged);
        most = most.max(tally.done() as f64 / life.as_secs_f64());
    }
    most
}

/// Checks that no class was refused at a level at which it is not.
fn in_order(tally: &Tally) {
    for class in Class::ALL {
        let refused = &tally.of(class).refused;
        let early: u64 = refused[..class.level()].iter().sum();
        assert_eq!(early, 0, "{class:?}: {refused:?}");
    }
}

fn ring(folder: &Path) -> munadi::tokens::KeyRing {
    Files::new(&folder.join("data")).ring().unwrap().unwrap()
}

/// Returns the views whose impression stands in a journal.
fn journaled(data: &Path) -> BTreeSet<u64> {
    let mut views = BTreeSet::new();
    let scanned = scan(&data.join("journal"), |block| {
        for bytes in block.decisions() {
            for fact in Decision::decode(bytes).unwrap().facts {
                if let Some(Kind::ImpressionSeen(fact)) = fact.kind {
                    views.insert(fact.showing.unwrap().view);
                }
            }
        }
    });
    assert_eq!(scanned.unwrap().torn, None, "the stop sealed the journal");
    views
}
