//! The thread that writes the next segment's zeroes while the present one fills.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::journal::file::segment::Spare;

/// Hands out one spare after the other; keeps one ready.
pub(super) struct Spares {
    /// `None` once stopped.
    ready: Option<Receiver<io::Result<Spare>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Spares {
    /// Starts zeroing the first spare.
    pub(super) fn start(dir: &Path, segment_bytes: u64) -> io::Result<Self> {
        // Without a buffer: the next spare is begun when the last one is taken.
        let (sender, ready) = sync_channel(0);
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, dir) = (Arc::clone(&stop), PathBuf::from(dir));
        let thread = Builder::new().name("journal-spare".into()).spawn(move || {
            for nonce in 1.. {
                let go_on = || !stopped.load(Ordering::Relaxed);
                let spare = Spare::create(&dir, nonce, segment_bytes, go_on);
                let Some(spare) = spare.transpose() else {
                    return;
                };
                let failed = spare.is_err();
                if sender.send(spare).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Self { ready: Some(ready), stop, thread: Some(thread) })
    }

    /// Returns a spare, waiting for its zeroes if need be.
    pub(super) fn take(&self) -> io::Result<Spare> {
        let ready = self.ready.as_ref().expect("spares are taken only before the drop");
        ready.recv().unwrap_or_else(|_| Err(io::Error::other("no more segments can be made")))
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The thread may be waiting to hand one over.
        self.ready = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
