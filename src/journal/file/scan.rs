//! Reading segments without writing: walks the chain and judges what cannot be read.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::journal::block::BLOCK_MAGIC;
use crate::journal::file::ahead;
use crate::journal::file::segment::{self, HEADER_BYTES, Header, SEAL_BYTES, Seal, failed};
use crate::journal::{Block, BlockHash, Damage, DamagedAt, LogError, Tail, Tails};
use crate::types::ids::{BatchNo, JournalId, SHARDS_ALL, Seq, Shard};

/// One thing between a segment's header and its zeroes.
pub(super) enum Frame {
    Block(Block),
    Seal(Seal),
}

impl Frame {
    /// Returns the frame at the start of `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        if bytes.starts_with(&BLOCK_MAGIC) {
            Block::decode(bytes).map(Self::Block)
        } else {
            Seal::decode(bytes).map(Self::Seal)
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Block(block) => block.bytes.len(),
            Self::Seal(_) => SEAL_BYTES,
        }
    }
}

/// All that a directory's segments hold and how they end.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) journal: JournalId,
    pub(super) segments: Vec<Arc<Header>>,
    /// The first segment that was walked through.
    pub(super) walked_from: u64,
    pub(super) tails: Box<Tails>,
    pub(super) last_batch: BatchNo,
    pub(super) blocks: u64,
    pub(super) facts: u64,
    /// Where the last segment's sound frames end.
    pub(super) end: u64,
    /// Where its seals say the durable bytes end: at or below `end`.
    pub(super) mark: u64,
    /// Whether the last frame is a seal over everything before it.
    pub(super) sealed: bool,
    /// The last segment's length on disk, its full length unless something cut it.
    pub(super) file_bytes: u64,
    /// What lies behind `end`.
    pub(super) torn: Option<Torn>,
}

impl Survey {
    /// Returns the segment that is appended to.
    pub(super) fn last_segment(&self) -> &Header {
        self.segments.last().expect("a survey without segments is an error")
    }
}

/// What a cut-short write left behind the last sound frame. None of it was acknowledged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Torn {
    /// The last segment.
    pub segment: PathBuf,
    /// Where the sound frames end.
    pub offset: u64,
    /// The bytes from there to the last one written.
    pub bytes: u64,
    /// Whole blocks among them, which are cut all the same: something before them is missing.
    pub blocks: u64,
}

/// Walks every segment of a directory and visits each sound block in log order.
pub(super) fn survey(dir: &Path, visit: &mut dyn FnMut(&Block)) -> Result<Survey, LogError> {
    survey_within(dir, 0..u64::MAX, visit)
}

/// Walks the segments whose numbers are in a range. The first is taken at its word; it must be there unless the range
/// begins with 0, before all of them.
pub(super) fn survey_within(
    dir: &Path,
    range: Range<u64>,
    visit: &mut dyn FnMut(&Block),
) -> Result<Survey, LogError> {
    survey_by(dir, range, ahead::threads(), visit)
}

/// Does so with this many threads that read and check segments before the walk comes to them.
pub(super) fn survey_by(
    dir: &Path,
    range: Range<u64>,
    threads: usize,
    visit: &mut dyn FnMut(&Block),
) -> Result<Survey, LogError> {
    if !dir.is_dir() {
        return Err(LogError::Absent(dir.to_owned()));
    }
    let (numbers, _) = segment::list(dir)?;
    if range.start > 0 && !numbers.contains(&range.start) {
        let path = segment::path_of(dir, range.start);
        return Err(failed("open", &path)(io::ErrorKind::NotFound.into()));
    }
    let asked: Vec<u64> = numbers.iter().copied().filter(|it| range.contains(it)).collect();
    let mut walk: Option<Walk> = None;
    ahead::each_segment(dir, &asked, threads, |number, segment| {
        let segment = match segment {
            // It was removed since the folder was listed, as the oldest are.
            Err(error) if is_gone(&error) && walk.is_none() && range.start == 0 => return Ok(()),
            read => read?,
        };
        let (path, bytes) = (segment::path_of(dir, number), &segment.bytes[..]);
        let walk = match &mut walk {
            Some(walk) => {
                walk.enter(path, bytes, number)?;
                walk
            }
            None => walk.insert(Walk::begin(path, bytes, number)?),
        };
        walk.frames(bytes, &segment.hashes, visit)?;
        walk.survey.file_bytes = bytes.len() as u64;
        // Behind the others stands a segment, so they end soundly.
        if Some(&number) != numbers.last() {
            return walk.leave(bytes, &segment::path_of(dir, number + 1));
        }
        walk.survey.torn = walk.judge(bytes)?;
        Ok(())
    })?;
    walk.map(|walk| walk.survey).ok_or_else(|| LogError::Absent(dir.to_owned()))
}

