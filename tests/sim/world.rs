//! One simulated node with its disk, its clock, its callers and its auditor.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io::{Cursor, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use munadi::journal::Block;
use munadi::journal::memory::MemoryDisk;
use munadi::node::writer::{Work, Writer};
use munadi::node::{Front, fold, open};
use munadi::state::State;
use munadi::tokens::KeyRing;
use munadi::types::ids::{BatchNo, JournalId};
use munadi::types::refusal::Reason;
use munadi::types::request::{Mutation, Resource, Verdict};
use munadi::types::time::Moment;

use crate::audit::{Finding, Key, Ledger, ensure};
use crate::coverage::Coverage;
use crate::faulty_log::{Fate, FaultyLog, SharedFate};
use crate::luck::Luck;
use crate::pen::Pen;
use crate::sent::Answer;
pub(crate) use crate::sent::Sent;
use crate::traffic::{Task, Town};

pub(crate) const JOURNAL: JournalId = JournalId(*b"simulated ledger");

/// Pieces of work that may wait for the writer.
const QUEUE_MAX: usize = 12;

/// 2026-11-20T00:00:00Z.
pub(crate) const START_MS: i64 = 1_795_132_800_000;

/// What callers were told of one thing they sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) recorded: u64,
    pub(crate) charged: i64,
    pub(crate) already: u64,
    /// Sent, and nobody knows what became of it.
    pub(crate) lost: u64,
    /// Sent and not answered yet.
    pub(crate) open: u64,
}

pub(crate) struct World {
    /// The true time; the node's clock may lie behind it.
    pub(crate) now_ms: i64,
    pub(crate) behind_ms: i64,
    /// The latest that the clock has ever said.
    pub(crate) clock_max: i64,
    pub(crate) luck: Luck,
    pub(crate) chaos: Luck,
    node_luck: Luck,
    /// What businesses send, and what platforms tell of it.
    pub(crate) talk: Luck,
    fate: SharedFate,
    disk: MemoryDisk,
    pub(crate) ring: KeyRing,
    engine: Option<(Front, Writer)>,
    pub(crate) generation: u64,
    pub(crate) ledger: Ledger,
    mirror: State,
    read: usize,
    queue: VecDeque<Work>,
    pending: BTreeMap<u64, Sent>,
    sender: Sender<(u64, Answer)>,
    receiver: Receiver<(u64, Answer)>,
    pub(crate) told: BTreeMap<Key, Told>,
    /// The first answer to each write.
    pub(crate) written: BTreeMap<(u32, String), Resource>,
    last_id: u64,
    agenda: BinaryHeap<Reverse<(i64, u64)>>,
    tasks: BTreeMap<u64, Task>,
    checkpoint: Option<Vec<u8>>,
    /// A checkpoint whose journal was not durable when it was copied.
    hasty: Option<(BatchNo, Vec<u8>)>,
    pub(crate) coverage: Coverage,
    pub(crate) town: Town,
    pub(crate) steps: u64,
    pub(crate) requests: u64,
    pub(crate) served: u64,
    stalled: u64,
    /// Whether every start is offered what checkpoints there are.
    pub(crate) offers: bool,
    /// Whether the run is short, so that everything happens more often.
    pub(crate) brief: bool,
}

impl World {
    /// Splits a seed into independent streams and opens an empty node.
    pub(crate) fn new(seed: u64) -> Self {
        Self::starting(seed, START_MS)
    }

