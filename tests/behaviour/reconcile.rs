//! A CRM's own list beside what munadi knows: by hand on the stage, and over the wire.

use std::sync::Arc;

use munadi::cli::reconcile::{Kind, ReconcileArgs, ask};
use munadi::node::clock::MovedClock;
use munadi::report::reconcile::{Asked, Named, Reconciled, Told};
use munadi::rpc::limits::{RECONCILE_BYTES_MAX, RECONCILE_PAGE_MAX};
use munadi::types::proto::v1;
use munadi::types::proto::v1::{
    Channel, DeclineReason, Direction, MessageCategory, Outcome, ReconcileDifference,
    ReconcileReason as Why, ReconcileResult as What, ReconcileRow,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{Claim, Incoming, Origin, Receipt, Scope};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::desk::{ANALYST, Desk, PLATFORM, RIVALS, STATUS, TACOS, calls, open_shop};
use crate::stage::{ALL, Offer, Shop, Stage, at, charged};

/// What one sale is worth, micros.
const WORTH: i64 = 9_000_000;

/// Returns the question about the day up to now.
fn last_day(stage: &Stage, shop: &Shop, outcome: Outcome) -> Asked {
    let (start, end) = (stage.now.plus_ms(-DAY_MS), stage.now.plus_ms(1));
    Asked { account: shop.account, outcome, start, end }
}

fn reconcile(stage: &Stage, asked: &Asked, lines: Vec<(Named, Told)>) -> Reconciled {
    let lines = (1..).zip(lines.into_iter().map(Ok)).collect();
    stage.front.reconcile(ALL, asked, lines).unwrap()
}

fn of_sale(event_id: &str) -> (Named, Told) {
    (Named::Sale(event_id.into()), Told::default())
}

fn of_chat(stage: &Stage, shop: &Shop, contact: &str) -> (Named, Told) {
    (Named::Chat(stage.chat(shop, contact).id), Told::default())
}

fn told(reconciled: &Reconciled) -> Vec<(What, Why, u64)> {
    reconciled.rows.iter().map(|row| (row.result(), row.reason(), row.line)).collect()
}

fn count(reconciled: &Reconciled, result: What) -> u64 {
    let of_it = reconciled.counts.iter().filter(|count| count.result() == result);
    of_it.map(|count| count.count).sum()
}

/// Sales of two days ago and of today: one by a click, one in a chat that came by no ad.
fn sold() -> (Stage, Shop) {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let shown = stage.tapped("a");
    let click = stage.click(&shown);
    charged(&stage.convert(&shop, "early", Origin::Click(click)));
    stage.wait(2 * DAY_MS);
    charged(&stage.convert(&shop, "by click", Origin::Click(click)));
    stage.wait(HOUR_MS);
    stage.open_chat(&shop, "contact", None);
    let origin = stage.by_chat(&shop, "contact");
    charged(&stage.convert(&shop, "organic", origin));
    stage.wait(HOUR_MS);
    (stage, shop)
}

#[test]
fn a_list_of_sales_is_matched_missing_and_extra_by_reason() {
    let (stage, shop) = sold();
    let asked = last_day(&stage, &shop, Outcome::Conversion);
    let all = reconcile(&stage, &asked, vec![of_sale("by click"), of_sale("organic")]);
    assert_eq!((told(&all), count(&all, What::Matched)), (vec![], 2));

    let lines = vec![of_sale("never told"), of_sale("early"), of_sale("organic")];
    let all = reconcile(&stage, &asked, lines);
    let expected = [
        (What::MissingHere, Why::UnknownId, 1),
        (What::MissingHere, Why::OutsidePeriod, 2),
        (What::ExtraHere, Why::Credited, 0),
    ];
    assert_eq!(told(&all), expected);
    let extra = all.rows[2].known.as_ref().unwrap();
    assert_eq!((&*all.rows[2].event_id, extra.ad_id), ("by click", shop.ad));
    assert!(extra.path.is_empty());

    let all = reconcile(&stage, &asked, vec![of_sale("by click")]);
    let extra = all.rows[0].known.as_ref().unwrap();
    assert_eq!(told(&all), [(What::ExtraHere, Why::Declined, 0)]);
    assert_eq!(extra.decline_reason(), DeclineReason::AttributeToOtherSource);
}

#[test]
fn a_sale_told_differently_names_what_differs() {
    let (stage, shop) = sold();
    let asked = last_day(&stage, &shop, Outcome::Conversion);
    let alike = Told {
        name: Some("Purchase".into()),
        micros: Some(WORTH),
        currency: Some("MXN".into()),
        at: Some(stage.now.plus_ms(-HOUR_MS + 15 * MINUTE_MS)),
    };
    let organic = |told: Told| vec![(Named::Sale("organic".into()), told), of_sale("by click")];
    assert_eq!(told(&reconcile(&stage, &asked, organic(alike.clone()))), []);
    let dearer = Told { micros: Some(WORTH + 1), at: Some(stage.now), ..alike };
    let all = reconcile(&stage, &asked, organic(dearer));
    let differences: Vec<_> = all.rows[0].differences().collect();
    assert_eq!(differences, [ReconcileDifference::Value, ReconcileDifference::Time]);
    assert_eq!(all.rows[0].known.as_ref().unwrap().value.as_ref().unwrap().micros, WORTH);
}

#[test]
fn a_list_of_conversations_goes_by_their_names() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let shown = stage.tapped("a");
    let click = Some(Claim::Click(stage.click(&shown)));
    charged(&stage.open_chat(&shop, "from an ad", click));
    stage.wait(HOUR_MS);
    charged(&stage.open_chat(&shop, "contact", None));
    stage.wait(MINUTE_MS);
    let asked = last_day(&stage, &shop, Outcome::Conversation);
    let lines = vec![of_chat(&stage, &shop, "contact"), of_chat(&stage, &shop, "nobody")];
    let all = reconcile(&stage, &asked, lines);
    let expected = [(What::MissingHere, Why::UnknownId, 2), (What::ExtraHere, Why::Credited, 0)];
    assert_eq!(told(&all), expected);
    assert_eq!(all.rows[1].conversation_id, stage.chat(&shop, "from an ad").id);
    assert_eq!(count(&all, What::Matched), 1);
    // The same after a restart, and under another name of the person.
    let mut stage = stage.restarted();
    let (chat, from) = (stage.chat(&shop, "new number"), stage.chat(&shop, "contact").id);
    charged(&stage.record(Incoming::Moved { chat, from }));
    let again = vec![of_chat(&stage, &shop, "new number"), of_chat(&stage, &shop, "nobody")];
    assert_eq!(reconcile(&stage, &asked, again), all);
    let both = vec![of_chat(&stage, &shop, "contact"), of_chat(&stage, &shop, "new number")];
    let all = reconcile(&stage, &asked, both);
    assert_eq!((all.rows[0].result(), all.rows[0].first_line), (What::DuplicateLine, 1));
}

