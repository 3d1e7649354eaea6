//! Making a base beside a running node: folds sealed segments, and writes what they came to into one file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::journal::file::{Boundary, boundaries, first_block, scan_within};
use crate::journal::{Block, LogError};
use crate::node::base::preamble::Preamble;
use crate::node::base::{
    BASE_FORMAT, Base, BaseError, Head, failed, into_state, joined, load, nothing, tails_of,
};
use crate::node::checkpoint::VERSION;
use crate::node::files::Files;
use crate::node::recover::fold;
use crate::state::State;
use crate::types::ids::{JournalId, Seq, Shard};
use crate::types::time::{DAY_MS, Moment};

/// Fewest days of the journal that stay behind a base: what is asked of the journal itself reaches back so far
/// (DESIGN, section 11).
pub const JOURNAL_KEEP_DAYS_MIN: u32 = 95;

/// A base under way. Dropping it leaves nothing behind.
pub struct Making {
    files: Files,
    journal: PathBuf,
    previous: Option<Base>,
    /// The segment that is folded first.
    first: u64,
    boundary: Boundary,
    newest: Moment,
    part: PathBuf,
    out: Out,
    head: Head,
    state_bytes: u64,
}

/// A file that is hashed while it is written.
struct Out {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Making {
    /// Finds the last place between two sealed segments of a folder's journal before which everything is older than so
    /// many days, counted back from the newest fact by the journal's time. `None`: there is none behind the last base.
    ///
    /// # Errors
    /// When the journal can't be read, or does not go on from the base before; when another process makes one.
    pub fn plan(files: &Files, keep_days: u32) -> Result<Option<Self>, BaseError> {
        let journal = files.journal();
        let all = boundaries(&journal)?;
        let previous = joined(files, &all)?;
        let Some(newest) = newest(&journal, &all)? else { return Ok(None) };
        let before = newest.plus_ms(-(i64::from(keep_days) * DAY_MS));
        let first = previous.as_ref().map_or(all[0].segment, Base::segment);
        let Some(boundary) = last_before(&journal, &all, first, before)? else { return Ok(None) };
        let part = files.base_part();
        let file = BufWriter::new(locked(&part)?);
        let head = Head {
            journal: boundary.journal.0,
            segment: boundary.segment,
            last_batch: boundary.last_batch.0,
            tails: tails_of(&boundary.tails[..]),
            first_ms: 0,
            last_ms: 0,
            read_to_ms: newest.0,
            facts: 0,
        };
        let out = Out { file, hasher: blake3::Hasher::new(), bytes: 0 };
        let files = files.clone();
        let state_bytes = 0;
        Ok(Some(Self {
            files,
            journal,
            previous,
            first,
            boundary,
            newest,
            part,
            out,
            head,
            state_bytes,
        }))
    }

    /// Returns the base that it goes on from.
    pub const fn previous(&self) -> Option<&Base> {
        self.previous.as_ref()
    }

    /// Folds the journal up to the place, writes the state, and returns it as it is read back. Each block is shown
    /// to `visit`.
    ///
    /// # Errors
    /// When the journal can't be read, or the state can't be written or read back.
    pub fn fold(
        &mut self,
        recount_version: u32,
        visit: &mut dyn FnMut(&Block),
    ) -> Result<State, BaseError> {
        let live = match &self.previous {
            Some(base) => base.live(&self.journal)?,
            None => nothing(),
        };
        let span = self.previous.as_ref().map(Base::span);
        let (mut first, mut last) = (span.map(|span| span.0), span.map(|span| span.1));
        let mut refused = None;
        let read = scan_within(&self.journal, self.first..self.boundary.segment, |block| {
            let folded = fold(block, |stamp, kind| {
                live.apply(stamp, kind);
                first.get_or_insert(stamp.at);
                last = last.max(Some(stamp.at));
            });
            refused = refused.take().or(folded.err());
            visit(block);
        })?;
        if let Some(error) = refused {
            return Err(error.into());
        }
        if (&read.next, read.last_batch) != (&self.boundary.next(), self.boundary.last_batch) {
            let what = "its segments end elsewhere".to_owned();
            return Err(BaseError::Apart { path: self.journal.clone(), what });
        }
        for (shard, next) in Shard::all().zip(read.next.0) {
            live.progress.note_applied(shard, Seq(next.0 - 1));
        }
        let (first, last) = (first.unwrap_or(Moment(0)), last.unwrap_or(Moment(0)));
        live.progress.note_head(read.last_batch, last);
        (self.head.first_ms, self.head.last_ms) = (first.0, last.0);
        self.head.facts = self.previous.as_ref().map_or(0, Base::facts) + read.facts;
        self.write_head(recount_version).map_err(failed("write", &self.part))?;
        let state_at = self.out.bytes;
        let journal = JournalId(self.head.journal);
        let written = live.write_checkpoint(journal, &mut self.out);
        written.and_then(|_| self.out.flush()).map_err(failed("write", &self.part))?;
        drop(live);
        self.state_bytes = self.out.bytes - state_at;
        self.read_back(state_at)
    }

