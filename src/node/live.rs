//! The parts of the state behind one lock each, and what serving reads beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use arc_swap::ArcSwap;

use crate::decide::board::Board;
use crate::decide::holdouts::Tests;
use crate::decide::index::Index;
use crate::decide::promise::Promises;
use crate::decide::purse::{LineId, Terms};
use crate::decide::rates::Predictor;
use crate::node::checkpoint::Progress;
use crate::node::coach::Coach;
use crate::node::counts::Counts;
use crate::node::keys::KeyTable;
use crate::node::meters::Meters;
use crate::node::models::Nights;
use crate::node::pacer::Landscapes;
use crate::node::reports::Budgets;
use crate::node::walker::Watch;
use crate::report::outbound::Reported;
use crate::state::bucket::Bucket;
use crate::state::catalog::Catalog;
use crate::state::credit::ShardPart;
use crate::state::desks::DeskChunk;
use crate::state::exchange::Table;
use crate::state::feeds::Feeds;
use crate::state::ledger::Seal;
use crate::state::paces::Paces;
use crate::state::purses::{Line, PurseChunk};
use crate::state::rules::Blocks;
use crate::state::shapes::Shapes;
use crate::state::tallies::TallyChunk;
use crate::state::traffic_rules::Filter;
use crate::state::{BUCKETS, CHUNKS_MAX, Map, Route, Stamp, bucket_of, chunk_of, route};
use crate::tokens::Sealer;
use crate::types::ids::{IdKind, SHARDS};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{Charge, LineKind, Showing};
use crate::types::time::Moment;

/// One bucket with its promises.
#[derive(Debug, Default)]
pub(in crate::node) struct Cell {
    /// What is journaled.
    pub(in crate::node) facts: Bucket,
    /// By viewer. Not journaled: a crash forgets it.
    pub(in crate::node) promised: Map<u64, Promises>,
    /// The minute in which lapsed promises were last forgotten.
    pub(in crate::node) swept_minute: u32,
}

impl Cell {
    /// Returns a viewer's promises, and forgets once a minute the lapsed ones of others: a promise is
    /// then looked at as many times as it has minutes, however many viewers share the cell.
    pub(in crate::node) fn promises(&mut self, viewer: u64, now: Moment) -> &mut Promises {
        if now.minute() != self.swept_minute {
            self.swept_minute = now.minute();
            self.promised.retain(|number, promises| *number == viewer || promises.forget(now));
        }
        self.promised.entry(viewer).or_default()
    }
}

/// One part of the state: what has a lock of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(in crate::node) enum Place {
    Bucket(usize),
    Shard(usize),
    Purses(usize),
    Tallies(usize),
    Desks(usize),
    Feeds,
    Paces,
    Shapes,
    Catalog,
}

/// Calls `visit` with each part that a fact touches, once.
pub(in crate::node) fn each_place(stamp: Stamp, route: &Route, mut visit: impl FnMut(Place)) {
    // Field by field, so that a new kind of part can't be forgotten.
    let Route { bucket, shard, purse, tallies, feeds, paces, shapes, catalog, desk } = route;
    bucket.map(Place::Bucket).into_iter().for_each(&mut visit);
    if *shard {
        visit(Place::Shard(stamp.shard.index()));
    }
    purse.map(Place::Purses).into_iter().for_each(&mut visit);
    tallies.iter().map(Place::Tallies).for_each(&mut visit);
    desk.map(Place::Desks).into_iter().for_each(&mut visit);
    let alone = [
        (*feeds, Place::Feeds),
        (*paces, Place::Paces),
        (*shapes, Place::Shapes),
        (*catalog, Place::Catalog),
    ];
    for (is_touched, place) in alone {
        if is_touched {
            visit(place);
        }
    }
}

