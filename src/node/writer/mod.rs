//! The single writer: decides, applies, frames and submits; acknowledges what is durable.
//!
//! A plain struct with [`Writer::step`]: a thread drives it in a node, the simulation by hand.

mod desk;
mod erase;
mod imports;
mod intake;
mod keys;
mod money;
mod outbox;
mod push;
mod revise;
mod rules;
mod sources;
mod taps;
mod tick;

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use prost::Message;

use crate::decide::index::Rebased;
use crate::decide::purse::LineId;
use crate::journal::{
    BLOCK_BYTES_MAX, Block, BlockBuilder, BlockHash, LogError, Outcome, ShardLog, Ticket, Wake,
};
use crate::node::dice::SeededDice;
use crate::node::indexer::{Indexer, Rebaser, ad_change};
use crate::node::live::Live;
use crate::node::meters::{Spend, count_batch};
use crate::node::openings::Openings;
use crate::node::pacer::Pacer;
use crate::node::schedules::Schedules;
use crate::node::traffic::LateTraffic;
use crate::node::writer::taps::RecentTaps;
use crate::state::ledger::Seal;
use crate::state::{Stamp, invalid_of};
use crate::types::ids::{BatchNo, SHARDS_ALL, Seq, SeqVector, Shard};
use crate::types::proto::journal::v1::{
    ChangeNoted, ConversionsPushed, Decision, Fact, MessagePriced, PriceMismatch, fact::Kind,
};
use crate::types::proto::v1::{FundAccountResponse, PriceReason, SetConversionPushResponse};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{
    FundRequest, Import, ImportVerdict, Incoming, KeyMutation, KeyWritten, ListMutation, Mutation,
    PushChange, Resource, Verdict,
};
use crate::types::time::Moment;

/// Batches that may wait for the disk at once. More would only lengthen the wait.
pub const BATCHES_IN_FLIGHT_MAX: u64 = 4;

/// Events that a round is begun for while the disk is busy: what judging costs then outweighs what a round and a
/// batch cost whatever is in them.
const ROUND_EVENTS_LEAST: usize = 256;

pub use money::Credit;

/// Told once the answer stands in the journal, or why it never will.
pub type Reply<T> = Box<dyn FnOnce(Result<T, Refusal>) + Send>;

/// One piece of work for the writer.
pub enum Work {
    /// Events to judge and count, each alone.
    Record(Vec<Incoming>, Reply<Vec<Verdict>>),
    /// Events of another system to judge and count, each alone.
    Import(Arc<Import>, Reply<Vec<ImportVerdict>>),
    /// A write to the catalog.
    Mutate(Box<Mutation>, Reply<Resource>),
    /// A write to the operator's lists or rules; answered with the entries or rules there are now.
    MutateLists(Box<ListMutation>, Reply<u32>),
    /// Money or promo credit that comes or goes.
    Fund(Box<FundRequest>, Reply<FundAccountResponse>),
    /// Charges to be given back.
    Credit(Box<Credit>, Reply<()>),
    /// A write of where an account's conversions are sent.
    SetPush(Box<PushChange>, Reply<SetConversionPushResponse>),
    /// A write to the API keys.
    WriteKey(Box<KeyMutation>, Reply<KeyWritten>),
    /// Tells the log of changes of something that is changed next, or is not journaled itself.
    Note(Box<ChangeNoted>, Reply<()>),
    /// What became of conversions on their way out.
    Pushed(Box<ConversionsPushed>, Reply<()>),
    /// A viewer to be forgotten; answered with whether anything of it was remembered.
    Erase(u64, Reply<bool>),
    /// Segments of the index that were merged behind.
    Rebased(Box<Rebased>),
    /// Ads whose rows must be built anew.
    Refresh(Vec<u64>),
    /// Nothing: answered with the journal's time once all that came before it is durable.
    Settle(Reply<Moment>),
}

impl Work {
    /// Returns how many events it holds. Other work counts as one.
    pub(in crate::node) fn events(&self) -> usize {
        match self {
            Self::Record(items, _) => items.len().max(1),
            Self::Import(import, _) => import.items.len().max(1),
            _ => 1,
        }
    }
}

/// A block that was handed to the log.
struct InFlight {
    ticket: Ticket,
    block: Block,
    /// When it was cut.
    at: Moment,
}

/// What waits for a batch to be durable.
struct Waiting {
    batch: BatchNo,
    tell: Box<dyn FnOnce(Option<Refusal>) + Send>,
}

