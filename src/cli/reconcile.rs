//! `munadi reconcile`: compares a file of sales or conversations with what a running node knows.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use tonic::Request;
use tonic::transport::Endpoint;

use crate::cli::report::{KeyArgs, ReportError, short, written};
use crate::types::proto::v1::attribution_service_client::AttributionServiceClient;
use crate::types::proto::v1::{
    Outcome, ReconcileCount, ReconcileDifference, ReconcileReason, ReconcileRequest,
    ReconcileResponse, ReconcileResult, ReconcileRow,
};

/// Bytes of the list that one message carries: half of what the node takes.
const PIECE_BYTES: usize = 512 << 10;

/// Compare a CRM's own list of sales or conversations with what a running node knows.
///
/// The file holds a JSON object a line. Of a sale: {"event_id": "order-1", "name": "Purchase",
/// "value_micros": 9000000, "currency": "MXN", "event_time": "2026-11-23T12:00:00Z"}, of which only
/// `event_id` must be there. Of a conversation: {"conversation": {"endpoint_id": "1", "contact": "..."}}
/// or {"conversation_id": "1"}. Ends with 1 where something is missing or extra.
#[derive(Debug, clap::Args)]
pub struct ReconcileArgs {
    /// The list.
    pub file: PathBuf,
    /// Which node, and who asks.
    #[command(flatten)]
    pub caller: KeyArgs,
    /// Whose outcomes the list is compared with.
    #[arg(long)]
    pub account: u64,
    /// The first moment of the outcomes, RFC 3339: 2026-11-01T00:00:00Z.
    #[arg(long)]
    pub start: jiff::Timestamp,
    /// The first moment after them. Without it: now.
    #[arg(long)]
    pub end: Option<jiff::Timestamp>,
    /// What the list is of.
    #[arg(long, value_enum, default_value_t = Kind::Sales)]
    pub outcome: Kind,
    /// Print one line of JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// What a list is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Kind {
    /// Sales, leads and other conversions.
    Sales,
    /// Conversations.
    Conversations,
}

/// Runs the command.
///
/// # Errors
/// When the file can't be read, or the node can't be asked or refuses.
pub fn run(args: &ReconcileArgs) -> Result<ExitCode, ReportError> {
    let list = std::fs::read(&args.file).map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}", args.file.display()))
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(ask(args, &list))?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &JsonAnswer::of(&answer)).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", Table(&answer))?;
    }
    let apart = [ReconcileResult::MissingHere, ReconcileResult::ExtraHere];
    let is_apart = answer.counts.iter().any(|count| apart.contains(&count.result()));
    Ok(if is_apart { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Sends a list and returns the answers as one.
///
/// # Errors
/// When the node can't be asked or refuses.
pub async fn ask(args: &ReconcileArgs, list: &[u8]) -> Result<ReconcileResponse, ReportError> {
    let (bearer, addr) = (args.caller.bearer()?, &args.caller.addr);
    let endpoint = Endpoint::from_shared(addr.clone());
    let endpoint = endpoint.map_err(|_| ReportError::Address(addr.clone()))?;
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|error| ReportError::Connect(addr.clone(), error))?;
    let mut request = Request::new(tokio_stream::iter(pieces(args, list)));
    request.metadata_mut().insert("authorization", bearer);
    let refused = |status| ReportError::Refused(Box::new(status));
    let mut client = AttributionServiceClient::new(channel);
    let mut pages = client.reconcile(request).await.map_err(refused)?.into_inner();
    let mut whole = ReconcileResponse::default();
    while let Some(page) = pages.message().await.map_err(refused)? {
        if page.compute_time.is_some() {
            whole = page;
        } else {
            whole.rows.extend(page.rows);
        }
    }
    Ok(whole)
}

/// Returns the messages that carry a list: the first one asks the question.
fn pieces(args: &ReconcileArgs, list: &[u8]) -> Vec<ReconcileRequest> {
    let time = |time: jiff::Timestamp| prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    };
    let outcome = match args.outcome {
        Kind::Sales => Outcome::Conversion,
        Kind::Conversations => Outcome::Conversation,
    };
    let question = ReconcileRequest {
        account_id: args.account,
        start_time: Some(time(args.start)),
        end_time: args.end.map(time),
        outcome: outcome.into(),
        ndjson: Vec::new(),
    };
    let piece = |ndjson: &[u8]| ReconcileRequest { ndjson: ndjson.into(), ..Default::default() };
    std::iter::once(question).chain(list.chunks(PIECE_BYTES).map(piece)).collect()
}

fn result(result: ReconcileResult) -> &'static str {
    short(result.as_str_name(), "RECONCILE_RESULT_")
}

fn reason(reason: ReconcileReason) -> &'static str {
    match reason {
        ReconcileReason::Unspecified => "",
        reason => short(reason.as_str_name(), "RECONCILE_REASON_"),
    }
}

fn differences(row: &ReconcileRow) -> Vec<&'static str> {
    let name = |what: ReconcileDifference| short(what.as_str_name(), "RECONCILE_DIFFERENCE_");
    row.differences().map(name).collect()
}

/// Returns what a row is of: a sale's id, or a conversation's.
fn named(row: &ReconcileRow) -> String {
    match row.conversation_id {
        0 => row.event_id.clone(),
        id => id.to_string(),
    }
}

