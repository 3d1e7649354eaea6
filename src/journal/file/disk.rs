//! The two calls durability rests on, in one place so that tests can make them fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

/// Writes and syncs segments.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<Faults>,
}

/// Which calls fail from now on.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) write: std::sync::atomic::AtomicBool,
    pub(super) sync: std::sync::atomic::AtomicBool,
}

impl Disk {
    /// Returns what tells how long the disk took. Nothing depends on it but a metric.
    #[allow(clippy::disallowed_methods, reason = "the node's clock is floors above")]
    pub(super) fn began(&self) -> Instant {
        Instant::now()
    }

    pub(super) fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        fail_if(&self.faults.write)?;
        fail::fail_point!("segment-write");
        fail::fail_point!("segment-write-half", |_| -> io::Result<()> {
            file.write_all_at(&bytes[..bytes.len() / 2], at)?;
            std::process::abort()
        });
        file.write_all_at(bytes, at)?;
        fail::fail_point!("segment-written");
        Ok(())
    }

    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        fail_if(&self.faults.sync)?;
        fail::fail_point!("segment-sync");
        fail::fail_point!("segment-sync-error", |_| Err(io::Error::other("injected")));
        file.sync_data()?;
        fail::fail_point!("segment-synced");
        Ok(())
    }
}

#[cfg(test)]
fn fail_if(fault: &std::sync::atomic::AtomicBool) -> io::Result<()> {
    if fault.load(std::sync::atomic::Ordering::SeqCst) {
        return Err(io::Error::other("injected"));
    }
    Ok(())
}
