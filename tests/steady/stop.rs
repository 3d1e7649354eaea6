//! A stop under load: health says so first, every acknowledged event is there afterwards, and a client that never
//! answers holds it up for no longer than the deadline.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use munadi::cli::audit::audit;
use munadi::node::clock::{Clock, SystemClock};
use munadi::types::proto::v1;
use munadi::types::proto::v1::{EventKind, ItemOutcome};
use prost::bytes::Bytes;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::calls::{self, PATIENCE};
use crate::journal::{once_each, sealer};
use crate::number_of;
use crate::peers::unending;
use crate::server::Server;
use crate::shops;

/// Feeds that tell events while the server is asked to stop.
const FEEDS: u64 = 8;

/// Batches that are acknowledged before it is.
const BATCHES_LEAST: u64 = 20;

/// How often it is looked how many there are.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long a stop may take, whatever clients do.
const STOP_MAX: Duration = Duration::from_secs(20);

/// An event's token, and its kind.
type Told = (Bytes, EventKind);

#[test]
fn a_stop_under_load_says_so_first_and_loses_nothing_that_was_acknowledged() {
    let stays = number_of("DRAIN_STUCK").is_some();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let runtime = calls::runtime();
    // Connections are made where a runtime is at hand.
    let _inside = runtime.enter();
    runtime.block_on(shops::open(&calls::way(&server))).unwrap();
    let batches = Arc::new(AtomicU64::new(0));
    let feeds: Vec<_> = (0..FEEDS)
        .map(|feed| runtime.spawn(report(calls::way(&server), feed, Arc::clone(&batches))))
        .collect();
    let mut stuck = TcpStream::connect(server.addr).unwrap();
    stuck.write_all(&unending()).unwrap();
    let clock = SystemClock::default();
    let mut health = HealthClient::new(calls::way(&server));
    let mut changes = runtime.block_on(async {
        let request = HealthCheckRequest { service: String::new() };
        let mut changes = health.watch(request).await.unwrap().into_inner();
        let first = timeout(PATIENCE, changes.message()).await.unwrap().unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
        while batches.load(Ordering::Relaxed) < BATCHES_LEAST {
            assert!(clock.monotonic() < PATIENCE, "nothing is acknowledged");
            sleep(LOOK_EVERY).await;
        }
        changes
    });

    let asked = SystemClock::default();
    server.terminate();
    let next = runtime.block_on(async { timeout(PATIENCE, changes.message()).await });
    let told = asked.monotonic();
    let next = next.expect("health says something").unwrap().expect("before its end");
    assert_eq!(next.status(), ServingStatus::NotServing);
    assert!(server.runs(), "it says so before it drains: a call is still open");
    drop((changes, health));
    if !stays {
        drop(stuck);
    }
    server.ended();
    let took = asked.monotonic();
    assert!(took <= STOP_MAX, "the stop took {took:?}");
    let acknowledged: Vec<Told> =
        feeds.into_iter().flat_map(|feed| runtime.block_on(feed).unwrap()).collect();
    if stays {
        let line = json!({
            "told_after_s": told.as_secs_f64(),
            "stopped_after_s": took.as_secs_f64(),
            "acknowledged_events": acknowledged.len(),
        });
        println!("{line}");
    }

    let server = Server::start(folder.path());
    runtime.block_on(all_known(&calls::way(&server), &acknowledged)).unwrap();
    server.stop();
    let sealer = sealer(folder.path());
    let now_s = clock.now().seconds();
    let view = |token: &Bytes| sealer.open_view(token, now_s).expect("our own token").view;
    let named: Vec<_> =
        acknowledged.iter().map(|(token, kind)| (view(token), (*kind).into())).collect();
    once_each(folder.path(), &named);
    let audited = audit(&folder.path().join("data")).unwrap();
    assert!(audited.equal && audited.complete, "{audited}");
}

/// Asks for trays and tells of their ads until the server is gone; returns the events that were acknowledged.
async fn report(way: Channel, feed: u64, batches: Arc<AtomicU64>) -> Vec<Told> {
    let mut acknowledged = Vec::new();
    for round in 0_u64.. {
        let asked = timeout(PATIENCE, calls::tray(&way, format!("viewer {feed} {round}"))).await;
        let Ok(Ok(given)) = asked else { break };
        let kinds = [EventKind::Impression, EventKind::Tap];
        let told = given.iter().flat_map(|it| kinds.map(|kind| (it.token.clone(), kind)));
        let told: Vec<Told> = told.collect();
        if told.is_empty() {
            continue;
        }
        // No answer: the outcome is unknown.
        let Ok(Ok(results)) = timeout(PATIENCE, calls::record(&way, wire(&told))).await else {
            break;
        };
        let refused = results.iter().find(|it| it.outcome() == ItemOutcome::Refused);
        assert_eq!(refused, None);
        acknowledged.extend(told);
        batches.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

/// Tells all events again: the server knows each.
async fn all_known(way: &Channel, told: &[Told]) -> Result<(), Status> {
    for some in told.chunks(500) {
        let results = calls::record(way, wire(some)).await?;
        let lost = results.iter().find(|it| it.outcome() != ItemOutcome::Already);
        assert_eq!(lost, None, "acknowledged and lost");
    }
    Ok(())
}

fn wire(told: &[Told]) -> Vec<v1::AdEvent> {
    let event = |(token, kind): &Told| v1::AdEvent {
        view_token: token.clone(),
        kind: (*kind).into(),
        ..Default::default()
    };
    told.iter().map(event).collect()
}
