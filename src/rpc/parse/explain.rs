//! What is asked of silences and audiences.

use std::collections::BTreeMap;

use crate::decide::auction::Aim;
use crate::decide::target::CONJUNCTIONS_MAX;
use crate::node::{FORECASTS_MAX, Question, Wanted, daily_budget_of};
use crate::rpc::limits::CATEGORY_CHARS_MAX;
use crate::rpc::parse::ad_sets::{frequency_caps, schedule_hours};
use crate::rpc::parse::ads::ad_request;
use crate::rpc::parse::campaigns::budget;
use crate::rpc::parse::field::{
    Path, at_most, id, moment, optional_text, optional_variant, positive_money, required, variant,
};
use crate::rpc::parse::places::page_size;
use crate::rpc::parse::targeting::targeting;
use crate::tokens::Sealer;
use crate::types::money::CPM_STEP_MICROS;
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{AdRequest, Policy};
use crate::types::time::Moment;

/// Returns the ad that is asked about.
pub(in crate::rpc) fn explained_ad(wire: &v1::ExplainDeliveryRequest) -> Result<u64, Refusal> {
    id(wire.ad_id, Path::root("ad_id"))
}

/// A request to run for its reasons.
#[derive(Debug)]
pub(in crate::rpc) struct Inquiry {
    pub(in crate::rpc) request: AdRequest,
    pub(in crate::rpc) policy: Policy,
    pub(in crate::rpc) page_size: usize,
}

/// Returns the request to explain, with the policy of its feed.
pub(in crate::rpc) fn explained_request(
    wire: v1::ExplainRequestRequest,
    policies: &BTreeMap<u32, Policy>,
    sealer: &Sealer,
    now: Moment,
) -> Result<Inquiry, Refusal> {
    let message = "is not in the server's configuration: send the number of one of its feeds";
    let feed = Path::root("feed");
    let unknown = || feed.refuse(Reason::FieldInvalid, message);
    let policy = *policies.get(&wire.feed).ok_or_else(unknown)?;
    let page_size = page_size(wire.page_size)?;
    let request = ad_request(wire.ad_request, wire.feed, sealer, now)?;
    Ok(Inquiry { request, policy, page_size })
}

/// Returns a draft whose targeting is checked as at creation, and the forecasts that are wanted of it: all
/// that they depend on is checked too. Without an account or a billing event only the audience is told.
pub(in crate::rpc) fn question(
    wire: v1::EstimateDeliveryRequest,
    now: Moment,
) -> Result<Question, Refusal> {
    let v1::EstimateDeliveryRequest { ad_set, bids, daily_budgets, account_id, category } = wire;
    let mut ad_set = draft(ad_set)?;
    if account_id == 0 || ad_set.billing_event == 0 {
        return Ok(Question { ad_set, wanted: None });
    }
    optional_text(&category, CATEGORY_CHARS_MAX, Path::root("category"))?;
    let path = Path::root("ad_set");
    terms(&mut ad_set, path)?;
    let mut currencies = Vec::new();
    let bids = bids_to_try(&ad_set, &bids, path, &mut currencies)?;
    let budgets = budgets_to_try(&ad_set, &daily_budgets, &bids, now, &mut currencies)?;
    let wanted = Wanted { account: account_id, category, bids, budgets, currencies };
    Ok(Question { ad_set, wanted: Some(wanted) })
}

fn draft(wire: Option<v1::AdSet>) -> Result<v1::AdSet, Refusal> {
    let path = Path::root("ad_set");
    let row = required(wire, path)?;
    row.targeting.iter().try_for_each(|it| targeting(it, path.field("targeting")))?;
    let others = path.field("or_targeting");
    at_most(row.or_targeting.len(), CONJUNCTIONS_MAX - 1, others)?;
    if row.targeting.is_none() && !row.or_targeting.is_empty() {
        let message = "is empty, which means anyone, whatever or_targeting says: send the first";
        return Err(path.field("targeting").refuse(Reason::FieldMissing, message));
    }
    let mut each = row.or_targeting.iter().enumerate();
    each.try_for_each(|(index, it)| targeting(it, others.at(index)))?;
    Ok(row)
}

