//! Those who watch windows or follow attributions at their limits, through the door: who comes too late is told so, and
//! a place that is left is free.

use std::time::Duration;

use munadi::node::WATCHES_MAX;
use munadi::rpc::limits::FOLLOWERS_MAX;
use munadi::types::proto::v1;
use munadi::types::request::Scope;
use munadi::types::time::HOUR_MS;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use crate::desk::{ANALYST, Desk, OPERATOR, PLATFORM, Shop, TACOS, calls, open_shop};

/// No place is free for longer than this after its watcher has left.
const PATIENCE: Duration = Duration::from_secs(20);

async fn watch(
    desk: &Desk,
    key: &str,
    shop: &Shop,
    lead_minutes: u32,
) -> Result<Streaming<v1::WatchWindowsResponse>, Status> {
    let request = v1::WatchWindowsRequest { business_id: shop.business, lead_minutes };
    let answer = desk.conversations(key).watch_windows(request).await?;
    Ok(answer.into_inner())
}

#[test]
fn the_watcher_beyond_the_last_is_told_when_to_come_again_and_a_stream_that_ends_leaves_its_place()
{
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let all = Scope { tenant: 0, any: true };
        let of_node = || desk.node().watch_windows(all, shop.business, HOUR_MS).expect("a place");
        let others: Vec<_> = (1..WATCHES_MAX).map(|_| of_node()).collect();
        // The last place goes to a caller of the door.
        let last = watch(&desk, PLATFORM, &shop, 60).await?;
        for key in [PLATFORM, OPERATOR] {
            let status = watch(&desk, key, &shop, 60).await.expect_err("no place is left");
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            assert!(status.message().contains("watch again later"), "{status}");
            let details = status.get_error_details();
            assert_eq!(details.error_info().map(|info| &*info.reason), Some("BUSY"));
            let pause = details.retry_info().and_then(|info| info.retry_delay);
            assert!(pause.is_some_and(|pause| !pause.is_zero()), "{details:?}");
        }
        drop(last);
        let again = async {
            loop {
                match watch(&desk, PLATFORM, &shop, 60).await {
                    Ok(stream) => return stream,
                    Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
                }
            }
        };
        let again = tokio::time::timeout(PATIENCE, again).await.expect("the place is free again");
        let full =
            watch(&desk, PLATFORM, &shop, 60).await.expect_err("one place was free, not two");
        assert_eq!(full.code(), Code::ResourceExhausted);
        drop((others, again));
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn the_follower_beyond_the_last_is_told_when_to_come_again_and_may_pull_meanwhile() {
    let desk = Desk::start();
    calls(async {
        let follow = || v1::PullAttributionsRequest { follow: true, ..Default::default() };
        let (mut followers, mut client) = (Vec::new(), desk.attributions(ANALYST));
        for number in 0..FOLLOWERS_MAX {
            // Fewer than one connection may have at once.
            if number % 100 == 0 {
                client = desk.attributions(ANALYST);
            }
            followers.push(client.pull_attributions(follow()).await?);
        }
        let mut client = desk.attributions(OPERATOR);
        let status = client.pull_attributions(follow()).await.expect_err("no place is left");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains("follow again later"), "{status}");
        let details = status.get_error_details();
        assert_eq!(details.error_info().map(|info| &*info.reason), Some("BUSY"));
        assert!(details.retry_info().is_some_and(|info| info.retry_delay.is_some()));
        client.pull_attributions(v1::PullAttributionsRequest::default()).await?;
        drop(followers.pop());
        let again = async {
            while let Err(status) = client.pull_attributions(follow()).await {
                assert_eq!(status.code(), Code::ResourceExhausted);
            }
        };
        tokio::time::timeout(PATIENCE, again).await.expect("the place is free again");
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_watch_that_is_refused_takes_no_place() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        for _ in 0..=WATCHES_MAX {
            let none = Shop { business: shop.account, ..shop };
            let unknown = watch(&desk, PLATFORM, &none, 60).await.expect_err("no such business");
            assert_eq!(unknown.code(), Code::NotFound);
        }
        let long = watch(&desk, PLATFORM, &shop, 1_441).await.expect_err("more than a day");
        let details = long.get_error_details();
        let field = details.bad_request().map(|bad| bad.field_violations[0].field.clone());
        assert_eq!(field.as_deref(), Some("lead_minutes"));
        watch(&desk, PLATFORM, &shop, 1_440).await?;
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}
