//! Why an ad did not run: names for every reason, what a tray would have taken, and what to change.

pub mod audience;
mod fixes;
mod judge;

pub use fixes::{Explained, FIXES_MAX, Shop, explain, status_fix};
pub use judge::{Cure, Judged, Lost, Relaxed, judge, obstacles};

use crate::decide::groups::Member;
use crate::decide::index::{Entry, Segment, Visitor, Worth};
use crate::decide::onlooker::Onlooker;
use crate::decide::select::{Asked, Tray};
use crate::decide::skip::Skip;
use crate::types::proto::v1::{EffectiveStatus, NoAdReason, ReasonCount};
use crate::types::request::{ATTENTION_ONE, AdRequest, Policy};
use crate::types::time::Moment;

/// A reason as callers see it: a number for analysts, a name for programs.
///
/// Numbers are those of the IAB Tech Lab's "Seat Non Bid" list where it has one that says the same
/// (OpenRTB, `extensions/community_extensions/seat-non-bid.md`: 9 "Daily User Cap Met", 301 "Below Floor",
/// 350 "Invalid Creative", 355 "Advertiser Exclusions", which it explains as competitive separation, 357
/// "Category Exclusion"); ours from 500, as it allows. What is journaled has numbers of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Named {
    /// The number. Stable.
    pub number: u32,
    /// The name. Stable.
    pub name: &'static str,
}

const fn named(number: u32, name: &'static str) -> Named {
    Named { number, name }
}

/// The tray has no place for an ad: the feed's policy, or the viewer has seen as many as it allows.
pub const NO_SLOT: Named = named(501, "NO_SLOT");

/// Returns a reason's number and name.
pub const fn name_of(skip: Skip) -> Named {
    match skip {
        Skip::FrequencyCapped => named(9, "FREQUENCY_CAPPED"),
        Skip::BelowFloor => named(301, "BELOW_FLOOR"),
        Skip::Separation => named(355, "SEPARATION"),
        Skip::PolicyBlocked => named(357, "POLICY_BLOCKED"),
        Skip::Outbid => named(500, "OUTBID"),
        Skip::NotTargeted => named(502, "NOT_TARGETED"),
        Skip::HiddenByViewer => named(503, "HIDDEN_BY_VIEWER"),
        Skip::OutsideSchedule => named(504, "OUTSIDE_SCHEDULE"),
        Skip::BudgetSpent => named(505, "BUDGET_SPENT"),
        Skip::CapStateFull => named(506, "CAP_STATE_FULL"),
        Skip::InterruptionCost => named(507, "INTERRUPTION_COST"),
    }
}

/// Returns why an ad of this status does not run at all; `None`: it does.
pub const fn name_of_status(status: EffectiveStatus) -> Option<Named> {
    match status {
        EffectiveStatus::Active | EffectiveStatus::Unspecified => None,
        EffectiveStatus::Disapproved => Some(named(350, "DISAPPROVED")),
        EffectiveStatus::Paused => Some(named(510, "AD_PAUSED")),
        EffectiveStatus::AdsetPaused => Some(named(511, "AD_SET_PAUSED")),
        EffectiveStatus::CampaignPaused => Some(named(512, "CAMPAIGN_PAUSED")),
        EffectiveStatus::AccountPaused => Some(named(513, "ACCOUNT_PAUSED")),
        EffectiveStatus::PendingReview => Some(named(514, "PENDING_REVIEW")),
        EffectiveStatus::Archived => Some(named(515, "ARCHIVED")),
    }
}

impl Named {
    /// Returns how often it was the reason.
    pub fn count(self, count: u64, estimated: bool) -> ReasonCount {
        ReasonCount { reason: self.number, name: self.name.to_owned(), count, estimated }
    }
}

/// Returns the reason that a journaled number stands for.
pub fn of_journal(number: u32) -> Option<Skip> {
    Skip::ALL.into_iter().find(|skip| *skip as u32 == number)
}

/// One request that was filled, with what its tray asked of an ad.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// What was asked.
    pub request: AdRequest,
    /// What the feed allowed.
    pub policy: Policy,
    /// When.
    pub now: Moment,
    /// The viewer before anything was promised.
    pub onlooker: Onlooker,
    /// What the tray asked of an ad.
    pub bars: Bars,
}

/// An ad that stands in a tray.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Won {
    /// Its number.
    pub ad: u32,
    /// What separates it from others.
    pub group: u64,
    /// What it was worth.
    pub total: i64,
    /// What one impression of it costs about, micros of its account's currency.
    pub hold: i64,
}

/// What a filled tray asked of an ad.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bars {
    /// The ads in it.
    pub won: Vec<Won>,
    /// The least total that has a place of its own; `None`: there was no place for any ad.
    pub enter: Option<i64>,
    /// Whether every place is filled.
    pub full: bool,
    floor: i64,
}