#[test]
fn a_conversation_that_the_business_began_is_known_and_not_opened() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer { channel: Channel::Whatsapp, ..Offer::default() });
    let sent = Receipt::delivered(1, Direction::Outbound, MessageCategory::Utility);
    let receipt = Receipt { template: true, ..sent };
    let chat = stage.chat(&shop, "contact");
    charged(&stage.record(Incoming::Message { chat, receipt }));
    stage.wait(MINUTE_MS);
    let asked = last_day(&stage, &shop, Outcome::Conversation);
    let lines = || vec![of_chat(&stage, &shop, "contact")];
    let all = reconcile(&stage, &asked, lines());
    assert_eq!(told(&all), [(What::MissingHere, Why::NotOpened, 1)]);
    // Another account's conversation is as unknown as nobody's.
    let lines = lines();
    let other = stage.shop(&Offer::default());
    let asked = Asked { account: other.account, ..asked };
    let all = reconcile(&stage, &asked, lines);
    assert_eq!(told(&all), [(What::MissingHere, Why::UnknownId, 1)]);
}

#[test]
fn a_foreign_account_is_not_found() {
    let (stage, shop) = sold();
    let asked = last_day(&stage, &shop, Outcome::Conversion);
    let foreign = Scope { tenant: shop.tenant + 1, any: false };
    let refused = stage.front.reconcile(foreign, &asked, vec![]).unwrap_err();
    assert_eq!(refused.reason, Reason::NotFound);
    let unknown = Asked { account: shop.account + 1, ..asked };
    assert_eq!(stage.front.reconcile(ALL, &unknown, vec![]).unwrap_err(), refused);
}

