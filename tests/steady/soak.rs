//! A mixed load for a long time: memory, open files and the time of serving stay what they are.
//!
//! The state remembers each event for a day and longer, so it grows for as long as new ones come. The first third of a
//! run therefore fills it, fast, from viewers and campaigns that stay the same; from then on the same events are told
//! again, and whatever still grows is a leak. What the log of forecasts takes of each request, by its own figures, is
//! taken off: it is bounded, but full only after a million requests.

mod load;
mod webhook;

use std::time::Duration;

use munadi::cli::audit::audit;
use serde_json::json;

use crate::figures::{median, percentile, slope, thirds};
use crate::journal::journaled;
use crate::number_of;
use crate::server::Server;

use load::{Plan, Run, Window};

/// The quick form: whether samples are taken, counts are right and nothing is refused.
const QUICK: Plan = Plan { life: Duration::from_secs(2), per_s: 40.0, fill_times: 1.0 };

/// From so long a run on its slopes say something.
const LONG: Duration = Duration::from_secs(1_800);

/// From this part of a run on memory is looked at: the state is full, and the first checkpoint was written.
const SETTLED: f64 = 0.4;

/// How much memory may grow, percent an hour.
const SLOPE_MAX: f64 = 1.0;

/// How much longer the 99th percentile of serving may be in the last third than in the first, and by how much at least:
/// both are medians over windows, for one window of a shared machine says nothing.
const DRIFT_MAX: f64 = 0.1;
const DRIFT_LEAST_MS: f64 = 1.0;

/// Files by which the middle number of open ones may differ: connections reach their age and are made anew.
const FILES_SLACK: f64 = 3.0;

/// What a run came to, from when it was settled.
struct Figures {
    /// Of resident memory without what is explained, and as it is; percent an hour.
    slope: f64,
    raw_slope: f64,
    resident_mb: f64,
    explained_mb: f64,
    /// Milliseconds, medians of windows.
    p99_first: f64,
    p99_last: f64,
    /// Medians.
    files_first: f64,
    files_last: f64,
}

#[test]
fn a_soak_leaves_memory_files_and_serving_as_they_are() {
    let long = number_of("SOAK_SECONDS").map(Duration::from_secs);
    let usual = Plan { life: QUICK.life, per_s: 10.0, fill_times: 8.0 };
    let plan = long.map_or(QUICK, |life| Plan { life, ..usual });
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let run = load::run(&server, &plan);
    server.stop();
    let settled = plan.life.as_secs_f64() * SETTLED;
    let windows: Vec<&Window> = run.windows.iter().filter(|it| it.at_s >= settled).collect();
    assert!(windows.len() >= 3, "{} windows", windows.len());
    assert!(windows.iter().all(|it| it.held.resident > 0 && it.held.files > 0));
    let figures = figures(&windows);
    if long.is_some() {
        println!("{}\n{}", table(&run), line(&run, &figures, plan.life));
    }
    let counts = &run.counts;
    assert_eq!((counts.failed, counts.refused, counts.left_out), (0, 0, 0), "{counts:?}");
    assert!(counts.recorded > 0 && counts.already > 0 && counts.reports > 0, "{counts:?}");
    assert!(counts.opened > 0 && counts.webhooks > 0, "{counts:?}");
    let stored = journaled(folder.path());
    assert!(stored.values().all(|count| *count == 1), "an event is counted once");
    // What was recorded just before its connection ended is known when it is told again.
    let more = (stored.len() as u64).checked_sub(counts.recorded);
    let told_again = more.is_some_and(|more| more == 0 || counts.retried > 0);
    assert!(told_again, "{} stored: {counts:?}", stored.len());
    let audited = audit(&folder.path().join("data")).unwrap();
    assert!(audited.equal && audited.complete, "{audited}");
    assert_eq!(audited.over_budget_micros, 0, "{audited}");

    let files = (figures.files_last - figures.files_first).abs();
    assert!(files <= FILES_SLACK, "{} files, then {}", figures.files_first, figures.files_last);
    if plan.life >= LONG {
        assert!(figures.slope <= SLOPE_MAX, "memory grows by {} % an hour", figures.slope);
        let later = figures.p99_last - figures.p99_first;
        let drifts = later > DRIFT_LEAST_MS && later > figures.p99_first * DRIFT_MAX;
        assert!(!drifts, "p99 was {} ms, then {} ms", figures.p99_first, figures.p99_last);
    }
}

fn figures(windows: &[&Window]) -> Figures {
    let percent_an_hour = |bytes: fn(&Window) -> f64| {
        let points: Vec<_> = windows.iter().map(|it| (it.at_s / 3_600.0, bytes(it))).collect();
        let usual = median(points.iter().map(|point| point.1).collect());
        100.0 * slope(&points) / usual.max(1.0)
    };
    let (first, last) = thirds(windows);
    let p99 = |windows: &[&Window]| {
        let of_windows = windows.iter().filter(|it| !it.serving.is_empty());
        median(of_windows.map(|it| 1_000.0 * percentile(&it.serving, 0.99).as_secs_f64()).collect())
    };
    let files =
        |windows: &[&Window]| median(windows.iter().map(|it| it.held.files as f64).collect());
    let end = windows.last().map_or((0, 0), |it| (it.held.resident, it.explained));
    Figures {
        slope: percent_an_hour(|it| it.held.resident as f64 - it.explained as f64),
        raw_slope: percent_an_hour(|it| it.held.resident as f64),
        resident_mb: end.0 as f64 / 1e6,
        explained_mb: end.1 as f64 / 1e6,
        p99_first: p99(first),
        p99_last: p99(last),
        files_first: files(first),
        files_last: files(last),
    }
}

/// Returns the windows, a line each.
fn table(run: &Run) -> String {
    let head =
        "     at s  resident MB  own MB  explained MB  files  calls  p50 ms  p99 ms".to_owned();
    let line = |window: &Window| {
        let ms = |part| 1_000.0 * percentile(&window.serving, part).as_secs_f64();
        let Window { at_s, held, explained, calls, .. } = window;
        let [resident, own, explained] =
            [held.resident, held.own, *explained].map(|bytes| bytes as f64 / 1e6);
        format!(
            "{at_s:9.1} {resident:12.2} {own:7.2} {explained:13.3} {:6} {calls:6} {:7.2} {:7.2}",
            held.files,
            ms(0.5),
            ms(0.99),
        )
    };
    let lines: Vec<String> = std::iter::once(head).chain(run.windows.iter().map(line)).collect();
    lines.join("\n")
}

/// Returns what a run came to, as one JSON object.
fn line(run: &Run, figures: &Figures, life: Duration) -> String {
    let counts = &run.counts;
    json!({
        "soak_seconds": life.as_secs(),
        "memory_slope_percent_an_hour": figures.slope,
        "memory_slope_raw_percent_an_hour": figures.raw_slope,
        "resident_mb": figures.resident_mb,
        "explained_mb": figures.explained_mb,
        "p99_ms_first_third": figures.p99_first,
        "p99_ms_last_third": figures.p99_last,
        "files_first_third": figures.files_first,
        "files_last_third": figures.files_last,
        "trays": counts.trays,
        "events_recorded": counts.recorded,
        "events_already": counts.already,
        "chats_opened": counts.opened,
        "webhooks": counts.webhooks,
        "reports": counts.reports,
        "changes": counts.changes,
        "retried": counts.retried,
    })
    .to_string()
}
