//! ImportService: histories of other systems, each event answered once it is durable.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::node::{Node, Pending};
use crate::rpc::errors::deadline;
use crate::rpc::limits::{CALL_DEADLINE, IMPORT_IN_FLIGHT_MAX, IMPORT_RETRY_AFTER};
use crate::rpc::parse::events::batch;
use crate::rpc::parse::imports::Importer;
use crate::rpc::services::{Answer, Answers, caller};
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
}

#[tonic::async_trait]
impl ImportService for Imports {
    type ImportEventsStream = Answers<v1::ImportEventsResponse>;

    /// Messages are handed to the writer as they come and answered in their order; as many wait for the disk as
    /// the channel holds, then the caller is not read from.
    async fn import_events(
        &self,
        request: Request<Streaming<v1::ImportEventsRequest>>,
    ) -> Answer<Self::ImportEventsStream> {
        let scope = caller(&request)?.scope();
        let tenant = if scope.any { 0 } else { scope.tenant };
        let (node, inbound) = (Arc::clone(&self.node), request.into_inner());
        let (sender, receiver) = mpsc::channel(CHANNEL);
        tokio::spawn(hand_over(node, tenant, inbound, sender));
        let answers = ReceiverStream::new(receiver).then(|taken: Result<Taken, Status>| async {
            let taken = taken?;
            let sequence = taken.sequence;
            Ok(v1::ImportEventsResponse { sequence, results: taken.results().await? })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// One message that waits for its answer.
struct Taken {
    sequence: u64,
    /// The results of events that were refused at the door; the writer's fill the gaps.
    results: Vec<Option<v1::ImportResult>>,
    pending: Option<Pending<Vec<ImportVerdict>>>,
}

impl Taken {
    /// Waits until everything is durable, and returns one result an event.
    async fn results(self) -> Result<Vec<v1::ImportResult>, Status> {
        let verdicts = match self.pending {
            None => Vec::new(),
            Some(pending) => timeout(CALL_DEADLINE, pending).await.map_err(|_| deadline())??,
        };
        let mut verdicts = verdicts.iter().map(result);
        let fill = |known: Option<v1::ImportResult>| known.or_else(|| verdicts.next());
        Ok(self.results.into_iter().map_while(fill).collect())
    }
}

async fn hand_over(
    node: Arc<Node>,
    tenant: u32,
    mut inbound: Streaming<v1::ImportEventsRequest>,
    sender: mpsc::Sender<Result<Taken, Status>>,
) {
    while let Some(message) = inbound.next().await {
        let taken = match message {
            Ok(wire) => take(&node, tenant, wire).await.map_err(Status::from),
            Err(status) => Err(status),
        };
        let ended = taken.is_err();
        if sender.send(taken).await.is_err() || ended {
            return;
        }
    }
}

/// Parses a message and hands it to the writer. A full queue is no reason to lose a history: it waits.
async fn take(node: &Node, tenant: u32, wire: v1::ImportEventsRequest) -> Result<Taken, Refusal> {
    let v1::ImportEventsRequest { sequence, feed_id, dry_run, events } = wire;
    batch("", events.len(), "events")?;
    let (mut items, mut results) = (Vec::with_capacity(events.len()), Vec::new());
    {
        let sealer = node.opener();
        let importer = Importer::new(&sealer, tenant, feed_id)?;
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
    let history = Import { items, dry_run };
    loop {
        match node.import(history.clone()) {
            Err(refusal) if refusal.reason == Reason::Busy => sleep(IMPORT_RETRY_AFTER).await,
            pending => return Ok(Taken { sequence, results, pending: Some(pending?) }),
        }
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