    fn write_head(&mut self, recount: u32) -> io::Result<()> {
        let head = postcard::to_allocvec(&self.head).map_err(io::Error::other)?;
        let preamble = Preamble {
            format: BASE_FORMAT,
            state: VERSION,
            recount,
            writer: env!("CARGO_PKG_VERSION").to_owned(),
            head_bytes: head.len() as u32,
        };
        self.out.write_all(&preamble.encode())?;
        self.out.write_all(&head)?;
        self.out.write_all(&crc32c::crc32c(&head).to_le_bytes())
    }

    fn read_back(&self, state_at: u64) -> Result<State, BaseError> {
        let open = || {
            let mut file = File::open(&self.part)?;
            file.seek(SeekFrom::Start(state_at))?;
            Ok(BufReader::new(file.take(self.state_bytes)))
        };
        let mut input = open().map_err(failed("read", &self.part))?;
        let place = (self.boundary.segment, &self.boundary.next());
        load(&self.part, &mut input, &self.journal, place).map(into_state)
    }

    /// Returns the journal's time of the last fact that it covers.
    pub const fn last(&self) -> Moment {
        Moment(self.head.last_ms)
    }

    /// Adds the recount, and gives the base its name once every byte of it is on the disk and was read back.
    ///
    /// # Errors
    /// When it can't be written, or is read back as something else.
    pub fn finish(mut self, recount: &[u8]) -> Result<Base, BaseError> {
        let (state_bytes, recount_bytes) = (self.state_bytes, recount.len() as u64);
        let out = &mut self.out;
        let mut write = || {
            out.write_all(recount)?;
            out.write_all(&state_bytes.to_le_bytes())?;
            out.write_all(&recount_bytes.to_le_bytes())?;
            let hash = out.hasher.finalize();
            out.write_all(hash.as_bytes())?;
            out.flush()?;
            out.file.get_ref().sync_all()
        };
        write().map_err(failed("write", &self.part))?;
        Base::open(&self.part)?.check()?;
        let path = self.files.base_path(self.head.last_batch);
        fs::rename(&self.part, &path).map_err(failed("rename", &self.part))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|dir| dir.sync_all()).map_err(failed("sync", folder))?;
        tracing::info!(base = %path.display(), newest = self.newest.0, "base made");
        Base::open(&path)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // Once it has its name there is nothing left of the other.
        let _ = fs::remove_file(&self.part);
    }
}

/// Opens the file that a base is written into, for this user and process alone.
fn locked(part: &Path) -> Result<File, BaseError> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(part).map_err(failed("open", part))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(BaseError::Locked(part.to_owned())),
        Err(TryLockError::Error(error)) => return Err(failed("lock", part)(error)),
    }
    file.set_len(0).map_err(failed("write", part))?;
    Ok(file)
}

/// Returns the journal's time of its newest fact; `None`: it has none.
fn newest(journal: &Path, all: &[Boundary]) -> Result<Option<Moment>, BaseError> {
    for boundary in all.iter().rev() {
        let mut latest = None;
        let here = boundary.segment;
        let mut refused = None;
        let read = scan_within(journal, here..here.saturating_add(1), |block| {
            let folded = fold(block, |stamp, _| latest = latest.max(Some(stamp.at)));
            refused = refused.take().or(folded.err());
        });
        match read {
            Ok(_) => {}
            // The group that a node is writing may look damaged; what stands before it does not change.
            Err(LogError::Damaged(_)) if Some(boundary) == all.last() => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(error) = refused {
            return Err(error.into());
        }
        if latest.is_some() {
            return Ok(latest);
        }
    }
    Ok(None)
}

/// Returns the last boundary behind segment `from` before which all is older than a moment: the first fact behind it
/// is.
fn last_before(
    journal: &Path,
    all: &[Boundary],
    from: u64,
    before: Moment,
) -> Result<Option<Boundary>, BaseError> {
    let behind = &all[all.partition_point(|boundary| boundary.segment <= from)..];
    // The journal's time never goes back, so the old ones stand before the others.
    let (mut old, mut end) = (0, behind.len());
    while old < end {
        let middle = usize::midpoint(old, end);
        let mut first = None;
        if let Some(block) = first_block(journal, behind[middle].segment)? {
            fold(&block, |stamp, _| first = first.or(Some(stamp.at)))?;
        }
        if first.is_some_and(|first| first < before) {
            old = middle + 1;
        } else {
            end = middle;
        }
    }
    Ok(behind[..old].last().cloned())
}
