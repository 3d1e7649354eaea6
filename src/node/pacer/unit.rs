//! What is paced as one: a campaign whose ad sets share its budget, or an ad set with one of its own.

use std::sync::Arc;

use crate::decide::auction::Aim;
use crate::decide::index::COST_CAP_ROOM;
use crate::decide::purse::{LineId, Terms};
use crate::node::pacer::plans::{PLANNED_DAYS, Span};
use crate::state::catalog::{Catalog, has_budget};
use crate::types::day::Day;
use crate::types::ids::{IdKind, mint, number_of};
use crate::types::iso::country_code;
use crate::types::proto::journal::v1::LineKind;
use crate::types::proto::v1::{AdSet, BidStrategy, Campaign, ConfiguredStatus};
use crate::types::time::{DAY_MS, Moment};
use crate::types::week::Week;

/// A market of more countries than this is planned as all of them.
const COUNTRIES_MAX: usize = 16;

/// When something runs, in its account's zone.
#[derive(Clone, Debug)]
pub(super) struct Times {
    pub(super) zone: Arc<str>,
    pub(super) market: Arc<[u16]>,
    pub(super) hours: Week,
    pub(super) start_ms: i64,
    /// `None`: it has no end.
    pub(super) end_ms: Option<i64>,
    /// Whether a life without an end is spread all the same: where the engine makes the bid, nothing else
    /// would keep it from being spent at any price.
    spreads: bool,
}

impl Times {
    fn of(row: &AdSet, zone: &Arc<str>) -> Self {
        let ms = |time| Moment::from(time).0;
        Self {
            zone: Arc::clone(zone),
            market: market_of(row),
            hours: Week::of(&row.schedule_hours).unwrap_or(Week::ALL),
            start_ms: row.start_time.as_ref().map_or(i64::MIN, ms),
            end_ms: row.end_time.as_ref().map(ms),
            spreads: row.bid_strategy() == BidStrategy::LowestCostWithoutCap,
        }
    }

    /// Returns when either runs.
    fn or(self, other: &Self) -> Self {
        let market = if self.market.is_empty() || other.market.is_empty() {
            [].into()
        } else {
            joined(self.market.iter().chain(other.market.iter()).copied().collect())
        };
        Self {
            market,
            hours: self.hours.or(other.hours),
            start_ms: self.start_ms.min(other.start_ms),
            end_ms: self.end_ms.zip(other.end_ms).map(|(one, other)| one.max(other)),
            spreads: self.spreads || other.spreads,
            ..self
        }
    }

    /// Returns the span of a day's budget.
    pub(super) fn day(&self, day: Day) -> Span {
        let end_ms = self.end_ms.map_or(day.until.0, |end| end.min(day.until.0));
        self.span(day, end_ms)
    }

    /// Returns the span of a lifetime budget from a day on; `None`: it has no end, and nothing to be spread
    /// over.
    pub(super) fn life(&self, day: Day) -> Option<Span> {
        let endless = || self.spreads.then_some(day.start.0 + PLANNED_DAYS * DAY_MS);
        self.end_ms.or_else(endless).map(|end_ms| self.span(day, end_ms))
    }

    fn span(&self, day: Day, end_ms: i64) -> Span {
        Span {
            zone: Arc::clone(&self.zone),
            market: Arc::clone(&self.market),
            hours: self.hours,
            begin_ms: day.start.0,
            start_ms: self.start_ms.max(day.start.0),
            end_ms,
        }
    }
}

/// A cap on the average cost of a goal event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capped {
    /// For one event, micros.
    pub(super) cap: f64,
    /// What one may cost at multiplier 1, micros.
    pub(super) ceiling: f64,
    pub(super) aim: Aim,
}

/// One ad set of a unit.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) id: u64,
    pub(super) line: LineId,
    /// Its own budget and cap inside the campaign's; none in a unit of itself.
    pub(super) own: Terms,
    /// The least that it should have of the campaign's budget each day, micros.
    pub(super) minimum: Option<i64>,
    pub(super) capped: Option<Capped>,
    /// Whose landscape is of this ad set alone: the unit's where there is no other, else there is none.
    pub(super) landscape: u64,
    pub(super) times: Times,
}

impl Set {
    /// Tells whether it has numbers of its own beside the shared multiplier.
    pub(super) const fn is_apart(&self) -> bool {
        self.own.limited() || self.minimum.is_some() || self.capped.is_some()
    }
}

/// What is paced as one.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// Of the campaign or ad set.
    pub(super) id: u64,
    /// Of the campaign: its home shard is where rows are journaled.
    pub(super) campaign: u64,
    pub(super) line: LineId,
    pub(super) terms: Terms,
    /// Lines that others spend, too.
    pub(super) above: Vec<LineId>,
    /// Whether it is configured to run.
    pub(super) runs: bool,
    pub(super) times: Times,
    pub(super) sets: Vec<Set>,
    /// What new ad sets like these are compared with.
    pub(super) cluster: Cluster,
}

