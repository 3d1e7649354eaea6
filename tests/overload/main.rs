//! Offers a server more calls than it can do, as an open loop does, and counts what became of each.
//!
//! `OVERLOAD_SECONDS=60 cargo test --release --test overload -- --nocapture` for the long form: the server gets a
//! tenth of a core, and 1, 2, 5 and 10 times what it can do for so long each; the last line of each is JSON.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop there")]

mod load;
mod server;
mod shop;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use munadi::journal::file::scan;
use munadi::node::Files;
use munadi::tokens::Sealer;
use munadi::types::proto::journal::v1::{Decision, fact::Kind};
use prost::Message;

use crate::load::{Class, Load, Tally};
use crate::server::{Server, Throttle};

/// How long each rate is offered in the quick form.
const QUICK: Duration = Duration::from_secs(1);

#[test]
fn reports_go_before_ads_and_ads_before_events_and_no_acknowledged_event_is_lost() {
    let long = std::env::var("OVERLOAD_SECONDS").ok().and_then(|text| text.parse().ok());
    let life = long.map_or(QUICK, Duration::from_secs);
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let load = Load::new(&server);
    // What the quick form measures on a machine that builds and tests at once says nothing.
    let throttle = long.map(|_| Throttle::on(server.pid()));
    if let Some(Throttle::Stopping { .. }) = &throttle {
        println!("there is no control group: the server is stopped for nine tenths of the time");
    }
    let measured = (life / 4).max(QUICK);
    let idle = load.closed_loop(1, measured);
    let peak = load.closed_loop(64, measured);
    let capacity = peak.done() as f64 / measured.as_secs_f64();
    let before = server.memory();
    let times: &[f64] = if long.is_some() { &[1.0, 2.0, 5.0, 10.0] } else { &[2.0] };
    let mut acknowledged: BTreeSet<usize> = &idle.acknowledged | &peak.acknowledged;
    for times in times {
        let tally = load.open_loop(capacity * times, life);
        let recovered = long.is_some().then(|| load.recovery());
        in_order(&tally);
        acknowledged.extend(&tally.acknowledged);
        if long.is_some() {
            println!("{}", line(*times, capacity, life, &tally, &idle));
            let growth = server.memory() as f64 / before as f64 - 1.0;
            println!("memory {growth:+.3}, normal again after {recovered:?}");
        }
    }
    drop(throttle);
    server.stop();
    assert!(!acknowledged.is_empty(), "no event was ever acknowledged");
    let journaled = journaled(&folder.path().join("data"));
    let views = load.views(&Sealer::new(ring(folder.path())));
    let lost: Vec<_> = acknowledged.iter().filter(|it| !journaled.contains(&views[**it])).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?} of {}", acknowledged.len());
}

/// Checks that no class was refused at a level at which it is not.
fn in_order(tally: &Tally) {
    for (class, least) in [(Class::Reports, 1), (Class::Serving, 2), (Class::Events, 3)] {
        let early: u64 = tally.of(class).refused[..least].iter().sum();
        assert_eq!(early, 0, "{class:?}: {:?}", tally.of(class).refused);
    }
}

/// Returns what a run came to, as one JSON object.
fn line(times: f64, capacity: f64, life: Duration, tally: &Tally, idle: &Tally) -> String {
    let class = |class: Class| {
        let of = tally.of(class);
        serde_json::json!({
            "sent": of.sent, "done": of.latencies.len(), "refused_by_level": of.refused,
            "at_work": of.at_work, "late": of.late, "failed": of.failed,
            "p99_ms": of.percentile(0.99).as_secs_f64() * 1_000.0,
            "idle_p99_ms": idle.of(class).percentile(0.99).as_secs_f64() * 1_000.0,
        })
    };
    let goodput = tally.done() as f64 / life.as_secs_f64();
    serde_json::json!({
        "times": times, "capacity_per_s": capacity, "goodput_share": goodput / capacity,
        "serving": class(Class::Serving), "events": class(Class::Events),
        "reports": class(Class::Reports),
    })
    .to_string()
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
