//! `munadi conversions`: asks a running node for conversions on their way out, and prints a line of JSON for each.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::value::Value;
use tonic::Request;
use tonic::transport::Endpoint;

use crate::cli::report::{KeyArgs, ReportError};
use crate::types::proto::v1::conversion_service_client::ConversionServiceClient;
use crate::types::proto::v1::{ConversionPayload, ConversionSkip, PullConversionPayloadsRequest};

/// Ask a running node for conversions, as events of the Conversions API, and print them as NDJSON.
///
/// Each line is what is posted of one conversion: `{"data":[event]}`. The cursor to go on from is the last
/// line, to standard error.
#[derive(Debug, clap::Args)]
pub struct ConversionsArgs {
    #[command(flatten)]
    caller: KeyArgs,
    /// Only this account.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    account: u64,
    /// Where the last call ended, as it said. Without it: from the beginning.
    #[arg(long, default_value = "", hide_default_value = true)]
    cursor: String,
    /// Print conversions of test clicks too, with this code.
    #[arg(long, default_value = "", hide_default_value = true)]
    test_event_code: String,
    /// Print what does not go out too: its ids and the reason.
    #[arg(long)]
    skipped: bool,
}

/// A conversion that does not go out.
#[derive(Serialize)]
struct Skipped<'a> {
    outcome_id: String,
    event_id: &'a str,
    skip: &'static str,
}

/// Runs the command.
///
/// # Errors
/// When the node can't be asked or refuses.
pub fn run(args: &ConversionsArgs) -> Result<ExitCode, ReportError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cursor = runtime.block_on(ask(args, &mut io::stdout().lock()))?;
    writeln!(io::stderr(), "cursor {}", data_encoding::BASE64URL_NOPAD.encode(&cursor))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a line for each conversion, and returns the cursor to go on from.
///
/// # Errors
/// When the node can't be asked or refuses.
pub async fn ask(args: &ConversionsArgs, out: &mut dyn Write) -> Result<Vec<u8>, ReportError> {
    let cursor = data_encoding::BASE64URL_NOPAD.decode(args.cursor.as_bytes());
    let mut cursor =
        cursor.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "--cursor is no cursor"))?;
    let bearer = args.caller.bearer()?;
    let endpoint = Endpoint::from_shared(args.caller.addr.clone());
    let endpoint = endpoint.map_err(|_| ReportError::Address(args.caller.addr.clone()))?;
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|error| ReportError::Connect(args.caller.addr.clone(), error))?;
    let mut request = Request::new(PullConversionPayloadsRequest {
        cursor: cursor.clone(),
        account_id: args.account,
        test_event_code: args.test_event_code.clone(),
    });
    request.metadata_mut().insert("authorization", bearer);
    let refused = |status| ReportError::Refused(Box::new(status));
    let mut client = ConversionServiceClient::new(channel);
    let pages = client.pull_conversion_payloads(request).await.map_err(refused)?;
    let mut pages = pages.into_inner();
    while let Some(page) = pages.message().await.map_err(refused)? {
        for row in &page.rows {
            if let Some(line) = line(row, args.skipped) {
                writeln!(out, "{line}")?;
            }
        }
        cursor = page.cursor;
    }
    Ok(cursor)
}

fn line(row: &ConversionPayload, skipped: bool) -> Option<String> {
    if row.skip() == ConversionSkip::Unspecified {
        let events = std::slice::from_ref(&row.payload);
        return Some(crate::report::outbound::body(events, &row.test_event_code));
    }
    let skip = row.skip().as_str_name().trim_start_matches("CONVERSION_SKIP_");
    let line = Skipped { outcome_id: row.outcome_id.to_string(), event_id: &row.event_id, skip };
    let value = serde_json::to_value(line).map(|line: Value| line.to_string());
    value.ok().filter(|_| skipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_is_posted_or_why_nothing_is() {
        let row = ConversionPayload {
            outcome_id: 7,
            event_id: "order-1".into(),
            payload: "{}".into(),
            ..Default::default()
        };
        assert_eq!(line(&row, false).unwrap(), r#"{"data":[{}]}"#);
        let test = ConversionPayload { test_event_code: "T1".into(), ..row.clone() };
        assert_eq!(line(&test, false).unwrap(), r#"{"data":[{}],"test_event_code":"T1"}"#);
        let none = ConversionPayload { skip: ConversionSkip::NoClick.into(), ..row };
        assert_eq!(line(&none, false), None);
        let told = r#"{"event_id":"order-1","outcome_id":"7","skip":"NO_CLICK"}"#;
        assert_eq!(line(&none, true).unwrap(), told);
    }
}
