//! Noise on what reports tell of viewers: who sets it, what takes it, that it stays, and what a day may ask.

use munadi::report::query::Query;
use munadi::state::breakdowns::Cut;
use munadi::types::proto::v1::{Account, Dimension, Metric, ReportNoise, ReportRow};
use munadi::types::refusal::{Reason, Refusal};
use munadi::types::request::{Change, Mutation, Resource, Scope};
use munadi::types::time::DAY_MS;

use crate::breakdowns::{by, crowd, rows, values};
use crate::stage::{Offer, Shop, Stage, whole};

/// Sets an account's noise; `None` takes it away.
fn set(
    stage: &mut Stage,
    shop: &Shop,
    any_tenant: bool,
    noise: Option<(u32, u32)>,
) -> Result<Resource, Refusal> {
    let report_noise = noise.map(|(epsilon_micros, daily_epsilon_micros)| ReportNoise {
        epsilon_micros,
        daily_epsilon_micros,
    });
    let row = Account { id: shop.account, report_noise, ..Account::default() };
    let change = Change::Update(Resource::Account(row), vec!["report_noise".into()]);
    let id = format!("noise {noise:?} {any_tenant}");
    let write = Mutation { any_tenant, ..Stage::writing(shop.tenant, &id, change) };
    stage.mutate(write)
}

/// Three days of crowds in two countries, and of too few in a third.
fn crowded() -> (Stage, Shop) {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    for _ in 0..3 {
        crowd(&mut stage, "MX", 70);
        crowd(&mut stage, "IN", 55);
        crowd(&mut stage, "BR", 20);
        stage.wait(DAY_MS);
    }
    stage.wait(DAY_MS);
    (stage, shop)
}

fn impressions(rows: &[ReportRow]) -> Vec<(&str, u64)> {
    values(rows, |row| row.impressions)
}

fn reach(dimensions: &[Dimension]) -> Query {
    let (dimensions, metrics) = (dimensions.to_vec(), vec![Metric::Reach]);
    Query { is_open: true, dimensions, metrics, ..whole() }
}

#[test]
fn counts_of_viewers_take_noise_that_stays_and_nothing_else_takes_any() {
    let (mut stage, shop) = crowded();
    let countries = by(Cut::Country, &[Metric::Impressions]);
    let plain = [
        by(Cut::Position, &[]),
        Query { metrics: vec![Metric::Impressions, Metric::Spend, Metric::Taps], ..whole() },
        Query { dimensions: vec![Dimension::Ad, Dimension::Day], ..whole() },
    ];
    let people = [reach(&[]), reach(&[Dimension::UtcDay])];
    let ask = |stage: &Stage, queries: &[Query]| {
        queries.iter().map(|query| rows(stage, query)).collect::<Vec<_>>()
    };
    let exact = rows(&stage, &countries);
    let (exact_plain, exact_people) = (ask(&stage, &plain), ask(&stage, &people));
    assert_eq!(impressions(&exact), [("MX", 210), ("other", 225)]);

    let refusal = set(&mut stage, &shop, false, Some((10_000, 1_000_000))).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::FieldInvalid, "account.report_noise"));
    set(&mut stage, &shop, true, Some((10_000, 1_000_000))).unwrap();
    let noisy = rows(&stage, &countries);
    let names = |rows: &[ReportRow]| {
        impressions(rows).iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&noisy), names(&exact));
    assert_ne!(noisy, exact);
    let noisy_people = ask(&stage, &people);
    assert_ne!(noisy_people, exact_people);
    let reaches = noisy_people.iter().flatten().filter_map(|row| row.reach);
    assert!(reaches.clone().count() == 4 && reaches.clone().all(|reach| reach % 10 == 0));
    assert_eq!(ask(&stage, &plain), exact_plain);
    let money = by(Cut::Country, &[Metric::Impressions, Metric::Spend]);
    let row = &rows(&stage, &money)[0];
    assert_eq!((row.other, row.spend_micros), (true, 435_000_000), "money takes none");

    // An owner's other changes leave it, and a restart draws the same.
    let name = Account { id: shop.account, name: "Tacos".into(), ..Account::default() };
    stage.update(shop.tenant, Resource::Account(name), &["name"]);
    let mut stage = stage.restarted();
    assert_eq!((rows(&stage, &countries), ask(&stage, &people)), (noisy, noisy_people));
    set(&mut stage, &shop, true, None).unwrap();
    assert_eq!((rows(&stage, &countries), ask(&stage, &people)), (exact, exact_people));
}

