//! `munadi report`: asks a running node what was delivered, and prints it as a table.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use prost_types::Timestamp;
use serde::Serialize;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Endpoint;
use tonic::transport::Error as TransportError;
use tonic::{Request, Status};

use crate::types::money::Micros;
use crate::types::proto::v1::report_service_client::ReportServiceClient;
use crate::types::proto::v1::{Dimension, QueryReportRequest, QueryReportResponse, ReportRow};

/// Rows that one call asks for.
const PAGE_ROWS: u32 = 1_000;

/// Which node is asked, and who asks.
#[derive(Debug, clap::Args)]
pub struct KeyArgs {
    /// Where the node listens.
    #[arg(long, default_value = "http://127.0.0.1:7700")]
    pub addr: String,
    /// A file that holds the key, `mk_<id>_<secret>`. Without it the key is taken from MUNADI_KEY.
    #[arg(long)]
    pub key_file: Option<PathBuf>,
    /// The key itself; better given by the environment than on the command line, where others see it.
    #[arg(long, env = "MUNADI_KEY", hide_env_values = true, hide = true)]
    pub key: Option<String>,
}

/// Ask a running node what was delivered, and what it cost.
///
/// The key decides whose figures these are: an advertiser's or analyst's own, an operator's all. Rows
/// before `complete up to` change no more.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Which node, and who asks.
    #[command(flatten)]
    pub caller: KeyArgs,
    /// What a row is about, separated by commas. Without it: one row per currency.
    #[arg(long, value_delimiter = ',')]
    pub dimensions: Vec<By>,
    /// First hour, RFC 3339: 2026-11-23T00:00:00Z. Without it: the beginning.
    #[arg(long)]
    pub start: Option<jiff::Timestamp>,
    /// The hour after the last one. Without it: now.
    #[arg(long)]
    pub end: Option<jiff::Timestamp>,
    /// Only this account.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub account: u64,
    /// Only this campaign.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub campaign: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// What a row may be about.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum By {
    /// The account.
    Account,
    /// The campaign.
    Campaign,
    /// The ad set.
    AdSet,
    /// The ad.
    Ad,
    /// The hour, UTC.
    Hour,
    /// The day in the account's zone.
    Day,
}

impl By {
    const fn dimension(self) -> Dimension {
        match self {
            Self::Account => Dimension::Account,
            Self::Campaign => Dimension::Campaign,
            Self::AdSet => Dimension::AdSet,
            Self::Ad => Dimension::Ad,
            Self::Hour => Dimension::Hour,
            Self::Day => Dimension::Day,
        }
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The key is missing or can't be read or sent.
    #[error("{0}")]
    Key(String),
    /// The address is not one.
    #[error("{0} is no address: write http://host:port")]
    Address(String),
    /// Nothing answers there.
    #[error("no node answers at {0}: {1}")]
    Connect(String, #[source] TransportError),
    /// The node refused.
    #[error("the node refused: {} ({:?})", .0.message(), .0.code())]
    Refused(Box<Status>),
    /// There is no runtime, or the report can't be printed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs the command.
///
/// # Errors
/// When the node can't be asked or refuses.
pub fn run(args: &ReportArgs) -> Result<ExitCode, ReportError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(ask(args))?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &json(&answer)).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", Table::of(&answer, &args.dimensions))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks for all pages and returns them as one.
///
/// # Errors
/// When the node can't be asked or refuses.
pub async fn ask(args: &ReportArgs) -> Result<QueryReportResponse, ReportError> {
    let (bearer, addr) = (args.caller.bearer()?, &args.caller.addr);
    let endpoint = Endpoint::from_shared(addr.clone());
    let endpoint = endpoint.map_err(|_| ReportError::Address(addr.clone()))?;
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|error| ReportError::Connect(addr.clone(), error))?;
    let mut client = ReportServiceClient::new(channel);
    let mut whole = QueryReportResponse::default();
    loop {
        let mut request = Request::new(question(args, &whole.next_page_token));
        request.metadata_mut().insert("authorization", bearer.clone());
        let page = client.query_report(request).await;
        let page = page.map_err(|status| ReportError::Refused(Box::new(status)))?.into_inner();
        let rows = std::mem::take(&mut whole.rows);
        let last = page.next_page_token.is_empty();
        whole = page;
        whole.rows.splice(..0, rows);
        if last {
            return Ok(whole);
        }
    }
}

impl KeyArgs {
    /// Returns the key as the node wants it.
    ///
    /// # Errors
    /// When the key is missing, or can't be read or sent.
    pub fn bearer(&self) -> Result<AsciiMetadataValue, ReportError> {
        let bearer = format!("Bearer {}", key(self)?).parse();
        bearer.map_err(|_| ReportError::Key("the key has letters that no key has".into()))
    }
}

fn key(args: &KeyArgs) -> Result<String, ReportError> {
    if let Some(path) = &args.key_file {
        let read = std::fs::read_to_string(path);
        let text =
            read.map_err(|error| ReportError::Key(format!("{}: {error}", path.display())))?;
        return Ok(text.trim().to_owned());
    }
    let missing = || ReportError::Key("give the key by --key-file or MUNADI_KEY".into());
    args.key.as_ref().map(|key| key.trim().to_owned()).ok_or_else(missing)
}

fn question(args: &ReportArgs, page_token: &str) -> QueryReportRequest {
    let time = |time: jiff::Timestamp| Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    };
    QueryReportRequest {
        start_time: args.start.map(time),
        end_time: args.end.map(time),
        dimensions: args.dimensions.iter().map(|by| by.dimension().into()).collect(),
        account_id: args.account,
        campaign_id: args.campaign,
        page_size: PAGE_ROWS,
        page_token: page_token.to_owned(),
    }
}

