//! What an ad is worth and what one of its events costs: bids, rates and prices of 1,000 impressions.

use crate::decide::board::Rates;
use crate::types::proto::v1::{AdSet, AdSetIssue, BidStrategy, BillingEvent, OptimizationGoal};
use crate::types::token::PackedPrice;

/// Rates are in parts of this.
const RATE_ONE: i128 = u16::MAX as i128;

/// What an ad set pays for, and what it wants.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Aim {
    /// The event that is charged.
    pub billing: BillingEvent,
    /// The event that a bid is for: the billed one, or one behind it.
    pub goal: OptimizationGoal,
}

impl Aim {
    /// Returns an ad set's. One that was written before there were goals wants what it pays for.
    pub fn of(ad_set: &AdSet) -> Self {
        match ad_set.optimization_goal() {
            OptimizationGoal::Unspecified => Self::billed(ad_set.billing_event()),
            goal => Self { billing: ad_set.billing_event(), goal },
        }
    }

    /// Returns the aim of an ad set that wants what it pays for.
    pub const fn billed(billing: BillingEvent) -> Self {
        let goal = match billing {
            BillingEvent::Unspecified => OptimizationGoal::Unspecified,
            BillingEvent::Impressions => OptimizationGoal::Impressions,
            BillingEvent::LinkClicks => OptimizationGoal::LinkClicks,
            BillingEvent::Conversations => OptimizationGoal::Conversations,
        };
        Self { billing, goal }
    }

    /// Returns what is charged while an issue stands against paying for conversations: the tap before each. The
    /// bid stays for what it was, so a tap costs at most the bid times the chance of what follows.
    pub const fn served(self, issue: AdSetIssue) -> Self {
        match (self.billing, issue) {
            (BillingEvent::Conversations, AdSetIssue::OpeningsSelfReported)
            | (BillingEvent::Conversations, AdSetIssue::OpeningsUnderReported) => {
                Self { billing: BillingEvent::LinkClicks, ..self }
            }
            _ => self,
        }
    }

    /// Tells whether bids are for 1,000 goal events, and not for one.
    pub const fn is_per_thousand(self) -> bool {
        match self.goal {
            OptimizationGoal::Impressions
            | OptimizationGoal::Reach
            | OptimizationGoal::ViewableImpressions => true,
            OptimizationGoal::Unspecified
            | OptimizationGoal::LinkClicks
            | OptimizationGoal::Conversations
            | OptimizationGoal::Conversions => false,
        }
    }

    /// Returns what 1,000 impressions are worth at this bid, micros: bid x predicted action rate (FACTS,
    /// "Auction").
    pub fn value(self, bid: i64, rates: Rates) -> i64 {
        let of_thousand = bid.saturating_mul(1_000);
        match self.goal {
            OptimizationGoal::Unspecified => 0,
            OptimizationGoal::Impressions | OptimizationGoal::Reach => bid,
            OptimizationGoal::ViewableImpressions => share(bid, rates.viewable),
            OptimizationGoal::LinkClicks => share(of_thousand, rates.tap),
            OptimizationGoal::Conversations => share(share(of_thousand, rates.tap), rates.chat),
            OptimizationGoal::Conversions => {
                share(share(share(of_thousand, rates.tap), rates.chat), rates.sale)
            }
        }
    }

    /// Returns what one billed event is worth at this bid, micros: the most that it may cost.
    pub fn worth_of_event(self, bid: i64, rates: Rates) -> i64 {
        match (self.billing, self.goal) {
            (BillingEvent::Unspecified, _) => 0,
            (BillingEvent::Impressions, _) => self.value(bid, rates) / 1_000,
            (BillingEvent::LinkClicks, OptimizationGoal::Conversations) => share(bid, rates.chat),
            (BillingEvent::LinkClicks, OptimizationGoal::Conversions) => {
                share(share(bid, rates.chat), rates.sale)
            }
            (BillingEvent::Conversations, OptimizationGoal::Conversions) => share(bid, rates.sale),
            (BillingEvent::LinkClicks | BillingEvent::Conversations, _) => bid,
        }
    }

    /// Returns the price of one billed event whose 1,000 impressions cost `cpm` micros: rounded down, and
    /// never above what the event is worth at the bid. A tap's or conversation's price is rounded to what a
    /// click token can carry.
    pub fn price(self, bid: i64, rates: Rates, cpm: i64) -> i64 {
        let (tap, chat) = (i128::from(rates.tap.max(1)), i128::from(rates.chat.max(1)));
        let cpm = i128::from(cpm.max(0));
        let price = match self.billing {
            BillingEvent::Impressions => cpm / 1_000,
            BillingEvent::LinkClicks => cpm * RATE_ONE / (1_000 * tap),
            BillingEvent::Conversations => cpm * RATE_ONE * RATE_ONE / (1_000 * tap * chat),
            BillingEvent::Unspecified => 0,
        };
        let price = i64::try_from(price).unwrap_or(i64::MAX).min(self.worth_of_event(bid, rates));
        match self.billing {
            BillingEvent::LinkClicks | BillingEvent::Conversations => {
                PackedPrice::pack(price).micros()
            }
            BillingEvent::Impressions | BillingEvent::Unspecified => price,
        }
    }
}

