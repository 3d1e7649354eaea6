//! What every backend must do, as one suite; each backend calls it from its own tests.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::channel;

use crate::journal::{
    Block, BlockBuilder, BlockHash, Completed, LogError, Outcome, ShardLog, Tail, Ticket,
};
use crate::types::ids::{BatchNo, JournalId, Seq, SeqVector, Shard};

/// The journal the suite's logs must be made with.
pub(super) const JOURNAL: JournalId = JournalId(*b"conformance test");

/// Runs the suite; `make` returns a new empty log each time.
pub(super) fn conformance(make: impl Fn() -> Box<dyn ShardLog>) {
    sequences_are_dense_and_chained(make());
    what_does_not_continue_is_refused(make());
    a_refused_block_stops_its_followers(make());
    tickets_finish_in_order(make());
    interleaved_shards_are_read_in_log_order(make());
    only_durable_blocks_are_read(make());
    trimmed_facts_are_gone_and_missed(make());
    what_is_trimmed_is_never_too_much(make());
}

/// Returns shard `number`.
pub(super) fn shard(number: u8) -> Shard {
    Shard::new(number).expect("tests name shards below 65")
}

/// Returns a block that continues the log's shard with `facts` decisions of one fact each.
pub(super) fn block_after(log: &dyn ShardLog, number: u8, batch: u64, facts: u32) -> Block {
    let tail = log.tail(shard(number)).unwrap();
    sealed(number, tail, batch, log.last_batch(), facts)
}

/// Returns a block of `facts` decisions, each of which names its shard and sequence.
pub(super) fn sealed(number: u8, tail: Tail, batch: u64, durable: BatchNo, facts: u32) -> Block {
    let mut builder = BlockBuilder::new(shard(number), tail.next);
    for _ in 0..facts {
        let decision = format!("shard {number} fact {}", builder.next());
        builder.push(decision.as_bytes(), 1);
    }
    builder.seal(JOURNAL, BatchNo(batch), durable, tail.hash)
}

/// Waits until `count` tickets have finished and returns them.
pub(super) fn finish(log: &mut dyn ShardLog, count: usize) -> Vec<Completed> {
    let (sender, wakes) = channel();
    log.on_completion(Arc::new(move || {
        let _ = sender.send(());
    }));
    let mut finished = Vec::new();
    while finished.len() < count {
        match log.completed() {
            Some(completed) => finished.push(completed),
            None => wakes.recv().expect("the log holds the sender"),
        }
    }
    finished
}

/// Appends a block and waits until it is durable.
pub(super) fn append(log: &mut dyn ShardLog, number: u8, batch: u64, facts: u32) -> Block {
    let block = block_after(log, number, batch, facts);
    let ticket = log.submit(block.clone());
    assert_eq!(finish(log, 1), [Completed { ticket, outcome: Outcome::Done }]);
    block
}

/// Returns all blocks a log gives from there.
pub(super) fn read(log: &dyn ShardLog, from: &SeqVector) -> Result<Vec<Block>, LogError> {
    let mut blocks = Vec::new();
    log.read_from(from, &mut |block| {
        blocks.push(block.clone());
        ControlFlow::Continue(())
    })?;
    Ok(blocks)
}

fn outcome(log: &mut dyn ShardLog, block: Block) -> Outcome {
    log.submit(block);
    finish(log, 1)[0].outcome
}

fn from_where(places: &[(u8, u64)]) -> SeqVector {
    let mut from = SeqVector::default();
    places.iter().for_each(|(number, seq)| from.0[shard(*number).index()] = Seq(*seq));
    from
}

fn sequences_are_dense_and_chained(mut log: Box<dyn ShardLog>) {
    assert_eq!(log.journal_id(), JOURNAL);
    assert_eq!(log.tail(shard(7)).unwrap(), Tail::START);
    assert_eq!(log.last_batch(), BatchNo(0));
    let one = append(&mut *log, 7, 1, 3);
    let two = append(&mut *log, 7, 2, 1);
    assert_eq!((one.first, two.first), (Seq(1), Seq(4)));
    assert_eq!(two.previous(), one.hash);
    assert_eq!(log.tail(shard(7)).unwrap(), Tail { next: Seq(5), hash: two.hash });
    assert_eq!(log.tail(shard(8)).unwrap(), Tail::START);
    assert_eq!(log.last_batch(), BatchNo(2));
    log.close().unwrap();
}

fn what_does_not_continue_is_refused(mut log: Box<dyn ShardLog>) {
    let first = append(&mut *log, 1, 1, 2);
    let tail = Tail::after(&first);
    let gap = Tail { next: Seq(4), ..tail };
    let again = Tail { next: Seq(2), ..tail };
    let wrong_chain = Tail { hash: BlockHash([1; 16]), ..tail };
    for wrong in [gap, again, wrong_chain, Tail::START] {
        let block = sealed(1, wrong, 2, BatchNo(1), 1);
        assert_eq!(outcome(&mut *log, block), Outcome::Refused, "{wrong:?}");
    }
    assert_eq!(outcome(&mut *log, first), Outcome::Refused, "the same block again");
    let too_sure = sealed(1, tail, 2, BatchNo(2), 1);
    assert_eq!(outcome(&mut *log, too_sure), Outcome::Refused, "claims its own batch is durable");
    let mut builder = BlockBuilder::new(shard(1), tail.next);
    builder.push(b"fact", 1);
    let foreign = builder.seal(JournalId([0; 16]), BatchNo(2), BatchNo(1), tail.hash);
    assert_eq!(outcome(&mut *log, foreign), Outcome::Refused, "another journal");
    assert_eq!(log.tail(shard(1)).unwrap(), tail);
    assert_eq!(read(&*log, &SeqVector::default()).unwrap().len(), 1);
    assert_eq!(outcome(&mut *log, sealed(1, tail, 2, BatchNo(1), 1)), Outcome::Done);
}

