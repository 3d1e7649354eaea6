//! Fuzzy checkpoints: part by part while the engine runs, each with what it has applied, so nothing
//! pauses. A restart loads one and replays the journal's tail over it.
//!
//! A checkpoint can be thrown away at any time; the journal is the truth. Its format has a version and no
//! other promise.

use std::io::{self, Read, Write};
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::journal::{LogError, ShardLog};
use crate::node::live::{Cell, Live};
use crate::node::load::{self, RECORD_HEAD_BYTES, checksum_of, invalid};
use crate::state::bucket::Bucket;
use crate::state::catalog::Catalog;
use crate::state::desks::DeskChunk;
use crate::state::{Applied, BUCKETS, CHUNKS_MAX};
use crate::types::ids::{BatchNo, JournalId, SHARDS, SHARDS_ALL, Seq, SeqVector, Shard};
use crate::types::time::Moment;

const MAGIC: [u8; 8] = *b"munadick";
pub(in crate::node) const VERSION: u32 = 10;

/// How far the writer is, for those who must wait for it.
#[derive(Debug)]
pub(in crate::node) struct Progress {
    /// Of each shard, the last fact that all parts have applied.
    applied: [AtomicU64; SHARDS_ALL],
    head: AtomicU64,
    durable: AtomicU64,
    latest_ms: std::sync::atomic::AtomicI64,
    /// Nothing more will be durable.
    stopped: AtomicBool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            applied: std::array::from_fn(|_| AtomicU64::new(0)),
            head: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            latest_ms: std::sync::atomic::AtomicI64::new(0),
            stopped: AtomicBool::new(false),
        }
    }
}

impl Progress {
    /// Notes, before its first fact is applied, that a batch was begun.
    pub(in crate::node) fn note_head(&self, batch: BatchNo, now: Moment) {
        self.head.store(batch.0, Release);
        self.latest_ms.store(now.0, Release);
    }

    pub(in crate::node) fn note_applied(&self, shard: Shard, seq: Seq) {
        self.applied[shard.index()].store(seq.0, Release);
    }

    pub(in crate::node) fn note_durable(&self, batch: BatchNo) {
        self.durable.store(batch.0, Release);
    }

    pub(in crate::node) fn durable(&self) -> BatchNo {
        BatchNo(self.durable.load(Acquire))
    }

    pub(in crate::node) fn note_stopped(&self) {
        self.stopped.store(true, Release);
    }

    pub(in crate::node) fn is_stopped(&self) -> bool {
        self.stopped.load(Acquire)
    }

    /// Returns how many batches were begun and are not durable yet.
    pub(in crate::node) fn behind(&self) -> u64 {
        self.head().0.saturating_sub(self.durable().0)
    }

    fn head(&self) -> BatchNo {
        BatchNo(self.head.load(Acquire))
    }

    fn applied(&self) -> Vec<u64> {
        self.applied.iter().map(|applied| applied.load(Acquire)).collect()
    }
}

/// Which part a record holds. Numbers are in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Part {
    Bucket = 1,
    Shard = 2,
    Purses = 3,
    Tallies = 4,
    Feeds = 5,
    Catalog = 6,
    End = 7,
    CatalogRows = 8,
    Paces = 9,
    Shapes = 10,
    Desks = 11,
}

/// Parts whose records build on one another: the catalog's rows come to its head, each kind's to those above it.
const ORDERED: [u8; 2] = [Part::Catalog as u8, Part::CatalogRows as u8];

#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    journal: [u8; 16],
    /// Every part has applied all facts up to here.
    start: Vec<u64>,
    latest_ms: i64,
    records: u64,
}

/// Where to go on after a checkpoint was loaded.
#[derive(Debug)]
pub(in crate::node) struct Loaded {
    /// The first facts to replay.
    pub(in crate::node) from: SeqVector,
    /// The journal's time when it was begun.
    pub(in crate::node) latest: Moment,
}

