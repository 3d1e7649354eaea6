//! What a node does beside serving and writing: checkpoints, key rotation, attribution models once a night.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::node::base::Remover;
use crate::node::clock::Clock;
use crate::node::dice::fill_from_system;
use crate::node::files::Files;
use crate::node::front::Front;
use crate::node::models::night_before;
use crate::node::paced::Paced;
use crate::types::ids::{BatchNo, JournalId};

/// What happens beside serving: checkpoints, key rotation, attribution models once a night.
pub(in crate::node) struct Helper {
    pub(in crate::node) front: Front,
    pub(in crate::node) files: Files,
    pub(in crate::node) journal: JournalId,
    pub(in crate::node) clock: Arc<dyn Clock>,
    pub(in crate::node) every: Duration,
    /// `None`: the journal's old segments stay.
    pub(in crate::node) remover: Option<Remover>,
}

impl Helper {
    /// Runs until it is told to stop, then writes a last checkpoint.
    pub(in crate::node) fn run(&self, stopping: &AtomicBool) {
        let mut last = self.clock.monotonic();
        let mut night = night_before(self.clock.now());
        while !stopping.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_secs(1).min(self.every));
            self.rotate();
            let due = night_before(self.clock.now());
            if due > night {
                night = due;
                unharmed("attribution models", || self.front.run_models(night));
            }
            let now = self.clock.monotonic();
            if now.saturating_sub(last) >= self.every {
                last = now;
                unharmed("a checkpoint", || self.checkpoint(Some(stopping)));
                unharmed("removing segments", || self.remover.iter().for_each(Remover::run));
            }
        }
        unharmed("the last checkpoint", || self.checkpoint(None));
    }

    /// Writes a checkpoint beside serving, until it is to stop, or with nothing beside it.
    fn checkpoint(&self, stopping: Option<&AtomicBool>) {
        let is_to_stop = || stopping.is_some_and(|stopping| stopping.load(Ordering::Acquire));
        let write = |out: &mut dyn io::Write| match stopping {
            Some(stopping) => {
                let mut paced = Paced::new(out, &*self.clock, stopping);
                self.front.write_checkpoint(self.journal, &mut paced)
            }
            None => self.front.write_checkpoint(self.journal, out),
        };
        let settle = |head: BatchNo| {
            while self.front.durable() < head && !is_to_stop() && !self.front.is_stopped() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            self.front.durable() >= head
        };
        let began = self.clock.monotonic();
        match self.files.keep_checkpoint(write, settle) {
            Ok(true) => {
                let now = self.clock.monotonic();
                self.front.0.meters.note_checkpoint(now, now.saturating_sub(began));
            }
            // The node stops before what was copied is durable: the next start reads more of the journal.
            Ok(false) => {}
            // The last one comes now.
            Err(_) if is_to_stop() => {}
            Err(error) => {
                metrics::counter!("munadi_checkpoint_failures_total").increment(1);
                tracing::warn!(%error, "no checkpoint: the next start reads more of the journal");
            }
        }
    }

    /// Takes a new key into use when the current one has served its day. It seals nothing before the ring
    /// that holds it is on the disk.
    fn rotate(&self) {
        let now_s = self.clock.now().seconds();
        let sealer = self.front.sealer();
        if !sealer.ring().is_due(now_s) {
            return;
        }
        let mut ring = sealer.ring().clone();
        ring.prune(now_s);
        let rotated = ring.rotate(&mut fill_from_system, now_s).map_err(io::Error::other);
        match rotated.and_then(|()| self.files.keep_ring(&ring)) {
            Ok(()) => self.front.use_ring(ring),
            Err(error) => tracing::warn!(%error, "the token key was not rotated"),
        }
    }
}

/// Does something of which nothing else depends: a panic in it is told, and what comes after it goes on.
pub(in crate::node) fn unharmed(what: &str, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!(what, "failed: tell the authors");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::journal::memory::MemoryLog;
    use crate::node::recover::open;
    use crate::tokens::KeyRing;
    use crate::types::time::Moment;

    const JOURNAL: JournalId = JournalId([3; 16]);

    /// Times the clock is asked before a checkpoint is under way: when it begins, and by who paces it.
    const ASKED_BEFORE: usize = 2;

    /// A clock that tells the node to stop once it was asked so often: a checkpoint asks with each write.
    struct Stopper {
        asked: AtomicUsize,
        most: usize,
        stopping: AtomicBool,
    }

    impl Clock for Stopper {
        fn now(&self) -> Moment {
            Moment(0)
        }

        fn monotonic(&self) -> Duration {
            if self.asked.fetch_add(1, Ordering::AcqRel) + 1 >= self.most {
                self.stopping.store(true, Ordering::Release);
            }
            Duration::ZERO
        }
    }

    fn stopper(most: usize) -> Arc<Stopper> {
        Arc::new(Stopper { asked: AtomicUsize::new(0), most, stopping: AtomicBool::new(false) })
    }

    fn helper(dir: &Path, clock: &Arc<Stopper>) -> Helper {
        let ring = KeyRing::generate(&mut |bytes: &mut [u8]| bytes.fill(7), 0);
        let (front, _, _) = open(Box::new(MemoryLog::new(JOURNAL)), ring, 1, Vec::new()).unwrap();
        Helper {
            front,
            files: Files::new(dir),
            journal: JOURNAL,
            clock: Arc::clone(clock) as Arc<_>,
            every: Duration::ZERO,
            remover: None,
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_checkpoint_under_way_is_given_up_at_a_stop_and_the_last_one_is_written_whole() {
        let whole = tempfile::tempdir().unwrap();
        let clock = stopper(usize::MAX);
        helper(whole.path(), &clock).checkpoint(Some(&clock.stopping));
        assert_eq!(names(whole.path()), ["checkpoint-000000000001"]);
        let writes = clock.asked.load(Ordering::Acquire) - ASKED_BEFORE;
        assert!(writes > 20, "it is of many parts");
        for most in [ASKED_BEFORE + 1, ASKED_BEFORE + writes / 2] {
            let dir = tempfile::tempdir().unwrap();
            let clock = stopper(most);
            let helper = helper(dir.path(), &clock);
            helper.checkpoint(Some(&clock.stopping));
            assert_eq!(clock.asked.load(Ordering::Acquire), most, "nothing is written any more");
            assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
            helper.run(&clock.stopping);
            assert_eq!(names(dir.path()), ["checkpoint-000000000001"], "the last one");
            let read = |dir: &Path| fs::read(dir.join("checkpoint-000000000001")).unwrap();
            assert_eq!(read(dir.path()), read(whole.path()));
        }
    }
}
