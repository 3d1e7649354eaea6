//! What serving counts between two minutes: served and passed-over ads, trays and empty slots.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::decide::select::{Passes, Skip};
use crate::decide::shelf::Shelf;
use crate::node::dice::SeededDice;
use crate::node::live::locked;
use crate::types::ids::shard_of;
use crate::types::proto::journal::v1::{FeedRow, Reason, ServedMinute, ServedRow};
use crate::types::proto::v1::{NoAdReason, Placement};

/// Doors count in stripes of their own, so they seldom meet.
const STRIPES: usize = 8;

/// Rows of one fact: well under the 256 KiB that a fact may have.
const ROWS_MAX: usize = 1_000;

#[derive(Clone, Debug, Default)]
struct AdCount {
    ad_set: u64,
    campaign: u64,
    served: u32,
    held: i64,
    passed: [u32; Skip::ALL.len()],
}

#[derive(Clone, Debug, Default)]
struct FeedCount {
    requests: u32,
    served: u32,
    empty: BTreeMap<u32, u32>,
}

/// The counts and dice of one stripe.
pub(in crate::node) struct Stripe {
    /// Orders equal bids and names views.
    pub(in crate::node) dice: SeededDice,
    shelf: Arc<Shelf>,
    rows: Vec<AdCount>,
    walks: u32,
    ads: BTreeMap<u64, AdCount>,
    feeds: BTreeMap<(u32, i32), FeedCount>,
}

/// Why rows were passed over in one walk; counted only if the walk's tray is used.
#[derive(Debug, Default)]
pub(in crate::node) struct Walk {
    passed: Vec<(u32, Skip)>,
}

impl Passes for Walk {
    fn pass(&mut self, row: u32, skip: Skip) {
        // Every other row was not targeted: those are counted by the walk.
        if skip != Skip::NotTargeted {
            self.passed.push((row, skip));
        }
    }
}

impl Stripe {
    fn new(dice: SeededDice) -> Self {
        Self {
            dice,
            shelf: Arc::default(),
            rows: Vec::new(),
            walks: 0,
            ads: BTreeMap::new(),
            feeds: BTreeMap::new(),
        }
    }

    /// Counts a walk over a shelf and the rows that it served, with what each holds.
    pub(in crate::node) fn walked(
        &mut self,
        shelf: &Arc<Shelf>,
        walk: &Walk,
        served: impl Iterator<Item = (u32, i64)>,
    ) {
        if !Arc::ptr_eq(&self.shelf, shelf) {
            self.fold();
            self.shelf = Arc::clone(shelf);
            self.rows.resize(shelf.rows.len(), AdCount::default());
        }
        self.walks += 1;
        for (row, skip) in &walk.passed {
            self.rows[*row as usize].passed[skip.stage()] += 1;
        }
        for (row, held) in served {
            let count = &mut self.rows[row as usize];
            count.served += 1;
            count.held = count.held.saturating_add(held);
        }
    }

    /// Counts a tray: how many slots were filled, and why the others were not.
    pub(in crate::node) fn answered(
        &mut self,
        feed: u32,
        placement: Placement,
        served: u32,
        empty: impl Iterator<Item = NoAdReason>,
    ) {
        let count = self.feeds.entry((feed, placement.into())).or_default();
        count.requests += 1;
        count.served += served;
        empty.for_each(|reason| *count.empty.entry(reason as u32).or_default() += 1);
    }

    /// Adds the rows of the shelf in use to the counts by ad.
    fn fold(&mut self) {
        for (row, count) in self.shelf.rows.iter().zip(self.rows.drain(..)) {
            let seen: u32 = count.passed.iter().sum::<u32>() + count.served;
            let ad = self.ads.entry(row.ad).or_default();
            ad.ad_set = row.ad_set;
            ad.campaign = row.campaign;
            ad.served += count.served;
            ad.held = ad.held.saturating_add(count.held);
            ad.passed.iter_mut().zip(count.passed).for_each(|(sum, more)| *sum += more);
            ad.passed[Skip::NotTargeted.stage()] += self.walks.saturating_sub(seen);
        }
        self.walks = 0;
        self.shelf = Arc::default();
    }
}

