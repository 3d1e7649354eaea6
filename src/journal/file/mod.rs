//! The journal of one node: all shards interleaved in one stream of pre-zeroed segment files.

mod ahead;
pub mod archive;
mod boundary;
mod disk;
mod ends;
mod opening;
#[cfg(test)]
mod power;
mod scan;
mod segment;
mod spare;
#[cfg(test)]
mod torn;
mod trim;
mod writer;

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::journal::file::disk::Disk;
use crate::journal::file::opening::{lock, prepare};
use crate::journal::file::scan::{Frame, Survey};
use crate::journal::file::segment::{HEADER_BYTES, Header, Spare, failed};
use crate::journal::file::spare::Room;
use crate::journal::file::writer::{Job, Shared, State, Stop};
use crate::journal::{
    BLOCK_BYTES_MAX, Block, Completed, DamagedAt, LogError, ShardLog, Tail, Tails, Ticket, Wake,
    check_start, nexts,
};
use crate::types::ids::{BatchNo, JournalId, SHARDS_ALL, SeqVector, Shard};

pub use crate::journal::file::boundary::{Boundary, boundaries, first_block, numbers, scan_within};
pub use crate::journal::file::opening::cut;
pub use crate::journal::file::scan::Torn;
pub use crate::journal::file::trim::Trimmer;

/// Bytes of a segment unless the options say otherwise.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// How long nothing is submitted before the log seals itself.
pub const IDLE_BEFORE_SEAL: Duration = Duration::from_secs(1);

/// How a file journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The size of new segments; a longer block than fits one is refused.
    pub segment_bytes: u64,
    /// How long nothing is submitted before the log seals itself.
    pub idle_before_seal: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, idle_before_seal: IDLE_BEFORE_SEAL }
    }
}

/// What a directory of segments holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scanned {
    /// The journal's name.
    pub journal: JournalId,
    /// How many segment files.
    pub segments: usize,
    /// How many sound blocks.
    pub blocks: u64,
    /// How many facts in them.
    pub facts: u64,
    /// The first sequence each shard can be read from.
    pub start: SeqVector,
    /// The sequence each shard's next fact will have.
    pub next: SeqVector,
    /// The highest batch of a sound block.
    pub last_batch: BatchNo,
    /// What a cut-short write left at the end. [`FileLog::open`] cuts it off.
    pub torn: Option<Torn>,
}

/// Reads a directory's journal without locking or writing, and visits every sound block in log order.
///
/// While a log writes there, the group under way may look torn.
pub fn scan(dir: &Path, mut visit: impl FnMut(&Block)) -> Result<Scanned, LogError> {
    scan::survey(dir, &mut visit).map(|survey| scanned(&survey))
}

/// The file backend. Dropping it finishes what was submitted; [`ShardLog::close`] also seals.
pub struct FileLog {
    dir: PathBuf,
    journal: JournalId,
    segment_bytes: u64,
    shared: Arc<Shared>,
    room: Arc<Room>,
    thread: Option<JoinHandle<()>>,
    /// Behind everything accepted: what the next blocks are checked against.
    tails: Box<Tails>,
    batch: BatchNo,
    last_ticket: Ticket,
    /// The first segment that opening walked through.
    walked_from: u64,
    /// Held until the log is gone.
    _lock: File,
}

impl FileLog {
    /// Creates an empty journal in a directory, which may exist but must hold none.
    pub fn create(dir: &Path, journal: JournalId, options: &Options) -> Result<Self, LogError> {
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
        let lock = lock(dir)?;
        let (numbers, _) = segment::list(dir)?;
        if !numbers.is_empty() {
            return Err(LogError::Exists(dir.to_owned()));
        }
        let header = Header {
            journal,
            number: 1,
            bytes: options.segment_bytes,
            first_batch: BatchNo(1),
            last_batch_before: BatchNo(0),
            tails: Box::new([Tail::START; SHARDS_ALL]),
        };
        Spare::create(dir, 0, options.segment_bytes, || true)
            .and_then(|spare| {
                spare.expect("nothing stops it early").into_segment(dir, &header).map(drop)
            })
            .map_err(failed("create a segment in", dir))?;
        let survey = scan::survey(dir, &mut |_| {})?;
        Self::open_surveyed(dir, options, Disk::default(), lock, &survey).map(|(log, _)| log)
    }

