//! Test clicks: the whole way from a click to its conversion, without a view, a charge or a count.

use std::sync::Arc;

use munadi::cli::conversions::{ConversionsArgs, ask};
use munadi::node::clock::MovedClock;
use munadi::types::proto::v1;
use munadi::types::proto::v1::billing_service_client::BillingServiceClient;
use munadi::types::time::MINUTE_MS;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::desk::{ANALYST, Desk, OPERATOR, PLATFORM, RIVALS, Shop, TACOS, calls, open_shop};
use crate::stage::at;

/// Sends events of the test's chat, and returns how they ended.
async fn record(
    desk: &Desk,
    shop: &Shop,
    event: v1::conversation_event::Event,
) -> Result<v1::ItemResult, Status> {
    let key = v1::ConversationKey { endpoint_id: shop.endpoint, contact: "tester".into() };
    let event = v1::ConversationEvent {
        business_id: shop.business,
        conversation: Some(key),
        event: Some(event),
        ..Default::default()
    };
    let request =
        v1::RecordConversationEventsRequest { request_id: String::new(), events: vec![event] };
    let mut client = desk.conversations(PLATFORM);
    let results = client.record_conversation_events(request).await?.into_inner().results;
    Ok(results.into_iter().next().unwrap())
}

/// Opens a chat by a test click, answers it and sells.
async fn go(desk: &Desk, shop: &Shop, click: &v1::CreateTestClickResponse) -> Result<(), Status> {
    let opened = v1::Opened {
        entry_point: v1::EntryPoint::Ad.into(),
        proof: Some(v1::opened::Proof::PrefillCode(click.prefill_code.clone())),
        wrote: true,
        channel_click_id: "clid-test".into(),
        ..Default::default()
    };
    let result = record(desk, shop, v1::conversation_event::Event::Opened(opened)).await?;
    assert_eq!(result.outcome(), v1::ItemOutcome::Recorded, "{result:?}");
    // The match is made behind the opening.
    let conversation = touched(desk, shop).await?;
    assert_eq!(conversation.latest_touch.unwrap().click_id, click.click_id);
    let message = v1::MessageReceipt {
        message_id: "wamid.1".into(),
        direction: v1::Direction::Outbound.into(),
        category: v1::MessageCategory::Service.into(),
        ..Default::default()
    };
    let result = record(desk, shop, v1::conversation_event::Event::Message(message)).await?;
    assert_eq!(result.outcome(), v1::ItemOutcome::Recorded, "{result:?}");
    let key = v1::ConversationKey { endpoint_id: shop.endpoint, contact: "tester".into() };
    let sale = v1::Conversion {
        event_id: "test-sale".into(),
        name: "Purchase".into(),
        value: Some(v1::Money { micros: 1_000_000, currency: "MXN".into() }),
        origin: Some(v1::conversion::Origin::Conversation(key)),
        ..Default::default()
    };
    let request =
        v1::RecordConversionsRequest { request_id: String::new(), conversions: vec![sale] };
    let mut client = desk.conversations(PLATFORM);
    let results = client.record_conversions(request).await?.into_inner().results;
    assert_eq!(results[0].outcome(), v1::ItemOutcome::Recorded, "{results:?}");
    Ok(())
}

/// Returns the test's conversation once its ad is known.
async fn touched(desk: &Desk, shop: &Shop) -> Result<v1::Conversation, Status> {
    loop {
        let key = v1::ConversationKey { endpoint_id: shop.endpoint, contact: "tester".into() };
        let request =
            v1::GetConversationRequest { business_id: shop.business, conversation: Some(key) };
        let got = desk.conversations(PLATFORM).get_conversation(request).await?.into_inner();
        let conversation = got.conversation.unwrap();
        if conversation.latest_touch.is_some() {
            return Ok(conversation);
        }
        tokio::task::yield_now().await;
    }
}

