//! Pacing: a budget lasts its day, buys what is cheapest, and a node that comes back goes on as it was.

use munadi::decide::board::MULTIPLIER_ONE;
use munadi::types::proto::v1::{
    AdSet, BidStrategy, BillingEvent, Budget, Campaign, OptimizationGoal,
};
use munadi::types::request::Resource;
use munadi::types::time::MINUTE_MS;

use crate::market::{ALL, COUNTRIES, MXN, Market, money, only, rich};
use crate::stage::{Offer, Shop, Stage};

#[test]
fn a_days_budget_lasts_the_day_and_is_spent_by_its_end() {
    let mut market = Market::open("2026-11-23T00:00:00Z");
    let budget = 24 * 60 * ALL / 8;
    let shop = market.stage.shop(&rich(budget));
    market.hours(24);
    let ads = [shop.ad];
    let first = market.charged(&ads, 0..3);
    assert!(first < budget / 3, "{first} of {budget} in the first three of 24 hours");
    for hour in 6..23 {
        let of_hour = market.charged(&ads, hour..hour + 1) * 24;
        assert!((budget / 2..budget * 2).contains(&of_hour), "hour {hour}: {of_hour} of {budget}");
    }
    let spent = market.charged(&ads, 0..24);
    assert!(spent > budget * 95 / 100 && spent <= budget, "{spent} of {budget}");
}

#[test]
fn a_node_that_comes_back_paces_as_it_did() {
    let mut market = Market::open("2026-11-23T00:00:00Z");
    let shop = market.stage.shop(&rich(24 * 60 * ALL / 8));
    let own = Offer { ad_set: (Some(60 * ALL), None), campaign: (None, None), ..rich(0) };
    let alone = market.stage.shop(&own);
    market.hours(2);
    let multiplier = |market: &Market, shop: &Shop| market.stage.front.multiplier(shop.ad_set);
    let before = [&shop, &alone].map(|shop| multiplier(&market, shop));
    assert!(before.iter().all(|multiplier| *multiplier < MULTIPLIER_ONE), "{before:?}");
    let checkpoint = market.stage.checkpoint();
    market.stage = market.stage.restarted();
    assert_eq!([&shop, &alone].map(|shop| multiplier(&market, shop)), before);
    let Stage { disk, ring, now, policy, .. } = market.stage;
    market.stage = Stage::open(disk, ring, now, Some(&checkpoint)).unwrap();
    market.stage.policy = policy;
    assert!(market.stage.opened.checkpoint);
    assert_eq!([&shop, &alone].map(|shop| multiplier(&market, shop)), before);
    market.minute();
    let after = [&shop, &alone].map(|shop| multiplier(&market, shop));
    for (before, after) in before.iter().zip(after) {
        assert!(after.abs_diff(*before) < before / 5, "it goes on from {before}, not {after}");
    }
}

#[test]
fn a_day_part_has_the_whole_days_budget() {
    // 2026-11-23 was a Monday; open from 10:00 to 13:59.
    let mut market = Market::open("2026-11-23T00:00:00Z");
    market.stage.front.watch_here();
    let budget = 4 * 60 * ALL / 8;
    let shop = market.stage.shop(&rich(budget));
    let schedule_hours = vec![10, 11, 12, 13];
    let row = AdSet { id: shop.ad_set, schedule_hours, ..AdSet::default() };
    market.stage.update(shop.tenant, Resource::AdSet(row), &["schedule_hours"]);
    market.hours(16);
    let ads = [shop.ad];
    assert_eq!(market.charged(&ads, 0..10) + market.charged(&ads, 14..16), 0);
    let first = market.charged(&ads, 10..11);
    assert!(first < budget / 2, "{first} of {budget} in the first of four hours");
    let spent = market.charged(&ads, 10..14);
    assert!(spent > budget * 95 / 100 && spent <= budget, "{spent} of {budget}");
}

