//! Feeds that ask for ads and report what was seen, and a ledger of what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use munadi::node::Files;
use munadi::node::clock::{Clock, SystemClock};
use munadi::node::dice::SeededDice;
use munadi::tokens::Sealer;
use munadi::types::dice::Dice;
use munadi::types::proto::v1;
use munadi::types::proto::v1::ad_service_client::AdServiceClient;
use munadi::types::proto::v1::campaign_service_client::CampaignServiceClient;
use munadi::types::proto::v1::event_service_client::EventServiceClient;
use munadi::types::proto::v1::{AdEvent, EventKind, ItemOutcome};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::server::{SECRET, Server};

/// A call without an answer for so long is given up: after a kill the client's own connection was once seen to
/// leave one unanswered for ever, with no socket open any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// An event by its view and kind, as the journal names it.
pub(crate) type Named = (u64, i32);

/// What one feed sent in one life of the node.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    /// Sent, in order.
    sent: Vec<AdEvent>,
    /// Of those, the ones that were acknowledged as new or as counted before.
    acknowledged: Vec<usize>,
}

/// Everything that was ever sent. Tokens are opaque to a feed: the journal's view ids are learned from the
/// key ring at the end.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    lives: Vec<Reported>,
    views: BTreeMap<Vec<u8>, u64>,
}

impl Ledger {
    /// Notes what a feed sent; returns how many events were acknowledged.
    pub(crate) fn note(&mut self, reported: Reported) -> u64 {
        let count = reported.acknowledged.len() as u64;
        self.lives.push(reported);
        count
    }

    /// Returns every acknowledged event by its name.
    pub(crate) fn acknowledged(&self) -> impl Iterator<Item = Named> + '_ {
        self.lives.iter().flat_map(move |life| {
            life.acknowledged.iter().map(move |index| {
                let event = &life.sent[*index];
                (self.views[&event.view_token.to_vec()], event.kind)
            })
        })
    }

    /// Learns which view each token names.
    pub(crate) fn open(&mut self, folder: &Path) {
        let ring = Files::new(&folder.join("data")).ring().unwrap().unwrap();
        let (sealer, now_s) = (Sealer::new(ring), SystemClock::default().now().seconds());
        for event in self.lives.iter().flat_map(|life| &life.sent) {
            let token = sealer.open_view(&event.view_token, now_s).expect("our own token");
            self.views.insert(event.view_token.to_vec(), token.view);
        }
    }
}

