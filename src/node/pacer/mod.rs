//! Pacing of the running node: once a minute, the multiplier of every budget that was served or asked for
//! lately. Run by the writer, so a step is journaled before it is shown and a replay shows the same.
//!
//! A minute's work is done in slices between events. What a restart loses is at most the minute's sums.

mod ceilings;
mod landscapes;
mod plans;
mod run;
mod shared;
mod unit;

use std::collections::BTreeMap;

pub(in crate::node) use ceilings::Ceilings;
pub(in crate::node) use landscapes::{Bid, Landscapes};

use crate::decide::board::{Board, Rates};
use crate::decide::index::COST_CAP_ROOM;
use crate::decide::pacing::goals::GoalCount;
use crate::decide::pacing::{LOG_ONE, multiplier_of};
use crate::node::live::Live;
use crate::node::pacer::plans::Plans;
use crate::node::pacer::run::{Round, Run};
use crate::node::pacer::shared::Shared;
use crate::node::pacer::unit::{Cluster, Unit, is_campaign, unit_of};
use crate::state::catalog::Catalog;
use crate::state::paces::{Pace, Paces};
use crate::state::{Map, is_imported};
use crate::types::day::day_of;
use crate::types::ids::{IdKind, Shard, shard_of};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{PaceRow, ServedMinute, Showing};
use crate::types::proto::v1::{AdSet, BidStrategy, Placement};
use crate::types::request::Resource;
use crate::types::time::{MINUTE_MS, Moment};
use crate::types::token::ViewToken;

/// Minutes for which a budget is paced that is neither served nor asked for.
const ACTIVE_MINUTES: u32 = 24 * 60;

/// Budgets that are stepped between two rounds of events.
const UNITS_PER_STEP: usize = 1_024;

/// Plans that are made between two rounds of events: at each full hour all are made anew, in about 0.3 ms each.
const PLANS_PER_STEP: usize = 32;

/// Ads whose rows are built anew between two rounds of events, because their multiplier has outgrown them.
const REBUILDS_PER_STEP: usize = 512;

/// Goal events that a budget is taken to pay for where nothing is known and no bid is named.
const FIRST_EVENTS: f64 = 100.0;

/// Rows of one fact: well under the 256 KiB that a fact may have.
const ROWS_MAX: usize = 4_096;

/// A budget that is active.
#[derive(Default)]
struct Active {
    /// The minute in which it was last served or asked for.
    seen: u32,
    /// Whether it was written since it was read.
    written: bool,
    /// `None`: to be read from the catalog.
    run: Option<Box<Run>>,
    /// The ad sets that it was read with last.
    ad_sets: Vec<u64>,
}

/// What is journaled of a step, and shown once it is.
#[derive(Default)]
pub(in crate::node) struct Stepped {
    rows: BTreeMap<usize, Vec<PaceRow>>,
    /// By ad set: the logarithm of its multiplier.
    shown: Vec<(u64, i32)>,
}

/// The controllers of all active budgets.
#[derive(Default)]
pub(in crate::node) struct Pacer {
    active: BTreeMap<u64, Active>,
    /// By ad set: what it is paced in.
    homes: Map<u64, u64>,
    plans: Plans,
    shared: Shared,
    /// The minute that is being stepped, and who still waits for it.
    minute: u32,
    waiting: Vec<u64>,
    /// By cluster: logarithms of multipliers and their count, as of the last minute and of this one.
    clusters: [Map<Cluster, (f64, f64)>; 2],
    /// By ad set with a cost cap.
    goals: Map<u64, GoalCount>,
    /// Multipliers that have outgrown the rows of their ad sets.
    outgrown: BTreeMap<u64, u32>,
}

impl Pacer {
    /// Returns the pacer that goes on where the journal ends.
    pub(in crate::node) fn resume(live: &Live, latest: Moment) -> Self {
        let mut pacer = Self { minute: latest.minute(), ..Self::default() };
        let first = latest.minute().saturating_sub(ACTIVE_MINUTES);
        let (catalog, paces) = (live.catalog(), live.paces());
        for (id, pace) in paces.lines.iter().filter(|(_, pace)| pace.minute >= first) {
            let unit = if is_campaign(*id) { Some(*id) } else { unit_of(&catalog, *id) };
            let Some(unit) = unit else { continue };
            let active = pacer.active.entry(unit).or_default();
            active.seen = active.seen.max(pace.minute);
        }
        let known = |ad_set: u64| {
            let unit = unit_of(&catalog, ad_set);
            paces.lines.contains_key(&ad_set)
                || unit.is_some_and(|unit| paces.lines.contains_key(&unit))
        };
        let ad_sets = catalog.ad_sets.ids_after(0);
        let new: Vec<u64> = ad_sets.filter(|ad_set| !known(*ad_set)).collect();
        drop(paces);
        // A crash in its first minute lost the row, and without one it would bid its whole ceiling.
        for row in new.into_iter().filter_map(|ad_set| catalog.ad_sets.get(ad_set)) {
            pacer.show_first(live, &catalog, &row, latest);
        }
        pacer
    }

