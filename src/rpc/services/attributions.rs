//! AttributionService: streams credited and declined outcomes in their fixed order.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::node::Node;
use crate::rpc::parse::models::compared;
use crate::rpc::parse::places::{open_cursor, seal_cursor};
use crate::rpc::services::{Answer, Answers, aside, caller};
use crate::state::credit::timestamp;
use crate::types::ids::SeqVector;
use crate::types::proto::v1;
use crate::types::proto::v1::attribution_service_server::AttributionService;
use crate::types::request::Scope;

/// Pages of one pull that wait for a slow caller.
const PAGES_AHEAD: usize = 2;

/// The service.
pub(super) struct Attributions {
    pub(super) node: Arc<Node>,
    /// Places for comparisons at work.
    pub(super) places: Arc<Semaphore>,
}

#[tonic::async_trait]
impl AttributionService for Attributions {
    type PullAttributionsStream = Answers<v1::PullAttributionsResponse>;

    async fn pull_attributions(
        &self,
        request: Request<v1::PullAttributionsRequest>,
    ) -> Answer<Self::PullAttributionsStream> {
        let scope = caller(&request)?.scope();
        let cursor = request.into_inner().cursor;
        let from = open_cursor(&cursor, self.node.journal(), &self.node.opener())?;
        let (sender, receiver) = mpsc::channel(PAGES_AHEAD);
        tokio::spawn(pull(Arc::clone(&self.node), scope, from.unwrap_or_default(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn compare_models(
        &self,
        request: Request<v1::CompareModelsRequest>,
    ) -> Answer<v1::CompareModelsResponse> {
        let scope = caller(&request)?.scope();
        let now = self.node.settled().await?;
        let (asked, any_period) = compared(&request.into_inner(), now)?;
        if any_period {
            let (account, outcome, level) = (asked.account, asked.outcome, asked.level);
            let front = self.node.front();
            if let Some(run) = front.models_of_last_night(scope, account, outcome, level)? {
                return Ok(Response::new(run));
            }
        }
        let work = move |node: &Node| node.front().compare_models(scope, &asked, now);
        Ok(Response::new(aside(&self.node, &self.places, work).await??))
    }
}

/// Sends pages until the last closed minute; the last one says what is complete, even without rows.
async fn pull(
    node: Arc<Node>,
    scope: Scope,
    mut from: SeqVector,
    sender: mpsc::Sender<Result<v1::PullAttributionsResponse, Status>>,
) {
    loop {
        let page = node.pull(scope, from).await;
        let (pulled, complete_up_to) = match page {
            Ok(page) => page,
            Err(refusal) => {
                // A caller that has gone needs no answer.
                let _ = sender.send(Err(refusal.into())).await;
                return;
            }
        };
        let answer = v1::PullAttributionsResponse {
            rows: pulled.rows,
            cursor: seal_cursor(&pulled.cursor, node.journal(), &node.opener()),
            complete_up_to: Some(timestamp(complete_up_to.0)),
        };
        if sender.send(Ok(answer)).await.is_err() || !pulled.more {
            return;
        }
        from = pulled.cursor;
    }
}
