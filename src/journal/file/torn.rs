//! What power loss and bit rot do to segments: torn ends are cut, damage is named and refused.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::Duration;

use tempfile::TempDir;

use crate::journal::conformance::{JOURNAL, append, block_after, finish, read, sealed, shard};
use crate::journal::file::disk::Disk;
use crate::journal::file::opening::{lock, prepare};
use crate::journal::file::scan::{Survey, survey};
use crate::journal::file::segment::{HEADER_BYTES, SEAL_BYTES, path_of};
use crate::journal::file::writer::{Job, Writer, block_bytes_max};
use crate::journal::file::{FileLog, Options, scan};
use crate::journal::fsck::fsck;
use crate::journal::{
    Block, BlockBuilder, Damage, DamagedAt, LogError, Outcome, ShardLog, Tail, Ticket,
};
use crate::types::ids::{BatchNo, SHARDS_ALL, Seq, SeqVector};

const PAGE_BYTES: usize = 4096;

/// A journal whose groups the test decides: no sync thread gathers them.
pub(super) struct Journal {
    dir: TempDir,
    options: Options,
    writer: Writer,
    tails: [Tail; SHARDS_ALL],
    pub(super) blocks: Vec<Block>,
    batch: u64,
}

impl Journal {
    pub(super) fn new(segment_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes, ..Options::default() };
        drop(FileLog::create(dir.path(), JOURNAL, &options).unwrap());
        let survey = survey(dir.path(), &mut |_| {}).unwrap();
        let writer = prepare(dir.path(), &options, Disk::default(), &survey).unwrap();
        let (tails, blocks) = ([Tail::START; SHARDS_ALL], Vec::new());
        Self { dir, options, writer, tails, blocks, batch: 0 }
    }

    /// Writes one group: so many batches, each a block of `facts` facts in shards 1, 2 and 64.
    pub(super) fn group(&mut self, batches: u64, facts: u32) {
        let durable = BatchNo(self.batch);
        let mut jobs = VecDeque::new();
        for _ in 0..batches {
            self.batch += 1;
            for number in [1, 2, 64] {
                let tail = &mut self.tails[shard(number).index()];
                let block = sealed(number, *tail, self.batch, durable, facts);
                *tail = Tail::after(&block);
                self.blocks.push(block.clone());
                jobs.push_back(Job { ticket: Ticket(0), block: Some(block) });
            }
        }
        self.writer.commit(jobs);
    }

    pub(super) fn end(&self) -> usize {
        self.writer.at as usize
    }

    fn path(&self) -> PathBuf {
        path_of(self.dir.path(), self.writer.number)
    }

    pub(super) fn image(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    /// Returns the sound blocks and what a survey finds once the last segment is `image`.
    fn after(&self, image: &[u8]) -> Result<(Vec<Block>, Survey), LogError> {
        // Not `fs::write`: ext4 flushes a file that was truncated and rewritten.
        let file = OpenOptions::new().write(true).open(self.path()).unwrap();
        file.set_len(image.len() as u64).unwrap();
        file.write_all_at(image, 0).unwrap();
        let mut blocks = Vec::new();
        let found = survey(self.dir.path(), &mut |block| blocks.push(block.clone()))?;
        Ok((blocks, found))
    }

    /// Checks that an image opens to a prefix of the blocks, at least `durable` of them, and that the
    /// scan tells how much is cut. Returns how many are left.
    pub(super) fn check_torn(&self, image: &[u8], durable: usize, what: &str) -> u64 {
        let (blocks, found) = self.after(image).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(blocks.len() >= durable, "{what}: acknowledged blocks are gone");
        assert_eq!(blocks, self.blocks[..blocks.len()], "{what}");
        let written = image.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        let torn = found.torn.map_or(0, |torn| torn.bytes);
        assert_eq!(torn, written.saturating_sub(found.end), "{what}");
        blocks.len() as u64
    }

    fn damage_in(&self, image: &[u8], what: &str) -> DamagedAt {
        match self.after(image) {
            Err(LogError::Damaged(damage)) => *damage,
            Err(error) => panic!("{what}: {error}"),
            Ok((blocks, found)) => panic!("{what}: {} blocks, {:?}", blocks.len(), found.torn),
        }
    }
}

