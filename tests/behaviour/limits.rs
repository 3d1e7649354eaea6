//! What an advertiser may ask for: budgets, caps, bids, goals and times that contradict each other or what
//! was spent are refused with the field at fault and the range that is allowed, and nothing changes.

use munadi::types::proto::v1::{
    Account, AdSet, BidStrategy, BillingEvent, Budget, Campaign, Money, OptimizationGoal,
};
use munadi::types::refusal::{Reason, Refusal};
use munadi::types::request::{Resource, ResourceKind};
use munadi::types::time::DAY_MS;

use crate::stage::{Offer, Shop, Stage};

const MXN: i64 = 1_000_000;

fn money(micros: i64) -> Option<Money> {
    Some(Money { micros, currency: "MXN".into() })
}

fn budget(daily: Option<i64>, lifetime: Option<i64>) -> Option<Budget> {
    Some(Budget { daily: daily.and_then(money), lifetime: lifetime.and_then(money) })
}

/// A stage with one advertiser: a campaign of 20 MXN a day and 100 in all, 1 MXN an impression.
fn stage() -> (Stage, Shop) {
    let mut stage = Stage::new();
    let campaign = (Some(20 * MXN), Some(100 * MXN));
    let shop = stage.shop(&Offer { campaign, ..Offer::default() });
    (stage, shop)
}

/// Shows and sees ads until so much is spent.
fn spend(stage: &mut Stage, micros: i64) {
    for viewer in 0..micros / MXN {
        let shown = stage.show(&format!("spender {viewer} {}", stage.now.0));
        assert_eq!(stage.see(&shown), MXN);
    }
}

fn ad_set(shop: &Shop, change: impl FnOnce(&mut AdSet)) -> AdSet {
    let mut row = Offer::default().ad_set_row(shop.campaign);
    change(&mut row);
    row
}

/// Creates a changed ad set.
fn create(stage: &mut Stage, shop: &Shop, change: impl FnOnce(&mut AdSet)) -> Result<u64, Refusal> {
    stage.try_create(shop.tenant, Resource::AdSet(ad_set(shop, change)))
}

/// Changes these fields of the advertiser's ad set.
fn update(
    stage: &mut Stage,
    shop: &Shop,
    fields: &[&str],
    change: impl FnOnce(&mut AdSet),
) -> Result<Resource, Refusal> {
    let row = AdSet { id: shop.ad_set, ..ad_set(shop, change) };
    stage.try_update(shop.tenant, Resource::AdSet(row), fields)
}

fn update_campaign(
    stage: &mut Stage,
    shop: &Shop,
    field: &str,
    row: Campaign,
) -> Result<Resource, Refusal> {
    let row = Campaign { id: shop.campaign, ..row };
    stage.try_update(shop.tenant, Resource::Campaign(row), &[field])
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Refusal>, field: &str, range: &str) {
    let refusal = answer.expect_err("must be refused");
    assert_eq!(refusal.field, field, "{refusal:?}");
    assert!(refusal.message.contains(range), "{range:?} is not in {refusal:?}");
}

#[test]
fn a_budget_below_the_bid_that_spends_it_is_refused() {
    let (mut stage, shop) = stage();
    let range = "send 1000000 to 1000000000000000 micros";
    let below =
        |daily, lifetime| Campaign { budget: budget(daily, lifetime), ..Default::default() };
    let lower = update_campaign(&mut stage, &shop, "budget", below(Some(MXN - 1), None));
    refused(lower, "campaign.budget.daily.micros", range);
    let lower = update_campaign(&mut stage, &shop, "budget", below(None, Some(MXN - 1)));
    refused(lower, "campaign.budget.lifetime.micros", range);
    let capped = Campaign { spend_cap: money(MXN - 1), ..Default::default() };
    let lower = update_campaign(&mut stage, &shop, "spend_cap", capped);
    refused(lower, "campaign.spend_cap.micros", range);
    let own = create(&mut stage, &shop, |row| row.budget = budget(Some(MXN - 1), None));
    refused(own, "ad_set.budget.daily.micros", range);
    let own = create(&mut stage, &shop, |row| row.spend_cap = budget(None, Some(MXN - 1)));
    refused(own, "ad_set.spend_cap.lifetime.micros", range);
    let exact = below(Some(MXN), Some(MXN));
    assert!(update_campaign(&mut stage, &shop, "budget", exact).is_ok());
}

