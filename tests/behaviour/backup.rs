//! Backups of a node that is written to: they hold what was acknowledged, are checked, and restore elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use munadi::cli::audit::audit;
use munadi::journal::file::Options;
use munadi::journal::fsck::fsck;
use munadi::node::backup::{BackupError, Kept, Manifest, backup, restore, state_hash, verify};
use munadi::node::clock::MovedClock;
use munadi::node::{Node, NodeOptions};
use munadi::types::request::{Change, Resource, ResourceKind};
use munadi::types::time::{DAY_MS, MINUTE_MS, Moment};

use crate::stage::{ALL, FEED, Offer, Stage, TENANT, at};

/// A node on a folder, and room for copies beside it.
struct Site {
    node: Node,
    clock: Arc<MovedClock>,
    start: Moment,
    /// Dropped last.
    room: tempfile::TempDir,
}

fn start(dir: &Path, clock: &Arc<MovedClock>) -> Node {
    let journal = Options { segment_bytes: 16 << 10, ..Options::default() };
    let options =
        NodeOptions { feeds: vec![FEED], watch: false, journal, ..NodeOptions::default() };
    Node::start(dir, Arc::clone(clock) as Arc<_>, &options).unwrap()
}

/// Makes an account and returns its id once that is acknowledged.
fn create(node: &Node, number: usize) -> u64 {
    let row = Resource::Account(Offer::default().account_row());
    let write = Stage::writing(TENANT, &format!("account {number}"), Change::Create(row));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(node.mutate(write)).unwrap().id()
}

fn knows(node: &Node, account: u64) -> bool {
    node.get(ALL, ResourceKind::Account, account).is_ok()
}

impl Site {
    fn new() -> Self {
        let room = tempfile::tempdir().unwrap();
        let start_at = at("2026-11-23T12:00:00Z");
        let clock = Arc::new(MovedClock::at(start_at));
        let node = start(&room.path().join("node"), &clock);
        Self { node, clock, start: start_at, room }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    fn backup(&self) -> Result<munadi::node::backup::Taken, BackupError> {
        backup(&self.path("node"), &self.path("backup"), self.start, &mut |_| ())
    }

    fn restore(&self, name: &str, until: Option<Moment>) -> Result<bool, BackupError> {
        let restored = restore(&self.path("backup"), &self.path(name), until, &mut |_| ());
        restored.map(|restored| restored.checkpoint)
    }

    fn verified(&self) -> String {
        verify(&self.path("backup"), &mut |_| ()).unwrap().state_hash
    }
}

#[test]
fn a_backup_of_a_node_that_is_written_to_restores_elsewhere_to_the_same_state() {
    let site = Site::new();
    let before: Vec<u64> = (0..8).map(|number| create(&site.node, number)).collect();
    let taken = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 8..60 {
                create(&site.node, number);
            }
        });
        let taken = site.backup().unwrap();
        writing.join().unwrap();
        taken
    });
    assert_eq!(taken.same, 0);
    let hash = site.verified();
    site.restore("under load", None).unwrap();
    assert_eq!(state_hash(&site.path("under load/journal")).unwrap(), hash);
    let other = start(&site.path("under load"), &site.clock);
    assert!(before.iter().all(|account| knows(&other, *account)), "acknowledged before it began");
    other.stop().unwrap();

    // Once the node stands still, all of it is in the next one, and nothing is copied twice.
    let Site { room, clock, start: now, node } = site;
    node.stop().unwrap();
    let path = |name: &str| room.path().join(name);
    let (from, to) = (path("node"), path("backup"));
    let second = backup(&from, &to, now, &mut |_| ()).unwrap();
    assert!(second.manifest.segments.len() > 1, "the test must cross segments");
    assert!(second.copied.0 >= 2 && second.same >= 1, "{second:?}");
    let third = backup(&from, &to, now, &mut |_| ()).unwrap();
    assert_eq!((third.copied, &third.manifest), ((0, 0), &second.manifest));
    let verified = verify(&to, &mut |_| ()).unwrap();
    assert_eq!(verified.state_hash, state_hash(&from.join("journal")).unwrap());
    assert_ne!(verified.state_hash, hash, "more was written since");
    let restored = restore(&to, &path("after"), None, &mut |_| ()).unwrap();
    assert!(restored.checkpoint && restored.facts == second.manifest.facts, "{restored:?}");
    let report = fsck(&path("after").join("journal"), false).unwrap();
    assert_eq!((report.torn, report.damage, report.facts), (None, None, restored.facts));
    assert!(audit(&path("after")).unwrap().equal);
    let node = start(&path("after"), &clock);
    assert!(node.opened().checkpoint && node.opened().replayed == 0, "{:?}", node.opened());
    create(&node, 100);
    node.stop().unwrap();
}

/// Returns where a file of a backup lies.
fn stored(dir: &Path, kept: &Kept) -> PathBuf {
    let in_journal = dir.join("journal").join(&kept.stored);
    if kept.name.ends_with(".seg") { in_journal } else { dir.join(&kept.stored) }
}

