//! ReportService: questions over the hourly tallies.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::{Request, Response};

use crate::node::Node;
use crate::rpc::parse::reports::query;
use crate::rpc::services::{Answer, aside, caller};
use crate::types::proto::v1;
use crate::types::proto::v1::report_service_server::ReportService;

/// The service.
pub(super) struct Reports {
    pub(super) node: Arc<Node>,
    /// Places for questions at work.
    pub(super) places: Arc<Semaphore>,
}

#[tonic::async_trait]
impl ReportService for Reports {
    async fn query_report(
        &self,
        request: Request<v1::QueryReportRequest>,
    ) -> Answer<v1::QueryReportResponse> {
        let scope = caller(&request)?.scope();
        let sealer = self.node.opener();
        let (list, query) = query(request.into_inner(), scope, self.node.now(), &sealer)?;
        // From durable facts only. The tallies of many ads take a while, in which a listener serves trays.
        let now = self.node.settled().await?;
        let work = move |node: &Node| node.front().report(scope, &query, now);
        let (mut answer, next) = aside(&self.node, &self.places, work).await??;
        answer.next_page_token = next.map_or(String::new(), |skip| list.seal(skip, &sealer));
        Ok(Response::new(answer))
    }
}
