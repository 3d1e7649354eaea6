//! The gRPC door while the queue to the writer is full: reports and ads are refused unread, and events are still
//! looked at; a connection that asks for nothing but ads is left unread.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use munadi::guard::{Key, Keys, Role, secret_blake3};
use munadi::listen::Running;
use munadi::node::Node;
use munadi::node::clock::{Clock, SystemClock};
use munadi::rpc::limits::{Limits, READ_PAUSE, RETRY_AFTER};
use munadi::rpc::{Patience, ServerConfig, serve};
use munadi::types::proto::v1;
use munadi::types::proto::v1::ad_service_client::AdServiceClient;
use munadi::types::proto::v1::event_service_client::EventServiceClient;
use munadi::types::proto::v1::report_service_client::ReportServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::bodies::{ACCOUNT, NUMBER};
use crate::full::{fill, held};
use crate::stage::{TENANT, wait, whatsapp};

/// Within which a connection is left unread that asks for nothing but what is refused. Long, for a busy machine.
const ENOUGH: Duration = Duration::from_secs(60);

#[test]
fn under_a_full_queue_reports_and_ads_are_refused_unread_and_events_are_looked_at() {
    let (stage, gate) = held();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    wait(stage.node.settled()).unwrap();
    let door = door(&stage.node);
    gate.hold();
    let waiting = fill(&stage, &gate, shop);
    wait(async {
        let way = way(&door);
        for status in [ads(&way).await.unwrap_err(), report(&way).await.unwrap_err()] {
            let (reason, level) = told(&status);
            // The disk lags too, so that with time all may be refused.
            assert!(reason == "OVERLOADED" && level >= 2, "{status:?}");
        }
        if let Err(status) = event(&way).await {
            assert_eq!(told(&status), ("OVERLOADED".to_owned(), 3), "{status:?}");
        }
    });
    gate.release();
    wait(async {
        for pending in waiting {
            pending.await.unwrap();
        }
    });
    door.stop();
    stage.stop();
}

/// What is not read costs nothing, and who asks for it waits. No upper bound: another's call may be late as well.
#[test]
fn a_connection_none_of_whose_calls_is_taken_is_left_unread() {
    let (stage, gate) = held();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    wait(stage.node.settled()).unwrap();
    let door = door(&stage.node);
    gate.hold();
    let waiting = fill(&stage, &gate, shop);
    let slow = wait(async {
        let (way, clock) = (way(&door), SystemClock::default());
        while clock.monotonic() < ENOUGH {
            let asked = clock.monotonic();
            let refused = ads(&way).await.unwrap_err();
            // However it ends: a connection that was left unread for long is cut.
            if clock.monotonic() - asked >= READ_PAUSE / 2 {
                return true;
            }
            assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
        }
        false
    });
    assert!(slow, "for {ENOUGH:?} all calls were refused at once");
    gate.release();
    drop(waiting);
    door.stop();
    stage.stop();
}

/// Returns the reason and the level of a refusal, which says when to come again.
fn told(status: &Status) -> (String, u32) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let details = status.get_error_details();
    let again = details.retry_info().unwrap().retry_delay.unwrap();
    assert!(again <= RETRY_AFTER * 3 / 2, "{again:?}");
    let info = details.error_info().unwrap();
    let level = info.metadata.get("level").and_then(|level| level.parse().ok());
    (info.reason.clone(), level.unwrap_or_default())
}

/// Opens a gRPC door that refuses what there is no time for.
fn door(node: &Arc<Node>) -> Running {
    let key = |role: Role, tenant| Key {
        id: role.name().into(),
        role,
        tenant,
        secret_blake3: secret_blake3("planted-secret"),
    };
    let config = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        cores: NonZeroUsize::MIN,
        keys: Arc::new(Keys::new([key(Role::Operator, 0), key(Role::Feed, 1)]).unwrap()),
        patience: Patience::default(),
        tls: None,
        limits: Limits { shed: true, ..Limits::OFF },
        traces: None,
    };
    serve(node, &Arc::new(BTreeMap::new()), config).unwrap()
}

fn way(door: &Running) -> Channel {
    Endpoint::from_shared(format!("http://{}", door.addr())).unwrap().connect_lazy()
}

fn with_key<T>(role: Role, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer mk_{role}_planted-secret").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

async fn ads(way: &Channel) -> Result<(), Status> {
    let request = with_key(Role::Feed, v1::RequestAdsRequest::default());
    AdServiceClient::new(way.clone()).request_ads(request).await.map(drop)
}

async fn report(way: &Channel) -> Result<(), Status> {
    let request = with_key(Role::Operator, v1::QueryReportRequest::default());
    ReportServiceClient::new(way.clone()).query_report(request).await.map(drop)
}

/// Tells an event whose token is forged: who reads it finds that out, and nothing is handed to the queue.
async fn event(way: &Channel) -> Result<(), Status> {
    let event = v1::AdEvent {
        view_token: vec![1; 84].into(),
        kind: v1::EventKind::Impression.into(),
        ..Default::default()
    };
    let request = v1::RecordEventsRequest { request_id: String::new(), events: vec![event] };
    let request = with_key(Role::Feed, request);
    EventServiceClient::new(way.clone()).record_events(request).await.map(drop)
}