/// What a writer needs to go on where a journal ends.
pub(in crate::node) struct Resume {
    /// The journal's latest time.
    pub(in crate::node) latest: Moment,
    /// Openings and conversions that were not settled yet.
    pub(in crate::node) outbox: Vec<u64>,
    /// Revised openings whose conversations don't know it yet, with their viewers.
    pub(in crate::node) revised: Vec<(u64, u64)>,
}

/// The single writer of all shards.
pub struct Writer {
    live: Arc<Live>,
    log: Box<dyn ShardLog>,
    builders: Vec<BlockBuilder>,
    hashes: Box<[BlockHash; SHARDS_ALL]>,
    /// The journal's time. It never goes back, whatever the clock does.
    latest: Moment,
    /// The batch being filled.
    batch: BatchNo,
    /// The last batch with anything in it.
    head: BatchNo,
    durable: BatchNo,
    in_flight: VecDeque<InFlight>,
    waiting: VecDeque<Waiting>,
    due: BTreeSet<(i64, LineId)>,
    /// Lines that were written in this round and not granted yet.
    ungranted: Vec<LineId>,
    outbox: VecDeque<u64>,
    /// Revised openings that their conversations must hear of, with their viewers.
    revised: VecDeque<(u64, u64)>,
    minute: u32,
    /// The last seal of the ledgers that this writer journaled; none at first.
    sealed: Seal,
    /// When other exchange rates come into force than those last shown; `None`: at no time.
    exchange_due: Option<Moment>,
    traffic: LateTraffic,
    taps: RecentTaps,
    indexer: Indexer,
    pacer: Pacer,
    schedules: Schedules,
    openings: Openings,
    dice: SeededDice,
    spend: Spend,
    /// Viewers that are forgotten once nothing on its way is theirs.
    erasing: Vec<(u64, Reply<bool>)>,
    stopped: bool,
}

impl Writer {
    /// Returns the writer that goes on where the log ends. Its state is already applied to `live`.
    ///
    /// # Errors
    /// When the log can't tell its tails.
    pub(in crate::node) fn resume(
        live: Arc<Live>,
        log: Box<dyn ShardLog>,
        resume: Resume,
        dice: SeededDice,
    ) -> Result<Self, LogError> {
        let mut builders = Vec::with_capacity(SHARDS_ALL);
        let mut hashes = Box::new([BlockHash::NONE; SHARDS_ALL]);
        for shard in Shard::all() {
            let tail = log.tail(shard)?;
            builders.push(BlockBuilder::new(shard, tail.next));
            hashes[shard.index()] = tail.hash;
        }
        let durable = log.last_batch();
        let indexer = Indexer::of(&live);
        let pacer = Pacer::resume(&live, resume.latest);
        let schedules = Schedules::of(&live.catalog());
        let openings = Openings::of(&live.catalog());
        let exchange_due = live.exchange.load().until();
        let taps = RecentTaps::of(&live, resume.latest);
        let mut writer = Self {
            live,
            log,
            builders,
            hashes,
            latest: resume.latest,
            batch: BatchNo(durable.0 + 1),
            head: durable,
            durable,
            in_flight: VecDeque::new(),
            waiting: VecDeque::new(),
            due: BTreeSet::new(),
            ungranted: Vec::new(),
            outbox: resume.outbox.into(),
            revised: resume.revised.into(),
            minute: 0,
            // What the last run left unsealed shows in the first minute's seal.
            sealed: Seal::default(),
            exchange_due,
            traffic: LateTraffic::default(),
            taps,
            indexer,
            pacer,
            schedules,
            openings,
            dice,
            spend: Spend::default(),
            erasing: Vec::new(),
            stopped: false,
        };
        writer.list_due();
        writer.take_claimed();
        Ok(writer)
    }

    /// Does one round: takes what the log finished, does what time made due, delivers, judges the work,
    /// and hands the batch to the log. Waits for nothing.
    pub fn step(&mut self, now: Moment, work: impl IntoIterator<Item = Work>) {
        let told = now;
        self.latest = self.latest.max(now);
        let now = self.latest;
        self.complete();
        self.tick(now);
        self.deliver(now);
        for work in work {
            self.take(work, now);
        }
        self.erase_due(now);
        self.schedules.look(&self.live, now);
        self.openings.look(&self.live, now);
        self.grant_written(now);
        self.cut();
        let outgrown = self.live.take_outgrown();
        self.refresh(outgrown);
        self.complete();
        self.live.coach.advance(now, self.head, self.durable);
        let waiting = self.in_flight.front().map(|sent| sent.at);
        self.live.meters.note_step(told, waiting);
    }

    /// Tells whether another batch may be started now.
    pub fn has_room(&self) -> bool {
        self.batch.0 - self.durable.0 <= BATCHES_IN_FLIGHT_MAX
    }