/// Opens for writing, appends, closes, and checks that all is there.
fn goes_on(dir: &Path, options: &Options, kept: u64) {
    let report = fsck(dir, false).unwrap();
    let (mut log, found) = FileLog::open(dir, options).unwrap();
    assert_eq!((found.blocks, &found.torn), (kept, &report.torn));
    let batch = log.last_batch().0 + 1;
    append(&mut log, 2, batch, 3);
    Box::new(log).close().unwrap();
    let found = scan(dir, |_| ()).unwrap();
    assert_eq!((found.blocks, found.torn), (kept + 1, None));
}

#[test]
fn a_group_cut_at_any_byte_leaves_a_prefix_of_whole_blocks() {
    let mut journal = Journal::new(16 << 10);
    journal.group(1, 2);
    journal.group(1, 2);
    let durable = journal.end();
    journal.group(2, 3);
    let (image, end) = (journal.image(), journal.end());
    for at in durable..=end {
        let kept = journal.check_torn(&image[..at], 6, &format!("file cut at {at}"));
        if at % 101 == 0 {
            goes_on(journal.dir.path(), &journal.options, kept);
        }
        let mut zeroed = image.clone();
        zeroed[at..].fill(0);
        journal.check_torn(&zeroed, 6, &format!("zeroed from {at}"));
    }
}

#[test]
fn a_group_may_lose_any_of_its_pages() {
    let mut journal = Journal::new(64 << 10);
    journal.group(1, 40);
    let durable = journal.end();
    journal.group(3, 130);
    let (image, end) = (journal.image(), journal.end());
    let pages: Vec<_> = (durable / PAGE_BYTES..=end / PAGE_BYTES).collect();
    assert!((6..=9).contains(&pages.len()), "{} pages", pages.len());
    for lost in 0..1_u32 << pages.len() {
        let mut torn = image.clone();
        for (_, page) in pages.iter().enumerate().filter(|(bit, _)| lost >> bit & 1 == 1) {
            // What was durable before the group keeps its bytes whichever version of the page won.
            torn[(page * PAGE_BYTES).max(durable)..(page + 1) * PAGE_BYTES].fill(0);
        }
        let kept = journal.check_torn(&torn, 3, &format!("pages {lost:b} lost"));
        if lost.count_ones() == 1 {
            goes_on(journal.dir.path(), &journal.options, kept);
        }
    }
}

#[test]
fn every_flipped_byte_at_or_below_the_mark_is_refused_and_named() {
    let mut journal = Journal::new(16 << 10);
    journal.group(1, 2);
    journal.group(2, 2);
    journal.group(1, 2);
    let mark = journal.end();
    journal.group(1, 2);
    let mut starts = Vec::new();
    let mut at = HEADER_BYTES;
    for (index, block) in journal.blocks.iter().enumerate() {
        // A group of one batch has three blocks and of two six, with a seal on either side.
        at += match index {
            0 => SEAL_BYTES,
            3 | 9 | 12 => 2 * SEAL_BYTES,
            _ => 0,
        };
        starts.push((at, block));
        at += block.bytes.len();
    }
    let image = journal.image();
    for at in 0..mark {
        let what = format!("byte {at}");
        let mut flipped = image.clone();
        flipped[at] ^= 0x04;
        let damage = journal.damage_in(&flipped, &what);
        assert_eq!(damage.segment, journal.path(), "{what}");
        assert!(damage.offset as usize <= at, "{what}: {damage}");
        let hit = starts.iter().find(|(start, b)| (*start..start + b.bytes.len()).contains(&at));
        if let Some((start, block)) = hit {
            assert_eq!(damage.offset as usize, *start, "{what}");
            assert_eq!(damage.fact, Some((block.shard, block.first)), "{what}: {damage}");
        }
    }
}

#[test]
fn every_page_at_or_below_the_mark_that_is_lost_is_refused() {
    let mut journal = Journal::new(256 << 10);
    for _ in 0..100 {
        journal.group(1, 20);
    }
    let (image, end) = (journal.image(), journal.end());
    for page in 0..end / PAGE_BYTES {
        for byte in [0, 0xA5] {
            let mut lost = image.clone();
            lost[page * PAGE_BYTES..(page + 1) * PAGE_BYTES].fill(byte);
            let damage = journal.damage_in(&lost, &format!("page {page} of {byte:#x}"));
            assert!((damage.offset as usize) < (page + 1) * PAGE_BYTES, "{damage}");
        }
    }
}