/// Sends a list in pieces of so many bytes, and joins the answers.
async fn send(
    desk: &Desk,
    key: &str,
    question: v1::ReconcileRequest,
    list: &[u8],
    bytes: usize,
) -> Result<(v1::ReconcileResponse, Vec<usize>), Status> {
    let piece =
        |ndjson: &[u8]| v1::ReconcileRequest { ndjson: ndjson.into(), ..Default::default() };
    let pieces: Vec<_> = std::iter::once(question).chain(list.chunks(bytes).map(piece)).collect();
    let mut client = desk.attributions(key);
    let mut pages = client.reconcile(tokio_stream::iter(pieces)).await?.into_inner();
    let (mut whole, mut sizes) = (v1::ReconcileResponse::default(), vec![]);
    while let Some(page) = pages.message().await? {
        sizes.push(page.rows.len());
        if sizes.len() == 1 {
            whole = page;
        } else {
            assert_eq!((page.counts.len(), page.compute_time), (0, None), "the first tells them");
            whole.rows.extend(page.rows);
        }
    }
    Ok((whole, sizes))
}

#[test]
fn a_list_comes_in_pieces_and_its_answers_in_pages() {
    let clock = Arc::new(MovedClock::at(at("2026-11-23T12:00:30Z")));
    let desk = Desk::moved(true, &clock, |_, _| {});
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let key = |contact: &str| v1::ConversationKey {
            endpoint_id: shop.endpoint,
            contact: contact.into(),
        };
        open(&desk, shop.business, key("contact-1")).await?;
        let conversions = vec![v1::Conversion {
            event_id: "order-1".into(),
            name: "Purchase".into(),
            value: Some(v1::Money { micros: WORTH, currency: "MXN".into() }),
            origin: Some(v1::conversion::Origin::Conversation(key("contact-1"))),
            ..Default::default()
        }];
        let request = v1::RecordConversionsRequest { request_id: String::new(), conversions };
        let mut platform = desk.conversations(PLATFORM);
        let results = platform.record_conversions(request).await?.into_inner().results;
        assert_eq!(results[0].outcome(), v1::ItemOutcome::Recorded, "{results:?}");
        clock.set(at("2026-11-23T12:10:30Z"));

        let start_time = Some(prost_types::Timestamp {
            seconds: i64::from(at("2026-11-23T00:00:00Z").seconds()),
            nanos: 0,
        });
        let sales =
            v1::ReconcileRequest { account_id: shop.account, start_time, ..Default::default() };
        let mut list = b"{\"event_id\":\"order-1\",\"value_micros\":\"9000000\"}\n".to_vec();
        for order in 0..1_500 {
            list.extend(format!("{{\"event_id\":\"lost-{order}\"}}\n").into_bytes());
        }
        list.extend(b"{\"event_id\":\"order-1\"}\nhello there\n");
        // Pieces that cut lines anywhere.
        let (whole, sizes) = send(&desk, TACOS, sales.clone(), &list, 777).await?;
        let counts: Vec<_> =
            whole.counts.iter().map(|it| (it.result(), it.reason(), it.count)).collect();
        let expected = [
            (What::Matched, Why::Unspecified, 1),
            (What::MissingHere, Why::UnknownId, 1_500),
            (What::DuplicateLine, Why::Unspecified, 1),
            (What::BadLine, Why::Unspecified, 1),
        ];
        assert_eq!(counts, expected);
        assert_eq!((sizes, whole.rows_left_out), (vec![RECONCILE_PAGE_MAX, 502], 0));
        let last: Vec<_> = whole.rows[1_500..].iter().map(|row| (row.line, row.result())).collect();
        assert_eq!(last, [(1_502, What::DuplicateLine), (1_503, What::BadLine)]);
        assert!(!format!("{whole:?}").contains("hello"), "nothing of a bad line is repeated");
        assert_eq!(send(&desk, ANALYST, sales.clone(), &list, 512 << 10).await?.0, whole);

        let chats = v1::ReconcileRequest { outcome: Outcome::Conversation.into(), ..sales.clone() };
        let line = |contact: &str| {
            let endpoint = shop.endpoint;
            format!(
                "{{\"conversation\":{{\"endpoint_id\":\"{endpoint}\",\"contact\":\"{contact}\"}}}}\n"
            )
        };
        let list = line("contact-1") + &line("contact-2");
        let (whole, _) = send(&desk, TACOS, chats, list.as_bytes(), 99).await?;
        let missing: Vec<_> = whole.rows.iter().map(ReconcileRow::reason).collect();
        assert_eq!((missing, whole.counts.len()), (vec![Why::UnknownId], 2));
        assert!(!format!("{whole:?}").contains("contact-"), "{whole:?}");

        refusals(&desk, sales).await;
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

/// What is refused as a whole, and to whom.
async fn refusals(desk: &Desk, sales: v1::ReconcileRequest) {
    let foreign = send(desk, RIVALS, sales.clone(), b"", 1).await.unwrap_err();
    assert_eq!(foreign.code(), Code::NotFound);
    let denied = send(desk, STATUS, sales.clone(), b"", 1).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let field = |status: Status| {
        let violations = status.get_details_bad_request().expect("a field").field_violations;
        violations.into_iter().next().expect("a field").field
    };
    let nothing = v1::ReconcileRequest::default();
    assert_eq!(field(send(desk, TACOS, nothing, b"", 1).await.unwrap_err()), "account_id");
    let mut client = desk.attributions(TACOS);
    let twice = client.reconcile(tokio_stream::iter(vec![sales.clone(), sales.clone()])).await;
    assert_eq!(field(twice.unwrap_err()), "account_id");
    let long = vec![b'\n'; RECONCILE_BYTES_MAX + 1];
    let status = send(desk, TACOS, sales, &long, 1_000_000).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "TOO_LARGE");
}

