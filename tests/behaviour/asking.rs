//! ExplainService through its door: roles, wrong questions, and a node that watches on a thread.

use std::time::Duration;

use munadi::types::proto::v1;
use munadi::types::proto::v1::ExplainDeliveryResponse;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::desk::{Desk, OPERATOR, RIVALS, STATUS, TACOS, calls, open_shop, tray};

/// The feed of the tests, by its number.
const FEED: u32 = 1;

/// How often an answer is asked for until the walker has come to it.
const ROUNDS_MAX: usize = 500;

fn field(status: &Status) -> String {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone());
    violations.unwrap_or_default().first().map_or(String::new(), |bad| bad.field.clone())
}

fn question(feed: u32, page_size: u32) -> v1::ExplainRequestRequest {
    v1::ExplainRequestRequest { ad_request: tray("a"), feed, page_size }
}

#[test]
fn a_node_explains_what_it_served_on_a_thread_of_its_own() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await.unwrap();
        let rival = open_shop(&desk, RIVALS).await.unwrap();
        let mut feed = desk.ads(STATUS);
        for viewer in 0..20 {
            let ad_request = tray(&format!("viewer {viewer}"));
            feed.request_ads(v1::RequestAdsRequest { ad_request }).await.unwrap();
        }
        let mut explain = desk.explain(TACOS);
        let mut answer = ExplainDeliveryResponse::default();
        for _ in 0..ROUNDS_MAX {
            let ask = v1::ExplainDeliveryRequest { ad_id: shop.ad };
            answer = explain.explain_delivery(ask).await.unwrap().into_inner();
            if answer.sampled_requests == 20 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((answer.sampled_requests, &answer.fixes[..]), (20, &[][..]), "{answer:?}");
        assert_eq!(answer.effective_status(), v1::EffectiveStatus::Active);
        let ask = v1::ExplainDeliveryRequest { ad_id: rival.ad };
        let foreign = explain.explain_delivery(ask).await.unwrap_err();
        assert_eq!((foreign.code(), &*field(&foreign)), (Code::NotFound, "ad_id"));
        assert!(desk.explain(OPERATOR).explain_delivery(ask).await.is_ok());
        let seen = explain.explain_request(question(FEED, 0)).await.unwrap().into_inner();
        let ads: Vec<u64> = seen.ads.iter().map(|ad| ad.ad_id).collect();
        assert_eq!((seen.live_ads, ads), (2, vec![shop.ad]));
        let all = desk.explain(OPERATOR).explain_request(question(FEED, 0)).await.unwrap();
        assert_eq!(all.into_inner().ads.len(), 2);
        let ask = v1::EstimateDeliveryRequest {
            ad_set: Some(v1::AdSet::default()),
            ..Default::default()
        };
        let few = explain.estimate_delivery(ask).await.unwrap().into_inner();
        assert!(few.below_minimum && few.audience == 0);
        let money = |micros| v1::Money { micros, currency: "MXN".into() };
        let ask = |account_id, bid| {
            let billing_event = v1::BillingEvent::Conversations.into();
            let ad_set = v1::AdSet { billing_event, bid: Some(money(bid)), ..Default::default() };
            v1::EstimateDeliveryRequest { ad_set: Some(ad_set), account_id, ..Default::default() }
        };
        let few = explain.estimate_delivery(ask(shop.account, 5)).await.unwrap().into_inner();
        assert!(few.below_minimum && few.forecasts.is_empty());
        let foreign = explain.estimate_delivery(ask(rival.account, 5)).await.unwrap_err();
        assert_eq!((foreign.code(), &*field(&foreign)), (Code::NotFound, "account_id"));
        let free = explain.estimate_delivery(ask(shop.account, 0)).await.unwrap_err();
        assert_eq!(field(&free), "ad_set.bid.micros");
    });
    desk.stop();
}

#[test]
fn a_wrong_question_is_refused_by_its_field() {
    let desk = Desk::start();
    calls(async {
        let mut explain = desk.explain(TACOS);
        for (ask, at) in [
            (question(9, 0), "feed"),
            (question(FEED, 1_001), "page_size"),
            (v1::ExplainRequestRequest { feed: FEED, ..Default::default() }, "ad_request"),
        ] {
            let refused = explain.explain_request(ask).await.unwrap_err();
            assert_eq!((refused.code(), &*field(&refused)), (Code::InvalidArgument, at));
        }
        let refused = explain.explain_delivery(v1::ExplainDeliveryRequest { ad_id: 0 }).await;
        assert_eq!(field(&refused.unwrap_err()), "ad_id");
        // A region of another country would reach nobody.
        let targeting = v1::Targeting {
            countries: vec!["MX".into()],
            regions: vec!["US-CA".into()],
            ..Default::default()
        };
        let ad_set = v1::AdSet { targeting: Some(targeting), ..Default::default() };
        let draft = v1::EstimateDeliveryRequest { ad_set: Some(ad_set), ..Default::default() };
        let refused = explain.estimate_delivery(draft).await.unwrap_err();
        assert_eq!(field(&refused), "ad_set.targeting.regions[0]");
        let none = v1::EstimateDeliveryRequest::default();
        assert_eq!(field(&explain.estimate_delivery(none).await.unwrap_err()), "ad_set");
        let foreign = desk.explain(STATUS).explain_request(question(FEED, 0)).await.unwrap_err();
        assert_eq!(foreign.code(), Code::PermissionDenied, "a feed is shown nobody's bids");
    });
    desk.stop();
}
