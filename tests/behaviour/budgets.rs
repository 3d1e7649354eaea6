//! Money: nobody is charged one micro above a budget, whatever is repeated, late or lost.

use munadi::node::writer::Work;
use munadi::types::proto::v1::{Account, AdSet, BillingEvent, Campaign, Dimension, EventKind};
use munadi::types::proto::v1::{NoAdReason, ReportRow};
use munadi::types::refusal::Reason;
use munadi::types::request::{Change, Incoming, Resource, ResourceKind, Verdict};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use proptest::prelude::*;

use crate::stage::{Offer, Shop, Shown, Stage, at, charged, event, event_at};

const MXN: i64 = 1_000_000;

/// Returns the one row of everything.
fn row(stage: &Stage) -> ReportRow {
    stage.report(&[]).rows.first().cloned().unwrap_or_default()
}

fn spent(stage: &Stage) -> i64 {
    row(stage).spend_micros
}

fn daily(micros: i64) -> Offer {
    Offer { campaign: (Some(micros), None), ..Offer::default() }
}

/// Serves until nothing is left, forgetting in between what was promised: a crash does that.
fn serve_too_much(stage: Stage, rounds: usize) -> (Stage, Vec<Shown>) {
    let (mut stage, mut all) = (stage, Vec::new());
    for round in 0..rounds {
        while let Ok(shown) = stage.try_show(&format!("viewer {round} {}", all.len())) {
            all.push(shown);
        }
        stage = stage.restarted();
    }
    (stage, all)
}

#[test]
fn a_daily_budget_is_charged_to_the_last_micro_and_not_beyond() {
    let mut stage = Stage::new();
    stage.shop(&daily(2 * MXN + 300_000));
    let (mut stage, shown) = serve_too_much(stage, 2);
    assert_eq!(shown.len(), 4, "2 a round fit: what is promised is held");
    let charges: Vec<_> = shown.iter().map(|shown| stage.see(shown)).collect();
    assert_eq!(charges, [MXN, MXN, 300_000, 0]);
    assert_eq!(row(&stage).over_delivered_micros, MXN + 700_000);
    assert_eq!(stage.try_show("anybody").unwrap_err(), NoAdReason::BudgetSpent);
}

#[test]
fn a_lifetime_budget_holds_over_days() {
    let mut stage = Stage::new();
    let campaign = (Some(2 * MXN), Some(3 * MXN));
    stage.shop(&Offer { campaign, ..Offer::default() });
    for wanted in [2 * MXN, MXN, 0] {
        let (later, shown) = serve_too_much(stage, 3);
        stage = later;
        let sum: i64 = shown.iter().map(|shown| stage.see(shown)).sum();
        assert_eq!(sum, wanted);
        stage.wait(DAY_MS);
        stage.settle();
    }
    assert_eq!(spent(&stage), 3 * MXN);
}

#[test]
fn the_least_of_account_campaign_and_ad_set_limits_a_charge() {
    for (limit, campaign, ad_set) in [(1, 9, 9), (9, 1, 9), (9, 9, 1)] {
        let mut stage = Stage::new();
        stage.shop(&Offer {
            spend_limit: Some(limit * MXN),
            campaign: (None, Some(campaign * MXN)),
            ad_set: (Some(ad_set * MXN), None),
            ..Offer::default()
        });
        let (mut stage, shown) = serve_too_much(stage, 2);
        assert_eq!(shown.len(), 2);
        assert_eq!(shown.iter().map(|shown| stage.see(shown)).sum::<i64>(), MXN);
    }
}

#[test]
fn two_ad_sets_of_one_campaign_share_its_budget() {
    let mut stage = Stage::new();
    let offer = daily(MXN);
    let shop = stage.shop(&offer);
    let second = Resource::AdSet(offer.ad_set_row(shop.campaign));
    let second = stage.create(shop.tenant, second);
    stage.create(shop.tenant, Resource::Ad(offer.ad_row(second, shop.endpoint)));
    let (mut stage, shown) = serve_too_much(stage, 6);
    let mut ads: Vec<_> = shown.iter().map(|shown| shown.ad.ad_id).collect();
    ads.sort_unstable();
    ads.dedup();
    assert_eq!(ads.len(), 2, "equal bids take turns");
    assert_eq!(shown.iter().map(|shown| stage.see(shown)).sum::<i64>(), MXN);
}