#[test]
fn a_bid_above_the_budget_that_it_spends_is_refused() {
    let (mut stage, shop) = stage();
    let high = |row: &mut AdSet| row.bid = money(20_001 * MXN);
    refused(create(&mut stage, &shop, high), "ad_set.bid.micros", "send 1 to 20000000000,");
    refused(update(&mut stage, &shop, &["bid"], high), "ad_set.bid.micros", "20000000000,");
    let high = |row: &mut AdSet| {
        row.billing_event = BillingEvent::Conversations.into();
        row.bid = money(21 * MXN);
    };
    refused(create(&mut stage, &shop, high), "ad_set.bid.micros", "send 1 to 20000000,");
    assert!(create(&mut stage, &shop, |row| row.bid = money(20_000 * MXN)).is_ok());
    // What is paid for says nothing of how a bid counts: its goal does.
    assert!(
        create(&mut stage, &shop, |row| {
            row.optimization_goal = OptimizationGoal::Conversations.into();
            row.bid = money(20 * MXN + 1);
        })
        .is_err()
    );
}

#[test]
fn a_budget_is_not_lowered_below_what_was_spent() {
    let (mut stage, shop) = stage();
    spend(&mut stage, 3 * MXN);
    let spent = "send 3000000 to";
    let low = |daily, lifetime| Campaign { budget: budget(daily, lifetime), ..Default::default() };
    let lower = update_campaign(&mut stage, &shop, "budget", low(Some(3 * MXN - 1), None));
    refused(lower, "campaign.budget.daily.micros", spent);
    let lower = update_campaign(&mut stage, &shop, "budget", low(None, Some(3 * MXN - 1)));
    refused(lower, "campaign.budget.lifetime.micros", spent);
    let capped = Campaign { spend_cap: money(2 * MXN), ..Default::default() };
    let lower = update_campaign(&mut stage, &shop, "spend_cap", capped);
    refused(lower, "campaign.spend_cap.micros", spent);
    let own = |row: &mut AdSet| row.budget = budget(Some(2 * MXN), None);
    let lower = update(&mut stage, &shop, &["budget"], own);
    refused(lower, "ad_set.budget.daily.micros", spent);
    let own = |row: &mut AdSet| row.spend_cap = budget(None, Some(2 * MXN));
    let lower = update(&mut stage, &shop, &["spend_cap"], own);
    refused(lower, "ad_set.spend_cap.lifetime.micros", spent);
    let account = Account { id: shop.account, spend_limit: money(2 * MXN), ..Account::default() };
    let lower = stage.try_update(shop.tenant, Resource::Account(account), &["spend_limit"]);
    refused(lower, "account.spend_limit.micros", spent);
    // The next day has spent nothing yet; the life has.
    stage.wait(DAY_MS);
    stage.settle();
    assert!(update_campaign(&mut stage, &shop, "budget", low(Some(2 * MXN), None)).is_ok());
    let lower = update_campaign(&mut stage, &shop, "budget", low(None, Some(2 * MXN)));
    refused(lower, "campaign.budget.lifetime.micros", spent);
}

