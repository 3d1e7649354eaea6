//! A journal as copies see it: what of each segment is durable, and reading it without writing.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::journal::file::boundary::Boundary;
use crate::journal::file::opening::lock;
use crate::journal::file::scan::{self, Frame, Survey};
use crate::journal::file::segment::{self, HEADER_BYTES, Header, SEAL_BYTES, Seal, failed};
use crate::journal::file::{Scanned, read_segments, scanned};
use crate::journal::{
    Block, Completed, LogError, Outcome, ShardLog, Tail, Ticket, Wake, check_start, nexts,
};
use crate::types::ids::{BatchNo, JournalId, SeqVector, Shard};

/// How often a journal that is written meanwhile is surveyed before damage is believed that is
/// somewhere else each time.
const SURVEYS_MAX: usize = 10;

/// The part of one segment that can be copied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Extent {
    /// The file's name in the journal's folder.
    pub name: String,
    /// How many of its bytes: all of a sealed one, else those of its sound frames.
    pub bytes: u64,
    /// Whether another segment stands behind it, so that it never changes any more.
    pub sealed: bool,
}

/// A directory's journal as it stood at one moment. It writes nothing and needs no lock: as a
/// [`ShardLog`] it refuses every block.
pub struct Archive {
    dir: PathBuf,
    survey: Survey,
    last_ticket: Ticket,
    refused: VecDeque<Ticket>,
}

impl Archive {
    /// Surveys a directory, where a log may be writing meanwhile.
    ///
    /// # Errors
    /// As [`crate::journal::file::FileLog::open`], but for the lock.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        Self::open_within(dir, 0..u64::MAX)
    }

    /// Surveys the segments whose numbers are in a range; see [`Archive::open`].
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn open_within(dir: &Path, segments: Range<u64>) -> Result<Self, LogError> {
        let mut seen = None;
        for _ in 0..SURVEYS_MAX {
            match scan::survey_within(dir, segments.clone(), &mut |_| {}) {
                Ok(survey) => {
                    let (dir, refused) = (dir.to_owned(), VecDeque::new());
                    return Ok(Self { dir, survey, last_ticket: Ticket(0), refused });
                }
                // Pages that were read before a group was written, and others after it, look like a
                // hole. Real damage stays where it is.
                Err(LogError::Damaged(damage)) if seen.as_ref() != Some(&damage) => {
                    seen = Some(damage);
                }
                Err(error) => return Err(error),
            }
        }
        let damage = seen.expect("every other outcome has returned");
        Err(LogError::Damaged(damage))
    }

    /// Makes sure that everything it saw is on the disk.
    ///
    /// # Errors
    /// When the last segment can't be synced.
    pub fn sync(&self) -> Result<(), LogError> {
        let path = segment::path_of(&self.dir, self.survey.last_segment().number);
        File::open(&path).and_then(|file| file.sync_data()).map_err(failed("sync", &path))
    }

    /// Returns what it holds.
    pub fn scanned(&self) -> Scanned {
        scanned(&self.survey)
    }

    /// Returns where each segment begins, oldest first.
    pub fn boundaries(&self) -> Vec<Boundary> {
        self.survey.segments.iter().map(|header| Boundary::of(header)).collect()
    }

    /// Returns what can be copied of each segment, oldest first.
    pub fn extents(&self) -> Vec<Extent> {
        let count = self.survey.segments.len();
        let extent = |(at, header): (usize, &Arc<Header>)| {
            let sealed = at + 1 < count;
            let bytes = if sealed { header.bytes } else { self.survey.end };
            Extent { name: name_of(header.number), bytes, sealed }
        };
        self.survey.segments.iter().enumerate().map(extent).collect()
    }

    /// Returns the same up to a batch, which is left out with all that follows it.
    ///
    /// # Errors
    /// When the segment in which it begins can't be read.
    pub fn extents_before(&self, batch: BatchNo) -> Result<Vec<Extent>, LogError> {
        let mut extents = self.extents();
        let ends = self.survey.segments.iter().skip(1).map(|next| next.last_batch_before);
        let ends: Vec<_> = ends.chain([self.survey.last_batch]).collect();
        if let Some(at) = ends.iter().position(|last| *last >= batch) {
            extents.truncate(at + 1);
            let extent = &mut extents[at];
            extent.bytes = self.end_before(&self.survey.segments[at], extent.bytes, batch)?;
            extent.sealed = false;
        }
        Ok(extents)
    }

    /// Returns where the first block of a segment begins that is of this batch or a later one.
    fn end_before(&self, header: &Header, bytes: u64, batch: BatchNo) -> Result<u64, LogError> {
        let path = segment::path_of(&self.dir, header.number);
        let mut image = vec![0; bytes as usize];
        let file = File::open(&path).map_err(failed("open", &path))?;
        file.read_exact_at(&mut image, 0).map_err(failed("read", &path))?;
        let mut at = HEADER_BYTES;
        // The survey has read all of it before: what can't be decoded are the zeroes at its end.
        while let Some(Ok(frame)) = image.get(at..).map(Frame::decode) {
            if matches!(&frame, Frame::Block(block) if block.batch >= batch) {
                break;
            }
            at += frame.len();
        }
        Ok(at as u64)
    }
}

