//! A running node: the writer's thread, checkpoints, key rotation, and the calls that doors make.

use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::journal::file::{FileLog, Options};
use crate::journal::{LogError, ShardLog};
use crate::node::base::{BaseError, Remover, beginnings, joined};
use crate::node::billing::Books;
use crate::node::clock::Clock;
use crate::node::dice::{SeededDice, fill_from_system};
use crate::node::drive::drive;
use crate::node::files::Files;
use crate::node::front::Front;
use crate::node::helper::Helper;
use crate::node::pending::{Pending, submit};
use crate::node::pressure::Gauge;
use crate::node::push::PushThread;
use crate::node::queue::Queue;
use crate::node::recover::{OpenError, Opened, open};
use crate::node::scrub::Scrub;
use crate::node::serve::Answer;
use crate::node::writer::{Reply, Work, Writer};
use crate::tokens::{KeyRing, Sealer};
use crate::types::dice::Dice;
use crate::types::ids::JournalId;
use crate::types::proto::v1::{Taxonomy, TaxonomyEntry};
use crate::types::refusal::Refusal;
use crate::types::request::{
    AdRequest, Incoming, ListMutation, Mutation, Policy, Resource, ResourceKind, Scope, Verdict,
};
use crate::types::time::Moment;

/// Time between checkpoints unless the options say otherwise: at 20,000 facts a second a start replays 6 million, and
/// those that came during a pass.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);

/// What a node is opened with.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Feeds that may ask for ads; each gets a link key of its own.
    pub feeds: Vec<u32>,
    /// Seeds the dice and the keys of a new folder, so that a run is the same every time; whoever knows the
    /// seed can forge tokens. `None`: the operating system's.
    pub seed: Option<u64>,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// The journal's own options.
    pub journal: Options,
    /// Whether segments that a base stands for are removed.
    pub remove_behind_base: bool,
    /// Whether new and changed ads serve without an operator's review.
    pub approve_ads: bool,
    /// Whether sampled requests and viewers are noted, for `ExplainService`. Without, it knows only what
    /// auctions count, and pacing has no bid landscapes.
    pub watch: bool,
    /// Where the HTTP door is reached from outside, without a slash at its end. Empty: nowhere.
    pub public_url: String,
    /// Whether conversions may be pushed to this machine and private networks, there in clear too.
    pub push_insecure: bool,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            feeds: Vec::new(),
            seed: None,
            checkpoint_every: CHECKPOINT_EVERY,
            journal: Options::default(),
            remove_behind_base: false,
            approve_ads: false,
            watch: true,
            public_url: String::new(),
            push_insecure: false,
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal can't be opened or read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The folder can't be read or written.
    #[error("the node's folder: {0}")]
    Folder(#[from] io::Error),
    /// What came before the journal's first segment can't be had.
    #[error(transparent)]
    Base(#[from] BaseError),
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        Self::Open(OpenError::Log(error))
    }
}

/// A running node. Dropping it stops it; [`Node::stop`] says how that went.
pub struct Node {
    front: Front,
    pub(in crate::node) queue: Arc<Queue>,
    pub(in crate::node) books: Books,
    pub(in crate::node) clock: Arc<dyn Clock>,
    opened: Opened,
    journal: JournalId,
    approve_ads: bool,
    pub(in crate::node) push_insecure: bool,
    stopping: Arc<AtomicBool>,
    pub(in crate::node) push: Option<PushThread>,
    writer: Option<JoinHandle<Result<(), LogError>>>,
    /// Threads that work beside serving until `stopping` is set.
    beside: Vec<JoinHandle<()>>,
}

