//! Histories while the writer stands still or its disk is late: few of their messages are in the way of live events,
//! and none is lost.

use munadi::node::Pending;
use munadi::rpc::limits::{IMPORTS_AT_ONCE_MAX, LAG_TARGET};
use munadi::types::proto::v1;
use munadi::types::proto::v1::campaign_service_client::CampaignServiceClient;
use munadi::types::proto::v1::import_service_client::ImportServiceClient;
use munadi::types::request::{ResourceKind, Verdict};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

use crate::bodies::{ACCOUNT, NUMBER};
use crate::full::{Gate, held, opened};
use crate::stage::{ALL, KEY, NOW_S, Shop, Stage, TENANT, wait, whatsapp};

/// Histories that come at once, and messages of each: so many as it may send ahead.
const HISTORIES: u64 = 3;
const MESSAGES: u64 = 4;

/// Calls that are answered while whatever was sent before them is read.
const CALLS: usize = 50;

/// Calls until which what is to come must have come.
const CALLS_MAX: usize = 20_000;

#[test]
fn of_all_histories_only_a_few_messages_are_in_the_way_of_live_events() {
    let (stage, gate) = held();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let live = stand_still(&stage, &gate, shop);
    let gauge = stage.node.gauge();
    wait(async {
        let way = way(&stage);
        let mut histories = Vec::new();
        for history in 0..HISTORIES {
            let messages = (0..MESSAGES).map(|number| message(&stage, shop, history, number));
            histories.push(begin(&way, messages.collect()).await);
        }
        let mut calls = 0;
        while gauge.waiting() < IMPORTS_AT_ONCE_MAX {
            ask(&way).await;
            calls += 1;
            assert!(calls < CALLS_MAX, "no history is taken");
        }
        for _ in 0..CALLS {
            ask(&way).await;
            let waiting = gauge.waiting();
            assert!(waiting < 2 * IMPORTS_AT_ONCE_MAX, "{waiting}");
        }
        gate.open();
        for answers in &mut histories {
            for sequence in 0..MESSAGES {
                imported(answers, sequence).await;
            }
        }
        live.await.unwrap();
    });
    stage.stop();
}

#[test]
fn no_history_is_handed_over_while_live_events_wait_long_for_the_disk() {
    let (stage, gate) = held();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    wait(stage.node.settled()).unwrap();
    gate.hold();
    let live = stage.node.record(vec![opened(shop, 1)]).unwrap();
    let gauge = stage.node.gauge();
    while gauge.read().lag <= LAG_TARGET {
        std::thread::yield_now();
    }
    let in_flight = gate.in_flight();
    wait(async {
        let way = way(&stage);
        let mut answers = begin(&way, vec![message(&stage, shop, 0, 0)]).await;
        for _ in 0..CALLS {
            ask(&way).await;
        }
        assert_eq!((gauge.waiting(), gate.in_flight()), (0, in_flight));
        gate.release();
        imported(&mut answers, 0).await;
        live.await.unwrap();
    });
    stage.stop();
}

/// Lets the writer stand still while nothing waits for the disk yet, and returns what it stands still with.
fn stand_still(stage: &Stage, gate: &Gate, shop: Shop) -> Pending<Vec<Verdict>> {
    let mut contact = 0;
    loop {
        contact += 1;
        wait(stage.node.settled()).unwrap();
        gate.shut();
        let pending = stage.node.record(vec![opened(shop, contact)]).unwrap();
        gate.met();
        // It may have seen this piece in the queue, at the end of its round before.
        if stage.node.gauge().read().lag.is_zero() {
            return pending;
        }
        gate.open();
        wait(pending).unwrap();
    }
}

fn way(stage: &Stage) -> Channel {
    Endpoint::from_shared(format!("http://{}", stage.rpc.addr())).unwrap().connect_lazy()
}

fn with_key<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
    request
}

/// Asks for what the writer has no part in.
async fn ask(way: &Channel) {
    let request = with_key(v1::ListAccountsRequest::default());
    CampaignServiceClient::new(way.clone()).list_accounts(request).await.unwrap();
}

/// Returns a message with one tap, of yesterday.
fn message(stage: &Stage, shop: Shop, history: u64, number: u64) -> v1::ImportEventsRequest {
    let (accounts, _) = stage.node.list(ALL, ResourceKind::Account, 0, 0, 1);
    let event = v1::ImportedEvent {
        r#type: v1::ImportedEventType::Tap.into(),
        event_id: format!("tap-{history}-{number}"),
        event_time: Some(prost_types::Timestamp { seconds: NOW_S - 86_400, nanos: 0 }),
        viewer: "ana".into(),
        account_id: accounts[0].id(),
        ad_id: shop.ad,
        ..Default::default()
    };
    v1::ImportEventsRequest { sequence: number, events: vec![event], ..Default::default() }
}

async fn begin(
    way: &Channel,
    messages: Vec<v1::ImportEventsRequest>,
) -> Streaming<v1::ImportEventsResponse> {
    let request = with_key(tokio_stream::iter(messages));
    ImportServiceClient::new(way.clone()).import_events(request).await.unwrap().into_inner()
}

async fn imported(answers: &mut Streaming<v1::ImportEventsResponse>, sequence: u64) {
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.sequence, sequence);
    assert_eq!(answer.results[0].outcome(), v1::ImportOutcome::Imported, "{answer:?}");
}