#[test]
fn a_budget_that_is_changed_at_noon_is_spent_by_midnight() {
    for percent in [60, 200] {
        let mut market = Market::open("2026-11-23T00:00:00Z");
        let budget = 24 * 60 * ALL / 10;
        let shop = market.stage.shop(&rich(budget));
        market.hours(12);
        let budget = budget * percent / 100;
        let wanted = Offer::default().budget((Some(budget), None));
        let row = Campaign { id: shop.campaign, budget: wanted, ..Campaign::default() };
        market.stage.update(shop.tenant, Resource::Campaign(row), &["budget"]);
        market.hours(12);
        let spent = market.charged(&[shop.ad], 0..24);
        assert!(spent > budget * 95 / 100 && spent <= budget, "{spent} of {budget}");
        let late = market.charged(&[shop.ad], 20..23);
        assert!(late > 0, "something is left for the evening");
    }
}

#[test]
fn a_day_of_25_hours_is_paced_to_its_end() {
    // On 2026-11-01 New York sets its clocks back: the day is 04:00 UTC to 05:00 UTC.
    let mut market = Market::open("2026-11-01T04:00:00Z");
    let budget = 25 * 60 * ALL / 8;
    let shop = market.stage.shop(&Offer { zone: "America/New_York", ..rich(budget) });
    market.hours(25);
    let ads = [shop.ad];
    let last = market.charged(&ads, 23..25);
    assert!(last > budget / 50, "{last} of {budget} in the last two hours");
    let spent = market.charged(&ads, 0..25);
    assert!(spent > budget * 95 / 100 && spent <= budget, "{spent} of {budget}");
}

#[test]
fn a_campaigns_money_goes_where_an_event_is_cheapest() {
    let mut market = Market::open("2026-11-23T00:00:00Z");
    // Enough for all of the four cheap countries, or for a part of everything.
    let budget = 12 * 60 * MXN * (1 + 2 + 3 + 4) / 8;
    let cheap = Offer { targeting: only(&COUNTRIES[..4]), ..rich(budget) };
    let shop = market.stage.shop(&cheap);
    let dear = Offer { targeting: only(&COUNTRIES[4..]), ..cheap };
    let second = market.stage.create(shop.tenant, Resource::AdSet(dear.ad_set_row(shop.campaign)));
    let second = Resource::Ad(dear.ad_row(second, shop.endpoint));
    let second = market.stage.create(shop.tenant, second);
    market.hours(12);
    let [cheap, dear] = [shop.ad, second].map(|ad| market.charged(&[ad], 2..12));
    assert!(cheap > 2 * dear, "{cheap} where it is cheap, {dear} where it is not");
}

#[test]
fn a_cap_and_a_minimum_bind_inside_a_campaigns_budget() {
    let mut market = Market::open("2026-11-23T00:00:00Z");
    let budget = 24 * 60 * MXN * (1 + 2 + 3 + 4) / 16;
    let cheap = Offer { targeting: only(&COUNTRIES[..4]), ..rich(budget) };
    let shop = market.stage.shop(&cheap);
    let dear = Offer { targeting: only(&COUNTRIES[4..]), ..cheap };
    let second = market.stage.create(shop.tenant, Resource::AdSet(dear.ad_set_row(shop.campaign)));
    let dear_ad = Resource::Ad(dear.ad_row(second, shop.endpoint));
    let dear_ad = market.stage.create(shop.tenant, dear_ad);
    let (cap, minimum) = (budget / 4, budget / 3);
    let limit = Budget { daily: Some(money(cap)), lifetime: None };
    let row = AdSet { id: shop.ad_set, spend_cap: Some(limit), ..AdSet::default() };
    market.stage.update(shop.tenant, Resource::AdSet(row), &["spend_cap"]);
    let row = AdSet { id: second, daily_min_spend: Some(money(minimum)), ..AdSet::default() };
    market.stage.update(shop.tenant, Resource::AdSet(row), &["daily_min_spend"]);
    market.hours(24);
    let capped = market.charged(&[shop.ad], 0..24);
    assert!(capped <= cap && capped > cap * 90 / 100, "{capped} of {cap}");
    let early = market.charged(&[shop.ad], 0..6);
    assert!(early < cap / 2, "{early} of {cap} in a quarter of the day");
    let least = market.charged(&[dear_ad], 0..24);
    assert!(least > minimum * 95 / 100, "{least} of at least {minimum}");
}

