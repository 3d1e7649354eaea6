//! Two advertisers whose customers look, tap, write and buy, on a clock moved by hand.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::{FlightClient, Ticket};
use munadi::node::clock::{Clock, MovedClock};
use munadi::types::proto::v1;
use munadi::types::time::{DAY_MS, MINUTE_MS, SECOND_MS};
use tokio_stream::StreamExt;
use tonic::Status;

use crate::desk::{
    Desk, PLATFORM, RIVALS, STATUS, Shop, TACOS, calls, event, first_ad, open_shop, tray,
};
use crate::stage::at;

/// Rounds of the writer until nothing follows from an event any more.
const ROUNDS: usize = 6;

/// Viewers of one day.
pub(crate) const VIEWERS: usize = 6;

/// Two advertisers on a node whose clock is moved by hand.
pub(crate) struct Town {
    pub(crate) desk: Desk,
    pub(crate) clock: Arc<MovedClock>,
    pub(crate) tacos: Shop,
    pub(crate) rivals: Shop,
}

impl Town {
    /// Opens at noon of 2026-11-23.
    pub(crate) fn open() -> Self {
        let clock = Arc::new(MovedClock::at(at("2026-11-23T12:00:00Z")));
        let desk = Desk::moved(true, &clock, |_, _| {});
        let shops =
            calls(async { (open_shop(&desk, TACOS).await, open_shop(&desk, RIVALS).await) });
        Self { desk, clock, tacos: shops.0.unwrap(), rivals: shops.1.unwrap() }
    }

    /// Lets people look, tap, write and buy, then ends the day at the next noon.
    pub(crate) fn live_a_day(&self) {
        calls(async {
            // Of a new day: its grants.
            self.settle().await;
            let day = self.clock.now().0 / DAY_MS;
            for number in 0..VIEWERS {
                let name = format!("viewer-{day}-{number}");
                self.look(&name, number % 2 == 0).await?;
                self.clock.set(self.clock.now().plus_ms(7 * SECOND_MS));
                self.write(&format!("contact-{day}-{number}")).await?;
                self.buy(&name, number).await?;
                self.clock.set(self.clock.now().plus_ms(MINUTE_MS / 2));
            }
            self.settle().await;
            Ok::<_, Status>(())
        })
        .unwrap();
        self.clock.set(self.clock.now().plus_ms(DAY_MS));
    }

    pub(crate) async fn settle(&self) {
        for _ in 0..ROUNDS {
            self.desk.node().settled().await.unwrap();
        }
    }

    async fn look(&self, name: &str, taps: bool) -> Result<(), Status> {
        let request = v1::RequestAdsRequest { ad_request: tray(name) };
        let slots = self.desk.ads(STATUS).request_ads(request).await?.into_inner().slots;
        let ad = first_ad(&slots);
        self.record(event(ad, v1::EventKind::Impression)).await?;
        if taps {
            self.clock.set(self.clock.now().plus_ms(7 * SECOND_MS));
            self.record(event(ad, v1::EventKind::Tap)).await?;
        }
        Ok(())
    }

    async fn record(&self, event: v1::AdEvent) -> Result<(), Status> {
        let request = v1::RecordEventsRequest { request_id: String::new(), events: vec![event] };
        let results = self.desk.events(STATUS).record_events(request).await?.into_inner().results;
        assert_eq!(results[0].outcome(), v1::ItemOutcome::Recorded, "{results:?}");
        assert_eq!(results[0].invalid(), v1::InvalidReason::Unspecified);
        Ok(())
    }

    async fn write(&self, contact: &str) -> Result<(), Status> {
        let opened =
            v1::Opened { entry_point: v1::EntryPoint::Organic.into(), ..Default::default() };
        let event = v1::ConversationEvent {
            business_id: self.tacos.business,
            conversation: Some(v1::ConversationKey {
                endpoint_id: self.tacos.endpoint,
                contact: contact.into(),
            }),
            event: Some(v1::conversation_event::Event::Opened(opened)),
            ..Default::default()
        };
        let request =
            v1::RecordConversationEventsRequest { request_id: String::new(), events: vec![event] };
        let mut client = self.desk.conversations(PLATFORM);
        let results = client.record_conversation_events(request).await?.into_inner().results;
        assert_eq!(results[0].outcome(), v1::ItemOutcome::Recorded, "{results:?}");
        Ok(())
    }

    /// Tells both accounts of a sale to a viewer: at most one of them has a touch of it.
    pub(crate) async fn buy(&self, name: &str, number: usize) -> Result<(), Status> {
        let sale = |account: u64| v1::Conversion {
            event_id: format!("order {account} {}", name.trim_start_matches("viewer-")),
            name: "Purchase".into(),
            value: (number != 1).then(|| v1::Money { micros: 9_000_007, currency: "MXN".into() }),
            viewer: Some(v1::ViewerRef { feed_id: 1, viewer_id: name.into() }),
            account_id: account,
            ..Default::default()
        };
        let conversions = vec![sale(self.tacos.account), sale(self.rivals.account)];
        let request = v1::RecordConversionsRequest { request_id: String::new(), conversions };
        let mut client = self.desk.conversations(PLATFORM);
        let results = client.record_conversions(request).await?.into_inner().results;
        assert!(results.iter().all(|it| it.outcome() == v1::ItemOutcome::Recorded), "{results:?}");
        Ok(())
    }

    pub(crate) async fn pull(&self, key: &str) -> Result<Vec<v1::AttributionRow>, Status> {
        let request = v1::PullAttributionsRequest::default();
        let mut pages = self.desk.attributions(key).pull_attributions(request).await?.into_inner();
        let mut rows = Vec::new();
        while let Some(page) = pages.message().await? {
            rows.extend(page.rows);
        }
        Ok(rows)
    }

    pub(crate) async fn get(&self, key: &str, ticket: &str) -> Result<Vec<RecordBatch>, Status> {
        let mut client = FlightClient::new(self.desk.way(key));
        let mut stream = client.do_get(Ticket::new(ticket.to_owned())).await?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}
