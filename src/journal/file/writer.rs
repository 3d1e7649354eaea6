//! The sync thread: gathers what waits, writes it with one call, syncs it with one call.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::journal::file::disk::Disk;
use crate::journal::file::segment::{HEADER_BYTES, Header, SEAL_BYTES, Seal};
use crate::journal::file::spare::Spares;
use crate::journal::{Block, Completed, Outcome, Tail, Tails, Ticket, Wake};
use crate::types::ids::{BatchNo, JournalId};

/// The most bytes written before a sync: bounds how long the first of them waits.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// What a segment needs besides its blocks: a seal around each group, and room for an idle one.
const SEALS_BYTES: usize = 3 * SEAL_BYTES;

/// Returns the longest block that fits a segment of this size.
pub(super) fn block_bytes_max(segment_bytes: u64) -> u64 {
    segment_bytes.saturating_sub((HEADER_BYTES + SEALS_BYTES) as u64)
}

/// One submission. It keeps its place in the queue even when it is refused at the door.
pub(super) struct Job {
    pub(super) ticket: Ticket,
    /// `None` when it was refused.
    pub(super) block: Option<Block>,
}

/// What the log and its sync thread both see.
pub(super) struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

pub(super) struct State {
    pub(super) queue: VecDeque<Job>,
    pub(super) finished: VecDeque<Completed>,
    /// The segments' headers, oldest first, the one being written last.
    pub(super) segments: Vec<Arc<Header>>,
    /// Where the durable bytes of the last segment end.
    pub(super) durable_end: u64,
    pub(super) durable: BatchNo,
    pub(super) wake: Option<Wake>,
    /// How to stop, once someone said so.
    pub(super) stop: Option<Stop>,
    /// A write failed: nothing more is written, ever.
    pub(super) failed: bool,
}

/// How the sync thread is told to stop; either way it first writes what waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stop {
    /// With a seal behind everything.
    Sealed,
    /// Without.
    Bare,
}

impl Shared {
    pub(super) fn new(state: State) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), work: Condvar::new() })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the state")
    }

    /// Lets the sync thread look at the queue.
    pub(super) fn notify(&self) {
        self.work.notify_one();
    }

    pub(super) fn stop(&self, stop: Stop) {
        self.state().stop = Some(stop);
        self.work.notify_one();
    }
}

/// Owns the segment that is written. A plain struct: tests drive it without a thread.
pub(super) struct Writer {
    pub(super) dir: PathBuf,
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Disk,
    pub(super) spares: Spares,
    pub(super) idle: Duration,
    pub(super) journal: JournalId,
    /// The segment that is written, its number, size, and where its next byte goes.
    pub(super) file: File,
    pub(super) number: u64,
    pub(super) segment_bytes: u64,
    pub(super) at: u64,
    /// Behind everything written.
    pub(super) tails: Box<Tails>,
    pub(super) batch: BatchNo,
    /// Whether the last thing written is an idle seal.
    pub(super) sealed: bool,
    /// Used again for every group.
    pub(super) buffer: Vec<u8>,
}

/// What the sync thread does next.
enum Next {
    Commit(VecDeque<Job>),
    Seal,
    Stop,
}

impl Writer {
    /// Writes what is submitted until told to stop.
    pub(super) fn run(mut self) {
        loop {
            match self.wait() {
                Next::Commit(jobs) => self.commit(jobs),
                Next::Seal => self.seal(),
                Next::Stop => return,
            }
        }
    }

    fn wait(&self) -> Next {
        let mut state = self.shared.state();
        loop {
            if !state.queue.is_empty() {
                return Next::Commit(std::mem::take(&mut state.queue));
            }
            let may_seal = !self.sealed && !state.failed;
            if let Some(stop) = state.stop {
                return if may_seal && stop == Stop::Sealed { Next::Seal } else { Next::Stop };
            }
            if !may_seal {
                state = self.shared.work.wait(state).expect("no thread panics while it holds it");
                continue;
            }
            let (woken, waited) = self
                .shared
                .work
                .wait_timeout(state, self.idle)
                .expect("no thread panics while it holds it");
            state = woken;
            if waited.timed_out() && state.queue.is_empty() {
                return Next::Seal;
            }
        }
    }