#[test]
fn parts_of_an_answer_add_up_to_it_so_asking_for_them_takes_no_noise_away() {
    let (mut stage, shop) = crowded();
    set(&mut stage, &shop, true, Some((20_000, 1_000_000))).unwrap();
    let asked = by(Cut::Country, &[Metric::Impressions]);
    let all = rows(&stage, &asked);
    let dimensions = vec![Dimension::Ad, Dimension::UtcDay];
    let parts = rows(&stage, &Query { dimensions, ..asked.clone() });
    assert_eq!(parts.len(), 6, "two values on each of three days");
    for (name, count) in impressions(&all) {
        let of_name = impressions(&parts).into_iter().filter(|(it, _)| *it == name);
        assert_eq!(of_name.map(|(_, count)| count).sum::<u64>(), count, "{name}");
    }
    let first_days = |days: u32| {
        let start_hour = stage.now.hour() / 24 * 24 - 4 * 24;
        Query { start_hour, end_hour: start_hour + days * 24, is_open: false, ..asked.clone() }
    };
    // Overlapping spans differ by what the day between them shows.
    let of = |query: &Query| rows(&stage, query)[0].impressions;
    let days: Vec<u64> = parts.iter().filter(|row| !row.other).map(|row| row.impressions).collect();
    let spans = [1, 2, 3].map(|count| of(&first_days(count)));
    assert_eq!(spans, [days[0], days[0] + days[1], days[0] + days[1] + days[2]]);
}

#[test]
fn a_day_answers_so_many_different_questions_about_viewers() {
    let (mut stage, shop) = crowded();
    let other = stage.shop(&Offer { tenant: 8, ..Offer::default() });
    set(&mut stage, &shop, true, Some((500_000, 1_000_000))).unwrap();
    let scope = Scope { tenant: shop.tenant, any: false };
    let ask = |stage: &Stage, query: &Query| {
        stage.front.report(scope, query, stage.now).map(|(answer, _)| answer.rows)
    };
    let cut = |cut| by(cut, &[Metric::Impressions]);
    let first = ask(&stage, &cut(Cut::Country)).unwrap();
    assert_eq!(ask(&stage, &cut(Cut::Country)).unwrap(), first);
    ask(&stage, &reach(&[])).unwrap();
    let refusal = ask(&stage, &cut(Cut::Os)).unwrap_err();
    assert_eq!(refusal.reason, Reason::ReportBudgetSpent);
    assert!(refusal.message.contains("T00:00:00Z"), "{}", refusal.message);
    // What was asked, its pages, and what tells nothing of viewers go on.
    assert_eq!(ask(&stage, &cut(Cut::Country)).unwrap(), first);
    let page = Query { skip: 1, limit: 1, ..cut(Cut::Country) };
    assert_eq!(ask(&stage, &page).unwrap(), first[1..]);
    ask(&stage, &cut(Cut::Position)).unwrap();
    ask(&stage, &Query { metrics: vec![Metric::Impressions], ..whole() }).unwrap();
    // Other accounts and operators have their own.
    let theirs = Scope { tenant: other.tenant, any: false };
    stage.front.report(theirs, &cut(Cut::Os), stage.now).unwrap();
    rows(&stage, &cut(Cut::Os));
    assert!(ask(&stage, &cut(Cut::Os)).is_err());
    stage.wait(DAY_MS);
    ask(&stage, &cut(Cut::Os)).unwrap();
}
