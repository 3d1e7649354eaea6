//! The records of a checkpoint, read by one thread; checked, decoded and stored by all cores.
//!
//! A record is found by its head alone; whoever stores it checks it first. Records that build on one another come to
//! the reading thread, in their order. The first record of the file that is no good says what is wrong, whichever
//! thread finds it.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};

use crate::node::live::locked;

/// Most threads that work on a restart beside the one that reads. Two hyperthreads share what waits for memory.
const RECOVERY_THREADS_MAX: usize = 16;

/// Bytes of records that are handed over at once: to wake a thread costs little beside what it then does.
const BATCH_BYTES: usize = 1 << 20;

/// The largest record that is read back: a broken length must not ask for more memory than this.
const RECORD_BYTES_MAX: u32 = 1 << 30;

/// Bytes before a record's own: part 1, index 4, length 4, CRC32C of those and of what follows 4.
pub(in crate::node) const RECORD_HEAD_BYTES: usize = 13;

/// Returns how many threads a restart may use beside the one that reads.
pub(in crate::node) fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get).min(RECOVERY_THREADS_MAX)
}

/// Returns the checksum of a record: of its part, index and length too, so that none is taken for another.
pub(in crate::node) fn checksum_of(head: &[u8; RECORD_HEAD_BYTES], bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&head[..9]), bytes)
}

pub(in crate::node) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What a record says of itself.
struct Head {
    part: u8,
    index: usize,
    length: usize,
    checksum: u32,
}

impl Head {
    fn of(bytes: &[u8; RECORD_HEAD_BYTES]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            part: bytes[0],
            index: word(1) as usize,
            length: word(5) as usize,
            checksum: word(9),
        }
    }
}

/// How a checkpoint is loaded.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Plan {
    /// Threads beside the one that reads. They begin once there is more than one batch.
    pub(in crate::node) threads: usize,
    /// Bytes of records that are handed over at once.
    pub(in crate::node) batch_bytes: usize,
    /// The part whose record ends the file.
    pub(in crate::node) end: u8,
    /// Parts whose records build on one another.
    pub(in crate::node) ordered: &'static [u8],
}

impl Plan {
    /// Returns the plan for this machine.
    pub(in crate::node) fn new(end: u8, ordered: &'static [u8]) -> Self {
        Self { threads: threads(), batch_bytes: BATCH_BYTES, end, ordered }
    }
}

/// What a file of records ends with.
#[derive(Debug)]
pub(in crate::node) struct End {
    /// How many records precede it.
    pub(in crate::node) records: u64,
    /// Its own bytes.
    pub(in crate::node) bytes: Vec<u8>,
}

/// Some records, one behind the other, as they lie in the file.
#[derive(Default)]
struct Batch {
    /// How many precede them in the file.
    first: u64,
    /// They are its first `filled` bytes: what lies behind is room that is used again.
    bytes: Vec<u8>,
    filled: usize,
    /// Whether they build on one another.
    ordered: bool,
}

impl Batch {
    /// Reads the bytes of a record whose head is known.
    fn read(&mut self, head: &[u8; RECORD_HEAD_BYTES], input: &mut dyn Read) -> io::Result<()> {
        let mut at = self.filled + RECORD_HEAD_BYTES;
        let end = at + Head::of(head).length;
        self.make_room(at);
        self.bytes[self.filled..at].copy_from_slice(head);
        while at < end {
            // Bit by bit: a broken length asks for little more memory than the file has bytes.
            let next = end.min(at + BATCH_BYTES);
            self.make_room(next);
            input.read_exact(&mut self.bytes[at..next])?;
            at = next;
        }
        self.filled = end;
        Ok(())
    }

    fn make_room(&mut self, end: usize) {
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
    }

    /// Checks and stores each record; the first that is no good is told with its number.
    fn store(&self, store: &Store<'_>) -> Result<(), (u64, io::Error)> {
        let mut rest = &self.bytes[..self.filled];
        for number in self.first.. {
            let Some((head, behind)) = rest.split_first_chunk::<RECORD_HEAD_BYTES>() else { break };
            let Head { part, index, length, checksum } = Head::of(head);
            let (bytes, behind) = behind.split_at(length);
            if checksum_of(head, bytes) != checksum {
                return Err((number, invalid("a checksum does not fit")));
            }
            store(part, index, bytes).map_err(|error| (number, error))?;
            rest = behind;
        }
        Ok(())
    }
}

/// Decodes and stores a record: its part, its index, its bytes.
type Store<'a> = dyn Fn(u8, usize, &[u8]) -> io::Result<()> + Sync + 'a;

/// The first record that is no good, as far as is known.
#[derive(Default)]
struct Failure(Mutex<Option<(u64, io::Error)>>);

impl Failure {
    fn note(&self, number: u64, error: io::Error) {
        let mut first = locked(&self.0);
        if first.as_ref().is_none_or(|(known, _)| number < *known) {
            *first = Some((number, error));
        }
    }