struct Recorder<'a> {
    out: &'a mut dyn Write,
    records: u64,
}

impl Recorder<'_> {
    fn record<T: Serialize>(&mut self, part: Part, index: usize, value: &T) -> io::Result<()> {
        let bytes = postcard::to_allocvec(value).map_err(io::Error::other)?;
        let mut head = [0; RECORD_HEAD_BYTES];
        head[0] = part as u8;
        head[1..5].copy_from_slice(&(index as u32).to_le_bytes());
        head[5..9].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        let checksum = checksum_of(&head, &bytes);
        head[9..].copy_from_slice(&checksum.to_le_bytes());
        self.out.write_all(&head)?;
        self.out.write_all(&bytes)?;
        self.records += 1;
        Ok(())
    }
}

impl Live {
    /// Writes every part that holds anything, one lock at a time. The result counts only once the
    /// journal is durable up to the returned batch: what was copied may be ahead of the disk.
    ///
    /// # Errors
    /// When writing fails.
    pub(in crate::node) fn write_checkpoint(
        &self,
        journal: JournalId,
        out: &mut dyn Write,
    ) -> io::Result<BatchNo> {
        let start = self.progress.applied();
        let latest_ms = self.progress.latest_ms.load(Acquire);
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        let mut recorder = Recorder { out, records: 0 };
        for bucket in 0..BUCKETS {
            let copy = {
                let cell = self.cell_at(bucket);
                (cell.facts != Bucket::default()).then(|| cell.facts.clone())
            };
            if let Some(copy) = copy {
                recorder.record(Part::Bucket, bucket, &copy)?;
            }
        }
        for shard in 0..SHARDS {
            let copy = self.shard(shard).clone();
            recorder.record(Part::Shard, shard, &copy)?;
        }
        for chunk in 0..CHUNKS_MAX {
            let copy = self.purses_at(chunk).clone();
            if !copy.purses.is_empty() {
                recorder.record(Part::Purses, chunk, &copy)?;
            }
            let copy = self.tallies_at(chunk).clone();
            if !copy.ads.is_empty() {
                recorder.record(Part::Tallies, chunk, &copy)?;
            }
            let copy = self.desks_at(chunk).clone();
            // Invalid taps are counted nowhere, but were applied.
            if copy != DeskChunk::default() {
                recorder.record(Part::Desks, chunk, &copy)?;
            }
        }
        let copy = self.feeds().clone();
        recorder.record(Part::Feeds, 0, &copy)?;
        let copy = self.paces().clone();
        recorder.record(Part::Paces, 0, &copy)?;
        let copy = self.shapes().clone();
        recorder.record(Part::Shapes, 0, &copy)?;
        let copy = self.catalog().saved();
        recorder.record(Part::Catalog, 0, &copy.head)?;
        for (index, page) in copy.pages() {
            recorder.record(Part::CatalogRows, index, &page)?;
        }
        // Read after the last copy: everything copied is of this batch or an earlier one.
        let head = self.progress.head();
        let records = recorder.records;
        let manifest = Manifest { journal: journal.0, start, latest_ms, records };
        recorder.record(Part::End, 0, &manifest)?;
        Ok(head)
    }

    /// Loads a checkpoint into an empty state, on all cores.
    ///
    /// # Errors
    /// `InvalidData` when it is damaged, of another journal, or ahead of what the log holds: the log's
    /// end was lost then, and only the log counts. The state is unusable after an error.
    pub(in crate::node) fn load_checkpoint(
        &self,
        input: &mut dyn Read,
        log: &dyn ShardLog,
    ) -> io::Result<Loaded> {
        self.load_by(load::Plan::new(Part::End as u8, &ORDERED), input, log)
    }

