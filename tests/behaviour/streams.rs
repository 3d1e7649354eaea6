//! Streams: answers in order, one bad item ends nothing, health and reflection beside the services.

use munadi::types::proto::v1;
use tokio_stream::iter;
use tonic::{Code, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

use crate::desk::{Desk, STATUS, TACOS, calls, event, first_ad, open_shop, tray};

#[test]
fn a_stream_of_trays_goes_on_after_a_refused_one() {
    let desk = Desk::start();
    calls(async {
        open_shop(&desk, TACOS).await?;
        let request = |sequence, ad_request| v1::StreamAdsRequest { sequence, ad_request };
        let requests = iter([request(10, tray("a")), request(11, None), request(12, tray("b"))]);
        let mut answers = desk.ads(STATUS).stream_ads(requests).await?.into_inner();
        let mut got = Vec::new();
        while let Some(answer) = answers.message().await? {
            let reason = answer.error.map(|error| error.reason);
            got.push((answer.sequence, answer.slots.is_empty(), reason));
        }
        let refused = Some("FIELD_MISSING".to_owned());
        assert_eq!(got, [(10, false, None), (11, true, refused), (12, false, None)]);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_stream_of_events_is_acknowledged_in_order_whatever_is_in_it() {
    let desk = Desk::start();
    calls(async {
        open_shop(&desk, TACOS).await?;
        let request = v1::RequestAdsRequest { ad_request: tray("a") };
        let slots = desk.ads(STATUS).request_ads(request).await?.into_inner().slots;
        let seen = event(first_ad(&slots), v1::EventKind::Impression);
        let bad = v1::AdEvent::default();
        // More messages than may wait for the disk at a time.
        let requests = (0..200).map(move |sequence| {
            let events = match sequence {
                3 => Vec::new(),
                5 => vec![bad.clone(), seen.clone()],
                _ => vec![seen.clone()],
            };
            v1::StreamEventsRequest { sequence, events }
        });
        let mut answers = desk.events(STATUS).stream_events(iter(requests)).await?.into_inner();
        let mut recorded = 0;
        for sequence in 0..200 {
            let answer = answers.message().await?.expect("an acknowledgement each");
            assert_eq!(answer.sequence, sequence);
            let reasons: Vec<_> = answer.results.iter().map(|result| &*result.reason).collect();
            match sequence {
                3 => assert_eq!(reasons, ["FIELD_MISSING"], "a message of nothing"),
                5 => assert_eq!(reasons, ["FIELD_MISSING", ""]),
                _ => assert_eq!(reasons, [""]),
            }
            let new = |result: &&v1::ItemResult| result.outcome() == v1::ItemOutcome::Recorded;
            recorded += answer.results.iter().filter(new).count();
        }
        assert_eq!(recorded, 1, "one view counts once, however often it is sent");
        assert!(answers.message().await?.is_none(), "the caller's end ends the stream");
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn health_is_open_to_all_and_knows_each_service() {
    let desk = Desk::start();
    calls(async {
        let mut client = HealthClient::new(desk.way(""));
        for service in ["", "munadi.v1.AdService", "munadi.v1.AttributionService"] {
            let request = HealthCheckRequest { service: service.into() };
            let answer = client.check(request).await?.into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
        }
        let unknown = HealthCheckRequest { service: "munadi.v1.Nothing".into() };
        assert_eq!(client.check(unknown).await.unwrap_err().code(), Code::NotFound);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn reflection_answers_known_callers_in_both_versions() {
    /// Asks one version for its list of services.
    macro_rules! services {
        ($version:ident, $way:expr) => {{
            use tonic_reflection::pb::$version as pb;
            let request = pb::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(pb::server_reflection_request::MessageRequest::ListServices(
                    String::new(),
                )),
            };
            let mut client = pb::server_reflection_client::ServerReflectionClient::new($way);
            match client.server_reflection_info(iter([request])).await {
                Err(status) => Err(status),
                Ok(answers) => {
                    let answer = answers.into_inner().message().await.unwrap().unwrap();
                    Ok(match answer.message_response {
                        Some(
                            pb::server_reflection_response::MessageResponse::ListServicesResponse(
                                list,
                            ),
                        ) => {
                            list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
                        }
                        _ => Vec::new(),
                    })
                }
            }
        }};
    }
    let desk = Desk::start();
    calls(async {
        for services in [
            services!(v1, desk.way(STATUS)).unwrap(),
            services!(v1alpha, desk.way(STATUS)).unwrap(),
        ] {
            assert!(
                services.iter().any(|name| name == "munadi.v1.CampaignService"),
                "{services:?}"
            );
            assert!(services.iter().any(|name| name == "grpc.health.v1.Health"), "{services:?}");
        }
        let stranger = services!(v1, desk.way("")).unwrap_err();
        assert_eq!(stranger.code(), Code::Unauthenticated);
    });
    desk.stop();
}
