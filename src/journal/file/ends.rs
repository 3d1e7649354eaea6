//! Opening by the end: the last segments are walked through, those before them are taken at the word of their headers.

use std::path::Path;
use std::sync::Arc;

use crate::journal::file::boundary::headers;
use crate::journal::file::scan::{self, Survey};
use crate::journal::file::segment::{self, Header};
use crate::journal::{Damage, DamagedAt, LogError};

/// Segments that are walked through however many there are: the last, which a power cut may have torn, and the one that
/// was synced just before it began.
const WALKED_MIN: usize = 2;

/// Surveys a directory by its last segments. What headers alone show of those before is refused as by a whole survey:
/// one that is missing, of another journal, or begins before the one before it does.
pub(super) fn survey_end(dir: &Path) -> Result<Survey, LogError> {
    let heads = headers(dir)?;
    for (before, next) in heads.iter().zip(heads.iter().skip(1)) {
        if let Some(damage) = misfit(before, next) {
            return Err(damaged(dir, next.number, before, damage));
        }
    }
    let (earlier, last) = heads.split_at(heads.len().saturating_sub(WALKED_MIN));
    let mut survey = scan::survey_within(dir, last[0].number..u64::MAX, &mut |_| {})?;
    let earlier = earlier.iter().cloned().map(Arc::new);
    survey.segments.splice(..0, earlier);
    Ok(survey)
}

/// Returns why a segment can't be the one behind another.
fn misfit(before: &Header, next: &Header) -> Option<Damage> {
    let goes_back = next.last_batch_before < before.last_batch_before
        || next.tails.iter().zip(before.tails.iter()).any(|(next, before)| next.next < before.next);
    if next.journal != before.journal {
        Some(Damage::Foreign)
    } else if next.number != before.number + 1 {
        Some(Damage::Missing)
    } else {
        goes_back.then_some(Damage::Chain)
    }
}

