//! What a draft would deliver: `EstimateDelivery`. Promises nothing, and reads no viewer's own record.

use crate::decide::auction::{Aim, strategy_of};
use crate::decide::forecast::{Entrant, Forecast, Forecaster, Odds, Plan, Span, fold_group};
use crate::decide::mutate::listed::listed;
use crate::decide::onlooker::Cap;
use crate::decide::rates::{Foreseen, Predictor, Rates};
use crate::decide::target::Target;
use crate::node::forecaster::{MILLION, Question, Wanted};
use crate::node::front::{Front, own_account};
use crate::node::live::{Live, locked};
use crate::state::catalog::{Catalog, Family};
use crate::state::chunk_of;
use crate::types::day::offset_minutes;
use crate::types::hash::category_number;
use crate::types::ids::{IdKind, number_of};
use crate::types::iso::currency_index;
use crate::types::proto::v1::{
    AdSet, DeliveryForecast, EstimateDeliveryResponse, Money, Placement, Range,
};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Scope;
use crate::types::time::{DAY_MS, Moment};
use crate::types::week::Week;

/// Ads of a running ad set whose counts say what its rates stand on.
const RELATED_MAX: usize = 256;

/// Taps that the prior rate of taps stands on, and conversations that of conversations: as in the board's.
const PRIOR: [f64; 2] = [4.0, 8.0];

/// An amount that says an exchange rate exactly enough.
const SETTLED: i64 = 1_000_000_000_000;

/// A sample of less time says too little of a day.
const LEAST_DAYS: f64 = 1.0 / 24.0;

impl Front {
    /// Estimates how many people a draft's targeting reaches, and what it would deliver and cost. Takes some
    /// milliseconds for the audience, and some hundred for forecasts on a full log.
    ///
    /// # Errors
    /// When the draft names what is in no list of the operator's, the account is not the caller's, or an
    /// amount is in another currency than the account's.
    pub fn estimate_delivery(
        &self,
        scope: Scope,
        question: &Question,
        now: Moment,
    ) -> Result<EstimateDeliveryResponse, Refusal> {
        let live = &self.0;
        let Question { ad_set, wanted } = question;
        listed(&live.catalog().lists, ad_set)?;
        let checked = wanted.as_ref().map(|wanted| check(&live.catalog(), scope, wanted));
        let currency = checked.transpose()?.unwrap_or_default();
        let audience = live.watch.book().panel.estimate(Target::of(ad_set), now);
        match wanted {
            // Of few people single ones could be found out, and forecasts tell more than a number.
            Some(wanted) if !audience.below_minimum => {
                Ok(live.forecast(ad_set, wanted, &currency, audience, now))
            }
            _ => Ok(audience),
        }
    }
}

/// Checks whose draft it is; returns the account's currency.
fn check(catalog: &Catalog, scope: Scope, wanted: &Wanted) -> Result<String, Refusal> {
    own_account(catalog, scope, wanted.account)?;
    let currency = catalog.currency_of(wanted.account).unwrap_or_default();
    match wanted.currencies.iter().find(|(_, told)| told != currency) {
        Some((path, told)) => {
            let message = format!("is {told}, the account's is {currency}: send amounts in that");
            Err(Refusal::new(Reason::CurrencyInvalid, path.clone(), message))
        }
        None => Ok(currency.to_owned()),
    }
}

impl Live {
    fn forecast(
        &self,
        ad_set: &AdSet,
        wanted: &Wanted,
        currency: &str,
        audience: EstimateDeliveryResponse,
        now: Moment,
    ) -> EstimateDeliveryResponse {
        let plan = self.plan_of_draft(ad_set, wanted, now);
        let forecasts = &self.watch.forecasts;
        let (sample, compared) = (forecasts.sample(now), forecasts.compared());
        let known = if sample.days() < LEAST_DAYS {
            Vec::new()
        } else {
            Forecaster::new(&plan, &sample).curve(&wanted.bids, &wanted.budgets)
        };
        let money = |micros: i64| Money { micros, currency: currency.to_owned() };
        let each = wanted.bids.iter().flat_map(|bid| {
            wanted.budgets.iter().map(move |budget| (bid.map(money), budget.map(money)))
        });
        let told = each.zip(&known).map(|((bid, budget), known)| told(bid, budget, known));
        EstimateDeliveryResponse {
            forecasts: told.collect(),
            sampled_requests: sample.requests() as u64,
            sampled_ppm: (MILLION / f64::from(sample.divisor)).round() as u32,
            recent_error_ppm: compared.error_ppm,
            recent_compared: compared.count,
            ..audience
        }
    }

