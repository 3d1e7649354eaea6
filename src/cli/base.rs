//! `munadi base`: folds the journal's oldest segments into one audited file, so that they can be removed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;

use crate::cli::audit::recount::{RECOUNT_VERSION, Recount};
use crate::cli::audit::{compare::compare, output};
use crate::cli::progress::{Progress, bytes_of};
use crate::node::Files;
use crate::node::base::{Base, BaseError, JOURNAL_KEEP_DAYS_MIN, Making};

/// Differences that an error lists.
const DIFFERENCES_MAX: usize = 20;

/// Fold the journal's oldest segments into a base, after which a node may remove them.
///
/// Takes the base before, if there is one, and the sealed segments behind it of which every fact is older than so
/// many days, counted back from the journal's newest fact. Folds them as a starting node does, recounts them by the
/// separate code of `munadi audit`, and compares both. If they agree, one file `base-<last batch>` is written into
/// DIR: the state and the recount at that place. If they do not, nothing is written, and nothing can be removed.
///
/// Needs no lock: the node may be running. It removes segments only with `remove_behind_base` under `[journal]` in its
/// configuration. From then on the journal is kept from the base on: `InvalidateEvents` and `munadi audit
/// --transfers` reach back so far and no further. Needs memory for the state and the recount.
///
/// Exit code: 0 a base was made, or nothing is old enough. 1 the recount differs, or something can't be read.
#[derive(Debug, clap::Args)]
pub struct BaseArgs {
    /// The node's folder: the one with `journal` and `keyring.json` in it.
    pub dir: PathBuf,
    /// How many days of the journal stay behind the base, at least 95.
    #[arg(
        long,
        value_name = "DAYS",
        default_value_t = JOURNAL_KEEP_DAYS_MIN,
        value_parser = clap::value_parser!(u32).range(i64::from(JOURNAL_KEEP_DAYS_MIN)..=36_500)
    )]
    pub keep_days: u32,
}

/// What `[journal]` of the configuration says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JournalLines {
    #[serde(default)]
    pub(super) remove_behind_base: bool,
}

/// Why no base was made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The journal or the base before can't be read, or the base can't be written.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The recount and the node's fold do not agree.
    #[error("no base was made: the recount differs from the node's own figures:\n{}", .0.join("\n"))]
    Differs(Vec<String>),
    /// The recount can't be kept.
    #[error("the recount can't be encoded: {0}")]
    Encode(#[from] postcard::Error),
    /// The report can't be printed.
    #[error("the report can't be printed: {0}")]
    Output(#[from] io::Error),
}

/// Makes a base of a node's folder; `None`: nothing behind the last one is old enough.
///
/// # Errors
/// When the journal can't be read, the recount differs, or the base can't be written. Nothing is changed then.
pub fn make_base(
    dir: &Path,
    keep_days: u32,
    read: &mut dyn FnMut(u64),
) -> Result<Option<Base>, MakeError> {
    let Some(mut making) = Making::plan(&Files::new(dir), keep_days)? else { return Ok(None) };
    let mut recount = match making.previous() {
        Some(base) => {
            base.check()?;
            Recount::of_base(base)?
        }
        None => Recount::default(),
    };
    // The state as it is read back from the file is what is compared.
    let state = making.fold(RECOUNT_VERSION, &mut |block| {
        recount.read(block);
        read(block.bytes.len() as u64);
    })?;
    // The journal was read from its first fact, by this base or one before.
    let mut differences = recount.so_far(true);
    differences.extend(compare(&recount, &state));
    if recount.over_budget > 0 {
        differences.push(format!("{} micros were charged above budgets", recount.over_budget));
    }
    if !differences.is_empty() {
        differences.truncate(DIFFERENCES_MAX);
        return Err(MakeError::Differs(differences));
    }
    recount.forget(making.last(), making.previous());
    let kept = recount.kept()?;
    drop(recount);
    // So is the recount: what it forgot and how it is kept must change no figure.
    let again = Recount::decoded(&kept).map(|again| compare(&again, &state));
    let unread = || vec!["what is kept of the recount can't be read back".to_owned()];
    match again.unwrap_or_else(unread) {
        none if none.is_empty() => Ok(Some(making.finish(&kept)?)),
        differences => Err(MakeError::Differs(differences)),
    }
}

/// Runs the command.
///
/// # Errors
/// As [`make_base`].
pub(super) fn run(args: &BaseArgs) -> Result<ExitCode, MakeError> {
    let mut progress = Progress::new("base", bytes_of(&Files::new(&args.dir).journal()));
    let made = make_base(&args.dir, args.keep_days, &mut |bytes| progress.advance(bytes));
    progress.finish();
    let mut out = io::stdout().lock();
    match made? {
        None => {
            writeln!(out, "no whole segment without a base is older than {} days", args.keep_days)?
        }
        Some(base) => {
            let (first, last) = base.span();
            writeln!(out, "base        {}", base.path().display())?;
            writeln!(out, "span        {} to {}", output::time(first.0), output::time(last.0))?;
            writeln!(out, "last batch  {}", base.last_batch())?;
            writeln!(out, "facts       {}", base.facts())?;
            writeln!(out, "goes on     with segment {:016x}", base.segment())?;
            writeln!(out, "equal")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
