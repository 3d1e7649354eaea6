//! Streams whose caller's key ends while they are open: each ends with it, as a new call would be refused.

use std::sync::Arc;
use std::time::Duration;

use munadi::node::clock::MovedClock;
use munadi::types::proto::v1;
use munadi::types::proto::v1::ad_service_client::AdServiceClient;
use munadi::types::proto::v1::attribution_service_client::AttributionServiceClient;
use munadi::types::proto::v1::conversation_service_client::ConversationServiceClient;
use munadi::types::proto::v1::conversion_service_client::ConversionServiceClient;
use munadi::types::proto::v1::event_service_client::EventServiceClient;
use munadi::types::proto::v1::import_service_client::ImportServiceClient;
use munadi::types::time::{HOUR_MS, Moment};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use crate::desk::{Desk, OPERATOR, STATUS, TACOS, calls, open_shop, tray};
use crate::stage::at;

const NOON: &str = "2026-11-23T12:00:00Z";

/// No stream goes on for longer than this.
const PATIENCE: Duration = Duration::from_secs(20);

/// A key that was made on the node.
struct Made {
    id: String,
    bearer: String,
}

async fn make(
    desk: &Desk,
    role: v1::CallerRole,
    tenant: u32,
    end: Option<Moment>,
) -> Result<Made, Status> {
    let time = |end: Moment| prost_types::Timestamp { seconds: i64::from(end.seconds()), nanos: 0 };
    let key = v1::ApiKey {
        name: "bot".into(),
        role: role.into(),
        tenant,
        expire_time: end.map(time),
        ..Default::default()
    };
    let request_id = format!("{role:?}-{tenant}");
    let request = v1::CreateKeyRequest { request_id, key: Some(key) };
    let made = desk.admin(OPERATOR).create_key(request).await?.into_inner();
    Ok(Made { id: made.key.unwrap_or_default().id, bearer: made.bearer })
}

async fn revoke(desk: &Desk, made: &Made) -> Result<(), Status> {
    let (request_id, key_id) = (made.id.clone(), made.id.clone());
    let request = v1::RevokeKeyRequest { request_id, key_id };
    desk.admin(OPERATOR).revoke_key(request).await.map(drop)
}

/// Reads answers until a status ends the stream, which must be what a new call is refused with.
async fn ended<T>(answers: &mut Streaming<T>) {
    let end = async {
        loop {
            match answers.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ends without a word"),
                Err(status) => return status,
            }
        }
    };
    let status = tokio::time::timeout(PATIENCE, end).await.expect("the stream goes on");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().map(|info| &*info.reason), Some("CREDENTIAL_INVALID"));
}

fn events(sequence: u64) -> v1::StreamEventsRequest {
    v1::StreamEventsRequest { sequence, events: vec![v1::AdEvent::default()] }
}

fn trays(sequence: u64) -> v1::StreamAdsRequest {
    v1::StreamAdsRequest { sequence, ad_request: tray("a") }
}

#[test]
fn a_revoked_feeds_streams_end_with_its_next_message_and_anothers_go_on() {
    let clock = Arc::new(MovedClock::at(at(NOON)));
    let desk = Desk::moved(true, &clock, |_, _| {});
    calls(async {
        let made = make(&desk, v1::CallerRole::Feed, 1, None).await?;
        let (send_event, told) = mpsc::channel(4);
        let mut client = EventServiceClient::new(desk.way_of(&made.bearer));
        let mut acknowledged = client.stream_events(ReceiverStream::new(told)).await?.into_inner();
        let (send_tray, asked) = mpsc::channel(4);
        let mut client = AdServiceClient::new(desk.way_of(&made.bearer));
        let mut filled = client.stream_ads(ReceiverStream::new(asked)).await?.into_inner();
        let (send_other, told) = mpsc::channel(4);
        let mut other = desk.events(STATUS).stream_events(ReceiverStream::new(told)).await?;
        for sequence in 0..2 {
            send_event.send(events(sequence)).await.unwrap();
            send_tray.send(trays(sequence)).await.unwrap();
            assert_eq!(acknowledged.message().await?.unwrap().sequence, sequence);
            assert_eq!(filled.message().await?.unwrap().sequence, sequence);
        }
        revoke(&desk, &made).await?;
        send_event.send(events(2)).await.unwrap();
        send_tray.send(trays(2)).await.unwrap();
        ended(&mut acknowledged).await;
        ended(&mut filled).await;
        send_other.send(events(7)).await.unwrap();
        assert_eq!(other.get_mut().message().await?.unwrap().sequence, 7, "another key's");
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_stream_ends_with_the_first_message_after_the_end_of_its_key() {
    let clock = Arc::new(MovedClock::at(at(NOON)));
    let desk = Desk::moved(true, &clock, |_, _| {});
    calls(async {
        let end = at(NOON).plus_ms(HOUR_MS);
        let made = make(&desk, v1::CallerRole::Feed, 1, Some(end)).await?;
        let (sender, told) = mpsc::channel(4);
        let mut client = EventServiceClient::new(desk.way_of(&made.bearer));
        let mut acknowledged = client.stream_events(ReceiverStream::new(told)).await?.into_inner();
        clock.set(end.plus_ms(-1));
        sender.send(events(0)).await.unwrap();
        assert_eq!(acknowledged.message().await?.unwrap().sequence, 0);
        clock.set(end);
        sender.send(events(1)).await.unwrap();
        ended(&mut acknowledged).await;
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

/// Those who only listen are looked at from time to time.
#[test]
fn whoever_follows_watches_or_imports_is_let_in_no_longer_than_its_key() {
    let clock = Arc::new(MovedClock::at(at(NOON)));
    let desk = Desk::moved(true, &clock, |_, _| {});
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let analyst = make(&desk, v1::CallerRole::Analytics, 4, None).await?;
        let chat = make(&desk, v1::CallerRole::Chat, 4, None).await?;
        let advertiser = make(&desk, v1::CallerRole::Advertiser, 4, None).await?;

        let follow = v1::PullAttributionsRequest { follow: true, ..Default::default() };
        let mut client = AttributionServiceClient::new(desk.way_of(&analyst.bearer));
        let mut followed = client.pull_attributions(follow).await?.into_inner();
        assert!(followed.message().await?.is_some());
        let watch = v1::WatchWindowsRequest { business_id: shop.business, lead_minutes: 60 };
        let mut client = ConversationServiceClient::new(desk.way_of(&chat.bearer));
        let mut watched = client.watch_windows(watch).await?.into_inner();
        let (sender, history) = mpsc::channel(4);
        let mut client = ImportServiceClient::new(desk.way_of(&advertiser.bearer));
        let mut imported = client.import_events(ReceiverStream::new(history)).await?.into_inner();
        let message = |sequence| {
            let events = vec![v1::ImportedEvent::default()];
            v1::ImportEventsRequest { sequence, events, ..Default::default() }
        };
        sender.send(message(1)).await.unwrap();
        assert_eq!(imported.message().await?.unwrap().sequence, 1);

        for made in [&analyst, &chat, &advertiser] {
            revoke(&desk, made).await?;
        }
        sender.send(message(2)).await.unwrap();
        ended(&mut imported).await;
        ended(&mut followed).await;
        ended(&mut watched).await;
        let pull = v1::PullConversionPayloadsRequest::default();
        let mut client = ConversionServiceClient::new(desk.way_of(&analyst.bearer));
        let anew = client.pull_conversion_payloads(pull).await.unwrap_err();
        assert_eq!(anew.code(), Code::Unauthenticated);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}