#[test]
fn a_day_rolls_at_midnight_of_the_accounts_zone() {
    // Midnight in Mexico City is 06:00 UTC.
    let mut stage = Stage::at("2026-11-23T05:59:59Z");
    stage.shop(&Offer { zone: "America/Mexico_City", ..daily(MXN) });
    let (late, early) = (stage.show("a"), stage.try_show("b"));
    assert_eq!(early.unwrap_err(), NoAdReason::BudgetSpent);
    stage.see(&late);
    stage.now = at("2026-11-23T06:00:00Z");
    stage.settle();
    let shown = stage.show("b");
    assert_eq!(stage.see(&shown), MXN);
    let days = stage.report(&[Dimension::Day]).rows;
    assert_eq!(days.iter().map(|row| row.spend_micros).collect::<Vec<_>>(), [MXN, MXN]);
}

#[test]
fn a_day_of_25_hours_has_one_budget() {
    // On 2026-11-01 New York sets its clocks back: the day is 04:00 UTC to 05:00 UTC.
    let mut stage = Stage::at("2026-11-01T04:00:00Z");
    stage.shop(&Offer { zone: "America/New_York", ..daily(MXN) });
    let shown = stage.show("a");
    stage.see(&shown);
    stage.now = at("2026-11-02T04:59:59Z");
    stage.settle();
    assert_eq!(stage.try_show("b").unwrap_err(), NoAdReason::BudgetSpent);
    stage.now = at("2026-11-02T05:00:00Z");
    stage.settle();
    assert!(stage.try_show("b").is_ok());
}

#[test]
fn a_day_of_23_hours_ends_an_hour_earlier() {
    // On 2026-03-08 New York sets its clocks forward: the day is 05:00 UTC to 04:00 UTC.
    let mut stage = Stage::at("2026-03-08T05:00:00Z");
    stage.shop(&Offer { zone: "America/New_York", ..daily(MXN) });
    let shown = stage.show("a");
    stage.see(&shown);
    stage.now = at("2026-03-09T03:59:59Z");
    stage.settle();
    assert_eq!(stage.try_show("b").unwrap_err(), NoAdReason::BudgetSpent);
    stage.now = at("2026-03-09T04:00:00Z");
    stage.settle();
    assert!(stage.try_show("b").is_ok());
}

#[test]
fn a_view_of_yesterdays_ad_is_charged_to_today() {
    let mut stage = Stage::at("2026-11-23T23:59:00Z");
    stage.shop(&daily(MXN));
    let shown = stage.show("a");
    stage.wait(2 * MINUTE_MS);
    assert_eq!(stage.see(&shown), MXN);
    assert_eq!(stage.try_show("b").unwrap_err(), NoAdReason::BudgetSpent, "today is spent");
}

#[test]
fn a_view_after_show_by_is_counted_and_not_charged() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let (timely, late) = (stage.show("a"), stage.show("b"));
    let show_by = i64::from(stage.policy.show_by_s) * 1_000;
    stage.wait(show_by);
    assert_eq!(stage.see(&timely), MXN);
    stage.wait(1);
    assert_eq!(stage.see(&late), 0);
    assert_eq!((row(&stage).impressions, spent(&stage)), (2, MXN));
}

#[test]
fn a_timely_view_that_is_reported_late_is_charged() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let shown = stage.show("a");
    let seen = stage.now.plus_ms(MINUTE_MS);
    stage.wait(23 * HOUR_MS);
    let verdict = stage.record(event_at(&shown, EventKind::Impression, seen));
    assert_eq!(charged(&verdict), MXN);
}

#[test]
fn an_event_counts_once_in_one_batch_in_the_next_and_after_a_restart() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let shown = stage.show("a");
    let seen = || event(&shown, EventKind::Impression);
    let verdicts = stage.record_all(vec![seen(), seen(), seen()]);
    assert_eq!(verdicts[0], Verdict::Recorded { charged: MXN, invalid: None });
    assert_eq!(verdicts[1..], [Verdict::Already, Verdict::Already]);
    assert_eq!(stage.record(seen()), Verdict::Already);
    let mut stage = stage.restarted();
    assert_eq!(stage.record(seen()), Verdict::Already);
    assert_eq!((row(&stage).impressions, spent(&stage)), (1, MXN));
}

