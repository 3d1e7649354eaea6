//! Histories through the door, by the command line and by hand.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use munadi::cli::import::{ImportArgs, Rejects, Report, ask};
use munadi::types::proto::v1;
use munadi::types::proto::v1::ImportOutcome;
use munadi::types::proto::v1::import_service_client::ImportServiceClient;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::desk::{ANALYST, Desk, OPERATOR, RIVALS, Shop, TACOS, calls, open_shop};

/// Yesterday, seconds. An event that comes again has the same time.
static YESTERDAY: LazyLock<i64> = LazyLock::new(|| jiff::Timestamp::now().as_second() - 86_400);

/// Returns a moment of yesterday.
fn yesterday(minute: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(*YESTERDAY + 60 * minute).unwrap()
}

fn write(folder: &Path, name: &str, rows: &[Value]) -> PathBuf {
    let path = folder.join(name);
    // What is no JSON stands there as it is.
    let line = |row: &Value| row.as_str().map_or_else(|| row.to_string(), str::to_owned);
    std::fs::write(&path, rows.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap();
    path
}

/// Imports files; returns what became of the rows, and what stands in the side file.
async fn import(args: &ImportArgs) -> (Report, Vec<Value>) {
    let path = args.rejects.clone().unwrap();
    let mut rejects = Rejects::new(path.clone());
    let report = ask(args, &mut rejects, &mut Vec::new()).await.unwrap();
    rejects.finish().unwrap();
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    (report, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn count(report: &Report, kind: &'static str, outcome: &'static str, why: &str) -> u64 {
    report.counts.get(&(kind, outcome, why.to_owned())).copied().unwrap_or_default()
}

fn with(mut row: Value, key: &str, value: Value) -> Value {
    row[key] = value;
    row
}

/// Writes a file of outcomes and one of their touches, each with bad rows.
fn mixed_files(folder: &Path, ad: u64) -> Vec<PathBuf> {
    let row = |kind: &str, id: &str, viewer: &str, minute: i64| {
        let time = yesterday(minute).to_string();
        json!({"type": kind, "event_id": id, "viewer": viewer, "event_time": time})
    };
    let touch = |row: Value| with(row, "ad_id", json!(ad.to_string()));
    let sold = |id: &str, viewer: &str, currency: &str| {
        let row = with(row("conversion", id, viewer, 30), "name", json!("Purchase"));
        with(with(row, "value_micros", json!(5_000_000)), "currency", json!(currency))
    };
    let outcomes = [
        sold("c-1", "v-1", "MXN"),
        row("conversation", "k-1", "nobody", 30),
        json!("nonsense"),
        touch(row("click", "x", "v-1", 1)),
        sold("c-2", "v-2", "BRL"),
    ];
    let touches = [
        with(touch(row("video_50", "p-1", "v-2", 2)), "impression_event_id", json!("i-1")),
        touch(row("tap", "t-1", "v-1", 10)),
        touch(row("impression", "i-1", "v-2", 2)),
        with(row("tap", "t-2", "v-1", 10), "ad_id", json!("1")),
    ];
    vec![write(folder, "outcomes.ndjson", &outcomes), write(folder, "touches.ndjson", &touches)]
}

#[test]
fn the_command_line_brings_files_in_whatever_their_order_and_keeps_bad_rows() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let folder = tempfile::tempdir().unwrap();
        let files = mixed_files(folder.path(), shop.ad);
        let args = |files: Vec<PathBuf>, dry_run| ImportArgs {
            files,
            caller: desk.caller(TACOS),
            account: shop.account,
            feed: 0,
            rejects: Some(folder.path().join(if dry_run { "dry" } else { "rejects" })),
            dry_run,
            json: false,
        };
        let (tried, bad) = import(&args(files.clone(), true)).await;
        assert_eq!((tried.rows, tried.count("IMPORTED"), bad.len()), (9, 5, 4), "{tried}");

        let (report, bad) = import(&args(files.clone(), false)).await;
        assert_eq!((report.rows, report.count("REFUSED"), report.count("IMPORTED")), (9, 4, 3));
        assert_eq!(count(&report, "conversion", "MATCHED", ""), 1, "{report}");
        assert_eq!(count(&report, "conversation", "DECLINED", "NO_TOUCH"), 1, "{report}");
        assert_eq!(count(&report, "", "REFUSED", "FIELD_INVALID"), 1, "{report}");
        assert_eq!(count(&report, "", "REFUSED", "FIELD_INVALID type"), 1, "{report}");
        assert_eq!(count(&report, "conversion", "REFUSED", "CURRENCY_INVALID currency"), 1);
        assert_eq!(count(&report, "tap", "REFUSED", "NOT_FOUND ad_id"), 1, "{report}");
        let mut places: Vec<(bool, u64)> = bad
            .iter()
            .map(|row| &row["rejected"])
            .map(|why| {
                let of_touches = why["file"].as_str().unwrap().ends_with("touches.ndjson");
                (of_touches, why["line"].as_u64().unwrap())
            })
            .collect();
        places.sort_unstable();
        assert_eq!(places, [(false, 3), (false, 4), (false, 5), (true, 4)]);

        // A bad row is mended where it is kept, and imported from there.
        let mended = bad.iter().find(|row| row["event_id"] == "c-2").unwrap().clone();
        let mended = write(folder.path(), "mended", &[with(mended, "currency", json!("MXN"))]);
        let (report, _) = import(&args(vec![mended], false)).await;
        assert_eq!(count(&report, "conversion", "MATCHED", ""), 1, "{report}");
        let (again, _) = import(&args(files, false)).await;
        assert_eq!((again.count("DUPLICATE"), again.count("REFUSED")), (5, 4), "{again}");
        assert_eq!(counts(&desk, &shop).await?, (1, 1, 0, 2));
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

/// Returns the shop's impressions, taps, conversations and conversions.
async fn counts(desk: &Desk, shop: &Shop) -> Result<(u64, u64, u64, u64), Status> {
    let report = v1::QueryReportRequest { account_id: shop.account, ..Default::default() };
    let rows = desk.reports(TACOS).query_report(report).await?.into_inner().rows;
    assert!(rows.iter().all(|row| row.spend_micros == 0));
    let row = rows.first().cloned().unwrap_or_default();
    Ok((row.impressions, row.taps, row.conversations, row.conversions))
}

#[test]
fn a_file_that_is_none_is_told_before_anything_is_sent() {
    let desk = Desk::start();
    calls(async {
        let folder = tempfile::tempdir().unwrap();
        let good = write(folder.path(), "good.ndjson", &[json!({"type": "tap"})]);
        let columns = write(folder.path(), "history.parquet", &[json!("PAR1")]);
        let missing = folder.path().join("missing.ndjson");
        let words = if cfg!(feature = "columns") { "is no Parquet" } else { "--features columns" };
        // The side file would be emptied while it is read.
        let itself = folder.path().join("rejects");
        let cases = [(missing, "missing.ndjson"), (columns, words), (itself.clone(), "--rejects")];
        for (bad, word) in cases {
            if bad == itself {
                assert!(!itself.exists(), "not one row was looked at");
                std::fs::write(&itself, "{}").unwrap();
            }
            let args = ImportArgs {
                files: vec![good.clone(), bad],
                caller: desk.caller(TACOS),
                account: 1,
                feed: 0,
                rejects: None,
                dry_run: false,
                json: false,
            };
            let mut rejects = Rejects::new(itself.clone());
            let failed = ask(&args, &mut rejects, &mut Vec::new()).await.unwrap_err();
            assert!(failed.to_string().contains(word), "{failed}");
        }
        assert_eq!(std::fs::read(&itself).unwrap(), b"{}", "not one row was looked at");
    });
    desk.stop();
}

/// Makes one call; returns its answers.
async fn call(
    desk: &Desk,
    key: &str,
    messages: Vec<v1::ImportEventsRequest>,
) -> Result<Vec<v1::ImportEventsResponse>, Status> {
    let mut client = ImportServiceClient::new(desk.way(key));
    let mut stream = client.import_events(tokio_stream::iter(messages)).await?.into_inner();
    let mut answers = Vec::new();
    while let Some(answer) = stream.message().await? {
        answers.push(answer);
    }
    Ok(answers)
}

fn tap(shop: &Shop, id: &str) -> v1::ImportedEvent {
    let seconds = yesterday(0).as_second();
    v1::ImportedEvent {
        r#type: v1::ImportedEventType::Tap.into(),
        event_id: id.into(),
        event_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        viewer: "ana".into(),
        account_id: shop.account,
        ad_id: shop.ad,
        ..Default::default()
    }
}

fn message(sequence: u64, events: Vec<v1::ImportedEvent>) -> v1::ImportEventsRequest {
    v1::ImportEventsRequest { sequence, events, ..Default::default() }
}

#[test]
fn every_message_is_answered_in_order_with_one_result_an_event() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let events = |number: u64| {
            let known = tap(&shop, "known");
            let bad = v1::ImportedEvent { viewer: String::new(), ..known.clone() };
            vec![bad, tap(&shop, &format!("t-{number}")), known]
        };
        let messages = (0..20).map(|number| message(100 + number, events(number))).collect();
        let answers = call(&desk, TACOS, messages).await?;
        let sequences: Vec<_> = answers.iter().map(|answer| answer.sequence).collect();
        assert_eq!(sequences, (100..120).collect::<Vec<_>>());
        for (number, answer) in answers.iter().enumerate() {
            let outcomes: Vec<_> = answer.results.iter().map(v1::ImportResult::outcome).collect();
            let known =
                if number == 0 { ImportOutcome::Imported } else { ImportOutcome::Duplicate };
            assert_eq!(outcomes, [ImportOutcome::Refused, ImportOutcome::Imported, known]);
            let refused = &answer.results[0];
            assert_eq!((&*refused.field, &*refused.reason), ("viewer", "FIELD_MISSING"));
        }
        // Nothing but bad events is answered, too.
        let bad = v1::ImportedEvent { event_time: None, ..tap(&shop, "x") };
        let answers = call(&desk, TACOS, vec![message(1, vec![bad])]).await?;
        assert_eq!(answers[0].results[0].outcome(), ImportOutcome::Refused);
        assert_eq!(counts(&desk, &shop).await?, (0, 21, 0, 0));
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn only_the_account_and_operators_import_and_only_operators_name_a_feed() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let one = |feed_id| {
            vec![v1::ImportEventsRequest { feed_id, ..message(1, vec![tap(&shop, "t")]) }]
        };
        let denied = call(&desk, ANALYST, one(0)).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
        let foreign = call(&desk, RIVALS, one(0)).await?.remove(0).results.remove(0);
        assert_eq!((&*foreign.field, &*foreign.reason), ("account_id", "NOT_FOUND"));
        for (key, feed, code) in [(TACOS, 1, Code::InvalidArgument), (OPERATOR, 77, Code::NotFound)]
        {
            let refused = call(&desk, key, one(feed)).await.unwrap_err();
            assert_eq!(refused.code(), code, "{key}");
            let violations = refused.get_details_bad_request().unwrap().field_violations;
            assert_eq!(violations[0].field, "feed_id");
        }
        let empty = call(&desk, TACOS, vec![message(1, Vec::new())]).await.unwrap_err();
        assert_eq!(empty.code(), Code::InvalidArgument);
        assert_eq!(counts(&desk, &shop).await?, (0, 0, 0, 0));
        // A feed's viewer is another than the account's own of the same name.
        for (key, feed) in [(TACOS, 0), (OPERATOR, 1), (OPERATOR, 0)] {
            let result = call(&desk, key, one(feed)).await?.remove(0).results.remove(0);
            let known = if (key, feed) == (OPERATOR, 0) {
                ImportOutcome::Duplicate
            } else {
                ImportOutcome::Imported
            };
            assert_eq!(result.outcome(), known, "{key} {feed}");
        }
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}
