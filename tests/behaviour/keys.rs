//! API keys that are made, used, rotated and revoked while the node runs.

use std::sync::Arc;

use munadi::node::clock::MovedClock;
use munadi::node::{Node, NodeOptions};
use munadi::types::proto::v1;
use munadi::types::proto::v1::report_service_client::ReportServiceClient;
use munadi::types::time::{DAY_MS, HOUR_MS, Moment};
use tonic::{Code, Status};

use crate::desk::{Desk, OPERATOR, TACOS, calls, open_shop};
use crate::stage::at;

const NOON: &str = "2026-11-23T12:00:00Z";

fn desk() -> (Desk, Arc<MovedClock>) {
    let clock = Arc::new(MovedClock::at(at(NOON)));
    (Desk::moved(true, &clock, |_, _| {}), clock)
}

fn time(ms: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: ms / 1_000, nanos: 0 })
}

/// A key for an analyst of the tacos' tenant.
fn analyst(request_id: &str, expire_ms: Option<i64>) -> v1::CreateKeyRequest {
    let key = v1::ApiKey {
        name: "bi".into(),
        role: v1::CallerRole::Analytics.into(),
        tenant: 4,
        expire_time: expire_ms.and_then(time),
        ..Default::default()
    };
    v1::CreateKeyRequest { request_id: request_id.into(), key: Some(key) }
}

/// Asks for a report by a whole key.
async fn report(desk: &Desk, bearer: &str, account_id: u64) -> Result<(), Code> {
    let request = v1::QueryReportRequest { account_id, ..Default::default() };
    let mut client = ReportServiceClient::new(desk.way_of(bearer));
    client.query_report(request).await.map(drop).map_err(|status| status.code())
}

async fn list(desk: &Desk) -> Result<Vec<v1::ApiKey>, Status> {
    let request = v1::ListKeysRequest::default();
    Ok(desk.admin(OPERATOR).list_keys(request).await?.into_inner().keys)
}

