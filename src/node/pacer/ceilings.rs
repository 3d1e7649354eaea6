//! Budgets that are the ceilings of bids: what is bid stays the same when one is written.

use std::collections::BTreeMap;

use crate::decide::index::ceiling;
use crate::decide::pacing::{LOG_M_MIN, LOG_ONE};
use crate::node::live::Live;
use crate::node::pacer::unit::{is_campaign, unit_of};
use crate::node::pacer::{Stepped, own_row};
use crate::state::catalog::Catalog;
use crate::state::paces::Pace;
use crate::types::proto::v1::BidStrategy;
use crate::types::request::Resource;
use crate::types::time::Moment;

/// The ceilings of the ad sets that a write may change, by ad set; whether the engine makes the bid.
pub(in crate::node) struct Ceilings(BTreeMap<u64, (i64, bool)>);

impl Ceilings {
    /// Returns those of the catalog as it is.
    pub(in crate::node) fn of(catalog: &Catalog, written: &Resource) -> Self {
        let ad_sets = match written {
            Resource::Campaign(row) => catalog.ad_sets_of_campaign(row.id).collect(),
            Resource::AdSet(row) => vec![row.id],
            _ => Vec::new(),
        };
        let of = |ad_set: u64| {
            let row = catalog.ad_sets.get(ad_set)?;
            let campaign = catalog.campaigns.get(row.campaign_id)?;
            let made = row.bid_strategy() == BidStrategy::LowestCostWithoutCap;
            Some((ad_set, (ceiling(&row, &campaign), made)))
        };
        Self(ad_sets.into_iter().filter_map(of).collect())
    }

    /// Returns the logarithm of how much less an ad set's ceiling is now; 0: it bids what it is told.
    fn shift(&self, now: &Self, ad_set: u64) -> f64 {
        match self.0.get(&ad_set).zip(now.0.get(&ad_set)) {
            Some(((old, before), (new, after))) if *before || *after => {
                (*old.max(&1) as f64 / *new.max(&1) as f64).ln()
            }
            _ => 0.0,
        }
    }
}

/// Moves the multipliers of what was written to where its bids are as before. Ad sets that share one have
/// the least of theirs: no bid rises.
pub(super) fn moved(live: &Live, before: &Ceilings, written: &Resource, now: Moment) -> Stepped {
    let mut stepped = Stepped::default();
    let catalog = live.catalog();
    let after = Ceilings::of(&catalog, written);
    if after.0.keys().all(|ad_set| before.shift(&after, *ad_set) == 0.0) {
        return stepped;
    }
    let mut units = BTreeMap::<u64, u64>::new();
    for ad_set in after.0.keys() {
        let campaign = catalog.ad_sets.get(*ad_set).map(|row| row.campaign_id);
        if let Some((unit, campaign)) = unit_of(&catalog, *ad_set).zip(campaign) {
            units.insert(unit, campaign);
        }
    }
    for (unit, campaign) in units {
        let ad_sets: Vec<u64> = match is_campaign(unit) {
            true => catalog.ad_sets_of_campaign(unit).collect(),
            false => vec![unit],
        };
        let shifts = || ad_sets.iter().map(|ad_set| before.shift(&after, *ad_set));
        let least = shifts().fold(f64::INFINITY, f64::min);
        let same = shifts().all(|shift| (shift - least).abs() < 1.0 / LOG_ONE);
        live.landscapes.lock().rescale(unit, same.then_some(-least));
        let paces = live.paces();
        let Some(shared) = paces.lines.get(&unit) else { continue };
        let shared = shifted(*shared, least, now);
        stepped.journal(campaign, shared.row(unit));
        for ad_set in ad_sets {
            // A row of its own must not be older than the unit's.
            let own = own_row(&paces, ad_set, unit).filter(|_| ad_set != unit);
            let own = own.map(|own| shifted(own, before.shift(&after, ad_set), now));
            if let Some(own) = own {
                stepped.journal(campaign, own.row(ad_set));
            }
            stepped.shown.push((ad_set, own.unwrap_or(shared).log_mu));
        }
    }
    stepped
}

fn shifted(pace: Pace, shift: f64, now: Moment) -> Pace {
    let log = f64::from(pace.log_mu) / LOG_ONE + shift;
    let log_mu = (log.clamp(LOG_M_MIN, 0.0) * LOG_ONE) as i32;
    Pace { minute: now.minute(), log_mu, ..pace }
}
