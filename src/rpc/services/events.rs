//! EventService: counts what was seen and done, acknowledged once it is durable.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::node::Node;
use crate::rpc::admission::Passage;
use crate::rpc::limits::STREAM_IN_FLIGHT_MAX;
use crate::rpc::parse::events::{Door, ad_event, batch};
use crate::rpc::services::batch::Batch;
use crate::rpc::services::{Answer, Answers, caller, passage};
use crate::rpc::traces::Trace;
use crate::types::proto::v1;
use crate::types::proto::v1::event_service_server::EventService;
use crate::types::refusal::Refusal;

/// The service.
pub(super) struct Events {
    pub(super) node: Arc<Node>,
}

#[tonic::async_trait]
impl EventService for Events {
    async fn record_events(
        &self,
        request: Request<v1::RecordEventsRequest>,
    ) -> Answer<v1::RecordEventsResponse> {
        let feed = caller(&request)?.tenant;
        let trace = Trace::of(request.extensions());
        let wire = request.into_inner();
        let batch = take(&self.node, feed, &wire.request_id, wire.events)?;
        let _waits = trace.part("journal");
        let results = batch.results().await?;
        Ok(Response::new(v1::RecordEventsResponse { results }))
    }

    type StreamEventsStream = Answers<v1::StreamEventsResponse>;

    /// Messages are handed to the writer as they come and acknowledged in their order; as many wait for
    /// the disk as the channel holds, then the caller is not read from.
    async fn stream_events(
        &self,
        request: Request<Streaming<v1::StreamEventsRequest>>,
    ) -> Answer<Self::StreamEventsStream> {
        let feed = caller(&request)?.tenant;
        let passage = passage(&request)?;
        let (node, inbound) = (Arc::clone(&self.node), request.into_inner());
        let (sender, receiver) = mpsc::channel(STREAM_IN_FLIGHT_MAX);
        tokio::spawn(hand_over(node, feed, passage, inbound, sender));
        let answers = ReceiverStream::new(receiver).then(|taken: Result<Taken, Status>| async {
            let Taken { sequence, batch } = taken?;
            Ok(v1::StreamEventsResponse { sequence, results: batch.results().await? })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// One message of a stream that waits for its acknowledgement.
struct Taken {
    sequence: u64,
    batch: Batch,
}

async fn hand_over(
    node: Arc<Node>,
    feed: u32,
    passage: Passage,
    mut inbound: Streaming<v1::StreamEventsRequest>,
    sender: mpsc::Sender<Result<Taken, Status>>,
) {
    while let Some(message) = inbound.next().await {
        let taken = message.and_then(|wire| {
            passage.judge()?;
            // What refuses a message as a whole, a full queue or an overload too, is its one result.
            let batch = passage.message().and_then(|()| take(&node, feed, "", wire.events));
            let batch = batch.unwrap_or_else(|refusal| Batch::refused(&refusal));
            Ok(Taken { sequence: wire.sequence, batch })
        });
        let ended = taken.is_err();
        if sender.send(taken).await.is_err() || ended {
            return;
        }
    }
}

fn take(
    node: &Node,
    feed: u32,
    request_id: &str,
    events: Vec<v1::AdEvent>,
) -> Result<Batch, Refusal> {
    batch(request_id, events.len(), "events")?;
    let (sealer, filter, now) = (node.opener(), node.front().traffic_filter(), node.now());
    let door = Door { feed, sealer: &sealer, filter: &filter, now };
    Batch::submit(node, events, |wire| ad_event(wire, &door))
}
