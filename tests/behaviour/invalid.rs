//! Invalid traffic: kept and marked, paid by nobody, counted and learned by nothing.

use munadi::report::invoices::Asked;
use munadi::tokens::network_number;
use munadi::types::proto::v1;
use munadi::types::proto::v1::{
    BillingEvent, CapEvent, DeclineReason, EventKind, FrequencyCap, InvalidReason, NoAdReason,
    ReportRow, TrafficRules,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{Claim, Incoming, ListChange, Verdict};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use tonic::Status;
use tonic_types::StatusExt;

use crate::desk::{self, Desk, OPERATOR, STATUS, TACOS, calls, first_ad, open_shop, tray};
use crate::stage::{ALL, Offer, Shop, Shown, Stage, charged, event, event_at, refused};

const BID: i64 = 1_000_000;

/// Stages one shop that pays for this.
fn staged(billing: BillingEvent) -> (Stage, Shop) {
    let mut stage = Stage::new();
    stage.policy.floor_cpm_micros = floor(billing);
    let shop = stage.shop(&Offer { billing, bid: BID, ..Offer::default() });
    (stage, shop)
}

/// Returns a floor that an offer of the bid is above, and pays: a new ad is thought to be tapped seldom.
const fn floor(billing: BillingEvent) -> i64 {
    match billing {
        BillingEvent::Impressions => 1_000 * BID,
        _ => 10_000,
    }
}

fn invalid(verdict: &Verdict) -> Option<InvalidReason> {
    match verdict {
        Verdict::Recorded { charged, invalid } => {
            assert!(invalid.is_none() || *charged == 0, "nobody pays for it");
            *invalid
        }
        other => panic!("not recorded: {other:?}"),
    }
}

/// Lets a viewer tap a fresh showing after a while. A valid tap costs what its token says.
fn tap_after(stage: &mut Stage, name: &str, ms: i64) -> Option<InvalidReason> {
    stage.wait(ms);
    // A new day has its grants.
    stage.settle();
    let shown = stage.show(name);
    assert_eq!(invalid(&stage.happen(&shown, EventKind::Impression)), None);
    let tap = stage.happen(&shown, EventKind::Tap);
    if shown.token.billing == BillingEvent::LinkClicks as u8 {
        let price = shown.token.price_micros;
        assert!(price > 0);
        assert_eq!(charged(&tap), if invalid(&tap).is_none() { price } else { 0 });
    }
    invalid(&tap)
}

/// Returns the counts of all ads and hours.
fn counted(stage: &Stage) -> ReportRow {
    stage.report(&[]).rows.first().cloned().unwrap_or_default()
}

#[test]
fn taps_beyond_what_people_make_are_kept_and_nobody_pays_for_them() {
    let rate = Some(InvalidReason::TapRate);
    // By rate: taps before the one that is judged, and the span of the rate.
    for (taps, step_ms, span_ms) in [
        (1, 0, MINUTE_MS),
        (3, 2 * MINUTE_MS, 10 * MINUTE_MS),
        (10, 5 * MINUTE_MS, HOUR_MS),
        (25, 30 * MINUTE_MS, DAY_MS),
    ] {
        for (short_ms, wanted) in [(1, rate), (0, None)] {
            let (mut stage, _) = staged(BillingEvent::LinkClicks);
            for tap in 0..taps {
                let ms = if tap == 0 { 0 } else { step_ms };
                assert_eq!(tap_after(&mut stage, "ana", ms), None);
            }
            let rest_ms = span_ms - short_ms - step_ms * (taps - 1);
            assert_eq!(tap_after(&mut stage, "ana", rest_ms), wanted, "{taps} taps");
            assert_eq!(tap_after(&mut stage, "bea", 0), None, "another viewer");
            let valid = taps + 1 + i64::from(wanted.is_none());
            assert_eq!(counted(&stage).taps as i64, valid);
        }
    }
}

#[test]
fn what_an_invalid_event_would_have_cost_is_of_the_accounts_day() {
    // Still the 30th of November where the account is, at 20:00.
    let mut stage = Stage::at("2026-12-01T02:00:00Z");
    stage.policy.floor_cpm_micros = floor(BillingEvent::LinkClicks);
    let (billing, zone) = (BillingEvent::LinkClicks, "America/Mexico_City");
    let shop = stage.shop(&Offer { billing, zone, bid: BID, ..Offer::default() });
    assert_eq!(tap_after(&mut stage, "ana", 0), None);
    assert_eq!(tap_after(&mut stage, "ana", 0), Some(InvalidReason::TapRate));
    let asked = Asked { before: i32::MAX, limit: 12, now: stage.now };
    let (invoices, _) = stage.front.invoices(ALL, shop.account, asked).unwrap();
    let told = invoices.iter().map(|it| (&*it.month, it.charged_events, it.invalid_events));
    assert_eq!(told.collect::<Vec<_>>(), [("2026-11", 1, 1)]);
}

#[test]
fn a_fourth_view_of_an_ad_in_five_minutes_is_invalid_with_all_that_follows() {
    let (mut stage, shop) = staged(BillingEvent::Impressions);
    let mut view_after = |ms| {
        stage.wait(ms);
        let shown = stage.show("ana");
        let verdict = stage.happen(&shown, EventKind::Impression);
        (invalid(&verdict), shown)
    };
    let rate = Some(InvalidReason::ViewRate);
    for ms in [0, SECOND_MS, SECOND_MS] {
        assert_eq!(view_after(ms).0, None);
    }
    let (reason, shown) = view_after(5 * MINUTE_MS - 2 * SECOND_MS - 1);
    assert_eq!(reason, rate);
    for kind in [EventKind::Viewable, EventKind::Tap, EventKind::HideAd] {
        assert_eq!(invalid(&stage.happen(&shown, kind)), rate, "{kind:?}");
        assert_eq!(stage.happen(&shown, kind), Verdict::Already);
    }
    let claim = Some(Claim::Click(stage.click(&shown)));
    stage.open_chat(&shop, "ana", claim);
    stage.settle();
    stage.answer(&shop, "ana", "reply");
    let counts = counted(&stage);
    assert_eq!((counts.impressions, counts.spend_micros), (3, 3 * BID));
    let later = [counts.viewable, counts.taps, counts.conversations];
    assert_eq!((later, counts.first_replies, counts.hides), ([0; 3], 0, 0));
    assert_eq!(stage.try_show("ana").unwrap_err(), NoAdReason::HiddenByViewer, "it is hidden");
    stage.happen(&shown, EventKind::Undo);
    stage.wait(1);
    let shown = stage.show("ana");
    let verdict = stage.happen(&shown, EventKind::Impression);
    assert_eq!(invalid(&verdict), rate, "the marked one counts too");
    stage.wait(5 * MINUTE_MS);
    let shown = stage.show("ana");
    assert_eq!(stage.see(&shown), BID);
}

#[test]
fn a_tap_sooner_than_a_hand_is_invalid_where_both_times_are_told() {
    for (after_ms, wanted) in [(99, Some(InvalidReason::TapTooFast)), (100, None)] {
        let (mut stage, _) = staged(BillingEvent::LinkClicks);
        let shown = stage.show("ana");
        let seen = stage.now.plus_ms(1_000);
        stage.wait(5_000);
        stage.record(event_at(&shown, EventKind::Impression, seen));
        let tap = event_at(&shown, EventKind::Tap, seen.plus_ms(after_ms));
        assert_eq!(invalid(&stage.record(tap)), wanted);
    }
    let (mut stage, _) = staged(BillingEvent::LinkClicks);
    let shown = stage.show("ana");
    assert_eq!(stage.see(&shown), 0);
    assert_eq!(stage.tap(&shown), shown.token.price_micros, "reported together without times");
}

#[test]
fn a_tap_waits_for_its_view_while_that_may_come_and_is_then_kept_without() {
    let (mut stage, _) = staged(BillingEvent::LinkClicks);
    let (shown, other) = (stage.show("ana"), stage.show("bea"));
    stage.wait(i64::from(shown.token.show_by) * SECOND_MS);
    assert_eq!(refused(&stage.happen(&shown, EventKind::Tap)), Reason::ViewMissing);
    stage.wait(1);
    let tap = stage.happen(&shown, EventKind::Tap);
    assert_eq!(invalid(&tap), Some(InvalidReason::NoView));
    assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
    assert_eq!(refused(&stage.happen(&other, EventKind::Viewable)), Reason::ViewMissing);
    let seen = stage.happen(&shown, EventKind::Impression);
    assert_eq!(invalid(&seen), None, "a late view is a view");
    assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already, "the tap stays as it was");
    let counts = counted(&stage);
    assert_eq!((counts.impressions, counts.taps, counts.spend_micros), (1, 0, 0));
}

