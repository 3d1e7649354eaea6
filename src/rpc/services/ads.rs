//! AdService: fills trays, one by one or over a stream.

use std::sync::Arc;

use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use crate::node::{self, Node};
use crate::rpc::errors::refused_item;
use crate::rpc::parse::ads::ad_request;
use crate::rpc::services::{Answer, Answers, Policies, caller};
use crate::types::proto::v1;
use crate::types::proto::v1::ad_service_server::AdService;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Policy;

/// The service.
pub(super) struct Ads {
    pub(super) node: Arc<Node>,
    pub(super) policies: Policies,
}

#[tonic::async_trait]
impl AdService for Ads {
    async fn request_ads(
        &self,
        request: Request<v1::RequestAdsRequest>,
    ) -> Answer<v1::RequestAdsResponse> {
        let feed = self.feed(&request)?;
        let node::Answer { slots, frequency_token } =
            feed.answer(request.into_inner().ad_request)?;
        Ok(Response::new(v1::RequestAdsResponse { slots, frequency_token }))
    }

    type StreamAdsStream = Answers<v1::StreamAdsResponse>;

    /// A tray is filled when the caller has room for its answer: none waits, and the order is kept.
    async fn stream_ads(
        &self,
        request: Request<Streaming<v1::StreamAdsRequest>>,
    ) -> Answer<Self::StreamAdsStream> {
        let feed = self.feed(&request)?;
        let answer = move |wire: v1::StreamAdsRequest| {
            let sequence = wire.sequence;
            match feed.answer(wire.ad_request) {
                Ok(node::Answer { slots, frequency_token }) => {
                    v1::StreamAdsResponse { sequence, slots, frequency_token, error: None }
                }
                Err(refusal) => v1::StreamAdsResponse {
                    sequence,
                    error: Some(refused_item(&refusal)),
                    ..Default::default()
                },
            }
        };
        let answers = request.into_inner().map(move |item| item.map(&answer));
        Ok(Response::new(Box::pin(answers)))
    }
}

impl Ads {
    fn feed<T>(&self, request: &Request<T>) -> Result<Feed, Status> {
        let id = caller(request)?.tenant;
        let message = "this feed is not in the server's configuration: add it under [[feeds]]";
        let missing = || Refusal::new(Reason::Unavailable, "", message);
        let policy = *self.policies.get(&id).ok_or_else(missing)?;
        Ok(Feed { node: Arc::clone(&self.node), id, policy })
    }
}

/// The feed that calls, and what it allows.
struct Feed {
    node: Arc<Node>,
    id: u32,
    policy: Policy,
}

impl Feed {
    fn answer(&self, wire: Option<v1::AdRequest>) -> Result<node::Answer, Refusal> {
        let request = ad_request(wire, self.id, &self.node.opener(), self.node.now())?;
        Ok(self.node.request_ads(self.id, &self.policy, &request))
    }
}
