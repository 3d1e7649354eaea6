//! What to change so that an ad wins more often, with the effect on requests that were sampled.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::decide::board::Board;
use crate::decide::explain::{Cure, Judged, Lost, Relaxed, Sampled, judge};
use crate::decide::groups::Member;
use crate::decide::index::{COST_CAP_ROOM, Draft, Index};
use crate::decide::select::Asked;
use crate::decide::skip::Skip;
use crate::decide::target::Told;
use crate::state::rules::Blocks;
use crate::types::proto::v1::{AdSet, BidStrategy, EffectiveStatus, Fix, Money};
use crate::types::time::Moment;

/// Fixes in one answer: the best ones.
pub const FIXES_MAX: usize = 3;

/// A bid on 1,000 impressions moves in steps of this many micros.
const BID_STEP: i64 = 1_000;

/// An ad with what it is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Shop<'a> {
    /// The ad as it serves.
    pub draft: &'a Draft,
    /// Its ad set.
    pub ad_set: &'a AdSet,
    /// The account's currency.
    pub currency: &'a str,
    /// The live ads.
    pub index: &'a Index,
    /// Money and rates of now.
    pub board: &'a Board,
    /// Where categories may be shown.
    pub blocks: &'a Blocks,
}

/// What the sampled requests say of an ad.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explained {
    /// Its own value for 1,000 impressions now, micros.
    pub own: i64,
    /// The middle of what would have won where it was targeted, micros; `None`: it never was.
    pub winning: Option<i64>,
    /// The best first.
    pub fixes: Vec<Fix>,
}

/// What would have helped how often.
#[derive(Debug, Default)]
struct Tries {
    requests: u64,
    winning: Vec<i64>,
    /// The values that would have won where nothing but its value stood against the ad.
    values: Vec<i64>,
    lifts: BTreeMap<Skip, u64>,
    relaxed: BTreeMap<Relaxed, u64>,
}

/// Judges an ad by every sampled request.
pub fn explain<'a>(
    shop: &Shop<'_>,
    samples: impl Iterator<Item = &'a Sampled>,
    now: Moment,
) -> Explained {
    let Shop { draft, board, .. } = *shop;
    let (mut tries, mut told) = (Tries::default(), Told::default());
    let entry = draft.entry();
    // Trays compare in the settlement currency; the advertiser bids in its own.
    let own = |settled| shop.index.exchange().back_up(entry.currency, settled);
    for sample in samples {
        let asked = shop.asked(sample, sample.now);
        told.take(&sample.request.profile, sample.request.placement, sample.now);
        tries.requests += 1;
        let judged = judge(draft, &asked, &sample.bars, &told);
        if !matches!(judged, Judged::Mismatch(_)) {
            let rates = board.ad(entry.ad.into()).rates;
            let group = Member::of(entry, Default::default(), rates, 0).group;
            tries.winning.extend(sample.bars.needed(entry.ad, group).and_then(own));
        }
        match judged {
            Judged::Placed => {}
            Judged::Mismatch(relaxed) => {
                relaxed.into_iter().for_each(|one| *tries.relaxed.entry(one).or_default() += 1);
            }
            Judged::Lost(Lost { cure: Cure::Value(value), .. }) => tries.values.extend(own(value)),
            Judged::Lost(Lost { skip, cure: Cure::Lift }) => {
                *tries.lifts.entry(skip).or_default() += 1;
            }
            Judged::Lost(Lost { cure: Cure::Several, .. }) => {}
        }
    }
    tries.winning.sort_unstable();
    let winning = tries.winning.get(tries.winning.len() / 2).copied();
    let own = shop.value(entry.bid);
    Explained { own, winning, fixes: shop.fixes(tries, now) }
}