/// The running state.
pub(in crate::node) struct Live {
    cells: Box<[Mutex<Cell>]>,
    shards: Box<[Mutex<ShardPart>]>,
    purses: Box<[Mutex<PurseChunk>]>,
    tallies: Box<[Mutex<TallyChunk>]>,
    desks: Box<[Mutex<DeskChunk>]>,
    feeds: Mutex<Feeds>,
    paces: Mutex<Paces>,
    shapes: Mutex<Shapes>,
    catalog: RwLock<Catalog>,
    /// The live ads.
    pub(in crate::node) index: ArcSwap<Index>,
    live_ads: AtomicUsize,
    /// Where categories of ads may be shown.
    pub(in crate::node) blocks: ArcSwap<Blocks>,
    /// What is measured by holding ads back.
    pub(in crate::node) tests: ArcSwap<Tests>,
    /// What currencies are worth to each other now.
    pub(in crate::node) exchange: ArcSwap<Table>,
    /// What the operator knows to be invalid traffic.
    pub(in crate::node) traffic: ArcSwap<Filter>,
    /// API keys that were made while the engine runs.
    pub(in crate::node) keys: ArcSwap<KeyTable>,
    /// Ads whose rates have outgrown the bounds of their rows.
    pub(in crate::node) outgrown: Mutex<Vec<u64>>,
    /// What action rates are learned with; none before recovery has come to its end.
    pub(in crate::node) predictor: Mutex<Option<Predictor>>,
    /// What serving reads of the money.
    pub(in crate::node) board: Board,
    /// What serving counts between two minutes.
    pub(in crate::node) counts: Counts,
    /// Seals and opens tokens.
    pub(in crate::node) sealer: ArcSwap<Sealer>,
    /// What is learned of serving beside it.
    pub(in crate::node) watch: Watch,
    /// Which conversions repeat an earlier one of their click and name.
    pub(in crate::node) reported: Mutex<Reported>,
    /// Given-up conversions that wait to be sent once more, by account. Not journaled: a crash forgets it.
    pub(in crate::node) resends: Mutex<BTreeMap<u64, BTreeSet<u64>>>,
    /// What auctions would cost those that are paced.
    pub(in crate::node) landscapes: Landscapes,
    /// Which free windows are watched.
    pub(in crate::node) coach: Coach,
    /// How far the writer is.
    pub(in crate::node) progress: Progress,
    /// What is counted for the operator.
    pub(in crate::node) meters: Meters,
    /// What attribution models gave last night.
    pub(in crate::node) nights: Nights,
    /// What questions about viewers have cost today.
    pub(in crate::node) budgets: Mutex<Budgets>,
    /// Where the HTTP door is reached from outside; empty: nowhere.
    pub(in crate::node) public_url: OnceLock<String>,
}

fn many<T: Default>(count: usize) -> Box<[Mutex<T>]> {
    std::iter::repeat_with(Mutex::default).take(count).collect()
}