fn is_gone(error: &LogError) -> bool {
    matches!(error, LogError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// A survey under way.
struct Walk {
    survey: Survey,
    /// The segment it is in.
    path: PathBuf,
    /// Where its sound frames end so far.
    at: usize,
    /// What is wrong with the bytes at `at`, once that is known.
    damage: Damage,
}

impl Walk {
    /// Starts at a journal's oldest segment.
    fn begin(path: PathBuf, bytes: &[u8], number: u64) -> Result<Self, LogError> {
        let nothing = Survey {
            journal: JournalId::default(),
            segments: Vec::new(),
            walked_from: number,
            tails: Box::new([Tail::START; SHARDS_ALL]),
            last_batch: BatchNo(0),
            blocks: 0,
            facts: 0,
            end: 0,
            mark: 0,
            sealed: true,
            file_bytes: 0,
            torn: None,
        };
        let mut walk = Self { survey: nothing, path, at: 0, damage: Damage::Missing };
        let header = Header::decode(bytes).map_err(|damage| walk.damaged(0, damage, None))?;
        walk.survey.journal = header.journal;
        walk.survey.tails = header.tails.clone();
        walk.survey.last_batch = header.last_batch_before;
        walk.accept_header(header, number)?;
        Ok(walk)
    }

    /// Goes on in the next segment, which must begin where the walk stands.
    fn enter(&mut self, path: PathBuf, bytes: &[u8], number: u64) -> Result<(), LogError> {
        self.path = path;
        let header = Header::decode(bytes).map_err(|damage| self.damaged(0, damage, None))?;
        self.accept_header(header, number)
    }

    fn accept_header(&mut self, header: Header, number: u64) -> Result<(), LogError> {
        let survey = &mut self.survey;
        let expected = survey.segments.last().map_or(number, |last| last.number + 1);
        let gap = header.gap_behind(&survey.tails);
        let damage = if header.journal != survey.journal {
            Some(Damage::Foreign)
        } else if header.number != number {
            Some(Damage::Chain)
        } else if number != expected || gap.is_some() {
            Some(Damage::Missing)
        } else {
            (header.last_batch_before != survey.last_batch).then_some(Damage::Chain)
        };
        if let Some(damage) = damage {
            return Err(self.damaged(0, damage, gap));
        }
        survey.segments.push(Arc::new(header));
        survey.mark = HEADER_BYTES as u64;
        survey.end = HEADER_BYTES as u64;
        survey.sealed = true;
        self.at = HEADER_BYTES;
        Ok(())
    }

    /// Walks as far as whole, chained frames go. A frame that is whole but does not fit where it
    /// stands is damage at once: no torn write looks like that.
    ///
    /// `hashes` are those of its blocks in order, as far as they were checked before.
    fn frames(
        &mut self,
        bytes: &[u8],
        hashes: &[BlockHash],
        visit: &mut dyn FnMut(&Block),
    ) -> Result<(), LogError> {
        let mut hashes = hashes.iter();
        loop {
            let rest = &bytes[self.at.min(bytes.len())..];
            let known = if rest.starts_with(&BLOCK_MAGIC) { hashes.next() } else { None };
            let frame = match known {
                Some(hash) => Block::again(rest, *hash).map(Frame::Block),
                None => Frame::decode(rest),
            };
            let fits = match &frame {
                Ok(Frame::Block(block)) => self.accept_block(block),
                Ok(Frame::Seal(seal)) => self.accept_seal(seal),
                Err(damage) => Err(*damage),
            };
            match (frame, fits) {
                (Ok(frame), Ok(())) => {
                    self.at += frame.len();
                    self.survey.end = self.at as u64;
                    if let Frame::Block(block) = &frame {
                        visit(block);
                    }
                }
                (_, Err(damage)) if damage.may_be_torn() => {
                    self.damage = damage;
                    return Ok(());
                }
                (_, fits) => {
                    let damage = fits.err().unwrap_or(Damage::Layout);
                    return Err(self.damaged(self.at, damage, self.suspect(bytes)));
                }
            }
        }
    }

    fn accept_block(&mut self, block: &Block) -> Result<(), Damage> {
        let survey = &mut self.survey;
        if block.journal() != survey.journal {
            return Err(Damage::Foreign);
        }
        let tail = &mut survey.tails[block.shard.index()];
        let in_order = block.batch >= survey.last_batch && block.durable() <= survey.last_batch;
        if !tail.precedes(block) || !in_order {
            return Err(Damage::Chain);
        }
        *tail = Tail::after(block);
        survey.last_batch = block.batch;
        survey.sealed = false;
        survey.blocks += 1;
        survey.facts += u64::from(block.count);
        Ok(())
    }

    fn accept_seal(&mut self, seal: &Seal) -> Result<(), Damage> {
        let survey = &mut self.survey;
        if seal.journal != survey.journal {
            return Err(Damage::Foreign);
        }
        if seal.durable_end > self.at as u64 || seal.batch > survey.last_batch {
            return Err(Damage::Chain);
        }
        survey.mark = survey.mark.max(seal.durable_end);
        survey.sealed = seal.durable_end == self.at as u64;
        Ok(())
    }

    /// Checks that a segment with one behind it has only zeroes behind its frames: it was synced
    /// before the next one began.
    fn leave(&self, bytes: &[u8], next: &Path) -> Result<(), LogError> {
        let rest = bytes.get(self.at..).unwrap_or_default();
        let gap = read_header(next).and_then(|header| header.gap_behind(&self.survey.tails));
        if written(rest) > 0 {
            return Err(self.damaged(self.at, self.damage, self.suspect(bytes).or(gap)));
        }
        match gap {
            Some(gap) => Err(self.damaged(self.at, Damage::Missing, Some(gap))),
            None => Ok(()),
        }
    }

    /// Judges what lies behind the sound frames of the last segment: nothing, a torn write, or
    /// damage.
    ///
    /// A group of blocks is written with a seal in front and one behind; both say how far the
    /// segment was synced before the group. Blocks name the last batch their writer knew to be
    /// durable. A group is written only after the one before it is synced. So the bytes at `at` were
    /// durable, and are *damaged*, when any whole frame of this journal behind them, at any byte, is
    /// - a seal whose `durable_end` lies behind `at`, or
    /// - a seal or block that names a durable batch above the last sound one.
    ///
    /// Otherwise they belong to the last group, whose sync never ended: power may have kept any of
    /// its pages and lost others, nobody was told of it, and all from `at` on is *torn*, whole
    /// blocks behind the hole included: their chain is broken.
    ///
    /// When the whole group after the damage is lost with it, nothing is left that could tell the
    /// two apart. Both seals of the group would have to go, and every later frame.
    fn judge(&self, bytes: &[u8]) -> Result<Option<Torn>, LogError> {
        let rest = bytes.get(self.at..).unwrap_or_default();
        let written = written(rest);
        let mut whole_blocks = 0;
        let mut at = 0;
        while at < written {
            match later_frame(&rest[at..], self.survey.journal) {
                Some(frame) if self.proves_durable(&frame) => {
                    return Err(self.damaged(self.at, self.damage, self.suspect(bytes)));
                }
                Some(frame) => {
                    whole_blocks += u64::from(matches!(frame, Frame::Block(_)));
                    at += frame.len();
                }
                None => at += 1,
            }
        }
        Ok((written > 0).then(|| Torn {
            segment: self.path.clone(),
            offset: self.at as u64,
            bytes: written as u64,
            blocks: whole_blocks,
        }))
    }

    fn proves_durable(&self, frame: &Frame) -> bool {
        match frame {
            Frame::Block(block) => block.durable() > self.survey.last_batch,
            Frame::Seal(seal) => {
                seal.durable_end > self.at as u64 || seal.batch > self.survey.last_batch
            }
        }
    }

    /// Returns the first fact that is lost at `at`, as far as it can be told.
    ///
    /// The damaged block's own header is believed when it names its shard's last block. A shard's
    /// first block has none to name, so there the first later block that leaves a gap is asked first.
    fn suspect(&self, bytes: &[u8]) -> Option<(Shard, Seq)> {
        let rest = bytes.get(self.at..)?;
        let here = Block::peek(rest, self.survey.journal)
            .filter(|(shard, tail)| self.survey.tails[shard.index()] == *tail)
            .map(|(shard, tail)| ((shard, tail.next), tail != Tail::START));
        match here {
            Some((fact, true)) => Some(fact),
            Some((fact, false)) => self.first_gap(rest).or(Some(fact)),
            None => self.first_gap(rest),
        }
    }

    /// Returns where the first later block that does not continue its shard leaves a gap.
    fn first_gap(&self, rest: &[u8]) -> Option<(Shard, Seq)> {
        let mut at = 0;
        while at < rest.len() {
            let frame = later_frame(&rest[at..], self.survey.journal);
            if let Some(Frame::Block(block)) = &frame {
                let end = self.survey.tails[block.shard.index()].next;
                if block.first > end {
                    return Some((block.shard, end));
                }
            }
            at += frame.map_or(1, |frame| frame.len());
        }
        None
    }

    fn damaged(&self, offset: usize, damage: Damage, fact: Option<(Shard, Seq)>) -> LogError {
        LogError::Damaged(Box::new(DamagedAt {
            segment: self.path.clone(),
            offset: offset as u64,
            fact,
            after: self.survey.last_batch,
            damage,
        }))
    }
}

/// Returns the whole frame of this journal that begins exactly here, if one does.
fn later_frame(bytes: &[u8], journal: JournalId) -> Option<Frame> {
    let frame = Frame::decode(bytes).ok()?;
    let owner = match &frame {
        Frame::Block(block) => block.journal(),
        Frame::Seal(seal) => seal.journal,
    };
    (owner == journal).then_some(frame)
}

/// Returns the length of `bytes` without the zeroes at their end.
fn written(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn read_header(path: &Path) -> Option<Header> {
    let mut bytes = [0; HEADER_BYTES];
    File::open(path).ok()?.read_exact(&mut bytes).ok()?;
    Header::decode(&bytes).ok()
}
