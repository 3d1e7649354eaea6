//! The log that forecasts are replayed on, and how far forecasts of running ad sets were off lately.
//!
//! Serving pays a hash and a compare for a viewer who is not in the log. Every hour the ad sets that were
//! shown most are forecast as if they were drafts, with their own ads taken out of the trays where they
//! stood (ghost impressions), and compared with what was delivered.

use std::cmp::Reverse;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

use crate::decide::forecast::{
    DIVISOR_MAX, Forecaster, Log, Noticed, Outcome, Plan, Sample, Span, is_sampled, model_error,
};
use crate::node::clock::Clock;
use crate::node::front::Front;
use crate::node::live::{Live, locked};
use crate::state::catalog::Catalog;
use crate::state::{CHUNKS_MAX, Map};
use crate::types::ids::IdKind;
use crate::types::proto::v1::{AdSet, Budget};
use crate::types::time::{HOUR_MS, MINUTE_MS, Moment, SECOND_MS};

/// Bids or daily budgets that one question may try.
pub const FORECASTS_MAX: usize = 8;

/// Requests of one minute that are taken into the log before the share of viewers is halved: several times
/// what a day of a full log has on the average.
pub const VISITS_PER_MINUTE: u32 = 4_096;

/// Ad sets that are compared each hour, those that were shown most.
pub const COMPARED_MAX: usize = 100;

/// The least impressions of an ad set that is compared: fewer are chance.
pub const COMPARED_LEAST: u64 = 100;

/// How far forecasts are taken to be off until [`OFF_LEAST`] ad sets were compared: as in the generated
/// market of `tests/sim/forecast.rs`.
const OFF_USUAL: f64 = 0.02;

/// See [`OFF_USUAL`].
const OFF_LEAST: u32 = 5;

/// Hours that are compared, at most.
const COMPARED_HOURS: i64 = 24;

/// How long the impressions of an hour are waited for.
const LATE_MS: i64 = 5 * MINUTE_MS;

/// How often the thread that compares looks at the clock.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A share of one, in millionths.
pub(in crate::node) const MILLION: f64 = 1e6;

/// A draft that somebody asks about, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The draft.
    pub ad_set: AdSet,
    /// What is wanted of it beside its audience.
    pub wanted: Option<Wanted>,
}

/// What a forecast is wanted for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Whose draft it is.
    pub account: u64,
    /// The category of its business; empty: none.
    pub category: String,
    /// Bids, micros; `None`: whatever the budget allows. At least one.
    pub bids: Vec<Option<i64>>,
    /// Daily budgets, micros; `None`: no limit. At least one.
    pub budgets: Vec<Option<i64>>,
    /// Every currency that was told, with the path of its field: all must be the account's.
    pub currencies: Vec<(String, String)>,
}

/// Which viewers serving sends: one of `divisor`, by hash.
struct Share {
    divisor: AtomicU32,
    minute: AtomicU32,
    taken: AtomicU32,
}

/// What was compared last.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::node) struct Compared {
    /// The middle error, millionths.
    pub(in crate::node) error_ppm: u32,
    /// What of it the sample doesn't explain, millionths.
    off_ppm: u32,
    /// Over so many ad sets.
    pub(in crate::node) count: u32,
    /// The hour in which it was compared; 0: never.
    hour: u32,
    /// Which share of ads that were handed out was seen, in millionths.
    seen_ppm: u32,
}

/// The log and the comparison.
pub(in crate::node) struct Forecasts {
    share: Share,
    log: Mutex<Log>,
    compared: Mutex<Compared>,
}

impl Default for Forecasts {
    fn default() -> Self {
        let [divisor, minute, taken] = [1, 0, 0].map(AtomicU32::new);
        let share = Share { divisor, minute, taken };
        Self { share, log: Mutex::default(), compared: Mutex::default() }
    }
}

impl Forecasts {
    /// Tells whether a request of this viewer goes into the log.
    pub(in crate::node) fn wants(&self, viewer: u64, now: Moment) -> bool {
        let Share { divisor, minute, taken } = &self.share;
        let of = divisor.load(Relaxed);
        if !is_sampled(viewer, of) {
            return false;
        }
        if minute.swap(now.minute(), Relaxed) != now.minute() {
            taken.store(0, Relaxed);
        } else if taken.fetch_add(1, Relaxed) + 1 == VISITS_PER_MINUTE {
            taken.store(0, Relaxed);
            divisor.store((of * 2).min(DIVISOR_MAX), Relaxed);
        }
        true
    }