#[test]
fn what_lists_say_of_an_event_marks_it() {
    let (mut stage, _) = staged(BillingEvent::Impressions);
    let shown = stage.show("ana");
    let reason = InvalidReason::UserAgent;
    let Incoming::Ad { token, kind, at, .. } = event(&shown, EventKind::Impression) else {
        panic!("an ad's event")
    };
    let marked = Incoming::Ad { token, kind, at, suspect: Some(reason), network: 9 };
    assert_eq!(invalid(&stage.record(marked)), Some(reason));
    assert_eq!(invalid(&stage.happen(&shown, EventKind::Tap)), Some(reason), "as its view");
    let counts = counted(&stage);
    assert_eq!((counts.impressions, counts.taps, counts.spend_micros), (0, 0, 0));
}

#[test]
fn a_conversation_of_an_invalid_tap_is_matched_and_costs_nothing() {
    let (mut stage, shop) = staged(BillingEvent::Conversations);
    assert_eq!(tap_after(&mut stage, "ana", 0), None);
    stage.wait(SECOND_MS);
    let shown = stage.show("ana");
    stage.see(&shown);
    assert_eq!(invalid(&stage.happen(&shown, EventKind::Tap)), Some(InvalidReason::TapRate));
    let claim = Some(Claim::Click(stage.click(&shown)));
    stage.open_chat(&shop, "ana", claim);
    let origin = stage.by_chat(&shop, "ana");
    stage.settle();
    stage.convert(&shop, "sale", origin);
    let told = |stage: &mut Stage| {
        let rows = stage.credits();
        let told = rows.iter().map(|row| (row.ad_id, row.invalid(), row.charged_micros));
        told.collect::<Vec<_>>()
    };
    let marked = (shop.ad, InvalidReason::TapRate, 0);
    assert_eq!(told(&mut stage), [marked, marked], "the stream says so");
    let counts = counted(&stage);
    let counts = (counts.taps, counts.conversations, counts.conversions, counts.spend_micros);
    assert_eq!(counts, (1, 0, 0, 0));
    let mut stage = stage.restarted();
    assert_eq!(told(&mut stage), [marked, marked]);
    assert_eq!(stage.happen(&shown, EventKind::Tap), Verdict::Already);
}

