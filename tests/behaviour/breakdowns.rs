//! Breakdowns and people: what is shown, what is folded, and that no viewer can be found out.

use munadi::node::dice::SeededDice;
use munadi::report::query::{Filters, Query};
use munadi::report::rows::{By, Order};
use munadi::state::breakdowns::Cut;
use munadi::types::dice::Dice;
use munadi::types::proto::v1::{Dimension, EventKind, Metric, Placement, ReportRow};
use munadi::types::request::Claim;
use munadi::types::time::{DAY_MS, HOUR_MS};

use crate::stage::{ALL, Offer, Shown, Stage, at, event_at, letters, whole};

/// Shows the ad to somebody of a country and has it seen.
pub(crate) fn seen_in(stage: &mut Stage, name: &str, country: &str) -> Shown {
    let mut request = stage.tray_of(name);
    request.profile.country = letters(country);
    let shown = stage.try_fill(&request).unwrap();
    stage.see(&shown);
    shown
}

pub(crate) fn crowd(stage: &mut Stage, country: &str, people: usize) {
    // On a new day nothing is granted before the writer's first round.
    stage.settle();
    for person in 0..people {
        seen_in(stage, &format!("{country} {person}"), country);
    }
}

pub(crate) fn rows(stage: &Stage, query: &Query) -> Vec<ReportRow> {
    stage.front.report(ALL, query, stage.now).unwrap().0.rows
}

pub(crate) fn by(cut: Cut, metrics: &[Metric]) -> Query {
    Query { is_open: true, breakdown: Some(cut), metrics: metrics.to_vec(), ..whole() }
}

fn name(row: &ReportRow) -> &str {
    if row.other { "other" } else { &row.breakdown }
}

pub(crate) fn values(rows: &[ReportRow], of: fn(&ReportRow) -> u64) -> Vec<(&str, u64)> {
    rows.iter().map(|row| (name(row), of(row))).collect()
}

#[test]
fn a_country_of_too_few_is_in_the_rest_with_the_smallest_of_the_others() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    crowd(&mut stage, "MX", 60);
    crowd(&mut stage, "IN", 50);
    crowd(&mut stage, "BR", 49);
    let asked = by(Cut::Country, &[Metric::Impressions]);
    let impressions = |row: &ReportRow| row.impressions;
    assert_eq!(values(&rows(&stage, &asked), impressions), [("other", 159)], "today is open");
    stage.wait(2 * DAY_MS);
    let found = rows(&stage, &asked);
    assert_eq!(values(&found, impressions), [("MX", 60), ("other", 99)]);
    // With nobody too few nothing is folded.
    crowd(&mut stage, "MX", 60);
    crowd(&mut stage, "IN", 50);
    stage.wait(2 * DAY_MS);
    let later = Query { start_hour: at("2026-11-25T00:00:00Z").hour(), ..asked };
    assert_eq!(values(&rows(&stage, &later), impressions), [("IN", 50), ("MX", 60)]);
}

#[test]
fn taps_are_shown_where_ten_people_tapped_and_money_needs_both() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    for person in 0..60 {
        let shown = seen_in(&mut stage, &format!("MX {person}"), "MX");
        if person < 10 {
            stage.tap(&shown);
        }
    }
    stage.wait(2 * DAY_MS);
    let taps = |row: &ReportRow| row.taps;
    let found = rows(&stage, &by(Cut::Country, &[Metric::Taps, Metric::Impressions]));
    assert_eq!(values(&found, taps), [("MX", 10)]);
    let money = rows(&stage, &by(Cut::Country, &[Metric::Spend]));
    assert_eq!(values(&money, |row| row.spend_micros as u64), [("other", 60_000_000)]);
    let all = rows(&stage, &by(Cut::Position, &[]));
    assert_eq!(values(&all, taps).iter().map(|(_, taps)| taps).sum::<u64>(), 10);
    assert!(all.iter().all(|row| !row.other), "a position is nobody's");
}

#[test]
fn what_comes_when_a_day_is_frozen_changes_no_cell_of_it() {
    let mut stage = Stage::at("2026-11-23T23:30:00Z");
    stage.shop(&Offer::default());
    crowd(&mut stage, "MX", 60);
    let mut request = stage.tray_of("late");
    request.profile.country = letters("MX");
    let shown = stage.try_fill(&request).unwrap();
    let seen = stage.now;
    stage.wait(24 * HOUR_MS + 40 * 60_000);
    let asked = by(Cut::Country, &[Metric::Impressions]);
    let impressions = |row: &ReportRow| row.impressions;
    let reach = || Query { metrics: vec![Metric::Reach], ..Query { is_open: true, ..whole() } };
    assert_eq!(values(&rows(&stage, &asked), impressions), [("MX", 60)]);
    let before = rows(&stage, &reach())[0].reach;
    stage.record(event_at(&shown, EventKind::Impression, seen));
    let found = rows(&stage, &asked);
    assert_eq!(values(&found, impressions), [("MX", 60), ("other", 1)]);
    assert_eq!(rows(&stage, &reach())[0].reach, before);
}

#[test]
fn reach_counts_people_over_days_and_frequency_what_they_saw() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    for _ in 0..3 {
        crowd(&mut stage, "MX", 200);
        stage.wait(DAY_MS);
    }
    crowd(&mut stage, "IN", 49);
    stage.wait(2 * DAY_MS);
    let asked = Query { is_open: true, metrics: vec![Metric::Reach, Metric::Frequency], ..whole() };
    let row = &rows(&stage, &asked)[0];
    let reach = row.reach.unwrap();
    assert!((180..=210).contains(&reach), "{reach}");
    assert_eq!(reach % 10, 0);
    assert_eq!(row.frequency_thousandths, Some(600_000 / reach));
    assert_eq!(row.impressions, 0, "it was not asked for");
    let by_day = Query { dimensions: vec![Dimension::UtcDay], ..asked };
    let days: Vec<_> = rows(&stage, &by_day).iter().map(|row| row.reach.is_some()).collect();
    assert_eq!(days, [true, true, true, false], "49 people are too few");
}

