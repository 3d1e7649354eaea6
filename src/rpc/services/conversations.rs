//! ConversationService: openings, message receipts and conversions, without a message's text.

use std::sync::Arc;

use tonic::{Request, Response};

use crate::guard::Caller;
use crate::node::Node;
use crate::rpc::parse::conversations::Desk;
use crate::rpc::parse::events::batch;
use crate::rpc::services::batch::Batch;
use crate::rpc::services::{Answer, caller};
use crate::tokens::Sealer;
use crate::types::proto::v1;
use crate::types::proto::v1::conversation_service_server::ConversationService;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Resource, ResourceKind, Scope};

/// The service.
pub(super) struct Conversations {
    pub(super) node: Arc<Node>,
}

#[tonic::async_trait]
impl ConversationService for Conversations {
    async fn record_conversation_events(
        &self,
        request: Request<v1::RecordConversationEventsRequest>,
    ) -> Answer<v1::RecordConversationEventsResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        batch(&wire.request_id, wire.events.len(), "events")?;
        let sealer = self.node.opener();
        let desk = self.desk(&caller, &sealer);
        let batch = Batch::submit(&self.node, wire.events, |wire| desk.event(wire))?;
        let results = batch.results().await?;
        Ok(Response::new(v1::RecordConversationEventsResponse { results }))
    }

    async fn record_conversions(
        &self,
        request: Request<v1::RecordConversionsRequest>,
    ) -> Answer<v1::RecordConversionsResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        batch(&wire.request_id, wire.conversions.len(), "conversions")?;
        let sealer = self.node.opener();
        let desk = self.desk(&caller, &sealer);
        let business_of = |endpoint| self.business_of(caller.scope(), endpoint);
        let parse = |wire| desk.conversion(wire, business_of);
        let results = Batch::submit(&self.node, wire.conversions, parse)?.results().await?;
        Ok(Response::new(v1::RecordConversionsResponse { results }))
    }

    async fn get_conversation(
        &self,
        request: Request<v1::GetConversationRequest>,
    ) -> Answer<v1::GetConversationResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let (_, id) = self
            .desk(&caller, &self.node.opener())
            .conversation(wire.business_id, wire.conversation.as_ref())?;
        let conversation = self.node.conversation(caller.scope(), id).await?;
        let conversation = Some(self.node.front().with_prices(conversation, self.node.now()));
        Ok(Response::new(v1::GetConversationResponse { conversation }))
    }
}

impl Conversations {
    fn desk<'a>(&self, caller: &Caller, sealer: &'a Sealer) -> Desk<'a> {
        let Scope { tenant, any } = caller.scope();
        Desk { sealer, tenant: if any { 0 } else { tenant }, now: self.node.now() }
    }

    fn business_of(&self, scope: Scope, endpoint: u64) -> Result<u64, Refusal> {
        match self.node.get(scope, ResourceKind::Endpoint, endpoint) {
            Ok(Resource::Endpoint(row)) => Ok(row.business_id),
            _ => {
                let message = "no such endpoint: report with the id that its creation answered";
                Err(Refusal::new(Reason::NotFound, "conversation.endpoint_id", message))
            }
        }
    }
}
