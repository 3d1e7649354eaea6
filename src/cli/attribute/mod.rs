//! `munadi attribute`: last touch over a history in Parquet files, without a node.

mod history;
mod output;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use parquet::errors::ParquetError;

use crate::cli::attribute::history::{History, Kind};
use crate::cli::attribute::output::write;
use crate::node::clock::{Clock, SystemClock};
use crate::report::last_touch::{
    Credited, PastOutcome, Seekers, TAP_WINDOW_US, VIEW_WINDOW_US, credited, without_tap,
};

/// Credit the conversations and conversions of a history to their last touch, without a node.
///
/// The history is a folder of Parquet files as `munadi import` takes them: `type` (IMPRESSION, TAP, CONVERSATION
/// or CONVERSION; others are passed over), `event_id`, `event_time` (timestamp in microseconds, UTC), `viewer`,
/// `account_id`, `ad_id`, `name`, `value_micros`, `currency`. An outcome is credited to the last tap of its viewer
/// on an ad of its account within 7 days, else to the last impression within one day.
#[derive(Debug, clap::Args)]
pub struct AttributeArgs {
    /// The folder.
    #[arg(long)]
    pub from: PathBuf,
    /// Write a Parquet file with a row for each outcome: type, event_id, event_time, account_id, touch (TAP, VIEW or
    /// null), touch_time, ad_id, name, value_micros, currency.
    #[arg(long)]
    pub to: Option<PathBuf>,
}

/// Why a history can't be attributed.
#[derive(Debug, thiserror::Error)]
pub enum AttributeError {
    /// The folder can't be listed.
    #[error("{0}: {1}")]
    Folder(PathBuf, #[source] io::Error),
    /// It has no files of ours.
    #[error("{0} has no .parquet file: name the folder of a history")]
    Empty(PathBuf),
    /// A file can't be opened or written.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// A file is not what it says it is.
    #[error("{0}: {1}")]
    Parquet(PathBuf, #[source] ParquetError),
    /// A column is missing or of another type.
    #[error("{0}: the column {1} is missing or is no {2}: write it as that")]
    Column(PathBuf, &'static str, String),
    /// A column has no value where each event has one.
    #[error("{0}: the column {1} has rows without a value: each event has one")]
    Null(PathBuf, &'static str),
    /// A reader's thread ended.
    #[error("a reader stopped in the middle")]
    Reader,
    /// The table can't be printed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A history's outcomes and what each is credited to.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributed {
    /// Conversations, then conversions, each in the files' order.
    pub outcomes: Vec<PastOutcome>,
    /// By the outcome's place.
    pub credits: Vec<Credited>,
}

/// Runs the command.
///
/// # Errors
/// When the files can't be read, or the output can't be written.
pub fn run(args: &AttributeArgs) -> Result<ExitCode, AttributeError> {
    let clock = SystemClock::default();
    let attributed = attribute(&args.from)?;
    let took = clock.monotonic();
    if let Some(path) = &args.to {
        write(path, &attributed)?;
    }
    let mut out = io::stdout().lock();
    write!(out, "{}", Table::of(&attributed))?;
    let count = attributed.outcomes.len();
    writeln!(out, "{count} outcomes in {:.3} s", took.as_secs_f64())?;
    Ok(ExitCode::SUCCESS)
}

/// Credits the outcomes of a folder's history.
///
/// # Errors
/// When its files can't be read.
pub fn attribute(from: &Path) -> Result<Attributed, AttributeError> {
    let history = History::open(from)?;
    let outcomes = history.outcomes()?;
    let all: Vec<usize> = (0..outcomes.len()).collect();
    let seek = |kind, places: &[usize], window_us| {
        let seekers = Seekers::of(&outcomes, places, window_us);
        history.touches(kind, outcomes.len(), &seekers)
    };
    let taps = seek(Kind::Tap, &all, TAP_WINDOW_US)?;
    // Whatever has a tap needs no view, so most outcomes are not looked for among the many impressions.
    let views = seek(Kind::Impression, &without_tap(&taps), VIEW_WINDOW_US)?;
    let credits = credited(&taps, &views);
    Ok(Attributed { outcomes, credits })
}

/// Outcomes by what they are credited to: a tap, a view, nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Counts {
    conversations: [u64; 3],
    conversions: [u64; 3],
    value_micros: i64,
}

/// A line for each account and currency.
struct Table<'a>(BTreeMap<(u64, &'a str), Counts>);

impl<'a> Table<'a> {
    fn of(attributed: &'a Attributed) -> Self {
        let mut lines: BTreeMap<(u64, &str), Counts> = BTreeMap::new();
        for (outcome, credit) in attributed.outcomes.iter().zip(&attributed.credits) {
            let counts = lines.entry((outcome.account, &outcome.currency)).or_default();
            let place = match credit {
                Credited::Tap(_) => 0,
                Credited::View(_) => 1,
                Credited::Nothing => 2,
            };
            if outcome.is_conversion {
                counts.conversions[place] += 1;
                if place < 2 {
                    counts.value_micros += outcome.value_micros.unwrap_or_default();
                }
            } else {
                counts.conversations[place] += 1;
            }
        }
        Self(lines)
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20} {:>10} {:>8} {:>8} {:>10} {:>8} {:>8} {:>18}",
            "account", "chats: tap", "view", "none", "sales: tap", "view", "none", "value credited",
        )?;
        for ((account, currency), counts) in &self.0 {
            let Counts { conversations: [a, b, c], conversions: [d, e, g], value_micros } = counts;
            let (units, micros) =
                (value_micros / 1_000_000, value_micros.unsigned_abs() % 1_000_000);
            let value = format!("{units}.{:02} {currency}", micros / 10_000);
            let value = if currency.is_empty() { "" } else { &*value };
            let line =
                format!("{account:<20} {a:>10} {b:>8} {c:>8} {d:>10} {e:>8} {g:>8} {value:>18}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
