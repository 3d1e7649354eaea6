//! The baseline a store would give: per event one row and two small state keys, synced each batch.

use std::path::Path;
use std::time::Instant;

use fjall::{Database, KeyspaceCreateOptions, PersistMode};

use crate::support::Rate;

/// Commits `batches` batches of `events` events of `event_bytes` bytes each, each batch synced.
pub(crate) fn commit_batches(
    dir: &Path,
    event_bytes: usize,
    events: usize,
    batches: usize,
) -> fjall::Result<Rate> {
    let database = Database::builder(dir).open()?;
    let log = database.keyspace("events", KeyspaceCreateOptions::default)?;
    let state = database.keyspace("state", KeyspaceCreateOptions::default)?;
    let event = vec![0xA5; event_bytes];
    let mut each = Vec::with_capacity(batches);
    let begun = Instant::now();
    for number in 0..batches {
        let batch_begun = Instant::now();
        let mut batch = database.batch().durability(Some(PersistMode::SyncData));
        for at in 0..events {
            let seq = (number * events + at) as u64;
            batch.insert(&log, seq.to_be_bytes(), event.as_slice());
            // A viewer's counter and a purse: small values under keys that spread and repeat.
            let viewer = seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44;
            batch.insert(&state, [b"v", &viewer.to_be_bytes()[..]].concat(), seq.to_le_bytes());
            let purse = seq % 1_000;
            batch.insert(&state, [b"p", &purse.to_be_bytes()[..]].concat(), seq.to_le_bytes());
        }
        batch.commit()?;
        each.push(batch_begun.elapsed());
    }
    Ok(Rate::of(begun.elapsed(), each))
}