    /// Notes what serving counted in a minute.
    pub(in crate::node) fn note_served(&mut self, live: &Live, fact: &ServedMinute) {
        let catalog = live.catalog();
        for row in &fact.rows {
            let Some(active) = self.touch(&catalog, row.ad_set, fact.minute) else { continue };
            if let Some(run) = &mut active.run {
                run.note_price(row.held_micros, row.served);
            }
        }
    }

    fn touch(&mut self, catalog: &Catalog, ad_set: u64, minute: u32) -> Option<&mut Active> {
        let home = match self.homes.get(&ad_set) {
            Some(home) => *home,
            None => {
                let home = unit_of(catalog, ad_set)?;
                self.homes.insert(ad_set, home);
                home
            }
        };
        let active = self.active.entry(home).or_default();
        active.seen = active.seen.max(minute);
        Some(active)
    }

    /// Notes that a campaign or ad set was written: it is read anew before its next step. Returns what is to
    /// be journaled, and shown then, so that bids are as `before`.
    pub(in crate::node) fn note_written(
        &mut self,
        live: &Live,
        written: &Resource,
        before: &Ceilings,
        now: Moment,
    ) -> Stepped {
        let stepped = ceilings::moved(live, before, written, now);
        let catalog = live.catalog();
        let (campaign, ad_sets) = match written {
            Resource::Campaign(row) => (row.id, catalog.ad_sets_of_campaign(row.id).collect()),
            Resource::AdSet(row) => (row.campaign_id, vec![row.id]),
            _ => return stepped,
        };
        self.reread(campaign);
        for ad_set in ad_sets {
            self.reread(ad_set);
            self.homes.remove(&ad_set);
            if let Resource::AdSet(row) = written {
                self.show_first(live, &catalog, row, now);
            }
        }
        stepped
    }

    /// Shows serving the multiplier of a new ad set before its first minute: that of its campaign, or what
    /// those like it have. What is not 1 is journaled with that minute, whether it is served or not.
    fn show_first(&mut self, live: &Live, catalog: &Catalog, row: &AdSet, now: Moment) {
        let Some(unit) = unit_of(catalog, row.id) else { return };
        let known = {
            let paces = live.paces();
            let own = paces.lines.contains_key(&row.id);
            if own {
                return;
            }
            paces.lines.get(&unit).map(|pace| pace.log_mu)
        };
        let first = || (self.first(&Cluster::of(row)) * LOG_ONE) as i32;
        let log_mu = known.unwrap_or_else(first);
        if log_mu != 0 {
            self.touch(catalog, row.id, now.minute());
            self.show(live, row.id, log_mu);
        }
    }

    /// Forgets a unit, and what is known of its ad sets as long as they are not paced in another one now.
    fn forget(&mut self, live: &Live, unit: u64) {
        let Some(active) = self.active.remove(&unit) else { return };
        for ad_set in &active.ad_sets {
            if self.homes.get(ad_set).is_none_or(|home| *home == unit) {
                self.homes.remove(ad_set);
                self.goals.remove(ad_set);
            }
        }
        live.landscapes.lock().forget(unit, active.ad_sets.into_iter());
    }

    /// Reads a unit anew before its next step. What was journaled of it stands.
    fn reread(&mut self, unit: u64) {
        if let Some(active) = self.active.get_mut(&unit) {
            (active.run, active.written) = (None, true);
        }
    }

    /// Returns the logarithm of a new unit's multiplier: the average of those like it. Where there is none,
    /// that of the bid; where the ceiling is a whole budget, a hundredth of it.
    fn first(&self, cluster: &Cluster) -> f64 {
        match (self.clusters[0].get(cluster), cluster.strategy) {
            (Some((sum, count)), _) if *count > 0.0 => sum / count,
            (_, BidStrategy::LowestCostWithoutCap) => -FIRST_EVENTS.ln(),
            (_, BidStrategy::CostCap) => -(COST_CAP_ROOM as f64).ln(),
            _ => 0.0,
        }
    }