    fn plan_of_draft(&self, ad_set: &AdSet, wanted: &Wanted, now: Moment) -> Plan {
        let category = category_number(&wanted.category);
        let entrant = Entrant { group: fold_group(category), own: 0 };
        let odds = self.odds_of_draft(ad_set, wanted.account, category);
        self.plan(ad_set, (entrant, category != 0), wanted.account, odds, now)
    }

    /// Returns what serving would say of the first ad of a draft: it falls back as any new ad does.
    fn odds_of_draft(&self, ad_set: &AdSet, account: u64, told: u64) -> Odds {
        let (campaign, category) = {
            let catalog = self.catalog();
            let theirs = catalog.account_of(IdKind::Campaign, ad_set.campaign_id) == Some(account);
            let campaign = if theirs { ad_set.campaign_id } else { 0 };
            // An account's businesses are mostly of one category.
            let kin = || related(&catalog, account, campaign).map_or(0, |family| family.category);
            (campaign, if told == 0 { kin() } else { told })
        };
        let predictor = locked(&self.predictor);
        let unknown = || Predictor::default().foresee(campaign, category);
        let foreseen = predictor.as_ref().map_or_else(unknown, |it| it.foresee(campaign, category));
        let Foreseen { rates, taps, chats } = foreseen;
        Odds { rates, taps, chats }
    }

    /// Returns the plan of an ad set that runs, as if it were a draft: its own ads are taken out of the trays
    /// where they stood. `None`: it has no ads.
    pub(in crate::node) fn plan_of_running(&self, ad_set: &AdSet, now: Moment) -> Option<Plan> {
        let (ads, family) = {
            let catalog = self.catalog();
            let ads: Vec<u64> = catalog.ads_of_ad_set(ad_set.id).take(RELATED_MAX).collect();
            let family = catalog.family(*ads.first()?)?;
            (ads, family)
        };
        let has_category = family.category != 0;
        let group = if has_category { family.category } else { number_of(family.business) };
        let entrant = Entrant { group: fold_group(group), own: number_of(ad_set.id) as u32 };
        let odds = self.odds_of_running(&ads);
        Some(self.plan(ad_set, (entrant, has_category), family.account, odds, now))
    }

    fn odds_of_running(&self, ads: &[u64]) -> Odds {
        let rates = middle(ads.iter().map(|ad| self.board.ad(*ad).rates).collect());
        let [mut taps, mut chats] = PRIOR;
        for ad in ads {
            if let Some(tally) = self.tallies_at(chunk_of(*ad)).ads.get(ad) {
                let [_, more_taps, more_chats] = tally.totals.funnel();
                taps += more_taps as f64;
                chats += more_chats as f64;
            }
        }
        Odds { rates, taps, chats }
    }