impl Node {
    /// Starts a node on a folder, which is made if it is new.
    ///
    /// # Errors
    /// When the folder's content can't be opened; nothing is changed then but a torn end, which is cut.
    pub fn start(
        dir: &Path,
        clock: Arc<dyn Clock>,
        options: &NodeOptions,
    ) -> Result<Self, StartError> {
        std::fs::create_dir_all(dir)?;
        let files = Files::new(dir);
        let log = open_log(&files, options)?;
        let trimmer = log.trimmer();
        let base = joined(&files, &trimmer.boundaries())?;
        let ring = match options.seed {
            Some(seed) => {
                let mut dice = SeededDice::new(seed);
                ring_of(&files, &options.feeds, clock.now(), &mut |bytes| fill(&mut dice, bytes))?
            }
            None => ring_of(&files, &options.feeds, clock.now(), &mut fill_from_system)?,
        };
        let seed = options.seed.unwrap_or_else(|| SeededDice::from_system().roll());
        let journal = log.journal_id();
        let beginnings = beginnings(&files, base.as_ref());
        let (front, writer, opened) = open(Box::new(log), ring, seed, beginnings)?;
        let remover = options.remove_behind_base.then(|| Remover::new(files.clone(), trimmer));
        remover.iter().for_each(Remover::run);
        let books = Books::of(files.clone());
        let scrub = Scrub::of(files.journal(), Arc::clone(&clock));
        let helper = Helper {
            front: front.clone(),
            files,
            journal,
            clock: Arc::clone(&clock),
            every: options.checkpoint_every,
            remover,
        };
        let mut node = Self::run(front, writer, opened, journal, clock)?;
        node.keep_beside("checkpoint", move |stopping| helper.run(stopping))?;
        node.keep_beside("scrub", move |stopping| scrub.run(stopping))?;
        node.approve_ads = options.approve_ads;
        node.push_insecure = options.push_insecure;
        node.books = books;
        node.front.use_public_url(&options.public_url);
        match (options.watch, options.seed) {
            // A seeded run is the same every time: a thread would walk when it finds time.
            (true, Some(_)) => node.front.watch_here(),
            (true, None) => node.front.watch_behind(Arc::clone(&node.clock))?,
            (false, _) => {}
        }
        Ok(node)
    }

    /// Starts a node over a log of the caller's own, of whichever backend. It writes no checkpoints.
    ///
    /// # Errors
    /// When what the log holds can't be read.
    pub fn over(
        log: Box<dyn ShardLog>,
        ring: KeyRing,
        seed: u64,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let journal = log.journal_id();
        let (front, writer, opened) = open(log, ring, seed, None)?;
        Self::run(front, writer, opened, journal, clock)
    }

    fn run(
        front: Front,
        mut writer: Writer,
        opened: Opened,
        journal: JournalId,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let queue = Arc::new(Queue::default());
        let nudge = Arc::clone(&queue);
        writer.on_completion(Arc::new(move || nudge.nudge()));
        writer.use_rebaser(front.merge_behind(Arc::clone(&queue))?);
        let (reader, now) = (Arc::clone(&queue), Arc::clone(&clock));
        let (thread, read) = (Builder::new().name("writer".into()), front.clone());
        let writer = thread.spawn(move || drive(writer, &read, &reader, &*now))?;
        let stopping = Arc::new(AtomicBool::new(false));
        Ok(Self {
            front,
            queue,
            books: Books::default(),
            clock,
            opened,
            journal,
            approve_ads: false,
            push_insecure: false,
            stopping,
            push: None,
            writer: Some(writer),
            beside: Vec::new(),
        })
    }