fn damaged(dir: &Path, number: u64, before: &Header, damage: Damage) -> LogError {
    let (segment, after) = (segment::path_of(dir, number), before.last_batch_before);
    LogError::Damaged(Box::new(DamagedAt { segment, offset: 0, fact: None, after, damage }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::journal::conformance::{JOURNAL, append, read};
    use crate::journal::file::segment::HEADER_BYTES;
    use crate::journal::file::{FileLog, Options, scan_within};
    use crate::journal::{Block, ShardLog};
    use crate::types::hash::mix;
    use crate::types::ids::SeqVector;

    const BATCHES: u64 = 390;

    fn small() -> Options {
        Options { segment_bytes: 16 << 10, ..Options::default() }
    }

    /// Returns a journal of many segments, its numbers, and its blocks.
    fn journal() -> (tempfile::TempDir, Vec<u64>, Vec<Block>) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = FileLog::create(dir.path(), JOURNAL, &small()).unwrap();
        let blocks = (1..=BATCHES).map(|batch| append(&mut log, (batch % 65) as u8, batch, 30));
        let blocks = blocks.collect();
        Box::new(log).close().unwrap();
        let (numbers, _) = segment::list(dir.path()).unwrap();
        assert!(numbers.len() > 10, "the test needs many segments");
        (dir, numbers, blocks)
    }

    /// Returns where all that a number of segments hold has been read.
    fn behind(dir: &Path, segments: usize) -> SeqVector {
        crate::journal::nexts(&headers(dir).unwrap()[segments].tails)
    }

    #[test]
    fn a_journal_opened_by_its_end_is_the_whole_one_and_goes_on() {
        let (dir, numbers, mut blocks) = journal();
        let (whole, told) = FileLog::open(dir.path(), &small()).unwrap();
        drop(whole);
        let (mut log, found) = FileLog::open_end(dir.path(), &small()).unwrap();
        assert_eq!((found.segments, found.start), (numbers.len(), told.start));
        assert_eq!((found.next, found.last_batch), (told.next, told.last_batch));
        assert!(found.blocks < told.blocks / 2, "most segments are left alone");
        log.verify(&SeqVector::default()).unwrap();
        blocks.push(append(&mut log, 7, BATCHES + 1, 30));
        assert_eq!(read(&log, &SeqVector::default()).unwrap(), blocks);
    }

    fn segment_of(error: &LogError) -> &Path {
        match error {
            LogError::Damaged(at) => &at.segment,
            other => panic!("{other}"),
        }
    }

    /// Changes a segment in one of several ways.
    fn damage(dir: &Path, numbers: &[u64], seed: u64) -> (PathBuf, Vec<u8>) {
        let luck = |step: u64| mix(seed << 8 | step) as usize;
        let path = segment::path_of(dir, numbers[luck(0) % numbers.len()]);
        let before = fs::read(&path).unwrap();
        let mut bytes = before.clone();
        match luck(1) % 6 {
            0 => bytes.truncate(luck(2) % before.len()),
            1 => bytes[luck(2) % HEADER_BYTES] ^= 4,
            2 => bytes[luck(2) % before.len()..].fill(0),
            _ => bytes[luck(2) % before.len()] ^= 1 << (luck(3) % 8),
        }
        fs::write(&path, &bytes).unwrap();
        (path, before)
    }

    #[test]
    fn what_a_whole_survey_refuses_is_found_when_opening_verifying_or_checking_each_segment() {
        let (dir, numbers, _) = journal();
        let (mut early, mut verified, mut checked) = (0, 0, 0);
        for seed in 0..200 {
            let (path, before) = damage(dir.path(), &numbers, seed);
            let whole = scan::survey(dir.path(), &mut |_| {});
            let one = |number: u64| scan_within(dir.path(), number..number + 1, |_| {});
            let each = numbers.iter().copied().map(one);
            let is_damaged = each.take(numbers.len() - 1).any(|found| found.is_err());
            // A tail that begins in the middle, at a whole segment.
            let half = numbers.len() / 2;
            let in_tail =
                numbers[half..].iter().any(|it| segment::path_of(dir.path(), *it) == path);
            match survey_end(dir.path()) {
                Err(error) => {
                    assert_eq!(segment_of(&error), segment_of(&whole.unwrap_err()), "seed {seed}");
                    early += 1;
                }
                Ok(survey) if whole.is_err() => {
                    assert!(is_damaged, "seed {seed}: found by no check of a segment");
                    assert!(survey.segments.len() == numbers.len());
                    let (log, _) = FileLog::open_end(dir.path(), &small()).unwrap();
                    assert!(log.verify(&SeqVector::default()).is_err(), "seed {seed}");
                    let tail = log.verify(&behind(dir.path(), half));
                    assert_eq!(tail.is_err(), in_tail, "seed {seed}");
                    verified += usize::from(in_tail);
                    checked += usize::from(!in_tail);
                }
                Ok(_) => assert!(!is_damaged, "seed {seed}: a sound segment is refused"),
            }
            fs::write(&path, &before).unwrap();
        }
        assert!(early > 20 && verified > 20 && checked > 20, "{early}, {verified}, {checked}");
    }

    #[test]
    fn a_segment_that_is_missing_or_of_another_journal_is_refused_by_its_neighbours_headers() {
        let (dir, numbers, _) = journal();
        let path = segment::path_of(dir.path(), numbers[3]);
        let its = fs::read(&path).unwrap();
        let refused = |damage| match survey_end(dir.path()) {
            Err(LogError::Damaged(at)) => assert_eq!(at.damage, damage),
            other => panic!("{other:?}"),
        };
        fs::remove_file(&path).unwrap();
        refused(Damage::Missing);
        fs::copy(segment::path_of(dir.path(), numbers[4]), &path).unwrap();
        refused(Damage::Chain);
        let header = Header::decode(&its).unwrap();
        let foreign = Header { journal: crate::types::ids::JournalId([9; 16]), ..header.clone() };
        fs::write(&path, [&foreign.encode()[..], &its[HEADER_BYTES..]].concat()).unwrap();
        refused(Damage::Foreign);
        let later = headers_of(dir.path(), numbers[6]);
        let ahead = Header { tails: later.tails, ..header };
        fs::write(&path, [&ahead.encode()[..], &its[HEADER_BYTES..]].concat()).unwrap();
        refused(Damage::Chain);
        fs::write(&path, its).unwrap();
        assert!(survey_end(dir.path()).is_ok());
    }

    fn headers_of(dir: &Path, number: u64) -> Header {
        Header::decode(&fs::read(segment::path_of(dir, number)).unwrap()).unwrap()
    }
}
