//! Tables in columns: what Arrow Flight sends is what gRPC sends, to the same callers.

mod cells;
mod town;

use std::collections::BTreeMap;
use std::process::Command;

use arrow_array::RecordBatch;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Empty, FlightClient, FlightDescriptor, FlightInfo};
use munadi::node::clock::Clock;
use munadi::report::columnar::Table;
use munadi::types::proto::v1::billing_service_client::BillingServiceClient;
use munadi::types::proto::{DESCRIPTORS, v1};
use munadi::types::time::{MINUTE_MS, Moment};
use prost_reflect::{DescriptorPool, DynamicMessage};
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::columns::cells::{Row, rows};
pub(crate) use crate::columns::town::Town;
use crate::columns::town::VIEWERS;
use crate::desk::{ANALYST, Desk, OPERATOR, PLATFORM, RIVALS, STATUS, TACOS, calls};

/// Returns a refusal's reason and the fields that it names.
fn refused(status: &Status) -> (String, Vec<String>) {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let named = status.get_details_bad_request().map(|it| it.field_violations).unwrap_or_default();
    (reason, named.into_iter().map(|violation| violation.field).collect())
}

#[test]
fn attributions_and_touches_are_those_that_grpc_sends() {
    let town = Town::open();
    town.live_a_day();
    town.live_a_day();
    calls(async {
        let pulled = town.pull(ANALYST).await?;
        let credited = pulled.iter().filter(|row| row.ad_id != 0).count();
        assert!(credited >= VIEWERS && pulled.len() > credited, "{credited} of {}", pulled.len());
        let got = town.get(ANALYST, r#"{"table":"attributions"}"#).await?;
        let plain = |row: &v1::AttributionRow| v1::AttributionRow { path: vec![], ..row.clone() };
        let told: Vec<_> = pulled.iter().map(plain).collect();
        assert_eq!(rows(&got).map(Row::attribution).collect::<Vec<_>>(), told);

        let got = town.get(ANALYST, r#"{"table":"touches"}"#).await?;
        let told = pulled.iter().flat_map(|row| {
            (1..).zip(&row.path).map(|(position, touch)| {
                let kind = touch.kind().as_str_name().to_owned();
                let ids = [touch.campaign_id, touch.ad_set_id, touch.ad_id];
                (row.outcome_id, position, ids, kind, touch.time, touch.credit_micros.clone())
            })
        });
        let touch = |row: Row<'_>| {
            let ids = ["campaign_id", "ad_set_id", "ad_id"].map(|name| row.number(name));
            let models = [
                "last_touch",
                "first_touch",
                "last_click",
                "linear",
                "time_decay",
                "position_based",
            ];
            let credit = |model| row.number(&format!("{model}_credit_micros")) as u32;
            let (outcome, position) = (row.number("outcome_id"), row.number("position"));
            let kind = row.name("kind", "TOUCH_KIND_");
            (outcome, position, ids, kind, row.time("time"), models.map(credit).to_vec())
        };
        let told: Vec<_> = told.collect();
        assert!(!told.is_empty());
        assert_eq!(rows(&got).map(touch).collect::<Vec<_>>(), told);
        Ok::<_, Status>(())
    })
    .unwrap();
    town.desk.stop();
}

#[test]
fn spans_joined_are_the_whole_and_an_open_minute_is_not_sent() {
    let town = Town::open();
    town.live_a_day();
    town.live_a_day();
    calls(async {
        let ids = |batches: &[RecordBatch]| -> Vec<u64> {
            rows(batches).map(|row| row.number("outcome_id")).collect()
        };
        let whole = ids(&town.get(ANALYST, r#"{"table":"attributions"}"#).await?);
        let cut = "2026-11-24T00:00:00Z";
        let before = format!(r#"{{"table":"attributions","end_time":"{cut}"}}"#);
        let before = ids(&town.get(ANALYST, &before).await?);
        let after = format!(r#"{{"table":"attributions","start_time":"{cut}"}}"#);
        let after = ids(&town.get(ANALYST, &after).await?);
        assert!(!before.is_empty() && !after.is_empty());
        assert_eq!([before, after].concat(), whole);
        town.buy("viewer-late", 0).await?;
        town.settle().await;
        assert_eq!(ids(&town.get(ANALYST, r#"{"table":"attributions"}"#).await?), whole);
        let far = r#"{"table":"attributions","end_time":"2030-01-01T00:00:00Z"}"#;
        assert_eq!(ids(&town.get(ANALYST, far).await?), whole);
        town.clock.set(town.clock.now().plus_ms(MINUTE_MS));
        assert_eq!(ids(&town.get(ANALYST, far).await?).len(), whole.len() + 2);
        Ok::<_, Status>(())
    })
    .unwrap();
    town.desk.stop();
}

#[test]
fn conversations_are_those_that_grpc_lists() {
    let town = Town::open();
    town.live_a_day();
    calls(async {
        let list =
            v1::ListConversationsRequest { business_id: town.tacos.business, ..Default::default() };
        let mut client = town.desk.conversations(PLATFORM);
        let listed = client.list_conversations(list).await?.into_inner().conversations;
        assert_eq!(listed.len(), VIEWERS);
        let got = town.get(TACOS, r#"{"table":"conversations"}"#).await?;
        let told: BTreeMap<_, _> = listed
            .iter()
            .map(|it| {
                let counts = [it.business_id, it.inbound_messages, it.outbound_messages];
                let touch = it.first_touch.as_ref().map(|touch| touch.ad_id);
                let point = it.entry_point().as_str_name().to_owned();
                (it.id, (counts, it.open_time, touch, point, it.qualified))
            })
            .collect();
        let row = |row: Row<'_>| {
            let counts = ["business_id", "inbound_messages", "outbound_messages"];
            let counts = counts.map(|name| row.number(name));
            let (touch, time) = (row.optional("first_touch_ad_id"), row.time("open_time"));
            let point = row.name("entry_point", "ENTRY_POINT_");
            let qualified = row.flag("qualified");
            (row.number("conversation_id"), (counts, time, touch, point, qualified))
        };
        assert_eq!(rows(&got).map(row).collect::<BTreeMap<_, _>>(), told);
        Ok::<_, Status>(())
    })
    .unwrap();
    town.desk.stop();
}

#[test]
fn transfers_are_those_that_grpc_lists() {
    let town = Town::open();
    town.live_a_day();
    calls(async {
        let account_id = town.tacos.account;
        let paid = v1::FundAccountRequest {
            request_id: "paid".into(),
            account_id,
            transfer_id: format!("{:032x}", 7),
            kind: v1::TransferKind::Funding.into(),
            amount: Some(v1::Money { micros: 5_000_000, currency: "MXN".into() }),
            reason: String::new(),
        };
        let billing = |key| BillingServiceClient::new(town.desk.way(key));
        billing(OPERATOR).fund_account(paid).await?;
        town.clock.set(town.clock.now().plus_ms(MINUTE_MS));
        let list = v1::ListTransfersRequest { account_id, ..Default::default() };
        let listed = billing(TACOS).list_transfers(list).await?.into_inner().transfers;
        let ticket = format!(r#"{{"table":"transfers","account_id":"{account_id}"}}"#);
        let got = town.get(TACOS, &ticket).await?;
        let row = |row: Row<'_>| {
            let sides =
                (row.name("debit", "LEDGER_ACCOUNT_"), row.name("credit", "LEDGER_ACCOUNT_"));
            let side = |name: &str| v1::LedgerAccount::from_str_name(name).unwrap().into();
            let kind = row.name("kind", "TRANSFER_KIND_");
            v1::Transfer {
                id: row.text("transfer_id"),
                kind: v1::TransferKind::from_str_name(&kind).unwrap().into(),
                debit: side(&sides.0),
                credit: side(&sides.1),
                amount: Some(v1::Money {
                    micros: row.micros("amount_micros").unwrap(),
                    currency: row.currency("currency"),
                }),
                time: row.time("time"),
                reason: row.text("reason"),
                events: row.number("events"),
                closed: row.flag("closed"),
            }
        };
        assert!(!listed.is_empty());
        assert_eq!(rows(&got).map(row).collect::<Vec<_>>(), listed);
        Ok::<_, Status>(())
    })
    .unwrap();
    town.desk.stop();
}

#[test]
fn a_report_is_the_one_that_grpc_answers() {
    let town = Town::open();
    town.live_a_day();
    calls(async {
        let dimensions = vec![v1::Dimension::Ad.into(), v1::Dimension::Hour.into()];
        let asked = v1::QueryReportRequest { dimensions, ..Default::default() };
        let told = town.desk.reports(ANALYST).query_report(asked).await?.into_inner();
        let ticket =
            r#"{"table":"reports","report":{"dimensions":["DIMENSION_AD","DIMENSION_HOUR"]}}"#;
        let got = town.get(ANALYST, ticket).await?;
        let columns: Vec<_> = rows(&got)
            .map(|row| {
                let counts = ["ad_id", "impressions", "taps", "conversions"];
                let money = ["spend_micros", "conversion_value_micros", "cost_per_tap_micros"];
                let (counts, money) =
                    (counts.map(|name| row.number(name)), money.map(|name| row.micros(name)));
                (counts, money, row.time("period"), row.currency("currency"))
            })
            .collect();
        let of_grpc = told.rows.iter().map(|row| {
            let counts = [row.ad_id, row.impressions, row.taps, row.conversions];
            let money = [Some(row.spend_micros), Some(row.conversion_value_micros)];
            let money = [money[0], money[1], row.cost_per_tap_micros];
            (counts, money, row.period, row.currency.clone())
        });
        assert!(told.rows.iter().map(|row| row.impressions).sum::<u64>() >= VIEWERS as u64);
        assert_eq!(columns, of_grpc.collect::<Vec<_>>());
        let complete = &got[0].schema().metadata["munadi.complete_up_to"];
        let seconds = complete.parse::<jiff::Timestamp>().unwrap().as_second();
        assert_eq!(Some(seconds), told.complete_up_to.map(|time| time.seconds));
        Ok::<_, Status>(())
    })
    .unwrap();
    town.desk.stop();
}

#[test]
fn each_caller_is_sent_its_own_rows_of_the_tables_of_its_role() {
    let town = Town::open();
    town.live_a_day();
    calls(async {
        for (key, account) in [(TACOS, town.tacos.account), (RIVALS, town.rivals.account)] {
            for table in ["attributions", "touches", "conversations", "transfers"] {
                let got = town.get(key, &format!(r#"{{"table":"{table}"}}"#)).await?;
                let theirs = rows(&got).all(|row| row.number("account_id") == account);
                assert!(theirs, "{key} was sent other rows of {table}");
                assert!(!format!("{got:?}").contains("viewer-"), "{table} tells a viewer");
            }
            let own = town.get(key, r#"{"table":"attributions"}"#).await?;
            assert_eq!(rows(&own).map(Row::attribution).count(), town.pull(key).await?.len());
        }
        let foreign = format!(r#"{{"table":"touches","account_id":{}}}"#, town.tacos.account);
        let status = town.get(RIVALS, &foreign).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(refused(&status), ("NOT_FOUND".into(), vec!["account_id".into()]));

        let asked = r#"{"table":"attributions"}"#;
        for (key, ticket, code) in [
            ("", asked, Code::Unauthenticated),
            (STATUS, asked, Code::PermissionDenied),
            (PLATFORM, asked, Code::PermissionDenied),
            (ANALYST, r#"{"table":"transfers"}"#, Code::PermissionDenied),
        ] {
            let status = town.get(key, ticket).await.unwrap_err();
            assert_eq!(status.code(), code, "{key} {ticket}");
            assert!(!refused(&status).0.is_empty(), "{status:?}");
        }
        Ok::<_, Status>(())
    })
    .unwrap();
    town.desk.stop();
}

/// Returns what a caller is told that there is.
async fn listed(desk: &Desk, key: &str) -> Result<Vec<FlightInfo>, Status> {
    let mut client = FlightClient::new(desk.way(key));
    let mut infos = client.list_flights("").await?;
    let mut all = Vec::new();
    while let Some(info) = infos.next().await {
        all.push(info?);
    }
    Ok(all)
}

#[test]
fn a_caller_finds_the_tables_their_columns_and_tickets() {
    let town = Town::open();
    calls(async {
        for (key, count) in [(OPERATOR, 5), (TACOS, 5), (ANALYST, 4)] {
            assert_eq!(listed(&town.desk, key).await?.len(), count, "{key}");
        }
        let mut client = FlightClient::new(town.desk.way(OPERATOR));
        for (info, table) in listed(&town.desk, OPERATOR).await?.into_iter().zip(Table::ALL) {
            let descriptor = info.flight_descriptor.clone().unwrap();
            assert_eq!(descriptor.path, [table.name()]);
            let schema = client.get_schema(descriptor.clone()).await?;
            assert_eq!(schema, table.schema());
            assert_eq!(info.try_decode_schema().unwrap(), table.schema());
            let info = client.get_flight_info(descriptor).await?;
            let ticket = info.endpoint[0].ticket.clone().unwrap();
            let mut stream = client.do_get(ticket).await?;
            while let Some(batch) = stream.next().await {
                batch?;
            }
            assert_eq!(stream.schema().unwrap().fields(), table.schema().fields(), "even empty");
        }
        // A ticket of an open end is good for the same rows whenever it is used.
        let asked = FlightDescriptor::new_cmd(r#"{"table":"touches"}"#);
        let info = client.get_flight_info(asked).await?;
        let ticket = info.endpoint[0].ticket.clone().unwrap().ticket;
        let ticket = munadi::rpc::Ticket::read(&ticket).unwrap();
        assert_eq!(ticket.end, Some(Moment(town.clock.now().0 / MINUTE_MS * MINUTE_MS)));
        Ok::<_, Status>(())
    })
    .unwrap();
    town.desk.stop();
}

/// Returns the rows that gRPC sends as `grpcurl` prints them.
fn as_json(rows: Vec<v1::AttributionRow>) -> String {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let name = "munadi.v1.PullAttributionsResponse";
    let mut page = DynamicMessage::new(pool.get_message_by_name(name).unwrap());
    let rows = v1::PullAttributionsResponse { rows, ..Default::default() };
    page.transcode_from(&rows).unwrap();
    serde_json::to_string(&page).unwrap()
}

/// Runs where Python has pyarrow: MUNADI_PYTHON names the interpreter, else it is `python3`.
#[test]
fn a_client_in_python_reads_the_same_rows() {
    let python = std::env::var("MUNADI_PYTHON").unwrap_or_else(|_| "python3".into());
    let known = Command::new(&python).args(["-c", "import pyarrow.flight"]).output();
    if !known.is_ok_and(|output| output.status.success()) {
        println!("NOTICE: {python} has no pyarrow, so Flight was not read from Python");
        return;
    }
    let town = Town::open();
    town.live_a_day();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pulled.json");
    std::fs::write(&path, as_json(calls(town.pull(ANALYST)).unwrap())).unwrap();
    let caller = town.desk.caller(ANALYST);
    let told = Command::new(&python)
        .arg("tests/python/flight.py")
        .arg(caller.addr.replace("http://", "grpc://"))
        .arg(&path)
        .env("MUNADI_KEY", caller.key.unwrap())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(told.status.success(), "{}{}", text(&told.stdout), text(&told.stderr));
    assert!(text(&told.stdout).ends_with("alike\n"), "{}", text(&told.stdout));
    town.desk.stop();
}

#[test]
fn what_can_not_be_answered_says_why_and_what_there_is() {
    let town = Town::open();
    calls(async {
        for (ticket, field) in [
            (r#"{"table":"viewers"}"#, "table"),
            ("attributions", "ticket"),
            (r#"{"table":"touches","end_time":"soon"}"#, "end_time"),
            (r#"{"table":"reports","report":{"dimensions":[99]}}"#, "dimensions[0]"),
        ] {
            let status = town.get(ANALYST, ticket).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{ticket}: {status:?}");
            assert_eq!(refused(&status), ("FIELD_INVALID".into(), vec![field.into()]), "{ticket}");
        }
        let status = town.get(ANALYST, r#"{"table":"viewers"}"#).await.unwrap_err();
        for table in Table::ALL {
            assert!(status.message().contains(table.name()), "{}", status.message());
        }
        let mut client = FlightServiceClient::new(town.desk.way(ANALYST));
        let nothing = || tokio_stream::iter([]);
        let answers = [
            client.handshake(nothing()).await.err(),
            client.do_put(tokio_stream::iter([])).await.err(),
            client.do_exchange(tokio_stream::iter([])).await.err(),
            client.do_action(arrow_flight::Action::default()).await.err(),
            client.list_actions(Empty::default()).await.err(),
            client.poll_flight_info(FlightDescriptor::new_path(vec!["touches".into()])).await.err(),
        ];
        for status in answers {
            let status = status.expect("tables are read only");
            assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
            assert_eq!(refused(&status).0, "METHOD_UNSUPPORTED");
        }
        Ok::<_, Status>(())
    })
    .unwrap();
    town.desk.stop();
}