#[test]
fn the_command_line_asks_the_same() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let conversation =
            v1::ConversationKey { endpoint_id: shop.endpoint, contact: "contact-1".into() };
        open(&desk, shop.business, conversation).await?;
        let args = ReconcileArgs {
            file: "list.ndjson".into(),
            caller: desk.caller(TACOS),
            account: shop.account,
            start: jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - 3_600)
                .unwrap(),
            end: Some(jiff::Timestamp::from_second(4_000_000_000).unwrap()),
            outcome: Kind::Conversations,
            json: false,
        };
        let refused = ask(&args, b"").await.unwrap_err();
        assert!(refused.to_string().contains("end_time"), "{refused}");
        let args = ReconcileArgs { end: None, ..args };
        let whole = ask(&args, b"{\"conversation_id\":\"1\"}\n").await.unwrap();
        let results: Vec<_> = whole.rows.iter().map(|row| (row.result(), row.line)).collect();
        assert_eq!(results, [(What::MissingHere, 1), (What::ExtraHere, 0)]);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

/// Opens a conversation that came by no ad.
async fn open(
    desk: &Desk,
    business_id: u64,
    conversation: v1::ConversationKey,
) -> Result<(), Status> {
    let opened =
        v1::Opened { entry_point: v1::EntryPoint::BusinessProfile.into(), ..Default::default() };
    let event = v1::ConversationEvent {
        business_id,
        conversation: Some(conversation),
        event: Some(v1::conversation_event::Event::Opened(opened)),
        ..Default::default()
    };
    let request =
        v1::RecordConversationEventsRequest { request_id: String::new(), events: vec![event] };
    let mut client = desk.conversations(PLATFORM);
    let results = client.record_conversation_events(request).await?.into_inner().results;
    assert_eq!(results[0].outcome(), v1::ItemOutcome::Recorded, "{results:?}");
    Ok(())
}
