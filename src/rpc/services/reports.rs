//! ReportService: questions over the hourly tallies.

use std::sync::Arc;

use tonic::{Request, Response};

use crate::node::Node;
use crate::rpc::parse::reports::query;
use crate::rpc::services::{Answer, caller};
use crate::types::proto::v1;
use crate::types::proto::v1::report_service_server::ReportService;

/// The service.
pub(super) struct Reports {
    pub(super) node: Arc<Node>,
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
        let (mut answer, next) = self.node.report(scope, query).await?;
        answer.next_page_token = next.map_or(String::new(), |skip| list.seal(skip, &sealer));
        Ok(Response::new(answer))
    }
}
