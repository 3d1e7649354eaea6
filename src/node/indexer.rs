//! Keeping the index: what the writer changed becomes visible to serving once it is durable, before it is
//! acknowledged. Large merges happen behind, where there is a thread for them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::Builder;
use std::time::Duration;

use crate::decide::exchange::Converter;
use crate::decide::holdouts::Tests;
use crate::decide::index::{Draft, Index, Rebased};
use crate::node::ads::Ads;
use crate::node::keys::KeyTable;
use crate::node::live::{Live, locked};
use crate::node::queue::Queue;
use crate::node::writer::Work;
use crate::state::exchange::Table;
use crate::state::rules::Blocks;
use crate::state::traffic_rules::Filter;
use crate::types::ids::{BatchNo, IdKind, mint, number_of};
use crate::types::time::Moment;

/// How long after a merge the writer has surely published it: what outgrew it meanwhile is then built anew.
const PUBLISHED_BY_NOW: Duration = Duration::from_millis(100);

/// Merges the fresh ads of an index elsewhere; its work comes back as [`crate::node::writer::Work`].
pub(in crate::node) type Rebaser = Box<dyn FnMut(Arc<Index>, Moment) + Send>;

/// One change that serving may see once its batch is durable: the ids of writes that a crash undoes are
/// given again, to others.
pub(in crate::node) enum Shown {
    /// An ad in its newest form; `None`: it does not serve any more.
    Ad(u64, Option<Box<Draft>>),
    /// The operator's rules for policy categories.
    Blocks(Arc<Blocks>),
    /// What is measured by holding ads back.
    Tests(Arc<Tests>),
    /// The exchange rates in force.
    Exchange(Arc<Table>),
    /// The operator's rules for invalid traffic.
    Traffic(Arc<Filter>),
    /// The API keys that open doors.
    Keys(Arc<KeyTable>),
}

/// The writer's side of the index.
#[derive(Default)]
pub(in crate::node) struct Indexer {
    waiting: VecDeque<(BatchNo, Shown)>,
    /// The ads that are live by what was noted.
    live: Ads,
    rebaser: Option<Rebaser>,
    /// Fresh segments that are being merged.
    merging: usize,
}

impl Indexer {
    /// Returns the side of a new node's index, whose ads are live by the index.
    pub(in crate::node) fn of(live: &Live) -> Self {
        let mut indexer = Self::default();
        for segment in live.index.load().segments() {
            segment.entries().iter().for_each(|entry| {
                indexer.live.put(entry.ad);
            });
        }
        live.set_live_ads(indexer.live.count());
        indexer
    }

    /// Merges by this from now on, instead of at once.
    pub(in crate::node) fn use_rebaser(&mut self, rebaser: Rebaser) {
        self.rebaser = Some(rebaser);
    }

    /// Takes a change of the batch that is being filled.
    pub(in crate::node) fn note(&mut self, batch: BatchNo, change: Shown) {
        if let Shown::Ad(ad, draft) = &change {
            self.live.set(number_of(*ad) as u32, draft.is_some());
        }
        self.waiting.push_back((batch, change));
    }

    /// Tells whether an ad is live, or will be once what was noted is durable.
    pub(in crate::node) fn is_live(&self, ad: u64) -> bool {
        self.live.has(number_of(ad) as u32)
    }

    /// Shows serving what is durable.
    pub(in crate::node) fn publish(&mut self, live: &Live, durable: BatchNo, now: Moment) {
        let (mut ads, mut rated) = (Vec::new(), false);
        while let Some((_, change)) = self.waiting.pop_front_if(|(batch, _)| *batch <= durable) {
            match change {
                Shown::Ad(ad, draft) => ads.push((number_of(ad), draft)),
                Shown::Blocks(blocks) => live.blocks.store(blocks),
                Shown::Traffic(filter) => live.traffic.store(filter),
                Shown::Keys(keys) => live.keys.store(keys),
                Shown::Tests(tests) => live.tests.store(tests),
                Shown::Exchange(table) => {
                    live.exchange.store(table);
                    let index = live.index.load().with_exchange(live.converter());
                    live.index.store(Arc::new(index));
                    rated = true;
                }
            }
        }
        if rated && ads.is_empty() {
            self.merge(live, live.index.load_full(), now);
        }
        if !ads.is_empty() {
            self.publish_ads(live, ads, now);
        }
    }

