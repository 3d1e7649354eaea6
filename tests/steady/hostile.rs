//! Hundreds of peers that mean harm at once: others are answered as before, and the server's memory stays.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use munadi::node::clock::{Clock, SystemClock};
use munadi::types::proto::v1::{EventKind, ItemOutcome};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Status;

use crate::calls;
use crate::figures::{median, percentile};
use crate::number_of;
use crate::peers::{Told, misbehave};
use crate::server::Server;
use crate::shops;

/// Peers of the quick form.
const QUICK_PEERS: u64 = 50;

/// How long callers are measured, before the peers come and while they are there.
const QUICK: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(30);

/// Callers that mean well, and how long each rests between two calls.
const CALLERS: u64 = 4;
const REST: Duration = Duration::from_millis(5);

/// Parts of a time, each with its own 99th percentile: their median counts, for a shared machine has bad seconds.
const PARTS: u32 = 10;

/// How many times as long others may wait, where it was at least so long before.
const TIMES_MAX: f64 = 2.0;
const WAIT_LEAST_MS: f64 = 1.0;

/// How much more memory the server may take, bytes.
const MEMORY_MAX: u64 = 200_000_000;

/// How often the server's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What callers met in a time.
#[derive(Debug, Default)]
struct Met {
    /// How long the calls of each part took.
    parts: Vec<Vec<Duration>>,
}

impl Met {
    fn calls(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    /// Returns the median of the parts' 99th percentiles, milliseconds.
    fn p99_ms(&self) -> f64 {
        let of_part = |part: &Vec<Duration>| 1_000.0 * percentile(part, 0.99).as_secs_f64();
        median(self.parts.iter().filter(|part| !part.is_empty()).map(of_part).collect())
    }
}

#[test]
fn hostile_peers_keep_nobody_waiting_and_take_no_memory() {
    let wanted = number_of("PEERS");
    let (peers, life) = (wanted.unwrap_or(QUICK_PEERS), wanted.map_or(QUICK, |_| LONG));
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let (told, most) = (Arc::new(Told::default()), AtomicU64::new(0));
    let (idle, beside, before) = calls::runtime().block_on(async {
        shops::open(&calls::way(&server)).await.unwrap();
        // What is made at the first use of everything belongs to nobody.
        measure(&server, life / 3, &most).await.unwrap();
        let idle = measure(&server, life, &most).await.unwrap();
        let before = server.held().resident;
        most.store(before, Ordering::Relaxed);
        let harm = harm(server.addr, peers as usize, &told);
        let clock = SystemClock::default();
        while told.connected.load(Ordering::Relaxed) < peers as usize {
            assert!(clock.monotonic() < calls::PATIENCE, "the peers don't get through: {told:?}");
            sleep(LOOK_EVERY).await;
        }
        let beside = measure(&server, life, &most).await.unwrap();
        drop(harm);
        (idle, beside, before)
    });
    let growth = most.load(Ordering::Relaxed).saturating_sub(before);
    assert!(idle.calls() > 0 && beside.calls() > 0, "{} and {}", idle.calls(), beside.calls());
    assert!(growth <= MEMORY_MAX, "{peers} peers took {growth} bytes");
    let times = beside.p99_ms() / idle.p99_ms().max(WAIT_LEAST_MS);
    if wanted.is_some() {
        let line = json!({
            "peers": peers,
            "p99_ms_idle": idle.p99_ms(),
            "p99_ms_beside": beside.p99_ms(),
            "times": times,
            "calls_idle": idle.calls(),
            "calls_beside": beside.calls(),
            "memory_growth_mb": growth as f64 / 1e6,
            "connected": told.connected.load(Ordering::Relaxed),
            "cut": told.cut.load(Ordering::Relaxed),
        });
        println!("{line}");
        assert!(times <= TIMES_MAX, "others wait {times} times as long");
    }
    server.stop();
}

/// Lets peers misbehave on a thread of their own, for others would wait for them here and not at the server, until
/// what is returned is dropped.
fn harm(addr: SocketAddr, peers: usize, told: &Arc<Told>) -> oneshot::Sender<()> {
    let told = Arc::clone(told);
    let (over, is_over) = oneshot::channel();
    std::thread::spawn(move || {
        last_of_all();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut harm = JoinSet::new();
            for number in 0..peers {
                harm.spawn(misbehave(addr, number, Arc::clone(&told)));
            }
            // Dropped, it has been told as well.
            let _: Result<(), _> = is_over.await;
        });
    });
    over
}

/// Lets the thread that asks have what time of the machine others leave, if the machine can: peers have machines of
/// their own.
fn last_of_all() {
    let Ok(thread) = std::fs::read_link("/proc/thread-self") else { return };
    let Some(number) = thread.file_name() else { return };
    let _ = Command::new("renice").args(["-n", "19", "-p"]).arg(number).output();
}

/// Lets callers ask for trays and tell of them for so long, each part on connections of its own, while the most
/// memory of the server is noted.
async fn measure(server: &Server, life: Duration, most: &AtomicU64) -> Result<Met, Status> {
    let mut met = Met::default();
    for _ in 0..PARTS {
        let over = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            callers.spawn(call_on(calls::way(server), number, Arc::clone(&over)));
        }
        let clock = SystemClock::default();
        while clock.monotonic() < life / PARTS {
            most.fetch_max(server.held().resident, Ordering::Relaxed);
            sleep(LOOK_EVERY.min(life / PARTS)).await;
        }
        over.store(true, Ordering::Release);
        let mut part = Vec::new();
        while let Some(took) = callers.join_next().await {
            part.extend(took.unwrap()?);
        }
        met.parts.push(part);
    }
    Ok(met)
}

/// Asks for trays and tells of their ads until it is over, at least once; returns how long each call took.
async fn call_on(
    way: tonic::transport::Channel,
    number: u64,
    over: Arc<AtomicBool>,
) -> Result<Vec<Duration>, Status> {
    let clock = SystemClock::default();
    let mut took = Vec::new();
    for round in 0_u64.. {
        let begun = clock.monotonic();
        let given = calls::tray(&way, format!("viewer {number} {round}")).await?;
        took.push(clock.monotonic() - begun);
        let events: Vec<_> = given.iter().map(|it| it.event(EventKind::Impression)).collect();
        if !events.is_empty() {
            let begun = clock.monotonic();
            let results = calls::record(&way, events).await?;
            took.push(clock.monotonic() - begun);
            let refused = results.iter().find(|it| it.outcome() == ItemOutcome::Refused);
            assert_eq!(refused, None);
        }
        if over.load(Ordering::Acquire) {
            break;
        }
        sleep(REST).await;
    }
    Ok(took)
}