    fn load_by(
        &self,
        plan: load::Plan,
        input: &mut dyn Read,
        log: &dyn ShardLog,
    ) -> io::Result<Loaded> {
        let mut head = [0; 12];
        input.read_exact(&mut head)?;
        if head[..8] != MAGIC || head[8..] != VERSION.to_le_bytes() {
            return Err(invalid("not a checkpoint of this version"));
        }
        let ends = ends_of(log).map_err(|error| io::Error::other(error.to_string()))?;
        let store =
            |part: u8, index: usize, bytes: &[u8]| self.load_part(part, index, bytes, &ends);
        let end = load::load(input, plan, &store)?;
        let manifest: Manifest = decoded(&end.bytes)?;
        if manifest.journal != log.journal_id().0 {
            return Err(invalid("of another journal"));
        }
        if manifest.records != end.records || manifest.start.len() != SHARDS_ALL {
            return Err(invalid("parts are missing"));
        }
        let mut from = SeqVector::default();
        for (seq, applied) in from.0.iter_mut().zip(&manifest.start) {
            *seq = Seq(applied + 1);
        }
        Ok(Loaded { from, latest: Moment(manifest.latest_ms) })
    }

    fn load_part(&self, part: u8, index: usize, bytes: &[u8], ends: &[Seq]) -> io::Result<()> {
        let within = |shard: Shard, applied: Seq| applied <= ends[shard.index()];
        let all_within =
            |applied: &Applied| Shard::all().all(|shard| within(shard, applied.of(shard)));
        let of_bucket = Shard::new((index * SHARDS / BUCKETS) as u8);
        let of_shard = Shard::new(index as u8);
        let fits = match part {
            1 if index < BUCKETS => {
                let facts: Bucket = decoded(bytes)?;
                let fits = of_bucket.is_some_and(|shard| within(shard, facts.applied()));
                *self.cell_at(index) = Cell { facts, ..Cell::default() };
                fits
            }
            2 if index < SHARDS => {
                let mut shard = self.shard(index);
                *shard = decoded(bytes)?;
                of_shard.is_some_and(|of| within(of, shard.applied()))
            }
            3 if index < CHUNKS_MAX => {
                let mut purses = self.purses_at(index);
                *purses = decoded(bytes)?;
                all_within(purses.applied())
            }
            4 if index < CHUNKS_MAX => {
                let mut tallies = self.tallies_at(index);
                *tallies = decoded(bytes)?;
                all_within(tallies.applied())
            }
            5 => {
                let mut feeds = self.feeds();
                *feeds = decoded(bytes)?;
                all_within(feeds.applied())
            }
            6 => {
                let catalog = Catalog::of_head(decoded(bytes)?);
                let fits = within(Shard::CATALOG, catalog.applied());
                *self.catalog_mut() = catalog;
                fits
            }
            9 => {
                let mut paces = self.paces();
                *paces = decoded(bytes)?;
                all_within(paces.applied())
            }
            10 => {
                let mut shapes = self.shapes();
                *shapes = decoded(bytes)?;
                all_within(shapes.applied())
            }
            11 if index < CHUNKS_MAX => {
                let mut desks = self.desks_at(index);
                *desks = decoded(bytes)?;
                all_within(desks.applied())
            }
            8 => {
                let loaded = self.catalog_mut().load_page(index, bytes);
                loaded.ok_or_else(|| invalid("a part can't be decoded"))?;
                true
            }
            _ => return Err(invalid("an unknown part")),
        };
        if fits { Ok(()) } else { Err(invalid("ahead of the journal, whose end was lost")) }
    }
}

/// Returns the last fact of each shard.
fn ends_of(log: &dyn ShardLog) -> Result<Vec<Seq>, LogError> {
    Shard::all().map(|shard| log.tail(shard).map(|tail| Seq(tail.next.0 - 1))).collect()
}

fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|_| invalid("a part can't be decoded"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::journal::memory::MemoryLog;
    use crate::node::front::Front;
    use crate::node::lives::{checkpoint_of, empty, log_of, one_by_one};
    use crate::node::replay;

    fn plan(threads: usize, batch_bytes: usize) -> load::Plan {
        load::Plan { threads, batch_bytes, end: Part::End as u8, ordered: &ORDERED }
    }

    /// Loads a checkpoint by one thread and by several, which say the same; returns the state of the several.
    fn loads(bytes: &[u8], log: &MemoryLog) -> Result<(Live, Loaded), String> {
        let by = |threads, batch_bytes| {
            let live = empty();
            let loaded = live.load_by(plan(threads, batch_bytes), &mut &bytes[..], log);
            loaded.map(|loaded| (live, loaded)).map_err(|error| error.to_string())
        };
        let (one, many) = (by(1, usize::MAX), by(4, 500));
        match (&one, &many) {
            (Ok((one, _)), Ok((many, _))) => {
                assert!(checkpoint_of(one) == checkpoint_of(many), "they load another state");
            }
            _ => assert_eq!(one.as_ref().err(), many.as_ref().err()),
        }
        many
    }

    /// Cuts a checkpoint behind its head and its records.
    fn records_of(bytes: &[u8]) -> Vec<&[u8]> {
        let (head, mut rest) = bytes.split_at(12);
        let mut records = vec![head];
        while let Some(length) = rest.get(5..9).and_then(|it| it.first_chunk()) {
            let end = RECORD_HEAD_BYTES + u32::from_le_bytes(*length) as usize;
            let (record, behind) = rest.split_at(end);
            records.push(record);
            rest = behind;
        }
        records
    }

    #[test]
    fn a_checkpoint_and_its_tail_by_many_threads_are_what_the_whole_journal_is() {
        let (log, early) = (log_of(8, 2_000), log_of(8, 900));
        let bytes = checkpoint_of(&one_by_one(&early).0);
        let (live, loaded) = loads(&bytes, &log).unwrap();
        assert!(loaded.from.0.iter().any(|next| *next > Seq(1)));
        let plan = replay::Plan { threads: 3, batch_facts: 50 };
        let replayed = replay::replay(&live, &log, &loaded.from, plan).unwrap();
        assert!(replayed.facts >= 1_000 && replayed.facts < 1_200, "{replayed:?}");
        let state = one_by_one(&log).1;
        assert_eq!(Front::new(Arc::new(live)).difference(&state), None);
    }

    #[test]
    fn what_is_missing_damaged_ahead_or_of_another_is_found_by_any_number_of_threads() {
        let log = log_of(9, 600);
        let bytes = checkpoint_of(&one_by_one(&log).0);
        assert!(loads(&bytes, &log).is_ok());
        let records = records_of(&bytes);
        let told = |records: &[&[u8]], log: &MemoryLog| loads(&records.concat(), log).err();
        let error = |what: &str| Some(what.to_owned());
        for at in [1, records.len() / 2, records.len() - 2] {
            let missing = [&records[..at], &records[at + 1..]].concat();
            assert_eq!(told(&missing, &log), error("parts are missing"), "record {at}");
            let mut damaged = records[at].to_vec();
            let byte = RECORD_HEAD_BYTES + (damaged.len() - RECORD_HEAD_BYTES) / 2;
            damaged[byte] ^= 1;
            let damaged = [&records[..at], &[&damaged[..]], &records[at + 1..]].concat();
            assert_eq!(told(&damaged, &log), error("a checksum does not fit"), "record {at}");
        }
        let short = log_of(9, 300);
        assert_eq!(told(&records, &short), error("ahead of the journal, whose end was lost"));
        let unknown = [&bytes[..8], &[0; 4], &bytes[12..]].concat();
        assert_eq!(loads(&unknown, &log).err(), error("not a checkpoint of this version"));
        let other = MemoryLog::new(JournalId([8; 16]));
        let empty = checkpoint_of(&empty());
        assert_eq!(loads(&empty, &other).err(), error("of another journal"));
        let cut = loads(&bytes[..bytes.len() - 1], &log).err();
        assert_eq!(cut, error("failed to fill whole buffer"));
    }
}
