//! The raw limit of the disk: one write and one sync a batch into pre-zeroed files, nothing else.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::support::Rate;

const SEGMENT_BYTES: u64 = 64 << 20;
const ZEROES_BYTES: usize = 1 << 20;

/// Writes and syncs `batches` batches of `batch_bytes` bytes each. Zeroing the segments is not timed.
pub(crate) fn write_and_sync(dir: &Path, batch_bytes: usize, batches: usize) -> io::Result<Rate> {
    let batch: Vec<u8> = (0..batch_bytes).map(|at| at as u8 | 1).collect();
    let in_segment = (SEGMENT_BYTES as usize / batch_bytes).max(1);
    let segments: Vec<File> = (0..batches.div_ceil(in_segment))
        .map(|number| zeroed(&dir.join(format!("raw-{number}")), batch_bytes as u64))
        .collect::<io::Result<_>>()?;
    let mut each = Vec::with_capacity(batches);
    let begun = Instant::now();
    for number in 0..batches {
        let file = &segments[number / in_segment];
        file.write_all_at(&batch, (number % in_segment * batch_bytes) as u64)?;
        let written = Instant::now();
        file.sync_data()?;
        each.push(written.elapsed());
    }
    Ok(Rate::of(begun.elapsed(), each))
}

fn zeroed(path: &Path, batch_bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let zeroes = vec![0; ZEROES_BYTES];
    let mut at = 0;
    while at < SEGMENT_BYTES.max(batch_bytes) {
        file.write_all_at(&zeroes, at)?;
        at += zeroes.len() as u64;
    }
    file.sync_all()?;
    Ok(file)
}
