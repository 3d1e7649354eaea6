//! What a draft would deliver: its own auctions again, in the requests of sampled viewers.
//!
//! Each logged request says what one more ad would have had to be worth for a place, and what it would have
//! paid (`ladder`). A draft is asked where it is meant to be shown (`offers`), run through its frequency caps
//! and distances in the order of time (`replay`), with the one threshold that spends its budget, and counted
//! viewer by viewer, so that ranges come from a bootstrap over viewers (`tally`).
//!
//! **What it leaves out.** Rivals do not answer: their pacing, caps and budgets stay those of the logged
//! time. A draft has no hides and no policy category yet. Attention decides prices, not whether an ad is
//! seen: that is one share, measured by whoever asks.

mod bound;
mod ladder;
mod log;
mod offers;
mod replay;
mod tally;

pub use bound::over_delivery_ppm;
pub use ladder::{Entrant, RUNGS_MAX, Rung, Shape, ladder};
pub use log::{
    DIVISOR_MAX, FACES_MAX, LOG_DAYS, Log, Noticed, PEOPLE_MAX, Rival, SHAPES_MAX, Sample,
    VISITS_MAX, fold_group, is_sampled, sample_hash,
};
pub use tally::{FREQUENCIES, Forecast, REPLICATES, Span};

use crate::decide::auction::Aim;
use crate::decide::board::Rates;
use crate::decide::forecast::offers::{OPENED, Offers, SEEN, TAPPED, key_of};
use crate::decide::forecast::replay::Replay;
use crate::decide::forecast::tally::{Scale, Tally};
use crate::decide::onlooker::Cap;
use crate::decide::target::Target;
use crate::types::proto::v1::{BidStrategy, OptimizationGoal};
use crate::types::time::Moment;

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
    pub hours: Option<[u64; 3]>,
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
    /// Which share of ads that are handed out is seen, 0 to 1.
    pub seen: f64,
}

impl Plan {
    /// Returns what 1,000 impressions are worth at a bid, micros of the settlement currency; `None` bids
    /// whatever it takes.
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
            hours[usize::from(hour) / 64] >> (hour % 64) & 1 == 1
        })
    }

    /// Returns what would come of one showing, by a roll of the dice.
    fn luck(&self, roll: u64) -> u32 {
        let part = |shift: u32| ((roll >> shift) & 0xFFFF) as f64 / LUCK_ONE;
        let [tap, chat] = self.odds.shares();
        let seen = part(16) < self.seen;
        let tapped = seen && part(32) < tap;
        let opened = tapped && part(48) < chat;
        let bit = |is: bool, bit: u32| if is { bit } else { 0 };
        bit(seen, SEEN) | bit(tapped, TAPPED) | bit(opened, OPENED)
    }
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

    /// Returns how many logged viewers and rungs of requests the draft is meant for.
    pub fn offers(&self) -> (usize, usize) {
        (self.offers.runs.len(), self.offers.steps.len())
    }

    /// Returns one forecast for each pair of bid and daily budget, by bid, then by budget. `None`: a bid as
    /// high as the budget allows, and no budget.
    ///
    /// Every search runs once: at a budget the same threshold holds for all bids that are above it.
    pub fn curve(&self, bids: &[Option<i64>], budgets: &[Option<i64>]) -> Vec<Forecast> {
        let mut replay = Replay::new(&self.offers, &self.plan.caps, self.plan.is_for_reach());
        let of_budgets: Vec<u64> =
            budgets.iter().map(|budget| self.of_budget(&mut replay, *budget)).collect();
        let mut known: Vec<(u64, Tally)> = Vec::new();
        let mut forecasts = Vec::new();
        for bid in bids {
            let of_bid = self.of_bid(&mut replay, *bid);
            for (budget, of_budget) in budgets.iter().zip(&of_budgets) {
                let threshold = of_bid.min(*of_budget);
                if known.iter().all(|(at, _)| *at != threshold) {
                    known.push((threshold, Tally::of(&mut replay, threshold)));
                }
                let tally = known.iter().find(|(at, _)| *at == threshold);
                // What ended it is the budget only if the bid would have allowed for more.
                let ended = budget.filter(|_| *of_budget < of_bid).map(|budget| budget as f64);
                forecasts.extend(tally.map(|(_, it)| it.forecast(self.plan, self.scale, ended)));
            }
        }
        forecasts
    }

    fn of_budget(&self, replay: &mut Replay<'_>, budget: Option<i64>) -> u64 {
        let Some(budget) = budget else { return u64::MAX };
        let settled = budget as f64 * self.plan.settled;
        let sampled = (settled * self.scale.days / self.scale.divisor).max(1.0);
        replay.threshold(u64::MAX, |sum| (sampled - sum.spend) / sampled)
    }

    fn of_bid(&self, replay: &mut Replay<'_>, bid: Option<i64>) -> u64 {
        let value = self.plan.value(bid);
        if self.plan.strategy != BidStrategy::CostCap || bid.is_none() {
            return key_of(value);
        }
        // The average of what is paid, not each: bids may lie above it.
        let a_view = f64::from(value) / 1_000.0;
        replay.threshold(u64::MAX, |sum| {
            let allowed = a_view * sum.impressions as f64;
            if sum.impressions == 0 { 1.0 } else { (allowed - sum.spend) / allowed.max(1.0) }
        })
    }
}
