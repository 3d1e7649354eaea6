//! `munadi demo`: a seeded town lives one day on a node of its own, and the audit recounts it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Failure;
use crate::cli::figures::Figures;
use crate::cli::stage::Stage;
use crate::town::{ADVERTISERS, DAY_START, Day, DayReport, TownOptions, found_town};

/// The most viewers that a town may have: their day is written down before it begins.
const VIEWERS_MAX: u64 = 5_000_000;

/// The feed's floor: five cents of the settlement currency (US dollars) for 1,000 impressions.
const FLOOR_CPM_MICROS: i64 = 50_000;

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Print one JSON object instead of the table. Its spend_micros is the plain sum over all
    /// currencies; spend_by_currency tells them apart.
    #[arg(long)]
    json: bool,
    /// Everything random in the town follows from it: one seed gives one set of figures.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// People in the town.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=VIEWERS_MAX))]
    viewers: u64,
    /// Keep the node's folder here; it must be empty or new. Otherwise it is removed.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

pub(super) fn run(args: &DemoArguments) -> Result<ExitCode, Failure> {
    let options = TownOptions { seed: args.seed, viewers: args.viewers as usize };
    let day = Day::new(options);
    let keep = args.keep.as_deref();
    let stage = Stage::open(keep, DAY_START, args.seed, ADVERTISERS, FLOOR_CPM_MICROS)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let started = stage.elapsed();
    let report = runtime.block_on(async {
        let doors = stage.doors().await?;
        let town = found_town(doors, stage.clock(), stage.wake(), options).await?;
        let mut town = town.with_hooks(stage.hooks());
        town.hold_out().await?;
        let bar = progress(day.trays());
        let report = day.live(&mut town, |opened| bar.set_position(opened as u64)).await?;
        bar.finish_and_clear();
        Ok::<_, Failure>(report)
    })?;
    let taken = stage.elapsed().saturating_sub(started);
    // The connection must be gone before the server stops, else its drain would wait for it.
    drop(runtime);
    let figures = Figures {
        seed: args.seed,
        viewers: Some(options.viewers),
        events_per_second: per_second(&report, taken),
        day: report,
        audit: stage.close()?.into(),
    };
    print(&figures, args.json)
}

/// Returns a bar on stderr; nothing is drawn where that is no terminal.
pub(super) fn progress(trays: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} trays, {eta} left");
    let bar = ProgressBar::new(trays as u64);
    bar.set_style(style.expect("the template is well formed"));
    bar
}

/// Returns how many requests and events were answered in a second.
pub(super) fn per_second(report: &DayReport, taken: std::time::Duration) -> u64 {
    let answered = u128::from(report.requests + report.events);
    u64::try_from(answered * 1_000 / taken.as_millis().max(1)).unwrap_or(u64::MAX)
}

/// Prints the figures on stdout. Fails when a promise was not kept.
pub(super) fn print(figures: &Figures, json: bool) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    if json {
        figures.write_json(&mut out)?
    } else {
        figures.write_table(&mut out)?
    }
    out.flush()?;
    Ok(if figures.are_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