#[test]
fn a_click_that_opens_a_second_chat_is_declined_as_a_replay() {
    let (mut stage, shop) = staged(BillingEvent::Conversations);
    let shown = stage.tapped("ana");
    let claim = Some(Claim::Click(stage.click(&shown)));
    for contact in ["ana", "bot"] {
        stage.open_chat(&shop, contact, claim);
        stage.settle();
    }
    let rows = stage.credits();
    let told = rows.iter().map(|row| (row.decline_reason(), row.invalid(), row.charged_micros));
    let price = shown.token.price_micros;
    assert!(price > 0);
    let valid = (DeclineReason::Unspecified, InvalidReason::Unspecified, price);
    let replay = (DeclineReason::Duplicated, InvalidReason::Replay, 0);
    let mut told: Vec<_> = told.collect();
    told.sort_unstable_by_key(|row| row.2);
    assert_eq!(told, [replay, valid]);
    assert_eq!(counted(&stage).conversations, 1);
}

#[test]
fn invalid_views_still_count_for_caps() {
    let mut stage = Stage::new();
    let max_frequency = 5;
    let event = CapEvent::Impressions.into();
    let caps = vec![FrequencyCap { max_frequency, interval_hours: 1, event }];
    stage.shop(&Offer { caps, ..Offer::default() });
    let mut valid = 0;
    for _ in 0..max_frequency {
        let shown = stage.show("ana");
        valid += usize::from(invalid(&stage.happen(&shown, EventKind::Impression)).is_none());
    }
    assert_eq!(valid, 3);
    assert_eq!(stage.try_show("ana").unwrap_err(), NoAdReason::FrequencyCapped);
}

