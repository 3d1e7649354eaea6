//! AttributionService: streams credited and declined outcomes in their fixed order, and tells what experiments
//! have shown.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::node::Node;
use crate::rpc::parse::attributions::as_of;
use crate::rpc::parse::models::compared;
use crate::rpc::parse::places::{open_cursor, seal_cursor};
use crate::rpc::services::{Answer, Answers, aside, caller};
use crate::state::credit::timestamp;
use crate::types::ids::SeqVector;
use crate::types::proto::v1;
use crate::types::proto::v1::attribution_service_server::AttributionService;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Scope;
use crate::types::time::Moment;

/// Pages of one pull that wait for a slow caller.
const PAGES_AHEAD: usize = 2;

/// Whoever follows is sent a minute at most this long after it was closed.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

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
        let wire = request.into_inner();
        let from = open_cursor(&wire.cursor, self.node.journal(), &self.node.opener())?;
        let as_of = as_of(&wire, self.node.now())?;
        let asked = Asked { scope, as_of, follow: wire.follow };
        let (sender, receiver) = mpsc::channel(PAGES_AHEAD);
        tokio::spawn(pull(Arc::clone(&self.node), asked, from.unwrap_or_default(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_lift(&self, request: Request<v1::GetLiftRequest>) -> Answer<v1::GetLiftResponse> {
        let scope = caller(&request)?.scope();
        let id = request.into_inner().experiment_id;
        if id == 0 {
            let message = "is empty: send it";
            return Err(Refusal::new(Reason::FieldMissing, "experiment_id", message).into());
        }
        Ok(Response::new(self.node.lift(scope, id).await?))
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

/// Whose rows are pulled, and how far.
struct Asked {
    scope: Scope,
    as_of: Option<Moment>,
    follow: bool,
}

/// Sends pages until the last closed minute; the last one says what is complete, even without rows. Whoever
/// follows is then sent each further minute, until it leaves or the node stops.
async fn pull(
    node: Arc<Node>,
    asked: Asked,
    mut from: SeqVector,
    sender: mpsc::Sender<Result<v1::PullAttributionsResponse, Status>>,
) {
    let mut complete = None;
    loop {
        let page = node.pull(asked.scope, from, asked.as_of).await;
        let (pulled, complete_up_to) = match page {
            Ok(page) => page,
            Err(refusal) => {
                // A caller that has gone needs no answer.
                let _ = sender.send(Err(refusal.into())).await;
                return;
            }
        };
        // While a minute is open there is nothing to say.
        let is_news = complete.replace(complete_up_to) != Some(complete_up_to);
        if is_news || !pulled.rows.is_empty() {
            let answer = v1::PullAttributionsResponse {
                rows: pulled.rows,
                cursor: seal_cursor(&pulled.cursor, node.journal(), &node.opener()),
                complete_up_to: Some(timestamp(complete_up_to.0)),
            };
            if sender.send(Ok(answer)).await.is_err() {
                return;
            }
        }
        from = pulled.cursor;
        if pulled.more {
            continue;
        }
        if !asked.follow {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(FOLLOW_EVERY) => {}
        }
    }
}