/// Says at the end of a copied journal, durably, that all of it is there: from now on damage to any of
/// it is named and refused. Returns what it holds.
///
/// # Errors
/// When the copy is damaged or can't be written.
pub fn seal(dir: &Path) -> Result<Scanned, LogError> {
    let _lock = lock(dir)?;
    let survey = scan::survey(dir, &mut |_| {})?;
    let last = survey.last_segment();
    let path = segment::path_of(dir, last.number);
    // In a full segment the next one's header will say so.
    if !survey.sealed && survey.end + SEAL_BYTES as u64 <= last.bytes {
        let seal =
            Seal { journal: survey.journal, batch: survey.last_batch, durable_end: survey.end };
        let file = OpenOptions::new().write(true).open(&path).map_err(failed("open", &path))?;
        file.write_all_at(&seal.encode(), survey.end).map_err(failed("write", &path))?;
        file.sync_all().map_err(failed("sync", &path))?;
    }
    fs::remove_file(dir.join("lock")).map_err(failed("remove the lock of", dir))?;
    segment::sync_dir(dir).map_err(failed("sync", dir))?;
    Ok(scanned(&survey))
}

/// Returns the number of the segment whose file has this name; `None`: it is no segment's.
pub fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("journal-")?.strip_suffix(".seg")?;
    u64::from_str_radix(number, 16).ok()
}

fn name_of(number: u64) -> String {
    let path = segment::path_of(Path::new(""), number);
    path.to_string_lossy().into_owned()
}

impl ShardLog for Archive {
    fn journal_id(&self) -> JournalId {
        self.survey.journal
    }

    fn submit(&mut self, block: Block) -> Ticket {
        self.submit_all(vec![block])
    }

    fn submit_all(&mut self, blocks: Vec<Block>) -> Ticket {
        for _ in blocks {
            self.last_ticket.0 += 1;
            self.refused.push_back(self.last_ticket);
        }
        self.last_ticket
    }

    fn completed(&mut self) -> Option<Completed> {
        let ticket = self.refused.pop_front()?;
        Some(Completed { ticket, outcome: Outcome::Refused })
    }

    fn read_from(
        &self,
        from: &SeqVector,
        visit: &mut dyn FnMut(&Block) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let Survey { segments, end, .. } = &self.survey;
        check_start(from, &self.start())?;
        read_segments(&self.dir, segments, *end, from, visit)
    }

    fn start(&self) -> SeqVector {
        nexts(&self.survey.segments[0].tails)
    }

    fn tail(&self, shard: Shard) -> Result<Tail, LogError> {
        Ok(self.survey.tails[shard.index()])
    }

    fn last_batch(&self) -> BatchNo {
        self.survey.last_batch
    }

    fn trim(&mut self, _below: &SeqVector) -> Result<u64, LogError> {
        Ok(0)
    }

    fn on_completion(&mut self, _wake: Wake) {}

    fn close(self: Box<Self>) -> Result<(), LogError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::conformance::{JOURNAL, append, block_after, read};
    use crate::journal::file::{FileLog, Options};

    fn copy(from: &Path, extents: &[Extent]) -> tempfile::TempDir {
        let to = tempfile::tempdir().unwrap();
        for extent in extents {
            let image = fs::read(from.join(&extent.name)).unwrap();
            fs::write(to.path().join(&extent.name), &image[..extent.bytes as usize]).unwrap();
        }
        to
    }

    #[test]
    fn a_copy_cut_before_any_batch_is_sealed_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 16 << 10, ..Options::default() };
        let mut log = FileLog::create(dir.path(), JOURNAL, &options).unwrap();
        let mut written = Vec::new();
        for batch in 1..=40 {
            written.push(append(&mut log, (batch % 3) as u8, batch, 12));
        }
        let archive = Archive::open(dir.path()).unwrap();
        archive.sync().unwrap();
        assert!(archive.extents().len() > 1, "the test must cross segments");
        assert_eq!(archive.extents(), archive.extents_before(BatchNo(41)).unwrap());
        assert_eq!(read(&archive, &SeqVector::default()).unwrap(), written);
        for cut in 1..=41 {
            let extents = archive.extents_before(BatchNo(cut)).unwrap();
            let to = copy(dir.path(), &extents);
            let ends_sealed = Archive::open(to.path()).unwrap().survey.sealed;
            let sealed = seal(to.path()).unwrap();
            let kept = cut as usize - 1;
            // What is changed at its end is a block.
            if !ends_sealed {
                check_sealed(to.path(), extents.last().unwrap(), options.segment_bytes);
            }
            assert_eq!((sealed.blocks, sealed.torn), (kept as u64, None), "cut before {cut}");
            let (mut copied, found) = FileLog::open(to.path(), &options).unwrap();
            assert_eq!((found.blocks, found.torn), (kept as u64, None), "cut before {cut}");
            assert_eq!(read(&copied, &SeqVector::default()).unwrap(), written[..kept]);
            append(&mut copied, 1, 100, 2);
        }
    }

    /// Checks that a changed end of a sealed copy is damage, and is not taken for what was never written whole.
    fn check_sealed(dir: &Path, last: &Extent, segment_bytes: u64) {
        // Where no seal fits, the next segment's header will say so.
        if last.bytes + SEAL_BYTES as u64 > segment_bytes {
            return;
        }
        let damaged = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), damaged.path().join(entry.file_name())).unwrap();
        }
        let path = damaged.path().join(&last.name);
        let mut image = fs::read(&path).unwrap();
        image[last.bytes as usize - 1] ^= 1;
        fs::write(&path, image).unwrap();
        assert!(Archive::open(damaged.path()).is_err(), "{last:?}");
    }

    #[test]
    fn an_archive_takes_no_block() {
        let dir = tempfile::tempdir().unwrap();
        drop(FileLog::create(dir.path(), JOURNAL, &Options::default()).unwrap());
        let mut archive = Archive::open(dir.path()).unwrap();
        let ticket = archive.submit(block_after(&archive, 1, 1, 1));
        let refused = Completed { ticket, outcome: Outcome::Refused };
        assert_eq!((archive.completed(), archive.completed()), (Some(refused), None));
    }
}
