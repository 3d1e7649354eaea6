//! Reports: the same figures from every side, and how complete they are.

use munadi::report::query::Query;
use munadi::types::proto::v1::{Dimension, EventKind, ReportRow};
use munadi::types::request::{Claim, Scope};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use crate::stage::{ALL, Offer, Stage, TENANT, at, event_at, whole};

/// Sums what every row has.
fn sums(rows: &[ReportRow]) -> (u64, u64, u64, u64, i64) {
    let add = |mut sum: (u64, u64, u64, u64, i64), row: &ReportRow| {
        sum.0 += row.impressions;
        sum.1 += row.taps;
        sum.2 += row.conversations;
        sum.3 += row.viewable;
        sum.4 += row.spend_micros;
        sum
    };
    rows.iter().fold(Default::default(), add)
}

/// A morning with two shops, views, taps and a chat.
fn busy() -> Stage {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    stage.shop(&Offer { zone: "America/Mexico_City", ..Offer::default() });
    for number in 0..30 {
        let name = format!("viewer {number}");
        let shown = stage.show(&name);
        stage.see(&shown);
        if number % 2 == 0 {
            stage.happen(&shown, EventKind::Viewable);
            stage.tap(&shown);
        }
        if number % 2 == 0 && shown.ad.ad_id == shop.ad {
            let click = stage.click(&shown);
            stage.open_chat(&shop, &name, Some(Claim::Click(click)));
        }
        stage.wait(17 * MINUTE_MS);
    }
    stage.settle();
    stage
}

#[test]
fn every_cut_of_a_report_sums_to_the_same() {
    let stage = busy();
    let total = sums(&stage.report(&[]).rows);
    assert_eq!((total.0, total.1, total.3, total.4), (30, 15, 15, 30_000_000));
    assert!(total.2 > 0);
    let all = [
        Dimension::Account,
        Dimension::Campaign,
        Dimension::AdSet,
        Dimension::Ad,
        Dimension::Hour,
        Dimension::Day,
    ];
    for mask in 0..1 << all.len() {
        let chosen: Vec<_> = (0..all.len()).filter(|bit| mask >> bit & 1 == 1).collect();
        let dimensions: Vec<_> = chosen.iter().map(|bit| all[*bit]).collect();
        assert_eq!(sums(&stage.report(&dimensions).rows), total, "{dimensions:?}");
    }
}

#[test]
fn hours_joined_are_the_whole_span() {
    let stage = busy();
    let (first, last) = (at("2026-11-23T12:00:00Z").hour(), stage.now.hour());
    let hour = |hour| {
        let query = Query { start_hour: hour, end_hour: hour + 1, ..whole() };
        sums(&stage.front.report(ALL, &query, stage.now).unwrap().0.rows)
    };
    let joined = (first..=last).map(hour).fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.4));
    assert_eq!(joined, (30, 30_000_000));
}

#[test]
fn pages_joined_are_the_report() {
    let stage = busy();
    let dimensions = vec![Dimension::Ad, Dimension::Hour];
    let rows = stage.report(&dimensions).rows;
    assert!(rows.len() > 8);
    let (mut joined, mut skip) = (Vec::new(), Some(0));
    while let Some(from) = skip {
        let query = Query { dimensions: dimensions.clone(), skip: from, limit: 4, ..whole() };
        let (page, next) = stage.front.report(ALL, &query, stage.now).unwrap();
        assert!(page.rows.len() <= 4);
        joined.extend(page.rows);
        skip = next;
    }
    assert_eq!(joined, rows);
}

#[test]
fn a_tenant_sees_its_own_rows_and_no_feed() {
    let mut stage = busy();
    let other = stage.shop(&Offer { tenant: 8, bid: 2_000_000, ..Offer::default() });
    let shown = stage.show("somebody");
    stage.see(&shown);
    let report = |tenant| {
        let scope = Scope { tenant, any: false };
        let query = Query { dimensions: vec![Dimension::Account], ..whole() };
        stage.front.report(scope, &query, stage.now).unwrap().0
    };
    assert_eq!(sums(&report(TENANT).rows).0, 30);
    let rows = report(8).rows;
    assert_eq!((rows.len(), rows[0].account_id), (1, other.account));
    assert_eq!(report(9).rows, []);
    assert_eq!((report(TENANT).requests, report(TENANT).empty_slots.len()), (0, 0));
}

#[test]
fn counts_belong_to_the_events_hour_and_money_to_the_journals() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let shown = stage.show("a");
    let seen = stage.now;
    stage.wait(3 * HOUR_MS);
    stage.record(event_at(&shown, EventKind::Impression, seen));
    let rows = stage.report(&[Dimension::Hour]).rows;
    let figures: Vec<_> = rows.iter().map(|row| (row.impressions, row.spend_micros)).collect();
    assert_eq!(figures, [(1, 0), (0, 1_000_000)]);
}

#[test]
fn a_day_begins_at_midnight_of_the_accounts_zone() {
    let mut stage = Stage::at("2026-11-23T05:30:00Z");
    stage.shop(&Offer { zone: "America/Mexico_City", ..Offer::default() });
    for _ in 0..2 {
        let shown = stage.show("a");
        stage.see(&shown);
        stage.wait(HOUR_MS);
        stage.settle();
    }
    let rows = stage.report(&[Dimension::Day]).rows;
    let starts: Vec<_> = rows.iter().map(|row| row.period.unwrap().seconds * 1_000).collect();
    assert_eq!(starts, [at("2026-11-22T06:00:00Z").0, at("2026-11-23T06:00:00Z").0]);
}

#[test]
fn a_report_says_up_to_when_it_changes_no_more() {
    let stage = busy();
    let complete = stage.report(&[]).complete_up_to.unwrap().seconds * 1_000;
    assert_eq!(complete % HOUR_MS, 0);
    // A token may come back for 24 hours and its `show_by`.
    assert!(complete <= stage.now.0 - DAY_MS - 10 * MINUTE_MS);
}