/// Locks a part. A panic while it was locked leaves it as it was: parts change by whole facts.
pub(in crate::node) fn locked<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// Returns an empty state.
    pub(in crate::node) fn new(sealer: Sealer, counts: Counts) -> Self {
        Self {
            cells: many(BUCKETS),
            shards: many(SHARDS),
            purses: many(CHUNKS_MAX),
            tallies: many(CHUNKS_MAX),
            desks: many(CHUNKS_MAX),
            feeds: Mutex::default(),
            paces: Mutex::default(),
            shapes: Mutex::default(),
            catalog: RwLock::default(),
            index: ArcSwap::default(),
            live_ads: AtomicUsize::new(0),
            blocks: ArcSwap::default(),
            tests: ArcSwap::default(),
            exchange: ArcSwap::default(),
            traffic: ArcSwap::default(),
            keys: ArcSwap::default(),
            outgrown: Mutex::default(),
            predictor: Mutex::default(),
            board: Board::default(),
            counts,
            sealer: ArcSwap::from_pointee(sealer),
            watch: Watch::default(),
            reported: Mutex::default(),
            resends: Mutex::default(),
            landscapes: Landscapes::default(),
            coach: Coach::default(),
            progress: Progress::default(),
            meters: Meters::register(),
            nights: Nights::default(),
            budgets: Mutex::default(),
            public_url: OnceLock::new(),
        }
    }

    /// Returns the cell of a viewer, conversation or conversion.
    pub(in crate::node) fn cell(&self, id: u64) -> MutexGuard<'_, Cell> {
        self.cell_at(bucket_of(id))
    }

    pub(in crate::node) fn cell_at(&self, bucket: usize) -> MutexGuard<'_, Cell> {
        locked(&self.cells[bucket])
    }

    pub(in crate::node) fn shard(&self, index: usize) -> MutexGuard<'_, ShardPart> {
        locked(&self.shards[index])
    }

    /// Returns the chunk of an account's purse.
    pub(in crate::node) fn purses(&self, account: u64) -> MutexGuard<'_, PurseChunk> {
        self.purses_at(chunk_of(account))
    }

    pub(in crate::node) fn purses_at(&self, chunk: usize) -> MutexGuard<'_, PurseChunk> {
        locked(&self.purses[chunk])
    }

    /// Returns the seal of all transfers: once a minute, thousands of locks that nobody holds.
    pub(in crate::node) fn seal_of_ledgers(&self) -> Seal {
        let mut all = Seal::default();
        (0..CHUNKS_MAX).for_each(|chunk| all.add(self.purses_at(chunk).seal));
        all
    }

    pub(in crate::node) fn tallies_at(&self, chunk: usize) -> MutexGuard<'_, TallyChunk> {
        locked(&self.tallies[chunk])
    }

    /// Returns the chunk of an endpoint's or account's desk.
    pub(in crate::node) fn desks(&self, id: u64) -> MutexGuard<'_, DeskChunk> {
        self.desks_at(chunk_of(id))
    }

    pub(in crate::node) fn desks_at(&self, chunk: usize) -> MutexGuard<'_, DeskChunk> {
        locked(&self.desks[chunk])
    }

    pub(in crate::node) fn feeds(&self) -> MutexGuard<'_, Feeds> {
        locked(&self.feeds)
    }

    pub(in crate::node) fn paces(&self) -> MutexGuard<'_, Paces> {
        locked(&self.paces)
    }

    pub(in crate::node) fn shapes(&self) -> MutexGuard<'_, Shapes> {
        locked(&self.shapes)
    }

    pub(in crate::node) fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::node) fn catalog_mut(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies one fact to the parts it touches, and shows serving what it changed.
    pub(in crate::node) fn apply(&self, stamp: Stamp, fact: &Kind) {
        each_place(stamp, &route(fact), |place| match place {
            Place::Bucket(bucket) => {
                let mut cell = self.cell_at(bucket);
                cell.facts.apply(stamp, fact);
                if let Kind::ImpressionSeen(fact) = fact {
                    keep_promise(&mut cell, fact.showing.as_ref());
                }
                if let Kind::ViewerErased(fact) = fact {
                    cell.promised.remove(&fact.viewer);
                }
            }
            Place::Purses(chunk) => {
                let mut purses = self.purses_at(chunk);
                purses.apply(stamp, fact);
                self.show_money(&purses, fact);
            }
            Place::Tallies(chunk) => {
                let mut tallies = self.tallies_at(chunk);
                tallies.apply(chunk, stamp, fact);
                self.show_rates(&tallies, fact);
            }
            place => self.apply_at(place, stamp, fact),
        });
    }

    /// Applies one fact to one part that it touches, and shows nobody: recovery shows all at its end.
    pub(in crate::node) fn apply_at(&self, place: Place, stamp: Stamp, fact: &Kind) {
        match place {
            Place::Bucket(bucket) => self.cell_at(bucket).facts.apply(stamp, fact),
            Place::Shard(shard) => self.shard(shard).apply(stamp, fact),
            Place::Purses(chunk) => self.purses_at(chunk).apply(stamp, fact),
            Place::Tallies(chunk) => self.tallies_at(chunk).apply(chunk, stamp, fact),
            Place::Desks(chunk) => self.desks_at(chunk).apply(stamp, fact),
            Place::Feeds => self.feeds().apply(stamp, fact),
            Place::Paces => self.paces().apply(stamp, fact),
            Place::Shapes => self.shapes().apply(stamp, fact),
            Place::Catalog => self.catalog_mut().apply(stamp, fact),
        }
    }

    fn show_money(&self, purses: &PurseChunk, fact: &Kind) {
        let (showing, charge) = match fact {
            Kind::Granted(fact) => {
                let line = LineId { kind: fact.line_kind(), id: fact.line, account: fact.account };
                return self.show_line(purses, line);
            }
            Kind::ImpressionSeen(fact) => (&fact.showing, &fact.charge),
            Kind::Tapped(fact) => (&fact.showing, &fact.charge),
            Kind::ClickMatched(fact) => (&fact.showing, &fact.charge),
            _ => return,
        };
        if let (Some(showing), Some(charge)) = (showing, charge) {
            charged_lines(showing, charge).for_each(|line| self.show_line(purses, line));
        }
    }

    /// Stores on the board what a granted line has left.
    fn show_line(&self, purses: &PurseChunk, line: LineId) {
        let purse = purses.purses.get(&line.account);
        let grant = purse.and_then(|purse| purse.line(line.kind, line.id)).and_then(Line::current);
        if let Some(grant) = grant {
            self.board_line(line).set((grant.amount - grant.spent).max(0), grant.until_ms);
        }
    }

    /// Returns the line on the board.
    pub(in crate::node) fn board_line(&self, line: LineId) -> &crate::decide::board::Line {
        match line.kind {
            LineKind::Unspecified | LineKind::Account => self.board.account(line.id),
            LineKind::Campaign => self.board.campaign(line.id),
            LineKind::AdSet => self.board.ad_set(line.id),
        }
    }

    /// Stores on the board everything that the state says, after recovery up to the journal's latest time.
    pub(in crate::node) fn show_all(&self, latest: Moment) {
        for (line, terms) in lines(&self.catalog()) {
            if terms.limited() {
                self.show_line(&self.purses(line.account), line);
            } else {
                self.board_line(line).set(i64::MAX, i64::MAX);
            }
        }
        self.learn_rates();
        self.show_rules(latest);
        self.show_keys();
        self.show_paces();
        self.rebuild_index();
    }

    /// Returns how many ads are live.
    pub(in crate::node) fn live_ads(&self) -> usize {
        self.live_ads.load(Relaxed)
    }

    pub(in crate::node) fn set_live_ads(&self, count: usize) {
        self.live_ads.store(count, Relaxed);
    }
}