    /// Runs something beside serving, which parks and looks whether it is to stop.
    fn keep_beside(
        &mut self,
        name: &str,
        work: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> io::Result<()> {
        let stop = Arc::clone(&self.stopping);
        self.beside.push(Builder::new().name(name.into()).spawn(move || work(&stop))?);
        Ok(())
    }

    /// Returns what opening found.
    pub const fn opened(&self) -> Opened {
        self.opened
    }

    /// Returns the name of the journal: a cursor of another one leads nowhere here.
    pub const fn journal(&self) -> JournalId {
        self.journal
    }

    /// Returns the wall time.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Returns where the HTTP door is reached from outside; empty: nowhere.
    pub fn public_url(&self) -> &str {
        self.front.public_url()
    }

    /// Returns what opens tokens and cursors now.
    pub fn opener(&self) -> Arc<Sealer> {
        self.front.sealer()
    }

    /// Returns the same for a moment: no count is shared with other threads.
    pub fn opener_now(&self) -> impl Deref<Target = Arc<Sealer>> {
        self.front.sealer_now()
    }

    /// Returns the readers' side.
    pub const fn front(&self) -> &Front {
        &self.front
    }

    /// Returns what tells doors how far the writer is behind.
    pub fn gauge(&self) -> Gauge {
        Gauge::of(&self.queue)
    }

    /// Fills a tray. Waits for nothing.
    pub fn request_ads(&self, feed: u32, policy: &Policy, request: &AdRequest) -> Answer {
        self.front.0.meters.ad_requests.increment(1);
        self.front.request_ads(feed, policy, request, self.now())
    }

    /// Hands events to the writer; the answer comes once they are durable.
    ///
    /// # Errors
    /// `Busy` at once when the queue is full.
    pub fn record(&self, items: Vec<Incoming>) -> Result<Pending<Vec<Verdict>>, Refusal> {
        self.front.0.meters.events.increment(items.len() as u64);
        self.submit(|reply| Work::Record(items, reply))
    }

    /// Writes to the catalog; answers once it is durable.
    ///
    /// # Errors
    /// With the field at fault, or `Busy`.
    pub async fn mutate(&self, mut mutation: Mutation) -> Result<Resource, Refusal> {
        mutation.approve |= self.approve_ads;
        let row = self.submit(|reply| Work::Mutate(Box::new(mutation), reply))?.await?;
        Ok(self.front.answered(row))
    }

    /// Writes to the operator's lists or rules; answers once it is durable with how many entries or rules
    /// there are now.
    ///
    /// # Errors
    /// With the field at fault, or `Busy`.
    pub async fn mutate_lists(&self, mutation: ListMutation) -> Result<u32, Refusal> {
        self.submit(|reply| Work::MutateLists(Box::new(mutation), reply))?.await
    }

    /// Waits until everything that came before is durable, and returns the journal's time.
    ///
    /// # Errors
    /// `Busy`, or `Unavailable` when the journal can't be written.
    pub async fn settled(&self) -> Result<Moment, Refusal> {
        self.submit(Work::Settle)?.await
    }

    /// Returns the newest version of a thing; see [`Front::get`].
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, scope: Scope, kind: ResourceKind, id: u64) -> Result<Resource, Refusal> {
        self.front.get(scope, kind, id)
    }

    /// Lists things; see [`Front::list`].
    pub fn list(
        &self,
        scope: Scope,
        kind: ResourceKind,
        parent: u64,
        after: u64,
        limit: usize,
    ) -> (Vec<Resource>, Option<u64>) {
        self.front.list(scope, kind, parent, after, limit)
    }

    /// Searches what targeting may name; see [`Front::search_targeting`].
    pub fn search_targeting(
        &self,
        taxonomy: Taxonomy,
        query: &str,
        country: &str,
        after: &str,
        limit: usize,
    ) -> (Vec<TaxonomyEntry>, Option<String>) {
        self.front.search_targeting(taxonomy, query, country, after, limit)
    }

    /// Finishes what was taken, seals the journal and stops.
    ///
    /// # Errors
    /// When the journal could not be sealed; what was acknowledged is safe all the same.
    pub fn stop(mut self) -> Result<(), LogError> {
        self.halt()
    }

    fn halt(&mut self) -> Result<(), LogError> {
        if let Some(push) = self.push.take() {
            push.stop();
        }
        self.stopping.store(true, Ordering::Release);
        self.beside.iter().for_each(|it| it.thread().unpark());
        for beside in self.beside.drain(..) {
            // What is done beside serving is a convenience, but for new keys: it goes on after a panic.
            let _ = beside.join();
        }
        self.queue.close();
        let Some(writer) = self.writer.take() else { return Ok(()) };
        writer.join().unwrap_or(Err(LogError::Stopped))
    }

    pub(in crate::node) fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(Reply<T>) -> Work,
    ) -> Result<Pending<T>, Refusal> {
        submit(&self.queue, work)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // `stop` reports the error; a drop can't.
        let _ = self.halt();
    }
}