    /// Returns how many events are worth a round now; `None`: another batch must not be started. While the disk
    /// is busy, a few events wait until it has finished: a batch of their own would be synced no earlier.
    pub(in crate::node) fn round_least(&self) -> Option<usize> {
        let least = if self.in_flight.is_empty() { 1 } else { ROUND_EVENTS_LEAST };
        self.has_room().then_some(least)
    }

    /// Tells whether nothing waits for the disk or for delivery.
    pub fn is_idle(&self) -> bool {
        let delivered = self.outbox.is_empty() && self.revised.is_empty();
        let delivered = delivered && self.erasing.is_empty();
        self.in_flight.is_empty() && delivered && !self.pacer.is_busy()
    }

    /// Tells whether the journal can't be written any more. The state must be dropped and the log
    /// reopened.
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Returns the last batch with anything in it.
    pub(in crate::node) const fn head(&self) -> BatchNo {
        self.head
    }

    /// Tells whether the journal waits for space on a full disk.
    pub fn is_out_of_space(&self) -> bool {
        self.log.is_out_of_space()
    }

    /// Returns the last durable batch.
    pub const fn durable(&self) -> BatchNo {
        self.durable
    }

    /// Sets what is called whenever a step may find something finished.
    pub fn on_completion(&mut self, wake: Wake) {
        self.log.on_completion(wake);
    }

    /// Lets this merge what is new in the index, instead of the writer itself.
    pub(in crate::node) fn use_rebaser(&mut self, rebaser: Rebaser) {
        self.indexer.use_rebaser(rebaser);
    }

    /// Builds the rows of these ads anew, by what the catalog says now.
    fn refresh(&mut self, ads: Vec<u64>) {
        for ad in ads {
            self.indexer.note(self.head, ad_change(&self.live, ad));
        }
    }

    /// Returns the log, to read what it holds.
    pub fn log(&self) -> &dyn ShardLog {
        &*self.log
    }

    /// Finishes: journals what is still counted, and closes the log. Whoever waits for what could not be
    /// made durable is told so.
    ///
    /// # Errors
    /// When the log could not be sealed.
    pub fn close(mut self, now: Moment) -> Result<(), LogError> {
        self.latest = self.latest.max(now);
        self.count_minute(self.latest);
        self.note_key_uses(1, self.latest);
        self.cut();
        // A full disk is not waited for: nobody was told that what waits is stored.
        while !self.in_flight.is_empty() && !self.stopped && !self.log.is_out_of_space() {
            self.complete();
            std::thread::yield_now();
        }
        self.stop();
        self.log.close()
    }

    /// Journals one decision: all of its facts, in one shard. The largest, a minute's counts, is under
    /// half a block.
    fn journal(&mut self, shard: Shard, facts: Vec<Kind>, now: Moment) {
        let count = facts.len() as u32;
        let facts = facts.into_iter().map(|kind| Fact { kind: Some(kind) }).collect();
        let decision = Decision { at_ms: now.0, facts };
        let builder = &self.builders[shard.index()];
        // Measuring a decision costs as much as encoding it, and most blocks are far from full.
        if builder.len_bytes() > BLOCK_BYTES_MAX / 2 && !builder.has_room(decision.encoded_len()) {
            self.cut();
        }
        fail::fail_point!("writer-decided");
        let builder = &mut self.builders[shard.index()];
        let first = builder.push_with(count, |bytes| decision.encode_raw(bytes));
        self.head = self.batch;
        self.live.progress.note_head(self.head, now);
        for (number, fact) in (0..).zip(&decision.facts) {
            if let Some(kind) = &fact.kind {
                if let Some(reason) = invalid_of(kind) {
                    let reason = reason.as_str_name();
                    metrics::counter!("munadi_invalid_events_total", "reason" => reason)
                        .increment(1);
                }
                if let Kind::MessagePriced(fact) = kind {
                    count_priced(fact);
                }
                self.spend.note(&self.live, kind);
                // The next decision of this batch must see it.
                self.live.apply(Stamp { shard, seq: first.plus(number), at: now }, kind);
                self.taps.note(kind, now);
                self.live.coach.note(&self.live, kind, now, self.head);
            }
        }
        self.live.progress.note_applied(shard, Seq(first.plus(count.into()).0 - 1));
        fail::fail_point!("writer-applied");
    }

