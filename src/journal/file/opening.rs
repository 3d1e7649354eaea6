//! Getting a directory ready to be written: the lock, the torn end, the writer's first state.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::journal::LogError;
use crate::journal::file::disk::Disk;
use crate::journal::file::scan::{self, Survey};
use crate::journal::file::segment::{self, failed};
use crate::journal::file::spare::Spares;
use crate::journal::file::writer::{Shared, State, Writer};
use crate::journal::file::{Options, Scanned, scanned};

/// Cuts off what a cut-short write left at a journal's end, as [`FileLog::open`] would, and tells
/// what was there. Damage is refused and nothing is changed.
///
/// [`FileLog::open`]: crate::journal::file::FileLog::open
pub fn cut(dir: &Path) -> Result<Scanned, LogError> {
    let _lock = lock(dir)?;
    let survey = scan::survey(dir, &mut |_| {})?;
    mend_last(dir, &survey)?;
    Ok(scanned(&survey))
}

/// Locks a directory against every other process.
pub(super) fn lock(dir: &Path) -> Result<File, LogError> {
    let path = dir.join("lock");
    if !dir.is_dir() {
        return Err(LogError::Absent(dir.to_owned()));
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

/// Makes a surveyed directory ready to be appended to and returns what will do it.
pub(super) fn prepare(
    dir: &Path,
    options: &Options,
    disk: Disk,
    survey: &Survey,
) -> Result<Writer, LogError> {
    for spare in segment::list(dir)?.1 {
        fs::remove_file(&spare).map_err(failed("remove", &spare))?;
    }
    let last = survey.last_segment();
    let file = mend_last(dir, survey)?;
    let shared = Shared::new(State {
        queue: VecDeque::new(),
        finished: VecDeque::new(),
        segments: survey.segments.clone(),
        durable_end: survey.end,
        durable: survey.last_batch,
        wake: None,
        stop: None,
        failed: false,
    });
    Ok(Writer {
        dir: dir.to_owned(),
        shared,
        disk,
        spares: Spares::start(dir, options.segment_bytes)
            .map_err(failed("start the spare thread of", dir))?,
        idle: options.idle_before_seal,
        journal: survey.journal,
        file,
        number: last.number,
        // The size of the segment it goes on in; the next ones are made to the options.
        segment_bytes: last.bytes,
        at: survey.end,
        tails: survey.tails.clone(),
        batch: survey.last_batch,
        sealed: survey.sealed,
        buffer: Vec::new(),
    })
}

/// Mends the last segment and makes the directory durable.
fn mend_last(dir: &Path, survey: &Survey) -> Result<File, LogError> {
    let last = survey.last_segment();
    let path = segment::path_of(dir, last.number);
    let file = mend(&path, survey, last.bytes).map_err(failed("mend the end of", &path))?;
    segment::sync_dir(dir).map_err(failed("sync", dir))?;
    Ok(file)
}

/// Makes the last segment what the survey says it is, durably, and returns it.
///
/// What lies between mark and end may be known to the page cache alone, even marked clean by a sync
/// that failed: it is written again. What lies behind the end is zeroed if anything is there.
fn mend(path: &Path, survey: &Survey, segment_bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut unmarked = vec![0; (survey.end - survey.mark) as usize];
    file.read_exact_at(&mut unmarked, survey.mark)?;
    fail::fail_point!("mend-write");
    file.write_all_at(&unmarked, survey.mark)?;
    fail::fail_point!("mend-written");
    if survey.torn.is_some() || survey.file_bytes < segment_bytes {
        segment::zero(&file, survey.end, segment_bytes)?;
    }
    fail::fail_point!("mend-sync");
    file.sync_all()?;
    fail::fail_point!("mend-synced");
    Ok(file)
}
