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
