//! `munadi report`: asks a running node what was delivered, and prints it as a table.

mod json;
mod table;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use prost_types::Timestamp;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Endpoint;
use tonic::transport::Error as TransportError;
use tonic::{Request, Status};

use crate::cli::report::json::json;
use crate::cli::report::table::Table;
use crate::types::proto::v1::report_service_client::ReportServiceClient;
use crate::types::proto::v1::{Breakdown, Dimension, QueryReportRequest, QueryReportResponse};

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
    /// Break rows down by an attribute too, in whole days (UTC). Of attributes of viewers only what enough people
    /// did is shown; the rest is in rows `other`.
    #[arg(long)]
    pub breakdown: Option<Cut>,
    /// Print the way from tap to sale instead: each step in events and in people, the median time to the
    /// first answer, what the chat platform charged for messages, and what a conversation, an answered and a
    /// qualified one cost with media and messages together.
    #[arg(long, conflicts_with = "json")]
    pub funnel: bool,
    /// Print JSON instead of a table: all columns of both tables.
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
    /// The channel of the ad's endpoint.
    Channel,
    /// The hour, UTC.
    Hour,
    /// The day in the account's zone.
    Day,
    /// The day, UTC: of reach and breakdowns.
    UtcDay,
    /// The feed in which the ad was shown.
    Feed,
    /// Where in the app.
    Placement,
    /// How sure it is that a conversation belongs to the ad.
    MatchConfidence,
    /// Whether the ad is a text, a picture, a video or a carousel.
    CreativeType,
    /// How outcomes are split between the touches before them.
    Model,
    /// Which touches are eligible; unspecified: those in the ad sets' own windows.
    Window,
}

/// What rows may be broken down by, one at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Cut {
    /// The viewer's country.
    Country,
    /// The viewer's region.
    Region,
    /// The viewer's age band and gender.
    AgeGender,
    /// The system of the viewer's device.
    Os,
    /// The ad's place in the tray.
    Position,
    /// By which the chat was opened; conversations only.
    EntryPoint,
}

impl Cut {
    const fn breakdown(self) -> Breakdown {
        match self {
            Self::Country => Breakdown::Country,
            Self::Region => Breakdown::Region,
            Self::AgeGender => Breakdown::AgeGender,
            Self::Os => Breakdown::Os,
            Self::Position => Breakdown::Position,
            Self::EntryPoint => Breakdown::EntryPoint,
        }
    }
}

impl By {
    const fn dimension(self) -> Dimension {
        match self {
            Self::Account => Dimension::Account,
            Self::Campaign => Dimension::Campaign,
            Self::AdSet => Dimension::AdSet,
            Self::Ad => Dimension::Ad,
            Self::Channel => Dimension::Channel,
            Self::Hour => Dimension::Hour,
            Self::Day => Dimension::Day,
            Self::UtcDay => Dimension::UtcDay,
            Self::Feed => Dimension::Feed,
            Self::Placement => Dimension::Placement,
            Self::MatchConfidence => Dimension::MatchConfidence,
            Self::CreativeType => Dimension::CreativeType,
            Self::Model => Dimension::Model,
            Self::Window => Dimension::Window,
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
        let by_credit = [By::Model, By::Window].iter().any(|by| args.dimensions.contains(by));
        let columns = match (by_credit, args.funnel) {
            (true, _) => table::CREDITED,
            (false, true) => table::FUNNEL,
            (false, false) => table::DELIVERY,
        };
        write!(out, "{}", Table::of(&answer, &args.dimensions, args.breakdown.is_some(), columns))?;
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
        breakdown: args.breakdown.map_or(0, |by| by.breakdown().into()),
        ..QueryReportRequest::default()
    }
}

fn id(id: u64) -> String {
    if id == 0 { String::new() } else { id.to_string() }
}

pub(in crate::cli) fn written(time: Option<&Timestamp>) -> String {
    let time = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
    time.map_or_else(String::new, |time| time.to_string())
}

/// Returns an enum's name without its prefix.
pub(in crate::cli) fn short<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
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
            breakdown: None,
            funnel: false,
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

    #[tokio::test]
    async fn a_node_that_is_not_there_is_named() {
        let error = ask(&args(vec![])).await.unwrap_err();
        assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
    }
}
