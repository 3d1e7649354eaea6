//! The journal's tail over a checkpoint, on all cores.
//!
//! A part of the state is a fold of the facts that touch it, and of nothing else. So the parts are dealt out to strands,
//! each of which gets its facts in the journal's order: every part then comes to what it would if one thread applied
//! one fact after the other, to the order in which its maps lie.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use prost::Message;

use crate::journal::{Block, ShardLog};
use crate::node::live::{Live, Place, each_place, locked};
use crate::node::load;
use crate::node::recover::OpenError;
use crate::node::strands::{self, STRANDS, Work};
use crate::state::{Stamp, route};
use crate::types::hash::mix;
use crate::types::ids::SeqVector;
use crate::types::proto::journal::v1::Decision;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::time::Moment;

/// Facts of a batch, at least: to hand one over costs little beside what is then done. A tail of fewer is replayed by
/// one thread.
const BATCH_FACTS: usize = 4_096;

/// How a tail is replayed.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Plan {
    /// Threads beside the one that reads.
    pub(in crate::node) threads: usize,
    /// Facts of a batch, at least.
    pub(in crate::node) batch_facts: usize,
}

impl Plan {
    /// Returns the plan for this machine.
    pub(in crate::node) fn new() -> Self {
        Self { threads: load::threads(), batch_facts: BATCH_FACTS }
    }
}

/// What was replayed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::node) struct Replayed {
    /// How many facts.
    pub(in crate::node) facts: u64,
    /// The latest moment of theirs.
    pub(in crate::node) latest: Moment,
    /// Of each shard, the last of them; 0: it has none.
    pub(in crate::node) ends: SeqVector,
}