    /// Opens a directory's journal: refuses damage, cuts off what a cut-short write left, and tells
    /// what was found.
    pub fn open(dir: &Path, options: &Options) -> Result<(Self, Scanned), LogError> {
        let lock = lock(dir)?;
        let survey = scan::survey(dir, &mut |_| {})?;
        Self::open_surveyed(dir, options, Disk::default(), lock, &survey)
    }

    /// Opens a directory's journal by its end, in a time that grows by one header a segment: those before the last
    /// ones are taken at its word. [`ShardLog::verify`] checks what of them is to be read, and
    /// [`scan_within`] each of them at any time. Blocks and facts that are told are those of the last segments.
    ///
    /// # Errors
    /// As [`FileLog::open`], but for damage that no header shows.
    pub fn open_end(dir: &Path, options: &Options) -> Result<(Self, Scanned), LogError> {
        let lock = lock(dir)?;
        let survey = ends::survey_end(dir)?;
        Self::open_surveyed(dir, options, Disk::default(), lock, &survey)
    }

    fn open_surveyed(
        dir: &Path,
        options: &Options,
        disk: Disk,
        lock: File,
        survey: &Survey,
    ) -> Result<(Self, Scanned), LogError> {
        let writer = prepare(dir, options, disk, survey)?;
        let log = Self {
            dir: dir.to_owned(),
            journal: survey.journal,
            segment_bytes: options.segment_bytes,
            shared: Arc::clone(&writer.shared),
            room: Arc::clone(&writer.spares.room),
            tails: survey.tails.clone(),
            batch: survey.last_batch,
            last_ticket: Ticket(0),
            walked_from: survey.walked_from,
            thread: Some(
                Builder::new()
                    .name("journal-sync".into())
                    .spawn(|| writer.run())
                    .map_err(failed("start the sync thread of", dir))?,
            ),
            _lock: lock,
        };
        Ok((log, scanned(survey)))
    }

    /// Returns what removes old segments from another thread than the writer's.
    pub fn trimmer(&self) -> Trimmer {
        Trimmer { dir: self.dir.clone(), shared: Arc::clone(&self.shared) }
    }

    fn accepts(&self, block: &Block, state: &State) -> bool {
        let bytes = block.bytes.len() as u64;
        block.journal() == self.journal
            && bytes <= BLOCK_BYTES_MAX as u64
            && bytes <= writer::block_bytes_max(self.segment_bytes)
            && block.batch >= self.batch
            && block.durable() <= state.durable
            && self.tails[block.shard.index()].precedes(block)
            && !state.failed
    }

    fn stop(&mut self, stop: Stop) -> Result<(), LogError> {
        self.shared.stop(stop);
        let joined = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        if joined && !self.shared.state().failed { Ok(()) } else { Err(LogError::Stopped) }
    }
}

impl Drop for FileLog {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.stop(Stop::Bare);
        }
    }
}

impl ShardLog for FileLog {
    fn journal_id(&self) -> JournalId {
        self.journal
    }

    fn submit(&mut self, block: Block) -> Ticket {
        self.submit_all(vec![block])
    }

    fn submit_all(&mut self, blocks: Vec<Block>) -> Ticket {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        for block in blocks {
            let accepted = self.accepts(&block, &state);
            if accepted {
                self.tails[block.shard.index()] = Tail::after(&block);
                self.batch = block.batch;
            }
            self.last_ticket.0 += 1;
            let block = accepted.then_some(block);
            state.queue.push_back(Job { ticket: self.last_ticket, block });
        }
        drop(state);
        shared.notify();
        self.last_ticket
    }

