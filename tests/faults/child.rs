//! A node in a process of its own that writes accounts, tells which were acknowledged, and may die anywhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use munadi::journal::file::Options;
use munadi::node::backup::backup;
use munadi::node::clock::{Clock, SystemClock};
use munadi::node::{Node, NodeOptions};
use munadi::types::proto::v1::Account;
use munadi::types::refusal::Refusal;
use munadi::types::request::{Author, Change, Mutation, Resource};

use crate::{full, slow};

/// Names the folder of a child, and says that this process is one.
pub(crate) const FOLDER: &str = "FAULTS_FOLDER";

/// Numbers the lives of a folder.
pub(crate) const LIFE: &str = "FAULTS_LIFE";

/// The life in which the disk is full, by a point that says so.
pub(crate) const FULL: u32 = 99;

/// The life in which the disk is slow.
pub(crate) const SLOW: u32 = 98;

/// Begins what is printed of an acknowledged account; its id follows.
pub(crate) const ACKNOWLEDGED: &str = "acknowledged account ";

/// What is printed of a refused one.
pub(crate) const REFUSED: &str = "refused an account";

/// Accounts before the backup, and in all: more than a segment holds.
const ACCOUNTS_BEFORE: u32 = 15;
const ACCOUNTS: u32 = 45;

/// A folder with a node's data and a backup in it.
pub(crate) struct Site {
    pub(crate) data: PathBuf,
    pub(crate) backup: PathBuf,
}

impl Site {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { data: dir.join("data"), backup: dir.join("backup") }
    }

    /// Returns options with small segments, many checkpoints, and a new feed in each life.
    pub(crate) fn options(&self, life: u32) -> NodeOptions {
        let journal = Options { segment_bytes: 16 << 10, ..Options::default() };
        let checkpoint_every = Duration::from_millis(20);
        let feeds = (1..=life).collect();
        NodeOptions { feeds, checkpoint_every, watch: false, journal, ..NodeOptions::default() }
    }
}

/// Returns an account to create.
pub(crate) fn row() -> Account {
    Account {
        name: "Tacos el Rey".into(),
        currency: "MXN".into(),
        time_zone: "UTC".into(),
        ..Account::default()
    }
}

/// Returns the write that makes an account.
pub(crate) fn account(request_id: &str) -> Mutation {
    write(request_id, Resource::Account(row()))
}

/// Returns the write that makes a row.
pub(crate) fn write(request_id: &str, row: Resource) -> Mutation {
    Mutation {
        tenant: 1,
        any_tenant: false,
        request_id: request_id.into(),
        body_hash: [1; 16],
        validate_only: false,
        change: Change::Create(row),
        approve: true,
        by: Author::default(),
    }
}

/// Makes an account and waits for the answer.
pub(crate) fn create(node: &Node, request_id: &str) -> Result<u64, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(node.mutate(account(request_id))).map(|row| row.id())
}

/// Not a test of its own: others start this binary with [`FOLDER`] set and let it die here.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let life: u32 = std::env::var(LIFE).unwrap().parse().unwrap();
    let folder = Path::new(&folder);
    let scenario = fail::FailScenario::setup();
    match life {
        FULL => {
            let take = || fail::cfg("spare-zero", "return").unwrap();
            return full::run_out(folder, take, || fail::remove("spare-zero"));
        }
        SLOW => return slow::outrun(folder),
        _ => {}
    }
    // A panic at a crash point ends the process as SIGKILL would.
    std::panic::set_hook(Box::new(|_| std::process::abort()));
    let site = Site::new(folder);
    let clock = Arc::new(SystemClock::default());
    let node = Node::start(&site.data, Arc::<SystemClock>::clone(&clock), &site.options(life));
    let node = node.unwrap();
    for number in 0..ACCOUNTS {
        if number == ACCOUNTS_BEFORE {
            backup(&site.data, &site.backup, clock.now(), &mut |_| ()).unwrap();
        }
        match create(&node, &format!("{life}-{number}")) {
            Ok(id) => println!("\n{ACKNOWLEDGED}{id}"),
            Err(_) => println!("\n{REFUSED}"),
        }
    }
    // A journal that failed says so here.
    let _ = node.stop();
    scenario.teardown();
}
