//! The engine's index, as the bench sees it: the only file that knows its interface.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use munadi::decide::auction::Aim;
use munadi::decide::board::{Board, MULTIPLIER_ONE, Rates};
use munadi::decide::index::{Draft, Index, Segment, Visitor, Walker};
use munadi::decide::onlooker::Onlooker;
use munadi::decide::select::Asked;
use munadi::decide::target::Told;
use munadi::state::catalog::Catalog;
use munadi::state::rules::Blocks;
use munadi::types::ids::{IdKind, mint};
use munadi::types::proto::v1;
use munadi::types::request::{AdRequest, Policy};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::support::select::facts::{self, NOW, ad_id, business_of};
use crate::support::select::spec::{Billing, Query, Spec};

/// Returns what 1,000 impressions of an ad are worth before pacing, micros.
pub(crate) fn unpaced(spec: &Spec) -> i64 {
    let billing = match spec.billing {
        Billing::Impressions => v1::BillingEvent::Impressions,
        Billing::Taps => v1::BillingEvent::LinkClicks,
        Billing::Chats => v1::BillingEvent::Conversations,
    };
    Aim::billed(billing).value(spec.bid, Rates::NEW)
}

/// Returns what is left of a value under a pacing multiplier, micros.
pub(crate) fn paced(value: i64, multiplier: u32) -> i64 {
    (i128::from(value) * i128::from(multiplier) / i128::from(MULTIPLIER_ONE)) as i64
}

/// Returns the board of ads with enough money, their multipliers as they are before the index is built.
pub(crate) fn board(specs: &[Spec]) -> Board {
    let board = Board::default();
    for (number, spec) in (1..).zip(specs) {
        let parent = business_of(number);
        board.account(mint(IdKind::Account, parent)).set(i64::MAX, i64::MAX);
        board.campaign(mint(IdKind::Campaign, parent)).set(i64::MAX, i64::MAX);
        board.ad_set(mint(IdKind::AdSet, number)).set(i64::MAX, i64::MAX);
        board.set_multiplier(mint(IdKind::AdSet, number), spec.built_multiplier);
        board.set_epoch(mint(IdKind::Ad, number), 1);
    }
    board
}

/// Sets the multipliers that hold when ads are asked for.
pub(crate) fn pace(board: &Board, specs: &[Spec]) {
    for (number, spec) in (1..).zip(specs) {
        board.set_multiplier(mint(IdKind::AdSet, number), spec.multiplier);
    }
}

/// A viewer's request as the door hands it on.
pub(crate) struct Request {
    request: AdRequest,
    roll: u64,
}

impl Request {
    /// Returns the request of a viewer.
    pub(crate) fn of(query: &Query) -> Self {
        let request = AdRequest {
            placement: v1::Placement::Status,
            viewer: None,
            named: false,
            profile: facts::profile(query),
            posts: 20,
            positions: Vec::new(),
            ads_in_session: 0,
        };
        Self { request, roll: query.roll }
    }
}

/// What readers and the writer of an index share.
pub(crate) type Shared = Arc<ArcSwap<Index>>;

/// The index with what one thread keeps from one request to the next.
pub(crate) struct Engine {
    index: Shared,
    live_ads: usize,
    walker: Walker,
    told: Told,
    best: BinaryHeap<Least>,
    answer: Vec<(u64, i64)>,
    onlooker: Onlooker,
    blocks: Blocks,
    policy: Policy,
}

/// An ad's total, lot and number: the least is the greatest, so that a heap gives it away first.
type Least = Reverse<(i64, Reverse<u64>, Reverse<u32>)>;

impl Engine {
    /// Builds the index of a catalog's live ads.
    pub(crate) fn build(catalog: &Catalog, board: &Board, specs: &[Spec]) -> Self {
        let draft = |place: usize| Draft::of(catalog, ad_id(place), board);
        let drafts: Vec<Draft> = (0..specs.len()).filter_map(draft).collect();
        let index = Index::build(&drafts, board);
        Self {
            index: Arc::new(ArcSwap::from_pointee(index)),
            live_ads: drafts.len(),
            walker: Walker::default(),
            told: Told::default(),
            best: BinaryHeap::new(),
            answer: Vec::new(),
            onlooker: Onlooker::default(),
            blocks: Blocks::default(),
            policy: Policy::default(),
        }
    }

    /// Returns what changes reach the index by.
    pub(crate) fn shared(&self) -> Shared {
        Arc::clone(&self.index)
    }