    fn completed(&mut self) -> Option<Completed> {
        self.shared.state().finished.pop_front()
    }

    fn is_out_of_space(&self) -> bool {
        self.room.is_out()
    }

    fn read_from(
        &self,
        from: &SeqVector,
        visit: &mut dyn FnMut(&Block) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let (segments, durable_end) = {
            let state = self.shared.state();
            (state.segments.clone(), state.durable_end)
        };
        check_start(from, &nexts(&segments[0].tails))?;
        read_segments(&self.dir, &segments, durable_end, from, visit)
    }

    fn verify(&self, from: &SeqVector) -> Result<(), LogError> {
        let segments = self.shared.state().segments.clone();
        let first = segments[first_needed(&segments, from)].number;
        if first < self.walked_from {
            scan::survey_within(&self.dir, first..self.walked_from, &mut |_| {})?;
        }
        Ok(())
    }

    fn start(&self) -> SeqVector {
        nexts(&self.shared.state().segments[0].tails)
    }

    fn tail(&self, shard: Shard) -> Result<Tail, LogError> {
        if self.shared.state().failed {
            return Err(LogError::Stopped);
        }
        Ok(self.tails[shard.index()])
    }

    fn last_batch(&self) -> BatchNo {
        self.shared.state().durable
    }

    fn trim(&mut self, below: &SeqVector) -> Result<u64, LogError> {
        self.trimmer().trim(below)
    }

    fn on_completion(&mut self, wake: Wake) {
        self.shared.state().wake = Some(wake);
    }

    fn close(mut self: Box<Self>) -> Result<(), LogError> {
        self.stop(Stop::Sealed)
    }
}

