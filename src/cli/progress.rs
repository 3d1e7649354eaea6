//! A bar on a terminal for commands that may take long.

use std::fs;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::node::clock::{Clock, SystemClock};

/// A command that takes longer than this shows how far it is.
const QUIET: Duration = Duration::from_secs(2);

/// Shows on a terminal how many bytes a long command has worked through.
pub(super) struct Progress {
    what: &'static str,
    clock: SystemClock,
    total: u64,
    done: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Returns the progress of a command over so many bytes. The bar may end early.
    pub(super) fn new(what: &'static str, total: u64) -> Self {
        Self { what, clock: SystemClock::default(), total, done: 0, bar: None }
    }

    pub(super) fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        if self.bar.is_none() && self.clock.monotonic() > QUIET {
            // Nothing is drawn when stderr is no terminal.
            let target = ProgressDrawTarget::stderr();
            let bar = ProgressBar::with_draw_target(Some(self.total), target);
            let template = format!("{} {{bar:40}} {{bytes}} of {{total_bytes}}", self.what);
            let style = ProgressStyle::with_template(&template);
            self.bar =
                Some(style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style)));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Returns the bytes of a folder's files.
pub(super) fn bytes_of(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}
