//! A node's folder, opened as a restart does, part by part.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use munadi::journal::file::{FileLog, Options};
use munadi::node::Files;

use crate::Failure;

/// Bytes that are read at once where nothing is looked at.
const CHUNK_BYTES: usize = 1 << 20;

/// What an opening took.
pub(crate) struct Opening {
    /// Until the journal's segments were walked.
    pub(crate) journal_s: f64,
    pub(crate) journal_bytes: u64,
    /// From there on: the checkpoint, the tail, and what serving needs.
    pub(crate) state_s: f64,
    pub(crate) replayed: u64,
}

/// Opens a folder and lets it go again; nothing in it changes.
pub(crate) fn open(dir: &Path) -> Result<Opening, Failure> {
    let files = Files::new(dir);
    let journal_bytes = bytes_under(&files.journal())?;
    let begin = Instant::now();
    let (log, _) = FileLog::open(&files.journal(), &Options::default())?;
    let journal_s = begin.elapsed().as_secs_f64();
    let ring = files.ring()?.ok_or("a folder without its key ring")?;
    let begin = Instant::now();
    let (_front, _writer, opened) =
        munadi::node::open(Box::new(log), ring, 1, files.checkpoints())?;
    let state_s = begin.elapsed().as_secs_f64();
    Ok(Opening { journal_s, journal_bytes, state_s, replayed: opened.replayed })
}

/// What reading took.
pub(crate) struct Reading {
    pub(crate) bytes: u64,
    seconds: f64,
}

impl Reading {
    pub(crate) fn per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds
    }
}

/// Reads the newest checkpoint's file without a look at it.
pub(crate) fn read_checkpoint(dir: &Path) -> Result<Reading, Failure> {
    let path = checkpoints(dir)?.pop().ok_or("no checkpoint")?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let begin = Instant::now();
    let (mut file, mut bytes) = (File::open(path)?, 0);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => bytes += std::hint::black_box(&buffer[..read]).len() as u64,
        }
    }
    Ok(Reading { bytes, seconds: begin.elapsed().as_secs_f64() })
}

/// Removes the newest checkpoint: the one before it has a tail then.
pub(crate) fn forget_newest(dir: &Path) -> Result<(), Failure> {
    let newest = checkpoints(dir)?.pop().ok_or("no checkpoint")?;
    Ok(fs::remove_file(newest)?)
}

/// Removes all checkpoints.
pub(crate) fn forget_all(dir: &Path) -> Result<(), Failure> {
    checkpoints(dir)?.iter().try_for_each(fs::remove_file)?;
    Ok(())
}

/// Returns the checkpoints, oldest first.
fn checkpoints(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    let is_one = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("checkpoint-"))
    };
    paths.retain(is_one);
    paths.sort();
    Ok(paths)
}

fn bytes_under(dir: &Path) -> io::Result<u64> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}
