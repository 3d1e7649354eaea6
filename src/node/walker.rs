//! Watching serving from beside it: sampled requests are walked whole, for the reasons of ads that never
//! reach an auction, and sampled viewers are remembered, for the size of audiences and for forecasts.
//!
//! Serving pays a hash and a compare for most requests. What is taken goes through a bounded queue to one
//! thread that walks for at most a fiftieth of its time; what it does not walk is made up for by the weight
//! of the next walk. Without a thread (simulations) nothing is taken.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::Builder;
use std::time::Duration;

use crate::decide::explain::{Bars, Full, Sampled};
use crate::decide::forecast::Noticed;
use crate::decide::index::{Index, Walker};
use crate::decide::onlooker::Onlooker;
use crate::decide::select::{Asked, Tray};
use crate::decide::skip::Skip;
use crate::decide::target::Told;
use crate::node::asked::Ring;
use crate::node::clock::Clock;
use crate::node::forecaster::{Forecasts, compare_behind};
use crate::node::live::{Live, locked};
use crate::node::pacer::Bid;
use crate::node::panel::{Panel, Recent, panel_hash, round_place};
use crate::state::Map;
use crate::state::rules::Blocks;
use crate::types::hash::mix;
use crate::types::request::{AdRequest, Policy, Profile};
use crate::types::time::Moment;

/// Of so many viewers one is sampled, in a system with many.
pub const SAMPLED_OF: u32 = 1_000;

/// Requests that are taken before the share of sampled viewers is halved, and below which it is doubled
/// again after an hour: a small system is explained by all of its viewers.
pub const SAMPLE_STEP: u32 = 512;

/// What waits for the walker; more is dropped, and counted.
pub const SAMPLES_WAITING_MAX: usize = 1_024;

/// Hours for which estimated reasons are kept.
pub const EXPLAIN_HOURS: u32 = 24;

/// Counts of ads by hour and reason that are kept; when there are more, the oldest hours go.
pub const EXPLAIN_COUNTS_MAX: usize = 4_000_000;

/// The walker rests so many times as long as it walked, and uses a fiftieth of a core.
const REST: u32 = 49;

/// How often the walker looks whether something waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The last stage: placed, or counted exactly by the auction.
const SEEN: u8 = Skip::ALL.len() as u8;

/// One request on its way to the walker.
pub(in crate::node) struct Taken {
    sampled: Arc<Sampled>,
    /// The losers of its auction, which are counted exactly.
    passed: Vec<u32>,
    /// Viewers that its viewer stands for.
    weight: u32,
}

/// What serving hands to the walker.
pub(in crate::node) enum Noted {
    Request(Box<Taken>),
    Viewer { viewer: u64, profile: Box<Profile>, placement: u8, now: Moment },
    Visit(Box<Noticed>),
}

enum Sink {
    Behind(SyncSender<Noted>),
    Here,
}

/// A tray that was just answered.
#[derive(Clone, Copy)]
pub(in crate::node) struct Answered<'a> {
    pub(in crate::node) index: &'a Index,
    pub(in crate::node) blocks: &'a Blocks,
    pub(in crate::node) viewer: u64,
    pub(in crate::node) policy: &'a Policy,
    pub(in crate::node) request: &'a AdRequest,
    pub(in crate::node) onlooker: &'a Onlooker,
    pub(in crate::node) tray: &'a Tray,
    pub(in crate::node) now: Moment,
}

/// Which viewers are sampled: one of `divisor`, by hash.
struct Sampling {
    divisor: AtomicU32,
    taken: AtomicU32,
    hour: AtomicU32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { divisor: AtomicU32::new(1), taken: AtomicU32::new(0), hour: AtomicU32::new(0) }
    }
}

impl Sampling {
    /// Returns how many viewers this one stands for, if it is sampled.
    fn weight(&self, hash: u64, hour: u32) -> Option<u32> {
        let divisor = self.divisor.load(Relaxed);
        if !hash.is_multiple_of(u64::from(divisor)) {
            return None;
        }
        if self.hour.swap(hour, Relaxed) != hour && self.taken.swap(0, Relaxed) < SAMPLE_STEP {
            self.divisor.store((divisor / 2).max(1), Relaxed);
        } else if (self.taken.fetch_add(1, Relaxed) + 1).is_multiple_of(SAMPLE_STEP) {
            self.divisor.store((divisor * 2).min(SAMPLED_OF), Relaxed);
        }
        Some(divisor)
    }
}