#[test]
fn marks_and_rates_outlive_a_restart_and_a_checkpoint() {
    let (mut stage, _) = staged(BillingEvent::LinkClicks);
    assert_eq!(tap_after(&mut stage, "ana", 0), None);
    let mut stage = stage.restarted();
    let rate = Some(InvalidReason::TapRate);
    assert_eq!(tap_after(&mut stage, "ana", MINUTE_MS - 1), rate);
    let checkpoint = stage.checkpoint();
    let Stage { disk, ring, now, policy, .. } = stage;
    let mut stage = Stage::open(disk, ring, now, Some(&checkpoint)).unwrap();
    stage.policy = policy;
    assert!(stage.opened.checkpoint);
    assert_eq!(tap_after(&mut stage, "ana", MINUTE_MS - 1), rate, "after the marked one");
    assert_eq!(counted(&stage).taps, 1);
}

fn rules(user_agents: &[&str], networks: Vec<String>, most: u32) -> ListChange {
    ListChange::TrafficRules(TrafficRules {
        user_agents: user_agents.iter().map(|part| (*part).to_owned()).collect(),
        networks,
        network_taps_per_hour: most,
        ..TrafficRules::default()
    })
}

#[test]
fn a_click_farm_of_ten_thousand_pseudonyms_is_mostly_marked() {
    let (mut stage, _) = staged(BillingEvent::LinkClicks);
    assert_eq!(stage.write_lists("rules", rules(&[], Vec::new(), 100)), Ok(0));
    let number =
        |stage: &Stage, text: &str| network_number(&stage.ring.contact, text.parse().unwrap());
    let farm = [1, 2, 3, 4, 5].map(|net| number(&stage, &format!("203.0.{net}.0")));
    let home = number(&stage, "198.51.100.0");
    let tap = |stage: &mut Stage, shown: &Shown, network| {
        let Incoming::Ad { token, at, .. } = event(shown, EventKind::Tap) else { panic!("a tap") };
        let kind = EventKind::Tap;
        let tap = Incoming::Ad { token, kind, at, suspect: None, network };
        invalid(&stage.record_all(vec![event(shown, EventKind::Impression), tap])[1])
    };
    let mut marked = 0;
    for index in 0..10_000 {
        let shown = stage.show(&format!("farm {index}"));
        let reason = tap(&mut stage, &shown, farm[index % farm.len()]);
        assert!(matches!(reason, None | Some(InvalidReason::NetworkRate)));
        marked += usize::from(reason.is_some());
        if index % 500 == 0 {
            let shown = stage.show(&format!("home {index}"));
            assert_eq!(tap(&mut stage, &shown, home), None, "others are let be");
        }
    }
    assert_eq!(marked, 10_000 - 5 * 100);
    let counts = counted(&stage);
    assert_eq!(counts.taps, 520);
    assert!(counts.spend_micros > 0);
}

#[test]
fn rules_longer_than_a_block_replace_all_earlier_ones_and_outlive_a_restart() {
    let mut stage = Stage::new();
    assert_eq!(stage.write_lists("old", rules(&["old"], Vec::new(), 7)), Ok(1));
    let network = |index: u32| format!("2001:{:x}:{:x}::/48", index / 1_000 + 1, index % 1_000);
    let networks: Vec<_> = (0..100_000).map(network).collect();
    let new = rules(&["bot", "spider"], networks, 9);
    assert_eq!(stage.write_lists("new", new.clone()), Ok(100_002));
    let stage = stage.restarted();
    let ListChange::TrafficRules(new) = new else { panic!("rules") };
    assert_eq!(stage.front.traffic_rules(), new);
    let filter = stage.front.traffic_filter();
    let suspect = |agent: &str, network: &str| filter.suspect(agent, network.parse().ok());
    assert_eq!(suspect("a Spider", ""), Some(InvalidReason::UserAgent));
    assert_eq!(suspect("an old one", ""), None);
    assert_eq!(suspect("", "2001:64:3e7::"), Some(InvalidReason::Network));
    assert_eq!(filter.network_taps_per_hour(), Some(9));
}