/// The stripes of all doors.
pub(in crate::node) struct Counts(Box<[Mutex<Stripe>]>);

impl Counts {
    /// Returns empty counts; each stripe rolls dice of its own.
    pub(in crate::node) fn new(mut dice: impl FnMut() -> SeededDice) -> Self {
        Self((0..STRIPES).map(|_| Mutex::new(Stripe::new(dice()))).collect())
    }

    /// Returns a stripe that nobody uses, the first if there is a choice, so that a single door always
    /// rolls the same dice.
    pub(in crate::node) fn stripe(&self) -> MutexGuard<'_, Stripe> {
        let free = self.0.iter().find_map(|stripe| stripe.try_lock().ok());
        free.unwrap_or_else(|| locked(&self.0[0]))
    }

    /// Takes what was counted, as facts by the index of their shard: an ad's in its campaign's, a feed's
    /// in the one of its number.
    pub(in crate::node) fn drain(&self, minute: u32) -> Vec<(usize, ServedMinute)> {
        let (mut ads, mut feeds) = (BTreeMap::<u64, AdCount>::new(), BTreeMap::new());
        for stripe in &self.0 {
            let mut stripe = locked(stripe);
            stripe.fold();
            for (ad, count) in std::mem::take(&mut stripe.ads) {
                let sum = ads.entry(ad).or_default();
                (sum.ad_set, sum.campaign) = (count.ad_set, count.campaign);
                sum.served += count.served;
                sum.held = sum.held.saturating_add(count.held);
                sum.passed.iter_mut().zip(count.passed).for_each(|(sum, more)| *sum += more);
            }
            for (feed, count) in std::mem::take(&mut stripe.feeds) {
                let sum: &mut FeedCount = feeds.entry(feed).or_default();
                sum.requests += count.requests;
                sum.served += count.served;
                for (reason, more) in count.empty {
                    *sum.empty.entry(reason).or_default() += more;
                }
            }
        }
        facts(minute, ads, feeds)
    }
}

fn facts(
    minute: u32,
    ads: BTreeMap<u64, AdCount>,
    feeds: BTreeMap<(u32, i32), FeedCount>,
) -> Vec<(usize, ServedMinute)> {
    let mut shards = BTreeMap::<usize, (Vec<ServedRow>, Vec<FeedRow>)>::new();
    for (ad, count) in ads {
        let passed = reasons(Skip::ALL.iter().zip(count.passed).map(|(skip, n)| (*skip as u32, n)));
        if count.served == 0 && passed.is_empty() {
            continue;
        }
        let row = ServedRow {
            ad,
            ad_set: count.ad_set,
            served: count.served,
            held_micros: count.held,
            log_mu: 0,
            passed,
        };
        shards.entry(shard_of(count.campaign).index()).or_default().0.push(row);
    }
    for ((feed, placement), count) in feeds {
        let row = FeedRow {
            feed,
            placement,
            requests: count.requests,
            served: count.served,
            empty: reasons(count.empty.into_iter()),
        };
        let shard = feed as usize % crate::types::ids::SHARDS;
        shards.entry(shard).or_default().1.push(row);
    }
    let mut facts = Vec::new();
    for (shard, (rows, mut feeds)) in shards {
        let mut chunks: Vec<_> = rows.chunks(ROWS_MAX).map(<[_]>::to_vec).collect();
        if chunks.is_empty() {
            chunks.push(Vec::new());
        }
        for rows in chunks {
            facts.push((shard, ServedMinute { minute, rows, feeds: std::mem::take(&mut feeds) }));
        }
    }
    facts
}

fn reasons(counts: impl Iterator<Item = (u32, u32)>) -> Vec<Reason> {
    let counted = counts.filter(|(_, count)| *count > 0);
    counted.map(|(reason, count)| Reason { reason, count }).collect()
}
