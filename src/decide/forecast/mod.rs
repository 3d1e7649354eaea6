//! What a draft would deliver: its own auctions again, in the requests of sampled viewers.
//!
//! Each logged request says what one more ad would have had to be worth for a place, and what it would have
//! paid (`ladder`). A draft is asked where it is meant to be shown (`offers`), run through its frequency caps
//! and distances in the order of time (`replay`), with the thresholds that spend its budget along the day
//! (`paced`), and counted viewer by viewer, so that ranges come from a bootstrap over viewers (`tally`).
//!
//! **What it leaves out.** Rivals do not answer: their pacing, caps and budgets stay those of the logged
//! time. A draft has no hides and no policy category yet. Attention decides prices, not whether an ad is
//! seen: that is one share, measured by whoever asks.

mod bound;
mod error;
mod hours;
mod ladder;
mod log;
mod offers;
mod paced;
mod replay;
mod tally;

pub use bound::over_delivery_ppm;
pub use error::{Outcome, model_error};
pub use ladder::{Entrant, RUNGS_MAX, Rung, Shape, ladder};
pub use log::{
    DIVISOR_MAX, FACES_MAX, LOG_DAYS, Log, Noticed, PEOPLE_MAX, Rival, SHAPES_MAX, Sample,
    VISITS_MAX, fold_group, is_sampled, sample_hash,
};
pub use tally::{FREQUENCIES, Forecast, REPLICATES, Span};

use crate::decide::auction::Aim;
use crate::decide::forecast::hours::Hours;
use crate::decide::forecast::offers::{FIRST, OPENED, Offers, SEEN, TAPPED, amount_of, key_of};
use crate::decide::forecast::paced::{Paced, Pacing};
use crate::decide::forecast::replay::{Replay, Threshold};
use crate::decide::forecast::tally::{End, Scale, Tally};
use crate::decide::onlooker::Cap;
use crate::decide::rates::{Factors, Rates};
use crate::decide::target::Target;
use crate::state::totals::PLACEMENTS;
use crate::types::proto::v1::{BidStrategy, OptimizationGoal};
use crate::types::time::Moment;
use crate::types::week::Week;

/// Impressions a day of the sample below which a budget is spent at one threshold all day: in most hours
/// there is none, or few, and what a pacer does then is chance.
const PACED_LEAST: f64 = 240.0;

/// Parts of one in [`Plan::luck`].
const LUCK_ONE: f64 = 65_536.0;

/// What is known of a draft's action rates.
#[derive(Clone, Copy, Debug)]
pub struct Odds {
    /// The rates that its bids are valued with.
    pub rates: Rates,
    /// Taps that the tap rate stands on, the prior's counted in.
    pub taps: f64,
    /// Conversations that the rate of conversations stands on, the prior's counted in.
    pub chats: f64,
}

impl Odds {
    /// Returns taps per impression and conversations per tap.
    fn shares(&self) -> [f64; 2] {
        [self.rates.tap, self.rates.chat].map(|rate| f64::from(rate) / f64::from(u16::MAX))
    }
}

/// A draft, checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom it is for.
    pub targets: Vec<Target>,
    /// What separates it from others, and which ads of the log are its own.
    pub entrant: Entrant,
    /// Whether that is a category, which viewers see less often than every request.
    pub has_category: bool,
    /// How often one viewer may see it.
    pub caps: Vec<Cap>,
    /// Hours of the account's week, a bit each; `None`: always.
    pub hours: Option<Week>,
    /// Minutes that the account's clock is ahead of UTC.
    pub utc_offset_minutes: i16,
    /// What is paid for and what is bid for.
    pub aim: Aim,
    /// What one micro of the account's currency is in the settlement currency, above 0: logged trays are
    /// compared in that.
    pub settled: f64,
    /// How bids are made.
    pub strategy: BidStrategy,
    /// Its rates.
    pub odds: Odds,
    /// What rates in each placement are of those in the best one.
    pub factors: [Factors; PLACEMENTS],
    /// Which share of ads that are handed out is seen, 0 to 1.
    pub seen: f64,
    /// How far forecasts were off lately, beside what the sample explains ([`model_error`]): the middle of the
    /// errors, a share.
    pub off: f64,
}

