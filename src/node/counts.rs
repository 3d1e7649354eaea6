//! What serving counts between two minutes: served and passed-over ads, trays and empty slots, requests by
//! country.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use crate::decide::index::Entry;
use crate::decide::select::Passes;
use crate::decide::skip::Skip;
use crate::node::dice::SeededDice;
use crate::node::live::locked;
use crate::node::serve::Desk;
use crate::state::Map;
use crate::types::ids::{IdKind, SHARDS, mint, shard_of};
use crate::types::proto::journal::v1::{FeedRow, MarketRow, Reason, ServedMinute, ServedRow};
use crate::types::proto::v1::{NoAdReason, Placement};

/// Doors count in stripes of their own, so they seldom meet.
const STRIPES: usize = 8;

/// Rows of one fact: well under the 256 KiB that a fact may have.
const ROWS_MAX: usize = 1_000;

/// What one ad was counted for.
#[derive(Clone, Debug, Default)]
struct AdCount {
    ad_set: u32,
    campaign: u32,
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

/// The counts by ad, by the ad's number.
#[derive(Debug, Default)]
pub(in crate::node) struct AdCounts(Map<u32, AdCount>);

/// The counts by feed and placement.
#[derive(Debug, Default)]
pub(in crate::node) struct FeedCounts(BTreeMap<(u32, i32), FeedCount>);

/// Requests by country.
#[derive(Debug, Default)]
pub(in crate::node) struct MarketCounts(BTreeMap<u16, u32>);

/// The counts and buffers of one stripe.
#[derive(Debug, Default)]
pub(in crate::node) struct Stripe {
    /// Buffers of selection.
    pub(in crate::node) desk: Desk,
    pub(in crate::node) ads: AdCounts,
    pub(in crate::node) feeds: FeedCounts,
    pub(in crate::node) markets: MarketCounts,
}

/// Why ads that reached the auction did not win; counted only if the tray is used.
#[derive(Debug, Default)]
pub(in crate::node) struct Walk {
    passed: Vec<(Entry, Skip)>,
}

impl Walk {
    /// Forgets the last tray.
    pub(in crate::node) fn begin(&mut self) {
        self.passed.clear();
    }

    /// Returns the ads that are counted.
    pub(in crate::node) fn ads(&self) -> impl Iterator<Item = u32> + '_ {
        self.passed.iter().map(|(entry, _)| entry.ad)
    }
}

impl Passes for Walk {
    fn pass(&mut self, entry: &Entry, skip: Skip) {
        self.passed.push((*entry, skip));
    }
}

impl AdCounts {
    fn of(&mut self, entry: &Entry) -> &mut AdCount {
        let count = self.0.entry(entry.ad).or_default();
        (count.ad_set, count.campaign) = (entry.ad_set, entry.campaign);
        count
    }

    /// Counts the ads of one auction, and those that it served with what each holds.
    pub(in crate::node) fn count<'a>(
        &mut self,
        walk: &Walk,
        served: impl Iterator<Item = (&'a Entry, i64)>,
    ) {
        for (entry, skip) in &walk.passed {
            self.of(entry).passed[skip.stage()] += 1;
        }
        for (entry, held) in served {
            let count = self.of(entry);
            count.served += 1;
            count.held = count.held.saturating_add(held);
        }
    }
}

impl FeedCounts {
    /// Counts a tray: how many slots were filled, and why the others were not.
    pub(in crate::node) fn answered(
        &mut self,
        feed: u32,
        placement: Placement,
        served: u32,
        empty: impl Iterator<Item = NoAdReason>,
    ) {
        let count = self.0.entry((feed, placement.into())).or_default();
        count.requests += 1;
        count.served += served;
        empty.for_each(|reason| *count.empty.entry(reason as u32).or_default() += 1);
    }
}

impl MarketCounts {
    /// Counts a request from a country; 0: not told.
    pub(in crate::node) fn asked(&mut self, country: u16) {
        *self.0.entry(country).or_default() += 1;
    }
}

/// Numbers threads, so that a stripe can be told whose it is.
static THREADS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static THREAD: u64 = THREADS.fetch_add(1, Relaxed);
}

/// A stripe and the thread that took it last; 0: none did.
#[derive(Debug, Default)]
struct Berth {
    thread: AtomicU64,
    stripe: Mutex<Stripe>,
}

impl Berth {
    fn enter(&self, thread: u64) -> Option<MutexGuard<'_, Stripe>> {
        let stripe = self.stripe.try_lock().ok()?;
        self.thread.store(thread, Relaxed);
        Some(stripe)
    }
}

/// The stripes of all doors, and their dice.
pub(in crate::node) struct Counts {
    stripes: Box<[Berth]>,
    /// Order equal bids and name views.
    dice: Box<[Mutex<SeededDice>]>,
}

impl Counts {
    /// Returns empty counts.
    pub(in crate::node) fn new(dice: impl FnMut() -> SeededDice) -> Self {
        let stripes = std::iter::repeat_with(Berth::default).take(STRIPES).collect();
        let dice = std::iter::repeat_with(dice).take(STRIPES).map(Mutex::new).collect();
        Self { stripes, dice }
    }

