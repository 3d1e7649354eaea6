//! Kills a serving node with SIGKILL again and again while feeds report events, and counts its journal.
//!
//! `KILL9_ROUNDS=200` for the long form. `KILL9_EVENTS=1000000` for the size of the reopening.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop there")]

mod feed;
#[path = "../support/process.rs"]
mod process;
mod reopen;
mod server;
#[path = "../support/shop.rs"]
mod shop;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use munadi::cli::audit::audit;
use munadi::journal::file::scan;
use munadi::node::dice::SeededDice;
use munadi::types::dice::Dice;
use munadi::types::proto::journal::v1::{Decision, fact::Kind};
use munadi::types::proto::v1::EventKind;
use prost::Message;

use crate::feed::Ledger;
use crate::server::Server;

/// Feeds that report at once.
const CLIENTS: u64 = 8;

/// Rounds unless the environment says otherwise.
const ROUNDS: u64 = 20;

/// Shortest and longest life of a node, milliseconds.
const LIFE_MS: (u64, u64) = (50, 800);

fn number_of(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What a journal holds of ad events: how often each (view, kind) is there, and how many are valid.
fn counted(data: &Path) -> (BTreeMap<(u64, i32), u64>, u64) {
    let (mut events, mut valid) = (BTreeMap::new(), 0);
    let mut next = BTreeMap::new();
    let scanned = scan(&data.join("journal"), |block| {
        let expected = next.insert(block.shard, block.next()).unwrap_or(block.first);
        assert_eq!(block.first, expected, "shard {}: sequences are dense", block.shard);
        let mut facts = 0;
        for bytes in block.decisions() {
            for fact in Decision::decode(bytes).unwrap().facts {
                facts += 1;
                let (showing, kind) = match fact.kind.unwrap() {
                    Kind::ImpressionSeen(fact) => {
                        valid += u64::from(fact.invalid == 0);
                        (fact.showing, EventKind::Impression)
                    }
                    Kind::Tapped(fact) => {
                        valid += u64::from(fact.invalid == 0);
                        (fact.showing, EventKind::Tap)
                    }
                    _ => continue,
                };
                *events.entry((showing.unwrap().view, kind.into())).or_insert(0) += 1;
            }
        }
        assert_eq!(facts, block.count, "a block holds as many facts as it says");
    });
    assert_eq!(scanned.unwrap().torn, None, "the last stop sealed the journal");
    (events, valid)
}

#[test]
fn an_acknowledged_event_survives_kill_9_and_counts_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let rounds = number_of("KILL9_ROUNDS", ROUNDS);
    let mut dice = SeededDice::new(9);
    let mut ledger = Ledger::default();
    Server::start(folder.path()).within(async |server| feed::open_shop(server).await).stop();
    let mut lives = Vec::new();
    for round in 0..rounds {
        let server = Server::start(folder.path());
        let span = LIFE_MS.1 - LIFE_MS.0;
        let life = Duration::from_millis(LIFE_MS.0 + dice.roll() % span);
        let killed = server.live(life, CLIENTS, round, &mut ledger);
        lives.push(killed);
    }
    // Whatever was not acknowledged may be there or not; sent again, all of it must be, once.
    let server = Server::start(folder.path());
    server.within(async |server| feed::send_again(server, &mut ledger).await).stop();
    ledger.open(folder.path());
    let acknowledged: u64 = lives.iter().sum();
    println!("{rounds} rounds, {acknowledged} events acknowledged before a kill, {lives:?} each");
    assert!(acknowledged > rounds, "the kills came before anything was acknowledged");

    let (counts, valid) = counted(&folder.path().join("data"));
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "counted more than once: {twice:?}");
    let lost: Vec<_> = ledger.acknowledged().filter(|event| !counts.contains_key(event)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {} of {acknowledged}", lost.len());
    let known: BTreeSet<_> = ledger.acknowledged().collect();
    let invented: Vec<_> = counts.keys().filter(|event| !known.contains(event)).collect();
    assert!(invented.is_empty(), "in the journal, and never sent: {invented:?}");
    let report = audit(&folder.path().join("data")).unwrap();
    assert!(report.equal && report.complete, "{report}");
    assert_eq!(report.impressions + report.taps, valid, "what is marked is not counted");
    assert!(valid > 0 && valid < counts.len() as u64, "{valid} valid ones");
    println!("{report}");
}
