//! What a restored backup knows, and must not know any more; and how long it takes to be there again.
//! `BACKUP_EVENTS=10000000 cargo test --release --test behaviour restored` says it of a large one.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use munadi::node::Node;
use munadi::node::backup::{backup, restore, state_hash};
use munadi::node::clock::{Clock, MovedClock, SystemClock};
use munadi::types::proto::v1::EventKind;
use munadi::types::refusal::Reason;
use munadi::types::request::{Author, Verdict};

use crate::site::{Site, start};
use crate::stage::{ALL, FEED, Offer, Shown, event, refused, whole};

/// Events in a backup unless the environment says otherwise.
const EVENTS: u64 = 500;

/// Most seconds that a gigabyte may take from the backup to a node that serves.
const SECONDS_PER_GB_MAX: f64 = 60.0;

fn waited<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer)
}

fn erase(node: &Node, viewer: u64) -> bool {
    waited(node.erase_viewer(&Author::default(), FEED, viewer)).unwrap()
}

fn happen(node: &Node, shown: &Shown, kind: EventKind) -> Verdict {
    waited(node.record(vec![event(shown, kind)]).unwrap()).unwrap().remove(0)
}

/// Takes the checkpoints out of a node's folder; tells whether there were any.
fn without_checkpoints(dir: &Path) -> bool {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let checkpoints: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("checkpoint-"))
        .map(|entry| entry.path())
        .collect();
    checkpoints.iter().for_each(|path| fs::remove_file(path).unwrap());
    !checkpoints.is_empty()
}

#[test]
fn an_erased_viewer_stays_erased_wherever_a_later_backup_is_restored() {
    let site = Site::new();
    site.shop("MX", &Offer::default());
    let (ana, ben) = (site.show("MX", "ana").unwrap(), site.show("MX", "ben").unwrap());
    for shown in [&ana, &ben] {
        site.record(vec![event(shown, EventKind::Impression), event(shown, EventKind::Tap)]);
    }
    let (viewer, now) = (site.viewer("ana"), site.clock.now());
    let before = site.reported();
    let take = |room: &Path| {
        backup(&room.join("node"), &room.join("backup"), now, &mut |_| ()).unwrap();
    };
    // What is there of her lies in the backup already; the later one goes on with the same files.
    take(site.room.path());
    assert!(erase(&site.node, viewer), "something was known");
    take(site.room.path());
    let path = site.path("of a running node");
    restore(&site.path("backup"), &path, None, &mut |_| ()).unwrap();
    let (room, clock) = site.stop();
    take(room.path());
    for name in ["of a stopped node", "without a checkpoint"] {
        let restored =
            restore(&room.path().join("backup"), &room.path().join(name), None, &mut |_| ());
        assert!(restored.unwrap().checkpoint, "it was written at the stop");
    }
    assert!(without_checkpoints(&room.path().join("without a checkpoint")));
    for name in ["of a running node", "of a stopped node", "without a checkpoint"] {
        let node = start(&room.path().join(name), &clock);
        assert_eq!(node.opened().checkpoint, name == "of a stopped node");
        for kind in [EventKind::Impression, EventKind::Tap] {
            assert_eq!(refused(&happen(&node, &ana, kind)), Reason::TokenExpired, "{name}");
            assert_eq!(happen(&node, &ben, kind), Verdict::Already, "{name}: others are there");
        }
        assert!(!erase(&node, viewer), "{name}: nothing came back");
        assert_eq!(reported(&node, &clock), before, "{name}: sums stay");
        node.stop().unwrap();
    }
}

/// Returns impressions, taps, conversations and spend of everything.
fn reported(node: &Node, clock: &Arc<MovedClock>) -> (u64, u64, u64, i64) {
    let rows = node.front().report(ALL, &whole(), clock.now()).unwrap().0.rows;
    let row = rows.first().cloned().unwrap_or_default();
    (row.impressions, row.taps, row.conversations, row.spend_micros)
}

#[test]
fn a_restored_node_knows_all_that_a_crowd_did() {
    let told = std::env::var("BACKUP_EVENTS").ok().and_then(|text| text.parse::<u64>().ok());
    let events = told.unwrap_or(EVENTS);
    let site = Site::of((events * 16).clamp(256 << 10, 64 << 20));
    let done = site.crowd(&site.shops(), events);
    site.deliver(done.chats);
    let (before, now) = (site.reported(), site.clock.now());
    let (room, clock) = site.stop();
    let path = |name: &str| room.path().join(name);
    let taken = backup(&path("node"), &path("backup"), now, &mut |_| ()).unwrap();
    let parts = taken.manifest.segments.iter().chain(&taken.manifest.checkpoint);
    let bytes: u64 = parts.map(|kept| kept.bytes).sum();
    let hash = state_hash(&path("node/journal")).unwrap();
    let machine = SystemClock::default();
    let began = machine.monotonic();
    restore(&path("backup"), &path("restored"), None, &mut |_| ()).unwrap();
    let restored = machine.monotonic() - began;
    assert_eq!(state_hash(&path("restored/journal")).unwrap(), hash);
    for with_checkpoint in [true, false] {
        if !with_checkpoint {
            assert!(without_checkpoints(&path("restored")));
        }
        let began = machine.monotonic();
        let node = start(&path("restored"), &clock);
        let opened = machine.monotonic() - began;
        assert_eq!(node.opened().checkpoint, with_checkpoint);
        assert_eq!(reported(&node, &clock), before);
        node.stop().unwrap();
        let took = (restored + opened).as_secs_f64() / (bytes as f64 / 1e9);
        let how = if with_checkpoint { "with" } else { "without" };
        println!(
            "{} events, {bytes} bytes: restored in {restored:?}, opened {how} a checkpoint in \
             {opened:?}: {took:.1} s a GB",
            done.events()
        );
        let measured = told.is_some() && !cfg!(debug_assertions);
        assert!(!measured || took <= SECONDS_PER_GB_MAX, "{took} s a GB {how} a checkpoint");
    }
}