fn a_refused_block_stops_its_followers(mut log: Box<dyn ShardLog>) {
    let missing = sealed(1, Tail::START, 1, BatchNo(0), 1);
    let refused = sealed(1, Tail::after(&missing), 1, BatchNo(0), 1);
    let follower = sealed(1, Tail::after(&refused), 2, BatchNo(0), 1);
    let stranger = sealed(2, Tail::START, 2, BatchNo(0), 1);
    log.submit_all(vec![refused, follower, stranger]);
    let outcomes: Vec<_> = finish(&mut *log, 3).iter().map(|done| done.outcome).collect();
    assert_eq!(outcomes, [Outcome::Refused, Outcome::Refused, Outcome::Done]);
}

fn tickets_finish_in_order(mut log: Box<dyn ShardLog>) {
    let mut tickets = Vec::new();
    for batch in 1..=20 {
        let number = (batch % 5) as u8;
        let block = block_after(&*log, number, batch, 1);
        if batch % 7 == 0 {
            tickets.push(log.submit(sealed(number, Tail::START, batch, BatchNo(9_999), 1)));
        }
        tickets.push(log.submit(block));
    }
    let finished: Vec<_> = finish(&mut *log, tickets.len()).iter().map(|c| c.ticket).collect();
    assert_eq!(finished, tickets);
    assert!(tickets.is_sorted());
    assert_eq!(log.completed(), None);
    let blocks = vec![block_after(&*log, 1, 21, 1), block_after(&*log, 2, 21, 1)];
    let last = log.submit_all(blocks);
    let both: Vec<_> = finish(&mut *log, 2).iter().map(|c| c.ticket).collect();
    assert_eq!(both, [Ticket(last.0 - 1), last]);
}

fn interleaved_shards_are_read_in_log_order(mut log: Box<dyn ShardLog>) {
    let mut written = Vec::new();
    for batch in 1..=6 {
        for number in [64, 0, 5] {
            written.push(append(&mut *log, number, batch, 2));
        }
    }
    assert_eq!(read(&*log, &SeqVector::default()).unwrap(), written);
    // Shard 0 from the second fact of its second block; shard 5 from behind its end.
    let from = from_where(&[(0, 4), (5, 13), (64, 11)]);
    let expected: Vec<_> = written
        .iter()
        .filter(|block| match block.shard.number() {
            0 => block.batch >= BatchNo(2),
            5 => false,
            _ => block.batch >= BatchNo(6),
        })
        .cloned()
        .collect();
    assert_eq!(read(&*log, &from).unwrap(), expected);
    let mut visited = 0;
    log.read_from(&SeqVector::default(), &mut |_| {
        visited += 1;
        if visited == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(visited, 4);
    let decisions: Vec<_> = written[1].decisions().collect();
    assert_eq!(decisions, [b"shard 0 fact 1", b"shard 0 fact 2"]);
}

fn only_durable_blocks_are_read(mut log: Box<dyn ShardLog>) {
    log.submit(block_after(&*log, 3, 1, 1));
    // A backend may have finished it already; then it says so.
    let early = read(&*log, &SeqVector::default()).unwrap();
    assert!(early.is_empty() || log.last_batch() == BatchNo(1));
    assert_eq!(log.tail(shard(3)).unwrap().next, Seq(2), "an accepted block counts in the tail");
    assert_eq!(finish(&mut *log, 1)[0].outcome, Outcome::Done);
    assert_eq!(read(&*log, &SeqVector::default()).unwrap().len(), 1);
}

fn trimmed_facts_are_gone_and_missed(mut log: Box<dyn ShardLog>) {
    let start = fill(&mut *log);
    assert_eq!(start, log.start(), "nothing is trimmed yet");
    let ends = SeqVector(std::array::from_fn(|at| log.tail(shard(at as u8)).unwrap().next));
    assert_eq!(log.trim(&SeqVector::default()).unwrap(), 0);
    assert!(log.trim(&ends).unwrap() > 0);
    let start = log.start();
    assert!(start.0[1] > Seq(1), "{start:?}");
    assert!(matches!(
        read(&*log, &SeqVector::default()),
        Err(LogError::Trimmed { shard, first }) if shard == self::shard(1) && first == start.0[1]
    ));
    for block in read(&*log, &start).unwrap() {
        assert!(block.first >= start.0[block.shard.index()]);
    }
    append(&mut *log, 1, 1_000, 1);
}

fn what_is_trimmed_is_never_too_much(mut log: Box<dyn ShardLog>) {
    fill(&mut *log);
    // Shard 2 is needed from its fourth fact, whatever else is not.
    let mut below = SeqVector([Seq(u64::MAX); _]);
    below.0[2] = Seq(4);
    log.trim(&below).unwrap();
    let start = log.start();
    assert!(start.0[2] <= Seq(4), "{start:?}");
    let mut from = start.clone();
    from.0[2] = Seq(4);
    let kept = read(&*log, &from).unwrap();
    let first = kept.iter().find(|block| block.shard == shard(2)).unwrap();
    assert!(first.first <= Seq(4));
}

/// Writes enough blocks to shards 1 and 2 for a backend to have something to trim.
fn fill(log: &mut dyn ShardLog) -> SeqVector {
    for batch in 1..=60 {
        append(log, 1, batch, 20);
        append(log, 2, batch, 1);
    }
    SeqVector([Seq(1); _])
}