#[test]
fn an_operators_rules_judge_what_comes_in_by_the_door() {
    let desk = Desk::start();
    calls(async {
        open_shop(&desk, TACOS).await?;
        let rules = TrafficRules {
            user_agents: vec!["bot".into()],
            networks: vec!["203.0.113.0/24".into(), "2001:DB8::/32".into()],
            network_taps_per_hour: 1,
            taps_per_100_views: 30,
        };
        let mut admin = desk.admin(OPERATOR);
        let wrong = v1::TrafficRules { user_agents: vec!["x".into()], ..rules.clone() };
        let bad = v1::SetTrafficRulesRequest { request_id: "bad".into(), rules: Some(wrong) };
        let status = admin.set_traffic_rules(bad).await.unwrap_err();
        let details = status.get_error_details();
        let told = details.bad_request().map(|bad| bad.field_violations[0].field.clone());
        assert_eq!(told.as_deref(), Some("rules.user_agents[0]"));
        let request_id = "rules".to_owned();
        let good = v1::SetTrafficRulesRequest { request_id, rules: Some(rules.clone()) };
        assert_eq!(admin.set_traffic_rules(good).await?.into_inner().entries, 3);
        let known = admin.get_traffic_rules(v1::GetTrafficRulesRequest {}).await?.into_inner();
        let networks = vec!["203.0.113.0/24".into(), "2001:db8::/32".into()];
        assert_eq!(known.rules, Some(v1::TrafficRules { networks, ..rules }));

        let events = farm(&desk).await?;
        let request = v1::RecordEventsRequest { request_id: String::new(), events };
        let results = desk.events(STATUS).record_events(request).await?.into_inner().results;
        let told: Vec<_> =
            results.iter().map(|result| (result.outcome(), result.invalid())).collect();
        let recorded = |reason| (v1::ItemOutcome::Recorded, reason);
        assert_eq!(
            told[..7],
            [
                recorded(InvalidReason::UserAgent),
                recorded(InvalidReason::Network),
                recorded(InvalidReason::Network),
                recorded(InvalidReason::Unspecified),
                recorded(InvalidReason::Unspecified),
                recorded(InvalidReason::Unspecified),
                recorded(InvalidReason::NetworkRate),
            ]
        );
        let last = &results[7];
        assert_eq!((&*last.reason, &*last.field), ("FIELD_INVALID", "network"));
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

/// Returns events of six viewers from as many places.
async fn farm(desk: &Desk) -> Result<Vec<v1::AdEvent>, Status> {
    let mut shown = std::collections::BTreeMap::new();
    for viewer in ["1", "2", "3", "4", "5", "6"] {
        let request = v1::RequestAdsRequest { ad_request: tray(viewer) };
        let slots = desk.ads(STATUS).request_ads(request).await?.into_inner().slots;
        shown.insert(viewer, first_ad(&slots).clone());
    }
    let (seen, tap) = (EventKind::Impression, EventKind::Tap);
    let told = [
        ("1", seen, "Some Bot/1.0", ""),
        ("2", seen, "Mozilla/5.0", "203.0.113.9"),
        ("3", seen, "", "2001:db8:1::9"),
        ("4", seen, "Mozilla/5.0", "198.51.100.1"),
        ("5", seen, "", ""),
        ("4", tap, "", "198.51.100.1"),
        ("5", tap, "", "198.51.100.2"),
        ("6", seen, "", "nowhere"),
    ];
    let event = |(viewer, kind, user_agent, network): (&str, EventKind, &str, &str)| {
        let (user_agent, network) = (user_agent.to_owned(), network.to_owned());
        v1::AdEvent { user_agent, network, ..desk::event(&shown[viewer], kind) }
    };
    Ok(told.map(event).into())
}