    fn plan(
        &self,
        ad_set: &AdSet,
        (entrant, has_category): (Entrant, bool),
        account: u64,
        odds: Odds,
        now: Moment,
    ) -> Plan {
        let (offset, currency) = {
            let catalog = self.catalog();
            let zone = catalog.zone_of(account).unwrap_or_default();
            let currency = catalog.currency_of(account).and_then(currency_index);
            (offset_minutes(zone, now), currency.unwrap_or_default())
        };
        let settled = self.index.load().exchange().settle(currency, SETTLED) as f64;
        let factor = |placement: usize| {
            let placement = Placement::try_from(placement as i32).unwrap_or_default();
            self.board.factors(placement)
        };
        Plan {
            targets: Target::of(ad_set),
            entrant,
            has_category,
            caps: Cap::of(ad_set).collect(),
            hours: Week::of(&ad_set.schedule_hours),
            utc_offset_minutes: offset,
            aim: Aim::of(ad_set),
            // Without a rate its ads are worth nothing: next to it.
            settled: (settled / SETTLED as f64).max(f64::MIN_POSITIVE),
            strategy: strategy_of(ad_set),
            odds,
            factors: std::array::from_fn(factor),
            seen: self.watch.forecasts.seen(),
            off: self.watch.forecasts.off(),
        }
    }
}

/// Returns the middle of some ads' rates; without any those of an ad of which nothing is known.
fn middle(mut rates: Vec<Rates>) -> Rates {
    rates.sort_unstable_by_key(|rates| u32::from(rates.tap) * u32::from(rates.chat));
    rates.get(rates.len() / 2).copied().unwrap_or(Rates::NEW)
}

/// Returns the family of an ad whose business a draft is likely to be of: one of its campaign, else of its
/// account.
fn related(catalog: &Catalog, account: u64, campaign: u64) -> Option<Family> {
    let first = |campaign: u64| {
        let mut ad_sets = catalog.ad_sets_of_campaign(campaign);
        ad_sets.find_map(|ad_set| catalog.ads_of_ad_set(ad_set).next())
    };
    let mut campaigns = catalog.campaigns_of_account(account);
    let ad = first(campaign).or_else(|| campaigns.find_map(first))?;
    catalog.family(ad)
}

fn told(bid: Option<Money>, daily_budget: Option<Money>, known: &Forecast) -> DeliveryForecast {
    let range = |Span { low, expected, high }: Span| Some(Range { low, expected, high });
    DeliveryForecast {
        bid,
        daily_budget,
        spend_micros: range(known.spend),
        impressions: range(known.impressions),
        reach: range(known.reach),
        taps: range(known.taps),
        conversations: range(known.conversations),
        frequency: known.frequency.to_vec(),
        over_delivery_ppm: known.over_delivery_ppm,
    }
}

/// Returns the daily budget of a draft's own: its daily one, and no more than its lifetime budget spread
/// over its days, micros. Without an end all of a lifetime budget may go in one day.
pub fn daily_budget_of(ad_set: &AdSet, now: Moment) -> Option<i64> {
    let budget = ad_set.budget.as_ref()?;
    let ms = |time: &prost_types::Timestamp| time.seconds.saturating_mul(1_000);
    let start = ad_set.start_time.as_ref().map_or(now.0, ms).max(now.0);
    let days = ad_set.end_time.as_ref().map_or(1, |end| {
        let left = ms(end).saturating_sub(start).max(1);
        (left + DAY_MS - 1) / DAY_MS
    });
    let spread = budget.lifetime.as_ref().map(|lifetime| (lifetime.micros / days).max(1));
    let daily = budget.daily.as_ref().map(|daily| daily.micros);
    [daily, spread].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::Budget;

    #[test]
    fn a_lifetime_budget_is_spread_over_its_days() {
        let money = |micros| Some(Money { micros, ..Money::default() });
        let now = Moment(10 * DAY_MS);
        let end = |days: i64| prost_types::Timestamp { seconds: (10 + days) * 86_400, nanos: 0 };
        let of = |daily, lifetime, days: Option<i64>| {
            let budget = Some(Budget { daily, lifetime });
            let end_time = days.map(end);
            daily_budget_of(&AdSet { budget, end_time, ..AdSet::default() }, now)
        };
        assert_eq!(of(None, money(700), Some(7)), Some(100));
        assert_eq!(of(money(40), money(700), Some(7)), Some(40));
        assert_eq!(of(money(400), money(700), Some(7)), Some(100));
        assert_eq!(of(None, money(700), None), Some(700));
        assert_eq!(daily_budget_of(&AdSet::default(), now), None);
    }
}