impl Plan {
    /// Returns what 1,000 impressions in the best placement are worth at a bid, micros of the settlement
    /// currency; `None` bids whatever it takes.
    pub fn value(&self, bid: Option<i64>) -> f32 {
        let value = |bid| self.aim.value(bid, self.odds.rates) as f64 * self.settled;
        bid.map_or(f32::MAX, |bid| value(bid) as f32)
    }

    fn is_for_reach(&self) -> bool {
        self.aim.goal == OptimizationGoal::Reach
    }

    /// Tells whether it runs at a second.
    fn runs(&self, at_s: u32) -> bool {
        self.hours.is_none_or(|hours| {
            let hour = Moment::from_seconds(at_s).hour_of_week(self.utc_offset_minutes);
            hours.has(hour)
        })
    }

    /// Returns what would come of one showing where taps are such a part of those in the best placement, by a
    /// roll of the dice.
    fn luck(&self, roll: u64, taps: f32) -> u32 {
        let part = |shift: u32| ((roll >> shift) & 0xFFFF) as f64 / LUCK_ONE;
        let [tap, chat] = self.odds.shares();
        let seen = part(16) < self.seen;
        let tapped = seen && part(32) < tap * f64::from(taps);
        let opened = tapped && part(48) < chat;
        let bit = |is: bool, bit: u32| if is { bit } else { 0 };
        bit(seen, SEEN) | bit(tapped, TAPPED) | bit(opened, OPENED)
    }
}

/// What limits a draft, and whether its budget does.
#[derive(Clone)]
struct Ended {
    threshold: Threshold,
    /// The highest threshold of the day.
    highest: u64,
    end: Option<End>,
}

/// A draft in the requests that it is meant for.
pub struct Forecaster<'a> {
    plan: &'a Plan,
    offers: Offers,
    scale: Scale,
}

impl<'a> Forecaster<'a> {
    /// Asks every logged request. Takes some ten milliseconds for a full log.
    pub fn new(plan: &'a Plan, sample: &Sample) -> Self {
        let scale =
            Scale { divisor: sample.divisor.into(), days: sample.days().max(f64::MIN_POSITIVE) };
        Self { plan, offers: Offers::of(plan, sample), scale }
    }

    /// Returns how many logged viewers and requests the draft is meant for.
    pub fn offers(&self) -> (usize, usize) {
        let firsts = self.offers.steps.iter().filter(|step| step.mark & FIRST != 0);
        (self.offers.runs.len(), firsts.count())
    }

    /// Returns one forecast for each pair of bid and daily budget, by bid, then by budget. `None`: a bid as
    /// high as the budget allows, and no budget.
    ///
    /// What spends a budget below one bid does so below all that are higher.
    pub fn curve(&self, bids: &[Option<i64>], budgets: &[Option<i64>]) -> Vec<Forecast> {
        let (caps, is_for_reach) = (&self.plan.caps[..], self.plan.is_for_reach());
        let mut replay = Replay::new(&self.offers, caps, is_for_reach);
        let is_limited = budgets.iter().any(Option::is_some);
        let hours = if is_limited { Hours::of(&self.offers) } else { Hours::default() };
        let mut pacing = Pacing::new(&self.offers, &hours, caps, is_for_reach);
        let mut free: Vec<Option<Ended>> = budgets.iter().map(|_| None).collect();
        let mut known: Vec<(Threshold, Tally)> = Vec::new();
        let mut forecasts = Vec::new();
        for bid in bids {
            let of_bid = self.of_bid(&mut replay, *bid);
            for (budget, free) in budgets.iter().zip(&mut free) {
                let ended = match budget {
                    None => Ended { threshold: Threshold::One(of_bid), highest: of_bid, end: None },
                    Some(budget) => {
                        let mut below =
                            |ceiling| self.of_budget((&mut replay, &mut pacing), *budget, ceiling);
                        let free = free.get_or_insert_with(|| below(u64::MAX));
                        if free.highest < of_bid { free.clone() } else { below(of_bid) }
                    }
                };
                let Ended { threshold, end, .. } = ended;
                let at = known.iter().position(|(at, _)| *at == threshold).unwrap_or_else(|| {
                    let tally = Tally::of(&mut replay, &threshold);
                    known.push((threshold, tally));
                    known.len() - 1
                });
                forecasts.push(known[at].1.forecast(self.plan, self.scale, end));
            }
        }
        forecasts
    }