#[test]
fn an_event_counts_once_when_its_acknowledgement_is_lost_with_the_node() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let shown = stage.show("a");
    // Stored, and the node dies before it can say so.
    let reply = Box::new(|_| ());
    stage.writer.step(stage.now, [Work::Record(vec![event(&shown, EventKind::Impression)], reply)]);
    let mut stage = stage.restarted();
    assert_eq!(stage.happen(&shown, EventKind::Impression), Verdict::Already);
    assert_eq!(spent(&stage), MXN);
}

#[test]
fn taps_are_charged_once_where_taps_are_billed() {
    let mut stage = Stage::new();
    stage.policy.floor_cpm_micros = 9_000_000;
    stage.shop(&Offer { billing: BillingEvent::LinkClicks, ..Offer::default() });
    let shown = stage.show("a");
    assert_eq!(stage.see(&shown), 0);
    let price = stage.tap(&shown);
    assert!((1..=MXN).contains(&price), "{price}");
    assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
    assert_eq!(spent(&stage), price);
}

#[test]
fn a_lowered_budget_holds_at_once_and_a_raised_one_serves_again() {
    let mut stage = Stage::new();
    let offer = daily(10 * MXN);
    let shop = stage.shop(&offer);
    let shown: Vec<_> = (0..5).map(|viewer| stage.show(&viewer.to_string())).collect();
    shown[..2].iter().for_each(|shown| assert_eq!(stage.see(shown), MXN));
    let campaign = |budget| {
        let budget = offer.budget(budget);
        Resource::Campaign(Campaign { id: shop.campaign, budget, ..Campaign::default() })
    };
    stage.update(shop.tenant, campaign((Some(3 * MXN), None)), &["budget"]);
    let charges: Vec<_> = shown[2..].iter().map(|shown| stage.see(shown)).collect();
    assert_eq!(charges, [MXN, 0, 0]);
    assert_eq!(stage.try_show("late").unwrap_err(), NoAdReason::BudgetSpent);
    stage.update(shop.tenant, campaign((Some(4 * MXN), None)), &["budget"]);
    let shown = stage.show("late");
    assert_eq!(stage.see(&shown), MXN);
    assert_eq!(spent(&stage), 4 * MXN);
}

#[test]
fn a_lowered_budget_holds_although_the_node_died_before_it_granted_anew() {
    let mut stage = Stage::new();
    let offer = daily(10 * MXN);
    let shop = stage.shop(&offer);
    let shown: Vec<_> = (0..2).map(|viewer| stage.show(&viewer.to_string())).collect();
    let budget = offer.budget((Some(MXN), None));
    let campaign = Campaign { id: shop.campaign, budget, ..Campaign::default() };
    let change = Change::Update(Resource::Campaign(campaign), vec!["budget".into()]);
    let write = Box::new(Stage::writing(shop.tenant, "lower", change));
    stage.writer.step(stage.now, [Work::Mutate(write, Box::new(|_| ()))]);
    // The write is stored; the grant behind it is lost with the node.
    let mut stage = stage.losing(1);
    let stored = stage.get(ResourceKind::Campaign, shop.campaign).unwrap();
    assert!(matches!(stored, Resource::Campaign(row) if row.etag == "2"));
    let charges: Vec<_> = shown.iter().map(|shown| stage.see(shown)).collect();
    assert_eq!(charges, [MXN, 0]);
}

#[test]
fn a_campaign_whose_ad_sets_live_on_its_budget_keeps_one() {
    let mut stage = Stage::new();
    let shop = stage.shop(&daily(MXN));
    let bare = Campaign { id: shop.campaign, ..Campaign::default() };
    let refusal = stage.try_update(shop.tenant, Resource::Campaign(bare), &["budget"]).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::FieldMissing, "campaign.budget"));
}

#[test]
fn an_ad_set_without_any_budget_is_refused() {
    let mut stage = Stage::new();
    let offer = Offer { campaign: (None, None), ad_set: (Some(MXN), None), ..Offer::default() };
    let shop = stage.shop(&offer);
    let bare = Offer { campaign: (None, None), ..Offer::default() }.ad_set_row(shop.campaign);
    let refusal = stage.try_create(shop.tenant, Resource::AdSet(bare.clone())).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::FieldMissing, "ad_set.budget"));
    let bare = AdSet { id: shop.ad_set, ..bare };
    let refusal = stage.try_update(shop.tenant, Resource::AdSet(bare), &["budget"]).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::FieldMissing, "ad_set.budget"));
}