/// Returns an amount times a rate, rounded down. Every live ad is valued for every tray, and a division of
/// 128 bits costs more than the rest of it.
fn share(amount: i64, rate: u16) -> i64 {
    match amount.checked_mul(i64::from(rate)) {
        Some(product) => product / i64::from(u16::MAX),
        None => (i128::from(amount) * i128::from(rate) / RATE_ONE) as i64,
    }
}

/// Returns an ad set's strategy. Where none is named, a bid is the most that is bid, and without one the
/// engine makes it.
pub fn strategy_of(ad_set: &AdSet) -> BidStrategy {
    match ad_set.bid_strategy() {
        BidStrategy::Unspecified if ad_set.bid.is_some() => BidStrategy::LowestCostWithBidCap,
        BidStrategy::Unspecified => BidStrategy::LowestCostWithoutCap,
        named => named,
    }
}

/// Returns what serving holds for one ad until it is seen: its price, weighted by the chance that the
/// billed event follows a view.
pub fn hold_of(billing: BillingEvent, price: i64, rates: Rates) -> i64 {
    let (tap, chat) = (i128::from(rates.tap), i128::from(rates.chat));
    let price = i128::from(price);
    let hold = match billing {
        BillingEvent::Impressions => price,
        BillingEvent::LinkClicks => price * tap / RATE_ONE,
        BillingEvent::Conversations => price * tap * chat / (RATE_ONE * RATE_ONE),
        BillingEvent::Unspecified => 0,
    };
    i64::try_from(hold).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { tap: 655, chat: 26_214, ..Rates::NEW };

    const BILLED: [BillingEvent; 3] =
        [BillingEvent::Impressions, BillingEvent::LinkClicks, BillingEvent::Conversations];

    /// Every pair of goal and billed event that an ad set may have.
    fn aims() -> impl Iterator<Item = Aim> {
        use OptimizationGoal::{
            Conversations, Conversions, Impressions, LinkClicks, Reach, ViewableImpressions,
        };
        let taps = [LinkClicks, Conversations, Conversions];
        let by_impression = [Impressions, Reach, ViewableImpressions].into_iter().chain(taps);
        let by_impression = by_impression.map(|goal| (BillingEvent::Impressions, goal));
        let by_tap = taps.map(|goal| (BillingEvent::LinkClicks, goal));
        let by_chat = [Conversations, Conversions].map(|goal| (BillingEvent::Conversations, goal));
        let all = by_impression.chain(by_tap).chain(by_chat);
        all.map(|(billing, goal)| Aim { billing, goal })
    }

    #[test]
    fn the_price_at_ones_own_value_is_not_above_the_bid_and_close_to_it() {
        for aim in aims() {
            for bid in [50_000_000, 80_000_000, 9_000_000_000] {
                let price = aim.price(bid, RATES, aim.value(bid, RATES));
                let event = aim.worth_of_event(bid, RATES);
                assert!(price <= event, "{aim:?} {bid}");
                assert!(price + event / 500 + 1 >= event * 99 / 100, "{aim:?} {bid}: {price}");
            }
        }
    }

    #[test]
    fn what_an_event_is_worth_follows_from_what_comes_behind_it() {
        let aim = |billing, goal| Aim { billing, goal };
        let half = Rates { tap: 32_768, chat: 32_768, viewable: 32_768, sale: 32_768 };
        let near = |found: i64, wanted: i64| assert!((found - wanted).abs() <= wanted / 1_000);
        let sale = OptimizationGoal::Conversions;
        near(aim(BillingEvent::Conversations, sale).worth_of_event(8_000_000, half), 4_000_000);
        near(aim(BillingEvent::LinkClicks, sale).worth_of_event(8_000_000, half), 2_000_000);
        near(aim(BillingEvent::Impressions, sale).worth_of_event(8_000_000, half), 1_000_000);
        let viewable = OptimizationGoal::ViewableImpressions;
        near(aim(BillingEvent::Impressions, viewable).value(8_000_000, half), 4_000_000);
        for billing in BILLED {
            let event = if billing == BillingEvent::Impressions { 8_000 } else { 8_000_000 };
            assert_eq!(Aim::billed(billing).worth_of_event(8_000_000, half), event);
        }
    }

    #[test]
    fn a_click_token_carries_the_price_of_a_tap_or_conversation_as_it_is() {
        for billing in [BillingEvent::LinkClicks, BillingEvent::Conversations] {
            for cpm in [1, 4_999, 1_234_567, 98_765_432, i64::MAX] {
                let price = Aim::billed(billing).price(i64::MAX, RATES, cpm);
                assert_eq!(PackedPrice::pack(price).micros(), price, "{billing:?}, {cpm}");
            }
        }
    }

    #[test]
    fn a_price_rises_with_the_next_bid() {
        let at = |cpm| Aim::billed(BillingEvent::LinkClicks).price(1_000_000, RATES, cpm);
        assert!((1..2_000).all(|step| at(step * 1_000) <= at((step + 1) * 1_000)));
    }
}
