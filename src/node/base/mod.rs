//! A base: all that the journal before one of its segments came to, in one file, so that those segments can go.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 8 | magic `munabase` |
//! | 8 | 4 | version of this layout |
//! | 12 | 4 | version of the state, which is that of checkpoints |
//! | 16 | 4 | version of the recount |
//! | 20 | 16 | the version of munadi that wrote it, zeroes behind |
//! | 36 | 4 | length of the head |
//! | 40 | 4 | CRC32C of all before |
//! | 44 | | the head (postcard): the journal, where it goes on, the time it covers |
//! | | 4 | CRC32C of the head |
//! | | | the state, as a checkpoint has it |
//! | | | the recount of `munadi audit` at the same place |
//! | end - 48 | 8 | length of the state |
//! | end - 40 | 8 | length of the recount |
//! | end - 32 | 32 | BLAKE3 of all before |
//!
//! Numbers are little-endian. The first 44 bytes stay as they are in every version, so that each can say which
//! one wrote a base. A base is part of the truth: what came before it may be nowhere else.

mod make;
mod preamble;
mod remove;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::journal::file::archive::Archive;
use crate::journal::file::{Boundary, boundaries};
use crate::journal::{BlockHash, LogError, ShardLog, Tail};
use crate::node::base::preamble::{PREAMBLE_BYTES, Preamble};
use crate::node::checkpoint::{Loaded, VERSION};
use crate::node::counts::Counts;
use crate::node::dice::SeededDice;
use crate::node::files::Files;
use crate::node::live::Live;
use crate::node::recover::OpenError;
use crate::state::{BUCKETS, CHUNKS_MAX, State};
use crate::tokens::{KeyRing, Sealer};
use crate::types::ids::{BatchNo, SHARDS, SHARDS_ALL, Seq, SeqVector};
use crate::types::time::Moment;

pub use make::{JOURNAL_KEEP_DAYS_MIN, Making};
pub(in crate::node) use remove::Remover;

/// The version of the layout.
pub const BASE_FORMAT: u32 = 1;

const FOOTER_BYTES: u64 = 48;
const HASH_BYTES: usize = 32;

/// A broken length of the head must not ask for more memory than this.
const HEAD_BYTES_MAX: u32 = 1 << 16;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Why there is no base, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The journal can't be read, or is damaged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The journal holds what this version can't read.
    #[error(transparent)]
    Open(#[from] OpenError),
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
    /// Another version wrote it.
    #[error(
        "{} was written by munadi {writer} ({what}), which munadi {} can't read: use munadi {writer}, or restore a \
         backup that this version took",
        path.display(),
        env!("CARGO_PKG_VERSION")
    )]
    OtherVersion {
        /// The base.
        path: PathBuf,
        /// The version of munadi that wrote it.
        writer: String,
        /// Which version of what it holds.
        what: String,
    },
    /// Its bytes are not those that were written.
    #[error("{} is damaged: {what}; restore a backup", path.display())]
    Damaged {
        /// The base.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The journal does not go on from it.
    #[error("the journal does not go on from {}: {what}; restore a backup", path.display())]
    Apart {
        /// The base.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Segments are gone that no base stands for.
    #[error(
        "the journal begins with segment {segment} behind batch {last_batch}, and no base holds what came before: \
         segments are lost; restore a backup"
    )]
    Lost {
        /// The number of the first segment that is there.
        segment: u64,
        /// The last batch before it.
        last_batch: u64,
    },
    /// Another process makes one in the same folder.
    #[error("{} is in use: another process makes a base there", .0.display())]
    Locked(PathBuf),
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Head {
    journal: [u8; 16],
    /// The number of the segment with which the journal goes on.
    segment: u64,
    last_batch: u64,
    /// The next sequence of each shard and the hash of its last block.
    tails: Vec<(u64, [u8; 16])>,
    /// The journal's time of the first fact that it covers, and of the last.
    first_ms: i64,
    last_ms: i64,
    /// The journal's time of the newest fact that there was when it was made.
    read_to_ms: i64,
    facts: u64,
}

/// A base whose head was read and is sound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Base {
    path: PathBuf,
    preamble: Preamble,
    head: Head,
    state_at: u64,
    state_bytes: u64,
    recount_bytes: u64,
}

