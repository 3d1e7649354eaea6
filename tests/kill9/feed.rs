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
use munadi::types::proto::v1::event_service_client::EventServiceClient;
use munadi::types::proto::v1::{AdEvent, EventKind, ItemOutcome};
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::server::Server;
use crate::shop::{self, with_key};

/// A call without an answer for so long is given up: after a kill the client's own connection was once seen to
/// leave one unanswered for ever, with no socket open any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// A daily budget that nobody spends, micros.
const PLENTY: i64 = 900_000_000_000_000;

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
    let mut events = EventServiceClient::new(way(&server.process.addr));
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

/// Makes three advertisers with an ad each; one of them runs out of its budget while the test runs.
pub(crate) async fn open_shop(server: &Server) {
    shop::open(&way(&server.process.addr), &[1_500_000, PLENTY, PLENTY]).await.unwrap();
}