    /// Returns the best `most` ads for a viewer with their total values, the best first.
    pub(crate) fn top(&mut self, board: &Board, request: &Request, most: usize) -> &[(u64, i64)] {
        let index = self.index.load();
        let asked = Asked {
            index: &index,
            board,
            blocks: &self.blocks,
            onlooker: &self.onlooker,
            policy: &self.policy,
            request: &request.request,
            now: NOW,
            roll: request.roll,
            live_ads: self.live_ads,
        };
        self.told.take(&request.request.profile, request.request.placement, NOW);
        self.best.clear();
        let mut top = Top { asked: &asked, most, best: &mut self.best };
        self.walker.walk(&index, &self.told, &mut top);
        self.answer.clear();
        self.answer.extend(
            self.best
                .drain()
                .map(|Reverse((total, _, Reverse(ad)))| (mint(IdKind::Ad, ad.into()), total)),
        );
        self.answer.sort_unstable_by_key(|(ad, total)| (Reverse(*total), *ad));
        &self.answer
    }
}

/// Takes the best ads that nothing stands against, as selection does with the best of each group.
struct Top<'a> {
    asked: &'a Asked<'a>,
    most: usize,
    best: &'a mut BinaryHeap<Least>,
}

impl Visitor for Top<'_> {
    fn least(&self) -> i64 {
        match self.best.peek() {
            Some(Reverse((total, ..))) if self.best.len() == self.most => *total,
            _ => i64::MIN,
        }
    }

    fn visit(&mut self, segment: &Segment, _lane: u16, entries: &[u32]) {
        for &at in entries {
            let entry = segment.entry(at);
            let Some((worth, _)) = self.asked.live_worth(entry) else { continue };
            let total = worth.total();
            if total < self.least()
                || self.asked.obstacle(entry, segment.extra(entry), worth).is_some()
            {
                continue;
            }
            let lot = Reverse(self.asked.lot(entry.ad));
            let offered = Reverse((total, lot, Reverse(entry.ad)));
            if self.best.len() < self.most {
                self.best.push(offered);
            } else if let Some(mut least) = self.best.peek_mut()
                && offered < *least
            {
                *least = offered;
            }
        }
    }
}

/// What was changed while ads were asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Churn {
    /// Single changes that were shown to readers.
    pub(crate) updates: u64,
    /// Whole indexes that were built and put in place.
    pub(crate) rebuilds: u64,
}

/// How often changes are shown: as often as a busy journal makes them durable.
const BATCH_EVERY: Duration = Duration::from_millis(5);
const CHANGES_PER_S: u64 = 1_000;

/// Changes 1,000 ads a second, and merges the index anew all the while, until it is told to stop.
pub(crate) fn churn(
    index: &Shared,
    catalog: &Catalog,
    board: &Board,
    specs: &[Spec],
    stop: &AtomicBool,
) -> Churn {
    let mut churn = Churn::default();
    let mut dice = Xoshiro256PlusPlus::seed_from_u64(7);
    let (old, to_merge) = mpsc::channel::<Arc<Index>>();
    let (merged, new) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for index in to_merge {
                // The other side is gone when it was told to stop.
                let _ = merged.send(index.rebase(board, NOW));
            }
        });
        let (start, mut kept) = (Instant::now(), 0);
        while !stop.load(Ordering::Relaxed) {
            if let Ok(rebased) = new.try_recv() {
                index.store(Arc::new(index.load_full().rebased(rebased)));
                (churn.rebuilds, kept) = (churn.rebuilds + 1, 0);
            }
            let due = start.elapsed().as_millis() as u64 * CHANGES_PER_S / 1_000;
            let places = (churn.updates..due).map(|_| dice.random_range(0..specs.len()));
            churn.updates += change(index, catalog, board, places, kept);
            if kept == 0 {
                let now = index.load_full();
                kept = now.fresh_segments();
                // As above.
                let _ = old.send(now);
            }
            std::thread::sleep(BATCH_EVERY);
        }
        drop(old);
    });
    churn
}

/// Shows readers new versions of these ads, as the writer does with a batch that is durable.
fn change(
    index: &Shared,
    catalog: &Catalog,
    board: &Board,
    places: impl Iterator<Item = usize>,
    kept: usize,
) -> u64 {
    let places: std::collections::BTreeSet<usize> = places.collect();
    let (mut drafts, mut epochs) = (Vec::new(), Vec::new());
    for place in places {
        let id = ad_id(place);
        let epoch = board.ad(id).epoch.checked_add(1).unwrap_or(1);
        if let Some(mut draft) = Draft::of(catalog, id, board) {
            draft.set_epoch(epoch);
            drafts.push(draft);
            epochs.push((id, epoch));
        }
    }
    if !drafts.is_empty() {
        index.store(Arc::new(index.load_full().with(drafts, board, kept)));
    }
    epochs.iter().for_each(|(id, epoch)| board.set_epoch(*id, *epoch));
    epochs.len() as u64
}