#[test]
fn a_strategy_and_its_bid_go_together() {
    let (mut stage, shop) = stage();
    let without = |row: &mut AdSet| row.bid_strategy = BidStrategy::LowestCostWithoutCap.into();
    refused(create(&mut stage, &shop, without), "ad_set.bid", "leave it out");
    for strategy in [BidStrategy::LowestCostWithBidCap, BidStrategy::CostCap] {
        let bare = |row: &mut AdSet| {
            row.bid_strategy = strategy.into();
            row.bid = None;
        };
        refused(create(&mut stage, &shop, bare), "ad_set.bid", "from 1 to 1000000000000000");
    }
    let capped = |row: &mut AdSet| row.bid_strategy = BidStrategy::CostCap.into();
    let id = create(&mut stage, &shop, capped).unwrap();
    let bare = Resource::AdSet(AdSet { id, ..AdSet::default() });
    let answer = stage.try_update(shop.tenant, bare, &["bid"]);
    refused(answer, "ad_set.bid", "from 1 to 1000000000000000");
    let free = |row: &mut AdSet| {
        without(row);
        row.bid = None;
    };
    let made = create(&mut stage, &shop, free).unwrap();
    let bid = AdSet { id: made, bid: money(MXN), ..AdSet::default() };
    let answer = stage.try_update(shop.tenant, Resource::AdSet(bid), &["bid"]);
    refused(answer, "ad_set.bid", "leave it out");
}

#[test]
fn a_bid_for_a_thousand_comes_in_steps() {
    let (mut stage, shop) = stage();
    for (goal, ok) in [
        (OptimizationGoal::Unspecified, false),
        (OptimizationGoal::Impressions, false),
        (OptimizationGoal::Reach, false),
        (OptimizationGoal::ViewableImpressions, false),
        (OptimizationGoal::LinkClicks, true),
        (OptimizationGoal::Conversations, true),
        (OptimizationGoal::Conversions, true),
    ] {
        let odd = |row: &mut AdSet| {
            row.optimization_goal = goal.into();
            row.bid = money(MXN + 1);
        };
        let answer = create(&mut stage, &shop, odd);
        assert_eq!(answer.is_ok(), ok, "{goal:?}");
        if !ok {
            refused(answer, "ad_set.bid.micros", "in steps of 1000 micros");
        }
    }
}

#[test]
fn a_share_of_a_campaigns_budget_needs_one_that_covers_it() {
    let (mut stage, shop) = stage();
    let cap = |row: &mut AdSet| row.spend_cap = budget(Some(20 * MXN + 1), None);
    let most = "send 1 to 20000000 micros";
    refused(create(&mut stage, &shop, cap), "ad_set.spend_cap.daily.micros", most);
    let least = |row: &mut AdSet| row.daily_min_spend = money(20 * MXN + 1);
    refused(create(&mut stage, &shop, least), "ad_set.daily_min_spend.micros", most);
    let both = |row: &mut AdSet| {
        row.spend_cap = budget(Some(5 * MXN), None);
        row.daily_min_spend = money(5 * MXN + 1);
    };
    let most = "ad_set.spend_cap.daily: send 1 to 5000000 micros";
    refused(create(&mut stage, &shop, both), "ad_set.daily_min_spend.micros", most);
    let life = |row: &mut AdSet| row.spend_cap = budget(None, Some(100 * MXN + 1));
    refused(create(&mut stage, &shop, life), "ad_set.spend_cap.lifetime.micros", "100000000");
    let fits = |row: &mut AdSet| {
        row.spend_cap = budget(Some(5 * MXN), None);
        row.daily_min_spend = money(5 * MXN);
    };
    let fields = ["spend_cap", "daily_min_spend"];
    update(&mut stage, &shop, &fields, fits).expect("it fits");
    let low = Campaign { budget: budget(Some(5 * MXN - 1), None), ..Campaign::default() };
    let lower = update_campaign(&mut stage, &shop, "budget", low);
    refused(lower, "campaign.budget", "send 5000000 to");

    let alone = Offer { campaign: (None, None), ad_set: (Some(MXN), None), ..Offer::default() };
    let shop = stage.shop(&alone);
    let capped = |row: &mut AdSet| {
        row.budget = budget(Some(9 * MXN), None);
        row.spend_cap = budget(Some(5 * MXN), None);
    };
    refused(create(&mut stage, &shop, capped), "ad_set.spend_cap", "use `budget`");
    let least = |row: &mut AdSet| {
        row.budget = budget(Some(9 * MXN), None);
        row.daily_min_spend = money(MXN);
    };
    refused(create(&mut stage, &shop, least), "ad_set.daily_min_spend", "use `budget`");
}

