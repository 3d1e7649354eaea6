//! A checkpoint pass while facts come in and trays are filled.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use munadi::node::clock::SystemClock;
use munadi::node::{Node, Paced};
use munadi::types::request::{AdRequest, Policy};

use crate::Failure;
use crate::support::recover::day::{BATCH, Day, Sender};
use crate::support::requests;

/// Viewers that ask for trays, again and again.
const ASKING: usize = 100_000;

/// How much is run.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) facts_per_s: u64,
    /// How long trays are timed without a pass, and with passes at least.
    pub(crate) seconds: f64,
    pub(crate) feed: u32,
}

/// What came out.
pub(crate) struct Passed {
    /// The longest pass, until its file was synced and all that it holds was durable.
    pub(crate) pass_s: f64,
    /// Events that became durable a second meanwhile.
    pub(crate) facts_per_s: f64,
    pub(crate) longest_ms: f64,
    pub(crate) quiet_longest_ms: f64,
    pub(crate) trays: u64,
}

/// What the threads tell each other.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    longest_ns: AtomicU64,
    trays: AtomicU64,
    events: AtomicU64,
}

/// Measures passes under load.
pub(crate) fn measure(
    node: &Node,
    day: &mut Day,
    dir: &Path,
    plan: Plan,
) -> Result<Passed, Failure> {
    let shared = Shared::default();
    let asking: Vec<u64> = (0..ASKING).map(|_| day.any_viewer()).collect();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| load(node, day, plan.facts_per_s, &shared));
        let server = scope.spawn(|| serve(node, &asking, plan.feed, &shared));
        let passed = passes(node, dir, plan, &shared);
        shared.stop.store(true, Relaxed);
        let loaded = load.join().map_err(|_| "the load stopped")?;
        server.join().map_err(|_| "serving stopped")?;
        loaded.and(passed)
    })
}

fn passes(node: &Node, dir: &Path, plan: Plan, shared: &Shared) -> Result<Passed, Failure> {
    let window = Duration::from_secs_f64(plan.seconds);
    // The first trays and batches warm up.
    std::thread::sleep(window / 4);
    shared.longest_ns.store(0, Relaxed);
    std::thread::sleep(window);
    let quiet = shared.longest_ns.swap(0, Relaxed);
    let (begin, events) = (Instant::now(), shared.events.load(Relaxed));
    let mut pass_s = 0.0_f64;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    while pass_s == 0.0 || begin.elapsed() < window {
        let start = Instant::now();
        let path = dir.join("bench.part");
        let mut out = BufWriter::new(File::create(&path)?);
        // As the node itself writes one.
        let (clock, never) = (SystemClock::default(), AtomicBool::new(false));
        let mut paced = Paced::new(&mut out, &clock, &never);
        node.front().write_checkpoint(node.journal(), &mut paced)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        let settled = runtime.block_on(node.settled());
        settled.map_err(|refusal| refusal.message.to_string())?;
        pass_s = pass_s.max(start.elapsed().as_secs_f64());
        std::fs::remove_file(path)?;
    }
    let took = begin.elapsed().as_secs_f64();
    let millis = |nanos: u64| nanos as f64 / 1e6;
    Ok(Passed {
        pass_s,
        facts_per_s: (shared.events.load(Relaxed) - events) as f64 / took,
        longest_ms: millis(shared.longest_ns.load(Relaxed)),
        quiet_longest_ms: millis(quiet),
        trays: shared.trays.load(Relaxed),
    })
}

/// Sends batches at the rate that is asked for, or as fast as they become durable.
fn load(node: &Node, day: &mut Day, per_second: u64, shared: &Shared) -> Result<(), Failure> {
    let mut sender = Sender::new()?;
    let (begin, mut sent) = (Instant::now(), 0);
    while !shared.stop.load(Relaxed) {
        for _ in 0..BATCH {
            sender.send(node, day.any_impression(node))?;
        }
        sent += BATCH as u64;
        shared.events.store(sent, Relaxed);
        let due = Duration::from_secs_f64(sent as f64 / per_second as f64);
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    sender.finish(node)
}

/// Fills trays one after the other, and notes the longest.
fn serve(node: &Node, asking: &[u64], feed: u32, shared: &Shared) {
    let policy = Policy::default();
    for turn in 0.. {
        if shared.stop.load(Relaxed) {
            break;
        }
        let viewer = Some(asking[turn as usize % asking.len()]);
        let request = AdRequest { viewer, ..requests::parsed(turn) };
        let start = Instant::now();
        std::hint::black_box(node.request_ads(feed, &policy, &request));
        let nanos = start.elapsed().as_nanos() as u64;
        shared.longest_ns.fetch_max(nanos, Relaxed);
        shared.trays.fetch_add(1, Relaxed);
    }
}