#[test]
fn one_seal_of_the_next_group_is_enough_to_condemn_damage() {
    let mut journal = Journal::new(16 << 10);
    journal.group(1, 2);
    let first_end = journal.end();
    journal.group(1, 2);
    let second_end = journal.end();
    let mut image = journal.image();
    // The last block of the first group, and the seal before the second.
    image[first_end - SEAL_BYTES - 20..first_end + SEAL_BYTES].fill(0);
    let damage = journal.damage_in(&image, "the seal behind the second group is left");
    assert_eq!(damage.fact.map(|(shard, _)| shard), Some(shard(64)), "{damage}");
    // Then the seal behind it as well, and all of the first group: the blocks' own marks are left.
    image[second_end - SEAL_BYTES..second_end].fill(0);
    image[HEADER_BYTES..first_end].fill(0);
    let damage = journal.damage_in(&image, "only blocks are left");
    assert_eq!(damage.offset as usize, HEADER_BYTES);
}

#[test]
fn a_whole_block_where_it_does_not_belong_is_no_torn_write() {
    let mut journal = Journal::new(16 << 10);
    journal.group(1, 2);
    let (mut image, end) = (journal.image(), journal.end());
    let again = journal.blocks[0].bytes.clone();
    image[end..end + again.len()].copy_from_slice(&again);
    assert_eq!(journal.damage_in(&image, "a block twice").damage, Damage::Chain);
}

#[test]
fn a_closed_journal_refuses_damage_in_its_last_block() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 16 << 10, ..Options::default() };
    let mut log = FileLog::create(dir.path(), JOURNAL, &options).unwrap();
    let block = append(&mut log, 3, 1, 1);
    Box::new(log).close().unwrap();
    let path = path_of(dir.path(), 1);
    let mut image = fs::read(&path).unwrap();
    image[HEADER_BYTES + SEAL_BYTES + block.bytes.len() - 1] ^= 1;
    // The seal behind the group is lost too: only the one written at close is left.
    let behind = HEADER_BYTES + SEAL_BYTES + block.bytes.len();
    image[behind..behind + SEAL_BYTES].fill(0);
    fs::write(&path, &image).unwrap();
    assert!(matches!(
        FileLog::open(dir.path(), &options),
        Err(LogError::Damaged(damage)) if damage.fact == Some((shard(3), block.first))
    ));
    let report = fsck(dir.path(), true).unwrap();
    assert!(!report.cut && report.damage.is_some(), "fsck never cuts damage");
    assert!(report.to_string().contains("shard 3 is unreadable from sequence 1"), "{report}");
    assert_eq!(fs::read(&path).unwrap(), image, "and writes nothing");
}

#[test]
fn fsck_writes_only_when_it_is_told_to_cut() {
    let mut journal = Journal::new(16 << 10);
    journal.group(1, 2);
    let hole = journal.end() + SEAL_BYTES;
    journal.group(1, 2);
    let mut image = journal.image();
    image[hole..hole + 20].fill(0);
    fs::write(journal.path(), &image).unwrap();
    let report = fsck(journal.dir.path(), false).unwrap();
    let torn = report.torn.clone().unwrap();
    assert_eq!((torn.offset as usize, torn.blocks), (hole, 2));
    let written = image.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert_eq!(torn.bytes as usize, written - hole);
    assert!(!report.cut && journal.image() == image, "it must not write");
    assert!(report.to_string().contains("to be cut off"), "{report}");
    assert!(fsck(journal.dir.path(), true).unwrap().cut);
    let report = fsck(journal.dir.path(), false).unwrap();
    assert_eq!((report.torn, report.blocks), (None, 3));
}