    pub(in crate::node) fn take(&self, noticed: Noticed) {
        let mut log = locked(&self.log);
        let wanted = self.share.divisor.load(Relaxed);
        if wanted > log.divisor() {
            log.narrow(wanted);
        }
        self.share.divisor.store(log.take(noticed), Relaxed);
    }

    pub(in crate::node) fn sample(&self, now: Moment) -> Sample {
        locked(&self.log).sample(now)
    }

    pub(in crate::node) fn compared(&self) -> Compared {
        *locked(&self.compared)
    }

    /// Returns how far forecasts were off lately beside their samples, a share: what was measured, once it was
    /// of enough ad sets.
    pub(in crate::node) fn off(&self) -> f64 {
        let Compared { off_ppm, count, .. } = self.compared();
        if count < OFF_LEAST { OFF_USUAL } else { f64::from(off_ppm) / MILLION }
    }

    /// Returns which share of ads that are handed out is seen; 1 until something is known.
    pub(in crate::node) fn seen(&self) -> f64 {
        match self.compared().seen_ppm {
            0 => 1.0,
            ppm => f64::from(ppm) / MILLION,
        }
    }
}

/// What all ads delivered in a day.
#[derive(Clone, Copy, Debug, Default)]
struct Delivered {
    served: u64,
    impressions: u64,
}

impl Front {
    /// Forecasts the ad sets that were shown most in the last hours, and notes how far that was off. Takes
    /// some hundred milliseconds for each, so it rests as long between them where it may: see the thread.
    pub fn compare_forecasts(&self, now: Moment) {
        self.0.compare(now, || {});
    }
}

impl Live {
    fn compare(&self, now: Moment, mut rest: impl FnMut()) {
        let until = Moment((now.0 - LATE_MS).div_euclid(HOUR_MS) * HOUR_MS);
        let sample = self.watch.forecasts.sample(until);
        // Whole hours: deliveries are counted by hour.
        let first = (sample.from.0 + HOUR_MS - 1).div_euclid(HOUR_MS) * HOUR_MS;
        let from = Moment(first.max(until.0 - COMPARED_HOURS * HOUR_MS).min(until.0));
        let day = Moment(until.0 - COMPARED_HOURS * HOUR_MS);
        let (delivered, all) = self.delivered(day, from, until);
        let seen = all.impressions as f64 / all.served.max(1) as f64;
        let seen_ppm = if all.served == 0 { 0 } else { (seen.min(1.0) * MILLION) as u32 };
        // What follows asks for it.
        locked(&self.watch.forecasts.compared).seen_ppm = seen_ppm;
        let mut outcomes = Vec::new();
        if from < until {
            let sample = sample.between(from, until);
            for (ad_set, impressions) in delivered {
                let Some(told) = self.told_of(ad_set, &sample) else { continue };
                let truth = impressions as f64 / sample.days();
                outcomes.push(Outcome::of(told, truth));
                rest();
                if outcomes.len() == COMPARED_MAX {
                    break;
                }
            }
        }
        outcomes.sort_by(|one, other| one.error.total_cmp(&other.error));
        let middle = outcomes.get(outcomes.len() / 2).map_or(0.0, |outcome| outcome.error);
        let ppm = |share: f64| (share * MILLION).min(f64::from(u32::MAX)) as u32;
        let (error_ppm, off_ppm) = (ppm(middle), ppm(model_error(&outcomes)));
        let count = outcomes.len() as u32;
        metrics::gauge!("munadi_forecast_error_ppm").set(f64::from(error_ppm));
        metrics::gauge!("munadi_forecasts_compared").set(f64::from(count));
        *locked(&self.watch.forecasts.compared) =
            Compared { error_ppm, off_ppm, count, hour: now.hour(), seen_ppm };
    }

    /// Returns the ad sets that delivered enough from some hour on, most first, and the sum of all of the day.
    fn delivered(&self, day: Moment, from: Moment, until: Moment) -> (Vec<(u64, u64)>, Delivered) {
        let mut of_ads = Vec::new();
        let mut all = Delivered::default();
        for chunk in 0..CHUNKS_MAX {
            for (ad, tally) in &self.tallies_at(chunk).ads {
                let mut impressions = 0;
                for ((at, ..), hour) in tally.between(day.hour(), until.hour()) {
                    all.served += hour.served;
                    all.impressions += hour.impressions;
                    impressions += if *at < from.hour() { 0 } else { hour.impressions };
                }
                if impressions > 0 {
                    of_ads.push((*ad, impressions));
                }
            }
        }
        let (catalog, mut of_sets) = (self.catalog(), Map::<u64, u64>::default());
        for (ad, impressions) in of_ads {
            if let Some(family) = catalog.family(ad) {
                *of_sets.entry(family.ad_set).or_default() += impressions;
            }
        }
        let mut ordered: Vec<(u64, u64)> =
            of_sets.into_iter().filter(|(_, count)| *count >= COMPARED_LEAST).collect();
        ordered.sort_unstable_by_key(|(ad_set, count)| (Reverse(*count), *ad_set));
        (ordered, all)
    }