    /// Closes the batch that is being filled and hands it to the log. What is decided from here on
    /// stands behind it in the journal.
    fn cut(&mut self) {
        if self.head != self.batch || self.stopped {
            return;
        }
        let (journal, batch, durable) = (self.log.journal_id(), self.batch, self.durable);
        let mut blocks = Vec::new();
        for builder in self.builders.iter_mut().filter(|builder| !builder.is_empty()) {
            let hash = &mut self.hashes[builder.shard().index()];
            let block = builder.seal(journal, batch, durable, *hash);
            *hash = block.hash;
            blocks.push(block);
        }
        self.batch = BatchNo(batch.0 + 1);
        let count = blocks.len() as u64;
        fail::fail_point!("writer-submit");
        count_batch(&blocks);
        let last = self.log.submit_all(blocks.clone());
        fail::fail_point!("writer-submitted");
        let tickets = last.0 + 1 - count..=last.0;
        let at = self.latest;
        let sent = tickets.zip(blocks);
        let sent = sent.map(|(ticket, block)| InFlight { ticket: Ticket(ticket), block, at });
        self.in_flight.extend(sent);
    }

    /// Takes what the log finished and tells whoever waited for it.
    fn complete(&mut self) {
        while !self.stopped
            && let Some(done) = self.log.completed()
        {
            let Some(sent) = self.in_flight.pop_front() else { break };
            debug_assert_eq!(sent.ticket, done.ticket, "tickets finish in order");
            match done.outcome {
                Outcome::Done => {
                    fail::fail_point!("writer-durable");
                    self.note_durable(&sent.block);
                }
                Outcome::Refused => self.stop(),
                Outcome::Unknown => self.resolve(sent.block, sent.at),
            }
        }
        self.indexer.publish(&self.live, self.durable, self.latest);
        self.tell();
    }

    fn note_durable(&mut self, block: &Block) {
        let next = self.in_flight.front().map(|sent| sent.block.batch);
        // A batch is durable when its last block is.
        if next.is_none_or(|next| next > block.batch) {
            self.durable = block.batch;
            self.live.progress.note_durable(self.durable);
        }
    }

    /// Learns what became of a block whose answer was lost: it is there: go on; it is not, and nothing
    /// was put in its place: submit the same bytes; else the writer was fenced off.
    fn resolve(&mut self, block: Block, at: Moment) {
        match self.log.tail(block.shard) {
            Ok(tail) if tail.next >= block.next() && self.holds(&block) => {
                self.note_durable(&block);
            }
            Ok(tail) if tail.precedes(&block) && self.in_flight.is_empty() => {
                let ticket = self.log.submit(block.clone());
                self.in_flight.push_back(InFlight { ticket, block, at });
            }
            // What was submitted behind it can't stand any more: reopen from the log.
            Ok(_) | Err(_) => self.stop(),
        }
    }

    /// Tells whether the log holds this very block, and not another owner's in its place.
    fn holds(&self, block: &Block) -> bool {
        let mut from = SeqVector([Seq(u64::MAX); SHARDS_ALL]);
        from.0[block.shard.index()] = block.first;
        let mut held = false;
        let read = self.log.read_from(&from, &mut |found| {
            held = found.hash == block.hash;
            ControlFlow::Break(())
        });
        read.is_ok() && held
    }

    /// Tells whoever waits for a durable batch; everybody, when nothing will be durable any more.
    fn tell(&mut self) {
        let refusal = self.stopped.then(|| {
            let message = "the journal can't be written; send it again to a node that can";
            Refusal::new(Reason::Unavailable, "", message)
        });
        while let Some(waiting) =
            self.waiting.pop_front_if(|waiting| waiting.batch <= self.durable || refusal.is_some())
        {
            let late = waiting.batch > self.durable;
            fail::fail_point!("writer-acknowledge");
            (waiting.tell)(refusal.clone().filter(|_| late));
            fail::fail_point!("writer-acknowledged");
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.live.progress.note_stopped();
        self.live.coach.close();
        self.tell();
    }

    /// Answers once everything that was decided up to now is durable: also what was counted before, for
    /// its first copy may not be.
    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: Result<T, Refusal>) {
        let tell = move |refusal: Option<Refusal>| reply(refusal.map_or(answer, Err));
        self.waiting.push_back(Waiting { batch: self.head, tell: Box::new(tell) });
    }
}

/// Counts a price that no card had, and one in which a channel's word and our rules differ.
fn count_priced(fact: &MessagePriced) {
    if fact.reason() == PriceReason::Unpriced {
        let market = if fact.market.is_empty() { "unknown" } else { fact.market.as_str() };
        metrics::counter!("munadi_messages_unpriced_total", "market" => market.to_owned())
            .increment(1);
    }
    if fact.mismatch() != PriceMismatch::Unspecified {
        let kind = fact.mismatch().as_str_name();
        metrics::counter!("munadi_message_price_mismatches_total", "kind" => kind).increment(1);
    }
}
