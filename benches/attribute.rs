//! `cargo bench --bench attribute`: what it costs to split outcomes by every model, and to pull the rows.
//!
//! Rule models run beside a twin in floating point, conversion by conversion; the models of a period beside
//! the rule models of the same rows; pulls over loopback beside the same rows merged without a door. Without
//! `--bench` (under `cargo test`) the input is tiny.
//!
//! With `--features columns` the rows are read by Arrow Flight, too, and `-- --history DIR` credits a week of 5 M
//! impressions from Parquet: `tests/python/asof.py` does the same by DuckDB.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench measures time, and prints what it measured"
)]

use std::time::Instant;

use cpu_time::ThreadTime;
use munadi::node::dice::SeededDice;
use munadi::report::models::compare::{Asked, Gathered, Met};
use munadi::report::pull::whole_row;
use munadi::state::credit::{Credit, Shown, timestamp};
use munadi::types::attribution::{RULE_MODELS, WINDOWS, share, split};
use munadi::types::dice::Dice;
use munadi::types::proto::journal::v1::PathTouch;
use munadi::types::proto::v1::{
    AttributionRow, AttributionWindow, CreditLevel, Money, Outcome, TouchKind,
};
use munadi::types::time::{DAY_MS, HOUR_MS, Moment};

#[cfg(feature = "columns")]
use crate::support::attribute::history;
use crate::support::attribute::{floats, median, rows};

mod support {
    pub(crate) mod attribute;
    pub(crate) mod shop;
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What goes wrong in a bench ends it; nobody handles it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Touches before each outcome.
const TOUCHES: usize = 10;

/// Campaigns that they are of.
const CAMPAIGNS: u64 = 50;

/// Runs whose median counts.
const ROUNDS: usize = 3;

/// The moment of all outcomes.
const NOW: Moment = Moment(1_800_000_000_000);

struct Plan {
    outcomes: usize,
    period_outcomes: usize,
    idle: usize,
    viewers: u64,
}

const FULL: Plan =
    Plan { outcomes: 1_000_000, period_outcomes: 120_000, idle: 380_000, viewers: 20_000 };

const TINY: Plan = Plan { outcomes: 200, period_outcomes: 100, idle: 50, viewers: 5 };

fn main() -> Result<(), Failure> {
    let full = std::env::args().any(|argument| argument == "--bench");
    let plan = if full { &FULL } else { &TINY };
    let rules = rule_models(plan);
    let period = period_models(plan)?;
    let pulled = rows::pull(plan.viewers, if full { ROUNDS } else { 1 })?;
    println!(
        "pull: {} rows, {:.0} a second over loopback, {:.0} merged without the door; a report {:.2} ms \
         after the last acknowledgement",
        pulled.rows, pulled.per_second, pulled.merged_per_second, pulled.report_ms,
    );
    let line = serde_json::json!({
        "bench": "attribute",
        "outcomes": plan.outcomes,
        "touches": TOUCHES,
        "rule_models_s": rules[0],
        "rule_models_all_windows_s": rules[1],
        "floats_s": rules[2],
        "ratio_floats": rules[0] / rules[2],
        "period_outcomes": plan.period_outcomes,
        "period_all_models_s": period,
        "pull_rows_per_s": pulled.per_second,
        "pull_merged_rows_per_s": pulled.merged_per_second,
        "report_after_ack_ms": pulled.report_ms,
    });
    println!("{}", with_columns(line, full, &pulled)?);
    Ok(())
}

/// Tells how fast rows come in columns, and what last touch costs over the history in the folder behind
/// `--history`, which is written there if it is new.
#[cfg(feature = "columns")]
fn with_columns(
    mut line: serde_json::Value,
    full: bool,
    pulled: &rows::Pulled,
) -> Result<serde_json::Value, Failure> {
    println!("flight: {:.0} rows a second over loopback", pulled.flight_per_second);
    line["flight_rows_per_s"] = pulled.flight_per_second.into();
    let named = std::env::args().skip_while(|argument| argument != "--history").nth(1);
    let told = match (named, full) {
        (Some(folder), _) => history::last_touch(folder.as_ref(), history::FULL, ROUNDS)?,
        (None, false) => history::last_touch(tempfile::tempdir()?.path(), history::TINY, 1)?,
        (None, true) => return Ok(line),
    };
    println!(
        "history: {} outcomes, {} by a tap, {} by a view: {:.3} s from Parquet",
        told.outcomes, told.by_tap, told.by_view, told.seconds,
    );
    line["history_outcomes"] = told.outcomes.into();
    line["history_last_touch_s"] = told.seconds.into();
    Ok(line)
}

#[cfg(not(feature = "columns"))]
fn with_columns(
    line: serde_json::Value,
    _: bool,
    _: &rows::Pulled,
) -> Result<serde_json::Value, Failure> {
    Ok(line)
}

fn path(dice: &mut impl Dice, touches: usize) -> Vec<PathTouch> {
    let mut path: Vec<_> = (0..touches)
        .map(|_| {
            let campaign = 1 + dice.roll() % CAMPAIGNS;
            let age_ms = (dice.roll() % (20 * DAY_MS) as u64) as i64;
            let is_view = age_ms < DAY_MS;
            let kind = if is_view { TouchKind::View } else { TouchKind::Tap };
            PathTouch {
                view: dice.roll(),
                ad: campaign,
                ad_set: campaign,
                campaign,
                kind: kind.into(),
                event_ms: NOW.0 - age_ms,
                in_window: age_ms < 7 * DAY_MS,
                proven: false,
            }
        })
        .collect();
    path.sort_by_key(|touch| touch.event_ms);
    path
}

/// Returns the thread's CPU seconds of a run.
fn seconds(run: impl FnOnce() -> u64) -> f64 {
    let start = ThreadTime::now();
    std::hint::black_box(run());
    start.elapsed().as_secs_f64()
}

/// Splits outcome by outcome: in the ad sets' own windows, in all six, and by floating point.
fn rule_models(plan: &Plan) -> [f64; 3] {
    let mut dice = SeededDice::new(11);
    // Paths repeat: a million of them at once would measure the memory.
    let paths: Vec<_> = (0..plan.outcomes.min(50_000)).map(|_| path(&mut dice, TOUCHES)).collect();
    let all = || paths.iter().cycle().take(plan.outcomes);
    let value = 123_456_789;
    let by = |windows: &[AttributionWindow]| {
        let mut sum = 0;
        for path in all() {
            for model in RULE_MODELS {
                for window in windows {
                    let credits = split(model, *window, path, NOW.0);
                    let values = share(value, &credits);
                    sum += u64::from(credits.iter().sum::<u32>());
                    sum += values.iter().sum::<i64>().unsigned_abs();
                }
            }
        }
        sum
    };
    let mut figures: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        let round = [
            seconds(|| by(&[AttributionWindow::Unspecified])),
            seconds(|| by(&WINDOWS)),
            seconds(|| all().map(|path| floats::split_all(path, NOW.0, value)).sum()),
        ];
        figures.iter_mut().zip(round).for_each(|(all, figure)| all.push(figure));
    }
    for path in paths.iter().take(1_000) {
        floats::assert_alike(path, NOW.0);
    }
    let figures = figures.map(median);
    println!(
        "{} outcomes of {TOUCHES} touches, six rule models: {:.2} s of CPU; in all six windows {:.2} s; in \
         floating point without whole credits {:.2} s",
        plan.outcomes, figures[0], figures[1], figures[2],
    );
    figures
}

