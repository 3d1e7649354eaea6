//! A node's folder, opened as a restart does, part by part.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use munadi::journal::file::{FileLog, Options};
use munadi::node::Files;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::support::recover::layout;

/// What names the folder that a process is to open.
pub(crate) const OPEN: &str = "--open";

/// Bytes that are read at once where nothing is looked at.
const CHUNK_BYTES: usize = 1 << 20;

/// What an opening took.
#[derive(Deserialize, Serialize)]
pub(crate) struct Opening {
    /// Until the journal's last segments were walked through.
    pub(crate) journal_s: f64,
    pub(crate) journal_bytes: u64,
    /// From there on: the checkpoint, the tail, and what serving needs.
    pub(crate) state_s: f64,
    pub(crate) replayed: u64,
    /// What the process weighs then.
    pub(crate) resident_bytes: u64,
}

/// Opens a folder in a process of its own, as a restart does, and lets it go again; nothing in it changes.
pub(crate) fn open(dir: &Path) -> Result<Opening, Failure> {
    let mut restart = Command::new(std::env::current_exe()?);
    // As `ops/munadi.service` and the Dockerfile have it.
    restart.arg(OPEN).arg(dir).env("MIMALLOC_ALLOW_LARGE_OS_PAGES", "1");
    let told = restart.stderr(Stdio::inherit()).output()?;
    if !told.status.success() {
        return Err(format!("the folder was not opened: {}", told.status).into());
    }
    Ok(serde_json::from_slice(&told.stdout)?)
}

/// Opens a folder here, and tells what it took.
pub(crate) fn open_here(dir: &Path) -> Result<Opening, Failure> {
    let files = Files::new(dir);
    let journal_bytes = bytes_under(&files.journal())?;
    let begin = Instant::now();
    let (log, _) = FileLog::open_end(&files.journal(), &Options::default())?;
    let journal_s = begin.elapsed().as_secs_f64();
    let ring = files.ring()?.ok_or("a folder without its key ring")?;
    let begin = Instant::now();
    let (_front, _writer, opened) =
        munadi::node::open(Box::new(log), ring, 1, files.checkpoints())?;
    let state_s = begin.elapsed().as_secs_f64();
    let (replayed, resident_bytes) = (opened.replayed, layout::resident_bytes()?);
    Ok(Opening { journal_s, journal_bytes, state_s, replayed, resident_bytes })
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