/// Returns a request with a key.
fn with_key<T>(id: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer mk_{id}_{SECRET}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

fn way(addr: &str) -> Channel {
    Endpoint::from_shared(addr.to_owned()).unwrap().connect_lazy()
}

/// Asks for trays and reports impressions and taps, some of them twice, until the node is gone.
pub(crate) async fn report(addr: String, seed: u64) -> Reported {
    let mut dice = SeededDice::new(seed);
    let (mut ads, mut events) =
        (AdServiceClient::new(way(&addr)), EventServiceClient::new(way(&addr)));
    let mut reported = Reported::default();
    loop {
        // Half of them come so often that most of what they see is marked as invalid.
        let roll = dice.roll();
        let number = if roll.is_multiple_of(2) { roll % 50 } else { roll };
        let viewer = format!("viewer {seed} {number}");
        let Ok(Ok(slots)) = timeout(PATIENCE, tray(&mut ads, &viewer)).await else {
            return reported;
        };
        let mut batch = Vec::new();
        for slot in slots {
            let Some(v1::slot::Filling::Ad(ad)) = slot.filling else { continue };
            let event = |kind: EventKind| AdEvent {
                view_token: ad.view_token.clone(),
                kind: kind.into(),
                ..AdEvent::default()
            };
            batch.push(event(EventKind::Impression));
            if dice.roll().is_multiple_of(3) {
                batch.push(event(EventKind::Tap));
            }
            if dice.roll().is_multiple_of(5) {
                batch.push(event(EventKind::Impression));
            }
        }
        let first = reported.sent.len();
        reported.sent.extend(batch.iter().cloned());
        let request = v1::RecordEventsRequest { request_id: String::new(), events: batch };
        // No answer: the outcome is unknown.
        let asked = timeout(PATIENCE, events.record_events(with_key("feed", request))).await;
        let Ok(Ok(answer)) = asked else { return reported };
        for (index, result) in answer.into_inner().results.iter().enumerate() {
            assert_ne!(result.outcome(), ItemOutcome::Refused, "{result:?}");
            reported.acknowledged.push(first + index);
        }
    }
}

async fn tray(ads: &mut AdServiceClient<Channel>, viewer: &str) -> Result<Vec<v1::Slot>, Status> {
    let viewer = v1::ViewerContext { pseudonym: viewer.into(), ..Default::default() };
    let ad_request = Some(v1::AdRequest {
        placement: v1::Placement::Status.into(),
        viewer: Some(viewer),
        posts: 20,
        ..Default::default()
    });
    let request = with_key("feed", v1::RequestAdsRequest { ad_request });
    Ok(ads.request_ads(request).await?.into_inner().slots)
}

/// Sends everything again: now all of it is acknowledged.
pub(crate) async fn send_again(server: &Server, ledger: &mut Ledger) {
    let mut events = EventServiceClient::new(way(&server.addr));
    let all: BTreeSet<(Vec<u8>, i32)> = ledger
        .lives
        .iter()
        .flat_map(|life| &life.sent)
        .map(|event| (event.view_token.to_vec(), event.kind))
        .collect();
    let all: Vec<AdEvent> = all
        .into_iter()
        .map(|(token, kind)| AdEvent { view_token: token.into(), kind, ..AdEvent::default() })
        .collect();
    for events_of_one in all.chunks(500) {
        let request =
            v1::RecordEventsRequest { request_id: String::new(), events: events_of_one.to_vec() };
        let answer = events.record_events(with_key("feed", request)).await.unwrap().into_inner();
        let refused = |it: &&v1::ItemResult| it.outcome() == ItemOutcome::Refused;
        assert_eq!(answer.results.iter().find(refused), None);
    }
    let acknowledged = (0..all.len()).collect();
    ledger.lives.push(Reported { sent: all, acknowledged });
}

/// Makes an account and everything below it, down to three live ads of three advertisers.
pub(crate) async fn open_shop(server: &Server) {
    for number in 0..3 {
        shop(server, number).await.unwrap();
    }
}

async fn shop(server: &Server, number: u32) -> Result<(), Status> {
    let mut client = CampaignServiceClient::new(way(&server.addr));
    let request_id = |kind: &str| format!("{kind}-{number}");
    let key = "advertiser";
    let validate_only = false;
    let account = Some(v1::Account {
        name: "Tacos".into(),
        currency: "MXN".into(),
        time_zone: "America/Mexico_City".into(),
        ..Default::default()
    });
    let request = v1::CreateAccountRequest { request_id: request_id("a"), account, validate_only };
    let answer = client.create_account(with_key(key, request)).await?.into_inner();
    let account_id = answer.account.unwrap().id;
    let business = Some(v1::Business { account_id, name: "Tacos".into(), ..Default::default() });
    let request =
        v1::CreateBusinessRequest { request_id: request_id("b"), business, validate_only };
    let answer = client.create_business(with_key(key, request)).await?.into_inner();
    let channel_endpoint = Some(v1::ChannelEndpoint {
        business_id: answer.business.unwrap().id,
        channel: v1::Channel::Telegram.into(),
        address: "tacos_bot".into(),
        ..Default::default()
    });
    let request = v1::CreateChannelEndpointRequest {
        request_id: request_id("e"),
        channel_endpoint,
        validate_only,
    };
    let answer = client.create_channel_endpoint(with_key(key, request)).await?.into_inner();
    let endpoint_id = answer.channel_endpoint.unwrap().id;
    let money = |micros| Some(v1::Money { micros, currency: "MXN".into() });
    let campaign = Some(v1::Campaign {
        account_id,
        name: "Lunch".into(),
        objective: v1::Objective::OutcomeEngagement.into(),
        // One of the three runs out while the test runs.
        budget: Some(v1::Budget {
            daily: money(if number == 0 { 1_500_000 } else { 900_000_000_000_000 }),
            lifetime: None,
        }),
        ..Default::default()
    });
    let request =
        v1::CreateCampaignRequest { request_id: request_id("c"), campaign, validate_only };
    let answer = client.create_campaign(with_key(key, request)).await?.into_inner();
    let ad_set = Some(v1::AdSet {
        campaign_id: answer.campaign.unwrap().id,
        name: "Everyone".into(),
        billing_event: v1::BillingEvent::Impressions.into(),
        bid: money(50_000_000),
        ..Default::default()
    });
    let request = v1::CreateAdSetRequest { request_id: request_id("s"), ad_set, validate_only };
    let answer = client.create_ad_set(with_key(key, request)).await?.into_inner();
    let ad = Some(v1::Ad {
        ad_set_id: answer.ad_set.unwrap().id,
        name: "Three for two".into(),
        creative: Some(v1::Creative { primary_text: "Tacos!".into(), ..Default::default() }),
        destination: Some(v1::ChatDestination { endpoint_id, ..Default::default() }),
        ..Default::default()
    });
    let request = v1::CreateAdRequest { request_id: request_id("d"), ad, validate_only };
    client.create_ad(with_key(key, request)).await.map(drop)
}
