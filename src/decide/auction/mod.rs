//! The tray's auction: which ads stand where, and what each pays. Truthful: no lie about a bid pays.
//!
//! **Outcome.** The affine maximiser: the sum over the ads shown of `weight x total - interruption` is the
//! greatest possible, `total = value + quality`. Weights never rise down a tray, so a place is never better
//! than an earlier one, and the earliest places that keep the gap are at once the best: by induction the
//! j-th of any other set lies no earlier and weighs no more. The dynamic programme of the general case
//! (an interruption by place) thus always ends in this one chain of slots; the simulation runs it beside.
//!
//! **Prices.** With the welfare `W(t)` of the tray when the winner's total is `t`, Vickrey, Clarke and
//! Groves ask `W(none) - (W(t) - weight x value)`, "none" without any ad of the winner's *business*: the
//! best other business of its category then steps in. A floor adds `W(floor) - W(none)`, what the winner
//! would gain at just the floor (Myerson: the price stays an integral over the bid). Together
//! `weight x value - (W(t) - W(floor))`. `max(price, floor)` instead would reward lies.
//!
//! **The floor is on the total**, and one bar for all ads of a business: `total >= floor + best`, `best`
//! the highest quality among its ads, if above 0. With qualities of 0 it is a floor on the value, else a
//! stricter one, and no price is ever below it. A bar on each ad's value alone can't be made truthful by
//! any price: of two ads of a business the one with the better total stands, but the one with the worse
//! quality has the lower bar, and so hiding the other ad would pay.

mod payments;
mod placement;
mod price;

pub use price::{Aim, hold_of, strategy_of};

use placement::{Bars, Leader, Slot};

/// One ad that may stand in the tray. Quality and the ads of a business are facts; the value is a claim.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// The ad.
    pub ad: u64,
    /// The advertiser: a business has one ad in a tray.
    pub business: u64,
    /// The category if there is one, else the business: a group has one ad in a tray. Invariant: all ads
    /// of one business have one group.
    pub group: u64,
    /// Bid x multiplier x predicted action rate, micros for 1,000 impressions at full attention.
    pub value: i64,
    /// What showing it is worth to the feed beside money, micros for 1,000: 0 or less unless a bonus.
    pub quality: i64,
    /// Orders equal totals: the lower one is before.
    pub lot: u64,
}

impl Candidate {
    /// Returns what ads are ordered by, micros for 1,000 impressions.
    pub fn total(&self) -> i64 {
        self.value.saturating_add(self.quality)
    }
}

/// What the feed allows.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Allowed positions, ascending.
    pub places: &'a [u16],
    /// The weight of each place, parts of `ATTENTION_ONE`, never rising. One that rises counts as flat.
    pub attention: &'a [u32],
    /// Two ads at positions p < q have `q - p >= min_gap`; a position has one ad in any case.
    pub min_gap: u16,
    /// Most ads in the tray.
    pub most: usize,
    /// What one ad costs the feed in viewing not interrupted, micros for 1,000; below 0 counts as 0.
    pub interruption: i64,
    /// The least that 1,000 seen impressions cost, micros; below 0 counts as 0.
    pub floor: i64,
}

/// An ad that stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Win {
    /// Index among the candidates.
    pub candidate: usize,
    /// Index among the allowed places.
    pub place: usize,
    /// What 1,000 *seen* impressions at this place cost, micros, rounded down: at least the floor and 0,
    /// at most the value.
    pub pay_cpm: i64,
}

/// Buffers of [`clear`]; nothing is allocated once they have grown.
#[derive(Debug, Default)]
pub struct Scratch {
    slots: Vec<Slot>,
    bars: Bars,
    leaders: Vec<Leader>,
    fallbacks: Vec<i64>,
}