#[test]
fn money_of_another_currency_is_refused() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let foreign = Offer { currency: "USD", ..daily(MXN) };
    let campaign = Resource::Campaign(foreign.campaign_row(shop.account));
    let refusal = stage.try_create(shop.tenant, campaign).unwrap_err();
    assert_eq!(refusal.reason, Reason::CurrencyInvalid);
    assert_eq!(refusal.field, "campaign.budget.daily.currency");
    let ad_set = Resource::AdSet(foreign.ad_set_row(shop.campaign));
    let refusal = stage.try_create(shop.tenant, ad_set).unwrap_err();
    assert_eq!(refusal.field, "ad_set.bid.currency");
    let spend_limit = Some(foreign.money(MXN));
    let account = Account { id: shop.account, spend_limit, ..Account::default() };
    let refusal = stage.try_update(shop.tenant, Resource::Account(account), &["spend_limit"]);
    assert_eq!(refusal.unwrap_err().field, "account.spend_limit.currency");
}

/// One step of an advertiser's, a feed's or a node's day.
#[derive(Clone, Debug)]
enum Step {
    Show(u8),
    See(usize),
    SeeTwiceAtOnce(usize),
    Restart,
    Wait(i64),
    Budget(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => any::<u8>().prop_map(Step::Show),
        5 => any::<usize>().prop_map(Step::See),
        2 => any::<usize>().prop_map(Step::SeeTwiceAtOnce),
        1 => Just(Step::Restart),
        1 => (0..26 * HOUR_MS).prop_map(Step::Wait),
        1 => (MXN..6 * MXN).prop_map(Step::Budget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_day_and_no_life_is_ever_charged_above_its_budget(
        first in MXN..6 * MXN,
        lifetime in MXN..12 * MXN,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut stage = Stage::new();
        let mut budget = first;
        let campaign = (Some(first), Some(lifetime));
        let shop = stage.shop(&Offer { campaign, ..Offer::default() });
        let (mut shown, mut life, mut today) = (Vec::<Shown>::new(), 0, 0);
        let mut day = stage.now.0.div_euclid(DAY_MS);
        for step in steps {
            let mut charges = Vec::new();
            let pick = |index: usize| shown.get(index % shown.len().max(1)).cloned();
            match step {
                Step::Show(viewer) => shown.extend(stage.try_show(&viewer.to_string())),
                Step::See(index) => charges = see(&mut stage, pick(index), 1),
                Step::SeeTwiceAtOnce(index) => charges = see(&mut stage, pick(index), 2),
                Step::Restart => stage = stage.restarted(),
                Step::Wait(ms) => stage.wait(ms),
                Step::Budget(micros) => {
                    let taken = set_budget(&mut stage, &shop, (Some(micros), Some(lifetime)));
                    prop_assert_eq!(taken, micros >= today, "no budget below what was spent");
                    if taken {
                        budget = micros;
                    }
                }
            }
            if day != stage.now.0.div_euclid(DAY_MS) {
                (day, today) = (stage.now.0.div_euclid(DAY_MS), 0);
            }
            for charge in charges {
                (today, life) = (today + charge, life + charge);
                prop_assert!(charge == 0 || today <= budget, "{today} of {budget} a day");
                prop_assert!(charge == 0 || life <= lifetime, "{life} of {lifetime} a life");
            }
        }
        prop_assert_eq!(spent(&stage), life);
    }
}

/// Reports an impression so many times in one batch and returns what was charged.
fn see(stage: &mut Stage, shown: Option<Shown>, times: usize) -> Vec<i64> {
    let Some(shown) = shown else { return Vec::new() };
    let items: Vec<Incoming> = (0..times).map(|_| event(&shown, EventKind::Impression)).collect();
    let charge = |verdict: &Verdict| match verdict {
        Verdict::Recorded { charged, .. } => Some(*charged),
        Verdict::Already | Verdict::Refused(_) => None,
    };
    stage.record_all(items).iter().filter_map(charge).collect()
}

/// Changes the campaign's budget; tells whether that was allowed.
fn set_budget(stage: &mut Stage, shop: &Shop, budget: (Option<i64>, Option<i64>)) -> bool {
    let budget = Offer::default().budget(budget);
    let campaign = Campaign { id: shop.campaign, budget, ..Campaign::default() };
    stage.try_update(shop.tenant, Resource::Campaign(campaign), &["budget"]).is_ok()
}
