//! What is acknowledged was synced before: counted where the process asks the kernel.

use std::fs;
use std::path::Path;

use munadi::types::proto::v1::{EventKind, ItemOutcome};
use tonic::Status;
use tonic::transport::Channel;

use crate::server::Server;
use crate::{calls, shim, shops};

const SOURCE: &str = include_str!("counted_syncs.c");

/// Events that are told one after the other.
const EVENTS: usize = 30;

/// The most trays that they are taken from.
const TRAYS_MAX: usize = 10 * EVENTS;

#[test]
fn no_event_is_acknowledged_without_a_sync() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(library) = shim::compiled(folder, "counted_syncs", SOURCE) else { return };
    let notes = folder.join("syncs");
    let variables = [("LD_PRELOAD", library.as_path()), ("COUNTED_SYNCS", notes.as_path())];
    let server = Server::start_with(folder, &variables);
    let told = calls::runtime().block_on(async { tell(&calls::way(&server), &notes).await });
    assert_eq!(told.unwrap(), EVENTS);
    server.stop();
}

/// Tells events, each alone; returns how many.
async fn tell(way: &Channel, notes: &Path) -> Result<usize, Status> {
    shops::open(way).await?;
    let synced = || fs::metadata(notes).map_or(0, |notes| notes.len());
    let mut told = 0;
    for number in 0..TRAYS_MAX {
        for given in calls::tray(way, format!("viewer {number}")).await? {
            let before = synced();
            let answer = calls::record(way, vec![given.event(EventKind::Impression)]).await?;
            assert_eq!(answer[0].outcome(), ItemOutcome::Recorded);
            assert!(synced() > before, "event {told} was acknowledged without a sync");
            told += 1;
            if told == EVENTS {
                return Ok(told);
            }
        }
    }
    Ok(told)
}