    /// Opens an empty node at a time of its own.
    pub(crate) fn starting(seed: u64, start_ms: i64) -> Self {
        let mut seeds = Luck::new(seed);
        let (luck, chaos, node_luck) = (seeds.split(), seeds.split(), seeds.split());
        let (fault_luck, mut key_luck, talk) = (seeds.split(), seeds.split(), seeds.split());
        let mut random =
            |bytes: &mut [u8]| bytes.iter_mut().for_each(|byte| *byte = key_luck.roll() as u8);
        let mut ring = KeyRing::generate(&mut random, (start_ms / 1_000) as u32);
        [1, 2].into_iter().for_each(|feed| {
            ring.add_feed(feed, &mut random);
        });
        let (sender, receiver) = channel();
        let fate = Fate {
            luck: fault_luck,
            calm: true,
            silent: None,
            usurped: false,
            written: Vec::new(),
            coverage: Coverage::default(),
        };
        let mut world = Self {
            now_ms: start_ms,
            behind_ms: 0,
            clock_max: start_ms,
            luck,
            chaos,
            node_luck,
            talk,
            fate: Arc::new(Mutex::new(fate)),
            disk: MemoryDisk::new(JOURNAL),
            town: Town::new(&ring),
            ring,
            engine: None,
            generation: 0,
            ledger: Ledger::default(),
            mirror: State::default(),
            read: 0,
            queue: VecDeque::new(),
            pending: BTreeMap::new(),
            sender,
            receiver,
            told: BTreeMap::new(),
            written: BTreeMap::new(),
            last_id: 0,
            agenda: BinaryHeap::new(),
            tasks: BTreeMap::new(),
            checkpoint: None,
            hasty: None,
            coverage: Coverage::default(),
            steps: 0,
            requests: 0,
            served: 0,
            stalled: 0,
            offers: false,
            brief: false,
        };
        world.reopen().expect("an empty journal opens");
        world
    }

    pub(crate) fn set_calm(&mut self, calm: bool) {
        self.fate.lock().expect("one thread").calm = calm;
    }

    /// Lets the disk say nothing, and keep so many blocks when power goes.
    pub(crate) fn silence(&mut self, keep: u64) {
        self.fate.lock().expect("one thread").silent = Some(keep);
    }

    /// Lets another owner write where the next block was meant to stand.
    pub(crate) fn usurp(&mut self) {
        self.fate.lock().expect("one thread").usurped = true;
    }

    /// Returns how often a thing was said to be recorded, and to be known already.
    pub(crate) fn told_of(&self, key: &Key) -> (u64, u64) {
        self.told.get(key).map_or((0, 0), |told| (told.recorded, told.already))
    }

    /// Returns what the node's clock says.
    pub(crate) fn clock(&mut self) -> Moment {
        let clock = self.now_ms - self.behind_ms;
        self.clock_max = self.clock_max.max(clock);
        Moment(clock)
    }

    pub(crate) fn front(&self) -> Front {
        self.engine.as_ref().expect("open").0.clone()
    }

    fn writer(&mut self) -> &mut Writer {
        &mut self.engine.as_mut().expect("open").1
    }

