//! What ad sets want, when they run, and in which currency they pay.

use munadi::types::proto::journal::v1::ExchangeRatesPut;
use munadi::types::proto::v1::{
    AdSet, BillingEvent, ExchangeRate, NoAdReason, OptimizationGoal, ReasonCount,
};
use munadi::types::request::{ListChange, Resource, Scope};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use crate::stage::{Offer, Shop, Stage};

/// Creates an advertiser whose ad set was changed before it was written.
fn shop_with(stage: &mut Stage, offer: &Offer, change: impl Fn(&mut AdSet)) -> Shop {
    let account = stage.create(offer.tenant, Resource::Account(offer.account_row()));
    stage.shop_of(account, offer, change)
}

/// Returns a stage whose feed has no floor.
fn unfloored() -> Stage {
    let mut stage = Stage::new();
    stage.policy.floor_cpm_micros = 0;
    stage
}

fn wants(goal: OptimizationGoal, micros: i64) -> impl Fn(&mut AdSet) {
    move |row| {
        row.optimization_goal = goal.into();
        row.bid = row.bid.take().map(|bid| munadi::types::proto::v1::Money { micros, ..bid });
    }
}

#[test]
fn a_bid_for_conversations_is_charged_by_the_impression_and_never_above_its_worth() {
    let mut stage = unfloored();
    let offer = Offer { billing: BillingEvent::Impressions, ..Offer::default() };
    shop_with(&mut stage, &offer, wants(OptimizationGoal::Conversations, 50_000_000));
    let rival = Offer { bid: 150_000, ..Offer::default() };
    shop_with(&mut stage, &rival, |_| {});
    let shown = stage.show("a");
    // 50 units x 1 % x 40 %: an impression is worth 0.2, the next ad's costs 0.15.
    let price = stage.see(&shown);
    assert!((149_000..=150_000).contains(&price), "{price}");
}

#[test]
fn an_ad_set_for_reach_looks_for_viewers_who_have_not_seen_it() {
    let mut stage = unfloored();
    let reach = shop_with(&mut stage, &Offer::default(), wants(OptimizationGoal::Reach, 3_000_000));
    let rival = Offer { bid: 2_000, ..Offer::default() };
    let rival = shop_with(&mut stage, &rival, |_| {});
    let first = stage.show("a");
    assert_eq!(first.ad.ad_id, reach.ad);
    stage.see(&first);
    stage.wait(HOUR_MS);
    assert_eq!(stage.show("a").ad.ad_id, rival.ad, "half of 3 is less than 2");
    assert_eq!(stage.show("b").ad.ad_id, reach.ad, "another viewer has not seen it");
    stage.wait(DAY_MS + HOUR_MS);
    stage.settle();
    assert_eq!(stage.show("a").ad.ad_id, reach.ad, "a day later it is new again");
}

#[test]
fn a_schedule_in_the_accounts_zone_opens_and_closes_the_ad_set() {
    // A Monday, 05:50 in Mexico City.
    let mut stage = Stage::at("2026-11-23T11:50:00Z");
    let offer = Offer { zone: "America/Mexico_City", ..Offer::default() };
    let shop = shop_with(&mut stage, &offer, |row| row.schedule_hours = vec![6, 7, 30]);
    assert_eq!(stage.try_show("a").unwrap_err(), NoAdReason::OutsideSchedule);
    stage.wait(10 * MINUTE_MS);
    stage.settle();
    assert!(stage.try_show("a").is_ok(), "06:00");
    let mut stage = stage.restarted();
    stage.wait(2 * HOUR_MS - 1);
    stage.settle();
    assert!(stage.try_show("b").is_ok(), "07:59");
    stage.wait(1);
    stage.settle();
    assert_eq!(stage.try_show("c").unwrap_err(), NoAdReason::OutsideSchedule);
    let always = AdSet { id: shop.ad_set, ..AdSet::default() };
    stage.update(shop.tenant, Resource::AdSet(always), &["schedule_hours"]);
    assert!(stage.try_show("c").is_ok(), "without a schedule it always runs");
}

#[test]
fn ads_compete_by_what_their_currencies_are_worth_and_pay_in_their_own() {
    let mut stage = unfloored();
    let peso = Offer { currency: "MXN", bid: 1_000_000, ..Offer::default() };
    let dollar = Offer { currency: "USD", bid: 60_000, ..Offer::default() };
    let peso = shop_with(&mut stage, &peso, |_| {});
    let dollar = shop_with(&mut stage, &dollar, |_| {});
    assert_eq!(stage.show("a").ad.ad_id, peso.ad, "nothing is loaded: micros are compared");
    let rate = |currency: &str, rate_micros: i64| ExchangeRate {
        currency: currency.into(),
        rate_micros,
        valid_from: None,
    };
    let put = |rates| ExchangeRatesPut { settlement_currency: "USD".into(), rates };
    let load = |stage: &mut Stage, name: &str, rates| {
        stage.write_lists(name, ListChange::ExchangeRates(put(rates))).unwrap()
    };
    load(&mut stage, "rates", vec![rate("MXN", 50_000)]);
    let shown = stage.show("b");
    assert_eq!(shown.ad.ad_id, dollar.ad, "a peso is a twentieth of a dollar");
    assert_eq!(stage.see(&shown), 50_000, "what the pesos come to");
    load(&mut stage, "dear", vec![rate("MXN", 70_000)]);
    let shown = stage.show("c");
    assert_eq!(shown.ad.ad_id, peso.ad);
    let price = stage.see(&shown);
    assert_eq!(price, 857_142, "0.06 dollars at 0.07, rounded down");
    load(&mut stage, "none", vec![rate("BRL", 200_000)]);
    assert_eq!(stage.show("d").ad.ad_id, dollar.ad, "pesos without a rate do not serve");
}

#[test]
fn a_closed_ad_set_says_so_when_it_is_explained() {
    let mut stage = Stage::new();
    let offer = Offer::default();
    stage.front.watch_here();
    let shop = shop_with(&mut stage, &offer, |row| row.schedule_hours = vec![167]);
    assert!(stage.try_show("a").is_err());
    let scope = Scope { tenant: shop.tenant, any: false };
    let told = stage.front.explain_delivery(scope, shop.ad, stage.now).unwrap();
    let names: Vec<&str> = told.reasons.iter().map(|ReasonCount { name, .. }| &**name).collect();
    assert!(names.contains(&"OUTSIDE_SCHEDULE"), "{names:?}");
    assert_eq!(told.fixes[0].field, "ad_set.schedule_hours");
}