impl Base {
    /// Reads the head of a base, and checks that the rest is as long as it says.
    ///
    /// # Errors
    /// When it is damaged, or of another version.
    pub fn open(path: &Path) -> Result<Self, BaseError> {
        let damaged = |what| BaseError::Damaged { path: path.to_owned(), what };
        let short = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("its end is missing"),
            _ => failed("read", path)(error),
        };
        let mut file = File::open(path).map_err(failed("open", path))?;
        let length = file.metadata().map_err(failed("read", path))?.len();
        let mut bytes = [0; PREAMBLE_BYTES];
        file.read_exact(&mut bytes).map_err(short)?;
        let preamble = Preamble::decode(&bytes).ok_or_else(|| damaged("its first bytes"))?;
        let Preamble { format, state, head_bytes, .. } = preamble;
        if (format, state) != (BASE_FORMAT, VERSION) {
            return Err(other_version(
                path,
                &preamble.writer,
                format!("base {format}, state {state}"),
            ));
        }
        if head_bytes > HEAD_BYTES_MAX {
            return Err(damaged("its head"));
        }
        let mut head = vec![0; head_bytes as usize + 4];
        file.read_exact(&mut head).map_err(short)?;
        let (head, checksum) = head.split_at(head_bytes as usize);
        if checksum != crc32c::crc32c(head).to_le_bytes() {
            return Err(damaged("its head"));
        }
        let decoded = postcard::from_bytes(head).ok();
        let head: Head = decoded.ok_or_else(|| damaged("its head"))?;
        if head.tails.len() != SHARDS_ALL {
            return Err(damaged("its head"));
        }
        let state_at = PREAMBLE_BYTES as u64 + u64::from(head_bytes) + 4;
        let rest = length.checked_sub(state_at + FOOTER_BYTES);
        let rest = rest.ok_or_else(|| damaged("its end is missing"))?;
        let mut lengths = [[0; 8]; 2];
        file.seek(SeekFrom::Start(length - FOOTER_BYTES)).map_err(failed("read", path))?;
        lengths.iter_mut().try_for_each(|length| file.read_exact(length)).map_err(short)?;
        let [state_bytes, recount_bytes] = lengths.map(u64::from_le_bytes);
        if state_bytes.checked_add(recount_bytes) != Some(rest) {
            return Err(damaged("its end"));
        }
        Ok(Self { path: path.to_owned(), preamble, head, state_at, state_bytes, recount_bytes })
    }

    /// Checks every byte against the hash at its end.
    ///
    /// # Errors
    /// When one is another.
    pub fn check(&self) -> Result<(), BaseError> {
        let mut file = File::open(&self.path).map_err(failed("open", &self.path))?;
        let (mut hasher, mut chunk) = (blake3::Hasher::new(), vec![0; CHUNK_BYTES]);
        let mut left = self.state_at + self.state_bytes + self.recount_bytes + FOOTER_BYTES;
        left -= HASH_BYTES as u64;
        while left > 0 {
            let part = left.min(CHUNK_BYTES as u64) as usize;
            file.read_exact(&mut chunk[..part]).map_err(failed("read", &self.path))?;
            hasher.update(&chunk[..part]);
            left -= part as u64;
        }
        let mut told = [0; HASH_BYTES];
        file.read_exact(&mut told).map_err(failed("read", &self.path))?;
        if *hasher.finalize().as_bytes() == told {
            Ok(())
        } else {
            Err(self.damaged("its hash is another"))
        }
    }

    /// Checks that a journal goes on from it.
    pub(in crate::node) fn join(&self, boundaries: &[Boundary]) -> Result<(), BaseError> {
        let apart = |what: String| BaseError::Apart { path: self.path.clone(), what };
        let segment = self.head.segment;
        let here = boundaries.iter().find(|boundary| boundary.segment == segment);
        let here =
            here.ok_or_else(|| apart(format!("segment {segment}, the next one, is missing")))?;
        let tails = here.tails.iter().map(|tail| (tail.next.0, tail.hash.0));
        let same = here.journal.0 == self.head.journal
            && here.last_batch.0 == self.head.last_batch
            && tails.eq(self.head.tails.iter().copied());
        if same { Ok(()) } else { Err(apart(format!("segment {segment} is of another history"))) }
    }

    /// Returns a reader of its state, in the form of a checkpoint.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub(in crate::node) fn state(&self) -> io::Result<Box<dyn Read>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.state_at))?;
        Ok(Box::new(BufReader::with_capacity(CHUNK_BYTES, file.take(self.state_bytes))))
    }

    /// Loads its state; the journal's segment behind it must be there.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn load(&self, journal: &Path) -> Result<State, BaseError> {
        self.live(journal).map(into_state)
    }

    fn live(&self, journal: &Path) -> Result<Live, BaseError> {
        let mut input = self.state().map_err(failed("read", &self.path))?;
        load(&self.path, &mut *input, journal, (self.head.segment, &self.next()))
    }

    /// Returns the bytes of its recount.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn recount(&self) -> Result<Vec<u8>, BaseError> {
        let mut bytes = vec![0; self.recount_bytes as usize];
        File::open(&self.path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(self.state_at + self.state_bytes))?;
                file.read_exact(&mut bytes)
            })
            .map_err(failed("read", &self.path))?;
        Ok(bytes)
    }

    /// Returns what says that a part of it is damaged.
    pub fn damaged(&self, what: &'static str) -> BaseError {
        BaseError::Damaged { path: self.path.clone(), what }
    }

    /// Returns what says that its recount is of another version.
    pub fn other_recount(&self) -> BaseError {
        let what = format!("recount {}", self.preamble.recount);
        other_version(&self.path, &self.preamble.writer, what)
    }

    /// Returns where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the version of its recount.
    pub const fn recount_version(&self) -> u32 {
        self.preamble.recount
    }

    /// Returns the number of the segment with which the journal goes on.
    pub const fn segment(&self) -> u64 {
        self.head.segment
    }

    /// Returns the last batch that it covers.
    pub const fn last_batch(&self) -> BatchNo {
        BatchNo(self.head.last_batch)
    }

    /// Returns how many facts it covers, from the journal's first.
    pub const fn facts(&self) -> u64 {
        self.head.facts
    }

    /// Returns the journal's time of the first fact that it covers, and of the last.
    pub const fn span(&self) -> (Moment, Moment) {
        (Moment(self.head.first_ms), Moment(self.head.last_ms))
    }

    /// Returns the journal's time of the newest fact that there was when it was made.
    pub const fn read_to(&self) -> Moment {
        Moment(self.head.read_to_ms)
    }

    /// Returns the first sequence of each shard behind it.
    pub fn next(&self) -> SeqVector {
        let mut next = SeqVector::default();
        next.0.iter_mut().zip(&self.head.tails).for_each(|(next, tail)| *next = Seq(tail.0));
        next
    }
}

