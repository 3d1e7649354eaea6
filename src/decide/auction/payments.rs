//! What winners pay: `weight x value` less what their bid above the bar adds to the tray's welfare.

use crate::decide::auction::placement::{Leader, Slot};
use crate::types::request::ATTENTION_ONE;

/// A tray whose ads are in order. Welfare is in micros for 1,000 impressions x `ATTENTION_ONE`, and 128
/// bits wide: a weight times an amount never overflows.
pub(super) struct Tray<'a> {
    pub(super) slots: &'a [Slot],
    /// Best first: as many as slots, and one more where there is one.
    pub(super) leaders: &'a [Leader],
    pub(super) interruption: i64,
}

impl Tray<'_> {
    /// Returns what an ad of this total adds to the tray at this slot; 0 if it isn't worth showing.
    fn gain(&self, slot: &Slot, total: i64) -> i128 {
        let cost = i128::from(self.interruption.max(0)) * i128::from(ATTENTION_ONE);
        (i128::from(slot.weight) * i128::from(total) - cost).max(0)
    }

    /// Returns how many ads are shown. Gains never rise, so the first without one ends the tray.
    pub(super) fn winners(&self) -> usize {
        let both = self.slots.iter().zip(self.leaders);
        both.take_while(|(slot, leader)| self.gain(slot, leader.total) > 0).count()
    }

    /// Returns what the winner of this rank pays for 1,000 seen impressions, micros, rounded down.
    /// `fallback` is its group's total when its business bids no more than its bar.
    pub(super) fn pay_cpm(&self, rank: usize, value: i64, fallback: i64) -> i64 {
        let weight = i128::from(self.slots[rank].weight);
        let pay = (weight * i128::from(value) - self.loss(rank, fallback)) / weight;
        debug_assert!((0..=i128::from(value)).contains(&pay), "{pay} for a value of {value}");
        // It can't be outside (the module's text); a price is money, so it is also cut.
        i64::try_from(pay.max(0)).map_or(value, |pay| pay.min(value))
    }

    /// Returns the welfare that is lost when the total at `rank` falls to `fallback`: those behind move up
    /// until it finds its place among them.
    fn loss(&self, rank: usize, fallback: i64) -> i128 {
        let mut loss = 0;
        for (at, slot) in self.slots.iter().enumerate().skip(rank) {
            let Some(leader) = self.leaders.get(at) else { break };
            let next = self.leaders.get(at + 1).map_or(0, |next| next.total);
            loss += self.gain(slot, leader.total) - self.gain(slot, next.max(fallback));
            if next <= fallback {
                break;
            }
        }
        loss
    }
}