#[test]
fn a_missing_segment_and_the_missing_end_of_one_are_refused() {
    let mut journal = Journal::new(16 << 10);
    while journal.writer.number < 4 {
        journal.group(1, 40);
    }
    let dir = journal.dir.path();
    let second = path_of(dir, 2);
    let image = fs::read(&second).unwrap();
    fs::remove_file(&second).unwrap();
    assert!(matches!(scan(dir, |_| ()), Err(LogError::Damaged(d)) if d.damage == Damage::Missing));
    let mut emptied = image.clone();
    emptied[HEADER_BYTES..].fill(0);
    fs::write(&second, emptied).unwrap();
    let Err(LogError::Damaged(damage)) = scan(dir, |_| ()) else {
        panic!("an emptied segment was accepted");
    };
    assert_eq!((&damage.segment, damage.damage), (&second, Damage::Missing));
    assert!(damage.fact.is_some());
    fs::write(&second, image).unwrap();
    assert!(scan(dir, |_| ()).is_ok());
}

#[test]
fn a_failed_sync_stops_the_log_for_good() {
    for fail_write in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 16 << 10, ..Options::default() };
        drop(FileLog::create(dir.path(), JOURNAL, &options).unwrap());
        let disk = Disk::default();
        let lock = lock(dir.path()).unwrap();
        let found = survey(dir.path(), &mut |_| {}).unwrap();
        let opened = FileLog::open_surveyed(dir.path(), &options, disk.clone(), lock, &found);
        let (mut log, _) = opened.unwrap();
        let kept = append(&mut log, 1, 1, 1);
        let fault = if fail_write { &disk.faults.write } else { &disk.faults.sync };
        fault.store(true, Ordering::SeqCst);
        log.submit(block_after(&log, 1, 2, 1));
        assert_eq!(finish(&mut log, 1)[0].outcome, Outcome::Unknown);
        fault.store(false, Ordering::SeqCst);
        let next = sealed(2, Tail::START, 3, BatchNo(1), 1);
        log.submit(next);
        assert_eq!(finish(&mut log, 1)[0].outcome, Outcome::Refused, "a disk that works again");
        assert!(matches!(log.tail(shard(1)), Err(LogError::Stopped)));
        assert_eq!(log.last_batch(), BatchNo(1));
        assert_eq!(read(&log, &SeqVector::default()).unwrap(), slice::from_ref(&kept));
        assert!(matches!(Box::new(log).close(), Err(LogError::Stopped)));
        // The block whose sync failed is whole in the page cache; the one never written is not.
        let (log, found) = FileLog::open(dir.path(), &options).unwrap();
        assert_eq!(found.blocks, if fail_write { 1 } else { 2 });
        assert_eq!(read(&log, &SeqVector::default()).unwrap()[0], kept);
    }
}

#[test]
fn an_idle_log_seals_itself() {
    let dir = tempfile::tempdir().unwrap();
    let idle_before_seal = Duration::from_millis(5);
    let options = Options { segment_bytes: 16 << 10, idle_before_seal };
    let mut log = FileLog::create(dir.path(), JOURNAL, &options).unwrap();
    append(&mut log, 1, 1, 1);
    let (sender, wakes) = channel();
    log.on_completion(Arc::new(move || {
        let _ = sender.send(());
    }));
    while !survey(dir.path(), &mut |_| {}).unwrap().sealed {
        wakes.recv().expect("the log holds the sender");
    }
    let end = survey(dir.path(), &mut |_| {}).unwrap().end;
    drop(log);
    assert_eq!(survey(dir.path(), &mut |_| {}).unwrap().end, end, "one seal is enough");
}

#[test]
fn a_full_segment_takes_no_seal_beyond_its_end() {
    let mut journal = Journal::new(16 << 10);
    let room = block_bytes_max(16 << 10) as usize;
    let mut builder = BlockBuilder::new(shard(1), Seq(1));
    builder.push(&vec![7; room - builder.len_bytes() - 2], 1);
    let block = builder.seal(JOURNAL, BatchNo(1), BatchNo(0), Tail::START.hash);
    assert_eq!(block.bytes.len(), room);
    journal.writer.commit([Job { ticket: Ticket(1), block: Some(block) }].into());
    let path = journal.path();
    let seals: Vec<_> = (0..3)
        .map(|_| {
            journal.writer.seal();
            (journal.end(), fs::metadata(&path).unwrap().len())
        })
        .collect();
    assert_eq!(seals, [(16 << 10, 16 << 10); 3], "room for one, and no byte more");
    assert_eq!(scan(journal.dir.path(), |_| ()).unwrap().blocks, 1);
}
