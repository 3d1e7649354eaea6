//! ImportService: histories of other systems, each event answered once it is durable.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::node::Node;
use crate::rpc::admission::Passage;
use crate::rpc::errors::deadline;
use crate::rpc::limits::{CALL_DEADLINE, IMPORT_IN_FLIGHT_MAX, IMPORT_RETRY_AFTER, LAG_TARGET};
use crate::rpc::parse::events::batch;
use crate::rpc::parse::imports::Importer;
use crate::rpc::services::{Answer, Answers, caller, passage, place_of};
use crate::types::proto::v1;
use crate::types::proto::v1::ImportOutcome;
use crate::types::proto::v1::import_service_server::ImportService;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Import, ImportVerdict};

/// Messages in the channel: of those that wait, one is being answered and one is being handed over.
const CHANNEL: usize = IMPORT_IN_FLIGHT_MAX - 2;

/// The service.
pub(super) struct Imports {
    pub(super) node: Arc<Node>,
    /// Places for messages at the writer, of all imports.
    pub(super) places: Arc<Semaphore>,
}

#[tonic::async_trait]
impl ImportService for Imports {
    type ImportEventsStream = Answers<v1::ImportEventsResponse>;

    /// Messages are handed to the writer as they come and there is a place, and answered in their order; as many wait
    /// as the channel holds, then the caller is not read from.
    async fn import_events(
        &self,
        request: Request<Streaming<v1::ImportEventsRequest>>,
    ) -> Answer<Self::ImportEventsStream> {
        let (scope, passage) = (caller(&request)?.scope(), passage(&request)?);
        let tenant = if scope.any { 0 } else { scope.tenant };
        let (node, places) = (Arc::clone(&self.node), Arc::clone(&self.places));
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let desk = Desk { node, places, passage, tenant };
        tokio::spawn(hand_over(desk, request.into_inner(), sender));
        let answers = ReceiverStream::new(receiver).then(|taken: Result<Taken, Status>| async {
            let taken = taken?;
            let sequence = taken.sequence;
            Ok(v1::ImportEventsResponse { sequence, results: taken.results().await? })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// What the writer made of a message, if it answered in time.
type Judged = Result<Result<Vec<ImportVerdict>, Refusal>, Elapsed>;

/// One message that waits for its answer.
struct Taken {
    sequence: u64,
    /// The results of events that were refused at the door; the writer's fill the gaps.
    results: Vec<Option<v1::ImportResult>>,
    pending: Option<JoinHandle<Judged>>,
}

impl Taken {
    /// Waits until everything is durable, and returns one result an event.
    async fn results(self) -> Result<Vec<v1::ImportResult>, Status> {
        let verdicts = match self.pending {
            None => Vec::new(),
            Some(pending) => {
                let judged = pending.await.map_err(|_| Status::unavailable("the server stops"))?;
                judged.map_err(|_| deadline())??
            }
        };
        let mut verdicts = verdicts.iter().map(result);
        let fill = |known: Option<v1::ImportResult>| known.or_else(|| verdicts.next());
        Ok(self.results.into_iter().map_while(fill).collect())
    }
}

async fn hand_over(
    desk: Desk,
    mut inbound: Streaming<v1::ImportEventsRequest>,
    sender: mpsc::Sender<Result<Taken, Status>>,
) {
    while let Some(message) = inbound.next().await {
        let taken = match message {
            Ok(wire) => tokio::select! {
                taken = desk.take(wire) => taken,
                // It may be long until its turn, and nobody waits for it any more.
                () = sender.closed() => return,
            },
            Err(status) => Err(status),
        };
        let ended = taken.is_err();
        if sender.send(taken).await.is_err() || ended {
            return;
        }
    }
}

/// What takes the messages of one import.
struct Desk {
    node: Arc<Node>,
    places: Arc<Semaphore>,
    passage: Passage,
    tenant: u32,
}

impl Desk {
    /// Parses a message and hands it to the writer in its turn. A full queue is no reason to lose a history: it waits.
    async fn take(&self, wire: v1::ImportEventsRequest) -> Result<Taken, Status> {
        let v1::ImportEventsRequest { sequence, feed_id, dry_run, events } = wire;
        batch("", events.len(), "events")?;
        let place = self.turn().await?;
        self.passage.judge()?;
        let (mut items, mut results) = (Vec::with_capacity(events.len()), Vec::new());
        {
            let sealer = self.node.opener();
            let importer = Importer::new(&sealer, self.tenant, feed_id)?;
            for event in events {
                match importer.event(event) {
                    Ok(item) => {
                        items.push(item);
                        results.push(None);
                    }
                    Err(refusal) => results.push(Some(refused(&refusal))),
                }
            }
        }
        if items.is_empty() {
            return Ok(Taken { sequence, results, pending: None });
        }
        let history = Arc::new(Import { items, dry_run });
        let pending = loop {
            match self.node.import(Arc::clone(&history)) {
                Err(refusal) if refusal.reason == Reason::Busy => sleep(IMPORT_RETRY_AFTER).await,
                pending => break pending?,
            }
        };
        // The place is free once all is durable, whenever the caller reads its answer.
        let pending = tokio::spawn(async move {
            let _place = place;
            timeout(CALL_DEADLINE, pending).await
        });
        Ok(Taken { sequence, results, pending: Some(pending) })
    }

    /// Waits until a message may be handed over: few are at the writer at a time, whoever sends them, and none comes
    /// while what is there waits long for the disk.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Status> {
        let place = place_of(&self.places).await?;
        let gauge = self.node.gauge();
        // A journal that has stopped refuses what it is handed.
        while gauge.read().lag > LAG_TARGET && !self.node.front().is_stopped() {
            sleep(IMPORT_RETRY_AFTER).await;
        }
        Ok(place)
    }
}

fn result(verdict: &ImportVerdict) -> v1::ImportResult {
    let of = |outcome: ImportOutcome| v1::ImportResult {
        outcome: outcome.into(),
        ..v1::ImportResult::default()
    };
    match verdict {
        ImportVerdict::Counted => of(ImportOutcome::Imported),
        ImportVerdict::Matched => of(ImportOutcome::Matched),
        ImportVerdict::Declined(reason) => {
            v1::ImportResult { decline_reason: (*reason).into(), ..of(ImportOutcome::Declined) }
        }
        ImportVerdict::Already => of(ImportOutcome::Duplicate),
        ImportVerdict::Refused(refusal) => refused(refusal),
    }
}

fn refused(refusal: &Refusal) -> v1::ImportResult {
    v1::ImportResult {
        outcome: ImportOutcome::Refused.into(),
        reason: refusal.reason.name().to_owned(),
        field: refusal.field.to_string(),
        message: refusal.message.to_string(),
        ..v1::ImportResult::default()
    }
}