    /// Returns what spends a daily budget, none of it above a ceiling.
    fn of_budget(
        &self,
        (replay, pacing): (&mut Replay<'_>, &mut Pacing<'_>),
        budget: i64,
        ceiling: u64,
    ) -> Ended {
        let Scale { divisor, days } = self.scale;
        let settled = budget as f64 * self.plan.settled;
        let sampled = (settled * days / divisor).max(1.0);
        let dear = |amount: f64| amount / 1_000.0 / self.plan.settled;
        let end = |dearest| Some(End { budget: budget as f64, dearest });
        let Paced { thresholds, highest, ended, dearest, impressions, .. } =
            pacing.of(ceiling, sampled / days.max(1.0));
        if f64::from(impressions) >= PACED_LEAST * days {
            let end = end(dear(dearest)).filter(|_| ended);
            return Ended { threshold: Threshold::ByHour(thresholds), highest, end };
        }
        let one = replay.threshold(ceiling, |sum| (sampled - sum.spend) / sampled);
        let end = end(dear(amount_of(one))).filter(|_| one < ceiling);
        Ended { threshold: Threshold::One(one), highest: one, end }
    }

    fn of_bid(&self, replay: &mut Replay<'_>, bid: Option<i64>) -> u64 {
        let value = self.plan.value(bid);
        if self.plan.strategy != BidStrategy::CostCap || bid.is_none() {
            return key_of(value);
        }
        // The average of what is paid, not each: bids may lie above it.
        let a_view = f64::from(value) / 1_000.0;
        replay.threshold(u64::MAX, |sum| {
            let allowed = a_view * sum.worth;
            if sum.impressions < 1.0 { 1.0 } else { (allowed - sum.spend) / allowed.max(1.0) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::{BillingEvent, CapEvent, Targeting};
    use crate::types::request::{Policy, Profile};
    use crate::types::time::{DAY_MS, HOUR_MS, MINUTE_MS};

    const NOW: Moment = Moment(1_795_392_000_000);

    /// A plan for everybody, all of whose showings are seen.
    fn plan(event: BillingEvent) -> Plan {
        Plan {
            targets: vec![Target::of_one(&Targeting::default())],
            entrant: Entrant::default(),
            has_category: false,
            caps: Vec::new(),
            hours: None,
            utc_offset_minutes: 0,
            aim: Aim::billed(event),
            settled: 1.0,
            strategy: BidStrategy::LowestCostWithBidCap,
            odds: Odds { rates: Rates::NEW, taps: 4.0, chats: 8.0 },
            factors: [Factors::ONE; PLACEMENTS],
            seen: 1.0,
            off: 0.0,
        }
    }

    /// Logs a request of each viewer at each of these moments of one day, with one rival worth so much.
    fn sample(viewers: u64, at: &[i64], total: impl Fn(u64) -> f32) -> Sample {
        let trays: Vec<_> = at.iter().map(|at| (*at, Policy::USUAL, 9)).collect();
        sample_of(viewers, &trays, |viewer, _| total(viewer))
    }

    /// The same of trays with policies of their own, whose rival is of such a group.
    fn sample_of(
        viewers: u64,
        trays: &[(i64, Policy, u64)],
        total: impl Fn(u64, u64) -> f32,
    ) -> Sample {
        let mut log = Log::default();
        for (at, policy, group) in std::iter::once(&(0, Policy::USUAL, 9)).chain(trays) {
            for viewer in 1..=viewers {
                let (total, group) = (total(viewer, *group), fold_group(*group));
                let rival = Rival { total, pay: 0.0, group, ad_set: 3 };
                let noticed = Noticed {
                    viewer: if *at == 0 { viewer + (1 << 40) } else { viewer },
                    profile: Profile::default(),
                    placement: if *at == 0 { 7 } else { 1 },
                    at: NOW.plus_ms(*at),
                    shape: Shape::of(policy, [2].into_iter()).unwrap(),
                    rivals: vec![rival],
                };
                log.take(noticed);
            }
        }
        log.sample(NOW.plus_ms(DAY_MS))
    }

    /// Asks for what was not logged as the beginning of the day.
    fn here(plan: Plan) -> Plan {
        let placements = vec![1];
        let targeting = Targeting { placements, ..Targeting::default() };
        Plan { targets: vec![Target::of_one(&targeting)], ..plan }
    }

    fn one(plan: &Plan, sample: &Sample, bid: i64, budget: Option<i64>) -> Forecast {
        Forecaster::new(plan, sample).curve(&[Some(bid)], &[budget]).remove(0)
    }

    const THREE: [i64; 4] = [HOUR_MS, HOUR_MS + MINUTE_MS, 2 * HOUR_MS, 9 * HOUR_MS];

    #[test]
    fn caps_and_the_advertisers_distance_are_kept_viewer_by_viewer() {
        let sample = sample(100, &THREE, |_| 5_000_000.0);
        let mut plan = here(plan(BillingEvent::Impressions));
        let told = one(&plan, &sample, 6_000_000, None);
        // A minute after the first nobody is shown it again.
        assert_eq!((told.impressions.expected, told.reach.expected), (300, 100));
        assert_eq!((told.frequency[1], told.frequency[2]), (0, 100));
        assert_eq!(told.spend.expected, 300 * 5_000);
        let event = CapEvent::Impressions as u8;
        plan.caps = vec![Cap { event, max: 1, interval_hours: 5 }];
        assert_eq!(one(&plan, &sample, 6_000_000, None).impressions.expected, 200);
        plan.caps = vec![Cap { event, max: 1, interval_hours: 24 }];
        assert_eq!(one(&plan, &sample, 6_000_000, None).impressions.expected, 100);
        assert_eq!(one(&plan, &sample, 4_000_000, None).impressions.expected, 0);
    }

    #[test]
    fn a_budget_buys_the_cheapest_first() {
        let sample = sample(1_000, &[HOUR_MS], |viewer| viewer as f32 * 10_000.0);
        let plan = here(plan(BillingEvent::Impressions));
        // The first 500 cost 10, 20, ... 5,000 micros: 1,252,500 in all.
        let told = one(&plan, &sample, 50_000_000, Some(1_252_500));
        assert!(told.impressions.expected.abs_diff(500) <= 2, "{told:?}");
        assert_eq!(told.spend.expected, 1_252_500);
        let all = one(&plan, &sample, 50_000_000, Some(900_000_000));
        assert_eq!((all.impressions.expected, all.spend.expected), (1_000, 5_005_000));
        let bid = one(&plan, &sample, 2_000_500, Some(900_000_000));
        assert_eq!(bid.impressions.expected, 200);
    }

    #[test]
    fn where_all_prices_are_alike_a_budget_buys_a_part_of_them() {
        let sample = sample(1_000, &[HOUR_MS], |_| 5_000_000.0);
        let plan = here(plan(BillingEvent::Impressions));
        let told = one(&plan, &sample, 9_000_000, Some(5_000 * 250));
        assert!(told.impressions.expected.abs_diff(250) <= 3, "{told:?}");
        let tie = one(&plan, &sample, 5_000_000, None).impressions.expected;
        assert!((440..560).contains(&tie), "at just the bar a lot decides: {tie}");
    }

    #[test]
    fn an_average_cost_is_kept_though_single_bids_are_above_it() {
        let sample = sample(1_000, &[HOUR_MS], |viewer| viewer as f32 * 10_000.0);
        let plan = Plan { strategy: BidStrategy::CostCap, ..here(plan(BillingEvent::Impressions)) };
        // 400 of them cost 2,005,000 for 1,000 on the average, and the last 4,000,000.
        let told = one(&plan, &sample, 2_005_000, None);
        assert!(told.impressions.expected.abs_diff(400) <= 2, "{told:?}");
    }

    #[test]
    fn reach_is_worth_half_as_much_with_each_showing() {
        let sample = sample(100, &THREE, |_| 5_000_000.0);
        let mut plan = here(plan(BillingEvent::Impressions));
        plan.aim.goal = OptimizationGoal::Reach;
        for (bid, times) in [(9_000_000, 1), (19_000_000, 2), (39_000_000, 3)] {
            let told = one(&plan, &sample, bid, None);
            assert_eq!(told.impressions.expected, times * 100, "{bid}");
        }
    }

    #[test]
    fn a_weak_placement_asks_for_more_and_is_tapped_less() {
        let sample = sample(1_000, &[HOUR_MS], |viewer| viewer as f32 * 10_000.0);
        let mut plan = here(plan(BillingEvent::Impressions));
        plan.factors[1] = Factors { tap: 16_384, ..Factors::ONE };
        let of = |plan: &Plan, bid| one(plan, &sample, bid, None);
        let seen = of(&plan, 4_000_500);
        assert_eq!(seen.impressions.expected, 400, "an impression is one anywhere");
        let [tap, chat] = plan.odds.shares();
        assert_eq!(seen.taps.expected, (400.0 * tap / 4.0).round() as u64);
        plan.aim = Aim::billed(BillingEvent::LinkClicks);
        // What a tap is worth in the best placement is a quarter of it here.
        let bid = (4_000_500.0 / 1_000.0 / tap).round() as i64;
        let quarter = of(&plan, bid).impressions.expected;
        assert!(quarter.abs_diff(100) <= 1, "{quarter}");
        plan.aim = Aim::billed(BillingEvent::Conversations);
        let quarter = of(&plan, (bid as f64 / chat) as i64).impressions.expected;
        assert!(quarter.abs_diff(100) <= 1, "{quarter}");
        plan.strategy = BidStrategy::CostCap;
        plan.aim = Aim::billed(BillingEvent::LinkClicks);
        // The average of the first 200 is as high as the last of 100.
        let average = of(&plan, bid).impressions.expected;
        assert!(average.abs_diff(200) <= 3, "{average}");
    }

    #[test]
    fn a_category_stands_once_in_a_tray_and_hours_close_it() {
        let sample = sample(100, &THREE, |_| 5_000_000.0);
        let mut plan = here(plan(BillingEvent::Impressions));
        // Its own ad set stood there for nothing.
        plan.entrant = Entrant { group: fold_group(9), own: 3 };
        assert_eq!(one(&plan, &sample, 1_000, None).impressions.expected, 300);
        plan.entrant.own = 0;
        assert_eq!(one(&plan, &sample, 1_000, None).impressions.expected, 0);
        // A Monday: hours 1 and 2 of the week in UTC.
        plan.hours = Week::of(&[1, 2]);
        assert_eq!(one(&plan, &sample, 6_000_000, None).impressions.expected, 200);
        plan.utc_offset_minutes = -60;
        assert_eq!(one(&plan, &sample, 6_000_000, None).impressions.expected, 100);
    }

    #[test]
    fn how_near_to_the_last_an_ad_may_stand_is_said_by_the_tray_that_is_filled() {
        let apart = |minutes| Policy {
            advertiser_distance_ms: minutes * MINUTE_MS,
            category_distance_ms: minutes * MINUTE_MS,
            ..Policy::USUAL
        };
        let mut plan = here(plan(BillingEvent::Impressions));
        let told = |plan: &Plan, policies: [Policy; 2]| {
            let [one_policy, other] = policies;
            let trays = [(HOUR_MS, one_policy, 9), (HOUR_MS + 7 * MINUTE_MS, other, 8)];
            let total = |_, group| if group == 9 { 6_000_000.0 } else { 1_000_000.0 };
            let sample = sample_of(100, &trays, total);
            [5_000_000, 7_000_000].map(|bid| one(plan, &sample, bid, None).impressions.expected)
        };
        // The lower bid takes the second tray alone, the higher one both.
        assert_eq!(told(&plan, [apart(0), apart(10)]), [100, 100]);
        assert_eq!(told(&plan, [apart(10), apart(0)]), [100, 200]);
        // Of the same category as the ad in the first tray, which stays or gives way.
        (plan.has_category, plan.entrant.group) = (true, fold_group(9));
        assert_eq!(told(&plan, [apart(0), apart(10)]), [0, 100]);
        assert_eq!(told(&plan, [apart(10), apart(0)]), [100, 200]);
    }

    #[test]
    fn conversations_follow_the_rates_and_ranges_widen_with_what_is_not_known() {
        let sample = sample(20_000, &[HOUR_MS], |_| 5_000_000.0);
        let mut plan = here(plan(BillingEvent::Conversations));
        let told = one(&plan, &sample, 9_000_000, None);
        assert_eq!(told.impressions.expected, 20_000);
        let [tap, chat] = plan.odds.shares();
        assert_eq!(told.taps.expected, (20_000.0 * tap).round() as u64);
        assert_eq!(told.conversations.expected, (20_000.0 * tap * chat).round() as u64);
        assert!(told.spend.low < told.spend.expected && told.spend.expected < told.spend.high);
        plan.odds = Odds { taps: 4e6, chats: 4e6, ..plan.odds };
        let sure = one(&plan, &sample, 9_000_000, None);
        let width = |told: &Forecast| told.taps.high - told.taps.low;
        assert!(width(&sure) * 2 < width(&told), "{sure:?} {told:?}");
        assert!(width(&sure) > 10, "taps are still chance: {sure:?}");
    }
}