    fn publish_ads(&mut self, live: &Live, ads: Vec<(u64, Option<Box<Draft>>)>, now: Moment) {
        // Of two versions of an ad in one round the later counts.
        let last: crate::state::Map<u64, usize> =
            ads.iter().enumerate().map(|(at, (ad, _))| (*ad, at)).collect();
        let (mut drafts, mut epochs, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (ad, draft)) in ads.into_iter().enumerate() {
            if last.get(&ad) != Some(&at) {
                continue;
            }
            // Zero stands for an ad that never was; old rows of the number that comes again are long gone.
            let epoch = live.board.ad(ad).epoch.checked_add(1).unwrap_or(1);
            epochs.push((ad, epoch));
            if let Some(mut draft) = draft {
                draft.set_epoch(epoch);
                wanted.push(draft.entry().ad_set);
                drafts.push(*draft);
            }
        }
        let index = live.index.load_full();
        let index = if drafts.is_empty() {
            index
        } else {
            Arc::new(index.with(drafts, &live.board, self.merging))
        };
        live.index.store(Arc::clone(&index));
        // Only now do the old rows go dead: no request finds the ad in neither form.
        epochs.iter().for_each(|(ad, epoch)| live.board.set_epoch(*ad, *epoch));
        // And only now may their ad sets bid what the old rows did not allow for.
        wanted.iter().for_each(|ad_set| live.board.settle_multiplier((*ad_set).into()));
        live.set_live_ads(self.live.count());
        self.merge(live, index, now);
    }

    fn merge(&mut self, live: &Live, index: Arc<Index>, now: Moment) {
        if self.merging > 0 || !index.is_stale() {
            return;
        }
        match &mut self.rebaser {
            Some(rebaser) => {
                self.merging = index.fresh_segments();
                rebaser(index, now);
            }
            None => {
                let rebased = index.rebase(&live.board, now);
                live.index.store(Arc::new(index.rebased(rebased)));
            }
        }
    }

    /// Takes what was merged behind.
    pub(in crate::node) fn take(&mut self, live: &Live, rebased: Rebased, now: Moment) {
        self.merging = 0;
        let index = Arc::new(live.index.load_full().rebased(rebased));
        live.index.store(Arc::clone(&index));
        // What became due meanwhile, other exchange rates say, is merged now.
        self.merge(live, index, now);
    }
}

impl Live {
    /// Makes the index anew from the catalog, after recovery: everything in it is durable.
    pub(in crate::node) fn rebuild_index(&self) {
        let catalog = self.catalog();
        let mut drafts = Vec::new();
        for ad in catalog.ads.ids_after(0) {
            if let Some(mut draft) = Draft::of(&catalog, ad, &self.board) {
                draft.set_epoch(1);
                self.board.set_epoch(ad, 1);
                drafts.push(draft);
            }
        }
        let index = Index::build_by(&drafts, &self.board, &self.converter());
        self.index.store(Arc::new(index));
    }

    /// Returns what compares values by the exchange rates in force.
    fn converter(&self) -> Arc<Converter> {
        let table = self.exchange.load();
        Arc::new(Converter::of(|currency| table.rate(currency)))
    }

    /// Returns the ads whose rates have outgrown the bounds of their rows since it was asked last.
    pub(in crate::node) fn take_outgrown(&self) -> Vec<u64> {
        std::mem::take(&mut *locked(&self.outgrown))
    }
}

/// Starts a thread that merges the index beside the writer, and returns what hands it work. It ends when
/// that is dropped.
///
/// # Errors
/// When no thread can be started.
pub(in crate::node) fn merge_behind(live: Arc<Live>, queue: Arc<Queue>) -> io::Result<Rebaser> {
    let (sender, jobs) = mpsc::channel::<(Arc<Index>, Moment)>();
    let merge = move || {
        for (index, now) in jobs {
            let rebased = index.rebase(&live.board, now);
            // The old index is large, and gone once nobody serves from it.
            drop(index);
            queue.put(Work::Rebased(Box::new(rebased)));
            std::thread::sleep(PUBLISHED_BY_NOW);
            let outgrown = outgrown_in(&live, &live.index.load());
            if !outgrown.is_empty() {
                queue.put(Work::Refresh(outgrown));
            }
        }
    };
    Builder::new().name("indexer".into()).spawn(merge)?;
    Ok(Box::new(move |index, now| {
        // The thread goes only with the node.
        let _ = sender.send((index, now));
    }))
}

/// Returns the change that shows serving an ad as the catalog has it now.
pub(in crate::node) fn ad_change(live: &Live, ad: u64) -> Shown {
    let draft = Draft::of(&live.catalog(), ad, &live.board);
    Shown::Ad(ad, draft.map(Box::new))
}

/// Returns the ads of merged segments that have outgrown them while they were made.
fn outgrown_in(live: &Live, index: &Index) -> Vec<u64> {
    let entries = index.segments().flat_map(|segment| segment.entries());
    let grown = |ad: u32, ad_set: u32| {
        let ceiling = live.board.pace_ceiling(ad_set.into());
        live.board.outgrown(ad.into()) || live.board.multiplier(ad_set.into()) > ceiling
    };
    let grown = entries.filter(|entry| {
        live.board.ad(entry.ad.into()).epoch == entry.epoch && grown(entry.ad, entry.ad_set)
    });
    grown.map(|entry| mint(IdKind::Ad, entry.ad.into())).collect()
}
