//! Hashing and copying files: a copy gets its name only when it is whole and on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::node::backup::{BackupError, failed};

/// Bytes that are read and written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Told how many bytes more were worked through.
pub(super) type Told<'a> = &'a mut dyn FnMut(u64);

/// Reads the first `bytes` of a file, no fewer, in chunks.
fn read(
    file: &mut impl Read,
    bytes: u64,
    told: Told<'_>,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(CHUNK_BYTES as u64) as usize;
        file.read_exact(&mut chunk[..part])?;
        take(&chunk[..part])?;
        left -= part as u64;
        told(part as u64);
    }
    Ok(())
}

/// Returns the hash of a file's first `bytes`, in hexadecimal.
pub(super) fn hash(path: &Path, bytes: u64, told: Told<'_>) -> Result<String, BackupError> {
    let mut hasher = blake3::Hasher::new();
    File::open(path)
        .and_then(|mut file| {
            read(&mut file, bytes, told, |chunk| {
                hasher.update(chunk);
                Ok(())
            })
        })
        .map_err(failed("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Copies the first `bytes` of an open file to `to`, readable for this user alone, and returns their hash.
pub(super) fn copy(
    file: &mut impl Read,
    bytes: u64,
    to: &Path,
    told: Told<'_>,
) -> Result<String, BackupError> {
    let part = to.with_added_extension("part");
    let mut hasher = blake3::Hasher::new();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&part)
        .and_then(|mut out| {
            read(file, bytes, told, |chunk| {
                hasher.update(chunk);
                out.write_all(chunk)
            })?;
            fail_point_of_copy()?;
            out.sync_all()
        })
        .and_then(|()| fs::rename(&part, to))
        .map_err(failed("copy to", to))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Where tests stop a copy that is written but not synced.
fn fail_point_of_copy() -> io::Result<()> {
    fail::fail_point!("backup-copy", |_| Err(io::Error::other("injected")));
    Ok(())
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), BackupError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}