/// Visits the blocks of segments, of the last one below `durable_end`, that hold a fact at or after `from`.
fn read_segments(
    dir: &Path,
    segments: &[Arc<Header>],
    durable_end: u64,
    from: &SeqVector,
    visit: &mut dyn FnMut(&Block) -> ControlFlow<()>,
) -> Result<(), LogError> {
    for (at, header) in segments.iter().enumerate().skip(first_needed(segments, from)) {
        let behind = segments.get(at + 1);
        let path = segment::path_of(dir, header.number);
        let end = behind.map_or(Some(durable_end), |_| None);
        if read_segment(&path, end, header, from, visit)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Visits the blocks of one segment below `end`, or all of them, that hold a fact at or after `from`.
fn read_segment(
    path: &Path,
    end: Option<u64>,
    header: &Header,
    from: &SeqVector,
    visit: &mut dyn FnMut(&Block) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, LogError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut bytes = vec![0; end.unwrap_or(header.bytes) as usize];
    file.read_exact_at(&mut bytes, 0).map_err(failed("read", path))?;
    let (mut at, mut after) = (HEADER_BYTES, header.last_batch_before);
    while at < bytes.len() {
        let frame = match Frame::decode(&bytes[at..]) {
            Ok(frame) => frame,
            Err(_) if end.is_none() && bytes[at..].iter().all(|byte| *byte == 0) => break,
            Err(damage) => {
                let (segment, offset) = (path.to_owned(), at as u64);
                let claim = Block::peek(&bytes[at..], header.journal);
                let fact = claim.map(|(shard, tail)| (shard, tail.next));
                let place = DamagedAt { segment, offset, fact, after, damage };
                return Err(LogError::Damaged(Box::new(place)));
            }
        };
        at += frame.len();
        if let Frame::Block(block) = frame {
            after = block.batch;
            if block.next() > from.0[block.shard.index()] && visit(&block).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Returns which segment is the first that may hold a fact at or after `from`: the last one where none does.
fn first_needed(segments: &[Arc<Header>], from: &SeqVector) -> usize {
    let passed = |next: &&Arc<Header>| all_at_or_below(&nexts(&next.tails), from);
    segments.iter().skip(1).take_while(passed).count()
}

fn all_at_or_below(these: &SeqVector, those: &SeqVector) -> bool {
    these.0.iter().zip(&those.0).all(|(this, that)| this <= that)
}

fn scanned(survey: &Survey) -> Scanned {
    Scanned {
        journal: survey.journal,
        segments: survey.segments.len(),
        blocks: survey.blocks,
        facts: survey.facts,
        start: nexts(&survey.segments[0].tails),
        next: nexts(&survey.tails),
        last_batch: survey.last_batch,
        torn: survey.torn.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::conformance::{JOURNAL, append, conformance, read, shard};
    use std::cell::RefCell;

    fn small() -> Options {
        Options { segment_bytes: 16 << 10, ..Options::default() }
    }

    #[test]
    fn a_file_log_does_what_every_log_must() {
        let dirs = RefCell::new(Vec::new());
        conformance(|| {
            let dir = tempfile::tempdir().unwrap();
            let log = FileLog::create(dir.path(), JOURNAL, &small()).unwrap();
            dirs.borrow_mut().push(dir);
            Box::new(log)
        });
    }

    #[test]
    fn a_reopened_log_goes_on_where_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = FileLog::create(dir.path(), JOURNAL, &small()).unwrap();
        let mut written = Vec::new();
        for batch in 1..=50 {
            written.push(append(&mut log, (batch % 65) as u8, batch, 10));
            if batch % 9 == 0 {
                Box::new(log).close().unwrap();
                let (reopened, found) = FileLog::open(dir.path(), &small()).unwrap();
                assert_eq!((found.blocks, found.facts), (batch, batch * 10));
                assert_eq!((found.last_batch, found.torn), (BatchNo(batch), None));
                log = reopened;
            }
        }
        assert_eq!(read(&log, &SeqVector::default()).unwrap(), written);
        assert_eq!(log.tail(shard(50)).unwrap(), Tail::after(&written[49]));
        let mut scanned = Vec::new();
        let found = scan(dir.path(), |block| scanned.push(block.clone())).unwrap();
        assert_eq!(scanned, written);
        assert!(found.segments > 1, "the test must cross segments");
    }

    #[test]
    fn a_trimmed_log_reopens_and_still_checks_its_chain() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = FileLog::create(dir.path(), JOURNAL, &small()).unwrap();
        for batch in 1..=80 {
            append(&mut log, 1, batch, 20);
        }
        let end = log.tail(shard(1)).unwrap();
        let mut below = SeqVector::default();
        below.0.fill(end.next);
        assert_eq!(log.trim(&below).unwrap() % (16 << 10), 0);
        let start = log.start();
        drop(log);
        let (log, found) = FileLog::open(dir.path(), &small()).unwrap();
        assert_eq!((found.start, log.start()), (start.clone(), start));
        assert_eq!(log.tail(shard(1)).unwrap(), end);
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let log = FileLog::create(dir.path(), JOURNAL, &small()).unwrap();
        assert!(matches!(FileLog::open(dir.path(), &small()), Err(LogError::Locked(_))));
        assert!(scan(dir.path(), |_| ()).is_ok(), "reading needs no lock");
        drop(log);
        assert!(FileLog::open(dir.path(), &small()).is_ok());
    }

    #[test]
    fn a_journal_is_neither_invented_nor_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(FileLog::open(dir.path(), &small()), Err(LogError::Absent(_))));
        let nowhere = dir.path().join("nowhere");
        assert!(matches!(FileLog::open(&nowhere, &small()), Err(LogError::Absent(_))));
        assert!(matches!(scan(&nowhere, |_| ()), Err(LogError::Absent(_))));
        assert!(!nowhere.exists());
        drop(FileLog::create(dir.path(), JOURNAL, &small()).unwrap());
        assert!(matches!(FileLog::create(dir.path(), JOURNAL, &small()), Err(LogError::Exists(_))));
    }
}