/// Returns what an ad of this status needs before anything else.
pub fn status_fix(status: EffectiveStatus, requests: u64) -> Option<Fix> {
    let (field, message) = match status {
        EffectiveStatus::Active | EffectiveStatus::Unspecified => return None,
        EffectiveStatus::Paused => ("ad.configured_status", "set it to ACTIVE: the ad is paused"),
        EffectiveStatus::AdsetPaused => {
            ("ad_set.configured_status", "set it to ACTIVE: the ad set is paused")
        }
        EffectiveStatus::CampaignPaused => {
            ("campaign.configured_status", "set it to ACTIVE: the campaign is paused")
        }
        EffectiveStatus::AccountPaused => {
            ("account.configured_status", "set it to ACTIVE: the account is paused or archived")
        }
        EffectiveStatus::Archived => {
            ("ad.configured_status", "create the ad anew: what is archived never serves again")
        }
        EffectiveStatus::PendingReview => {
            ("ad.review", "wait for the operator's review: the ad serves once it is approved")
        }
        EffectiveStatus::Disapproved => {
            ("ad.review", "change what the review names as its reasons: the ad was rejected")
        }
    };
    Some(fix(field, message, 0, requests))
}

fn fix(field: &str, message: &str, more_wins: u64, requests: u64) -> Fix {
    let message = match more_wins {
        0 => message.to_owned(),
        _ => format!("{message}: wins {more_wins} more of {requests} sampled requests"),
    };
    Fix { field: field.to_owned(), message, bid: None, more_wins, requests }
}

impl<'a> Shop<'a> {
    fn asked<'b>(&'b self, sample: &'b Sampled, now: Moment) -> Asked<'b> {
        Asked {
            index: self.index,
            board: self.board,
            blocks: self.blocks,
            onlooker: &sample.onlooker,
            policy: &sample.policy,
            request: &sample.request,
            now,
            roll: 0,
            live_ads: 0,
        }
    }

    /// Returns what the ad would be worth now at another bid.
    fn value(&self, bid: i64) -> i64 {
        let entry = self.draft.entry().bidding(bid);
        entry
            .value(self.board.ad(entry.ad.into()).rates, self.board.multiplier(entry.ad_set.into()))
    }

    /// Returns the least bid that is worth so much; `None`: none is.
    fn bid_for(&self, value: i64) -> Option<i64> {
        let entry = self.draft.entry();
        let own = i128::from(self.value(entry.bid)).max(1);
        let step = if entry.aim().is_per_thousand() { BID_STEP } else { 1 };
        let bid = (i128::from(entry.bid) * i128::from(value) + own - 1) / own;
        let bid = i64::try_from(bid).ok()?.checked_add(step - 1)? / step * step;
        // Rounding of the value takes at most a little more; a paced-out ad is helped by no bid.
        let near = (0..8).map(|steps| bid.saturating_add((step.max(bid / 10_000)) * steps));
        let mut near = near.map(|bid| bid / step * step);
        near.find(|bid| self.value(*bid) >= value)
    }

    /// Returns the budget that has least left.
    fn short_line(&self, now: Moment) -> (&'static str, &'static str) {
        let [account, campaign, ad_set] =
            self.board.lines(self.draft.entry().lines()).map(|line| line.free(now));
        if ad_set <= campaign && ad_set <= account {
            ("ad_set.budget", "raise the ad set's budget, which is spent or promised")
        } else if campaign <= account {
            ("campaign.budget", "raise the campaign's budget, which is spent or promised")
        } else {
            ("account.spend_limit", "raise the account's spend limit, which is spent or promised")
        }
    }

    fn fixes(&self, tries: Tries, now: Moment) -> Vec<Fix> {
        let requests = tries.requests;
        let mut fixes = self.standing(now);
        fixes.extend(
            tries.lifts.iter().filter_map(|(skip, wins)| self.lift(*skip, *wins, requests, now)),
        );
        fixes.extend(tries.relaxed.iter().map(|((at, name), wins)| {
            let field = match at {
                0 => format!("ad_set.targeting.{name}"),
                later => format!("ad_set.or_targeting[{}].{name}", later - 1),
            };
            fix(&field, &format!("take {name} out of the targeting, or widen it"), *wins, requests)
        }));
        fixes.extend(self.bid_fix(tries.values, requests));
        // What stands against it at this moment comes first; what helps most is next.
        fixes.sort_by_key(|fix| Reverse(if fix.more_wins == 0 { u64::MAX } else { fix.more_wins }));
        let mut known = Vec::new();
        let most = |field: &str| tries_of(&fixes, field);
        for fix in &fixes {
            if !known.iter().any(|known: &Fix| known.field == fix.field) {
                known.push(most(&fix.field));
            }
        }
        known.truncate(FIXES_MAX);
        known
    }