    /// Returns a stripe that nobody uses: the thread's last one if it can, since its buffers are in the cache of
    /// this core and would have to come from another's. Which one it is changes no answer and no sum.
    pub(in crate::node) fn stripe(&self) -> MutexGuard<'_, Stripe> {
        let thread = THREAD.with(|thread| *thread);
        let of = |last: u64| {
            let berths = self.stripes.iter().filter(move |it| it.thread.load(Relaxed) == last);
            berths.into_iter().find_map(|berth| berth.enter(thread))
        };
        let any = || self.stripes.iter().find_map(|berth| berth.enter(thread));
        let own = of(thread).or_else(|| of(0)).or_else(any);
        own.unwrap_or_else(|| locked(&self.stripes[0].stripe))
    }

    /// Returns dice that nobody rolls, the first if there is a choice, so that doors that ask one after the other
    /// always roll the same.
    pub(in crate::node) fn dice(&self) -> MutexGuard<'_, SeededDice> {
        let free = self.dice.iter().find_map(|dice| dice.try_lock().ok());
        free.unwrap_or_else(|| locked(&self.dice[0]))
    }

    /// Takes what was counted, as facts by the index of their shard: an ad's in its campaign's, a feed's
    /// and a market's in the one of its number.
    pub(in crate::node) fn drain(&self, minute: u32) -> Vec<(usize, ServedMinute)> {
        let (mut ads, mut feeds) = (BTreeMap::<u32, AdCount>::new(), BTreeMap::new());
        let mut markets = BTreeMap::<u16, u32>::new();
        for berth in &self.stripes {
            let mut stripe = locked(&berth.stripe);
            for (ad, count) in stripe.ads.0.drain() {
                let sum = ads.entry(ad).or_default();
                (sum.ad_set, sum.campaign) = (count.ad_set, count.campaign);
                sum.served += count.served;
                sum.held = sum.held.saturating_add(count.held);
                sum.passed.iter_mut().zip(count.passed).for_each(|(sum, more)| *sum += more);
            }
            for (country, requests) in std::mem::take(&mut stripe.markets.0) {
                *markets.entry(country).or_default() += requests;
            }
            for (feed, count) in std::mem::take(&mut stripe.feeds.0) {
                let sum: &mut FeedCount = feeds.entry(feed).or_default();
                sum.requests += count.requests;
                sum.served += count.served;
                for (reason, more) in count.empty {
                    *sum.empty.entry(reason).or_default() += more;
                }
            }
        }
        let mut counted = facts(minute, ads, feeds);
        for (country, requests) in markets {
            let markets = vec![MarketRow { country: country.into(), requests }];
            let shard = usize::from(country) % SHARDS;
            let of_shard = counted.iter_mut().find(|(at, _)| *at == shard);
            match of_shard {
                Some((_, fact)) => fact.markets.extend(markets),
                None => {
                    counted.push((shard, ServedMinute { minute, markets, ..Default::default() }));
                }
            }
        }
        counted
    }
}

fn facts(
    minute: u32,
    ads: BTreeMap<u32, AdCount>,
    feeds: BTreeMap<(u32, i32), FeedCount>,
) -> Vec<(usize, ServedMinute)> {
    let mut shards = BTreeMap::<usize, (Vec<ServedRow>, Vec<FeedRow>)>::new();
    for (ad, count) in ads {
        let passed = reasons(Skip::ALL.iter().zip(count.passed).map(|(skip, n)| (*skip as u32, n)));
        if count.served == 0 && passed.is_empty() {
            continue;
        }
        let row = ServedRow {
            ad: mint(IdKind::Ad, ad.into()),
            ad_set: mint(IdKind::AdSet, count.ad_set.into()),
            served: count.served,
            held_micros: count.held,
            passed,
        };
        shards
            .entry(shard_of(mint(IdKind::Campaign, count.campaign.into())).index())
            .or_default()
            .0
            .push(row);
    }
    for ((feed, placement), count) in feeds {
        let row = FeedRow {
            feed,
            placement,
            requests: count.requests,
            served: count.served,
            empty: reasons(count.empty.into_iter()),
        };
        let shard = feed as usize % SHARDS;
        shards.entry(shard).or_default().1.push(row);
    }
    let mut facts = Vec::new();
    for (shard, (rows, mut feeds)) in shards {
        let mut chunks: Vec<_> = rows.chunks(ROWS_MAX).map(<[_]>::to_vec).collect();
        if chunks.is_empty() {
            chunks.push(Vec::new());
        }
        for rows in chunks {
            facts.push((
                shard,
                ServedMinute {
                    minute,
                    rows,
                    feeds: std::mem::take(&mut feeds),
                    ..ServedMinute::default()
                },
            ));
        }
    }
    facts
}

fn reasons(counts: impl Iterator<Item = (u32, u32)>) -> Vec<Reason> {
    let counted = counts.filter(|(_, count)| *count > 0);
    counted.map(|(reason, count)| Reason { reason, count }).collect()
}
