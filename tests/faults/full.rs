//! A full disk: writes are refused and come again, reads answer, and the node goes on by itself.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use munadi::node::Node;
use munadi::node::clock::{Clock, SystemClock};
use munadi::types::refusal::{Reason, Refusal};
use munadi::types::request::{ResourceKind, Scope};
use tokio::time::timeout;

use crate::child::{Site, account, create};

/// How soon after space is back, or a disk is quick again, a write must be acknowledged.
pub(crate) const RECOVERS_WITHIN: Duration = Duration::from_secs(5);

/// A write without an answer for so long waits for space.
const PATIENCE: Duration = Duration::from_millis(400);

/// Writes until the disk is full; returns what was acknowledged and the refusal.
fn fill_up(node: &Node) -> (Vec<u64>, Refusal) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..2_000 {
        let write = node.mutate(account(&format!("fill {number}")));
        match runtime.block_on(async { timeout(PATIENCE, write).await }) {
            Ok(Ok(row)) => acknowledged.push(row.id()),
            Ok(Err(refusal)) => return (acknowledged, refusal),
            // It waits for space, unacknowledged; those behind it are refused at once.
            Err(_) => {}
        }
    }
    panic!("the disk was never full: {} accounts", acknowledged.len());
}

/// Lets a node run out of space and find some again.
pub(crate) fn run_out(dir: &Path, take: impl FnOnce(), free: impl FnOnce()) {
    let site = Site::new(dir);
    let clock = Arc::new(SystemClock::default());
    let mut options = site.options(1);
    options.checkpoint_every = Duration::from_secs(600);
    let node = Node::start(&site.data, Arc::<SystemClock>::clone(&clock), &options).unwrap();
    let first = create(&node, "first").unwrap();
    take();
    let (mut acknowledged, refusal) = fill_up(&node);
    acknowledged.push(first);
    assert_eq!(refusal.reason, Reason::Busy, "{refusal:?}");
    assert!(refusal.message.contains("disk is full"), "{refusal:?}");
    let scope = Scope { tenant: 0, any: true };
    let known = |account: &u64| node.get(scope, ResourceKind::Account, *account).is_ok();
    assert!(acknowledged.iter().all(known), "reads answer");
    assert!(!node.front().is_stopped(), "it is refused, and not given up");
    free();
    let freed = clock.monotonic();
    while create(&node, "afterwards").is_err() {
        assert!(clock.monotonic() - freed < RECOVERS_WITHIN, "it does not go on");
        std::thread::yield_now();
    }
    println!("went on {:?} after space was back", clock.monotonic() - freed);
    node.stop().unwrap();
    let node = Node::start(&site.data, Arc::<SystemClock>::clone(&clock), &options).unwrap();
    for account in &acknowledged {
        assert!(node.get(scope, ResourceKind::Account, *account).is_ok(), "{account} is lost");
    }
    node.stop().unwrap();
}

/// A small disk of its own; gone when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(at);
        let mounted = command.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(&folder.path().join("disk")) else {
        println!("NOTICE: no file system can be mounted here, so no real disk was filled");
        return;
    };
    let ballast = disk.0.join("ballast");
    let take = || {
        let mut file = File::create(&ballast).unwrap();
        while file.write_all(&[1; 4_096]).is_ok() {}
        while file.write_all(&[1]).is_ok() {}
    };
    run_out(&disk.0, take, || fs::remove_file(&ballast).unwrap());
}
