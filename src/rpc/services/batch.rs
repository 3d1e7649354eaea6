//! Batches of events: each item judged alone, results in the items' order.

use tokio::time::timeout;
use tonic::Status;

use crate::node::{Node, Pending};
use crate::rpc::errors::{deadline, item, refused_item};
use crate::rpc::limits::INGEST_DEADLINE;
use crate::types::proto::v1::ItemResult;
use crate::types::refusal::Refusal;
use crate::types::request::{Incoming, Verdict};

/// A batch that waits for the writer.
pub(super) struct Batch {
    /// The results of items that were refused at the door; the writer's fill the gaps.
    results: Vec<Option<ItemResult>>,
    pending: Option<Pending<Vec<Verdict>>>,
}

impl Batch {
    /// Parses each item and hands the good ones to the writer.
    pub(super) fn submit<T>(
        node: &Node,
        wire: Vec<T>,
        mut parse: impl FnMut(T) -> Result<Incoming, Refusal>,
    ) -> Result<Self, Refusal> {
        let mut items = Vec::with_capacity(wire.len());
        let mut results = Vec::with_capacity(wire.len());
        for wire in wire {
            match parse(wire) {
                Ok(incoming) => {
                    items.push(incoming);
                    results.push(None);
                }
                Err(refusal) => results.push(Some(refused_item(&refusal))),
            }
        }
        let pending = if items.is_empty() { None } else { Some(node.record(items)?) };
        Ok(Self { results, pending })
    }

    /// Returns a batch that was refused whole, as one result.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self { results: vec![Some(refused_item(refusal))], pending: None }
    }

    /// Waits until everything is durable, and returns one result an item.
    pub(super) async fn results(self) -> Result<Vec<ItemResult>, Status> {
        let verdicts = match self.pending {
            None => Vec::new(),
            Some(pending) => timeout(INGEST_DEADLINE, pending).await.map_err(|_| deadline())??,
        };
        let mut verdicts = verdicts.iter().map(item);
        let fill = |result: Option<ItemResult>| result.or_else(|| verdicts.next());
        let results: Vec<_> = self.results.into_iter().map_while(fill).collect();
        Ok(results)
    }
}
