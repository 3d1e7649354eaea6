//! Opening: a checkpoint if there is a good one, then the journal's tail.

use std::io::Read;
use std::sync::Arc;

use crate::journal::{Block, LogError, ShardLog};
use crate::node::checkpoint::Loaded;
use crate::node::counts::Counts;
use crate::node::dice::SeededDice;
use crate::node::front::Front;
use crate::node::live::Live;
use crate::node::replay::{self, each_fact};
use crate::node::writer::{Resume, Writer};
use crate::state::{BUCKETS, Stamp};
use crate::tokens::{KeyRing, Sealer};
use crate::types::dice::Dice;
use crate::types::ids::{Seq, SeqVector, Shard};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::time::Moment;

/// Why a journal's content can't be folded.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A block that passed its checksum holds what this version can't read. A newer version wrote it:
    /// use that one.
    #[error("shard {shard}, sequence {seq}: a fact that this version does not know")]
    UnknownFact {
        /// The shard.
        shard: u8,
        /// The fact's number, or that of the decision's first fact.
        seq: u64,
    },
}

/// What opening found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Opened {
    /// Whether a checkpoint was used, or the state of a base.
    pub checkpoint: bool,
    /// Facts replayed from the journal.
    pub replayed: u64,
}

/// Opens an engine over a log: readers' side and writer, no thread left. Equal logs, rings and seeds
/// go on alike.
///
/// # Errors
/// When the log can't be read or holds what this version can't.
pub fn open<'a>(
    log: Box<dyn ShardLog>,
    ring: KeyRing,
    seed: u64,
    checkpoints: impl IntoIterator<Item = Box<dyn Read + 'a>>,
) -> Result<(Front, Writer, Opened), OpenError> {
    // A seeded node that starts again must not roll the names of its first start once more.
    let mut seeds = SeededDice::new(seed ^ log.last_batch().0.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut dice = || SeededDice::new(seeds.roll());
    let writer_dice = dice();
    let mut live = Live::new(Sealer::new(ring.clone()), Counts::new(&mut dice));
    let mut opened = Opened::default();
    let mut loaded = Loaded { from: SeqVector::default(), latest: Moment(0) };
    for mut checkpoint in checkpoints {
        match live.load_checkpoint(&mut *checkpoint, &*log) {
            Ok(good)
                if log.start().0.iter().zip(&good.from.0).all(|(first, from)| first <= from) =>
            {
                loaded = good;
                opened.checkpoint = true;
                break;
            }
            Ok(_) => {
                tracing::warn!("checkpoint passed over: the journal behind it was removed");
                live = Live::new(Sealer::new(ring.clone()), Counts::new(&mut dice));
            }
            Err(error) => {
                tracing::warn!(%error, "checkpoint passed over");
                live = Live::new(Sealer::new(ring.clone()), Counts::new(&mut dice));
            }
        }
    }
    if opened.checkpoint {
        for (shard, next) in Shard::all().zip(loaded.from.0) {
            live.progress.note_applied(shard, Seq(next.0 - 1));
        }
    }
    log.verify(&loaded.from)?;
    let replayed = replay::replay(&live, &*log, &loaded.from, replay::Plan::new())?;
    for (shard, end) in Shard::all().zip(replayed.ends.0).filter(|(_, end)| end.0 > 0) {
        live.progress.note_applied(shard, end);
    }
    opened.replayed = replayed.facts;
    let latest = loaded.latest.max(replayed.latest);
    // A checkpoint before the first new fact must not forget the journal's time.
    live.progress.note_head(log.last_batch(), latest);
    live.show_all(latest);
    live.progress.note_durable(log.last_batch());
    let outbox = (0..BUCKETS)
        .flat_map(|bucket| live.cell_at(bucket).facts.outbox.keys().copied().collect::<Vec<_>>());
    let outbox = outbox.collect();
    let revised = (0..BUCKETS).flat_map(|bucket| live.cell_at(bucket).facts.revised.clone());
    let revised = revised.collect();
    let resume = Resume { latest, outbox, revised };
    let live = Arc::new(live);
    let writer = Writer::resume(Arc::clone(&live), log, resume, writer_dice)?;
    Ok((Front::new(live), writer, opened))
}

/// Calls `visit` with each fact of a block.
///
/// # Errors
/// When a decision can't be decoded.
pub fn fold(block: &Block, mut visit: impl FnMut(Stamp, &Kind)) -> Result<(), OpenError> {
    each_fact(block, |stamp, kind| visit(stamp, &kind))
}