/// Checks what a forecast reads of a draft beside whom it is for, and its amounts.
fn terms(row: &mut v1::AdSet, path: Path) -> Result<(), Refusal> {
    variant::<v1::BillingEvent>(row.billing_event, path.field("billing_event"))?;
    let goal = path.field("optimization_goal");
    let told: v1::OptimizationGoal = optional_variant(row.optimization_goal, goal)?;
    let strategy: v1::BidStrategy = optional_variant(row.bid_strategy, path.field("bid_strategy"))?;
    if strategy == v1::BidStrategy::CostCap && told == v1::OptimizationGoal::Unspecified {
        let message = "is empty: say of which event the average cost is capped";
        return Err(goal.refuse(Reason::FieldMissing, message));
    }
    frequency_caps(&mut row.frequency_caps, path.field("frequency_caps"))?;
    schedule_hours(&row.schedule_hours, path.field("schedule_hours"))?;
    let start = moment(row.start_time, path.field("start_time"))?;
    let end = moment(row.end_time, path.field("end_time"))?;
    if start.zip(end).is_some_and(|(start, end)| end <= start) {
        let message = "is not after start_time: send a later end, or none";
        return Err(path.field("end_time").refuse(Reason::EndBeforeStart, message));
    }
    budget(row.budget.as_ref(), path.field("budget"))
}

/// Returns the bids to try: those of the list, else the draft's own.
fn bids_to_try(
    row: &v1::AdSet,
    list: &[v1::Money],
    ad_set: Path,
    currencies: &mut Vec<(String, String)>,
) -> Result<Vec<Option<i64>>, Refusal> {
    let (path, own) = (Path::root("bids"), ad_set.field("bid"));
    at_most(list.len(), FORECASTS_MAX, path)?;
    let told = row.bid_strategy();
    let uncapped = told == v1::BidStrategy::LowestCostWithoutCap
        || told == v1::BidStrategy::Unspecified && row.bid.is_none() && list.is_empty();
    if uncapped {
        let message = "is told, but the strategy makes its own bids: leave it out, or send another";
        let wrong = if row.bid.is_some() { Some(own) } else { None };
        let wrong = wrong.or_else(|| (!list.is_empty()).then_some(path));
        return match wrong {
            Some(path) => Err(path.refuse(Reason::FieldInvalid, message)),
            None => Ok(vec![None]),
        };
    }
    let mut bid = |money: &v1::Money, path: Path| {
        positive_money(money, path)?;
        if Aim::of(row).is_per_thousand() && money.micros % CPM_STEP_MICROS != 0 {
            let message = format!(
                "is {}: send a multiple of {CPM_STEP_MICROS} micros, the price of one of 1,000",
                money.micros
            );
            return Err(path.field("micros").refuse(Reason::MoneyInvalid, message));
        }
        currencies.push((path.field("currency").to_string(), money.currency.clone()));
        Ok(Some(money.micros))
    };
    if list.is_empty() {
        return Ok(vec![bid(required(row.bid.as_ref(), own)?, own)?]);
    }
    list.iter().enumerate().map(|(at, money)| bid(money, path.at(at))).collect()
}

