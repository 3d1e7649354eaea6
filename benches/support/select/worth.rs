//! What ads are worth at the moment of asking, and the best few of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::support::select::engine;
use crate::support::select::spec::Spec;

/// What each ad is worth for 1,000 impressions, as the baselines read it: two columns.
pub(crate) struct Worth {
    /// Bid x predicted rates, micros.
    unpaced: Vec<i64>,
    /// The live multiplier, in 1/65,536.
    multipliers: Vec<u32>,
}

impl Worth {
    /// Returns the columns of these ads.
    pub(crate) fn of(specs: &[Spec]) -> Self {
        Self {
            unpaced: specs.iter().map(engine::unpaced).collect(),
            multipliers: specs.iter().map(|spec| spec.multiplier).collect(),
        }
    }

    /// Returns the total value of an ad, micros for 1,000 impressions.
    pub(crate) fn total(&self, index: u32) -> i64 {
        engine::paced(self.unpaced[index as usize], self.multipliers[index as usize])
    }
}

/// The best few ads of those that are offered.
pub(crate) struct Best {
    most: usize,
    /// The least of them first. Of equal ads the older one is the better.
    heap: BinaryHeap<Reverse<(i64, Reverse<u32>)>>,
}

impl Best {
    /// Keeps so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, heap: BinaryHeap::with_capacity(most + 1) }
    }

    /// Offers an ad. One that is worth nothing is never shown.
    pub(crate) fn offer(&mut self, index: u32, total: i64) {
        if total < 1 {
            return;
        }
        let offered = Reverse((total, Reverse(index)));
        if self.heap.len() < self.most {
            self.heap.push(offered);
        } else if let Some(mut least) = self.heap.peek_mut()
            && offered < *least
        {
            *least = offered;
        }
    }

    /// Forgets all ads and returns the sum of their totals.
    pub(crate) fn drain_sum(&mut self) -> i64 {
        self.heap.drain().map(|Reverse((total, _))| total).sum()
    }

    /// Forgets all ads and returns them, the best first, with their totals.
    pub(crate) fn drain_sorted(&mut self) -> Vec<(u32, i64)> {
        let mut all: Vec<_> = self.heap.drain().collect();
        all.sort_unstable();
        all.into_iter().map(|Reverse((total, Reverse(index)))| (index, total)).collect()
    }
}