    /// Notes what a fact says of the goal events of an ad set: they matter where their cost is capped. `token`
    /// is of the ad that it is about; rates that it doesn't carry are those of now.
    pub(in crate::node) fn note_goal(
        &mut self,
        live: &Live,
        fact: &Kind,
        token: Option<&ViewToken>,
    ) {
        let Some(showing) = showing_of(fact) else { return };
        let Some(goals) = self.goals.get_mut(&showing.ad_set) else { return };
        let placement = token.map_or(0, |token| token.placement);
        let placement = Placement::try_from(i32::from(placement)).unwrap_or_default();
        let now = rates_in(&live.board, showing.ad, placement);
        let of_token = |token: &ViewToken| Rates { tap: token.p_tap, chat: token.p_chat, ..now };
        goals.note(fact, token.map_or(now, of_token));
    }

    /// Tells whether a minute is not done yet.
    pub(in crate::node) fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || !self.outgrown.is_empty()
    }

    /// Steps a slice of what is active, once a minute each. Returns the facts to journal by shard.
    pub(in crate::node) fn step(&mut self, live: &Live, now: Moment) -> Stepped {
        let mut stepped = Stepped::default();
        if self.waiting.is_empty() {
            if now.minute() <= self.minute {
                return stepped;
            }
            self.begin_minute(live, now);
        }
        self.plans.renew(now);
        let mut count = 0;
        while count < UNITS_PER_STEP
            && self.plans.made() < PLANS_PER_STEP
            && let Some(id) = self.waiting.pop()
        {
            count += 1;
            self.step_one(live, id, now, &mut stepped);
        }
        stepped
    }

    fn begin_minute(&mut self, live: &Live, now: Moment) {
        self.minute = now.minute();
        self.clusters.swap(0, 1);
        self.clusters[1].clear();
        self.shared.begin_minute();
        let first = now.minute().saturating_sub(ACTIVE_MINUTES);
        let idle = self.active.iter().filter(|(_, active)| active.seen < first);
        for id in idle.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.forget(live, id);
        }
        // The last is stepped first.
        self.waiting.extend(self.active.keys().rev());
    }

    fn step_one(&mut self, live: &Live, id: u64, now: Moment, stepped: &mut Stepped) {
        let Some(active) = self.active.get_mut(&id) else { return };
        let written = std::mem::take(&mut active.written);
        let run = match active.run.take() {
            Some(run) => Some(run),
            None => self.begin(live, id, written, now).map(Box::new),
        };
        let Some(mut run) = run else { return self.forget(live, id) };
        let Self { plans, shared, goals, .. } = self;
        run.step(&mut Round { live, plans, shared, goals, now, stepped });
        let sum = self.clusters[1].entry(run.cluster().clone()).or_default();
        *sum = (sum.0 + run.log_m(), sum.1 + 1.0);
        if let Some(active) = self.active.get_mut(&id) {
            active.run = Some(run);
        }
    }

    /// Begins to pace a unit: by what was journaled of it, else as those like it are paced now.
    fn begin(&mut self, live: &Live, id: u64, written: bool, now: Moment) -> Option<Run> {
        let unit = Unit::of(&live.catalog(), id, now)?;
        let first = self.first(&unit.cluster);
        for set in &unit.sets {
            self.homes.insert(set.id, id);
        }
        if let Some(active) = self.active.get_mut(&id) {
            active.ad_sets = unit.sets.iter().map(|set| set.id).collect();
        }
        live.landscapes.lock().watch(id, unit.sets.iter().map(|set| set.id));
        let paces = live.paces();
        for set in &unit.sets {
            let Some(capped) = set.capped else { continue };
            let pace = paces.lines.get(&set.id).copied();
            let pace = pace.unwrap_or_else(|| Pace { minute: now.minute(), ..Pace::default() });
            let day = day_of(&set.times.zone, Moment(i64::from(pace.minute) * MINUTE_MS));
            let restored = || GoalCount::restore(capped.aim, pace.goals, day, pace.minute);
            self.goals.entry(set.id).or_insert_with(restored);
        }
        Some(Run::begin(unit, &paces, first, written))
    }

    /// Shows serving what was journaled.
    pub(in crate::node) fn show_all(&mut self, live: &Live, stepped: &Stepped) {
        for (ad_set, log_mu) in &stepped.shown {
            self.show(live, *ad_set, *log_mu);
        }
    }

    /// Shows serving a multiplier: not above what the ad set's rows were built for, until they are built
    /// anew.
    fn show(&mut self, live: &Live, ad_set: u64, log_mu: i32) {
        let multiplier = shown(log_mu);
        let ceiling = live.board.pace_ceiling(ad_set);
        if ceiling != 0 && multiplier > ceiling {
            live.board.set_multiplier(ad_set, ceiling);
            self.outgrown.insert(ad_set, multiplier);
        } else {
            self.outgrown.remove(&ad_set);
            live.board.set_multiplier(ad_set, multiplier);
        }
    }

    /// Takes the ads that are to be built anew now: with their rows their ad sets get the new multiplier.
    pub(in crate::node) fn take_outgrown(&mut self, live: &Live) -> Vec<u64> {
        let mut ads = Vec::new();
        while ads.len() < REBUILDS_PER_STEP
            && let Some((ad_set, multiplier)) = self.outgrown.pop_first()
        {
            live.board.want_multiplier(ad_set, multiplier);
            // All rows are new: the ceiling is that of the first that is published.
            live.board.set_pace_ceiling(ad_set, 0);
            ads.extend(live.catalog().ads_of_ad_set(ad_set));
        }
        ads
    }
}

