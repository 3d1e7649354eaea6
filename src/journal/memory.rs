//! A journal in memory, for tests and the simulation: durable until the process ends.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::journal::{
    BLOCK_BYTES_MAX, Block, Completed, LogError, Outcome, ShardLog, Tail, Tails, Ticket, Wake,
    check_start, nexts,
};
use crate::types::ids::{BatchNo, JournalId, SHARDS_ALL, SeqVector, Shard};

/// What survives a restart. Clones share it: two logs on one disk fence each other.
#[derive(Clone, Debug)]
pub struct MemoryDisk(Arc<Mutex<Stored>>);

#[derive(Debug)]
struct Stored {
    journal: JournalId,
    blocks: VecDeque<Block>,
    /// Where each shard begins: behind what was trimmed.
    starts: Tails,
    tails: Tails,
    last_batch: BatchNo,
}

impl MemoryDisk {
    /// Returns a disk with an empty journal.
    pub fn new(journal: JournalId) -> Self {
        Self(Arc::new(Mutex::new(Stored {
            journal,
            blocks: VecDeque::new(),
            starts: [Tail::START; SHARDS_ALL],
            tails: [Tail::START; SHARDS_ALL],
            last_batch: BatchNo(0),
        })))
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().expect("no thread panics while it holds the disk")
    }
}

/// A log over a [`MemoryDisk`]. A block is stored when [`ShardLog::completed`] reports it, so a log
/// that is dropped earlier loses it, like a process killed before its sync.
pub struct MemoryLog {
    disk: MemoryDisk,
    journal: JournalId,
    queue: VecDeque<(Ticket, Block)>,
    last_ticket: Ticket,
    wake: Option<Wake>,
}

impl MemoryLog {
    /// Opens an empty journal on a disk of its own.
    pub fn new(journal: JournalId) -> Self {
        Self::open(&MemoryDisk::new(journal))
    }

    /// Opens the journal on a disk.
    pub fn open(disk: &MemoryDisk) -> Self {
        let journal = disk.stored().journal;
        Self {
            disk: disk.clone(),
            journal,
            queue: VecDeque::new(),
            last_ticket: Ticket(0),
            wake: None,
        }
    }

    /// Returns the disk, to open it again after this log is gone.
    pub fn disk(&self) -> MemoryDisk {
        self.disk.clone()
    }
}

impl Stored {
    fn store(&mut self, block: Block) -> Outcome {
        let tail = &mut self.tails[block.shard.index()];
        let fits = block.journal() == self.journal && block.bytes.len() <= BLOCK_BYTES_MAX;
        if !fits || !tail.precedes(&block) || block.durable() > self.last_batch {
            return Outcome::Refused;
        }
        *tail = Tail::after(&block);
        self.last_batch = self.last_batch.max(block.batch);
        self.blocks.push_back(block);
        Outcome::Done
    }
}

impl ShardLog for MemoryLog {
    fn journal_id(&self) -> JournalId {
        self.journal
    }

    fn submit(&mut self, block: Block) -> Ticket {
        self.submit_all(vec![block])
    }

    fn submit_all(&mut self, blocks: Vec<Block>) -> Ticket {
        for block in blocks {
            self.last_ticket.0 += 1;
            self.queue.push_back((self.last_ticket, block));
        }
        if let Some(wake) = &self.wake {
            wake();
        }
        self.last_ticket
    }

    fn completed(&mut self) -> Option<Completed> {
        let (ticket, block) = self.queue.pop_front()?;
        Some(Completed { ticket, outcome: self.disk.stored().store(block) })
    }

    fn read_from(
        &self,
        from: &SeqVector,
        visit: &mut dyn FnMut(&Block) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let start = self.start();
        check_start(from, &start)?;
        // Copied, so that the visitor may use the log; blocks share their bytes.
        let blocks = self.disk.stored().blocks.clone();
        for block in blocks.iter().filter(|block| block.next() > from.0[block.shard.index()]) {
            if visit(block).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn start(&self) -> SeqVector {
        nexts(&self.disk.stored().starts)
    }

    fn tail(&self, shard: Shard) -> Result<Tail, LogError> {
        let mut tail = self.disk.stored().tails[shard.index()];
        for (_, block) in self.queue.iter().filter(|(_, block)| block.shard == shard) {
            if tail.precedes(block) {
                tail = Tail::after(block);
            }
        }
        Ok(tail)
    }

    fn last_batch(&self) -> BatchNo {
        self.disk.stored().last_batch
    }

    fn trim(&mut self, below: &SeqVector) -> Result<u64, LogError> {
        let mut stored = self.disk.stored();
        let mut bytes = 0;
        while let Some(block) = stored.blocks.front()
            && block.next() <= below.0[block.shard.index()]
        {
            bytes += block.bytes.len() as u64;
            let (shard, tail) = (block.shard, Tail::after(block));
            stored.starts[shard.index()] = tail;
            stored.blocks.pop_front();
        }
        Ok(bytes)
    }

    fn on_completion(&mut self, wake: Wake) {
        self.wake = Some(wake);
    }

    fn close(mut self: Box<Self>) -> Result<(), LogError> {
        while self.completed().is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::conformance::{JOURNAL, append, block_after, conformance, finish, read};

    #[test]
    fn a_memory_log_does_what_every_log_must() {
        conformance(|| Box::new(MemoryLog::new(JOURNAL)));
    }

    #[test]
    fn a_killed_log_keeps_what_was_reported_and_nothing_else() {
        let mut log = MemoryLog::new(JOURNAL);
        let kept = append(&mut log, 1, 1, 2);
        log.submit(block_after(&log, 1, 2, 2));
        let disk = log.disk();
        drop(log);
        let log = MemoryLog::open(&disk);
        assert_eq!(log.tail(kept.shard).unwrap(), Tail::after(&kept));
        assert_eq!(read(&log, &SeqVector::default()).unwrap(), [kept]);
    }

    #[test]
    fn an_old_owner_is_fenced_off() {
        let mut old = MemoryLog::new(JOURNAL);
        append(&mut old, 1, 1, 1);
        let mut new = MemoryLog::open(&old.disk());
        let late = block_after(&old, 1, 2, 1);
        append(&mut new, 1, 2, 3);
        old.submit(late);
        assert_eq!(finish(&mut old, 1)[0].outcome, Outcome::Refused);
    }
}
