//! Removing what lies before a base: sealed segments first, the oldest of them first, then older bases.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Mutex;

use crate::journal::file::Trimmer;
use crate::node::base::{BaseError, failed, joined};
use crate::node::files::Files;
use crate::node::live::locked;

/// Removes the segments of a running node's journal that its newest base stands for.
pub(in crate::node) struct Remover {
    files: Files,
    trimmer: Trimmer,
    /// The base whose every byte was checked, so that a large one is read once.
    checked: Mutex<Option<PathBuf>>,
}

impl Remover {
    pub(in crate::node) fn new(files: Files, trimmer: Trimmer) -> Self {
        Self { files, trimmer, checked: Mutex::default() }
    }

    /// Removes what can go. An error leaves the rest where it is.
    pub(in crate::node) fn run(&self) {
        match self.remove() {
            Ok(0) => {}
            Ok(bytes) => tracing::info!(bytes, "segments before the base were removed"),
            Err(error) => tracing::warn!(%error, "segments before the base were not removed"),
        }
    }

    fn remove(&self) -> Result<u64, BaseError> {
        let Some(base) = joined(&self.files, &self.trimmer.boundaries())? else { return Ok(0) };
        let mut checked = locked(&self.checked);
        if checked.as_deref() != Some(base.path()) {
            base.check()?;
            *checked = Some(base.path().to_owned());
        }
        let bytes = self.trimmer.trim(&base.next())?;
        let first = self.trimmer.boundaries().first().map(|boundary| boundary.segment);
        if first != Some(base.segment()) {
            return Ok(bytes);
        }
        // Nothing goes on from them any more.
        for path in self.files.bases().iter().take_while(|path| *path < base.path()) {
            fs::remove_file(path).map_err(failed("remove", path))?;
        }
        let folder = self.files.folder();
        File::open(folder).and_then(|dir| dir.sync_all()).map_err(failed("sync", folder))?;
        Ok(bytes)
    }
}