/// One row as JSON has it. Ids are text: they do not fit a JavaScript number.
#[derive(Serialize)]
struct JsonRow {
    account_id: String,
    campaign_id: String,
    ad_set_id: String,
    ad_id: String,
    period: String,
    currency: String,
    impressions: u64,
    viewable: u64,
    taps: u64,
    conversations: u64,
    first_replies: u64,
    conversions: u64,
    conversion_value_micros: i64,
    spend_micros: i64,
    over_delivered_micros: i64,
    hides: u64,
    reports: u64,
    invalid_impressions: u64,
    invalid_taps: u64,
    invalid_conversations: u64,
    credited_micros: i64,
}

fn json(answer: &QueryReportResponse) -> serde_json::Value {
    let row = |row: &ReportRow| JsonRow {
        account_id: id(row.account_id),
        campaign_id: id(row.campaign_id),
        ad_set_id: id(row.ad_set_id),
        ad_id: id(row.ad_id),
        period: written(row.period.as_ref()),
        currency: row.currency.clone(),
        impressions: row.impressions,
        viewable: row.viewable,
        taps: row.taps,
        conversations: row.conversations,
        first_replies: row.first_replies,
        conversions: row.conversions,
        conversion_value_micros: row.conversion_value_micros,
        spend_micros: row.spend_micros,
        over_delivered_micros: row.over_delivered_micros,
        hides: row.hides,
        reports: row.reports,
        invalid_impressions: row.invalid_impressions,
        invalid_taps: row.invalid_taps,
        invalid_conversations: row.invalid_conversations,
        credited_micros: row.credited_micros,
    };
    serde_json::json!({
        "rows": answer.rows.iter().map(row).collect::<Vec<_>>(),
        "complete_up_to": written(answer.complete_up_to.as_ref()),
    })
}

fn id(id: u64) -> String {
    if id == 0 { String::new() } else { id.to_string() }
}

fn written(time: Option<&Timestamp>) -> String {
    let time = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
    time.map_or_else(String::new, |time| time.to_string())
}

/// A report as text: a column for each dimension asked for, then the figures.
struct Table {
    cells: Vec<Vec<String>>,
    /// Columns of text stand left, figures right.
    texts: usize,
    complete_up_to: String,
}