    /// Tells whether a record before this one is no good.
    fn precedes(&self, number: u64) -> bool {
        locked(&self.0).as_ref().is_some_and(|(known, _)| *known < number)
    }
}

/// Reads records up to the one that ends the file, and not a byte further; stores all before it, on several threads.
///
/// # Errors
/// That of the first record in the file that can't be read, does not fit its checksum or is refused by `store`.
pub(in crate::node) fn load(
    input: &mut dyn Read,
    plan: Plan,
    store: &Store<'_>,
) -> io::Result<End> {
    let first = Failure::default();
    let failure = &first;
    let end = thread::scope(|scope| {
        let (give_back, spare) = channel();
        let (hand, batch) = (None, Batch::default());
        let mut reader = Reader { plan, store, failure, scope, hand, give_back, spare, batch };
        let (mut records, mut end) = (0, None);
        while end.is_none() && !failure.precedes(records) {
            match reader.step(input, records) {
                Ok(ended) => end = ended,
                Err(error) => {
                    failure.note(records, error);
                    // One that was read before it may be no good either.
                    reader.hand_over(records);
                }
            }
            records += 1;
        }
        end
    });
    match first.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, error)) => Err(error),
        None => end.ok_or_else(|| invalid("it has no end")),
    }
}

/// The thread that reads.
struct Reader<'scope, 'env> {
    plan: Plan,
    store: &'env Store<'env>,
    failure: &'env Failure,
    scope: &'scope Scope<'scope, 'env>,
    /// Where batches go, once there is anybody to take them.
    hand: Option<SyncSender<Batch>>,
    give_back: Sender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
    batch: Batch,
}

impl<'scope, 'env> Reader<'scope, 'env> {
    /// Reads one record, before which there were so many; returns it if it ends the file.
    fn step(&mut self, input: &mut dyn Read, records: u64) -> io::Result<Option<End>> {
        let mut bytes = [0; RECORD_HEAD_BYTES];
        input.read_exact(&mut bytes)?;
        let head = Head::of(&bytes);
        if head.length > RECORD_BYTES_MAX as usize {
            return Err(invalid("a record is longer than any can be"));
        }
        if head.part == self.plan.end {
            self.hand_over(records);
            let mut end = Batch::default();
            end.read(&bytes, input)?;
            let end = end.bytes.split_off(RECORD_HEAD_BYTES);
            if checksum_of(&bytes, &end) != head.checksum {
                return Err(invalid("a checksum does not fit"));
            }
            return Ok(Some(End { records, bytes: end }));
        }
        let ordered = self.plan.ordered.contains(&head.part);
        if ordered != self.batch.ordered {
            self.hand_over(records);
            self.batch.ordered = ordered;
        }
        self.batch.read(&bytes, input)?;
        if self.batch.filled >= self.plan.batch_bytes {
            self.start();
            self.hand_over(records + 1);
        }
        Ok(None)
    }

    /// Lets the batch be stored: here if its records build on one another, or as long as nobody else is there.
    /// `next` records were read with it.
    fn hand_over(&mut self, next: u64) {
        let hand = self.hand.as_ref().filter(|_| !self.batch.ordered);
        let Some(hand) = hand else {
            if let Err((number, error)) = self.batch.store(self.store) {
                self.failure.note(number, error);
            }
            self.batch = Batch { first: next, filled: 0, ..std::mem::take(&mut self.batch) };
            return;
        };
        let bytes = self.spare.try_recv().unwrap_or_default();
        let fresh = Batch { first: next, bytes, ..Batch::default() };
        // Nobody takes it only where all have panicked, which the scope tells.
        drop(hand.send(std::mem::replace(&mut self.batch, fresh)));
    }

    /// Lets the other threads begin, if they have not.
    fn start(&mut self) {
        if self.hand.is_some() {
            return;
        }
        let (hand, batches) = sync_channel(self.plan.threads);
        let batches = Arc::new(Mutex::new(batches));
        for _ in 0..self.plan.threads {
            let (batches, spent) = (Arc::clone(&batches), self.give_back.clone());
            let (store, failure) = (self.store, self.failure);
            self.scope.spawn(move || work(&batches, &spent, store, failure));
        }
        self.hand = Some(hand);
    }
}

