//! What a draft would deliver, asked of a running node, and forecasts of what runs beside what came.

use munadi::node::{Question, Wanted};
use munadi::types::proto::v1::{
    AdSet, AgeBand, BillingEvent, DeliveryForecast, EstimateDeliveryResponse, Range, Targeting,
};
use munadi::types::refusal::{Reason, Refusal};
use munadi::types::request::Scope;
use munadi::types::time::{HOUR_MS, MINUTE_MS};

use crate::stage::{ALL, Offer, Shop, Stage, TENANT};

/// Viewers who come, each once, over a day.
const VIEWERS: u64 = 2_400;

/// A thousand impressions, micros.
const BID: i64 = 1_000_000_000;

/// Of ten ads that are shown nine are seen.
fn is_seen(viewer: u64) -> bool {
    !viewer.is_multiple_of(10)
}

/// Lets a day pass in which a shop's ad is shown to everybody; three of four are adults.
fn day() -> (Stage, Shop) {
    let mut stage = Stage::new();
    stage.front.watch_here();
    let shop = stage.shop(&Offer::default());
    stage.wait(HOUR_MS);
    for viewer in 0..VIEWERS {
        let mut request = stage.tray_of(&format!("viewer {viewer}"));
        let is_adult = !viewer.is_multiple_of(4);
        let band = if is_adult { AgeBand::AgeBand2534 } else { AgeBand::AgeBand1317 };
        request.profile.age_band = band as u8;
        let shown = stage.try_fill(&request).unwrap();
        if is_seen(viewer) {
            stage.see(&shown);
        }
        stage.wait(24 * HOUR_MS / VIEWERS as i64);
        // Midnight grants the next day's budget.
        stage.settle();
    }
    stage.wait(10 * MINUTE_MS);
    stage.settle();
    (stage, shop)
}

fn draft() -> AdSet {
    AdSet {
        billing_event: BillingEvent::Impressions.into(),
        targeting: Some(Targeting { age_min: 18, ..Targeting::default() }),
        ..AdSet::default()
    }
}

fn ask(
    stage: &Stage,
    scope: Scope,
    account: u64,
    (bids, budgets): (&[i64], &[Option<i64>]),
) -> Result<EstimateDeliveryResponse, Refusal> {
    let wanted = Wanted {
        account,
        category: String::new(),
        bids: bids.iter().map(|bid| Some(*bid)).collect(),
        budgets: budgets.to_vec(),
        currencies: vec![("bids[0].currency".into(), "MXN".into())],
    };
    let question = Question { ad_set: draft(), wanted: Some(wanted) };
    stage.front.estimate_delivery(scope, &question, stage.now)
}

fn expected(range: Option<Range>) -> u64 {
    let Range { low, expected, high } = range.expect("every figure has its range");
    assert!(low <= expected && expected <= high, "{low} {expected} {high}");
    expected
}

fn impressions(forecast: &DeliveryForecast) -> u64 {
    expected(forecast.impressions)
}

#[test]
fn a_draft_is_told_what_it_would_win_at_each_bid_and_budget() {
    let (stage, shop) = day();
    stage.front.compare_forecasts(stage.now);
    let own = Scope { tenant: TENANT, any: false };
    let budgets = [None, Some(500_000_000)];
    let answer = ask(&stage, own, shop.account, (&[BID / 2, 2 * BID], &budgets)).unwrap();
    assert_eq!((answer.sampled_requests, answer.sampled_ppm), (VIEWERS, 1_000_000));
    let [less, less_paid, more, more_paid] = &answer.forecasts[..] else {
        panic!("{answer:?}");
    };
    // The running ad is worth 1 MXN a view: half of that wins nothing, twice of it every adult.
    assert_eq!((impressions(less), impressions(less_paid)), (0, 0));
    let adults = VIEWERS * 3 / 4;
    assert!(impressions(more).abs_diff(adults * 9 / 10) < adults / 20, "{more:?}");
    assert_eq!(expected(more.reach), impressions(more), "each came once");
    assert_eq!(more.frequency[0], expected(more.reach));
    // Each view costs what it takes from the running ad.
    assert_eq!(expected(more.spend_micros), impressions(more) * 1_000_000);
    assert!(impressions(more_paid).abs_diff(500) <= 10, "{more_paid:?}");
    assert_eq!(more_paid.daily_budget.as_ref().map(|budget| budget.micros), budgets[1]);
    assert!(more_paid.over_delivery_ppm > 0);
    assert_eq!(answer.recent_compared, 1, "the running ad set was forecast without itself");
    assert!(answer.recent_error_ppm < 30_000, "{answer:?}");
}

#[test]
fn a_draft_of_somebody_else_or_in_other_money_is_refused() {
    let (stage, shop) = day();
    let one: (&[i64], &[Option<i64>]) = (&[BID], &[None]);
    let other = Scope { tenant: TENANT + 1, any: false };
    let refused = ask(&stage, other, shop.account, one).unwrap_err();
    assert_eq!((refused.reason, &*refused.field), (Reason::NotFound, "account_id"));
    let refused = ask(&stage, ALL, shop.account + 1, one).unwrap_err();
    assert_eq!((refused.reason, &*refused.field), (Reason::NotFound, "account_id"));
    let mut wanted = Wanted {
        account: shop.account,
        category: String::new(),
        bids: vec![Some(BID)],
        budgets: vec![None],
        currencies: vec![("bids[0].currency".into(), "EUR".into())],
    };
    let question = |wanted: &Wanted| Question { ad_set: draft(), wanted: Some(wanted.clone()) };
    let refused = stage.front.estimate_delivery(ALL, &question(&wanted), stage.now).unwrap_err();
    let told = (refused.reason, &*refused.field);
    assert_eq!(told, (Reason::CurrencyInvalid, "bids[0].currency"));
    // Of few people nothing is told.
    wanted.currencies.clear();
    let few = Targeting { age_max: 17, ..Targeting::default() };
    let ad_set = AdSet { targeting: Some(few), ..draft() };
    let few = Question { ad_set, wanted: Some(wanted) };
    let few = stage.front.estimate_delivery(ALL, &few, stage.now).unwrap();
    assert!(few.below_minimum && few.forecasts.is_empty(), "{few:?}");
}