/// Returns every budget line of the catalog with its terms. What a prepaid account has is not looked at: its
/// terms say only that it is limited.
pub(in crate::node) fn lines(catalog: &Catalog) -> Vec<(LineId, Terms)> {
    let line = |kind, id, account, terms| Some((LineId { kind, id, account }, terms));
    let accounts = catalog
        .accounts
        .after(0)
        .filter_map(|row| line(LineKind::Account, row.id, row.id, Terms::of_account(&row, None)));
    let campaigns = catalog.campaigns.after(0).filter_map(|row| {
        line(LineKind::Campaign, row.id, row.account_id, Terms::of_campaign(&row))
    });
    let ad_sets = catalog.ad_sets.after(0).filter_map(|row| {
        let account = catalog.parent_of(IdKind::Campaign, row.campaign_id)?;
        line(LineKind::AdSet, row.id, account, Terms::of_ad_set(&row))
    });
    accounts.chain(campaigns).chain(ad_sets).collect()
}

fn charged_lines(showing: &Showing, charge: &Charge) -> impl Iterator<Item = LineId> {
    let account = showing.account;
    let lines = [
        (LineKind::Account, account, charge.account_grant),
        (LineKind::Campaign, showing.campaign, charge.campaign_grant),
        (LineKind::AdSet, showing.ad_set, charge.ad_set_grant),
    ];
    let granted = lines.into_iter().filter(|(_, _, grant)| *grant != 0);
    granted.map(move |(kind, id, _)| LineId { kind, id, account })
}

fn keep_promise(cell: &mut Cell, showing: Option<&Showing>) {
    let Some(showing) = showing else { return };
    if let Some(promises) = cell.promised.get_mut(&showing.viewer) {
        promises.keep(showing.view);
    }
}
