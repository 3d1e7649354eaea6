//! `munadi audit`: recounts every invoice from the journal and compares it with the node's own figures.
//!
//! The recount (`recount.rs`) shares only the journal's codec and the messages with the engine, so that a
//! fault in the engine's own fold can't hide in both.

#[cfg(test)]
mod altered;
pub(in crate::cli) mod compare;
mod credits;
mod implied;
mod ledger;
pub(in crate::cli) mod output;
mod prices;
pub(in crate::cli) mod recount;
mod revisions;
#[cfg(test)]
mod samples;
mod steps;
mod transfers;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::cli::audit::compare::compare;
use crate::cli::audit::recount::Recount;
use crate::cli::progress::{Progress, bytes_of};
use crate::cli::tell;
use crate::journal::file::{Scanned, boundaries, scan_within};
use crate::journal::{Block, LogError};
use crate::node::base::{Base, BaseError, joined};
use crate::node::{Files, OpenError, fold};
use crate::state::State;
use crate::types::ids::{Seq, Shard};

/// Differences that a report lists; the rest are only counted.
const DIFFERENCES_MAX: usize = 20;

/// Recount every invoice from the journal and compare it with the node's own figures.
///
/// Reads the journal below DIR from its first fact to its last, counts spend, events and credits by
/// separate, plain code, folds the same journal as the node does, and compares both to the micro. Also
/// checks every charge against the budgets in force at that moment, and every transfer of the ledgers:
/// debits equal credits, no balance below zero, no transfer twice, nothing given back above its charge, and
/// the seals that the journal keeps of them. Prices of messages are found again by the cards, volume steps and
/// exchange rates in the journal (built-in cards are those of this version). Writes nothing and needs no lock:
/// the node may be running.
///
/// With a base (`munadi base`) it goes on from the recount in it, after every byte of the base was checked: figures
/// are of the journal's whole life, and the report says from when on facts were read now.
///
/// Exit code: 0 everything is equal, 1 something differs.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// The node's folder: the one with `journal` and `keyring.json` in it.
    pub dir: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Print every transfer of the ledgers instead, one JSON object a line: id, kind, debit, credit,
    /// amount, and the event that it is of. Nothing is compared. With a base: those behind it.
    #[arg(long, conflicts_with = "json")]
    pub transfers: bool,
}

/// Why a journal can't be audited.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The journal is absent, damaged or can't be read. `munadi fsck` says more.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It holds what this version can't read.
    #[error(transparent)]
    Fold(#[from] OpenError),
    /// Its base is damaged, of another version, or missing.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The report can't be printed.
    #[error("the report can't be printed: {0}")]
    Output(#[from] io::Error),
}

/// What an audit found.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct AuditReport {
    /// Whether everything is equal and no budget was exceeded.
    pub equal: bool,
    /// The journal's name.
    pub journal: String,
    /// Whether its very first fact is counted: it was read now, or before a base was made.
    pub complete: bool,
    /// The last batch that was recounted when the base was made, not now. 0: there is no base.
    pub base_batch: u64,
    /// The journal's time at that batch, RFC 3339; empty: there is no base.
    pub base_time: String,
    /// The first and last journal time, RFC 3339; empty: the journal is.
    pub first_time: String,
    /// See `first_time`.
    pub last_time: String,
    /// The first batch.
    pub first_batch: u64,
    /// The last batch.
    pub last_batch: u64,
    /// How many facts, those that the base covers among them.
    pub facts: u64,
    /// Bytes behind the last sound block: a group that is being written, or that a stop cut short. They
    /// are not counted.
    pub torn_bytes: u64,
    /// How many account-days were charged anything.
    pub invoices: usize,
    /// Charged by currency, micros: the sum of the invoices.
    pub invoiced_micros: BTreeMap<String, i64>,
    /// Charged by currency, micros: the sum over the ads.
    pub spend_micros: BTreeMap<String, i64>,
    /// Transfers of the ledgers: grants, charges, credits, and money that came or went.
    pub transfers: u64,
    /// Given back for invalid events, by currency, micros.
    pub credited_micros: BTreeMap<String, i64>,
    /// Delivered beyond budgets and not charged, by currency, micros.
    pub over_delivered_micros: BTreeMap<String, i64>,
    /// Charged above a budget or grant, micros. Must be 0.
    pub over_budget_micros: i64,
    /// First frames drawn.
    pub impressions: u64,
    /// Taps.
    pub taps: u64,
    /// Openings matched to an ad.
    pub conversations: u64,
    /// First answers to those.
    pub first_replies: u64,
    /// Conversions credited to an ad.
    pub conversions: u64,
    /// Rows of the attribution stream: credited and declined outcomes.
    pub credits: u64,
    /// What channels asked for messages, by category and the account's currency.
    pub message_costs: BTreeMap<String, BTreeMap<String, MessageSum>>,
    /// The first differences, in words.
    pub differences: Vec<String>,
    /// How many more there are.
    pub differences_left_off: usize,
}

