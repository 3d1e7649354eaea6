//! A base of this version, kept as it is: later versions must read it, for what came before it is nowhere else.
//!
//! `GOLDEN_BASE=write cargo test --test behaviour golden_base` writes it anew; only who has changed the layout of a base
//! before any was written by a release does that.

use std::fs;
use std::path::Path;

use munadi::journal::file::Options;
use munadi::node::base::base_of;
use munadi::node::{Files, Node, NodeOptions};
use munadi::types::time::Moment;

use super::{Life, SEGMENT_BYTES, audit, copy, first_segment, reported, without};

/// The folder of a node: base, the segments behind it, key ring.
const FOLDER: &str = "tests/golden/base_v1";

#[test]
fn golden_base_of_the_first_version_is_read() {
    let folder = Path::new(FOLDER);
    if std::env::var("GOLDEN_BASE").is_ok_and(|wish| wish == "write") {
        write(folder);
    }
    let room = tempfile::tempdir().unwrap();
    let dir = room.path().join("node");
    copy(folder, &dir);
    let base =
        base_of(&Files::new(&dir)).unwrap().expect("this version's base can't be read any more");
    assert!(base.segment() > 1 && first_segment(&dir) == base.segment());
    let report = audit(&dir).unwrap();
    assert!(report.equal && report.base_batch == base.last_batch().0, "{report}");
    assert!(report.facts > base.facts() && report.impressions > 0, "{report}");
    let last: Moment =
        Moment(report.last_time.parse::<jiff::Timestamp>().unwrap().as_millisecond());
    let clock = std::sync::Arc::new(munadi::node::clock::MovedClock::at(last));
    let journal = Options { segment_bytes: SEGMENT_BYTES, ..Options::default() };
    let options = NodeOptions { watch: false, journal, ..NodeOptions::default() };
    let node = Node::start(&dir, clock.clone() as std::sync::Arc<_>, &options).unwrap();
    assert_eq!(node.opened().replayed, report.facts - base.facts());
    assert_eq!(reported(&node, &clock).0, report.impressions);
    node.stop().unwrap();
    assert!(audit(&dir).unwrap().equal);
}

/// Makes the folder of a life whose first days are in a base.
fn write(folder: &Path) {
    let mut life = Life::new();
    life.days(0, 10);
    life.days(120, 120);
    let (room, _) = life.stop();
    room.base("node");
    room.trim("node");
    let dir = room.path("node");
    without(&dir, "checkpoint-");
    without(&dir.join("journal"), "spare-");
    without(&dir.join("journal"), "lock");
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    copy(&dir, folder);
}