/// The counts, then a line for each row.
struct Table<'a>(&'a ReconcileResponse);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for it in &self.0.counts {
            let (result, reason) = (result(it.result()), reason(it.reason()));
            writeln!(f, "{result:<16} {reason:<15} {:>9}", it.count)?;
        }
        for row in &self.0.rows {
            let (result, reason) = (result(row.result()), reason(row.reason()));
            let line = if row.line == 0 { String::new() } else { format!("line {}", row.line) };
            let told =
                format!("{result:<16} {reason:<15} {line:>12}  {} {}", named(row), detail(row));
            writeln!(f, "{}", told.trim_end())?;
        }
        match self.0.rows_left_out {
            0 => Ok(()),
            count => writeln!(f, "{count} more rows: ask for a shorter period"),
        }
    }
}

/// Returns what else there is to say of a row.
fn detail(row: &ReconcileRow) -> String {
    if row.first_line != 0 {
        return format!("as line {}", row.first_line);
    }
    if !row.message.is_empty() {
        return format!("{} {}", row.field, row.message).trim_start().to_owned();
    }
    match (row.reason(), row.known.as_ref()) {
        (ReconcileReason::OutsidePeriod, Some(known)) => written(known.event_time.as_ref()),
        (ReconcileReason::Declined, Some(known)) => {
            short(known.decline_reason().as_str_name(), "DECLINE_REASON_").to_owned()
        }
        (ReconcileReason::Invalid, Some(known)) => {
            short(known.invalid().as_str_name(), "INVALID_REASON_").to_owned()
        }
        _ => differences(row).join(" "),
    }
}

/// An answer as JSON has it. Ids are text: they do not fit a JavaScript number.
#[derive(Serialize)]
struct JsonAnswer<'a> {
    counts: Vec<JsonCount>,
    rows: Vec<JsonRow<'a>>,
    rows_left_out: u64,
}

#[derive(Serialize)]
struct JsonCount {
    result: &'static str,
    reason: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    result: &'static str,
    reason: &'static str,
    line: u64,
    id: String,
    differences: Vec<&'static str>,
    first_line: u64,
    outcome_id: String,
    ad_id: String,
    event_time: String,
    decline_reason: &'static str,
    invalid: &'static str,
    field: &'a str,
    field_reason: &'a str,
    message: &'a str,
}

impl<'a> JsonAnswer<'a> {
    fn of(answer: &'a ReconcileResponse) -> Self {
        let count = |it: &ReconcileCount| JsonCount {
            result: result(it.result()),
            reason: reason(it.reason()),
            count: it.count,
        };
        Self {
            counts: answer.counts.iter().map(count).collect(),
            rows: answer.rows.iter().map(JsonRow::of).collect(),
            rows_left_out: answer.rows_left_out,
        }
    }
}

impl<'a> JsonRow<'a> {
    fn of(row: &'a ReconcileRow) -> Self {
        let known = row.known.clone().unwrap_or_default();
        Self {
            result: result(row.result()),
            reason: reason(row.reason()),
            line: row.line,
            id: named(row),
            differences: differences(row),
            first_line: row.first_line,
            outcome_id: known.outcome_id.to_string(),
            ad_id: known.ad_id.to_string(),
            event_time: written(known.event_time.as_ref()),
            decline_reason: short(known.decline_reason().as_str_name(), "DECLINE_REASON_"),
            invalid: short(known.invalid().as_str_name(), "INVALID_REASON_"),
            field: &row.field,
            field_reason: &row.field_reason,
            message: &row.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::proto::v1::{AttributionRow, DeclineReason};

    fn args() -> ReconcileArgs {
        ReconcileArgs {
            file: "list.ndjson".into(),
            caller: KeyArgs { addr: String::new(), key_file: None, key: None },
            account: 7,
            start: "2026-11-23T01:00:00Z".parse().unwrap(),
            end: None,
            outcome: Kind::Conversations,
            json: false,
        }
    }

    #[test]
    fn the_first_piece_asks_and_all_pieces_joined_are_the_list() {
        let list: Vec<u8> = (0..=255).cycle().take(2 * PIECE_BYTES + 1).collect();
        let pieces = pieces(&args(), &list);
        assert_eq!((pieces.len(), pieces[0].account_id), (4, 7));
        assert_eq!(pieces[0].outcome(), Outcome::Conversation);
        assert!(pieces[1..].iter().all(|piece| piece.account_id == 0));
        assert_eq!(pieces.into_iter().flat_map(|piece| piece.ndjson).collect::<Vec<_>>(), list);
    }

    #[test]
    fn a_table_and_json_tell_counts_and_rows() {
        let extra = ReconcileRow {
            result: ReconcileResult::ExtraHere.into(),
            reason: ReconcileReason::Declined.into(),
            event_id: "order-2".into(),
            known: Some(AttributionRow {
                decline_reason: DeclineReason::NoTouch.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let bad = ReconcileRow {
            result: ReconcileResult::BadLine.into(),
            line: 3,
            field: "event_id".into(),
            message: "is empty: send it".into(),
            ..Default::default()
        };
        let count =
            ReconcileCount { result: ReconcileResult::Matched.into(), reason: 0, count: 12 };
        let answer = ReconcileResponse {
            counts: vec![count],
            rows: vec![bad, extra],
            rows_left_out: 4,
            compute_time: None,
        };
        let text = Table(&answer).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("MATCHED ") && lines[0].ends_with(" 12"), "{text}");
        assert!(lines[1].ends_with("line 3   event_id is empty: send it"), "{text}");
        assert!(lines[2].starts_with("EXTRA_HERE       DECLINED"), "{text}");
        assert!(lines[2].ends_with("order-2 NO_TOUCH"), "{text}");
        assert!(lines[3].starts_with("4 more rows"), "{text}");
        let json = serde_json::to_string(&JsonAnswer::of(&answer)).unwrap();
        assert!(json.contains(r#""decline_reason":"NO_TOUCH""#), "{json}");
        assert!(!json.contains('\n'), "one line");
    }
}
