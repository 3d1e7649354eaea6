//! What each role can do through the door, and what it is told when it can't.

use std::sync::Arc;

use munadi::node::clock::MovedClock;
use munadi::types::proto::v1;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::desk::{
    ANALYST, Desk, FLOOR_CPM_MICROS, PLATFORM, RIVALS, STATUS, STORIES, Shop, TACOS, calls, event,
    first_ad, open_shop, tray,
};
use crate::stage::at;

#[test]
fn an_ad_goes_from_campaign_to_tray_to_chat_to_report() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let slots = request_ads(&desk, STATUS, "viewer-1").await?;
        let ad = first_ad(&slots);
        assert_eq!(ad.ad_id, shop.ad);
        let events = vec![
            event(ad, v1::EventKind::Impression),
            event(ad, v1::EventKind::Tap),
            event(ad, v1::EventKind::Impression),
        ];
        let results = record(&desk, STATUS, events).await?;
        let outcomes: Vec<_> = results.iter().map(v1::ItemResult::outcome).collect();
        let (recorded, already) = (v1::ItemOutcome::Recorded, v1::ItemOutcome::Already);
        assert_eq!(outcomes, [recorded, recorded, already]);
        let charged: Vec<_> = results.iter().map(|result| result.charged_micros).collect();
        assert_eq!(charged, [FLOOR_CPM_MICROS / 1_000, 0, 0], "impressions are what is paid for");

        let conversation = converse(&desk, &shop, prefill_code(&ad.chat_link)).await?;
        assert_eq!((conversation.business_id, conversation.inbound_messages), (shop.business, 1));
        let mut client = desk.conversations(PLATFORM);
        let list =
            v1::ListConversationsRequest { business_id: shop.business, ..Default::default() };
        let listed = client.list_conversations(list).await?.into_inner();
        let ids: Vec<_> = listed.conversations.iter().map(|listed| listed.id).collect();
        assert_eq!((ids, listed.next_page_token), (vec![conversation.id], String::new()));
        let watch = v1::WatchWindowsRequest { business_id: shop.business, lead_minutes: 30 };
        let mut watch = client.watch_windows(watch).await?.into_inner();
        let notices = watch.message().await?.expect("what is open").notices;
        assert_eq!(notices.len(), 1);
        assert_eq!(notices[0].conversation_id, conversation.id);
        assert_eq!(notices[0].change(), v1::WindowChange::Open);
        drop(watch);
        let report = v1::QueryReportRequest { account_id: shop.account, ..Default::default() };
        let report = desk.reports(TACOS).query_report(report).await?.into_inner();
        let counts = report.rows.iter().map(|row| (row.impressions, row.taps, row.spend_micros));
        assert_eq!(counts.collect::<Vec<_>>(), [(1, 1, charged[0])]);
        assert!(report.empty_slots.is_empty(), "feeds are the operator's to see");
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_stranger_is_unauthenticated_and_another_role_denied() {
    let desk = Desk::start();
    calls(async {
        for (key, code, reason) in [
            ("", Code::Unauthenticated, "CREDENTIAL_INVALID"),
            ("feed-9", Code::Unauthenticated, "CREDENTIAL_INVALID"),
            (TACOS, Code::PermissionDenied, "ROLE_DENIED"),
            (PLATFORM, Code::PermissionDenied, "ROLE_DENIED"),
        ] {
            let status = request_ads(&desk, key, "viewer-1").await.unwrap_err();
            assert_eq!(status.code(), code, "{key}");
            assert_eq!(status.get_details_error_info().unwrap().reason, reason, "{key}");
        }
    });
    desk.stop();
}

#[test]
fn a_refused_field_is_named_on_the_wire() {
    let desk = Desk::start();
    calls(async {
        let account = Some(v1::Account { name: "Tacos".into(), ..Default::default() });
        let request =
            v1::CreateAccountRequest { request_id: "a".into(), account, validate_only: false };
        let status = desk.campaigns(TACOS).create_account(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "account.currency");
    });
    desk.stop();
}

