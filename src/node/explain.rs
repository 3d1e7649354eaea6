//! One request on its way through the whole funnel: `ExplainRequest`. Promises nothing, charges nothing.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::decide::explain::{Bars, Full, NO_SLOT, Named, name_of};
use crate::decide::index::{Entry, Index, Segment, Walker, Worth};
use crate::decide::onlooker::Onlooker;
use crate::decide::promise::Promises;
use crate::decide::select::{Asked, Passes, Selector, Tray};
use crate::decide::skip::Skip;
use crate::decide::target::{Target, Told};
use crate::node::ads::Ads;
use crate::node::clock::Clock;
use crate::node::front::{Front, sees};
use crate::node::live::Live;
use crate::node::walker::{walk_behind, walk_here};
use crate::types::ids::IdKind;
use crate::types::proto::v1::{ExplainRequestResponse, ExplainedAd, ExplainedSlot, ReasonCount};
use crate::types::request::{AdRequest, Policy, Scope};
use crate::types::time::Moment;

/// Serving counts; a question doesn't.
struct Uncounted;

impl Passes for Uncounted {
    fn pass(&mut self, _entry: &Entry, _skip: Skip) {}
}

/// One ad of the market. Ordered by how far it came and what it was worth.
#[derive(Clone, Copy)]
struct Row {
    entry: Entry,
    worth: Worth,
    /// `None`: it was placed.
    why: Option<Skip>,
}

impl Row {
    fn order(&self) -> (Reverse<usize>, Reverse<i64>, u32) {
        let stage = self.why.map_or(Skip::ALL.len(), Skip::stage);
        (Reverse(stage), Reverse(self.worth.total()), self.entry.ad)
    }
}

impl Front {
    /// Takes notes of serving on a thread of its own from now on; see [`Front::explain_delivery`].
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn watch_behind(&self, clock: Arc<dyn Clock>) -> std::io::Result<()> {
        walk_behind(&self.0, clock)
    }

    /// Takes notes of serving within each call from now on: for seeded runs and tests, which want no thread.
    pub fn watch_here(&self) {
        walk_here(&self.0);
    }

    /// Runs a request and shows what became of every ad of its market. Walks all of it: up to some hundred
    /// milliseconds, so not for a thread that serves.
    pub fn explain_request(
        &self,
        scope: Scope,
        policy: &Policy,
        request: &AdRequest,
        page_size: usize,
        now: Moment,
    ) -> ExplainRequestResponse {
        let live = &self.0;
        let (index, blocks) = (live.index.load_full(), live.blocks.load_full());
        let onlooker = live.onlooker(request, policy, now);
        let asked = Asked {
            index: &index,
            board: &live.board,
            blocks: &blocks,
            onlooker: &onlooker,
            policy,
            request,
            now,
            roll: 0,
            live_ads: live.live_ads(),
        };
        let mut tray = Tray::default();
        Selector::default().select(&asked, &mut tray, &mut Uncounted);
        let bars = Bars::of(&tray, &asked);
        let mut told = Told::default();
        told.take(&request.profile, request.placement, now);
        let (mut rows, mut met) = (Vec::new(), Ads::default());
        let take = |entry: &Entry, worth: Worth, why: Option<Skip>| {
            if met.put(entry.ad) {
                rows.push(Row { entry: *entry, worth, why });
            }
        };
        Walker::default().walk(&index, &told, &mut Full { asked: &asked, bars: &bars, take });
        let (market, others) = live.others(&asked, met, |ad| self.is_theirs(scope, ad), page_size);
        let reasons = reasons(&rows, market, bars.enter.is_none());
        rows.retain(|row| self.is_theirs(scope, row.entry.ad_id()));
        rows.sort_unstable_by_key(Row::order);
        rows.extend(others);
        rows.truncate(page_size);
        let no_room = bars.enter.is_none();
        let slots = tray.slots.iter().map(|(position, slot)| {
            let ours = slot.as_ref().map_or(0, |placed| placed.entry.ad_id());
            ExplainedSlot {
                position: (*position).into(),
                ad_id: if ours != 0 && self.is_theirs(scope, ours) { ours } else { 0 },
                no_ad_reason: slot.as_ref().map_or_else(|reason| (*reason).into(), |_| 0),
            }
        });
        ExplainRequestResponse {
            live_ads: market,
            reasons,
            ads: rows.iter().map(|row| explained(row, &tray, no_room)).collect(),
            slots: slots.collect(),
        }
    }

