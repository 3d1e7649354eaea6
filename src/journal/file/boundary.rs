//! The places between segments: where a journal stands before each of them, known from headers alone.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::journal::file::scan::{self, Frame};
use crate::journal::file::segment::{self, HEADER_BYTES, Header, SEAL_BYTES, failed};
use crate::journal::file::{Scanned, scanned};
use crate::journal::{BLOCK_BYTES_MAX, Block, Damage, DamagedAt, LogError, Tail, nexts};
use crate::types::ids::{BatchNo, JournalId, SHARDS_ALL, SeqVector};

/// Where a segment begins, and how far everything before it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Boundary {
    /// The journal's name.
    pub journal: JournalId,
    /// The number of the segment that begins here.
    pub segment: u64,
    /// The last batch of which anything lies before it; the rest of that batch may lie behind.
    pub last_batch: BatchNo,
    /// Where each shard goes on, by [`crate::types::ids::Shard::index`]: what the chain is checked with.
    pub tails: Box<[Tail; SHARDS_ALL]>,
}

impl Boundary {
    pub(super) fn of(header: &Header) -> Self {
        Self {
            journal: header.journal,
            segment: header.number,
            last_batch: header.last_batch_before,
            tails: header.tails.clone(),
        }
    }

    /// Returns the first sequence of each shard behind it.
    pub fn next(&self) -> SeqVector {
        nexts(&self.tails)
    }

    /// Tells whether nothing was ever before it.
    pub fn is_start(&self) -> bool {
        self.last_batch == BatchNo(0) && self.tails.iter().all(|tail| *tail == Tail::START)
    }
}

/// Returns where each segment of a directory begins, oldest first. Reads headers only, and needs no lock.
///
/// # Errors
/// When there is no journal, or a header can't be read.
pub fn boundaries(dir: &Path) -> Result<Vec<Boundary>, LogError> {
    headers(dir).map(|headers| headers.iter().map(Boundary::of).collect())
}

/// Returns the numbers of a directory's segments, oldest first.
///
/// # Errors
/// When the directory can't be read.
pub fn numbers(dir: &Path) -> Result<Vec<u64>, LogError> {
    segment::list(dir).map(|(numbers, _)| numbers)
}

/// Returns the header of each segment of a directory, oldest first.
pub(super) fn headers(dir: &Path) -> Result<Vec<Header>, LogError> {
    if !dir.is_dir() {
        return Err(LogError::Absent(dir.to_owned()));
    }
    let mut found = Vec::new();
    for number in segment::list(dir)?.0 {
        let path = segment::path_of(dir, number);
        let mut bytes = [0; HEADER_BYTES];
        match File::open(&path).and_then(|mut file| file.read_exact(&mut bytes)) {
            Ok(()) => {}
            // It was removed meanwhile, as the oldest are.
            Err(error) if error.kind() == io::ErrorKind::NotFound && found.is_empty() => continue,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(failed("read", &path)(error)),
        }
        let its_own = |header: Header| (header.number == number).then_some(header);
        let header = Header::decode(&bytes).and_then(|it| its_own(it).ok_or(Damage::Chain));
        let header = header.map_err(|damage| {
            let (segment, after) = (path.clone(), BatchNo(0));
            LogError::Damaged(Box::new(DamagedAt { segment, offset: 0, fact: None, after, damage }))
        })?;
        found.push(header);
    }
    if found.is_empty() { Err(LogError::Absent(dir.to_owned())) } else { Ok(found) }
}

/// Reads the segments of a directory whose numbers are in a range, as [`crate::journal::file::scan`] reads all: the
/// first is taken at its word, the others must go on from it. The first of the range must be there, so that nobody
/// misses what is removed meanwhile; 0 stands for whichever is first.
///
/// # Errors
/// As [`crate::journal::file::scan`].
pub fn scan_within(
    dir: &Path,
    segments: Range<u64>,
    mut visit: impl FnMut(&Block),
) -> Result<Scanned, LogError> {
    scan::survey_within(dir, segments, &mut visit).map(|survey| scanned(&survey))
}