/// Returns the newest base of a folder that its journal goes on from; `None`: there is none that can be used, and
/// the journal is there from its first fact.
///
/// # Errors
/// When the journal does not begin with its first fact, and no base holds what came before.
pub fn joined(files: &Files, boundaries: &[Boundary]) -> Result<Option<Base>, BaseError> {
    joined_of(&files.bases(), boundaries)
}

/// Returns the newest of these bases, the oldest of which comes first; see [`joined`].
pub(in crate::node) fn joined_of(
    paths: &[PathBuf],
    boundaries: &[Boundary],
) -> Result<Option<Base>, BaseError> {
    let mut refused = None;
    for path in paths.iter().rev() {
        match Base::open(path).and_then(|base| base.join(boundaries).map(|()| base)) {
            Ok(base) => return Ok(Some(base)),
            Err(error) => {
                tracing::warn!(%error, "base passed over");
                refused = refused.or(Some(error));
            }
        }
    }
    match (boundaries.first(), refused) {
        (Some(first), _) if first.is_start() => Ok(None),
        (_, Some(error)) => Err(error),
        (Some(first), None) => {
            let (segment, last_batch) = (first.segment, first.last_batch.0);
            Err(BaseError::Lost { segment, last_batch })
        }
        (None, None) => Ok(None),
    }
}

/// Returns the base of a folder as [`joined`] does, and the segment from which its journal is read: the one that goes
/// on from the base, else the first.
///
/// # Errors
/// As [`joined`], and when there is no journal.
pub fn beginning_of(files: &Files) -> Result<(Option<Base>, u64), BaseError> {
    let boundaries = boundaries(&files.journal())?;
    let base = joined(files, &boundaries)?;
    let first = boundaries.first().map_or(0, |boundary| boundary.segment);
    let first = base.as_ref().map_or(first, Base::segment);
    Ok((base, first))
}