impl Bars {
    /// Returns the bars of a tray that was just filled.
    pub fn of(tray: &Tray, asked: &Asked<'_>) -> Self {
        let mut bars = Self { floor: asked.policy.floor_cpm_micros.max(0), ..Self::default() };
        for (_, placed) in &tray.slots {
            let Ok(placed) = placed else { continue };
            let (worth, rates) = asked.worth(&placed.entry);
            let member = Member::of(&placed.entry, worth, rates, 0);
            let total = worth.total();
            bars.won.push(Won { ad: member.ad, group: member.group, total, hold: placed.hold });
        }
        let is_free = |slot: &&(u16, Result<_, NoAdReason>)| {
            slot.1.as_ref().is_err_and(|reason| *reason != NoAdReason::FeedPolicy)
        };
        let free = tray.slots.iter().find(is_free);
        bars.full = free.is_none();
        let alone = free.map(|(position, _)| bars.floor.max(least_alone(asked, *position)));
        let least = bars.won.iter().map(|won| won.total.saturating_add(1)).min();
        // It stands beside the others, or takes the place of the least, which may not be worth the next.
        bars.enter = alone.into_iter().chain(least).min();
        bars
    }

    /// Returns the feed's floor, micros of the settlement currency for 1,000 impressions.
    pub const fn floor(&self) -> i64 {
        self.floor
    }

    /// Returns the least total with which an ad of this group would have had a place.
    pub fn needed(&self, ad: u32, group: u64) -> Option<i64> {
        let rival = self.won.iter().find(|won| won.group == group && won.ad != ad);
        match rival {
            Some(rival) => Some(rival.total.saturating_add(1)),
            None => self.enter,
        }
    }

    /// Returns what became of an ad that nothing stood against.
    pub fn verdict(&self, ad: u32, group: u64, total: i64) -> Option<Skip> {
        if self.won.iter().any(|won| won.ad == ad) {
            None
        } else if self.won.iter().any(|won| won.group == group) {
            Some(Skip::Separation)
        } else if self.full || self.enter.is_none_or(|enter| total >= enter) {
            Some(Skip::Outbid)
        } else if total < self.floor {
            Some(Skip::BelowFloor)
        } else {
            Some(Skip::InterruptionCost)
        }
    }
}

/// Returns the least total that is worth interrupting for at a position.
fn least_alone(asked: &Asked<'_>, position: u16) -> i64 {
    let next = |weight, _| asked.policy.next_attention(weight);
    let weight = (0..position).fold(ATTENTION_ONE, next).max(1);
    let cost = i128::from(asked.policy.interruption_cpm_micros.max(0));
    // An ad that brings exactly nothing is not shown.
    let least = cost * i128::from(ATTENTION_ONE) / i128::from(weight) + 1;
    i64::try_from(least).unwrap_or(i64::MAX)
}

/// Shows every ad that is meant for a viewer, with what became of it: a walk that stops nowhere. An ad
/// whose conjunctions stand in several segments comes once for each.
pub struct Full<'a, F> {
    /// The request.
    pub asked: &'a Asked<'a>,
    /// What its tray asked of an ad.
    pub bars: &'a Bars,
    /// Takes an ad, its worth, and why it was not placed; `None`: it was.
    pub take: F,
}

impl<F: FnMut(&Entry, Worth, Option<Skip>)> Visitor for Full<'_, F> {
    fn least(&self) -> i64 {
        i64::MIN
    }

    fn visit(&mut self, segment: &Segment, _lane: u16, entries: &[u32]) {
        for &at in entries {
            let entry = segment.entry(at);
            let Some((worth, rates)) = self.asked.live_worth(entry) else { continue };
            // What was placed had nothing against it then, whatever is now.
            let why = if self.bars.won.iter().any(|won| won.ad == entry.ad) {
                None
            } else {
                let group = Member::of(entry, worth, rates, 0).group;
                let obstacle = self.asked.obstacle(entry, segment.extra(entry), worth);
                obstacle.or_else(|| self.bars.verdict(entry.ad, group, worth.total()))
            };
            (self.take)(entry, worth, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_a_number_and_a_name_of_its_own() {
        let statuses = (0..=8).filter_map(|number| EffectiveStatus::try_from(number).ok());
        let own = statuses.filter_map(name_of_status);
        let all: Vec<Named> =
            Skip::ALL.map(name_of).into_iter().chain(own).chain([NO_SLOT]).collect();
        let numbers: BTreeSet<u32> = all.iter().map(|named| named.number).collect();
        let names: BTreeSet<&str> = all.iter().map(|named| named.name).collect();
        assert_eq!((numbers.len(), names.len()), (all.len(), all.len()));
        assert!(all.iter().all(|named| named.number != 0), "0 is placed");
        assert!(Skip::ALL.iter().all(|skip| of_journal(*skip as u32) == Some(*skip)));
    }

    #[test]
    fn a_full_tray_asks_for_more_than_its_least_and_a_rival_for_more_than_it() {
        let won = |ad, group, total| Won { ad, group, total, hold: 0 };
        let bars = Bars {
            won: vec![won(1, 10, 50), won(2, 20, 30)],
            enter: Some(31),
            full: true,
            floor: 5,
        };
        assert_eq!(bars.verdict(1, 10, 50), None);
        assert_eq!(bars.verdict(3, 10, 45), Some(Skip::Separation));
        assert_eq!(bars.verdict(4, 40, 30), Some(Skip::Outbid));
        assert_eq!(bars.needed(3, 10), Some(51));
        assert_eq!(bars.needed(4, 40), Some(31));
        let open = Bars { full: false, enter: Some(8), ..bars };
        assert_eq!(open.verdict(4, 40, 4), Some(Skip::BelowFloor));
        assert_eq!(open.verdict(4, 40, 6), Some(Skip::InterruptionCost));
    }
}