#[test]
fn the_same_write_is_answered_again_and_another_under_its_id_is_refused() {
    let desk = Desk::start();
    calls(async {
        let mut client = desk.campaigns(TACOS);
        let request = |name: &str, validate_only| v1::CreateAccountRequest {
            request_id: "once".into(),
            account: Some(v1::Account {
                name: name.into(),
                currency: "INR".into(),
                time_zone: "Asia/Kolkata".into(),
                ..Default::default()
            }),
            validate_only,
        };
        let judged = client.create_account(request("Tacos", true)).await?.into_inner();
        assert_eq!(judged.account.unwrap().name, "Tacos");
        assert!(client.list_accounts(list("")).await?.into_inner().accounts.is_empty());
        let first = client.create_account(request("Tacos", false)).await?.into_inner();
        let again = client.create_account(request("Tacos", false)).await?.into_inner();
        assert_eq!(first, again);
        let other = client.create_account(request("Burritos", false)).await.unwrap_err();
        assert_eq!(other.code(), Code::AlreadyExists);
        assert_eq!(other.get_details_error_info().unwrap().reason, "REQUEST_ID_REUSED");
        assert_eq!(client.list_accounts(list("")).await?.into_inner().accounts.len(), 1);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn another_tenants_things_are_not_found() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let id = shop.account;
        let mut rivals = desk.campaigns(RIVALS);
        let got = rivals.get_account(v1::GetAccountRequest { id }).await.unwrap_err();
        let unknown = rivals.get_account(v1::GetAccountRequest { id: 77 }).await.unwrap_err();
        assert_eq!((got.code(), got.message()), (unknown.code(), unknown.message()));
        assert_eq!(got.code(), Code::NotFound);
        assert!(rivals.list_accounts(list("")).await?.into_inner().accounts.is_empty());
        let paths = vec!["name".to_owned()];
        let update = v1::UpdateAccountRequest {
            request_id: "theft".into(),
            account: Some(v1::Account { id, name: "Ours".into(), ..Default::default() }),
            update_mask: Some(prost_types::FieldMask { paths }),
            validate_only: false,
        };
        assert_eq!(rivals.update_account(update).await.unwrap_err().code(), Code::NotFound);
        let asked = v1::QueryReportRequest::default();
        let theirs = desk.reports(RIVALS).query_report(asked).await?.into_inner();
        assert!(theirs.rows.is_empty());
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn an_update_is_judged_with_what_it_does_not_tell() {
    let desk = Desk::start();
    calls(async {
        let id = open_shop(&desk, TACOS).await?.ad_set;
        let money = |micros| Some(v1::Money { micros, currency: "MXN".into() });
        let second = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        // Returns the field at fault.
        let update = async |request_id: &str, field: &str, ad_set: v1::AdSet| {
            let request = v1::UpdateAdSetRequest {
                request_id: request_id.into(),
                ad_set: Some(v1::AdSet { id, ..ad_set }),
                update_mask: Some(prost_types::FieldMask { paths: vec![field.to_owned()] }),
                validate_only: false,
            };
            let status = desk.campaigns(TACOS).update_ad_set(request).await.err()?;
            let details = status.get_details_bad_request().expect("a refused field");
            details.field_violations.into_iter().next().map(|violation| violation.field)
        };
        let bid = |micros| v1::AdSet { bid: money(micros), ..Default::default() };
        let fault = update("1", "bid", bid(60_000_001)).await;
        assert_eq!(fault.as_deref(), Some("ad_set.bid.micros"));
        assert_eq!(update("2", "bid", bid(60_001_000)).await, None);
        let start = v1::AdSet { start_time: second(2_000_000_000), ..Default::default() };
        assert_eq!(update("3", "start_time", start).await, None);
        let end = v1::AdSet { end_time: second(1_999_999_999), ..Default::default() };
        let fault = update("4", "end_time", end).await;
        assert_eq!(fault.as_deref(), Some("ad_set.end_time"));
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_list_is_walked_by_its_pages_and_no_token_leads_elsewhere() {
    let desk = Desk::start();
    calls(async {
        let mut client = desk.campaigns(TACOS);
        let mut made = Vec::new();
        for number in 0..5 {
            let account = v1::Account {
                name: format!("Shop {number}"),
                currency: "BRL".into(),
                time_zone: "America/Sao_Paulo".into(),
                ..Default::default()
            };
            let request = v1::CreateAccountRequest {
                request_id: format!("shop-{number}"),
                account: Some(account),
                validate_only: false,
            };
            made.push(client.create_account(request).await?.into_inner().account.unwrap().id);
        }
        let (mut walked, mut token) = (Vec::new(), String::new());
        loop {
            let page = client.list_accounts(list(&token)).await?.into_inner();
            assert!(page.accounts.len() <= 2);
            walked.extend(page.accounts.iter().map(|account| account.id));
            token.clone_from(&page.next_page_token);
            if token.is_empty() {
                break;
            }
            let stolen = desk.campaigns(RIVALS).list_accounts(list(&token)).await.unwrap_err();
            assert_eq!(stolen.get_details_error_info().unwrap().reason, "CURSOR_FOREIGN");
        }
        assert_eq!(walked, made);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn each_item_of_a_batch_is_judged_alone_and_in_order() {
    let desk = Desk::start();
    calls(async {
        open_shop(&desk, TACOS).await?;
        let slots = request_ads(&desk, STATUS, "viewer-1").await?;
        let ad = first_ad(&slots);
        let mut forged = event(ad, v1::EventKind::Impression);
        forged.view_token = vec![1; forged.view_token.len()].into();
        let nothing = event(ad, v1::EventKind::Unspecified);
        let tap = event(ad, v1::EventKind::Tap);
        let seen = event(ad, v1::EventKind::Impression);
        let results = record(&desk, STATUS, vec![forged, nothing, tap, seen.clone()]).await?;
        let reasons: Vec<_> = results.iter().map(|result| &*result.reason).collect();
        assert_eq!(reasons, ["TOKEN_FORGED", "FIELD_MISSING", "VIEW_MISSING", ""]);
        let foreign = record(&desk, STORIES, vec![seen]).await?;
        assert_eq!((&*foreign[0].reason, &*foreign[0].field), ("TOKEN_FOREIGN", "view_token"));
        let none = record(&desk, STATUS, Vec::new()).await.unwrap_err();
        assert_eq!(none.code(), Code::InvalidArgument);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_message_beyond_its_limit_is_refused_before_it_is_read() {
    let desk = Desk::start();
    calls(async {
        let view_token = vec![0; 800 * 1_024].into();
        let huge = v1::AdEvent { view_token, ..Default::default() };
        let status = record(&desk, STATUS, vec![huge]).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "{status}");
    });
    desk.stop();
}

#[test]
fn a_pull_without_rows_still_says_where_it_stands() {
    let desk = Desk::start();
    calls(async {
        let mut client = desk.attributions(ANALYST);
        let pull = |cursor| v1::PullAttributionsRequest { cursor, ..Default::default() };
        let mut pages = client.pull_attributions(pull(Vec::new())).await?.into_inner();
        let page = pages.message().await?.unwrap();
        assert!(page.rows.is_empty() && page.complete_up_to.is_some());
        assert!(pages.message().await?.is_none(), "it ends at the last closed minute");
        let again =
            client.pull_attributions(pull(page.cursor)).await?.into_inner().message().await?;
        assert!(again.is_some());
        let foreign = client.pull_attributions(pull(vec![1; 60])).await.unwrap_err();
        assert_eq!(foreign.get_details_error_info().unwrap().reason, "CURSOR_FOREIGN");
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn whoever_follows_is_sent_each_further_minute() {
    let clock = Arc::new(MovedClock::at(at("2026-11-23T12:00:30Z")));
    let desk = Desk::moved(true, &clock, |_, _| {});
    calls(async {
        let mut client = desk.attributions(ANALYST);
        let follow = v1::PullAttributionsRequest { follow: true, ..Default::default() };
        let mut pages = client.pull_attributions(follow.clone()).await?.into_inner();
        let first = pages.message().await?.unwrap();
        clock.set(at("2026-11-23T12:01:30Z"));
        let second = pages.message().await?.unwrap();
        let minute = |page: &v1::PullAttributionsResponse| page.complete_up_to.unwrap().seconds;
        assert_eq!(minute(&second) - minute(&first), 60);
        let as_of = second.complete_up_to;
        let both = v1::PullAttributionsRequest { as_of, ..follow };
        let refused = client.pull_attributions(both).await.unwrap_err();
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "follow");
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

/// Opens a conversation by a prefill code, and gets it.
async fn converse(desk: &Desk, shop: &Shop, code: String) -> Result<v1::Conversation, Status> {
    let mut client = desk.conversations(PLATFORM);
    let conversation =
        Some(v1::ConversationKey { endpoint_id: shop.endpoint, contact: "contact-1".into() });
    let opened = v1::Opened {
        entry_point: v1::EntryPoint::Ad.into(),
        proof: Some(v1::opened::Proof::PrefillCode(code)),
        ..Default::default()
    };
    let event = v1::ConversationEvent {
        business_id: shop.business,
        conversation: conversation.clone(),
        event: Some(v1::conversation_event::Event::Opened(opened)),
        ..Default::default()
    };
    let request =
        v1::RecordConversationEventsRequest { request_id: String::new(), events: vec![event] };
    let results = client.record_conversation_events(request).await?.into_inner().results;
    assert_eq!(results[0].outcome(), v1::ItemOutcome::Recorded, "{results:?}");
    let request = v1::GetConversationRequest { business_id: shop.business, conversation };
    let got = client.get_conversation(request).await?.into_inner().conversation;
    Ok(got.expect("the conversation"))
}

/// Returns the code at the end of a link's typed text.
fn prefill_code(link: &str) -> String {
    let channel = munadi::channels::Channel::Whatsapp;
    let Some(munadi::channels::FoundClick::Code(code)) =
        munadi::channels::find_click(channel, link)
    else {
        panic!("no code in {link}")
    };
    code.to_string()
}

async fn request_ads(desk: &Desk, key: &str, viewer: &str) -> Result<Vec<v1::Slot>, Status> {
    let request = v1::RequestAdsRequest { ad_request: tray(viewer) };
    Ok(desk.ads(key).request_ads(request).await?.into_inner().slots)
}

async fn record(
    desk: &Desk,
    key: &str,
    events: Vec<v1::AdEvent>,
) -> Result<Vec<v1::ItemResult>, Status> {
    let request = v1::RecordEventsRequest { request_id: String::new(), events };
    Ok(desk.events(key).record_events(request).await?.into_inner().results)
}

fn list(page_token: &str) -> v1::ListAccountsRequest {
    v1::ListAccountsRequest { page_size: 2, page_token: page_token.to_owned() }
}
