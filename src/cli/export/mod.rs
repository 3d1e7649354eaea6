//! `munadi export`: writes the tables of a running node as Parquet, a folder a day, into a folder or object store.

mod days;
mod store;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use arrow_flight::error::FlightError;
use jiff::civil::Date;
use object_store::Error as StoreError;
use parquet::errors::ParquetError;

use crate::cli::export::days::Puller;
use crate::cli::export::store::Store;
use crate::cli::report::{KeyArgs, ReportError};
use crate::report::columnar::Table;

/// Write the tables of a running node as Parquet, one folder a day.
///
/// Each day (UTC, of the journal's time) that is over becomes `TABLE/day=YYYY-MM-DD/part-000.parquet`, and is not
/// written again: run it as often as you like. `TABLE/munadi-export.json` says which days are complete; a day that
/// it does not name is not, whatever lies in its folder. Rows that were revised later stand again, with a higher
/// revision, in the folder of the later day: upsert by `outcome_id`. A conversation stands in the folder of the
/// day of its last event at the time of the export: upsert by `conversation_id`, the latest day wins.
///
/// Times and bounds: transfers of a day follow 26 hours after it, when it is over in every account's time zone.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// A folder, or `s3://bucket/prefix`. Keys, region and endpoint of a store are taken from the usual AWS_*
    /// variables of the environment.
    #[arg(long)]
    pub to: String,
    /// Which node, and who asks.
    #[command(flatten)]
    pub caller: KeyArgs,
    /// Only this account.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub account: u64,
    /// Only these tables, separated by commas. Without it: all that the key may read.
    #[arg(long, value_delimiter = ',')]
    pub tables: Vec<Exported>,
    /// The first day: 2026-11-01. Without it: the first one that the node still knows whole, 94 days ago.
    #[arg(long)]
    pub start: Option<Date>,
}

/// A table that is exported.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Exported {
    /// Outcomes and who earned them.
    Attributions,
    /// The touches before them.
    Touches,
    /// Conversations.
    Conversations,
    /// The ledger's transfers.
    Transfers,
}

impl Exported {
    const ALL: [Self; 4] =
        [Self::Attributions, Self::Touches, Self::Conversations, Self::Transfers];

    const fn table(self) -> Table {
        match self {
            Self::Attributions => Table::Attributions,
            Self::Touches => Table::Touches,
            Self::Conversations => Table::Conversations,
            Self::Transfers => Table::Transfers,
        }
    }
}

/// Why an export stopped. Days that were complete before stay so; the next run goes on.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The node can't be asked.
    #[error(transparent)]
    Node(#[from] ReportError),
    /// The node's rows can't be read.
    #[error("the node's rows: {0}")]
    Rows(#[source] FlightError),
    /// The store can't be read or written.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// Rows can't be written as Parquet.
    #[error("Parquet: {0}")]
    Parquet(#[from] ParquetError),
    /// The place is no folder or store.
    #[error("--to {0}: write a folder or s3://bucket/prefix")]
    Place(String),
    /// The manifest there is none of ours.
    #[error("{0} can't be read: {1}; repair or remove it, then its days are written again")]
    Manifest(String, #[source] serde_json::Error),
    /// What lies there is of something else.
    #[error("{path} is of {field} {theirs}, this export of {ours}: export into another place")]
    Foreign {
        /// The manifest.
        path: String,
        /// In what they differ.
        field: &'static str,
        /// What the manifest says.
        theirs: String,
        /// What this export is of.
        ours: String,
    },
    /// There is no runtime, or the summary can't be printed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<FlightError> for ExportError {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Tonic(status) => Self::Node(ReportError::Refused(status)),
            other => Self::Rows(other),
        }
    }
}

/// What became of one table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Done {
    /// The table.
    pub table: Table,
    /// Days that were written now.
    pub days: usize,
    /// Rows that were.
    pub rows: u64,
    /// The day behind the last one that is complete.
    pub complete_up_to: Date,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, days, rows, complete_up_to } = self;
        let name = table.name();
        write!(f, "{name:<14} {days:>4} days  {rows:>12} rows  complete before {complete_up_to}")
    }
}

/// Runs the command.
///
/// # Errors
/// When the node can't be asked or refuses, or the place can't be written.
pub fn run(args: &ExportArgs) -> Result<ExitCode, ExportError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(export(args))?;
    let mut out = io::stdout().lock();
    for table in done {
        writeln!(out, "{table}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes all days that are over and not written yet.
///
/// # Errors
/// As [`run`].
pub async fn export(args: &ExportArgs) -> Result<Vec<Done>, ExportError> {
    let store = Store::open(&args.to)?;
    let mut puller = Puller::connect(args).await?;
    let known = puller.tables().await?;
    let asked = if args.tables.is_empty() { &Exported::ALL[..] } else { &args.tables[..] };
    let mut done = Vec::new();
    for exported in asked {
        let table = exported.table();
        // A table that is asked for by name is refused by name.
        if !args.tables.is_empty() || known.contains(&table) {
            done.push(puller.export(&store, table).await?);
        }
    }
    Ok(done)
}