impl Table {
    fn of(answer: &QueryReportResponse, dimensions: &[By]) -> Self {
        let mut dimensions: Vec<By> = dimensions.to_vec();
        dimensions.sort_by_key(|by| *by as u8);
        dimensions.dedup();
        let figures = "impressions viewable taps conversations replies conversions \
                       invalid_impressions invalid_taps invalid_conversations \
                       value spend unpaid credited";
        let name = |by: &By| format!("{by:?}").to_lowercase();
        let head = dimensions.iter().map(name).chain(["currency".to_owned()]);
        let mut cells = vec![head.chain(figures.split(' ').map(str::to_owned)).collect::<Vec<_>>()];
        for row in &answer.rows {
            let about = dimensions.iter().map(|by| match by {
                By::Account => id(row.account_id),
                By::Campaign => id(row.campaign_id),
                By::AdSet => id(row.ad_set_id),
                By::Ad => id(row.ad_id),
                By::Hour | By::Day => written(row.period.as_ref()),
            });
            let counts = [row.impressions, row.viewable, row.taps, row.conversations];
            let counts = counts.into_iter().chain([row.first_replies, row.conversions]);
            let counts = counts.chain([row.invalid_impressions, row.invalid_taps]);
            let counts = counts.chain([row.invalid_conversations]);
            let money = [row.conversion_value_micros, row.spend_micros];
            let money = money.into_iter().chain([row.over_delivered_micros, row.credited_micros]);
            let line = about.chain([row.currency.clone()]);
            let line = line.chain(counts.map(|count| count.to_string()));
            cells.push(line.chain(money.map(|micros| Micros(micros).to_string())).collect());
        }
        let complete_up_to = written(answer.complete_up_to.as_ref());
        Self { cells, texts: dimensions.len() + 1, complete_up_to }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.cells.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.cells.iter().map(|row| row[column].len()).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.cells {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                if column < self.texts {
                    write!(f, "{gap}{cell:<width$}")?;
                } else {
                    write!(f, "{gap}{cell:>width$}")?;
                }
            }
            writeln!(f)?;
        }
        if self.cells.len() == 1 {
            writeln!(f, "nothing was delivered in this span")?;
        }
        writeln!(
            f,
            "complete up to {}",
            if self.complete_up_to.is_empty() { "-" } else { &self.complete_up_to }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(key_file: Option<PathBuf>, key: Option<&str>) -> KeyArgs {
        let key = key.map(str::to_owned);
        KeyArgs { addr: "http://127.0.0.1:1".into(), key_file, key }
    }

    fn args(dimensions: Vec<By>) -> ReportArgs {
        ReportArgs {
            caller: caller(None, Some(" mk_a_b\n")),
            dimensions,
            start: Some("2026-11-23T01:00:00.5Z".parse().unwrap()),
            end: None,
            account: 7,
            campaign: 0,
            json: false,
        }
    }

    #[test]
    fn the_question_names_span_dimensions_and_page() {
        let asked = question(&args(vec![By::Campaign, By::Day]), "next");
        assert_eq!(asked.dimensions, [2, 6]);
        assert_eq!(asked.start_time.unwrap().nanos, 500_000_000);
        assert_eq!((asked.end_time, asked.account_id), (None, 7));
        assert_eq!(asked.page_token, "next");
    }

    #[test]
    fn a_key_comes_from_the_file_before_the_environment_and_is_trimmed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "mk_c_d\n").unwrap();
        let given = Some(" mk_a_b\n");
        assert_eq!(key(&caller(None, given)).unwrap(), "mk_a_b");
        assert_eq!(key(&caller(Some(path), given)).unwrap(), "mk_c_d");
        let error = key(&caller(None, None)).unwrap_err();
        assert!(error.to_string().contains("MUNADI_KEY"), "{error}");
    }

    #[test]
    fn a_table_has_a_column_for_each_dimension_asked_for() {
        let row = ReportRow {
            campaign_id: 12,
            period: Some(Timestamp { seconds: 0, nanos: 0 }),
            currency: "MXN".into(),
            impressions: 1_000,
            invalid_taps: 3,
            spend_micros: 1_500_000,
            credited_micros: 250_000,
            ..ReportRow::default()
        };
        let answer = QueryReportResponse { rows: vec![row], ..Default::default() };
        let text = Table::of(&answer, &[By::Day, By::Campaign]).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("campaign  day"), "{text}");
        assert!(lines[1].starts_with("12        1970-01-01T00:00:00Z  MXN"), "{text}");
        assert!(lines[1].ends_with("0.000000  1.500000  0.000000  0.250000"), "{text}");
        let column = |name| lines[0].split_whitespace().position(|head| head == name).unwrap();
        let cell = lines[1].split_whitespace().nth(column("invalid_taps"));
        assert_eq!(cell, Some("3"), "{text}");
    }

    #[test]
    fn an_empty_report_says_so() {
        let text = Table::of(&QueryReportResponse::default(), &[]).to_string();
        assert!(text.contains("nothing was delivered"), "{text}");
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_named() {
        let error = ask(&args(vec![])).await.unwrap_err();
        assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
    }
}