    /// Returns the impressions a day that a running ad set is forecast; `None`: it was changed meanwhile, or
    /// shares its money with others.
    fn told_of(&self, ad_set: u64, sample: &Sample) -> Option<Span> {
        let (row, budget) = {
            let catalog = self.catalog();
            let row = catalog.ad_sets.get(ad_set)?;
            let changed = row.update_time.or(row.create_time).unwrap_or_default().seconds;
            let is_old = changed.saturating_mul(SECOND_MS) <= sample.from.0;
            let budget = own_budget(&catalog, &row)?;
            (row, Some(budget).filter(|_| is_old)?)
        };
        // Only what the sample itself leaves open.
        let plan = Plan { off: 0.0, ..self.plan_of_running(&row, sample.until)? };
        let bid = row.bid.as_ref().map(|bid| bid.micros);
        let forecast = Forecaster::new(&plan, sample).curve(&[bid], &[budget]).pop()?;
        Some(forecast.impressions)
    }
}

/// Returns the daily budget that an ad set alone draws on: `Some(None)` where nothing limits it, `None`
/// where it shares one or has one for its lifetime.
fn own_budget(catalog: &Catalog, row: &AdSet) -> Option<Option<i64>> {
    let daily = |budget: Option<&Budget>| -> Option<Option<i64>> {
        match budget {
            None => Some(None),
            Some(Budget { lifetime: Some(_), .. }) => None,
            Some(budget) => Some(budget.daily.as_ref().map(|daily| daily.micros)),
        }
    };
    let own = daily(row.budget.as_ref())?;
    if !catalog.is_limited(IdKind::Campaign, row.campaign_id) {
        return Some(own);
    }
    let is_alone = catalog.ad_sets_of_campaign(row.campaign_id).nth(1).is_none();
    let campaign = catalog.campaigns.get(row.campaign_id).filter(|_| is_alone)?;
    let above = daily(campaign.budget.as_ref())?;
    Some([own, above].into_iter().flatten().min())
}

/// Compares forecasts every hour from now on, on a thread that ends with the engine.
///
/// # Errors
/// When no thread can be started.
pub(in crate::node) fn compare_behind(live: &Arc<Live>, clock: Arc<dyn Clock>) -> io::Result<()> {
    let weak = Arc::downgrade(live);
    let run = move || {
        loop {
            std::thread::sleep(LOOK_EVERY);
            let Some(live) = weak.upgrade() else { return };
            let now = clock.now();
            // The hours before this one, once they have come in.
            let due = Moment(now.0 - LATE_MS).hour();
            if due != live.watch.forecasts.compared().hour {
                let began = clock.monotonic();
                live.compare(now, || {
                    let took = clock.monotonic().saturating_sub(began);
                    std::thread::sleep(took.min(Duration::from_secs(1)));
                });
                locked(&live.watch.forecasts.compared).hour = due;
            }
        }
    };
    Builder::new().name("forecaster".into()).spawn(run)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::Money;

    #[test]
    fn a_busy_minute_halves_the_share_of_viewers() {
        let forecasts = Forecasts::default();
        let now = Moment(1_795_392_000_000);
        let wanted = |viewers: std::ops::Range<u64>, now| {
            viewers.filter(|viewer| forecasts.wants(*viewer, now)).count()
        };
        assert_eq!(wanted(0..4_000, now), 4_000);
        assert_eq!(wanted(0..4_000, now.plus_ms(MINUTE_MS)), 4_000, "another minute");
        wanted(0..200_000, now);
        let left = wanted(0..10_000, now.plus_ms(MINUTE_MS));
        assert!((50..1_300).contains(&left), "{left}");
    }

    #[test]
    fn only_a_budget_of_its_own_is_forecast_with() {
        let money = |micros| Some(Money { micros, ..Money::default() });
        let budget = |daily, lifetime| Some(Budget { daily, lifetime });
        let of = |budget| own_budget(&Catalog::default(), &AdSet { budget, ..AdSet::default() });
        assert_eq!(of(None), Some(None));
        assert_eq!(of(budget(money(7), None)), Some(Some(7)));
        assert_eq!(of(budget(money(7), money(9))), None);
    }
}