    /// Makes blocks durable, in groups of one write and one sync, and reports every ticket in order.
    pub(super) fn commit(&mut self, mut jobs: VecDeque<Job>) {
        while !jobs.is_empty() {
            if self.shared.state().failed {
                let refused =
                    |job: Job| Completed { ticket: job.ticket, outcome: Outcome::Refused };
                self.report(jobs.drain(..).map(refused).collect(), Ok(()));
                return;
            }
            fail::fail_point!("group-gather");
            let (completed, blocks) = self.gather(&mut jobs);
            if completed.is_empty() {
                let first =
                    jobs.front().and_then(|job| job.block.as_ref()).map(|block| block.batch);
                // Refused, not unknown: none of the waiting blocks was written.
                let rolled = self.roll(first.unwrap_or(self.batch));
                self.report(Vec::new(), rolled);
            } else if blocks == 0 {
                self.report(completed, Ok(()));
            } else {
                self.sealed = false;
                let written = self.write();
                self.report(completed, written);
            }
        }
    }

    /// Fills the buffer with as many blocks as this segment and one group may hold, a seal on either
    /// side. Returns the outcomes to report once it is durable, and how many blocks it holds.
    fn gather(&mut self, jobs: &mut VecDeque<Job>) -> (Vec<Completed>, usize) {
        let room = (self.segment_bytes - self.at) as usize;
        let seal = Seal { journal: self.journal, batch: self.batch, durable_end: self.at };
        self.buffer.clear();
        self.buffer.extend_from_slice(&seal.encode());
        let mut completed = Vec::new();
        let mut blocks = 0;
        while let Some(Job { ticket, block }) = jobs.pop_front() {
            let Some(block) = block else {
                completed.push(Completed { ticket, outcome: Outcome::Refused });
                continue;
            };
            let fits = self.buffer.len() + block.bytes.len() + 2 * SEAL_BYTES <= room;
            if !fits || self.buffer.len() > GROUP_BYTES_MAX {
                jobs.push_front(Job { ticket, block: Some(block) });
                break;
            }
            self.buffer.extend_from_slice(&block.bytes);
            self.tails[block.shard.index()] = Tail::after(&block);
            self.batch = block.batch;
            blocks += 1;
            completed.push(Completed { ticket, outcome: Outcome::Done });
        }
        self.buffer.extend_from_slice(&seal.encode());
        (completed, blocks)
    }

    fn write(&mut self) -> io::Result<()> {
        let began = self.disk.began();
        self.disk.write(&self.file, &self.buffer, self.at)?;
        self.disk.sync(&self.file)?;
        metrics::histogram!("munadi_journal_sync_seconds").record(began.elapsed());
        self.at += self.buffer.len() as u64;
        Ok(())
    }

    /// Says on disk that everything so far is durable. Failing stops the log like any failed write.
    pub(super) fn seal(&mut self) {
        self.sealed = true;
        if self.at + SEAL_BYTES as u64 > self.segment_bytes {
            return; // The next segment's header will say so.
        }
        let seal = Seal { journal: self.journal, batch: self.batch, durable_end: self.at };
        self.buffer.clear();
        self.buffer.extend_from_slice(&seal.encode());
        fail::fail_point!("seal-write");
        let written = self.write();
        fail::fail_point!("seal-written");
        self.report(Vec::new(), written);
    }

    /// Goes on in a new segment. What the old one holds is synced already.
    fn roll(&mut self, first_batch: BatchNo) -> io::Result<()> {
        let spare = self.spares.take(|| self.shared.state().stop.is_some())?;
        fail::fail_point!("roll-begin");
        let header = Header {
            journal: self.journal,
            number: self.number + 1,
            bytes: spare.bytes,
            first_batch,
            last_batch_before: self.batch,
            tails: self.tails.clone(),
        };
        self.file = spare.into_segment(&self.dir, &header)?;
        fail::fail_point!("roll-end");
        self.number += 1;
        self.segment_bytes = header.bytes;
        self.at = HEADER_BYTES as u64;
        self.sealed = true;
        let mut state = self.shared.state();
        state.durable_end = self.at;
        state.segments.push(Arc::new(header));
        Ok(())
    }

    /// Publishes what a group came to. After a failure nobody knows what reached the disk, and a
    /// second sync would lie about it, so the log stops for good.
    fn report(&mut self, mut completed: Vec<Completed>, written: io::Result<()>) {
        fail::fail_point!("group-report");
        let wake = {
            let mut state = self.shared.state();
            match &written {
                Ok(()) if !state.failed => {
                    state.durable_end = self.at;
                    state.durable = self.batch;
                }
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(%error, dir = %self.dir.display(), "journal stopped");
                    state.failed = true;
                    for done in completed.iter_mut().filter(|c| c.outcome == Outcome::Done) {
                        done.outcome = Outcome::Unknown;
                    }
                }
            }
            state.finished.extend(completed);
            state.wake.clone()
        };
        fail::fail_point!("group-reported");
        if let Some(wake) = wake {
            wake();
        }
    }
}
