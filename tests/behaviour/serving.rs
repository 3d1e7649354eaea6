//! What a tray is filled with, and why a slot stays empty.

use std::collections::BTreeSet;
use std::thread;

use munadi::types::proto::v1::slot::Filling;
use munadi::types::proto::v1::{
    BillingEvent, ConfiguredStatus, EventKind, FrequencyCap, NoAdReason, Placement, Targeting,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{AdRequest, Policy, Resource};
use munadi::types::time::{HOUR_MS, MINUTE_MS, SECOND_MS};

use crate::stage::{Offer, Stage, event_at, letters, refused};

fn cap(max_frequency: u32, interval_hours: u32) -> Offer {
    let caps = vec![FrequencyCap { max_frequency, interval_hours, event: 1 }];
    Offer { caps, ..Offer::default() }
}

fn why(stage: &Stage) -> NoAdReason {
    stage.try_show("a").unwrap_err()
}

#[test]
fn a_change_is_served_at_once() {
    let mut stage = Stage::new();
    assert_eq!(why(&stage), NoAdReason::NoLiveAds);
    let shop = stage.shop(&Offer::default());
    assert_eq!(stage.show("a").ad.ad_id, shop.ad);
    let paused = munadi::types::proto::v1::Campaign {
        id: shop.campaign,
        configured_status: ConfiguredStatus::Paused.into(),
        ..Default::default()
    };
    stage.update(shop.tenant, Resource::Campaign(paused), &["configured_status"]);
    assert_eq!(why(&stage), NoAdReason::NoLiveAds);
}

#[test]
fn an_ad_tells_the_viewer_why_and_the_feed_how_long() {
    let mut stage = Stage::new();
    let targeting = Targeting { countries: vec!["MX".into()], ..Targeting::default() };
    stage.shop(&Offer { targeting, ..Offer::default() });
    let ad = stage.show("a").ad;
    let why = ad.why_this_ad.unwrap();
    assert_eq!((&*why.advertiser, &*why.parameters), ("Tacos el Rey", &["country".into()][..]));
    let (show_by, until) = (ad.show_by.unwrap().seconds, ad.valid_until.unwrap().seconds);
    assert_eq!(show_by * SECOND_MS, stage.now.0 + 10 * MINUTE_MS);
    assert_eq!(until * SECOND_MS, stage.now.0 + 24 * HOUR_MS);
    assert!(ad.view_token.len() <= 128);
    assert!(ad.chat_link.starts_with("https://t.me/tacos_bot?start="), "{}", ad.chat_link);
}

#[test]
fn an_ad_for_others_is_not_targeted() {
    let mut stage = Stage::new();
    let targeting = Targeting { countries: vec!["IN".into()], ..Targeting::default() };
    stage.shop(&Offer { targeting, ..Offer::default() });
    assert_eq!(why(&stage), NoAdReason::NotTargeted);
    let mut request = stage.tray_of("a");
    request.profile.country = letters("IN");
    assert!(stage.try_fill(&request).is_ok());
    request.profile.country = 0;
    assert_eq!(stage.try_fill(&request).unwrap_err(), NoAdReason::NotTargeted);
}

#[test]
fn an_ad_for_another_placement_is_not_targeted() {
    let mut stage = Stage::new();
    let placements = vec![Placement::Stories.into()];
    let targeting = Targeting { placements, ..Targeting::default() };
    stage.shop(&Offer { targeting, ..Offer::default() });
    assert_eq!(why(&stage), NoAdReason::NotTargeted);
    let request = AdRequest { placement: Placement::Stories, ..stage.tray_of("a") };
    assert!(stage.try_fill(&request).is_ok());
}

#[test]
fn a_schedule_begins_at_its_start_and_ends_at_its_end() {
    let mut stage = Stage::new();
    let second = i64::from(stage.now.seconds());
    let (start, end) = (Some(second + 10), Some(second + 20));
    stage.shop(&Offer { start, end, ..Offer::default() });
    let noon = stage.now;
    for (ms, live) in [(9_999, false), (10_000, true), (19_999, true), (20_000, false)] {
        stage.now = noon.plus_ms(ms);
        assert_eq!(stage.try_show("a").is_ok(), live, "{ms}");
    }
    assert_eq!(why(&stage), NoAdReason::OutsideSchedule);
}

#[test]
fn a_cap_counts_promises_and_views_and_ends_with_its_interval() {
    let mut stage = Stage::new();
    stage.shop(&cap(2, 1));
    let first = stage.show("a");
    stage.see(&first);
    let _promised = stage.show("a");
    assert_eq!(why(&stage), NoAdReason::FrequencyCapped);
    assert!(stage.try_show("b").is_ok(), "another viewer's cap is another");
    stage.wait(11 * MINUTE_MS);
    assert!(stage.try_show("a").is_ok(), "a promise that lapsed is free again");
    stage.wait(3 * HOUR_MS);
    assert!(stage.try_show("a").is_ok());
}

#[test]
fn a_cap_holds_when_one_viewer_asks_from_many_threads_at_once() {
    for round in 0..20 {
        let mut stage = Stage::new();
        stage.shop(&cap(3, 24));
        let request = stage.tray_of(&format!("viewer {round}"));
        let (front, policy, now) = (&stage.front, stage.policy, stage.now);
        let ask = || {
            let ads = (0..4).map(|_| front.request_ads(crate::stage::FEED, &policy, &request, now));
            let ads = ads.flat_map(|answer| answer.slots());
            ads.filter(|slot| matches!(slot.filling, Some(Filling::Ad(_)))).count()
        };
        let shown: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((1..=3).contains(&shown), "{shown} shown under a cap of 3");
    }
}

#[test]
fn a_full_cap_record_refuses_further_capped_ads_and_forgets_none() {
    let mut stage = Stage::new();
    for _ in 0..17 {
        stage.shop(&cap(1, 24));
    }
    let mut ads = BTreeSet::new();
    for _ in 0..16 {
        let shown = stage.show("a");
        stage.see(&shown);
        assert!(ads.insert(shown.ad.ad_id), "each is shown once");
    }
    assert_eq!(why(&stage), NoAdReason::FrequencyCapped, "the furthest an ad got");
    stage.shop(&Offer::default());
    assert!(stage.try_show("a").is_ok(), "an ad without a cap is not held up");
}

#[test]
fn feedback_is_effective_on_the_next_request_and_an_undo_takes_it_back() {
    for kind in [EventKind::HideAd, EventKind::HideBusiness, EventKind::Report] {
        let mut stage = Stage::new();
        stage.shop(&Offer::default());
        let shown = stage.show("a");
        stage.see(&shown);
        stage.happen(&shown, kind);
        assert_eq!(why(&stage), NoAdReason::HiddenByViewer, "{kind:?}");
        assert!(stage.try_show("b").is_ok());
        let mut stage = stage.restarted();
        assert_eq!(why(&stage), NoAdReason::HiddenByViewer, "{kind:?} after a restart");
        stage.happen(&shown, EventKind::Undo);
        assert!(stage.try_show("a").is_ok());
    }
}

#[test]
fn a_feeds_policy_decides_where_ads_stand() {
    let mut stage = Stage::new();
    for _ in 0..5 {
        stage.shop(&Offer::default());
    }
    let positions = |stage: &Stage, request: &AdRequest| -> Vec<(u32, bool)> {
        let slots = stage.ask(request);
        let is_ad = |filling| matches!(filling, Some(Filling::Ad(_)));
        slots.into_iter().map(|slot| (slot.position, is_ad(slot.filling))).collect()
    };
    let request = AdRequest { posts: 30, ..stage.tray_of("a") };
    assert_eq!(positions(&stage, &request), [(2, true), (6, true), (10, true)]);
    stage.policy = Policy { first_position: 0, min_gap: 9, most_per_tray: 2, ..stage.policy };
    assert_eq!(positions(&stage, &request), [(0, true), (9, true)]);
    let request = AdRequest { positions: vec![3, 4, 20, 29], ..request };
    let asked = positions(&stage, &request);
    assert_eq!(asked, [(3, true), (4, false), (20, true), (29, false)]);
    let slots = stage.ask(&request);
    assert_eq!(slots[1].filling, Some(Filling::NoAdReason(NoAdReason::FeedPolicy.into())));
    let short = AdRequest { posts: 0, positions: Vec::new(), ..request };
    assert_eq!(stage.ask(&short), [], "no room, no slot");
}

#[test]
fn one_tray_has_one_ad_of_an_advertiser_and_of_a_category() {
    let mut stage = Stage::new();
    let food = Offer { category: "food", ..Offer::default() };
    // It wins: of its rivals one is of its business, the other of its category.
    let first = stage.shop(&Offer { bid: 2_000_000, ..food.clone() });
    let sister = Offer::default().ad_row(first.ad_set, first.endpoint);
    stage.create(first.tenant, Resource::Ad(sister));
    stage.shop(&food);
    let request = AdRequest { posts: 30, ..stage.tray_of("a") };
    let fillings: Vec<_> = stage.ask(&request).into_iter().map(|slot| stage.filled(slot)).collect();
    assert_eq!(fillings.iter().filter(|filling| filling.is_ok()).count(), 1);
    let last = fillings.into_iter().next_back().unwrap();
    assert_eq!(last.unwrap_err(), NoAdReason::Separation);
}

#[test]
fn an_advertiser_keeps_its_distance_across_trays() {
    let mut stage = Stage::new();
    stage.policy.advertiser_distance_ms = 5 * MINUTE_MS;
    stage.shop(&Offer::default());
    let shown = stage.show("a");
    assert_eq!(why(&stage), NoAdReason::Separation, "promised just now");
    stage.see(&shown);
    stage.wait(5 * MINUTE_MS - 1);
    assert_eq!(why(&stage), NoAdReason::Separation);
    stage.wait(1);
    assert!(stage.try_show("a").is_ok());
}

#[test]
fn a_bid_below_the_floor_is_not_served() {
    let mut stage = Stage::new();
    stage.policy.floor_cpm_micros = 1_000_001_000;
    stage.shop(&Offer::default());
    assert_eq!(why(&stage), NoAdReason::BelowFloor);
}

#[test]
fn the_winner_pays_the_next_bid_and_never_above_its_own() {
    let mut stage = Stage::new();
    stage.policy.floor_cpm_micros = 0;
    let high = stage.shop(&Offer { bid: 3_000_000, ..Offer::default() });
    stage.shop(&Offer { bid: 2_000_000, ..Offer::default() });
    let shown = stage.show("a");
    assert_eq!((shown.ad.ad_id, shown.token.price_micros), (high.ad, 2_000_000));
    assert_eq!(stage.see(&shown), 2_000_000);
}

#[test]
fn every_slot_without_an_ad_has_a_reason_and_both_are_counted() {
    let mut stage = Stage::new();
    stage.shop(&Offer { campaign: (Some(1_000_000), None), ..Offer::default() });
    stage.show("a");
    assert_eq!(stage.try_show("b").unwrap_err(), NoAdReason::BudgetSpent);
    stage.wait(MINUTE_MS);
    stage.settle();
    let report = stage.report(&[]);
    assert_eq!((report.requests, report.ads_served), (2, 1));
    let empty = &report.empty_slots[0];
    assert_eq!((empty.reason, empty.slots), (NoAdReason::BudgetSpent as u32, 1));
}

#[test]
fn a_tap_without_a_view_is_refused_and_nothing_is_counted() {
    let mut stage = Stage::new();
    stage.shop(&Offer { billing: BillingEvent::Impressions, ..Offer::default() });
    let shown = stage.show("a");
    for kind in [EventKind::Tap, EventKind::Viewable, EventKind::HideAd, EventKind::Undo] {
        assert_eq!(refused(&stage.happen(&shown, kind)), Reason::ViewMissing, "{kind:?}");
    }
    assert_eq!(stage.report(&[]).rows, []);
    stage.see(&shown);
    assert_eq!(stage.tap(&shown), 0);
}

#[test]
fn an_event_from_the_future_or_before_its_token_is_refused() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let shown = stage.show("a");
    let mut at = |ms: i64| {
        let moment = stage.now.plus_ms(ms);
        stage.record(event_at(&shown, EventKind::Impression, moment))
    };
    assert_eq!(refused(&at(5 * MINUTE_MS + 1)), Reason::EventFromFuture);
    assert_eq!(refused(&at(-1_000)), Reason::EventBeforeToken);
    assert_eq!(crate::stage::charged(&at(5 * MINUTE_MS)), 1_000_000);
}