/// Shares a period's outcomes by all eight models; returns the CPU seconds.
fn period_models(plan: &Plan) -> Result<f64, Failure> {
    let asked = Asked {
        account: 1,
        outcome: Outcome::Conversion,
        level: CreditLevel::Campaign,
        start: NOW.plus_ms(-DAY_MS),
        end: NOW.plus_ms(HOUR_MS),
    };
    let mut dice = SeededDice::new(12);
    let credits: Vec<_> = (0..plan.period_outcomes as u64)
        .map(|number| {
            let touches = 1 + (dice.roll() % 4) as usize;
            let row = AttributionRow {
                outcome_id: number + 1,
                revision: 1,
                outcome: Outcome::Conversion.into(),
                account_id: 1,
                value: Some(Money { micros: 5_000_000, currency: "MXN".into() }),
                event_time: Some(timestamp(NOW.0)),
                ..AttributionRow::default()
            };
            let path = path(&mut dice, touches);
            let shown = Shown::default();
            Credit { seq: number, at_ms: NOW.0, click: 0, row, path, judged_ms: NOW.0, shown }
        })
        .collect();
    let mut met = || Met { campaign: 1 + dice.roll() % CAMPAIGNS, ..Met::default() };
    let length = |at: usize| 1 + at % 2;
    let idle: Vec<Vec<Met>> =
        (0..plan.idle).map(|at| (0..length(at)).map(|_| met()).collect()).collect();
    let mut all = Vec::new();
    let mut wall = Vec::new();
    for _ in 0..ROUNDS {
        let (idle, begun, start) = (idle.clone(), Instant::now(), ThreadTime::now());
        let mut gathered = Gathered::default();
        credits.iter().for_each(|credit| gathered.take(whole_row(credit.clone())));
        idle.into_iter().for_each(|path| gathered.take_idle(path));
        let told = gathered.share(&asked, "MXN").map_err(|refusal| refusal.message.to_string())?;
        all.push(start.elapsed().as_secs_f64());
        wall.push(begun.elapsed().as_secs_f64());
        if told.outcomes != plan.period_outcomes as u64 {
            return Err("outcomes are missing".into());
        }
    }
    let (cpu, wall) = (median(all), median(wall));
    println!(
        "{} outcomes and {} idle people of a period by all eight models: {cpu:.2} s of CPU, {wall:.2} s",
        plan.period_outcomes, plan.idle
    );
    Ok(cpu)
}
