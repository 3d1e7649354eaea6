//! What ad sets of a run aim at, pay for and bid by, and what they may take of their campaign's budget.

use munadi::types::proto::v1::{AdSet, BidStrategy, Budget};

use crate::shop::{DEAREST, Shop, money};
use crate::world::World;

/// An ad set with its aims, and what one goal event costs it.
pub(crate) struct Aims {
    pub(crate) row: AdSet,
    pub(crate) one: i64,
}

impl World {
    /// Returns random aims. `most`: what the campaign's budget has for one event; `None`: it has no budget.
    pub(crate) fn random_aims(&mut self, shop: &Shop, most: Option<i64>) -> Aims {
        let billing = 1 + self.luck.below(3) as i32;
        // The billed event itself, or one that comes after it.
        let goals: &[i32] = match billing {
            1 => &[1, 1, 1, 2, 3, 4, 5, 6],
            2 => &[4, 4, 5, 6],
            _ => &[5, 5, 6],
        };
        let goal = *self.luck.pick(goals);
        let one = match goal {
            1..=3 => self.luck.between(300, 9_000),
            4 => self.luck.between(50_000, 900_000),
            _ => self.luck.between(100_000, DEAREST),
        };
        let one = most.map_or(one, |most| one.min(most));
        let bid = if goal <= 3 { one * 1_000 } else { one };
        let strategies = [
            BidStrategy::LowestCostWithBidCap,
            BidStrategy::LowestCostWithBidCap,
            BidStrategy::LowestCostWithoutCap,
            BidStrategy::CostCap,
        ];
        let strategy = *self.luck.pick(&strategies);
        let bids = strategy != BidStrategy::LowestCostWithoutCap;
        let (mut spend_cap, mut minimum) = (None, None);
        if let Some(most) = most {
            if self.luck.chance(300) {
                let cap = self.luck.between(one, most + 1);
                let (daily, lifetime) =
                    *self.luck.pick(&[(true, false), (true, true), (false, true)]);
                spend_cap = Some(Budget {
                    daily: money(cap, shop.currency).filter(|_| daily),
                    lifetime: money(cap, shop.currency).filter(|_| lifetime),
                });
            }
            // Below every cap and budget of one event.
            minimum = money(self.luck.between(1, one + 1), shop.currency);
        }
        let hours = (0..168).filter(|_| self.luck.chance(850)).collect();
        let row = AdSet {
            billing_event: billing,
            optimization_goal: goal,
            bid_strategy: strategy.into(),
            bid: money(bid, shop.currency).filter(|_| bids),
            spend_cap,
            daily_min_spend: minimum.filter(|_| self.luck.chance(300)),
            schedule_hours: if self.luck.chance(250) { hours } else { Vec::new() },
            ..AdSet::default()
        };
        Aims { row, one }
    }
}