impl Stepped {
    fn journal(&mut self, campaign: u64, row: PaceRow) {
        self.rows.entry(shard_of(campaign).index()).or_default().push(row);
    }

    /// Returns the facts of the step by shard.
    pub(in crate::node) fn facts(&mut self, minute: u32) -> Vec<(Shard, Vec<Kind>)> {
        let rows = std::mem::take(&mut self.rows).into_iter();
        let of_shard = |(shard, rows): (usize, Vec<PaceRow>)| {
            let facts = rows.chunks(ROWS_MAX).map(|paces| {
                let paces = paces.to_vec();
                Kind::ServedMinute(ServedMinute { minute, paces, ..ServedMinute::default() })
            });
            Some((Shard::new(shard as u8)?, facts.collect()))
        };
        rows.filter_map(of_shard).collect()
    }
}

/// Returns an ad's rates where it is shown, as selection values it.
fn rates_in(board: &Board, ad: u64, placement: Placement) -> Rates {
    board.ad(ad).in_placement(board.factors(placement)).rates
}

/// Returns which ad was shown to whom where a fact may be a goal event, or one that promises some.
const fn showing_of(fact: &Kind) -> Option<&Showing> {
    match fact {
        fact if is_imported(fact) => None,
        Kind::ImpressionSeen(fact) => fact.showing.as_ref(),
        Kind::Watched(fact) => fact.showing.as_ref(),
        Kind::Tapped(fact) => fact.showing.as_ref(),
        Kind::ClickMatched(fact) => fact.showing.as_ref(),
        _ => None,
    }
}

/// Returns the multiplier of a journaled logarithm.
fn shown(log_mu: i32) -> u32 {
    multiplier_of(f64::from(log_mu) / LOG_ONE)
}

impl Live {
    /// Stores on the board the multipliers that were journaled last, after recovery.
    pub(in crate::node) fn show_paces(&self) {
        let (catalog, paces) = (self.catalog(), self.paces());
        let campaigns = paces.lines.iter().filter(|(id, _)| is_campaign(**id));
        for (campaign, pace) in campaigns {
            for ad_set in catalog.ad_sets_of_campaign(*campaign) {
                self.board.set_multiplier(ad_set, shown(pace.log_mu));
            }
        }
        for (ad_set, pace) in paces.lines.iter().filter(|(id, _)| !is_campaign(**id)) {
            let campaign = catalog.parent_of(IdKind::AdSet, *ad_set);
            let shared = campaign.and_then(|campaign| paces.lines.get(&campaign));
            if counts(pace.minute, shared.map(|pace| pace.minute)) {
                self.board.set_multiplier(*ad_set, shown(pace.log_mu));
            }
        }
    }
}

/// Tells whether an ad set's own row of this minute counts beside its campaign's.
fn counts(own: u32, shared: Option<u32>) -> bool {
    shared.is_none_or(|shared| own >= shared)
}

/// Returns what was journaled of an ad set that is paced beside its campaign.
fn own_row(paces: &Paces, ad_set: u64, unit: u64) -> Option<Pace> {
    let own = paces.lines.get(&ad_set)?;
    counts(own.minute, paces.lines.get(&unit).map(|pace| pace.minute)).then_some(*own)
}
