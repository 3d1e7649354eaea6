//! Old segments, read again beside serving: opening takes them at the word of their headers, and disks rot.
//!
//! State does not depend on what is found: it was folded when the facts were sound. But an audit, a credit and a later
//! restart from further back read them, so an operator must hear of damage while a backup still holds the segment.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::journal::LogError;
use crate::journal::file::{numbers, scan_within};
use crate::node::clock::Clock;
use crate::node::helper::unharmed;

/// The longest time between two segments: of 64 MiB each, so that a disk and a core are asked for little.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// From the beginning of a round to that of the next one; where there are many segments, they are read faster.
const ROUND_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// Reads all segments but the last one, round after round.
pub(in crate::node) struct Scrub {
    journal: PathBuf,
    clock: Arc<dyn Clock>,
    pause_max: Duration,
}

impl Scrub {
    pub(in crate::node) fn of(journal: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { journal, clock, pause_max: PAUSE_MAX }
    }

    /// Runs until it is told to stop.
    pub(in crate::node) fn run(&self, stopping: &AtomicBool) {
        let stopped = || stopping.load(Ordering::Acquire);
        let mut damaged = 0;
        show(damaged);
        while !stopped() {
            let began = self.clock.monotonic();
            unharmed("a check of old segments", || match self.round(damaged, stopping) {
                Ok(found) => damaged = found,
                Err(error) => tracing::warn!(%error, "old segments were not checked"),
            });
            let passed = || self.clock.monotonic().saturating_sub(began);
            while !stopped() && passed() < ROUND_EVERY {
                thread::park_timeout(ROUND_EVERY.saturating_sub(passed()));
            }
        }
    }

    /// Checks each segment once, and returns how many are damaged. `before` is what the last round found.
    fn round(&self, before: u32, stopping: &AtomicBool) -> Result<u32, LogError> {
        let mut all = numbers(&self.journal)?;
        let mut damaged = 0;
        for (number, next) in
            all.iter().zip(all.iter().skip(1)).filter(|(it, next)| **it + 1 != **next)
        {
            damaged += 1;
            tracing::error!(
                number,
                next,
                "segments between these are missing: put those of a backup there"
            );
        }
        // The node writes into the last one.
        all.pop();
        // Not the same first whenever a node that often starts begins.
        let turn = self.clock.now().0.unsigned_abs() as usize % all.len().max(1);
        all.rotate_left(turn);
        let pause = self.pause_max.min(ROUND_EVERY / all.len().max(1) as u32);
        for (place, number) in all.into_iter().enumerate() {
            show(damaged.max(before));
            if place > 0 {
                thread::park_timeout(pause);
            }
            if stopping.load(Ordering::Acquire) {
                return Ok(damaged.max(before));
            }
            match scan_within(&self.journal, number..number + 1, |_| ()) {
                Ok(_) => metrics::counter!("munadi_journal_segments_checked_total").increment(1),
                Err(error) if is_removed(&error, number, &numbers(&self.journal)?) => {}
                Err(error) => {
                    damaged += 1;
                    tracing::error!(%error, "a segment is damaged: put that of a backup in its place");
                }
            }
        }
        show(damaged);
        Ok(damaged)
    }
}

fn show(damaged: u32) {
    metrics::gauge!("munadi_journal_damaged_segments").set(damaged);
}

/// Tells whether a segment is gone because the oldest were removed behind a base.
fn is_removed(error: &LogError, number: u64, left: &[u64]) -> bool {
    let gone =
        matches!(error, LogError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
    gone && left.first().is_some_and(|first| number < *first)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::journal::file::{FileLog, Options};
    use crate::journal::{BlockBuilder, ShardLog};
    use crate::node::clock::MovedClock;
    use crate::types::ids::{BatchNo, JournalId, Seq, Shard};
    use crate::types::time::Moment;

    #[test]
    fn a_round_counts_the_damaged_segments_and_ends_early_when_it_is_told_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 16 << 10, ..Options::default() };
        let journal = JournalId([3; 16]);
        let mut log = FileLog::create(dir.path(), journal, &options).unwrap();
        let shard = Shard::all().next().unwrap();
        for batch in 1..=50 {
            let tail = log.tail(shard).unwrap();
            let mut builder = BlockBuilder::new(shard, tail.next);
            builder.push(&[batch as u8; 2_000], 1);
            log.submit(builder.seal(journal, BatchNo(batch), BatchNo(0), tail.hash));
        }
        assert!(log.tail(shard).unwrap().next > Seq(50));
        Box::new(log).close().unwrap();
        let clock = Arc::new(MovedClock::at(Moment(0)));
        let scrub = Scrub { journal: dir.path().to_owned(), clock, pause_max: Duration::ZERO };
        let round = |stopping: bool| scrub.round(0, &AtomicBool::new(stopping)).unwrap();
        assert_eq!(round(false), 0);
        let mut files: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "seg"));
        files.sort();
        assert!(files.len() > 6, "the test needs several segments");
        let flip = |path: &PathBuf, at: usize| {
            let mut bytes = fs::read(path).unwrap();
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        flip(&files[0], 5_000);
        flip(&files[2], 70);
        assert_eq!(round(false), 2, "in a block and in a header");
        assert_eq!(round(true), 0, "it stops before the first");
        assert_eq!(
            scrub.round(3, &AtomicBool::new(true)).unwrap(),
            3,
            "what was known stays known"
        );
        fs::remove_file(&files[0]).unwrap();
        assert_eq!(round(false), 1, "the oldest was removed, as behind a base");
        let gone = scan_within(dir.path(), 1..2, |_| ()).unwrap_err();
        assert!(is_removed(&gone, 1, &[2, 3]), "it went while the round was under way");
        assert!(!is_removed(&gone, 2, &[1, 3]) && !is_removed(&gone, 1, &[]));
        fs::remove_file(&files[1]).unwrap();
        fs::remove_file(&files[2]).unwrap();
        assert_eq!(round(false), 0, "so were these");
        fs::remove_file(&files[4]).unwrap();
        assert_eq!(round(false), 1, "one that is missing between others was not removed");
    }
}