/// Returns the daily budgets to try: those of the list, else the draft's own.
fn budgets_to_try(
    row: &v1::AdSet,
    list: &[v1::Money],
    bids: &[Option<i64>],
    now: Moment,
    currencies: &mut Vec<(String, String)>,
) -> Result<Vec<Option<i64>>, Refusal> {
    let path = Path::root("daily_budgets");
    at_most(list.len(), FORECASTS_MAX, path)?;
    let own = row.budget.iter().flat_map(|it| [("daily", &it.daily), ("lifetime", &it.lifetime)]);
    for (name, money) in own {
        if let Some(money) = money {
            currencies.push((format!("ad_set.budget.{name}.currency"), money.currency.clone()));
        }
    }
    // One event at the lowest bid: below it nothing could ever be bought.
    let least = bids.iter().copied().flatten().min().unwrap_or(1);
    let least = if Aim::of(row).is_per_thousand() { least / 1_000 } else { least }.max(1);
    let enough = |micros: i64, path: Path| {
        if micros >= least {
            return Ok(Some(micros));
        }
        let message =
            format!("is {micros} a day: send at least {least}, one event at the lowest bid");
        Err(path.refuse(Reason::MoneyInvalid, message))
    };
    if list.is_empty() {
        let ad_set = Path::root("ad_set");
        return match daily_budget_of(row, now) {
            Some(micros) => Ok(vec![enough(micros, ad_set.field("budget"))?]),
            None if bids == [None] => {
                let message = "is empty: without bids only a budget says how much is bought";
                Err(path.refuse(Reason::FieldMissing, message))
            }
            None => Ok(vec![None]),
        };
    }
    let mut each = list.iter().enumerate();
    each.try_fold(Vec::new(), |mut budgets, (at, money)| {
        let path = path.at(at);
        positive_money(money, path)?;
        currencies.push((path.field("currency").to_string(), money.currency.clone()));
        budgets.push(enough(money.micros, path.field("micros"))?);
        Ok(budgets)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::parse::samples::{FEED, NOW, sealer};

    #[test]
    fn an_unknown_feed_is_refused_by_its_field() {
        let policies = BTreeMap::from([(FEED, Policy::USUAL)]);
        let ask = |feed, page_size| {
            let ad_request = v1::AdRequest { placement: 1, posts: 9, ..Default::default() };
            let wire = v1::ExplainRequestRequest { ad_request: Some(ad_request), feed, page_size };
            explained_request(wire, &policies, &sealer(), NOW)
        };
        assert_eq!(ask(FEED, 0).unwrap().page_size, 100);
        assert_eq!(ask(FEED + 1, 0).unwrap_err().field, "feed");
        assert_eq!(ask(FEED, 1_001).unwrap_err().field, "page_size");
        let bare = v1::ExplainRequestRequest { feed: FEED, ..Default::default() };
        let refused = explained_request(bare, &policies, &sealer(), NOW).unwrap_err();
        assert_eq!(refused.field, "ad_request");
    }

    #[test]
    fn a_draft_is_refused_as_at_creation() {
        let parse = |row: v1::AdSet| {
            let wire = v1::EstimateDeliveryRequest { ad_set: Some(row), ..Default::default() };
            question(wire, NOW)
        };
        let bad = v1::Targeting { age_min: 1, ..Default::default() };
        assert!(parse(v1::AdSet::default()).is_ok(), "anyone");
        let field = |row| parse(row).unwrap_err().field;
        let row = v1::AdSet { targeting: Some(bad.clone()), ..Default::default() };
        assert_eq!(field(row), "ad_set.targeting.age_min");
        let targeting = Some(v1::Targeting::default());
        let row = v1::AdSet { targeting, or_targeting: vec![bad.clone()], ..Default::default() };
        assert_eq!(field(row), "ad_set.or_targeting[0].age_min");
        let row = v1::AdSet { or_targeting: vec![bad], ..Default::default() };
        assert_eq!(field(row), "ad_set.targeting");
        let row = v1::AdSet { or_targeting: vec![Default::default(); 16], ..Default::default() };
        assert_eq!(field(row), "ad_set.or_targeting");
        let none = question(v1::EstimateDeliveryRequest::default(), NOW);
        assert_eq!(none.unwrap_err().field, "ad_set");
        let zero = explained_ad(&v1::ExplainDeliveryRequest { ad_id: 0 });
        assert_eq!(zero.unwrap_err().field, "ad_id");
    }

    fn money(micros: i64) -> v1::Money {
        v1::Money { micros, currency: "MXN".into() }
    }

    fn whole() -> v1::EstimateDeliveryRequest {
        let ad_set = v1::AdSet {
            billing_event: v1::BillingEvent::Conversations.into(),
            bid: Some(money(5_000_000)),
            budget: Some(v1::Budget { daily: Some(money(90_000_000)), lifetime: None }),
            ..Default::default()
        };
        v1::EstimateDeliveryRequest {
            ad_set: Some(ad_set),
            account_id: 7,
            category: "food".into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_draft_is_tried_at_its_own_bid_and_budget_or_at_those_of_the_lists() {
        let wanted = |wire| question(wire, NOW).unwrap().wanted.unwrap();
        let own = wanted(whole());
        assert_eq!((own.bids, own.budgets), (vec![Some(5_000_000)], vec![Some(90_000_000)]));
        assert_eq!(own.currencies.len(), 2);
        let lists = v1::EstimateDeliveryRequest {
            bids: vec![money(1_000_000), money(2_000_000)],
            daily_budgets: vec![money(10_000_000)],
            ..whole()
        };
        let lists = wanted(lists);
        assert_eq!(lists.bids, [Some(1_000_000), Some(2_000_000)]);
        assert_eq!(lists.budgets, [Some(10_000_000)]);
        let told: Vec<&str> = lists.currencies.iter().map(|(path, _)| &**path).collect();
        assert_eq!(
            told,
            [
                "bids[0].currency",
                "bids[1].currency",
                "ad_set.budget.daily.currency",
                "daily_budgets[0].currency",
            ]
        );
        let nobodys = v1::EstimateDeliveryRequest { account_id: 0, ..whole() };
        assert_eq!(question(nobodys, NOW).unwrap().wanted, None, "only the audience");
    }

    #[test]
    fn each_amount_and_term_is_refused_by_its_path() {
        type Spoil = fn(&mut v1::EstimateDeliveryRequest, &mut v1::AdSet);
        let check = |field: &str, spoil: Spoil| {
            let mut wire = whole();
            let mut row = wire.ad_set.take().unwrap();
            spoil(&mut wire, &mut row);
            wire.ad_set = Some(row);
            assert_eq!(question(wire, NOW).unwrap_err().field, field);
        };
        check("bids", |wire, _| wire.bids = vec![money(1); 9]);
        check("bids[1].micros", |wire, _| wire.bids = vec![money(1_000), money(0)]);
        check("bids[0].micros", |wire, _| wire.bids = vec![money(i64::MAX)]);
        check("bids[0].currency", |wire, _| {
            wire.bids = vec![v1::Money { micros: 1_000, currency: "?".into() }];
        });
        check("daily_budgets", |wire, _| wire.daily_budgets = vec![money(9_000_000); 9]);
        check("daily_budgets[0].micros", |wire, _| wire.daily_budgets = vec![money(-1)]);
        check("daily_budgets[0].micros", |wire, _| wire.daily_budgets = vec![money(4_999_999)]);
        check("daily_budgets", |_, row| (row.bid, row.budget) = (None, None));
        check("ad_set.budget", |_, row| row.bid = Some(money(90_000_001)));
        check("ad_set.budget.daily.micros", |_, row| {
            row.budget = Some(v1::Budget { daily: Some(money(0)), lifetime: None });
        });
        check("ad_set.billing_event", |_, row| row.billing_event = 9);
        check("ad_set.bid_strategy", |_, row| row.bid_strategy = 9);
        check("ad_set.bid", |_, row| row.bid_strategy = 1);
        check("bids", |wire, row| {
            wire.bids = vec![money(1_000)];
            (row.bid, row.bid_strategy) = (None, 1);
        });
        check("ad_set.bid", |_, row| (row.bid, row.bid_strategy) = (None, 2));
        check("ad_set.optimization_goal", |_, row| row.bid_strategy = 3);
        check("ad_set.optimization_goal", |_, row| row.optimization_goal = 9);
        check("ad_set.bid.micros", |_, row| {
            row.billing_event = 1;
            row.bid = Some(money(1_500));
        });
        check("ad_set.schedule_hours[1]", |_, row| row.schedule_hours = vec![5, 5]);
        check("ad_set.schedule_hours[0]", |_, row| row.schedule_hours = vec![168]);
        check("category", |wire, _| wire.category = "x".repeat(65));
    }
}
