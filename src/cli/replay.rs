//! `munadi replay`: recorded requests against one's own campaigns, a dry run at the time they were made.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::Failure;
use crate::cli::demo::{per_second, print, progress};
use crate::cli::figures::Figures;
use crate::cli::stage::{FLOOR_CPM_MICROS, Stage};
use crate::town::{Habits, JsonForm, Recording, Town, TownError};

/// What the two files look like.
const FORM: &str = r#"Files:
  A requests file holds one munadi.v1.AdRequest a line, in protobuf's JSON form, each with its
  time, in the order of time:

    {"time":"2026-06-01T08:00:00Z","placement":"PLACEMENT_STATUS","posts":20,"viewer":{"pseudonym":"v1","country":"MX"}}

  A campaigns file holds one thing a line, parents before children:

    {"kind":"account","ref":"mine","resource":{"name":"Shop","currency":"MXN","timeZone":"UTC"}}
    {"kind":"business","resource":{"name":"Shop"}}
    {"kind":"endpoint","resource":{"channel":"CHANNEL_TELEGRAM","address":"shop_bot"}}
    {"kind":"campaign","parent":"mine","resource":{"name":"June","objective":"OBJECTIVE_OUTCOME_SALES","budget":{"daily":{"micros":"9000000","currency":"MXN"}}}}
    {"kind":"ad_set","resource":{"name":"all","billingEvent":"BILLING_EVENT_IMPRESSIONS","bid":{"micros":"60000000","currency":"MXN"}}}
    {"kind":"ad","resource":{"name":"one","creative":{"primaryText":"Write to us"}}}

  resource is the protobuf JSON form of the kind's message, without ids. ref gives a thing a name;
  parent, and endpoint for an ad, refer to one. Where they are absent, the last thing of that kind
  is meant."#;

#[derive(Debug, Args)]
#[command(after_long_help = FORM)]
pub(super) struct ReplayArguments {
    /// Recorded requests: one AdRequest a line (protobuf JSON), with its time, in the order of time.
    #[arg(long, value_name = "FILE")]
    requests: PathBuf,
    /// Campaigns: one thing a line, parents first; `--help` shows the form.
    #[arg(long, value_name = "FILE")]
    campaigns: PathBuf,
    /// Print one JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// Keep the node's folder here; it must be empty or new. Otherwise it is removed.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Seeds what viewers do and the node's ties.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of a million ads that are seen, how many are tapped.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    taps_per_million: u32,
    /// Of a million taps, how many lead to a message.
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    chats_per_million: u32,
}

pub(super) fn run(args: &ReplayArguments) -> Result<ExitCode, Failure> {
    let form = JsonForm::default();
    let in_file = |path: &Path| {
        let path = path.display().to_string();
        move |error: TownError| format!("{path}: {error}")
    };
    let lines = form
        .read_campaigns(open(&args.campaigns)?)
        .map_err(|error| in_file(&args.campaigns)(error.into()))?;
    let recording =
        Recording::read(&form, open(&args.requests)?).map_err(in_file(&args.requests))?;
    let start = recording
        .start()
        .ok_or_else(|| format!("{}: it holds no request", args.requests.display()))?;
    let stage = Stage::open(args.keep.as_deref(), start, args.seed, 1, FLOOR_CPM_MICROS)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let started = stage.elapsed();
    let report = runtime.block_on(async {
        let doors = stage.doors().await?;
        let habits = Habits::dry_run(args.taps_per_million, args.chats_per_million);
        let (clock, wake) = (stage.clock(), stage.wake());
        let town = Town::found(doors, clock, wake, args.seed, habits, &lines).await;
        let mut town = town.map_err(in_file(&args.campaigns))?;
        let bar = progress(recording.trays());
        let report = recording.live(&mut town, |made| bar.set_position(made as u64)).await?;
        bar.finish_and_clear();
        Ok::<_, Failure>(report)
    })?;
    let taken = stage.elapsed().saturating_sub(started);
    drop(runtime);
    let figures = Figures {
        seed: args.seed,
        viewers: None,
        events_per_second: per_second(&report, taken),
        day: report,
        audit: stage.close()?.into(),
    };
    print(&figures, args.json)
}

fn open(path: &Path) -> Result<BufReader<File>, Failure> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(BufReader::new(file))
}