/// What was learned beside serving.
#[derive(Default)]
pub(in crate::node) struct Book {
    pub(in crate::node) walks: Walks,
    pub(in crate::node) ring: Ring,
    pub(in crate::node) panel: Panel,
}

/// The sampling side of serving.
#[derive(Default)]
pub(in crate::node) struct Watch {
    sink: OnceLock<Sink>,
    sampling: Sampling,
    recent: Recent,
    /// Weight of what was taken since the last walk and not walked.
    unwalked: AtomicU64,
    book: Mutex<Book>,
    pub(in crate::node) forecasts: Forecasts,
}

/// Buffers of walks.
#[derive(Default)]
struct Desk {
    walker: Walker,
    told: Told,
    found: Vec<(u32, u8)>,
    bids: Vec<Bid>,
}

impl Watch {
    pub(in crate::node) fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.book)
    }
}

impl Live {
    /// Looks at a tray that was just answered; takes a copy of few.
    pub(in crate::node) fn watch(
        &self,
        answered: &Answered<'_>,
        passed: impl Iterator<Item = u32>,
    ) {
        let (watch, now) = (&self.watch, answered.now);
        let Some(sink) = watch.sink.get() else { return };
        let hash = mix(answered.viewer);
        if let Some(weight) = watch.sampling.weight(hash, now.hour()) {
            let taken = Taken { sampled: self.sampled(answered), passed: passed.collect(), weight };
            if !self.note(sink, Noted::Request(Box::new(taken))) {
                watch.unwalked.fetch_add(weight.into(), Relaxed);
            }
        }
        if watch.forecasts.wants(answered.viewer, now)
            && let Some(noticed) =
                Noticed::of(answered.viewer, answered.tray, &self.asked(answered))
        {
            // One that is dropped is missing; what is left of its viewer still says most.
            self.note(sink, Noted::Visit(Box::new(noticed)));
        }
        let Some(viewer) = answered.request.viewer else { return };
        let hash = panel_hash(viewer);
        if watch.recent.is_due(hash, now.hour()) {
            let profile = Box::new(answered.request.profile.clone());
            let placement = answered.request.placement as u8;
            if self.note(sink, Noted::Viewer { viewer, profile, placement, now }) {
                watch.recent.met(hash, now.hour());
            }
        }
    }

    fn asked<'a>(&'a self, answered: &Answered<'a>) -> Asked<'a> {
        let Answered { index, blocks, policy, request, onlooker, now, .. } = *answered;
        let (board, live_ads) = (&self.board, self.live_ads());
        Asked { index, board, blocks, onlooker, policy, request, now, roll: 0, live_ads }
    }

    fn sampled(&self, answered: &Answered<'_>) -> Arc<Sampled> {
        let Answered { policy, request, onlooker, tray, now, .. } = *answered;
        let bars = Bars::of(tray, &self.asked(answered));
        let (request, onlooker, policy) = (request.clone(), onlooker.clone(), *policy);
        Arc::new(Sampled { request, policy, now, onlooker, bars })
    }

    fn note(&self, sink: &Sink, noted: Noted) -> bool {
        match sink {
            Sink::Here => {
                self.take(noted, true, &mut Desk::default());
                true
            }
            Sink::Behind(sender) => {
                let sent = sender.try_send(noted).is_ok();
                if !sent {
                    metrics::counter!("munadi_samples_dropped_total").increment(1);
                }
                sent
            }
        }
    }