/// Replays the facts from here on over what is loaded. Serving is shown nothing of it.
///
/// # Errors
/// With the first block that can't be read, or the first decision that can't be decoded. The state is unusable then.
pub(in crate::node) fn replay(
    live: &Live,
    log: &dyn ShardLog,
    from: &SeqVector,
    plan: Plan,
) -> Result<Replayed, OpenError> {
    let tail = Tail { live, replayed: Mutex::default() };
    let (read, applied) = strands::run(&tail, plan.threads, |hand_over| {
        let (mut blocks, mut facts) = (Vec::new(), 0);
        let read = log.read_from(from, &mut |block| {
            blocks.push(block.clone());
            facts += block.count as usize;
            if facts < plan.batch_facts {
                return ControlFlow::Continue(());
            }
            facts = 0;
            hand_over(std::mem::take(&mut blocks))
        });
        // What was read before the log failed may hold what can't be decoded.
        if !blocks.is_empty() {
            let _ = hand_over(blocks);
        }
        read
    });
    applied?;
    read?;
    Ok(tail.replayed.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Calls `visit` with each fact of a block.
pub(in crate::node) fn each_fact(
    block: &Block,
    mut visit: impl FnMut(Stamp, Kind),
) -> Result<(), OpenError> {
    let mut seq = block.first;
    for bytes in block.decisions() {
        let unknown = OpenError::UnknownFact { shard: block.shard.number(), seq: seq.0 };
        let Ok(decision) = Decision::decode(bytes) else { return Err(unknown) };
        for fact in decision.facts {
            let Some(kind) = fact.kind else { return Err(unknown) };
            visit(Stamp { shard: block.shard, seq, at: Moment(decision.at_ms) }, kind);
            seq = seq.plus(1);
        }
    }
    Ok(())
}

/// A journal's tail, as strands work on it.
struct Tail<'a> {
    live: &'a Live,
    replayed: Mutex<Replayed>,
}

/// Facts in the journal's order.
struct Facts {
    all: Vec<(Stamp, Kind)>,
    /// Of each strand, which facts touch which of its parts.
    touched: [Vec<(u32, Place)>; STRANDS],
}

/// Returns the strand that a part is dealt to.
fn strand_of(place: Place) -> usize {
    let number = |kind: u64, index: usize| kind << 32 | index as u64;
    let number = match place {
        Place::Bucket(bucket) => number(0, bucket),
        Place::Shard(shard) => number(1, shard),
        Place::Purses(chunk) => number(2, chunk),
        Place::Tallies(chunk) => number(3, chunk),
        Place::Desks(chunk) => number(4, chunk),
        Place::Feeds => number(5, 0),
        Place::Paces => number(5, 1),
        Place::Shapes => number(5, 2),
        Place::Catalog => number(5, 3),
    };
    (mix(number + 1) % STRANDS as u64) as usize
}

impl Work for Tail<'_> {
    type Raw = Vec<Block>;
    type Batch = Facts;
    type Error = OpenError;

    fn prepare(&self, blocks: Vec<Block>) -> Result<Facts, OpenError> {
        // As many as the blocks claim, if that can be.
        let count = blocks.iter().map(|block| block.count as usize).sum::<usize>();
        let mut facts = Facts {
            all: Vec::with_capacity(count.min(2 * BATCH_FACTS)),
            touched: std::array::from_fn(|_| Vec::new()),
        };
        let (mut latest, mut ends) = (Moment(i64::MIN), SeqVector::default());
        for block in &blocks {
            each_fact(block, |stamp, kind| {
                let at = facts.all.len() as u32;
                each_place(stamp, &route(&kind), |place| {
                    facts.touched[strand_of(place)].push((at, place));
                });
                latest = latest.max(stamp.at);
                ends.0[stamp.shard.index()] = stamp.seq;
                facts.all.push((stamp, kind));
            })?;
        }
        let mut replayed = locked(&self.replayed);
        replayed.facts += facts.all.len() as u64;
        replayed.latest = replayed.latest.max(latest);
        for (known, end) in replayed.ends.0.iter_mut().zip(ends.0) {
            *known = (*known).max(end);
        }
        Ok(facts)
    }

    fn apply(&self, facts: &Facts, strand: usize) {
        for (at, place) in &facts.touched[strand] {
            let (stamp, kind) = &facts.all[*at as usize];
            self.live.apply_at(*place, *stamp, kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::node::front::Front;
    use crate::node::lives::{append, checkpoint_of, empty, log_of, note_ends, one_by_one};
    use crate::types::ids::{Seq, Shard};

    #[test]
    fn many_threads_come_to_what_one_fact_after_the_other_does() {
        for (seed, threads, batch_facts) in [(1, 4, 7), (2, 3, 90), (3, 2, 400), (4, 3, 1 << 20)] {
            let log = log_of(seed, 3_000);
            let (plain, state) = one_by_one(&log);
            let live = empty();
            let plan = Plan { threads, batch_facts };
            let replayed = replay(&live, &log, &SeqVector::default(), plan).unwrap();
            let ends = Shard::all().map(|shard| Seq(log.tail(shard).unwrap().next.0 - 1));
            let ends: Vec<Seq> = ends.collect();
            let facts: u64 = ends.iter().map(|end| end.0).sum();
            assert_eq!((replayed.facts, &replayed.ends.0[..]), (facts, &ends[..]), "seed {seed}");
            note_ends(&live, &replayed.ends);
            live.progress.note_head(log.last_batch(), replayed.latest);
            let is_equal = checkpoint_of(&live) == checkpoint_of(&plain);
            assert!(is_equal, "seed {seed}, {threads} threads, {batch_facts} facts at once");
            assert_eq!(Front::new(Arc::new(live)).difference(&state), None, "seed {seed}");
        }
    }

    #[test]
    fn the_first_decision_that_is_not_known_is_told_whoever_finds_it() {
        let mut log = log_of(5, 700);
        let shard = |number| Shard::new(number).unwrap();
        let place = log.tail(shard(9)).unwrap().next;
        for number in [9, 3] {
            append(&mut log, shard(number), &[(b"no decision".to_vec(), 1)]);
        }
        for (threads, batch_facts) in [(1, 1 << 20), (4, 5), (3, 60)] {
            let plan = Plan { threads, batch_facts };
            let error = replay(&empty(), &log, &SeqVector::default(), plan).unwrap_err();
            let wanted = OpenError::UnknownFact { shard: 9, seq: place.0 };
            assert_eq!(error.to_string(), wanted.to_string(), "{threads} threads");
        }
    }
}
