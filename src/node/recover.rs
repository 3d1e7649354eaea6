//! Opening: a checkpoint if there is a good one, then the journal's tail.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use prost::Message;

use crate::journal::{Block, LogError, ShardLog};
use crate::node::checkpoint::Loaded;
use crate::node::counts::Counts;
use crate::node::dice::SeededDice;
use crate::node::front::Front;
use crate::node::live::Live;
use crate::node::writer::{Resume, Writer};
use crate::state::{BUCKETS, Stamp};
use crate::tokens::{KeyRing, Sealer};
use crate::types::dice::Dice;
use crate::types::ids::{Seq, SeqVector, Shard};
use crate::types::proto::journal::v1::{Decision, fact::Kind};
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

/// Opens an engine over a log: readers' side and writer, no thread started. Equal logs, rings and seeds
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
    let latest = replay(&live, &*log, &loaded, &mut opened)?;
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

fn replay(
    live: &Live,
    log: &dyn ShardLog,
    loaded: &Loaded,
    opened: &mut Opened,
) -> Result<Moment, OpenError> {
    let (mut latest, mut failed) = (loaded.latest, None);
    log.read_from(&loaded.from, &mut |block| {
        let folded = fold(block, |stamp, kind| {
            live.apply(stamp, kind);
            live.progress.note_applied(stamp.shard, stamp.seq);
            latest = latest.max(stamp.at);
            opened.replayed += 1;
        });
        match folded {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(latest), Err)
}

/// Calls `visit` with each fact of a block.
///
/// # Errors
/// When a decision can't be decoded.
pub fn fold(block: &Block, mut visit: impl FnMut(Stamp, &Kind)) -> Result<(), OpenError> {
    let mut seq = block.first;
    for bytes in block.decisions() {
        let unknown = OpenError::UnknownFact { shard: block.shard.number(), seq: seq.0 };
        let Ok(decision) = Decision::decode(bytes) else { return Err(unknown) };
        for fact in &decision.facts {
            let Some(kind) = &fact.kind else { return Err(unknown) };
            visit(Stamp { shard: block.shard, seq, at: Moment(decision.at_ms) }, kind);
            seq = seq.plus(1);
        }
    }
    Ok(())
}