/// Returns the first block of a segment; `None`: it has none, or none that is whole.
///
/// # Errors
/// When the segment can't be read.
pub fn first_block(dir: &Path, number: u64) -> Result<Option<Block>, LogError> {
    let path = segment::path_of(dir, number);
    let file = File::open(&path).map_err(failed("open", &path))?;
    let length = file.metadata().map_err(failed("read", &path))?.len();
    let wanted = (HEADER_BYTES + 2 * SEAL_BYTES + BLOCK_BYTES_MAX) as u64;
    let mut bytes = vec![0; length.min(wanted) as usize];
    file.read_exact_at(&mut bytes, 0).map_err(failed("read", &path))?;
    let mut at = HEADER_BYTES;
    while let Some(Ok(frame)) = bytes.get(at..).map(Frame::decode) {
        at += frame.len();
        if let Frame::Block(block) = frame {
            return Ok(Some(block));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::ShardLog;
    use crate::journal::conformance::{JOURNAL, append, shard};
    use crate::journal::file::{FileLog, Options, scan};
    use std::fs;

    fn small() -> Options {
        Options { segment_bytes: 16 << 10, ..Options::default() }
    }

    #[test]
    fn a_boundary_tells_what_lies_before_it_and_ranges_join_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = FileLog::create(dir.path(), JOURNAL, &small()).unwrap();
        let written: Vec<_> =
            (1..=80).map(|batch| append(&mut log, (batch % 5) as u8, batch, 40)).collect();
        let found = boundaries(dir.path()).unwrap();
        assert!(found.len() > 3 && found[0].is_start(), "{}", found.len());
        assert_eq!(found, log.trimmer().boundaries());
        for boundary in &found[1..] {
            assert!(!boundary.is_start());
            let (mut before, mut behind) = (Vec::new(), Vec::new());
            let here = boundary.segment;
            let scanned = scan_within(dir.path(), 0..here, |it| before.push(it.clone())).unwrap();
            scan_within(dir.path(), here..u64::MAX, |it| behind.push(it.clone())).unwrap();
            assert_eq!(scanned.next, boundary.next());
            assert_eq!((scanned.last_batch, scanned.torn), (boundary.last_batch, None));
            assert_eq!(first_block(dir.path(), here).unwrap().as_ref(), behind.first());
            for number in 0..5 {
                let last = before.iter().rfind(|block| block.shard == shard(number)).unwrap();
                assert_eq!(boundary.tails[usize::from(number)], Tail::after(last));
            }
            assert_eq!([before, behind].concat(), written);
        }
        let beyond = found.last().unwrap().segment + 1;
        assert!(scan_within(dir.path(), beyond..u64::MAX, |_| ()).is_err(), "it is not there");
        let damaged = segment::path_of(dir.path(), found[1].segment);
        let mut bytes = fs::read(&damaged).unwrap();
        bytes[70] ^= 1;
        fs::write(&damaged, bytes).unwrap();
        assert!(matches!(boundaries(dir.path()), Err(LogError::Damaged(_))));
        let nowhere = dir.path().join("nowhere");
        assert!(matches!(boundaries(&nowhere), Err(LogError::Absent(_))));
    }

    #[test]
    fn removing_stops_at_a_boundary_and_what_is_left_is_read_from_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = FileLog::create(dir.path(), JOURNAL, &small()).unwrap();
        (1..=80).for_each(|batch| drop(append(&mut log, (batch % 5) as u8, batch, 40)));
        let (trimmer, found) = (log.trimmer(), boundaries(dir.path()).unwrap());
        let middle = &found[2];
        assert_eq!(trimmer.trim(&middle.next()).unwrap(), 2 * (16 << 10));
        assert_eq!(trimmer.boundaries(), found[2..]);
        assert_eq!(boundaries(dir.path()).unwrap(), found[2..]);
        assert_eq!(log.start(), middle.next());
        assert_eq!(trimmer.trim(&middle.next()).unwrap(), 0, "nothing above it goes");
        append(&mut log, 1, 81, 40);
        drop(log);
        assert_eq!(scan(dir.path(), |_| ()).unwrap().start, middle.next());
    }
}