#[test]
fn a_made_key_opens_at_once_as_what_it_is_and_a_revoked_one_no_more() {
    let (desk, _) = desk();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let mut admin = desk.admin(OPERATOR);
        let made = admin.create_key(analyst("a", None)).await?.into_inner();
        let key = made.key.unwrap();
        assert!(made.bearer.starts_with(&format!("mk_{}_", key.id)), "{}", key.id);
        assert_eq!(report(&desk, &made.bearer, shop.account).await, Ok(()));
        let mut client = desk.way_of(&made.bearer);
        let denied = crate::calls::send(client.clone(), "AdminService/ListKeys", vec![]).await;
        assert_eq!(denied.unwrap_err().code(), Code::PermissionDenied);
        let wrong = format!("{}x", made.bearer);
        assert_eq!(report(&desk, &wrong, shop.account).await, Err(Code::Unauthenticated));

        let revoke = v1::RevokeKeyRequest { request_id: "r".into(), key_id: key.id.clone() };
        let revoked = admin.revoke_key(revoke).await?.into_inner().key.unwrap();
        assert_eq!(revoked.revoke_time, time(at(NOON).0));
        assert_eq!(report(&desk, &made.bearer, shop.account).await, Err(Code::Unauthenticated));
        client = desk.way_of(&made.bearer);
        let gone = crate::calls::send(client, "ReportService/QueryReport", vec![]).await;
        assert_eq!(gone.unwrap_err().code(), Code::Unauthenticated);
        let unknown = v1::RevokeKeyRequest { request_id: "u".into(), key_id: "m-none".into() };
        assert_eq!(admin.revoke_key(unknown).await.unwrap_err().code(), Code::NotFound);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_secret_is_answered_once_and_listed_never() {
    let (desk, _) = desk();
    calls(async {
        let mut admin = desk.admin(OPERATOR);
        let made = admin.create_key(analyst("a", None)).await?.into_inner();
        let again = admin.create_key(analyst("a", None)).await?.into_inner();
        assert_eq!((again.key, &*again.bearer), (made.key.clone(), ""));
        let secret = made.bearer.rsplit('_').next().unwrap();
        assert_eq!(secret.len(), 52, "32 bytes in base32");
        let listed = list(&desk).await?;
        assert_eq!(listed, [made.key.unwrap()]);
        let changes = admin.list_changes(v1::ListChangesRequest::default()).await?.into_inner();
        assert_eq!(changes.changes.len(), 1);
        assert!(!format!("{listed:?} {changes:?}").contains(secret));
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_key_ends_by_the_clock_and_a_rotation_overlaps() {
    let (desk, clock) = desk();
    let noon = at(NOON).0;
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let mut admin = desk.admin(OPERATOR);
        let first = admin.create_key(analyst("a", Some(noon + 3 * DAY_MS))).await?.into_inner();
        let old = first.key.unwrap();
        let rotate = v1::RotateKeyRequest {
            request_id: "r".into(),
            key_id: old.id.clone(),
            overlap_seconds: 3_600,
            expire_time: time(noon + 2 * DAY_MS),
        };
        let rotated = admin.rotate_key(rotate.clone()).await?.into_inner();
        assert_eq!(rotated.rotated.unwrap().expire_time, time(noon + HOUR_MS));
        let third = v1::RotateKeyRequest { request_id: "s".into(), ..rotate };
        let refused = admin.rotate_key(third).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "two are good: {refused}");
        let both = async |code| {
            let old = report(&desk, &first.bearer, shop.account).await.err();
            (old, report(&desk, &rotated.bearer, shop.account).await.err()) == code
        };
        assert!(both((None, None)).await);
        clock.set(Moment(noon + HOUR_MS - 1));
        assert!(both((None, None)).await);
        clock.set(Moment(noon + HOUR_MS));
        assert!(both((Some(Code::Unauthenticated), None)).await);
        clock.set(Moment(noon + 2 * DAY_MS));
        let ended = Some(Code::Unauthenticated);
        assert!(both((ended, ended)).await);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn the_last_use_of_a_key_is_told() {
    let (desk, clock) = desk();
    let noon = at(NOON).0;
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let made = desk.admin(OPERATOR).create_key(analyst("a", None)).await?.into_inner();
        assert_eq!(list(&desk).await?[0].last_used_time, None);
        let used = noon + 5_000;
        clock.set(Moment(used));
        report(&desk, &made.bearer, shop.account).await.unwrap();
        assert_eq!(list(&desk).await?[0].last_used_time, time(used));
        clock.set(Moment(used + 60_000));
        let wrong = format!("{}x", made.bearer);
        report(&desk, &wrong, shop.account).await.unwrap_err();
        assert_eq!(list(&desk).await?[0].last_used_time, time(used), "a wrong secret is no use");
        Ok::<_, Status>(())
    })
    .unwrap();
    let folder = desk.stop();
    let node = Node::start(folder.path(), clock, &NodeOptions::default()).unwrap();
    let (keys, _) = node.front().keys("", 10);
    assert_eq!(keys[0].last_used_time, time(noon + 5_000), "after a restart");
    node.stop().unwrap();
}

#[test]
fn keys_come_in_pages_and_operators_alone_see_them() {
    let (desk, _) = desk();
    calls(async {
        let mut admin = desk.admin(OPERATOR);
        for name in ["a", "b", "c", "d", "e"] {
            let mut request = analyst(name, None);
            request.key.as_mut().unwrap().name = name.into();
            admin.create_key(request).await?;
        }
        let whole = list(&desk).await?;
        assert_eq!(whole.len(), 5);
        assert!(whole.is_sorted_by(|one, other| one.id < other.id));
        let (mut paged, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListKeysRequest { page_size: 2, page_token };
            let page = admin.list_keys(request).await?.into_inner();
            paged.extend(page.keys);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, whole);
        let refused = desk.admin(TACOS).list_keys(v1::ListKeysRequest::default()).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}
