//! ExplainService: why ads don't run, and whom a targeting would reach. Off the threads that serve.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::node::Node;
use crate::rpc::parse::explain::{Inquiry, explained_ad, explained_request, question};
use crate::rpc::services::{Answer, Policies, aside, caller};
use crate::types::proto::v1;
use crate::types::proto::v1::explain_service_server::ExplainService;

/// The service.
pub(super) struct Explain {
    pub(super) node: Arc<Node>,
    pub(super) policies: Policies,
    /// Places for questions at work.
    pub(super) places: Arc<Semaphore>,
}

impl Explain {
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> T + Send + 'static,
    ) -> Result<T, Status> {
        aside(&self.node, &self.places, work).await
    }
}

#[tonic::async_trait]
impl ExplainService for Explain {
    async fn explain_delivery(
        &self,
        request: Request<v1::ExplainDeliveryRequest>,
    ) -> Answer<v1::ExplainDeliveryResponse> {
        let scope = caller(&request)?.scope();
        let ad = explained_ad(request.get_ref())?;
        let answer =
            self.aside(move |node| node.front().explain_delivery(scope, ad, node.now())).await?;
        Ok(Response::new(answer?))
    }

    async fn explain_request(
        &self,
        request: Request<v1::ExplainRequestRequest>,
    ) -> Answer<v1::ExplainRequestResponse> {
        let scope = caller(&request)?.scope();
        let (sealer, now) = (self.node.opener(), self.node.now());
        let inquiry = explained_request(request.into_inner(), &self.policies, &sealer, now)?;
        let ask = move |node: &Node| {
            let Inquiry { request, policy, page_size } = inquiry;
            node.front().explain_request(scope, &policy, &request, page_size, now)
        };
        Ok(Response::new(self.aside(ask).await?))
    }

    async fn estimate_delivery(
        &self,
        request: Request<v1::EstimateDeliveryRequest>,
    ) -> Answer<v1::EstimateDeliveryResponse> {
        let scope = caller(&request)?.scope();
        let now = self.node.now();
        let question = question(request.into_inner(), now)?;
        let ask = move |node: &Node| node.front().estimate_delivery(scope, &question, now);
        let answer = self.aside(ask).await?;
        Ok(Response::new(answer?))
    }
}
