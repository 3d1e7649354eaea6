//! What an ad set aims at and pays for: which events come before which, and what a bid is for.

use crate::types::proto::v1::{AdSet, BidStrategy, BillingEvent, OptimizationGoal};

/// Impressions that a bid for a goal counted by the thousand is for.
pub const PER_THOUSAND: i64 = 1_000;

/// Returns the goal of an ad set that names none: the event that it pays for.
pub const fn goal_of_billed(billed: BillingEvent) -> OptimizationGoal {
    match billed {
        BillingEvent::Unspecified | BillingEvent::Impressions => OptimizationGoal::Impressions,
        BillingEvent::LinkClicks => OptimizationGoal::LinkClicks,
        BillingEvent::Conversations => OptimizationGoal::Conversations,
    }
}

/// Returns an ad set's goal. Those made before there were goals aim at what they pay for.
pub fn goal_of(ad_set: &AdSet) -> OptimizationGoal {
    match ad_set.optimization_goal() {
        OptimizationGoal::Unspecified => goal_of_billed(ad_set.billing_event()),
        named => named,
    }
}

/// Returns an ad set's strategy. Those made before there were several bid up to a cap.
pub fn strategy_of(ad_set: &AdSet) -> BidStrategy {
    match ad_set.bid_strategy() {
        BidStrategy::Unspecified if ad_set.bid.is_some() => BidStrategy::LowestCostWithBidCap,
        BidStrategy::Unspecified => BidStrategy::LowestCostWithoutCap,
        named => named,
    }
}

/// Tells whether an event may be paid for where a goal is aimed at: it is the goal, or comes before it.
pub const fn comes_before(billed: BillingEvent, goal: OptimizationGoal) -> bool {
    match billed {
        BillingEvent::Unspecified => false,
        BillingEvent::Impressions => true,
        BillingEvent::LinkClicks => matches!(
            goal,
            OptimizationGoal::LinkClicks
                | OptimizationGoal::Conversations
                | OptimizationGoal::Conversions
        ),
        BillingEvent::Conversations => {
            matches!(goal, OptimizationGoal::Conversations | OptimizationGoal::Conversions)
        }
    }
}

/// Tells whether bids for a goal are for 1,000 of it.
pub const fn is_per_thousand(goal: OptimizationGoal) -> bool {
    matches!(
        goal,
        OptimizationGoal::Impressions
            | OptimizationGoal::Reach
            | OptimizationGoal::ViewableImpressions
    )
}

/// Returns what an ad set bids for one goal event, micros; `None`: it names no bid.
pub fn bid_for_one(ad_set: &AdSet) -> Option<i64> {
    let bid = ad_set.bid.as_ref()?.micros;
    Some(if is_per_thousand(goal_of(ad_set)) { bid / PER_THOUSAND } else { bid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paid_for_is_the_goal_or_comes_before_it() {
        let goals = (1..=6).filter_map(|goal| OptimizationGoal::try_from(goal).ok());
        let allowed = |billed| {
            let goals = goals.clone().filter(move |goal| comes_before(billed, *goal));
            goals.map(|goal| goal as i32).collect::<Vec<_>>()
        };
        assert_eq!(allowed(BillingEvent::Impressions), [1, 2, 3, 4, 5, 6]);
        assert_eq!(allowed(BillingEvent::LinkClicks), [4, 5, 6]);
        assert_eq!(allowed(BillingEvent::Conversations), [5, 6]);
        for billed in (1..=3).filter_map(|billed| BillingEvent::try_from(billed).ok()) {
            assert!(comes_before(billed, goal_of_billed(billed)), "an event is its own goal");
        }
    }
}
