//! A segment file: its name, its header, the seals between its blocks, and how its zeroes get there.
//!
//! Layouts, fixed for ever (little-endian), after the prefix of [`crate::journal::frame`]:
//!
//! | header at | bytes | |
//! |---|---|---|
//! | 0 | 12 | magic `mnj1`, length 4,096, CRC32C |
//! | 12 | 4 | format version |
//! | 16 | 16 | journal id |
//! | 32 | 8 | segment number, dense |
//! | 40 | 8 | bytes of the whole segment |
//! | 48 | 8 | first batch in it |
//! | 56 | 8 | last batch before it |
//! | 64 | 65 x 24 | where each shard goes on: next sequence 8, hash of its last block 16 |
//!
//! | seal at | bytes | |
//! |---|---|---|
//! | 0 | 12 | magic `mns1`, length 44, CRC32C |
//! | 12 | 16 | journal id |
//! | 28 | 8 | last durable batch |
//! | 36 | 8 | the byte of this segment below which everything is durable |

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::journal::frame::{self, Damage, array_at, u32_at, u64_at};
use crate::journal::{BlockHash, LogError, Tail, Tails};
use crate::types::ids::{BatchNo, JournalId, Seq, Shard};

/// Bytes of a segment's header; frames begin behind it.
pub(super) const HEADER_BYTES: usize = 4096;
const HEADER_MAGIC: [u8; 4] = *b"mnj1";
const FORMAT_VERSION: u32 = 1;
const TAILS_AT: usize = 64;
const TAIL_BYTES: usize = 24;

/// Bytes of a seal.
pub(super) const SEAL_BYTES: usize = 44;
const SEAL_MAGIC: [u8; 4] = *b"mns1";

/// How much is zeroed between two syncs, so that a commit never waits behind a whole segment.
const ZEROES_BYTES: usize = 1 << 20;

/// What a segment says of itself and of all that lies before it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) journal: JournalId,
    pub(super) number: u64,
    pub(super) bytes: u64,
    pub(super) first_batch: BatchNo,
    pub(super) last_batch_before: BatchNo,
    pub(super) tails: Box<Tails>,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[12..16].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.journal.0);
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.first_batch.0.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.last_batch_before.0.to_le_bytes());
        for (at, tail) in (TAILS_AT..).step_by(TAIL_BYTES).zip(self.tails.iter()) {
            bytes[at..at + 8].copy_from_slice(&tail.next.0.to_le_bytes());
            bytes[at + 8..at + TAIL_BYTES].copy_from_slice(&tail.hash.0);
        }
        frame::finish(&mut bytes, HEADER_MAGIC);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let bytes = frame::check(bytes, HEADER_MAGIC, HEADER_BYTES, HEADER_BYTES)?;
        if u32_at(bytes, 12) != FORMAT_VERSION {
            return Err(Damage::Layout);
        }
        let mut tails = Box::new([Tail::START; _]);
        for (at, tail) in (TAILS_AT..).step_by(TAIL_BYTES).zip(tails.iter_mut()) {
            *tail = Tail { next: Seq(u64_at(bytes, at)), hash: BlockHash(array_at(bytes, at + 8)) };
        }
        Ok(Self {
            journal: JournalId(array_at(bytes, 16)),
            number: u64_at(bytes, 32),
            bytes: u64_at(bytes, 40),
            first_batch: BatchNo(u64_at(bytes, 48)),
            last_batch_before: BatchNo(u64_at(bytes, 56)),
            tails,
        })
    }

    /// Returns the first shard that does not go on here where `tails` ends, and that end.
    pub(super) fn gap_behind(&self, tails: &Tails) -> Option<(Shard, Seq)> {
        Shard::all()
            .map(|shard| (shard, tails[shard.index()]))
            .find(|(shard, tail)| self.tails[shard.index()] != *tail)
            .map(|(shard, tail)| (shard, tail.next))
    }
}

/// Says that everything in the segment below `durable_end` is synced, and which batch that reaches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Seal {
    pub(super) journal: JournalId,
    pub(super) batch: BatchNo,
    pub(super) durable_end: u64,
}

impl Seal {
    pub(super) fn encode(&self) -> [u8; SEAL_BYTES] {
        let mut bytes = [0; SEAL_BYTES];
        bytes[12..28].copy_from_slice(&self.journal.0);
        bytes[28..36].copy_from_slice(&self.batch.0.to_le_bytes());
        bytes[36..44].copy_from_slice(&self.durable_end.to_le_bytes());
        frame::finish(&mut bytes, SEAL_MAGIC);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let bytes = frame::check(bytes, SEAL_MAGIC, SEAL_BYTES, SEAL_BYTES)?;
        Ok(Self {
            journal: JournalId(array_at(bytes, 12)),
            batch: BatchNo(u64_at(bytes, 28)),
            durable_end: u64_at(bytes, 36),
        })
    }
}