    fn is_theirs(&self, scope: Scope, ad: u64) -> bool {
        let catalog = self.0.catalog();
        scope.any || sees(&catalog, scope, catalog.account_of(IdKind::Ad, ad))
    }
}

impl Live {
    /// Returns how many ads the market has, and some of those that are not meant for the viewer.
    fn others(
        &self,
        asked: &Asked<'_>,
        mut met: Ads,
        theirs: impl Fn(u64) -> bool,
        most: usize,
    ) -> (u64, Vec<Row>) {
        let (country, mut rows) = (asked.request.profile.country, Vec::new());
        for segment in asked.index.market(country) {
            for (at, entry) in (0..).zip(segment.entries()) {
                let now = self.board.ad(entry.ad.into());
                if now.epoch != entry.epoch
                    || !is_here(asked.index, segment, at, country)
                    || !met.put(entry.ad)
                    || rows.len() >= most
                    || !theirs(entry.ad_id())
                {
                    continue;
                }
                let multiplier = self.board.multiplier(entry.ad_set.into());
                let value = entry.value(now.rates, multiplier);
                let worth = entry.worth(value, &now, asked.index.exchange(), asked.policy);
                rows.push(Row { entry: *entry, worth, why: Some(Skip::NotTargeted) });
            }
        }
        rows.sort_unstable_by_key(Row::order);
        (met.count() as u64, rows)
    }

    fn onlooker(&self, request: &AdRequest, policy: &Policy, now: Moment) -> Onlooker {
        let mut onlooker = Onlooker::default();
        if let Some(viewer) = request.viewer {
            let cell = self.cell(viewer);
            let promised = cell.promised.get(&viewer).map_or(&[][..], Promises::list);
            onlooker.look(cell.facts.viewers.get(&viewer), promised, policy, now);
        }
        onlooker
    }
}

/// Tells whether an ad is meant for a country or any. Fresh ones of all countries stand together.
fn is_here(index: &Index, segment: &Segment, at: u32, country: u16) -> bool {
    if !index.is_fresh(segment) {
        return true;
    }
    let targets = Target::of(&segment.source(at).ad_set.decode());
    targets.iter().any(|one| one.countries.is_empty() || one.countries.contains(&country))
}

/// Counts what became of the market, in the order of the path.
fn reasons(rows: &[Row], market: u64, no_room: bool) -> Vec<ReasonCount> {
    let mut counts = [0_u64; Skip::ALL.len()];
    counts[Skip::NotTargeted.stage()] = market - rows.len() as u64;
    let lost = rows.iter().filter_map(|row| row.why);
    lost.for_each(|skip| counts[skip.stage()] += 1);
    let counted = Skip::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0);
    counted.map(|(skip, count)| shown(skip, no_room).count(count, false)).collect()
}

/// Nothing outbids anybody where there is no place.
fn shown(skip: Skip, no_room: bool) -> Named {
    if skip == Skip::Outbid && no_room { NO_SLOT } else { name_of(skip) }
}

fn explained(row: &Row, tray: &Tray, no_room: bool) -> ExplainedAd {
    let slot = tray.slots.iter().find_map(|(position, slot)| {
        let placed = slot.as_ref().ok().filter(|placed| placed.entry.ad == row.entry.ad)?;
        Some((u32::from(*position), placed.price))
    });
    let (position, price_micros) = slot.unwrap_or_default();
    let why = row.why.map(|skip| shown(skip, no_room));
    ExplainedAd {
        ad_id: row.entry.ad_id(),
        reason: why.map_or(0, |named| named.number),
        reason_name: why.map_or(String::new(), |named| named.name.to_owned()),
        value_micros: row.worth.value,
        total_micros: row.worth.total(),
        position,
        price_micros,
    }
}
