//! Removing the oldest segments, from whichever thread: the writer never waits for a file to go.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use crate::journal::file::all_at_or_below;
use crate::journal::file::boundary::Boundary;
use crate::journal::file::segment::{self, failed};
use crate::journal::file::writer::Shared;
use crate::journal::{LogError, nexts};
use crate::types::ids::SeqVector;

/// Removes the oldest segments of an open log. One at a time: it must not be shared between threads.
pub struct Trimmer {
    pub(super) dir: PathBuf,
    pub(super) shared: Arc<Shared>,
}

impl Trimmer {
    /// Returns where each segment of the log begins, oldest first.
    pub fn boundaries(&self) -> Vec<Boundary> {
        self.shared.state().segments.iter().map(|header| Boundary::of(header)).collect()
    }

    /// Removes the oldest segments as far as all of each lies below `below[shard]`, never the one that is
    /// written. Returns the bytes that became free.
    ///
    /// # Errors
    /// When a file can't be removed; those before it are gone then.
    pub fn trim(&self, below: &SeqVector) -> Result<u64, LogError> {
        let mut bytes = 0;
        loop {
            let oldest = {
                let state = self.shared.state();
                match state.segments.as_slice() {
                    [oldest, next, ..] if all_at_or_below(&nexts(&next.tails), below) => {
                        (oldest.number, oldest.bytes)
                    }
                    _ => break,
                }
            };
            // Oldest first, one durable step at a time: a crash leaves a shorter journal, no hole.
            let path = segment::path_of(&self.dir, oldest.0);
            fs::remove_file(&path).map_err(failed("remove", &path))?;
            segment::sync_dir(&self.dir).map_err(failed("sync", &self.dir))?;
            self.shared.state().segments.remove(0);
            bytes += oldest.1;
        }
        Ok(bytes)
    }
}