/// Returns where the segment with this number lies. Segments are named by number and not by their
/// first batch, because one batch may fill two of them.
pub(super) fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("journal-{number:016x}.seg"))
}

/// Returns the numbers of a directory's segments in order, and its left-over spares.
pub(super) fn list(dir: &Path) -> Result<(Vec<u64>, Vec<PathBuf>), LogError> {
    let mut numbers = Vec::new();
    let mut spares = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("read", dir))? {
        let path = entry.map_err(failed("read", dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("spare-") {
            spares.push(path);
        } else if let Some(hex) =
            name.strip_prefix("journal-").and_then(|name| name.strip_suffix(".seg"))
        {
            numbers.extend(u64::from_str_radix(hex, 16));
        }
    }
    numbers.sort_unstable();
    Ok((numbers, spares))
}

/// A file of synced zeroes, ready to become a segment.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) file: File,
    pub(super) bytes: u64,
    path: PathBuf,
}

impl Spare {
    /// Returns where the spare with this number lies.
    pub(super) fn path(dir: &Path, nonce: u64) -> PathBuf {
        dir.join(format!("spare-{nonce}"))
    }

    /// Writes a file of zeroes and syncs it. Stops early, without a spare, once `go_on` says no.
    pub(super) fn create(
        dir: &Path,
        nonce: u64,
        bytes: u64,
        go_on: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        let path = Self::path(dir, nonce);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        let mut at = 0;
        while at < bytes && go_on() {
            fail::fail_point!("spare-zero", |_| Err(io::ErrorKind::StorageFull.into()));
            let end = bytes.min(at + ZEROES_BYTES as u64);
            zero(&file, at, end)?;
            file.sync_data()?;
            at = end;
        }
        file.sync_all()?;
        fail::fail_point!("spare-synced");
        Ok((at == bytes).then_some(Self { file, path, bytes }))
    }

    /// Gives it a header and its name in the journal, durably, and returns the file.
    pub(super) fn into_segment(self, dir: &Path, header: &Header) -> io::Result<File> {
        debug_assert_eq!(self.bytes, header.bytes);
        fail::fail_point!("header-write");
        self.file.write_all_at(&header.encode(), 0)?;
        fail::fail_point!("header-written");
        self.file.sync_data()?;
        fail::fail_point!("header-synced");
        fs::rename(&self.path, path_of(dir, header.number))?;
        fail::fail_point!("segment-renamed");
        sync_dir(dir)?;
        fail::fail_point!("segment-named");
        Ok(self.file)
    }
}

/// Writes zeroes from `at` to `end`.
pub(super) fn zero(file: &File, at: u64, end: u64) -> io::Result<()> {
    let zeroes = vec![0; ZEROES_BYTES.min((end - at) as usize)];
    let mut at = at;
    while at < end {
        let part = (end - at).min(zeroes.len() as u64);
        file.write_all_at(&zeroes[..part as usize], at)?;
        at += part;
    }
    Ok(())
}

/// Makes created, renamed and removed names durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Returns what turns an `io::Error` on `path` into ours.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::SHARDS_ALL;

    fn header() -> Header {
        let mut tails = Box::new([Tail::START; SHARDS_ALL]);
        tails[3] = Tail { next: Seq(77), hash: BlockHash([3; 16]) };
        Header {
            journal: JournalId(*b"a journal's name"),
            number: 2,
            bytes: 64 << 20,
            first_batch: BatchNo(9),
            last_batch_before: BatchNo(8),
            tails,
        }
    }

    fn seal() -> Seal {
        Seal { journal: JournalId(*b"a journal's name"), batch: BatchNo(9), durable_end: 5000 }
    }

    #[test]
    fn the_layouts_are_those_in_the_golden_files() {
        let golden = include_bytes!("../../../tests/golden/segment_header_v1.bin");
        assert_eq!(header().encode(), golden, "segments on disk can no longer be read");
        assert_eq!(Header::decode(golden), Ok(header()));
        let golden = include_bytes!("../../../tests/golden/seal_v1.bin");
        assert_eq!(&seal().encode(), golden, "seals on disk can no longer be read");
        assert_eq!(Seal::decode(golden), Ok(seal()));
    }

    #[test]
    fn every_flipped_byte_of_a_header_and_a_seal_is_noticed() {
        for at in 0..HEADER_BYTES {
            let mut bytes = header().encode();
            bytes[at] ^= 0x10;
            assert!(Header::decode(&bytes).is_err(), "header, byte {at}");
        }
        for at in 0..SEAL_BYTES {
            let mut bytes = seal().encode();
            bytes[at] ^= 0x10;
            assert!(Seal::decode(&bytes).is_err(), "seal, byte {at}");
        }
    }
}
