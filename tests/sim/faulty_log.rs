//! A log that fails as disks and networks do, over a memory disk that survives it.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use munadi::journal::memory::{MemoryDisk, MemoryLog};
use munadi::journal::{
    Block, BlockBuilder, Completed, LogError, Outcome, ShardLog, Tail, Ticket, Wake,
};
use munadi::types::ids::{BatchNo, JournalId, SeqVector, Shard};
use munadi::types::proto::journal::v1::{Decision, Fact, ServedMinute, fact::Kind};
use prost::Message;

use crate::coverage::Coverage;
use crate::luck::Luck;

/// What outlives a log: the blocks that reached the disk in order, and when the next fault comes.
pub(crate) struct Fate {
    pub(crate) luck: Luck,
    /// No fault while this holds.
    pub(crate) calm: bool,
    pub(crate) written: Vec<Block>,
    pub(crate) coverage: Coverage,
}

/// A handle of the fate of all logs of one world.
pub(crate) type SharedFate = Arc<Mutex<Fate>>;

fn locked(fate: &SharedFate) -> MutexGuard<'_, Fate> {
    fate.lock().expect("one thread")
}

pub(crate) struct FaultyLog {
    inner: MemoryLog,
    fate: SharedFate,
    queue: VecDeque<(Ticket, Block)>,
    last: Ticket,
    /// Everything up to here was cut off by an earlier fault: one stream has one order.
    doomed: Ticket,
    /// Rounds for which the disk says nothing.
    slow: u64,
    /// What is queued is lost or kept by chance when the log is dropped, not when it is closed.
    closed: bool,
}

impl FaultyLog {
    pub(crate) fn open(disk: &MemoryDisk, fate: &SharedFate) -> Self {
        Self {
            inner: MemoryLog::open(disk),
            fate: Arc::clone(fate),
            queue: VecDeque::new(),
            last: Ticket(0),
            doomed: Ticket(0),
            slow: 0,
            closed: false,
        }
    }

    fn store(&mut self, block: Block) -> Outcome {
        self.inner.submit(block.clone());
        let outcome = self.inner.completed().expect("memory answers at once").outcome;
        if outcome == Outcome::Done {
            locked(&self.fate).written.push(block);
        }
        outcome
    }

    /// Lets another owner write where this block was meant to stand.
    fn usurp(&mut self, block: &Block) {
        let minute = Kind::ServedMinute(ServedMinute::default());
        let at_ms = Decision::decode(block.decisions().next().expect("one at least"))
            .expect("the writer's own decision")
            .at_ms;
        let decision = Decision { at_ms, facts: vec![Fact { kind: Some(minute) }] };
        let mut builder = BlockBuilder::new(block.shard, block.first);
        // As many facts as the lost block has, so that only the content tells them apart.
        (0..block.count).for_each(|_| {
            builder.push(&decision.encode_to_vec(), 1);
        });
        let foreign = builder.seal(block.journal(), block.batch, block.durable(), block.previous());
        assert_eq!(self.store(foreign), Outcome::Done);
    }

    fn fault(&mut self) -> Option<&'static str> {
        let mut fate = locked(&self.fate);
        if fate.calm || !fate.luck.chance(2) {
            return None;
        }
        let faults =
            ["refused", "answer lost but written", "answer lost and not written", "fenced off"];
        let fault = *fate.luck.pick(&faults);
        fate.coverage.note("fault", fault);
        Some(fault)
    }
}

impl ShardLog for FaultyLog {
    fn journal_id(&self) -> JournalId {
        self.inner.journal_id()
    }

    fn submit(&mut self, block: Block) -> Ticket {
        self.submit_all(vec![block])
    }

    fn submit_all(&mut self, blocks: Vec<Block>) -> Ticket {
        for block in blocks {
            self.last.0 += 1;
            self.queue.push_back((self.last, block));
        }
        self.last
    }

    fn completed(&mut self) -> Option<Completed> {
        self.queue.front()?;
        {
            let mut fate = locked(&self.fate);
            if self.slow == 0 && !fate.calm && fate.luck.chance(30) {
                self.slow = fate.luck.below(8) + 1;
                fate.coverage.note("fault", "slow");
            }
        }
        if self.slow > 0 && !self.closed {
            self.slow -= 1;
            return None;
        }
        let (ticket, block) = self.queue.pop_front()?;
        if ticket <= self.doomed {
            return Some(Completed { ticket, outcome: Outcome::Refused });
        }
        let outcome = match self.fault() {
            None => self.store(block),
            Some("refused") => {
                self.doomed = self.last;
                Outcome::Refused
            }
            Some("answer lost but written") => {
                self.store(block);
                Outcome::Unknown
            }
            Some("fenced off") => {
                self.usurp(&block);
                self.doomed = self.last;
                Outcome::Unknown
            }
            Some(_) => {
                self.doomed = self.last;
                Outcome::Unknown
            }
        };
        Some(Completed { ticket, outcome })
    }

    fn read_from(
        &self,
        from: &SeqVector,
        visit: &mut dyn FnMut(&Block) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        self.inner.read_from(from, visit)
    }

    fn start(&self) -> SeqVector {
        self.inner.start()
    }

    fn tail(&self, shard: Shard) -> Result<Tail, LogError> {
        let mut tail = self.inner.tail(shard)?;
        for (ticket, block) in self.queue.iter().filter(|(_, block)| block.shard == shard) {
            if *ticket > self.doomed && tail.precedes(block) {
                tail = Tail::after(block);
            }
        }
        Ok(tail)
    }

    fn last_batch(&self) -> BatchNo {
        self.inner.last_batch()
    }

    fn trim(&mut self, below: &SeqVector) -> Result<u64, LogError> {
        self.inner.trim(below)
    }

    fn on_completion(&mut self, wake: Wake) {
        self.inner.on_completion(wake);
    }

    fn close(mut self: Box<Self>) -> Result<(), LogError> {
        self.closed = true;
        while let Some((ticket, block)) = self.queue.pop_front() {
            if ticket > self.doomed {
                self.store(block);
            }
        }
        Ok(())
    }
}

impl Drop for FaultyLog {
    /// Power goes: of what was not acknowledged, a part from the front reached the disk.
    fn drop(&mut self) {
        let doomed = self.doomed;
        self.queue.retain(|(ticket, _)| *ticket > doomed);
        if self.queue.is_empty() || self.closed {
            return;
        }
        let total = self.queue.len() as u64;
        let kept = locked(&self.fate).luck.below(total + 1);
        for _ in 0..kept {
            let Some((_, block)) = self.queue.pop_front() else { break };
            self.store(block);
        }
        let mut fate = locked(&self.fate);
        if kept > 0 {
            fate.coverage.note("fault", "unacknowledged tail kept");
        }
        if kept < total {
            fate.coverage.note("fault", "unacknowledged tail cut");
        }
    }
}