/// Fills a tray; wins are ascending by place. Time is linear in the candidates, times the slots.
///
/// The best ad has the first slot, and so on while `weight x total - interruption` is above 0: an ad that
/// brings exactly nothing is not shown. Equal totals are ordered by lot, then ad. Whoever stands among the
/// candidates but is not among the best `most + 1` groups with their best two businesses changes nothing.
pub fn clear(
    candidates: &[Candidate],
    terms: &Terms<'_>,
    scratch: &mut Scratch,
    wins: &mut Vec<Win>,
) {
    wins.clear();
    let Scratch { slots, bars, leaders, fallbacks } = scratch;
    placement::lay_slots(terms, slots);
    bars.set(candidates, terms.floor);
    // One more than can win: the first loser sets prices.
    placement::line_up(candidates, bars, slots.len() + 1, leaders);
    let tray = payments::Tray { slots, leaders, interruption: terms.interruption };
    let winners = tray.winners();
    placement::find_fallbacks(candidates, bars, &leaders[..winners], fallbacks);
    for (rank, (leader, slot)) in leaders[..winners].iter().zip(slots.iter()).enumerate() {
        let value = candidates[leader.candidate].value;
        let pay_cpm = tray.pay_cpm(rank, value, fallbacks[rank]);
        wins.push(Win { candidate: leader.candidate, place: slot.place, pay_cpm });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::request::ATTENTION_ONE;

    const FLAT: [u32; 12] = [ATTENTION_ONE; 12];
    const PLACES: [u16; 12] = [2, 3, 5, 6, 7, 9, 10, 14, 15, 18, 19, 30];

    fn ad(ad: u64, business: u64, value: i64, quality: i64) -> Candidate {
        Candidate { ad, business, group: business, value, quality, lot: ad }
    }

    fn terms() -> Terms<'static> {
        Terms { places: &PLACES, attention: &FLAT, min_gap: 4, most: 3, interruption: 0, floor: 0 }
    }

    /// Runs the auction; returns (ad, position, price) of each win.
    fn fill(candidates: &[Candidate], terms: &Terms<'_>) -> Vec<(u64, u16, i64)> {
        let mut wins = Vec::new();
        clear(candidates, terms, &mut Scratch::default(), &mut wins);
        let told = |win: &Win| (candidates[win.candidate].ad, terms.places[win.place], win.pay_cpm);
        wins.iter().map(told).collect()
    }

    #[test]
    fn at_equal_weights_the_earliest_positions_are_taken_and_all_pay_the_first_loser() {
        let ads = [ad(1, 1, 50, 0), ad(2, 2, 80, 0), ad(3, 3, 60, 0), ad(4, 4, 70, 0)];
        assert_eq!(fill(&ads, &terms()), [(2, 2, 50), (4, 6, 50), (3, 10, 50)]);
    }

    #[test]
    fn a_better_slot_is_paid_for_by_what_it_takes_from_those_below() {
        let attention = [ATTENTION_ONE, ATTENTION_ONE / 2];
        let terms = Terms { places: &[0, 4], attention: &attention, ..terms() };
        let ads = [ad(1, 1, 100, 0), ad(2, 2, 60, 0), ad(3, 3, 20, 0)];
        // The first: half of 60 and half of 20. The second: half of 20, at half the attention.
        assert_eq!(fill(&ads, &terms), [(1, 0, 40), (2, 4, 20)]);
    }

    #[test]
    fn the_cost_of_interrupting_is_paid_and_an_ad_worth_just_it_is_not_shown() {
        let terms = Terms { interruption: 30, ..terms() };
        assert_eq!(fill(&[ad(1, 1, 30, 0)], &terms), []);
        assert_eq!(fill(&[ad(1, 1, 31, 0)], &terms), [(1, 2, 30)]);
        assert_eq!(fill(&[ad(1, 1, 50, -10)], &terms), [(1, 2, 40)]);
        // Without a cost whatever is worth something is shown, for nothing.
        assert_eq!(fill(&[ad(1, 1, 1, 0), ad(2, 2, 0, 0)], &self::terms()), [(1, 2, 0)]);
    }

    #[test]
    fn an_ad_at_the_floor_is_shown_and_pays_it_and_one_below_is_not() {
        let terms = Terms { floor: 40, ..terms() };
        assert_eq!(fill(&[ad(1, 1, 40, 0), ad(2, 2, 39, 0)], &terms), [(1, 2, 40)]);
        // Its hides cost 5: it must be worth the floor after them.
        assert_eq!(fill(&[ad(1, 1, 44, -5)], &terms), []);
        assert_eq!(fill(&[ad(1, 1, 45, -5)], &terms), [(1, 2, 45)]);
    }

    #[test]
    fn a_business_has_one_ad_and_so_has_a_category_whose_next_business_sets_the_price() {
        let group =
            |business, value| Candidate { group: 7, ..ad(value as u64, business, value, 0) };
        let ads = [group(1, 100), group(1, 90), group(2, 70), ad(5, 5, 20, 0)];
        // Without business 1, business 2 steps in: its ad of 90 never counts.
        assert_eq!(fill(&ads, &terms()), [(100, 2, 70), (5, 6, 0)]);
    }

    #[test]
    fn hiding_an_ad_to_meet_a_lower_bar_does_not_pay() {
        let terms = Terms { floor: 90, ..terms() };
        let utility = |ads: &[Candidate], value: i64| match fill(ads, &terms)[..] {
            [(_, _, pay)] => value - pay,
            _ => 0,
        };
        let (good, disliked) = (ad(1, 1, 100, 0), ad(2, 1, 105, -10));
        let hidden = Candidate { value: 0, ..good };
        assert_eq!(utility(&[good, disliked], 100), 10);
        assert!(utility(&[hidden, disliked], 105) <= 10);
    }

    #[test]
    fn a_bonus_is_never_paid_out() {
        assert_eq!(fill(&[ad(1, 1, 5, 50)], &terms()), [(1, 2, 0)]);
        let rivals = [ad(1, 1, 5, 50), ad(2, 2, 52, 0)];
        assert_eq!(fill(&rivals, &Terms { most: 1, ..terms() }), [(1, 2, 2)]);
    }

    #[test]
    fn equal_totals_are_ordered_by_lot_then_ad_whatever_their_order() {
        let mut ads: Vec<_> = (1..=6).map(|number| ad(number, number, 10, 0)).collect();
        ads.iter_mut().for_each(|ad| ad.lot = ad.ad / 3);
        let shown = fill(&ads, &terms());
        assert_eq!(shown, [(1, 2, 10), (2, 6, 10), (3, 10, 10)]);
        ads.reverse();
        assert_eq!(fill(&ads, &terms()), shown);
    }

    #[test]
    fn nothing_to_fill_and_extreme_amounts_are_borne() {
        let ads = [ad(1, 1, i64::MAX, 0), ad(2, 2, i64::MAX, i64::MIN), ad(3, 3, i64::MAX, 9)];
        assert_eq!(fill(&ads, &Terms { most: 0, ..terms() }), []);
        assert_eq!(fill(&ads, &Terms { places: &[], attention: &[], ..terms() }), []);
        assert_eq!(fill(&[], &terms()), []);
        assert_eq!(fill(&ads, &Terms { floor: i64::MAX, ..terms() }).len(), 2);
        assert_eq!(fill(&ads, &Terms { interruption: i64::MIN, ..terms() }).len(), 2);
        assert_eq!(fill(&ads, &Terms { interruption: i64::MAX, ..terms() }), []);
    }
}