    /// Returns what stands against the ad now, whoever asks.
    fn standing(&self, now: Moment) -> Vec<Fix> {
        let (entry, extra) = (self.draft.entry(), self.draft.extra());
        let mut fixes = Vec::new();
        if !extra.runs(now) || self.board.is_closed(entry.ad_set.into()) {
            fixes.extend(self.lift(Skip::OutsideSchedule, 0, 0, now));
        }
        if self.board.free(entry.lines(), now) < (self.value(entry.bid) / 1_000).max(1) {
            fixes.extend(self.lift(Skip::BudgetSpent, 0, 0, now));
        }
        fixes
    }

    fn lift(&self, skip: Skip, wins: u64, requests: u64, now: Moment) -> Option<Fix> {
        let (field, message) = match skip {
            Skip::OutsideSchedule if now.0 < self.draft.extra().start_ms => {
                ("ad_set.start_time", "set it to now or leave it out: the ad set has not begun")
            }
            Skip::OutsideSchedule if now.0 >= self.draft.extra().end_ms => {
                ("ad_set.end_time", "set it later or leave it out: the ad set has ended")
            }
            Skip::OutsideSchedule => {
                ("ad_set.schedule_hours", "add this hour of the week: the ad set pauses in it")
            }
            Skip::BudgetSpent => self.short_line(now),
            Skip::FrequencyCapped => {
                ("ad_set.frequency_caps", "allow more, or within a shorter interval")
            }
            // The viewer's, the operator's or the feed's to change.
            Skip::NotTargeted
            | Skip::PolicyBlocked
            | Skip::HiddenByViewer
            | Skip::CapStateFull
            | Skip::Separation
            | Skip::BelowFloor
            | Skip::InterruptionCost
            | Skip::Outbid => return None,
        };
        Some(fix(field, message, wins, requests))
    }

    /// Returns the bid that would have won the middle one of the requests that a higher bid wins.
    fn bid_fix(&self, mut values: Vec<i64>, requests: u64) -> Option<Fix> {
        let room = match self.ad_set.bid_strategy() {
            BidStrategy::LowestCostWithoutCap => return None,
            BidStrategy::CostCap => COST_CAP_ROOM,
            BidStrategy::Unspecified | BidStrategy::LowestCostWithBidCap => 1,
        };
        values.sort_unstable();
        let bid = self.bid_for(*values.get(values.len().checked_sub(1)? / 2)?)?;
        let value = self.value(bid);
        let wins = values.partition_point(|needed| *needed <= value) as u64;
        let (old, bid) = (self.draft.entry().bid / room, bid / room);
        let raise = format!("raise the bid from {} to {} {}", text(old), text(bid), self.currency);
        let money = Money { micros: bid, currency: self.currency.to_owned() };
        (bid > old).then(|| Fix { bid: Some(money), ..fix("ad_set.bid", &raise, wins, requests) })
    }
}

/// Returns the fix of a field that helps most.
fn tries_of(fixes: &[Fix], field: &str) -> Fix {
    let same = fixes.iter().filter(|fix| fix.field == field);
    same.max_by_key(|fix| fix.more_wins).cloned().unwrap_or_default()
}

/// Writes an amount with two decimals or as many as it has.
fn text(micros: i64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let short = text.trim_end_matches('0');
    let least = text.len() - 4;
    text[..short.len().max(least)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_two_decimals_or_as_many_as_they_need() {
        for (micros, written) in
            [(500_000, "0.50"), (620_000, "0.62"), (1_234_567, "1.234567"), (12_000_000, "12.00")]
        {
            assert_eq!(text(micros), written);
        }
    }

    #[test]
    fn every_status_but_active_has_a_fix() {
        for number in 1..=8 {
            let status = EffectiveStatus::try_from(number).unwrap();
            let active = status == EffectiveStatus::Active;
            assert_eq!(status_fix(status, 0).is_none(), active, "{status:?}");
            assert_eq!(
                crate::decide::explain::name_of_status(status).is_none(),
                active,
                "{status:?}"
            );
        }
    }
}
