//! `munadi import`: brings events that another system has counted into a running node.
//!
//! The files are read once for each stage: what was seen and tapped, what more is known of it, what came of it. So
//! touches stand before the outcomes that they led to, whatever order and however many files they are in.

mod batches;
#[cfg(feature = "columns")]
mod parquet;
mod row;
mod send;
mod summary;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use summary::{Rejects, Report};

use crate::cli::import::batches::{Batch, Stages, read};
use crate::cli::import::summary::json;
use crate::cli::report::{KeyArgs, ReportError};
use crate::types::proto::v1::ImportedEventType;

/// Batches that are read ahead of the node.
const BATCHES_AHEAD: usize = 4;

/// What is sent in one reading of the files, in this order.
const STAGES: Stages = [
    &[ImportedEventType::Impression, ImportedEventType::Tap],
    &[ImportedEventType::Viewable, ImportedEventType::Video50],
    &[ImportedEventType::Conversation, ImportedEventType::Conversion],
];

/// Bring a history of another system into a running node, so that it is attributed and compared there.
///
/// A file holds a JSON object a line, or is Parquet (`.parquet`) with columns of the same names. Of a touch:
/// {"type": "tap", "event_id": "t-1", "event_time": "2026-11-23T12:00:00Z", "viewer": "v-1", "account_id": "1",
/// "ad_id": "2"}, its type one of impression, tap, viewable and video_50; the last two name their impression by
/// "impression_event_id", a tap may. Of an outcome, conversation or conversion: the same without "ad_id", and
/// where it is known "tap_event_id"; a conversion has "name", and may have "value_micros" and "currency".
///
/// Every event counts once: a file may be imported again, after a break, too. Bad rows go to a side file with
/// their reasons; mended there, it can be imported as it is. Nobody is charged, and nothing is learned.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The files.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Which node, and who asks.
    #[command(flatten)]
    pub caller: KeyArgs,
    /// Whose events they are, where a row does not say.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub account: u64,
    /// The feed whose pseudonyms the viewers have; operators only. Without it they are the account's own.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub feed: u32,
    /// Where bad rows go. Without it: beside the first file, with `.rejects.ndjson` behind its name.
    #[arg(long)]
    pub rejects: Option<PathBuf>,
    /// Let the node judge every row by what it knows now, and count nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print one line of JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command. Bad rows are no failure.
///
/// # Errors
/// When a file can't be read or has the wrong columns, or the node can't be asked or refuses.
pub fn run(args: &ImportArgs) -> Result<ExitCode, ReportError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut rejects = Rejects::new(rejects_path(args));
    let done = runtime.block_on(ask(args, &mut rejects, &mut io::stderr()));
    // What was rejected is kept, whatever else went wrong.
    let written = rejects.finish();
    let report = done?;
    written?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json(&report))?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends the files and returns what became of their rows. `progress` hears from time to time how far it is.
///
/// # Errors
/// When a file can't be read or has the wrong columns, or the node can't be asked or refuses.
pub async fn ask(
    args: &ImportArgs,
    rejects: &mut Rejects,
    progress: &mut dyn Write,
) -> Result<Report, ReportError> {
    args.files.iter().try_for_each(|file| check(file, args.account != 0))?;
    rejects.check(&args.files)?;
    let (sender, batches) = tokio::sync::mpsc::channel::<io::Result<Batch>>(BATCHES_AHEAD);
    let (files, account) = (args.files.clone(), args.account);
    let reader = tokio::task::spawn_blocking(move || {
        let mut put = |batch| sender.blocking_send(Ok(batch)).is_ok();
        let read = read(&files, account, STAGES, &mut put);
        if let Err(error) = read {
            // Nobody may wait any more.
            let _ = sender.blocking_send(Err(error));
        }
    });
    let sent = send::send(args, batches, rejects, progress).await;
    // It ends by itself: its batches are read to the end, or by nobody.
    reader.await.map_err(io::Error::other)?;
    sent
}

fn rejects_path(args: &ImportArgs) -> PathBuf {
    args.rejects.clone().unwrap_or_else(|| {
        let mut name =
            args.files.first().map_or_else(Default::default, |file| file.clone().into_os_string());
        name.push(".rejects.ndjson");
        name.into()
    })
}

/// Tells whether a file is Parquet, by its name.
fn is_parquet(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// Checks before anything is sent that a file can be read, and of Parquet its columns.
fn check(file: &Path, has_account: bool) -> io::Result<()> {
    let opened = std::fs::File::open(file).map_err(|error| at(file, &error))?;
    if is_parquet(file) { check_columns(file, opened, has_account) } else { Ok(()) }
}

#[cfg(feature = "columns")]
fn check_columns(file: &Path, opened: std::fs::File, has_account: bool) -> io::Result<()> {
    parquet::check(file, opened, has_account)
}

#[cfg(not(feature = "columns"))]
fn check_columns(file: &Path, _: std::fs::File, _: bool) -> io::Result<()> {
    let message =
        "this build reads no Parquet: build it with `--features columns`, or import NDJSON";
    Err(at(file, &io::Error::new(io::ErrorKind::Unsupported, message)))
}

/// Returns an error with the file that it is about.
fn at(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}