#[test]
fn feeds_and_placements_are_told_apart_with_the_money_of_each() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    for (name, placement) in [("a", Placement::Status), ("b", Placement::Stories)] {
        let mut request = stage.tray_of(name);
        request.placement = placement;
        let shown = stage.try_fill(&request).unwrap();
        stage.see(&shown);
        stage.tap(&shown);
        let click = stage.click(&shown);
        stage.open_chat(&shop, name, Some(Claim::Click(click)));
    }
    stage.settle();
    let metrics = vec![Metric::Impressions, Metric::Taps, Metric::Conversations, Metric::Spend];
    let asked = Query { dimensions: vec![Dimension::Placement], metrics, ..whole() };
    let figures = |row: &ReportRow| {
        (row.placement, row.impressions, row.taps, row.conversations, row.spend_micros)
    };
    let found: Vec<_> = rows(&stage, &asked).iter().map(figures).collect();
    assert!(found.ends_with(&[(1, 1, 1, 1, 1_000_000), (2, 1, 1, 1, 1_000_000)]), "{found:?}");
    let filters = Filters { placements: vec![2], ..Filters::default() };
    let only = rows(&stage, &Query { filters, ..asked.clone() });
    assert_eq!(only.iter().map(figures).collect::<Vec<_>>(), [(2, 1, 1, 1, 1_000_000)]);
    let order = vec![Order { by: By::Dimension(Dimension::Placement), descending: true }];
    let backwards = rows(&stage, &Query { order, ..asked });
    assert_eq!((backwards[0].placement, backwards[1].placement), (2, 1));
    let matched = Query { dimensions: vec![Dimension::MatchConfidence], ..whole() };
    let found = rows(&stage, &matched);
    assert_eq!((found.len(), found[0].match_confidence, found[0].conversations), (1, 1, 2));
}

#[test]
fn a_share_of_what_is_expected_is_told_once_enough_was_learned() {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    let settled = |stage: &Stage| stage.report(&[]).settled_fraction;
    for hour in 0..4 {
        crowd(&mut stage, "MX", 255);
        stage.wait(HOUR_MS);
        assert_eq!(settled(&stage), None, "hour {hour}");
    }
    stage.wait(30 * HOUR_MS);
    crowd(&mut stage, "MX", 1);
    assert_eq!(settled(&stage), Some(1.0), "all were told in their hour");
}

/// Three days of two crowds, and on each day one viewer of a country that nobody else is in.
fn planted(countries: [&str; 3]) -> Stage {
    let mut stage = Stage::new();
    stage.shop(&Offer::default());
    for (day, country) in (0..).zip(countries) {
        crowd(&mut stage, "MX", 70 + day);
        crowd(&mut stage, "IN", 60);
        crowd(&mut stage, "US", 55 - 5 * day);
        let shown = seen_in(&mut stage, &format!("planted {day}"), country);
        stage.tap(&shown);
        stage.wait(DAY_MS);
    }
    stage.wait(DAY_MS);
    stage
}

fn random_question(dice: &mut SeededDice, first_day: u32) -> Query {
    let mut pick = |end: u64| dice.roll() % end;
    let all = [
        Metric::Impressions,
        Metric::Viewable,
        Metric::Taps,
        Metric::TapRate,
        Metric::Spend,
        Metric::CostPerThousand,
    ];
    // Every second one asks only for what is seen: crowds have enough of that to be named.
    let asked = pick(64) & [63, 3][pick(2) as usize];
    let metrics = (0..6).filter(|bit| asked >> bit & 1 == 1).map(|bit| all[bit]).collect();
    let start = first_day + pick(3) as u32;
    let dimensions = [Dimension::Ad, Dimension::UtcDay, Dimension::Channel];
    let chosen = pick(8);
    let dimensions = (0..3).filter(|bit| chosen >> bit & 1 == 1).map(|bit| dimensions[bit]);
    let cuts = [Cut::Country, Cut::Region, Cut::AgeGender, Cut::Os, Cut::Position];
    Query {
        start_hour: start * 24,
        end_hour: (start + 1 + pick(4) as u32) * 24,
        dimensions: dimensions.collect(),
        breakdown: Some(cuts[pick(5) as usize]),
        metrics,
        ..whole()
    }
}

#[test]
fn a_thousand_questions_isolate_no_planted_viewer() {
    let one = planted(["BR", "AR", "CL"]);
    let other = planted(["PE", "CO", "BR"]);
    let first_day = at("2026-11-23T00:00:00Z").hour() / 24;
    let mut dice = SeededDice::new(7);
    let mut named = 0;
    for question in 0..1_000 {
        let query = random_question(&mut dice, first_day);
        let found = rows(&one, &query);
        // Whatever is computed from equal answers is equal: nobody can tell where they are from.
        assert_eq!(found, rows(&other, &query), "question {question}: {query:?}");
        let planted = ["BR", "AR", "CL", "PE", "CO"];
        assert!(found.iter().all(|row| !planted.iter().any(|it| row.breakdown.starts_with(it))));
        named += found.iter().filter(|row| row.breakdown == "MX").count();
    }
    assert!(named > 50, "the crowds are seen");
}