    /// Writes what was noted into the book. Walks only if it may; tells whether it did.
    fn take(&self, noted: Noted, may_walk: bool, desk: &mut Desk) -> bool {
        match noted {
            Noted::Viewer { viewer, profile, placement, now } => {
                let mut book = self.watch.book();
                book.panel.meet(viewer, *profile, placement, now);
                self.watch.recent.narrow(book.panel.threshold());
                false
            }
            Noted::Visit(mut noticed) => {
                round_place(&mut noticed.profile);
                self.watch.forecasts.take(*noticed);
                false
            }
            Noted::Request(taken) => {
                if may_walk {
                    self.walk(&taken, desk);
                } else {
                    self.watch.unwalked.fetch_add(taken.weight.into(), Relaxed);
                }
                let mut kept = Arc::unwrap_or_clone(taken.sampled);
                round_place(&mut kept.request.profile);
                self.watch.book().ring.push(Arc::new(kept));
                may_walk
            }
        }
    }

    /// Walks the whole market of a request and counts what became of each ad.
    fn walk(&self, taken: &Taken, desk: &mut Desk) {
        let Sampled { request, policy, now, onlooker, bars } = &*taken.sampled;
        let (index, blocks) = (self.index.load_full(), self.blocks.load_full());
        let asked = Asked {
            index: &index,
            board: &self.board,
            blocks: &blocks,
            onlooker,
            policy,
            request,
            now: *now,
            roll: 0,
            live_ads: self.live_ads(),
        };
        let Desk { walker, told, found, bids } = desk;
        told.take(&request.profile, request.placement, *now);
        found.clear();
        bids.clear();
        let mut full = Full {
            asked: &asked,
            bars,
            take: |entry: &crate::decide::index::Entry, worth, why: Option<Skip>| {
                bids.extend(Bid::of(&asked, bars, entry, worth, why));
                let exact = taken.passed.contains(&entry.ad);
                let stage = why.filter(|_| !exact).map_or(SEEN, |skip| skip.stage() as u8);
                found.push((entry.ad, stage));
            },
        };
        walker.walk(&index, told, &mut full);
        // An ad whose conjunctions stand in several segments came once for each.
        found.sort_unstable();
        found.dedup_by_key(|(ad, _)| *ad);
        let weight = u64::from(taken.weight) + self.watch.unwalked.swap(0, Relaxed);
        self.landscapes.add(bids, weight);
        self.watch.book().walks.add(*now, request.profile.country, weight, found);
    }
}

/// Sampled reasons by ad and hour, and how much was walked.
#[derive(Default)]
pub(in crate::node) struct Walks {
    /// By hour; an ad's number above the stage.
    hours: BTreeMap<u32, Map<u64, u32>>,
    /// Weight of walks by minute and country.
    minutes: BTreeMap<(u32, u16), u64>,
}

impl Walks {
    fn add(&mut self, now: Moment, country: u16, weight: u64, found: &[(u32, u8)]) {
        let first = now.hour().saturating_sub(EXPLAIN_HOURS - 1);
        self.hours = self.hours.split_off(&first);
        self.minutes = self.minutes.split_off(&(first * 60, 0));
        let entries: usize = self.hours.values().map(Map::len).sum();
        if entries + found.len() > EXPLAIN_COUNTS_MAX {
            self.hours.pop_first();
        }
        *self.minutes.entry((now.minute(), country)).or_default() += weight;
        let more = u32::try_from(weight).unwrap_or(u32::MAX);
        let counts = self.hours.entry(now.hour()).or_default();
        for (ad, stage) in found {
            let count = counts.entry(u64::from(*ad) << 8 | u64::from(*stage)).or_default();
            *count = count.saturating_add(more);
        }
    }

    /// Returns how often an ad was passed over since `since`, by reason. `market`: the countries that it is
    /// meant for; empty: all.
    pub(in crate::node) fn reasons(
        &self,
        ad: u32,
        market: &[u16],
        since: Moment,
    ) -> Vec<(Skip, u64)> {
        let of = |stage: u8| -> u64 {
            let key = u64::from(ad) << 8 | u64::from(stage);
            let hours = self.hours.range(since.hour()..);
            hours.map(|(_, counts)| u64::from(counts.get(&key).copied().unwrap_or_default())).sum()
        };
        let stages = Skip::ALL.into_iter().map(|skip| (skip, of(skip.stage() as u8)));
        let mut reasons: Vec<_> = stages.filter(|(_, count)| *count > 0).collect();
        let met: u64 = reasons.iter().map(|(_, count)| count).sum::<u64>() + of(SEEN);
        let minutes = self.minutes.range((since.minute(), 0)..);
        let here =
            minutes.filter(|((_, country), _)| market.is_empty() || market.contains(country));
        let walked: u64 = here.map(|(_, weight)| weight).sum();
        let others = walked.saturating_sub(met);
        if others > 0 {
            reasons.push((Skip::NotTargeted, others));
        }
        reasons
    }
}