    /// Returns every block that reached the disk.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        self.fate.lock().expect("one thread").written.clone()
    }

    pub(crate) fn schedule(&mut self, after_ms: i64, task: Task) {
        self.last_id += 1;
        self.agenda.push(Reverse((self.now_ms + after_ms, self.last_id)));
        self.tasks.insert(self.last_id, task);
    }

    /// Does the next thing on the agenda, and mostly lets the writer take a round.
    pub(crate) fn advance(&mut self) -> Finding {
        let Some(Reverse((at_ms, id))) = self.agenda.pop() else { return Ok(()) };
        self.now_ms = self.now_ms.max(at_ms);
        self.steps += 1;
        let task = self.tasks.remove(&id).expect("each entry has a task");
        self.perform(task)?;
        if self.stalled > 0 {
            self.stalled -= 1;
        } else if self.chaos.chance(600) {
            self.round()?;
        } else if self.chaos.chance(8) {
            self.stalled = self.chaos.below(40);
        }
        Ok(())
    }

    /// Forgets what was planned.
    pub(crate) fn clear_agenda(&mut self) {
        self.agenda.clear();
        self.tasks.clear();
    }

    /// Lets the writer take one round.
    pub(crate) fn round(&mut self) -> Finding {
        let now = self.clock();
        let room = self.writer().has_room();
        let works: Vec<_> = if room { self.queue.drain(..).collect() } else { Vec::new() };
        self.writer().step(now, works);
        self.take_answers()?;
        if self.writer().is_stopped() {
            return self.restart(false);
        }
        let durable = self.front().durable();
        if let Some((_, bytes)) = self.hasty.take_if(|(head, _)| *head <= durable) {
            self.checkpoint = Some(bytes);
        }
        Ok(())
    }

    /// Puts something before the writer. The world answers "busy" as the node's queue would.
    pub(crate) fn send(&mut self, sent: Sent) {
        if self.queue.len() >= QUEUE_MAX {
            self.coverage.note("fault", "queue full");
            self.coverage.note("refusal", Reason::Busy.name());
            self.schedule(30_000, Task::Resend(sent));
            return;
        }
        self.last_id += 1;
        let (id, sender) = (self.last_id, self.sender.clone());
        let work = sent.work(id, sender);
        for key in sent.keys() {
            self.told.entry(key).or_default().open += 1;
        }
        self.queue.push_back(work);
        self.pending.insert(id, sent);
    }

    /// Puts work before the writer past its queue's limit.
    pub(crate) fn put(&mut self, work: Work) {
        self.queue.push_back(work);
    }

    /// Returns whether a write is under way, so that nobody can say what holds.
    pub(crate) fn is_writing(&self) -> bool {
        self.pending.values().any(|sent| matches!(sent, Sent::Write(_)))
    }

    /// Writes to the catalog and waits for the answer.
    pub(crate) fn write(&mut self, mutation: Mutation) -> Result<Resource, String> {
        let key = (mutation.tenant, mutation.request_id.clone());
        self.send(Sent::Write(Box::new(mutation)));
        for _ in 0..100 {
            self.round()?;
            if let Some(answer) = self.written.get(&key) {
                return Ok(answer.clone());
            }
        }
        Err(format!("no answer to {key:?}"))
    }

    fn take_answers(&mut self) -> Finding {
        while let Ok((id, answer)) = self.receiver.try_recv() {
            let Some(sent) = self.pending.remove(&id) else { continue };
            match (answer, sent) {
                (Answer::Items(Ok(verdicts)), Sent::Items(items)) => {
                    ensure(verdicts.len() == items.len(), || "an item without an answer".into())?;
                    for ((key, _), verdict) in items.into_iter().zip(verdicts) {
                        self.hear(key, verdict);
                    }
                }
                (Answer::Write(Ok(answer)), Sent::Write(mutation)) => {
                    self.hear_written(&mutation, *answer)?;
                }
                (Answer::Done(Ok(())), sent @ (Sent::Fund(_) | Sent::Lists(_))) => {
                    for key in sent.keys() {
                        let told = self.told.entry(key).or_default();
                        told.open -= 1;
                        told.recorded += 1;
                    }
                }
                (
                    Answer::Items(Err(refusal))
                    | Answer::Write(Err(refusal))
                    | Answer::Done(Err(refusal)),
                    sent,
                ) => {
                    self.coverage.note("refusal", refusal.reason.name());
                    if refusal.reason == Reason::Unavailable {
                        self.lose(sent);
                    } else {
                        for key in sent.keys() {
                            self.told.entry(key).or_default().open -= 1;
                        }
                    }
                }
                _ => return Err("an answer of another kind".into()),
            }
        }
        Ok(())
    }

    fn hear(&mut self, key: Key, verdict: Verdict) {
        let told = self.told.entry(key).or_default();
        told.open -= 1;
        match verdict {
            Verdict::Recorded { charged, .. } => {
                told.recorded += 1;
                told.charged += charged;
            }
            Verdict::Already => told.already += 1,
            Verdict::Refused(refusal) => {
                self.coverage.note("refusal", refusal.reason.name());
            }
        }
    }

    fn hear_written(&mut self, mutation: &Mutation, answer: Resource) -> Finding {
        let key = (mutation.tenant, mutation.request_id.clone());
        let told = self.told.entry(Key::Write(key.0, key.1.clone())).or_default();
        told.open -= 1;
        if mutation.validate_only {
            return Ok(());
        }
        told.recorded += 1;
        let first = self.written.entry(key).or_insert_with(|| answer.clone());
        ensure(*first == answer, || format!("answered {answer:?} after {first:?}"))
    }

    /// Notes that nobody knows what became of it. Most callers send it again.
    fn lose(&mut self, sent: Sent) {
        for key in sent.keys() {
            let told = self.told.entry(key).or_default();
            told.open -= 1;
            told.lost += 1;
        }
        if self.chaos.chance(700) {
            let after_ms = self.chaos.between(100, 1_800_000);
            self.schedule(after_ms, Task::Resend(sent));
        }
    }

    /// Ends the node, in order or by pulling the plug, and starts it again on the same disk.
    pub(crate) fn restart(&mut self, orderly: bool) -> Finding {
        let now = self.clock();
        let (front, writer) = self.engine.take().expect("open");
        drop(front);
        let works = std::mem::take(&mut self.queue);
        if orderly {
            self.coverage.note("fault", "closed");
            writer.close(now).map_err(|error| error.to_string())?;
        } else {
            self.coverage.note("fault", "killed");
            drop(writer);
        }
        drop(works);
        self.take_answers()?;
        for (_, sent) in std::mem::take(&mut self.pending) {
            self.lose(sent);
        }
        self.generation += 1;
        self.town.forget_promises();
        self.reopen()?;
        self.read_journal()?;
        let difference = self.front().difference(&self.mirror);
        difference.map_or(Ok(()), |part| Err(format!("{part} differs from the journal's fold")))
    }

    fn reopen(&mut self) -> Finding {
        let mut offered: Vec<Vec<u8>> = Vec::new();
        if let Some((_, bytes)) = self.hasty.take()
            && (self.offers || self.chaos.chance(700))
        {
            offered.push(bytes);
        }
        if self.offers || self.chaos.chance(600) {
            offered.extend(self.checkpoint.clone());
        }
        let mut readers: Vec<Box<dyn Read>> = Vec::new();
        for bytes in offered {
            readers.push(Box::new(Cursor::new(bytes)));
        }
        let offered = readers.len();
        let log = Box::new(FaultyLog::open(&self.disk, &self.fate));
        let seed = self.node_luck.roll();
        let (front, writer, opened) =
            open(log, self.ring.clone(), seed, readers).map_err(|error| error.to_string())?;
        if opened.checkpoint {
            self.coverage.note("fault", "checkpoint used");
        } else {
            self.coverage.note("fault", "full replay");
        }
        if offered > usize::from(opened.checkpoint) {
            self.coverage.note("fault", "checkpoint refused");
        }
        self.engine = Some((front, writer));
        Ok(())
    }

    /// Lets the auditor count what has reached the disk.
    pub(crate) fn read_journal(&mut self) -> Finding {
        let fate = self.fate.lock().expect("one thread");
        for block in &fate.written[self.read..] {
            if self.ledger.begins_batch(block) {
                self.ledger.books.entries.compare(&self.mirror)?;
            }
            self.ledger.read(block)?;
            fold(block, |stamp, kind| self.mirror.apply(stamp, kind))
                .map_err(|error| error.to_string())?;
        }
        self.read = fate.written.len();
        self.ledger.books.entries.compare(&self.mirror)
    }

    /// Writes a checkpoint while the node runs.
    pub(crate) fn take_checkpoint(&mut self) -> Finding {
        let (front, generation) = (self.front(), self.generation);
        let mut pen = Pen { world: self, bytes: Vec::new(), writes: 0, finding: Ok(()) };
        let head = front.write_checkpoint(JOURNAL, &mut pen).map_err(|error| error.to_string())?;
        let Pen { bytes, finding, .. } = pen;
        finding?;
        // A node that died meanwhile has not finished it.
        if self.generation == generation {
            self.coverage.note("fault", "checkpoint while running");
            match front.durable() >= head {
                true => self.checkpoint = Some(bytes),
                false => self.hasty = Some((head, bytes)),
            }
        }
        Ok(())
    }

    /// Lets everything under way come to its end.
    pub(crate) fn settle(&mut self) -> Finding {
        for _ in 0..2_000 {
            self.round()?;
            if self.queue.is_empty() && self.writer().is_idle() && self.pending.is_empty() {
                return Ok(());
            }
        }
        Err("the writer never comes to rest".into())
    }

    /// Compares what the node says with what the auditor counted.
    pub(crate) fn audit(&mut self) -> Finding {
        self.settle()?;
        self.read_journal()?;
        if let Some(part) = self.front().difference(&self.mirror) {
            return Err(format!("{part} differs from the journal's fold"));
        }
        self.check_told()?;
        self.check_report()?;
        self.ledger.check_replies()?;
        ensure(self.ledger.served <= self.served, || "more served than handed out".into())
    }

    /// Lets the world go quiet and checks what must hold then.
    pub(crate) fn finish(&mut self) -> Finding {
        self.clear_agenda();
        self.set_calm(true);
        self.audit()?;
        self.clear_agenda();
        self.ledger.check_quiet()?;
        self.restart(true)?;
        self.audit()?;
        let fate = Arc::clone(&self.fate);
        self.coverage.add(&fate.lock().expect("one thread").coverage);
        self.coverage.add(&self.ledger.coverage);
        Ok(())
    }
}
