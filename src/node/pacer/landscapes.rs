//! Bid landscapes of what is paced: fed by the sampled walks, read by the pacer once a minute.

use std::sync::{Mutex, MutexGuard};

use crate::decide::board::MULTIPLIER_ONE;
use crate::decide::explain::Bars;
use crate::decide::groups::Member;
use crate::decide::index::{Entry, Worth};
use crate::decide::pacing::landscape::Landscape;
use crate::decide::select::Asked;
use crate::decide::skip::Skip;
use crate::node::live::locked;
use crate::node::pacer::rates_in;
use crate::state::Map;
use crate::types::ids::number_of;

/// Impressions that values are told for.
const PER_THOUSAND: f64 = 1_000.0;

/// One ad in one auction: micros of its account's currency for 1,000 impressions.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Bid {
    /// The ad set's number.
    ad_set: u32,
    /// What it is worth at multiplier 1.
    value: f64,
    /// What it has to be worth to win.
    price: f64,
}

impl Bid {
    /// Returns an ad's bid; `None`: something other than its price kept it out, so no multiplier helps.
    pub(in crate::node) fn of(
        asked: &Asked<'_>,
        bars: &Bars,
        entry: &Entry,
        worth: Worth,
        why: Option<Skip>,
    ) -> Option<Self> {
        match why {
            None
            | Some(
                Skip::Outbid
                | Skip::BelowFloor
                | Skip::InterruptionCost
                | Skip::Separation
                | Skip::BudgetSpent,
            ) => {}
            Some(_) => return None,
        }
        let exchange = asked.index.exchange();
        let rates = rates_in(asked.board, entry.ad.into(), asked.request.placement);
        let won = bars.won.iter().find(|won| won.ad == entry.ad);
        let price = match won {
            Some(won) => won.hold as f64 * PER_THOUSAND,
            None => {
                let group = Member::of(entry, worth, rates, 0).group;
                let needed = bars.needed(entry.ad, group)?;
                let needed = needed.max(bars.floor()).saturating_sub(worth.quality);
                exchange.back_up(entry.currency, needed)? as f64
            }
        };
        let multiplier = asked.board.multiplier(entry.ad_set.into());
        let value = if entry.is_for_reach() {
            // What it is worth to this viewer, who may have been shown it before.
            let paced = exchange.back(entry.currency, worth.value) as f64;
            paced * f64::from(MULTIPLIER_ONE) / f64::from(multiplier.max(1))
        } else {
            entry.value(rates, MULTIPLIER_ONE) as f64
        };
        Some(Self { ad_set: entry.ad_set, value, price })
    }

    fn cheapness(&self) -> f64 {
        self.value / self.price.max(1.0)
    }
}

/// The landscapes of what was active in the last day.
#[derive(Default)]
pub(in crate::node) struct Landscapes(Mutex<Inside>);

#[derive(Default)]
pub(super) struct Inside {
    /// By an ad set's number: what it is paced in.
    homes: Map<u32, u64>,
    units: Map<u64, Landscape>,
}

impl Landscapes {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inside> {
        locked(&self.0)
    }

    /// Adds the bids of one auction that stands for `weight`: of each unit the one that needs the least of
    /// its value, since a tray takes one ad of an advertiser.
    pub(in crate::node) fn add(&self, bids: &mut Vec<Bid>, weight: u64) {
        if bids.is_empty() {
            return;
        }
        let mut inside = self.lock();
        let Inside { homes, units } = &mut *inside;
        bids.retain(|bid| homes.contains_key(&bid.ad_set));
        bids.sort_unstable_by(|one, other| {
            let home = |bid: &Bid| homes[&bid.ad_set];
            home(one).cmp(&home(other)).then_with(|| other.cheapness().total_cmp(&one.cheapness()))
        });
        bids.dedup_by_key(|bid| homes[&bid.ad_set]);
        for bid in bids.iter() {
            let landscape = units.entry(homes[&bid.ad_set]).or_default();
            landscape.add(bid.value, bid.price, bid.price / PER_THOUSAND, weight as f64);
        }
    }
}

impl Inside {
    /// Begins to learn the landscape of a unit of these ad sets.
    pub(super) fn watch(&mut self, unit: u64, ad_sets: impl Iterator<Item = u64>) {
        self.homes.extend(ad_sets.map(|ad_set| (number_of(ad_set) as u32, unit)));
        self.units.entry(unit).or_default();
    }

    /// Forgets a unit, and these ad sets of it unless another one has them now.
    pub(super) fn forget(&mut self, unit: u64, ad_sets: impl Iterator<Item = u64>) {
        for number in ad_sets.map(|ad_set| number_of(ad_set) as u32) {
            if self.homes.get(&number) == Some(&unit) {
                self.homes.remove(&number);
            }
        }
        self.units.remove(&unit);
    }

    /// Lets what was learned of a unit count for bids of another scale: `log` is the logarithm of how much
    /// more its ads are worth at multiplier 1 now. `None`: they are not all worth as much more.
    pub(super) fn rescale(&mut self, unit: u64, log: Option<f64>) {
        if let Some(landscape) = self.units.get_mut(&unit) {
            match log {
                Some(log) => landscape.rescale(log),
                None => *landscape = Landscape::default(),
            }
        }
    }

    /// Returns a unit's landscape.
    pub(super) fn of(&self, unit: u64) -> Option<&Landscape> {
        self.units.get(&unit)
    }

    /// Returns a unit's landscape after so much traffic, average days, in which it bid at `log_m`.
    pub(super) fn after(&mut self, unit: u64, days: f64, log_m: f64) -> Option<&Landscape> {
        let landscape = self.units.get_mut(&unit)?;
        landscape.pass(days, log_m);
        Some(landscape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::{IdKind, mint};

    #[test]
    fn of_a_units_ads_the_one_that_wins_cheapest_counts_once() {
        let (landscapes, unit) = (Landscapes::default(), 7);
        landscapes.lock().watch(unit, [1, 2].into_iter().map(|set| mint(IdKind::AdSet, set)));
        let bid = |ad_set, price| Bid { ad_set, value: 8_000_000.0, price };
        let mut bids = vec![bid(1, 4_000_000.0), bid(2, 1_000_000.0), bid(3, 1_000.0)];
        landscapes.add(&mut bids, 10);
        let mut inside = landscapes.lock();
        let landscape = inside.after(unit, 1.0, 0.0).expect("watched");
        // Ten impressions a day cost 10,000 micros; the value is eight times the price.
        assert_eq!(landscape.threshold(20_000.0), Some(0.0));
        let half = landscape.threshold(5_000.0).expect("known");
        assert!((half + 8.0_f64.ln()).abs() < 0.2, "{half}");
        assert!(inside.after(mint(IdKind::AdSet, 3), 1.0, 0.0).is_none(), "not paced");
        inside.forget(unit, [1, 2].into_iter().map(|set| mint(IdKind::AdSet, set)));
        assert!(inside.of(unit).is_none());
    }
}