#[test]
fn a_changed_byte_anywhere_in_a_backup_is_found_and_nothing_is_restored() {
    let site = Site::new();
    for number in 0..5 {
        create(&site.node, number);
    }
    let Site { room, start, node, .. } = site;
    node.stop().unwrap();
    let (from, to, target) =
        (room.path().join("node"), room.path().join("backup"), room.path().join("target"));
    let Manifest { segments, checkpoint, files, .. } =
        backup(&from, &to, start, &mut |_| ()).unwrap().manifest;
    assert!(checkpoint.is_some() && files.len() == 1, "the key ring: {files:?}");
    let all: Vec<_> = segments.iter().chain(&checkpoint).chain(&files).collect();
    for kept in all {
        let path = stored(&to, kept);
        let image = fs::read(&path).unwrap();
        for at in [0, kept.bytes as usize / 2, kept.bytes as usize - 1] {
            let mut flipped = image.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).unwrap();
            for error in [
                verify(&to, &mut |_| ()).unwrap_err(),
                restore(&to, &target, None, &mut |_| ()).unwrap_err(),
            ] {
                assert!(matches!(&error, BackupError::Damaged { path: at, .. } if *at == path));
            }
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(verify(&to, &mut |_| ()), Err(BackupError::Damaged { .. })));
        fs::write(&path, &image).unwrap();
    }
    assert!(!target.exists() && !room.path().join("target.part").exists());
    assert!(verify(&to, &mut |_| ()).is_ok());
}

#[test]
fn a_backup_restores_to_what_was_at_any_moment() {
    let site = Site::new();
    let mut accounts = Vec::new();
    for number in 0..50 {
        site.clock.set(site.start.plus_ms(number as i64 * MINUTE_MS));
        accounts.push(create(&site.node, number));
    }
    let Site { room, clock, start: began, node } = site;
    node.stop().unwrap();
    let path = |name: &str| room.path().join(name);
    backup(&path("node"), &path("backup"), began, &mut |_| ()).unwrap();
    for last in [0, 10, 30, 45] {
        let until = began.plus_ms(last as i64 * MINUTE_MS + MINUTE_MS / 2);
        let to = path(&format!("at {last}"));
        let restored = restore(&path("backup"), &to, Some(until), &mut |_| ()).unwrap();
        assert!(!restored.checkpoint, "the one there is was written at the stop");
        let node = start(&to, &clock);
        for (number, account) in accounts.iter().enumerate() {
            assert_eq!(knows(&node, *account), number <= last, "account {number} at {last}");
        }
        create(&node, 1_000);
        node.stop().unwrap();
        assert!(audit(&to).unwrap().equal);
    }
    let whole = restore(&path("backup"), &path("whole"), Some(began.plus_ms(DAY_MS)), &mut |_| ());
    assert!(whole.unwrap().checkpoint);
    let early = began.plus_ms(-MINUTE_MS);
    let error = restore(&path("backup"), &path("early"), Some(early), &mut |_| ()).unwrap_err();
    assert!(matches!(error, BackupError::TooEarly { .. }), "{error}");
    assert!(!path("early").exists() && !path("early.part").exists());

    // What went on from an earlier moment is another history, and must not be mixed with this one.
    let error = backup(&path("at 10"), &path("backup"), began, &mut |_| ()).unwrap_err();
    assert!(matches!(error, BackupError::OtherHistory { .. }), "{error}");
    // So is one that is longer by now than what is kept.
    let node = start(&path("at 10"), &clock);
    for number in 1_001..1_100 {
        create(&node, number);
    }
    node.stop().unwrap();
    let error = backup(&path("at 10"), &path("backup"), began, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("has other bytes"), "{error}");
    assert!(verify(&path("backup"), &mut |_| ()).is_ok(), "it is as it was");
}

#[test]
fn folders_with_anything_else_in_them_are_left_alone() {
    let site = Site::new();
    create(&site.node, 0);
    let (node, full) = (site.path("node"), site.path("full"));
    fs::create_dir(&full).unwrap();
    fs::write(full.join("note"), "keep").unwrap();
    let refused = backup(&node, &full, site.start, &mut |_| ());
    assert!(matches!(refused, Err(BackupError::NotEmpty(path)) if path == full));
    let itself = backup(&node, &node, site.start, &mut |_| ());
    assert!(matches!(itself, Err(BackupError::NotEmpty(path)) if path == node));
    let nothing = backup(&full, &site.path("backup"), site.start, &mut |_| ());
    assert!(matches!(nothing, Err(BackupError::NoNode(path)) if path == full));
    assert!(matches!(verify(&full, &mut |_| ()), Err(BackupError::NoBackup(_))));
    site.backup().unwrap();
    assert!(matches!(site.restore("full", None), Err(BackupError::NotEmpty(_))));
    assert_eq!(fs::read(full.join("note")).unwrap(), b"keep");
    assert!(matches!(site.restore("new", None), Ok(false)), "no checkpoint was written yet");
}

#[test]
fn a_backup_that_was_cut_short_leaves_the_one_before_it_good() {
    let site = Site::new();
    create(&site.node, 0);
    let first = site.backup().unwrap();
    let hash = site.verified();
    for number in 1..4 {
        create(&site.node, number);
    }
    let to = site.path("backup");
    let old = fs::read(to.join("manifest.json")).unwrap();
    site.backup().unwrap();
    // As if the process had died before its manifest: the segment has grown under the old one.
    fs::write(to.join("manifest.json"), &old).unwrap();
    assert_eq!(verify(&to, &mut |_| ()).unwrap().manifest, first.manifest);
    site.restore("old", None).unwrap();
    assert_eq!(state_hash(&site.path("old/journal")).unwrap(), hash);
    let again = site.backup().unwrap();
    assert!(again.manifest.facts > first.manifest.facts);
    site.verified();
}