#[test]
fn a_lifetime_budget_is_spread_until_its_end() {
    let mut market = Market::open("2026-11-23T00:00:00Z");
    let budget = 12 * 60 * ALL / 8;
    let end = Some(market.stage.now.0 / 1_000 + 12 * 3_600);
    let campaign = (None, Some(budget));
    let shop = market.stage.shop(&Offer { campaign, end, ..rich(0) });
    market.hours(12);
    let ads = [shop.ad];
    let half = market.charged(&ads, 0..6);
    assert!(
        half > budget * 4 / 10 && half < budget * 7 / 10,
        "{half} of {budget} in half its life"
    );
    let spent = market.charged(&ads, 0..12);
    assert!(spent > budget * 95 / 100 && spent <= budget, "{spent} of {budget}");
}

#[test]
fn sampled_walks_find_the_multiplier_within_minutes() {
    let mut market = Market::open("2026-11-23T00:00:00Z");
    market.stage.front.watch_here();
    let budget = 24 * 60 * ALL / 8;
    let shop = market.stage.shop(&rich(budget));
    market.hours(2);
    for hour in 0..2 {
        let of_hour = market.charged(&[shop.ad], hour..hour + 1) * 24;
        assert!((budget / 2..budget * 2).contains(&of_hour), "hour {hour}: {of_hour} of {budget}");
    }
}

#[test]
fn an_average_cost_stays_under_its_cap() {
    let mut market = Market::open("2026-11-23T00:00:00Z");
    market.stage.front.watch_here();
    // A new ad's predicted rate is one conversation of 250 impressions: 0.4 MXN an impression.
    let offer = Offer { bid: 100 * MXN, billing: BillingEvent::Conversations, ..rich(9_000 * MXN) };
    let shop = market.stage.shop(&Offer { bid: 1, ..offer.clone() });
    let row = AdSet {
        billing_event: BillingEvent::Impressions.into(),
        optimization_goal: OptimizationGoal::Conversations.into(),
        bid_strategy: BidStrategy::CostCap.into(),
        ..offer.ad_set_row(shop.campaign)
    };
    let ad_set = market.stage.create(shop.tenant, Resource::AdSet(row));
    let ad = Resource::Ad(offer.ad_row(ad_set, shop.endpoint));
    let ad = market.stage.create(shop.tenant, ad);
    market.hours(4);
    let promised: f64 = market.promised.get(&ad).copied().unwrap_or_default();
    let cost = market.charged(&[ad], 0..4) as f64 / promised / MXN as f64;
    assert!(promised > 0.3, "{promised} conversations are predicted");
    assert!(cost <= 101.0, "{cost} MXN a conversation");
    assert!(cost > 50.0, "{cost} MXN a conversation: what was saved is not used");
}

#[test]
fn a_multiplier_that_outgrows_the_rows_of_its_ads_is_served_by() {
    let mut market = Market::open("2026-11-23T00:00:00Z");
    let shop = market.stage.shop(&rich(24 * 60 * ALL / 20));
    market.hours(1);
    // The rows are made for what is bid now.
    market.stage = market.stage.restarted();
    assert!(market.stage.front.multiplier(shop.ad_set) < MULTIPLIER_ONE / 2);
    let wanted = Offer::default().budget((Some(24 * 60 * ALL * 2), None));
    let row = Campaign { id: shop.campaign, budget: wanted, ..Campaign::default() };
    market.stage.update(shop.tenant, Resource::Campaign(row), &["budget"]);
    market.hours(2);
    assert_eq!(market.stage.front.multiplier(shop.ad_set), MULTIPLIER_ONE);
    let spent = market.charged(&[shop.ad], 2..3);
    assert!(spent > 60 * ALL * 9 / 10, "{spent} of {}", 60 * ALL);
}