#[test]
fn an_end_in_the_past_is_refused_and_a_past_one_may_stay() {
    let (mut stage, shop) = stage();
    let end = |stage: &Stage, seconds: i64| {
        let seconds = stage.now.0 / 1_000 + seconds;
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    };
    for seconds in [-1, 0] {
        let past = end(&stage, seconds);
        let answer = create(&mut stage, &shop, |row| row.end_time = past);
        refused(answer, "ad_set.end_time", "is in the past: send a second after");
        let answer = update(&mut stage, &shop, &["end_time"], |row| row.end_time = past);
        refused(answer, "ad_set.end_time", "is in the past");
    }
    let soon = end(&stage, 1);
    update(&mut stage, &shop, &["end_time"], |row| row.end_time = soon).unwrap();
    stage.wait(DAY_MS);
    stage.settle();
    let named = update(&mut stage, &shop, &["name"], |row| row.name = "Ended".into());
    assert!(named.is_ok(), "what has ended can still be named");
}

#[test]
fn a_refusal_changes_nothing() {
    let (mut stage, shop) = stage();
    spend(&mut stage, 3 * MXN);
    let before = stage.get(ResourceKind::Campaign, shop.campaign);
    let low = Campaign { budget: budget(Some(2 * MXN), None), ..Campaign::default() };
    assert!(update_campaign(&mut stage, &shop, "budget", low).is_err());
    assert_eq!(stage.get(ResourceKind::Campaign, shop.campaign), before);
    spend(&mut stage, 17 * MXN);
    assert!(stage.try_show("late").is_err(), "the budget is what it was, to the micro");
}

#[test]
fn money_of_a_cap_or_minimum_is_in_the_accounts_currency() {
    let (mut stage, shop) = stage();
    let usd = || Some(Money { micros: 2 * MXN, currency: "USD".into() });
    let cap = |row: &mut AdSet| row.spend_cap = Some(Budget { daily: usd(), lifetime: None });
    let refusal = create(&mut stage, &shop, cap).unwrap_err();
    assert_eq!(refusal.reason, Reason::CurrencyInvalid);
    assert_eq!(refusal.field, "ad_set.spend_cap.daily.currency");
    let refusal = create(&mut stage, &shop, |row| row.daily_min_spend = usd()).unwrap_err();
    assert_eq!(refusal.field, "ad_set.daily_min_spend.currency");
    let capped = Campaign { spend_cap: usd(), ..Campaign::default() };
    let refusal = update_campaign(&mut stage, &shop, "spend_cap", capped).unwrap_err();
    assert_eq!(refusal.field, "campaign.spend_cap.currency");
}

#[test]
fn a_spend_cap_is_charged_to_the_last_micro_and_not_beyond() {
    let (mut stage, shop) = stage();
    let cap = |row: &mut AdSet| row.spend_cap = budget(Some(2 * MXN), None);
    update(&mut stage, &shop, &["spend_cap"], cap).unwrap();
    spend(&mut stage, 2 * MXN);
    assert!(stage.try_show("late").is_err(), "the ad set has had its share");
    stage.wait(DAY_MS);
    stage.settle();
    let capped = Campaign { spend_cap: money(3 * MXN), ..Campaign::default() };
    update_campaign(&mut stage, &shop, "spend_cap", capped).unwrap();
    spend(&mut stage, MXN);
    assert!(stage.try_show("late").is_err(), "the campaign has had all of its life");
}
