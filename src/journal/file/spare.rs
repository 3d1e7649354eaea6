//! The thread that writes the next segment's zeroes while the present one fills.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::journal::file::segment::Spare;

/// How long a full disk is left alone before another spare is tried: a log goes on this soon after space
/// is back.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(500);

/// How often whoever waits for a spare looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// Whether a log waits for space on its disk.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The last spare could not be made because the disk is full.
    full: AtomicBool,
    /// The log can't go on without one.
    wanted: AtomicBool,
}

impl Room {
    /// Tells whether nothing can be written until there is space again. Nothing is lost meanwhile.
    pub(super) fn is_out(&self) -> bool {
        self.full.load(Ordering::Acquire) && self.wanted.load(Ordering::Acquire)
    }
}

/// Hands out one spare after the other; keeps one ready.
pub(super) struct Spares {
    /// `None` once stopped.
    ready: Option<Receiver<io::Result<Spare>>>,
    pub(super) room: Arc<Room>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Spares {
    /// Starts zeroing the first spare.
    pub(super) fn start(dir: &Path, segment_bytes: u64) -> io::Result<Self> {
        // Without a buffer: the next spare is begun when the last one is taken.
        let (sender, ready) = sync_channel(0);
        let (stop, room) = (Arc::new(AtomicBool::new(false)), Arc::new(Room::default()));
        let (stopped, dir, known) = (Arc::clone(&stop), PathBuf::from(dir), Arc::clone(&room));
        let thread = Builder::new().name("journal-spare".into()).spawn(move || {
            for nonce in 1.. {
                let go_on = || !stopped.load(Ordering::Relaxed);
                let spare = Spare::create(&dir, nonce, segment_bytes, go_on);
                let full = matches!(&spare, Err(error) if is_full(error));
                if full != known.full.swap(full, Ordering::AcqRel) {
                    tell(&dir, full);
                }
                if full {
                    // What was zeroed of it is space that others wait for.
                    let _ = std::fs::remove_file(Spare::path(&dir, nonce));
                    std::thread::park_timeout(FULL_DISK_PAUSE);
                    if go_on() {
                        continue;
                    }
                }
                let Some(spare) = spare.transpose() else {
                    return;
                };
                let failed = spare.is_err();
                if sender.send(spare).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Self { ready: Some(ready), room, stop, thread: Some(thread) })
    }

    /// Returns a spare, waiting for its zeroes and for space if need be, until it is given up.
    pub(super) fn take(&self, given_up: impl Fn() -> bool) -> io::Result<Spare> {
        let ready = self.ready.as_ref().expect("spares are taken only before the drop");
        self.room.wanted.store(true, Ordering::Release);
        let taken = loop {
            match ready.recv_timeout(LOOK) {
                Ok(taken) => break taken,
                Err(RecvTimeoutError::Timeout) if self.room.is_out() && given_up() => {
                    break Err(io::ErrorKind::StorageFull.into());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    break Err(io::Error::other("no more segments can be made"));
                }
            }
        };
        self.room.wanted.store(false, Ordering::Release);
        taken
    }
}

/// Tells whether a write failed for want of space alone: it is good again once there is some.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn tell(dir: &Path, full: bool) {
    let dir = dir.display();
    if full {
        tracing::error!(%dir, "the disk is full: free some space; the journal goes on by itself then");
    } else {
        tracing::warn!(%dir, "there is space on the disk again");
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The thread may be waiting to hand one over.
        self.ready = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
