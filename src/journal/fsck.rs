//! Checks a file journal: what it holds, what a cut-short write left, what is damaged.

use std::fmt;
use std::path::Path;

use crate::journal::file::{self, Torn};
use crate::journal::{DamagedAt, LogError};
use crate::types::ids::{BatchNo, Seq, SeqVector, Shard};

/// What a check found. Blocks and facts are those before the damage, if there is any.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FsckReport {
    /// How many segment files; unknown when there is damage.
    pub segments: Option<usize>,
    /// How many sound blocks.
    pub blocks: u64,
    /// How many facts in them.
    pub facts: u64,
    /// The sequence each shard's next fact will have; zero where no block was read.
    pub next: SeqVector,
    /// The highest batch of a sound block.
    pub last_batch: BatchNo,
    /// What lies beyond the last mark and will be, or was just now, cut off.
    pub torn: Option<Torn>,
    /// Whether it was cut off just now.
    pub cut: bool,
    /// Acknowledged facts that cannot be read.
    pub damage: Option<DamagedAt>,
}

/// Checks the journal in a directory. Writes nothing unless told to cut, and then only cuts what was
/// never acknowledged, as opening would. Needs the lock only to cut.
pub fn fsck(dir: &Path, cut: bool) -> Result<FsckReport, LogError> {
    let mut report = FsckReport::default();
    let scanned = file::scan(dir, |block| {
        report.blocks += 1;
        report.facts += u64::from(block.count);
        report.next.0[block.shard.index()] = block.next();
        report.last_batch = block.batch;
    });
    match scanned {
        Ok(found) => {
            report.segments = Some(found.segments);
            report.next = found.next;
            report.last_batch = found.last_batch;
            report.torn = found.torn;
        }
        Err(LogError::Damaged(damage)) => report.damage = Some(*damage),
        Err(error) => return Err(error),
    }
    if cut && report.damage.is_none() && report.torn.is_some() {
        report.torn = file::cut(dir)?.torn;
        report.cut = true;
    }
    Ok(report)
}

impl fmt::Display for FsckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(segments) = self.segments {
            writeln!(f, "segments    {segments}")?;
        }
        writeln!(f, "blocks      {}", self.blocks)?;
        writeln!(f, "facts       {}", self.facts)?;
        writeln!(f, "last batch  {}", self.last_batch)?;
        for shard in Shard::all() {
            let next = self.next.0[shard.index()];
            if next > Seq(1) {
                writeln!(f, "shard {:<5} next sequence {next}", shard.number())?;
            }
        }
        if let Some(torn) = &self.torn {
            let did = if self.cut { "cut off" } else { "to be cut off" };
            let (at, segment) = (torn.offset, torn.segment.display());
            write!(f, "torn        {} bytes {did} from byte {at} of {segment}: ", torn.bytes)?;
            writeln!(f, "written but never acknowledged, {} whole blocks", torn.blocks)?;
        }
        match &self.damage {
            Some(damage) => write!(f, "DAMAGED     {damage}"),
            None => write!(f, "sound"),
        }
    }
}