/// Returns the base of a folder as [`joined`] does, reading the headers of its journal's segments.
///
/// # Errors
/// As [`beginning_of`].
pub fn base_of(files: &Files) -> Result<Option<Base>, BaseError> {
    beginning_of(files).map(|(base, _)| base)
}

/// Checks every byte of every base of a folder, and returns the one that its journal goes on from.
///
/// # Errors
/// As [`base_of`], and when any base is damaged or of another version.
pub fn check_bases(files: &Files) -> Result<Option<Base>, BaseError> {
    files.bases().iter().try_for_each(|path| Base::open(path)?.check())?;
    base_of(files)
}

/// Returns what an opening node may begin with, the best first: checkpoints, then the base's state.
pub(in crate::node) fn beginnings(files: &Files, base: Option<&Base>) -> Vec<Box<dyn Read>> {
    let mut all = files.checkpoints();
    // Without it the log says that its first facts are gone.
    all.extend(base.and_then(|base| base.state().ok()));
    all
}

/// Returns an engine's state without anything in it. It folds facts, and opens no token.
fn nothing() -> Live {
    let ring = KeyRing::generate(&mut |bytes: &mut [u8]| bytes.fill(0), 0);
    Live::new(Sealer::new(ring), Counts::new(|| SeededDice::new(0)))
}

/// Loads a state that is a base's, from which the journal goes on with a segment.
fn load(
    path: &Path,
    input: &mut dyn Read,
    journal: &Path,
    (segment, next): (u64, &SeqVector),
) -> Result<Live, BaseError> {
    let log = Archive::open_within(journal, segment..segment.saturating_add(1))?;
    let live = nothing();
    let Loaded { from, latest } = match live.load_checkpoint(input, &log) {
        Ok(loaded) => loaded,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!(%error, "the state of a base");
            let what = "its state can't be read";
            return Err(BaseError::Damaged { path: path.to_owned(), what });
        }
        Err(error) => return Err(failed("read", path)(error)),
    };
    if from != *next {
        let what = "its state is of another place";
        return Err(BaseError::Damaged { path: path.to_owned(), what });
    }
    live.progress.note_head(log.last_batch(), latest);
    Ok(live)
}

/// Takes the parts out of an engine's state.
fn into_state(live: Live) -> State {
    State {
        buckets: (0..BUCKETS).map(|index| std::mem::take(&mut live.cell_at(index).facts)).collect(),
        shards: (0..SHARDS).map(|index| std::mem::take(&mut *live.shard(index))).collect(),
        purses: chunks((0..CHUNKS_MAX).map(|index| std::mem::take(&mut *live.purses_at(index)))),
        tallies: chunks((0..CHUNKS_MAX).map(|index| std::mem::take(&mut *live.tallies_at(index)))),
        desks: chunks((0..CHUNKS_MAX).map(|index| std::mem::take(&mut *live.desks_at(index)))),
        feeds: std::mem::take(&mut *live.feeds()),
        paces: std::mem::take(&mut *live.paces()),
        shapes: std::mem::take(&mut *live.shapes()),
        catalog: std::mem::take(&mut *live.catalog_mut()),
    }
}

/// Returns chunks up to the last that holds anything.
fn chunks<T: Default + PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let (mut chunks, nothing) = (all.collect::<Vec<_>>(), T::default());
    let held = chunks.iter().rposition(|chunk| *chunk != nothing).map_or(0, |last| last + 1);
    chunks.truncate(held);
    chunks
}

fn other_version(path: &Path, writer: &str, what: String) -> BaseError {
    BaseError::OtherVersion { path: path.to_owned(), writer: writer.to_owned(), what }
}

fn tails_of(head: &[Tail]) -> Vec<(u64, [u8; 16])> {
    head.iter().map(|Tail { next, hash: BlockHash(hash) }| (next.0, *hash)).collect()
}

/// Returns what turns an `io::Error` on `path` into ours.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BaseError {
    let path = path.to_owned();
    move |source| BaseError::Io { action, path, source }
}