/// Watches serving on a thread from now on. It ends with the engine.
///
/// # Errors
/// When no thread can be started.
pub(in crate::node) fn walk_behind(live: &Arc<Live>, clock: Arc<dyn Clock>) -> io::Result<()> {
    let (sender, noted) = sync_channel(SAMPLES_WAITING_MAX);
    let (weak, compared) = (Arc::downgrade(live), Arc::clone(&clock));
    let run = move || {
        let (mut desk, mut rest_until) = (Desk::default(), Duration::ZERO);
        loop {
            match noted.try_recv() {
                Ok(item) => {
                    let Some(live) = weak.upgrade() else { return };
                    let began = clock.monotonic();
                    if live.take(item, began >= rest_until, &mut desk) {
                        rest_until = began + clock.monotonic().saturating_sub(began) * (1 + REST);
                    }
                }
                // Waiting on the queue would make serving wake this thread, which costs more than a tray.
                Err(TryRecvError::Empty) => std::thread::sleep(LOOK_EVERY),
                Err(TryRecvError::Disconnected) => return,
            }
        }
    };
    Builder::new().name("walker".into()).spawn(run)?;
    compare_behind(live, compared)?;
    // Whoever came first stays.
    let _ = live.watch.sink.set(Sink::Behind(sender));
    Ok(())
}

/// Watches serving in its own thread: for tests, which want no other.
pub(in crate::node) fn walk_here(live: &Live) {
    let _ = live.watch.sink.set(Sink::Here);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::HOUR_MS;

    #[test]
    fn a_small_system_is_sampled_whole_and_a_large_one_by_one_in_a_thousand() {
        let sampling = Sampling::default();
        let taken = |hour: u32, viewers: u64| {
            (0..viewers).filter(|viewer| sampling.weight(mix(*viewer), hour).is_some()).count()
        };
        assert_eq!(taken(1, 511), 511);
        taken(1, 2_000_000);
        assert_eq!(sampling.divisor.load(Relaxed), SAMPLED_OF);
        let share = taken(1, 1_000_000);
        assert!((900..1_100).contains(&share), "{share}");
        (2..20).for_each(|hour| assert!(taken(hour, 3_000) > 0));
        assert!(sampling.divisor.load(Relaxed) <= 8, "quiet hours widen it again");
    }

    #[test]
    fn whoever_is_not_met_on_a_walk_was_not_targeted() {
        let (mut walks, hour) = (Walks::default(), Moment(500_000 * HOUR_MS));
        let mx = 1;
        walks.add(hour, mx, 10, &[(7, Skip::Outbid.stage() as u8), (8, SEEN)]);
        walks.add(hour.plus_ms(1), mx, 1, &[(7, Skip::Outbid.stage() as u8)]);
        walks.add(hour.plus_ms(1), 2, 100, &[]);
        assert_eq!(walks.reasons(7, &[mx], hour), [(Skip::Outbid, 11)]);
        assert_eq!(walks.reasons(8, &[mx], hour), [(Skip::NotTargeted, 1)]);
        assert_eq!(walks.reasons(9, &[mx], hour), [(Skip::NotTargeted, 11)]);
        assert_eq!(walks.reasons(9, &[], hour), [(Skip::NotTargeted, 111)]);
        assert_eq!(walks.reasons(9, &[], hour.plus_ms(HOUR_MS)), []);
        walks.add(hour.plus_ms(24 * HOUR_MS), mx, 1, &[]);
        assert_eq!(walks.hours.len(), 1, "a day is kept");
    }
}
