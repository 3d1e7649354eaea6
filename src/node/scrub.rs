//! Old segments, read again beside serving: opening takes them at the word of their headers, and disks rot.
//!
//! State does not depend on what is found: it was folded when the facts were sound. But an audit, a credit and a later
//! restart from further back read them, so an operator must hear of damage while a backup still holds the segment.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::journal::LogError;
use crate::journal::file::{boundaries, scan_within};
use crate::node::clock::Clock;

/// Between two segments: of 64 MiB each, so that a disk and a core are asked for little.
const PAUSE: Duration = Duration::from_secs(1);

/// From the beginning of a round to that of the next one.
const ROUND_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// Reads all segments but the last one, round after round.
pub(in crate::node) struct Scrub {
    journal: PathBuf,
    clock: Arc<dyn Clock>,
    pause: Duration,
}

impl Scrub {
    pub(in crate::node) fn of(journal: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { journal, clock, pause: PAUSE }
    }

    /// Runs until it is told to stop.
    pub(in crate::node) fn run(&self, stopping: &AtomicBool) {
        let stopped = || stopping.load(Ordering::Acquire);
        metrics::gauge!("munadi_journal_damaged_segments").set(0.0);
        while !stopped() {
            let began = self.clock.monotonic();
            match self.round(stopping) {
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "old segments were not checked"),
            }
            let passed = || self.clock.monotonic().saturating_sub(began);
            while !stopped() && passed() < ROUND_EVERY {
                thread::park_timeout(ROUND_EVERY.saturating_sub(passed()));
            }
        }
    }

    /// Checks each segment once; returns how many are damaged.
    fn round(&self, stopping: &AtomicBool) -> Result<u32, LogError> {
        let mut damaged = 0;
        let mut all = boundaries(&self.journal)?;
        // The node writes into the last one.
        all.pop();
        for boundary in all {
            thread::park_timeout(self.pause);
            if stopping.load(Ordering::Acquire) {
                return Ok(damaged);
            }
            match scan_within(&self.journal, boundary.segment..boundary.segment + 1, |_| ()) {
                Ok(_) => metrics::counter!("munadi_journal_segments_checked_total").increment(1),
                Err(LogError::Damaged(at)) => {
                    damaged += 1;
                    tracing::error!(%at, "a segment is damaged: put that of a backup in its place");
                    metrics::gauge!("munadi_journal_damaged_segments").set(damaged);
                }
                // It was removed behind a base, or the disk can't be read.
                Err(error) => tracing::warn!(%error, "a segment was not checked"),
            }
        }
        metrics::gauge!("munadi_journal_damaged_segments").set(damaged);
        Ok(damaged)
    }
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
        for batch in 1..=30 {
            let tail = log.tail(shard).unwrap();
            let mut builder = BlockBuilder::new(shard, tail.next);
            builder.push(&[batch as u8; 2_000], 1);
            log.submit(builder.seal(journal, BatchNo(batch), BatchNo(0), tail.hash));
        }
        assert!(log.tail(shard).unwrap().next > Seq(30));
        Box::new(log).close().unwrap();
        let clock = Arc::new(MovedClock::at(Moment(0)));
        let scrub = Scrub { journal: dir.path().to_owned(), clock, pause: Duration::ZERO };
        let round = |stopping: bool| scrub.round(&AtomicBool::new(stopping)).unwrap();
        assert_eq!(round(false), 0);
        let mut files: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "seg"));
        files.sort();
        assert!(files.len() > 3, "the test needs several segments");
        for path in [&files[0], &files[2]] {
            let mut bytes = fs::read(path).unwrap();
            bytes[5_000] ^= 1;
            fs::write(path, bytes).unwrap();
        }
        assert_eq!(round(false), 2);
        assert_eq!(round(true), 0, "it stops before the first");
        fs::remove_file(&files[0]).unwrap();
        assert_eq!(round(false), 1, "a segment that was removed is not missed");
    }
}