/// What messages came to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct MessageSum {
    /// How many were priced, free ones and those without a card among them.
    pub messages: u64,
    /// What they cost, micros.
    pub micros: i64,
}

/// Audits the journal of a node's folder. Writes nothing and needs no lock.
///
/// # Errors
/// When the journal can't be read to its end.
pub fn audit(dir: &Path) -> Result<AuditReport, AuditError> {
    audit_watched(dir, &mut |_| ())
}

/// Audits, and tells after each block how many bytes it had.
fn audit_watched(dir: &Path, read: &mut dyn FnMut(u64)) -> Result<AuditReport, AuditError> {
    let (files, mut failed) = (Files::new(dir), None);
    let journal = files.journal();
    let boundaries = boundaries(&journal)?;
    let base = joined(&files, &boundaries)?;
    let (mut recount, mut state) = begun(base.as_ref(), &journal)?;
    let first = base.as_ref().map_or(boundaries[0].segment, Base::segment);
    let scanned = scan_within(&journal, first..u64::MAX, |block| {
        if failed.is_none() {
            failed = take(&mut recount, &mut state, block).err();
        }
        read(block.bytes.len() as u64);
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(report(&scanned, base.as_ref(), recount, &state)),
    }
}

/// Returns what a recount and a fold begin with.
fn begun(base: Option<&Base>, journal: &Path) -> Result<(Recount, State), BaseError> {
    let Some(base) = base else { return Ok((Recount::default(), State::default())) };
    base.check()?;
    Ok((Recount::of_base(base)?, base.load(journal)?))
}

fn take(recount: &mut Recount, state: &mut State, block: &Block) -> Result<(), OpenError> {
    fold(block, |stamp, fact| state.apply(stamp, fact))?;
    recount.read(block);
    Ok(())
}

/// Compares the two counts and puts the figures together.
fn report(
    scanned: &Scanned,
    base: Option<&Base>,
    mut recount: Recount,
    state: &State,
) -> AuditReport {
    let complete = base.is_some() || scanned.start.0.iter().all(|first| *first <= Seq(1));
    let mut differences = recount.finish(complete);
    differences.extend(compare(&recount, state));
    let left_off = differences.len().saturating_sub(DIFFERENCES_MAX);
    differences.truncate(DIFFERENCES_MAX);
    let totals = recount.totals();
    AuditReport {
        equal: differences.is_empty() && recount.over_budget == 0,
        journal: scanned.journal.to_string(),
        complete,
        base_batch: base.map_or(0, |base| base.last_batch().0),
        base_time: base.map_or_else(String::new, |base| output::time(base.span().1.0)),
        first_time: recount.span.map_or_else(String::new, |(first, _)| output::time(first)),
        last_time: recount.span.map_or_else(String::new, |(_, last)| output::time(last)),
        first_batch: recount.first_batch,
        last_batch: scanned.last_batch.0,
        facts: base.map_or(0, Base::facts) + scanned.facts,
        torn_bytes: scanned.torn.as_ref().map_or(0, |torn| torn.bytes),
        invoices: recount.invoices.values().filter(|amount| **amount != 0).count(),
        invoiced_micros: recount.by_currency(|account| {
            let days = recount.invoices.range((account, i32::MIN)..=(account, i32::MAX));
            days.map(|(_, amount)| amount).sum()
        }),
        spend_micros: recount.by_currency(|account| recount.spend_of(account)),
        transfers: recount.postings.transfers,
        credited_micros: recount.by_currency(|account| recount.postings.credited_to(account)),
        over_delivered_micros: recount
            .by_currency(|account| recount.over_delivered.get(&account).copied().unwrap_or(0)),
        over_budget_micros: recount.over_budget,
        impressions: totals.impressions,
        taps: totals.taps,
        conversations: totals.conversations,
        first_replies: totals.first_replies,
        conversions: totals.conversions,
        credits: Shard::all().map(|shard| recount.credits[shard.index()].len() as u64).sum(),
        message_costs: recount.prices.by_category(),
        differences,
        differences_left_off: left_off,
    }
}

/// Runs the command.
///
/// # Errors
/// When the journal can't be read or the report can't be printed.
pub fn run(args: &AuditArgs) -> Result<ExitCode, AuditError> {
    if args.transfers {
        let mut out = io::BufWriter::new(io::stdout().lock());
        if let Some(base) = transfers::list(&args.dir, &mut out)? {
            let until = output::time(base.span().1.0);
            tell(
                io::stderr(),
                format_args!("not listed: transfers until {until}, before the base"),
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut progress = Progress::new("audit", bytes_of(&Files::new(&args.dir).journal()));
    let report = audit_watched(&args.dir, &mut |bytes| progress.advance(bytes))?;
    progress.finish();
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(if report.equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