/// Returns all rows of the attribution stream.
async fn credits(desk: &Desk) -> Result<Vec<v1::AttributionRow>, Status> {
    let request = v1::PullAttributionsRequest::default();
    let mut pages = desk.attributions(ANALYST).pull_attributions(request).await?.into_inner();
    let mut rows = Vec::new();
    while let Some(page) = pages.message().await? {
        rows.extend(page.rows);
    }
    Ok(rows)
}

/// Returns all payloads, with those of tests if there is a code.
async fn payloads(desk: &Desk, code: &str) -> Result<Vec<v1::ConversionPayload>, Status> {
    let test_event_code = code.to_owned();
    let request = v1::PullConversionPayloadsRequest { test_event_code, ..Default::default() };
    let mut client = desk.conversions(TACOS);
    let mut pages = client.pull_conversion_payloads(request).await?.into_inner();
    let mut rows = Vec::new();
    while let Some(page) = pages.message().await? {
        assert!(page.complete_up_to.is_some() && !page.cursor.is_empty());
        rows.extend(page.rows);
    }
    Ok(rows)
}

#[test]
fn a_test_click_goes_the_whole_way_and_leaves_no_count_and_no_charge() {
    let clock = Arc::new(MovedClock::at(at("2026-11-23T12:00:00Z")));
    // The ad waits for its review, so nobody could have seen it.
    let desk = Desk::moved(false, &clock, |_, _| {});
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let request = v1::CreateTestClickRequest { ad_id: shop.ad };
        let click = desk.conversions(TACOS).create_test_click(request).await?.into_inner();
        assert!(click.chat_link.contains(&click.prefill_code), "{click:?}");
        assert_eq!((click.click_token.len(), click.prefill_code.len()), (64, 10));
        go(&desk, &shop, &click).await?;
        // Credit comes behind the conversion, in a minute that must be over.
        let mut rows = Vec::new();
        for minute in 1..1_000 {
            clock.set(at("2026-11-23T12:00:00Z").plus_ms(minute * MINUTE_MS));
            rows = credits(&desk).await?;
            if rows.len() == 2 {
                break;
            }
        }
        let sandbox = v1::InvalidReason::Sandbox;
        let outcomes: Vec<_> = rows.iter().map(v1::AttributionRow::outcome).collect();
        assert_eq!(outcomes, [v1::Outcome::Conversation, v1::Outcome::Conversion], "{rows:?}");
        assert!(rows.iter().all(|row| row.invalid() == sandbox && row.ad_id == shop.ad));
        assert!(rows.iter().all(|row| row.charged_micros == 0));
        let report = desk.reports(TACOS).query_report(v1::QueryReportRequest::default()).await?;
        let row = report.into_inner().rows.into_iter().next().unwrap();
        let counts = [row.impressions, row.taps, row.conversations, row.first_replies];
        assert_eq!((counts, row.conversions, row.spend_micros), ([0; 4], 0, 0));
        let marked = [row.invalid_impressions, row.invalid_taps, row.invalid_conversations];
        assert_eq!(marked, [1; 3]);

        // It has no price that an invoice could tell of, neither as charged nor as invalid.
        let request = v1::ListInvoicesRequest { account_id: shop.account, ..Default::default() };
        let mut billing = BillingServiceClient::new(desk.way(TACOS));
        for invoice in billing.list_invoices(request).await?.into_inner().invoices {
            let told = (invoice.gross_micros, invoice.invalid_micros, invoice.charged_micros);
            assert_eq!((told, invoice.payable_micros), ((0, 0, 0), 0), "{invoice:?}");
        }

        let skipped = payloads(&desk, "").await?;
        assert_eq!(skipped[0].skip(), v1::ConversionSkip::Sandbox);
        assert!(skipped[0].payload.is_empty() && skipped[0].test_event_code.is_empty());
        let tested = payloads(&desk, "TEST77").await?;
        assert_eq!(tested[0].test_event_code, "TEST77");
        assert!(tested[0].payload.contains("\"ctwa_clid\":\"clid-test\""), "{tested:?}");
        printed(&desk, &tested[0]).await;
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

/// Lets the command line print the test's conversion, and why it does not go out without a code.
async fn printed(desk: &Desk, row: &v1::ConversionPayload) {
    let args = |code: &str| ConversionsArgs {
        caller: desk.caller(TACOS),
        account: row.account_id,
        cursor: String::new(),
        test_event_code: code.into(),
        skipped: true,
    };
    let (mut lines, mut reasons) = (Vec::new(), Vec::new());
    let cursor = ask(&args("TEST77"), &mut lines).await.unwrap();
    let wanted = format!("{{\"data\":[{}],\"test_event_code\":\"TEST77\"}}\n", row.payload);
    assert_eq!(String::from_utf8(lines).unwrap(), wanted);
    ask(&args(""), &mut reasons).await.unwrap();
    assert!(String::from_utf8(reasons).unwrap().contains("\"skip\":\"SANDBOX\""));
    let cursor = data_encoding::BASE64URL_NOPAD.encode(&cursor);
    let mut rest = Vec::new();
    ask(&ConversionsArgs { cursor, ..args("TEST77") }, &mut rest).await.unwrap();
    assert!(rest.is_empty(), "the cursor stands behind it");
}

#[test]
fn conversions_are_their_tenants_and_fields_at_fault_are_named() {
    let clock = Arc::new(MovedClock::at(at("2026-11-23T12:00:00Z")));
    let desk = Desk::moved(true, &clock, |_, _| {});
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let (ad_id, account_id) = (shop.ad, shop.account);
        let mut theirs = desk.conversions(RIVALS);
        let refused = theirs.create_test_click(v1::CreateTestClickRequest { ad_id }).await;
        assert_eq!(refused.unwrap_err().code(), Code::NotFound);
        let asked = v1::GetConversionPushRequest { account_id };
        assert_eq!(theirs.get_conversion_push(asked).await.unwrap_err().code(), Code::NotFound);
        let asked = v1::ListDeadLettersRequest { account_id, ..Default::default() };
        assert_eq!(theirs.list_dead_letters(asked).await.unwrap_err().code(), Code::NotFound);
        let asked = v1::RetryDeadLettersRequest { account_id, ..Default::default() };
        assert_eq!(theirs.retry_dead_letters(asked).await.unwrap_err().code(), Code::NotFound);
        let asked = v1::PullConversionPayloadsRequest { account_id, ..Default::default() };
        let refused = theirs.pull_conversion_payloads(asked).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);

        let mut ours = desk.conversions(TACOS);
        let set = |request_id: &str, url: &str| v1::SetConversionPushRequest {
            request_id: request_id.into(),
            account_id,
            url: url.into(),
            ..Default::default()
        };
        let refused = ours.set_conversion_push(set("a", "ftp://crm.example/")).await.unwrap_err();
        let fields = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "url");
        let first = ours.set_conversion_push(set("b", "https://crm.example/")).await?.into_inner();
        assert_eq!((first.signing_secret.len(), &first.signing_secret[..6]), (70, "whsec_"));
        let again = ours.set_conversion_push(set("b", "https://crm.example/")).await?.into_inner();
        assert_eq!(again, first);
        let asked = v1::GetConversionPushRequest { account_id };
        let got = ours.get_conversion_push(asked).await?.into_inner();
        assert_eq!((got.push, got.dead_letters), (first.push, 0));
        let asked = v1::ListDeadLettersRequest { account_id, ..Default::default() };
        let listed = desk.conversions(OPERATOR).list_dead_letters(asked).await?.into_inner();
        assert!(listed.dead_letters.is_empty() && listed.next_page_token.is_empty());
        let refused = desk.conversions(PLATFORM).get_conversion_push(asked_for(account_id)).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

fn asked_for(account_id: u64) -> v1::GetConversionPushRequest {
    v1::GetConversionPushRequest { account_id }
}
