//! What happened: durable, ordered, checksummed, sharded. The trait every backend implements.
//!
//! A writer collects decisions with a [`BlockBuilder`] per shard, seals one [`Block`] per shard and
//! batch, submits them and waits for their tickets. Only what is durable may be told to anyone.
//!
//! Floor 1: imports only `types`.

pub mod block;
pub mod file;
mod frame;
pub mod fsck;
pub mod memory;

#[cfg(test)]
mod conformance;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use crate::types::ids::{BatchNo, JournalId, SHARDS_ALL, Seq, SeqVector, Shard};

pub use block::{BLOCK_BYTES_MAX, Block, BlockBuilder, BlockHash};
pub use frame::Damage;

/// Names one submitted block, in the order of submission.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub u64);

/// What became of a submitted block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is durable.
    Done,
    /// Nothing of it was written, nor will be.
    Refused,
    /// It may or may not be written: ask [`ShardLog::tail`], or reopen.
    Unknown,
}

/// A ticket and what became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Completed {
    /// The ticket [`ShardLog::submit`] gave.
    pub ticket: Ticket,
    /// What became of its block.
    pub outcome: Outcome,
}

/// Where a shard ends: all a writer needs to go on in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tail {
    /// The sequence of the next fact.
    pub next: Seq,
    /// What the next block must name as its previous one.
    pub hash: BlockHash,
}

impl Tail {
    /// The tail of a shard without facts.
    pub const START: Self = Self { next: Seq(1), hash: BlockHash::NONE };

    /// Returns the tail behind a block.
    pub fn after(block: &Block) -> Self {
        Self { next: block.next(), hash: block.hash }
    }

    /// Tells whether a block continues here.
    pub fn precedes(&self, block: &Block) -> bool {
        block.first == self.next && block.previous() == self.hash
    }
}

/// The tails of all shards, by [`Shard::index`].
pub(crate) type Tails = [Tail; SHARDS_ALL];

/// Returns where every shard of these tails goes on.
fn nexts(tails: &Tails) -> SeqVector {
    SeqVector(tails.map(|tail| tail.next))
}

/// Refuses to read from before the start: a reader must not take a trimmed log for a whole one.
fn check_start(from: &SeqVector, start: &SeqVector) -> Result<(), LogError> {
    for shard in Shard::all() {
        let first = start.0[shard.index()];
        if from.0[shard.index()].0.max(1) < first.0 {
            return Err(LogError::Trimmed { shard, first });
        }
    }
    Ok(())
}

/// Called from any thread whenever a ticket may have finished.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// A journal of 65 ordered streams of facts.
pub trait ShardLog: Send {
    /// Returns the journal's name, which every block carries.
    fn journal_id(&self) -> JournalId;

    /// Hands a sealed block over; never waits for the disk.
    ///
    /// Blocks of one shard come in order. One that does not continue its shard's tail, is of another
    /// journal, or claims a durable mark the log has not reached, completes as
    /// [`Outcome::Refused`]: this is the fence. Batch numbers must not go back.
    fn submit(&mut self, block: Block) -> Ticket;

    /// Hands over the blocks of a batch at once, so that they share a sync. Their tickets are
    /// consecutive; returns the last one, or the latest ever given when there are no blocks.
    fn submit_all(&mut self, blocks: Vec<Block>) -> Ticket;

    /// Returns the next finished ticket, in the order of submission; `None` when none has finished.
    fn completed(&mut self) -> Option<Completed>;

    /// Tells whether blocks wait for space on a full disk. What was submitted is written once there is
    /// some; nothing more should be submitted until then.
    fn is_out_of_space(&self) -> bool {
        false
    }

    /// Calls `visit` with each durable block that holds a fact at or after `from[shard]`, in log
    /// order, until it breaks.
    ///
    /// Sequences 0 and 1 both mean "from the first fact". Asking for what was trimmed away is
    /// [`LogError::Trimmed`]; [`ShardLog::start`] says what is left.
    fn read_from(
        &self,
        from: &SeqVector,
        visit: &mut dyn FnMut(&Block) -> ControlFlow<()>,
    ) -> Result<(), LogError>;

    /// Checks what opening took at its word, as far as it holds facts at or after `from[shard]`.
    ///
    /// # Errors
    /// As opening the whole would have refused it.
    fn verify(&self, _from: &SeqVector) -> Result<(), LogError> {
        Ok(())
    }

    /// Returns the first sequence each shard can still be read from.
    fn start(&self) -> SeqVector;

    /// Returns where the shard ends, all accepted blocks counted. After an [`Outcome::Unknown`] the
    /// writer learns here whether its block is there.
    fn tail(&self, shard: Shard) -> Result<Tail, LogError>;

    /// Returns the highest batch number of a durable block.
    fn last_batch(&self) -> BatchNo;

    /// Forgets the oldest blocks, in units of the backend's own, as far as every one of them lies
    /// below `below[shard]`. Returns the bytes that became free.
    fn trim(&mut self, below: &SeqVector) -> Result<u64, LogError>;

    /// Sets what is called whenever a ticket may have finished, so that the writer can park.
    fn on_completion(&mut self, wake: Wake);

    /// Finishes what was submitted, seals it and stops.
    fn close(self: Box<Self>) -> Result<(), LogError>;
}

/// Why a journal cannot be opened, read, trimmed or closed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process has it open. Stop that one first.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// There is no journal. Create one, or look elsewhere.
    #[error("{} holds no journal", .0.display())]
    Absent(PathBuf),
    /// There is a journal already. Open it.
    #[error("{} holds a journal already", .0.display())]
    Exists(PathBuf),
    /// Facts that were acknowledged cannot be read. Restore a backup.
    #[error(transparent)]
    Damaged(Box<DamagedAt>),
    /// The reader asked for facts that were forgotten. Start from a later checkpoint.
    #[error("shard {shard} begins at sequence {first}: what lies before was trimmed")]
    Trimmed {
        /// The first shard of which too much was asked.
        shard: Shard,
        /// The first sequence it still holds.
        first: Seq,
    },
    /// A write or sync failed earlier; what is on the disk is known only after reopening.
    #[error("the journal stopped at a failed write: reopen it")]
    Stopped,
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Where acknowledged facts are damaged, as exactly as can be known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DamagedAt {
    /// The file.
    pub segment: PathBuf,
    /// The byte at which the first damaged or missing frame begins.
    pub offset: u64,
    /// The first fact that is lost, when a frame behind the damage or its own header tells.
    pub fact: Option<(Shard, Seq)>,
    /// The batch of the last sound block before it.
    pub after: BatchNo,
    /// What is wrong with it.
    pub damage: Damage,
}

impl std::error::Error for DamagedAt {}

impl fmt::Display for DamagedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at byte {}", self.segment.display(), self.offset)?;
        write!(f, ", after batch {}: {}", self.after, self.damage)?;
        match self.fact {
            Some((shard, seq)) => write!(f, "; shard {shard} is unreadable from sequence {seq}"),
            None => write!(f, "; whose facts they were cannot be told"),
        }
    }
}
