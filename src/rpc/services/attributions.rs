//! AttributionService but for pulls: compares models and lists, and tells what experiments have shown.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use crate::node::Node;
use crate::report::reconcile;
use crate::report::reconcile::Reconciled;
use crate::rpc::limits::{RECONCILE_BYTES_MAX, RECONCILE_PAGE_MAX};
use crate::rpc::parse::conversations::Desk;
use crate::rpc::parse::models::compared;
use crate::rpc::parse::reconcile::{Reader, further, reconciled};
use crate::rpc::services::{Answer, Answers, aside, at_place, business_of, caller, place_of};
use crate::state::credit::timestamp;
use crate::types::proto::v1;
use crate::types::proto::v1::attribution_service_server::AttributionService;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Scope;
use crate::types::time::Moment;

/// The service.
pub(super) struct Attributions {
    pub(super) node: Arc<Node>,
    /// Places for comparisons at work.
    pub(super) places: Arc<Semaphore>,
    /// Places for lists on their way and at work.
    pub(super) lists: Arc<Semaphore>,
}

#[tonic::async_trait]
impl AttributionService for Attributions {
    type PullAttributionsStream = Answers<v1::PullAttributionsResponse>;

    async fn pull_attributions(
        &self,
        _: Request<v1::PullAttributionsRequest>,
    ) -> Answer<Self::PullAttributionsStream> {
        // They are answered before this one is asked: `WithPulls`.
        Err(Status::unimplemented(""))
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

    type ReconcileStream = Answers<v1::ReconcileResponse>;

    async fn reconcile(
        &self,
        request: Request<Streaming<v1::ReconcileRequest>>,
    ) -> Answer<Self::ReconcileStream> {
        let scope = caller(&request)?.scope();
        // A list is held in memory as it comes, so it takes its place first.
        let place = place_of(&self.lists).await?;
        let (asked, list) = received(&self.node, scope, request.into_inner()).await?;
        let now = self.node.settled().await?;
        let work = move |node: &Node| compared_list(node, scope, &asked, &list);
        let reconciled = at_place(&self.node, place, work).await??;
        Ok(Response::new(Box::pin(tokio_stream::iter(reconcile_pages(reconciled, now)))))
    }
}

/// Takes a list in, until its sender ends it or is cut off by the deadline of all calls.
async fn received(
    node: &Node,
    scope: Scope,
    mut pieces: Streaming<v1::ReconcileRequest>,
) -> Result<(reconcile::Asked, Vec<u8>), Status> {
    let first = pieces.message().await?.unwrap_or_default();
    let asked = reconciled(&first, node.now())?;
    node.front().check_account(scope, asked.account)?;
    let mut list = first.ndjson;
    while let Some(piece) = pieces.message().await? {
        further(&piece)?;
        if list.len() + piece.ndjson.len() > RECONCILE_BYTES_MAX {
            let message = format!(
                "has more than {RECONCILE_BYTES_MAX} bytes in all: send the list of a shorter period"
            );
            return Err(Refusal::new(Reason::TooLarge, "ndjson", message).into());
        }
        list.extend_from_slice(&piece.ndjson);
    }
    Ok((asked, list))
}

/// Reads a list and compares it.
fn compared_list(
    node: &Node,
    scope: Scope,
    asked: &reconcile::Asked,
    list: &[u8],
) -> Result<Reconciled, Refusal> {
    let sealer = node.opener();
    let tenant = if scope.any { 0 } else { scope.tenant };
    let desk = Desk { sealer: &sealer, tenant, now: node.now() };
    let business_of = |endpoint| business_of(node, scope, endpoint);
    let lines = Reader::new(&desk, asked.outcome, business_of).lines(list)?;
    node.front().reconcile(scope, asked, lines)
}

/// Returns what came of a comparison in answers: the first one has the counts.
fn reconcile_pages(
    reconciled: Reconciled,
    now: Moment,
) -> impl Iterator<Item = Result<v1::ReconcileResponse, Status>> {
    let Reconciled { counts, rows, rows_left_out } = reconciled;
    let compute_time = Some(timestamp(now.0));
    let mut rows = rows.into_iter();
    let mut page = move || rows.by_ref().take(RECONCILE_PAGE_MAX).collect::<Vec<_>>();
    let first = v1::ReconcileResponse { counts, rows_left_out, compute_time, rows: page() };
    let further = std::iter::from_fn(move || {
        let rows = page();
        (!rows.is_empty()).then(|| v1::ReconcileResponse { rows, ..Default::default() })
    });
    std::iter::once(first).chain(further).map(Ok)
}
