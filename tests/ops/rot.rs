//! A disk that has rotted where no start looks: the running node finds it, and says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use munadi::journal::file::{Options, boundaries};
use munadi::node::clock::SystemClock;
use munadi::node::{Node, NodeOptions};
use munadi::types::proto::v1::Account;
use munadi::types::request::{Author, Change, Mutation, Resource};
use serde_json::Value;
use tokio::runtime::Builder;

use crate::server::Server;

/// Small enough that a few hundred accounts fill it.
const SEGMENT_BYTES: u64 = 20 << 10;

/// In the middle of the facts.
const HIT: usize = 9_000;

/// Starts after which one has surely begun with the damaged segment: each begins with either of two by chance, and
/// reads the other only a minute later.
const STARTS: usize = 40;

/// Looks at the page in which a segment was read, ten a second.
const LOOKS: usize = 300;

fn creation(number: usize) -> Mutation {
    let account = Account { name: format!("account {number}"), ..Account::default() };
    Mutation {
        tenant: 1,
        any_tenant: false,
        request_id: format!("account {number}"),
        body_hash: [0; 16],
        by: Author::default(),
        validate_only: false,
        change: Change::Create(Resource::Account(account)),
        approve: true,
    }
}

/// Lets a node of its own fill two segments and begin the next; a start walks through the last two.
fn fill(data: &Path) {
    let journal = Options { segment_bytes: SEGMENT_BYTES, ..Options::default() };
    let options = NodeOptions { journal, ..NodeOptions::default() };
    let node = Node::start(data, Arc::new(SystemClock::default()), &options).unwrap();
    let runtime = Builder::new_current_thread().build().unwrap();
    for number in 0.. {
        if boundaries(&data.join("journal")).unwrap().len() == 3 {
            break;
        }
        runtime.block_on(node.mutate(creation(number))).unwrap();
    }
    node.stop().unwrap();
}

#[test]
fn damage_in_an_old_segment_is_told_by_the_page_and_the_log_of_a_running_node() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fill(&data);
    let files = fs::read_dir(data.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|end| end == "seg");
    let oldest = files.filter(is_segment).min().unwrap();
    let mut bytes = fs::read(&oldest).unwrap();
    bytes[HIT] ^= 1;
    fs::write(&oldest, bytes).unwrap();
    let told = (0..STARTS).find_map(|_| {
        let server = Server::start(folder.path());
        let (checked, damaged) =
            (0..LOOKS).map(|_| looked(&server)).find(|it| *it != (0, 0)).unwrap();
        let logged = server.stop();
        let told = |line: &&Value| line["level"] == "ERROR";
        let told: Vec<_> = logged.iter().filter(told).map(ToString::to_string).collect();
        assert_eq!((told.len() as u64, checked), (damaged, 1 - damaged), "{told:?}");
        told.into_iter().next()
    });
    let told = told.expect("every start passes it over");
    let name = oldest.file_name().unwrap().to_string_lossy();
    assert!(told.contains("a segment is damaged") && told.contains(&*name), "{told}");
}

/// Returns how many segments a node has found sound and damaged, a moment later.
fn looked(server: &Server) -> (u64, u64) {
    sleep(Duration::from_millis(100));
    let (_, text) = server.ask("GET", "/metrics");
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().unwrap())
    };
    (value("munadi_journal_segments_checked_total "), value("munadi_journal_damaged_segments "))
}
