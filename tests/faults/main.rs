//! Faults in a process of its own: it is aborted at each write, sync, rename, decision and answer, its disk
//! fails, is full or slow; then all that it acknowledged must be there.
//!
//! Crash points need `--features failpoints`; without, only the full disk is tried.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop there")]
#![allow(clippy::print_stdout, reason = "a run says what it tried")]

mod child;
mod full;
mod slow;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use munadi::cli::audit::audit;
use munadi::node::Node;
use munadi::node::backup::{backup, verify};
use munadi::node::clock::{Clock, SystemClock};
use munadi::types::request::{ResourceKind, Scope};

use crate::child::{Site, create};

/// The signal of an abort.
const SIGABRT: i32 = 6;

/// How the first life ends: in the middle, after a backup.
const FIRST_LIFE: &str = "writer-acknowledged=22*off->panic";

/// Every crash point, and how often it is passed before.
const POINTS: &[(&str, u32)] = &[
    ("segment-write", 7),
    ("segment-written", 7),
    ("segment-sync", 7),
    ("segment-synced", 7),
    ("group-gather", 7),
    ("group-report", 7),
    ("group-reported", 7),
    ("seal-write", 0),
    ("seal-written", 0),
    ("roll-begin", 0),
    ("roll-end", 0),
    ("spare-zero", 0),
    ("spare-synced", 0),
    ("header-write", 0),
    ("header-written", 0),
    ("header-synced", 0),
    ("segment-renamed", 0),
    ("segment-named", 0),
    ("mend-write", 0),
    ("mend-written", 0),
    ("mend-sync", 0),
    ("mend-synced", 0),
    ("checkpoint-write", 0),
    ("checkpoint-written", 0),
    ("checkpoint-settle", 0),
    ("checkpoint-rename", 0),
    ("checkpoint-renamed", 0),
    ("checkpoint-forget", 0),
    ("ring-write", 0),
    ("ring-written", 0),
    ("ring-rename", 0),
    ("ring-renamed", 0),
    ("writer-decided", 7),
    ("writer-applied", 7),
    ("writer-submit", 7),
    ("writer-submitted", 7),
    ("writer-durable", 7),
    ("writer-acknowledge", 7),
    ("writer-acknowledged", 7),
    ("backup-copy", 1),
    ("backup-manifest-write", 0),
    ("backup-manifest-rename", 0),
    ("backup-manifest-renamed", 0),
];

/// Children that run at once.
const AT_ONCE: usize = 4;

/// What a child said before it ended.
struct Life {
    /// Accounts that were acknowledged.
    acknowledged: Vec<u64>,
    /// Whether one was after another had been refused.
    after_refusal: bool,
    refused: usize,
    aborted: bool,
}

/// Lets a child live in a folder, with crash points, and returns what it said.
fn live(dir: &Path, life: u32, points: &str) -> Life {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child::child", "--nocapture", "--test-threads=1"]);
    command.env(child::FOLDER, dir).env(child::LIFE, life.to_string());
    let output = command.env("FAILPOINTS", points).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut told = Life {
        acknowledged: Vec::new(),
        after_refusal: false,
        refused: 0,
        aborted: output.status.signal() == Some(SIGABRT),
    };
    for line in text.lines() {
        if let Some((_, id)) = line.rsplit_once(child::ACKNOWLEDGED) {
            told.after_refusal |= told.refused > 0;
            told.acknowledged.push(id.parse().unwrap());
        }
        told.refused += usize::from(line.contains(child::REFUSED));
    }
    let whole = output.status.success() || told.aborted;
    assert!(whole, "{points}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    told
}

/// Opens a folder again and checks that everything acknowledged is there, and that it goes on.
fn check(dir: &Path, lives: &[Life], what: &str) {
    let site = Site::new(dir);
    let clock = Arc::new(SystemClock::default());
    let node = Node::start(&site.data, Arc::<SystemClock>::clone(&clock), &site.options(9));
    let node = node.unwrap_or_else(|error| panic!("{what}: it does not open: {error}"));
    let scope = Scope { tenant: 0, any: true };
    for account in lives.iter().flat_map(|life| &life.acknowledged) {
        let known = node.get(scope, ResourceKind::Account, *account);
        assert!(known.is_ok(), "{what}: account {account} was acknowledged and is lost");
    }
    create(&node, "afterwards").unwrap();
    node.stop().unwrap();
    assert!(audit(&site.data).unwrap().equal, "{what}");
    // The backup of the first life is good, whatever became of the second's.
    verify(&site.backup, &mut |_| ()).unwrap_or_else(|error| panic!("{what}: {error}"));
    backup(&site.data, &site.backup, clock.now(), &mut |_| ()).unwrap();
    verify(&site.backup, &mut |_| ()).unwrap_or_else(|error| panic!("{what}: {error}"));
}

/// Lets a node die once in the middle, then again at a point, and checks what is there.
fn crash(point: &str, action: &str, passed: u32) {
    let folder = tempfile::tempdir().unwrap();
    let first = live(folder.path(), 1, FIRST_LIFE);
    assert!(first.aborted && first.acknowledged.len() > 15, "{}", first.acknowledged.len());
    let passes = if passed == 0 { String::new() } else { format!("{passed}*off->") };
    let second = live(folder.path(), 2, &format!("{point}={passes}{action}"));
    assert!(second.aborted, "{point} was never reached");
    check(folder.path(), &[first, second], point);
}

fn has_points() -> bool {
    if !fail::has_failpoints() {
        println!("NOTICE: built without `--features failpoints`: no crash point was tried");
    }
    fail::has_failpoints()
}

#[test]
fn whatever_is_acknowledged_survives_a_crash_at_any_point() {
    if !has_points() {
        return;
    }
    for points in POINTS.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            for (point, passed) in points {
                scope.spawn(move || crash(point, "panic", *passed));
            }
        });
    }
}

#[test]
fn a_write_that_is_cut_in_half_is_never_taken_for_a_whole_one() {
    if has_points() {
        crash("segment-write-half", "return", 9);
    }
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    if !has_points() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let first = live(folder.path(), 1, FIRST_LIFE);
    let second = live(folder.path(), 2, "segment-sync-error=9*off->return");
    assert!(!second.aborted && second.acknowledged.len() >= 5, "{}", second.acknowledged.len());
    assert!(second.refused > 1 && !second.after_refusal, "{} refused", second.refused);
    check(folder.path(), &[first, second], "a failed sync");
}

#[test]
fn a_disk_that_says_it_is_full_is_waited_for() {
    if has_points() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!live(folder.path(), child::FULL, "").aborted, "its own output says why");
    }
}

#[test]
fn a_slow_disk_lets_nothing_be_acknowledged_early_and_so_much_wait() {
    if has_points() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!live(folder.path(), child::SLOW, "").aborted, "its own output says why");
    }
}