/// Ad sets that meet the same market with the same aim.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Cluster {
    market: Arc<[u16]>,
    goal: i32,
    pub(super) strategy: BidStrategy,
}

impl Cluster {
    /// Returns an ad set's.
    pub(super) fn of(row: &AdSet) -> Self {
        let goal = Aim::of(row).goal.into();
        Self { market: market_of(row), goal, strategy: row.bid_strategy() }
    }
}

/// Returns the unit that an ad set is paced in: its campaign's, if that has a budget.
pub(super) fn unit_of(catalog: &Catalog, ad_set: u64) -> Option<u64> {
    let campaign = catalog.parent_of(IdKind::AdSet, ad_set)?;
    let row = catalog.campaigns.get(campaign)?;
    Some(if has_budget(row.budget.as_ref()) { campaign } else { ad_set })
}

/// Tells whether an id is a campaign's.
pub(super) fn is_campaign(id: u64) -> bool {
    mint(IdKind::Campaign, number_of(id)) == id
}

impl Unit {
    /// Returns the unit of this campaign or ad set as the catalog has it now; `None`: it is none.
    pub(super) fn of(catalog: &Catalog, id: u64, now: Moment) -> Option<Self> {
        let shared = is_campaign(id);
        let campaign = if shared { id } else { catalog.parent_of(IdKind::AdSet, id)? };
        let row = catalog.campaigns.get(campaign)?;
        if has_budget(row.budget.as_ref()) != shared {
            return None;
        }
        let account = row.account_id;
        let zone: Arc<str> = catalog.zone_of(account)?.into();
        let rows: Vec<AdSet> = if shared {
            catalog.ad_sets_of_campaign(id).filter_map(|it| catalog.ad_sets.get(it)).collect()
        } else {
            catalog.ad_sets.get(id).into_iter().collect()
        };
        let ended = |set: &Set| set.times.end_ms.is_some_and(|end| end <= now.0);
        let mut sets: Vec<_> = rows.iter().map(|it| set(it, &row, shared, &zone)).collect();
        if let [only] = &mut sets[..] {
            only.landscape = id;
        }
        // What has ended is of no weight in when the others run.
        let mut running = sets.iter().filter(|set| !ended(set)).map(|set| &set.times);
        let first = running.next().or(sets.first().map(|set| &set.times))?.clone();
        let times = running.fold(first, Times::or);
        let first = rows.first()?;
        let cluster = Cluster { market: Arc::clone(&times.market), ..Cluster::of(first) };
        let (kind, terms) = if shared {
            (LineKind::Campaign, Terms::of_campaign(&row))
        } else {
            (LineKind::AdSet, Terms::of_ad_set(first))
        };
        let line = LineId { kind, id, account };
        let above = [(LineKind::Campaign, campaign), (LineKind::Account, account)];
        let above = above.map(|(kind, id)| LineId { kind, id, account });
        let above = above.into_iter().filter(|other| *other != line).collect();
        let runs =
            runs(row.configured_status()) && rows.iter().any(|row| runs(row.configured_status()));
        Some(Self { id, campaign, line, terms, above, runs, times, sets, cluster })
    }
}

const fn runs(status: ConfiguredStatus) -> bool {
    !matches!(status, ConfiguredStatus::Paused | ConfiguredStatus::Archived)
}

fn set(row: &AdSet, campaign: &Campaign, shared: bool, zone: &Arc<str>) -> Set {
    let bid = row.bid.as_ref().map_or(0, |bid| bid.micros);
    let per = if Aim::of(row).is_per_thousand() { 1_000.0 } else { 1.0 };
    let cap = bid as f64 / per;
    let capped = (row.bid_strategy() == BidStrategy::CostCap && bid > 0).then_some(Capped {
        cap,
        ceiling: cap * COST_CAP_ROOM as f64,
        aim: Aim::of(row),
    });
    let minimum = row.daily_min_spend.as_ref().filter(|_| shared);
    Set {
        id: row.id,
        line: LineId { kind: LineKind::AdSet, id: row.id, account: campaign.account_id },
        own: if shared { Terms::of_ad_set(row) } else { Terms::default() },
        minimum: minimum.map(|money| money.micros),
        capped,
        landscape: row.id,
        times: Times::of(row, zone),
    }
}

/// Returns the countries that an ad set is shown in, ascending; none: all, or too many to tell apart.
fn market_of(row: &AdSet) -> Arc<[u16]> {
    let targetings: Vec<_> = row.targeting.iter().chain(&row.or_targeting).collect();
    if targetings.is_empty() || targetings.iter().any(|it| it.countries.is_empty()) {
        return [].into();
    }
    let codes = targetings.iter().flat_map(|it| &it.countries);
    joined(codes.filter_map(|code| country_code(code)).collect())
}

fn joined(mut countries: Vec<u16>) -> Arc<[u16]> {
    countries.sort_unstable();
    countries.dedup();
    if countries.len() > COUNTRIES_MAX { [].into() } else { countries.into() }
}