/// Stores batches as they come. They are taken in their order: where one fails, all before it were taken, and are stored
/// to their ends; those behind it are let go.
fn work(
    batches: &Mutex<Receiver<Batch>>,
    spent: &Sender<Vec<u8>>,
    store: &Store<'_>,
    failure: &Failure,
) {
    loop {
        let taken = locked(batches).recv();
        let Ok(batch) = taken else { return };
        if !failure.precedes(batch.first)
            && let Err((number, error)) = batch.store(store)
        {
            failure.note(number, error);
        }
        // The reader may have come to its end.
        drop(spent.send(batch.bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::types::hash::mix;

    const END: u8 = 7;
    const ORDERED: u8 = 6;
    const REFUSED: u8 = 99;

    fn plan(threads: usize, batch_bytes: usize) -> Plan {
        Plan { threads, batch_bytes, end: END, ordered: &[ORDERED] }
    }

    fn record(part: u8, index: u32, bytes: &[u8]) -> Vec<u8> {
        let mut head = [0; RECORD_HEAD_BYTES];
        head[0] = part;
        head[1..5].copy_from_slice(&index.to_le_bytes());
        head[5..9].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        let checksum = checksum_of(&head, bytes);
        head[9..].copy_from_slice(&checksum.to_le_bytes());
        [&head, bytes].concat()
    }

    /// Returns the records of a file, the last one its end.
    fn records(seed: u64) -> Vec<Vec<u8>> {
        let luck = |step: u64| mix(seed << 32 | step);
        let count = luck(0) % 60;
        let each = (0..count).map(|number| {
            let luck = luck(number + 1);
            let part = if number * 4 > count * 3 { ORDERED } else { (luck % 5) as u8 + 1 };
            record(part, number as u32, &vec![luck as u8; (luck >> 8) as usize % 90])
        });
        each.chain([record(END, 0, b"the end")]).collect()
    }

    /// What a reader that does one thing after the other stores, and what it says.
    fn one_by_one(mut input: &[u8], stored: &mut Vec<(u8, usize, Vec<u8>)>) -> io::Result<End> {
        for records in 0.. {
            let mut head = [0; RECORD_HEAD_BYTES];
            input.read_exact(&mut head)?;
            let Head { part, index, length, checksum } = Head::of(&head);
            if length > RECORD_BYTES_MAX as usize {
                return Err(invalid("a record is longer than any can be"));
            }
            let mut bytes = vec![0; length];
            input.read_exact(&mut bytes)?;
            if checksum_of(&head, &bytes) != checksum {
                return Err(invalid("a checksum does not fit"));
            }
            match part {
                END => return Ok(End { records, bytes }),
                REFUSED => return Err(invalid("refused")),
                _ => stored.push((part, index, bytes)),
            }
        }
        unreachable!("a file is finite")
    }

    #[test]
    fn all_threads_store_what_one_would_and_not_a_byte_behind_the_end_is_read() {
        for seed in 0..24 {
            let file = [&records(seed).concat()[..], b"of somebody else"].concat();
            let mut wanted = Vec::new();
            let end = one_by_one(&file, &mut wanted).unwrap();
            for (threads, batch_bytes) in [(1, 1), (3, 150), (4, 1), (4, 1 << 20)] {
                let stored = Mutex::new(BTreeMap::new());
                let reading = thread::current().id();
                let last = Mutex::new(None);
                let mut input = &file[..];
                let store = |part: u8, index: usize, bytes: &[u8]| {
                    if part == ORDERED {
                        assert_eq!(thread::current().id(), reading, "seed {seed}");
                        let before = locked(&last).replace(index);
                        assert!(before.is_none_or(|before| before < index), "seed {seed}");
                    }
                    let again = locked(&stored).insert(index, (part, index, bytes.to_vec()));
                    assert!(again.is_none(), "seed {seed}: record {index} came twice");
                    Ok(())
                };
                let found = load(&mut input, plan(threads, batch_bytes), &store).unwrap();
                assert_eq!((found.records, &found.bytes), (end.records, &end.bytes));
                assert_eq!(input, b"of somebody else", "seed {seed}");
                let stored: Vec<_> = stored.into_inner().unwrap().into_values().collect();
                assert_eq!(stored, wanted, "seed {seed}, {threads} threads");
            }
        }
    }

    #[test]
    fn of_several_bad_records_the_first_in_the_file_is_told_by_any_number_of_threads() {
        for seed in 0..100_u64 {
            let mut records = records(seed);
            let luck = |step: u64| mix(seed << 32 | 1 << 20 | step) as usize;
            for step in 0..1 + luck(9) as u64 % 3 {
                let at = luck(step * 4) % records.len();
                let byte = luck(step * 4 + 1) % records[at].len().max(1);
                match luck(step * 4 + 2) % 5 {
                    _ if records[at].is_empty() => {}
                    0 => records[at][byte] ^= 0x10,
                    1 if records[at].len() > 8 => records[at][8] = 0xFF,
                    2 => records[at].truncate(byte),
                    3 => records[at] = record(REFUSED, 0, b"unknown"),
                    _ => drop(records.remove(at)),
                }
                if records.is_empty() {
                    break;
                }
            }
            let file = records.concat();
            let told = |end: io::Result<End>| match end {
                Ok(end) => format!("{} records", end.records),
                Err(error) => format!("{:?}: {error}", error.kind()),
            };
            let wanted = told(one_by_one(&file, &mut Vec::new()));
            for (threads, batch_bytes) in [(1, 1), (4, 1), (3, 200), (4, 1 << 20)] {
                let store = |part: u8, _: usize, _: &[u8]| match part {
                    REFUSED => Err(invalid("refused")),
                    _ => Ok(()),
                };
                let found = told(load(&mut &file[..], plan(threads, batch_bytes), &store));
                assert_eq!(found, wanted, "seed {seed}, {threads} threads of {batch_bytes} bytes");
            }
        }
    }
}