#[test]
fn a_multiplier_above_the_rows_of_its_ads_counts_as_soon_as_their_new_rows_do() {
    let mut market = Market::open("2026-11-23T00:00:00Z");
    market.stage.front.watch_here();
    let shop = market.stage.shop(&rich(24 * 60 * ALL / 40));
    market.hours(1);
    // The rows are made for what is bid now.
    market.stage = market.stage.restarted();
    market.stage.front.watch_here();
    market.hours(1);
    let before = market.stage.front.multiplier(shop.ad_set);
    assert!(before < MULTIPLIER_ONE / 2, "{before}");
    let wanted = Offer::default().budget((Some(24 * 60 * ALL * 2), None));
    let row = Campaign { id: shop.campaign, budget: wanted, ..Campaign::default() };
    market.stage.update(shop.tenant, Resource::Campaign(row), &["budget"]);
    market.minute();
    let after = market.stage.front.multiplier(shop.ad_set);
    assert_eq!(after, MULTIPLIER_ONE, "what is known of the market says so at once");
}

/// Creates an advertiser whose bids the engine makes.
fn without_bid(stage: &mut Stage, offer: &Offer) -> Shop {
    let account = stage.create(offer.tenant, Resource::Account(offer.account_row()));
    let offer = Offer { targeting: only(&COUNTRIES), ..offer.clone() };
    stage.shop_of(account, &offer, |row| {
        row.bid = None;
        row.bid_strategy = BidStrategy::LowestCostWithoutCap.into();
    })
}

#[test]
fn a_crash_in_its_first_minute_does_not_make_an_ad_set_bid_its_whole_budget() {
    let mut stage = Stage::at("2026-11-23T00:00:00Z");
    let ad_set = without_bid(&mut stage, &rich(100 * MXN)).ad_set;
    let before = stage.front.multiplier(ad_set);
    assert!(before < MULTIPLIER_ONE / 50, "{before}");
    let mut stage = stage.restarted();
    assert_eq!(stage.front.multiplier(ad_set), before);
    stage.wait(MINUTE_MS);
    stage.settle();
    let mut stage = stage.restarted();
    stage.settle();
    assert!(stage.front.multiplier(ad_set) < MULTIPLIER_ONE / 50, "it is journaled then");
}

#[test]
fn what_the_engine_bids_does_not_jump_with_the_budget_that_it_bids_by() {
    for (percent, watched) in [(1_000, false), (1_000, true), (70, false), (70, true)] {
        let mut market = Market::open("2026-11-23T00:00:00Z");
        if watched {
            market.stage.front.watch_here();
        }
        let budget = 24 * 60 * ALL / 10;
        let shop = without_bid(&mut market.stage, &rich(budget));
        let ad_set = shop.ad_set;
        market.hours(3);
        let multiplier = |market: &Market| i64::from(market.stage.front.multiplier(ad_set));
        let before = multiplier(&market);
        let wanted = Offer::default().budget((Some(budget * percent / 100), None));
        let row = Campaign { id: shop.campaign, budget: wanted, ..Campaign::default() };
        market.stage.update(shop.tenant, Resource::Campaign(row), &["budget"]);
        let after = multiplier(&market) * percent / 100;
        assert!(after.abs_diff(before) < before as u64 / 50, "{before} {after} x {percent} %");
        market.stage = market.stage.restarted();
        let after = multiplier(&market) * percent / 100;
        assert!(after.abs_diff(before) < before as u64 / 50, "{before} {after} again");
    }
}