fn open_log(files: &Files, options: &NodeOptions) -> Result<FileLog, StartError> {
    let dir = files.journal();
    match FileLog::open_end(&dir, &options.journal) {
        Ok((log, scanned)) => {
            if let Some(torn) = &scanned.torn {
                let (bytes, at) = (torn.bytes, torn.offset);
                tracing::warn!(bytes, at, "cut what a stop in mid-write left behind");
            }
            Ok(log)
        }
        Err(LogError::Absent(_)) => {
            let mut id = [0; 16];
            fill_from_system(&mut id);
            Ok(FileLog::create(&dir, JournalId(id), &options.journal)?)
        }
        Err(error) => Err(error.into()),
    }
}

fn fill(dice: &mut impl Dice, bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = dice.roll() as u8);
}

/// Returns the folder's key ring with a link key for each feed, made and kept if new.
fn ring_of(
    files: &Files,
    feeds: &[u32],
    now: Moment,
    random: &mut dyn FnMut(&mut [u8]),
) -> io::Result<KeyRing> {
    let mut random = |bytes: &mut [u8]| random(bytes);
    let known = files.ring()?;
    let new = known.is_none()
        || feeds.iter().any(|feed| known.as_ref().is_some_and(|ring| ring.link(*feed).is_none()));
    let mut ring = known.unwrap_or_else(|| KeyRing::generate(&mut random, now.seconds()));
    for feed in feeds {
        ring.add_feed(*feed, &mut random);
    }
    if new {
        files.keep_ring(&ring)?;
    }
    Ok(ring)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::journal::memory::{MemoryDisk, MemoryLog};
    use crate::node::clock::MovedClock;
    use crate::types::proto::v1::Account;
    use crate::types::refusal::Reason;
    use crate::types::request::Change;

    fn engine(disk: &MemoryDisk) -> (Front, Writer, Opened) {
        let ring = KeyRing::generate(&mut |bytes: &mut [u8]| bytes.fill(7), 0);
        open(Box::new(MemoryLog::open(disk)), ring, 1, Vec::new()).unwrap()
    }

    fn write(request_id: &str) -> Mutation {
        Mutation {
            tenant: 1,
            any_tenant: false,
            request_id: request_id.into(),
            body_hash: [0; 16],
            by: crate::types::request::Author::default(),
            validate_only: false,
            change: Change::Create(Resource::Account(Account::default())),
            approve: true,
        }
    }

    /// Runs a node whose journal another owner has gone on with: its next write is fenced off.
    fn fenced(dir: &Path) -> Node {
        let journal = JournalId([1; 16]);
        let disk = MemoryDisk::new(journal);
        let (front, writer, opened) = engine(&disk);
        let (_, mut other, _) = engine(&disk);
        other.step(Moment(1), [Work::Mutate(Box::new(write("other")), Box::new(drop))]);
        let clock: Arc<dyn Clock> = Arc::new(MovedClock::at(Moment(2)));
        let every = Duration::from_secs(3_600);
        let files = Files::new(dir);
        let (helper_front, helper_clock) = (front.clone(), Arc::clone(&clock));
        let (clock_of, remover) = (helper_clock, None);
        let helper =
            Helper { front: helper_front, files, journal, clock: clock_of, every, remover };
        let mut node = Node::run(front, writer, opened, journal, clock).unwrap();
        node.keep_beside("checkpoint", move |stopping| helper.run(stopping)).unwrap();
        node
    }

    #[test]
    fn a_node_whose_journal_failed_says_so_and_still_stops() {
        let dir = tempfile::tempdir().unwrap();
        let node = fenced(dir.path());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let refused = runtime.block_on(node.mutate(write("ours"))).unwrap_err();
        assert_eq!(refused.reason, Reason::Unavailable);
        let (told, stopped) = mpsc::channel();
        std::thread::spawn(move || told.send(node.stop().is_err()));
        assert_eq!(stopped.recv_timeout(Duration::from_secs(10)), Ok(true));
    }
}
