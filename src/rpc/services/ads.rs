//! AdService: fills trays, one by one or over a stream.
//!
//! Served by hand and not through the generated trait, since answers come encoded from the node: the
//! trait's would have to be decoded, only to be encoded again.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use prost::Message;
use prost::bytes::Bytes;
use tokio_stream::StreamExt;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tower::Service;

use crate::node::{self, Node};
use crate::rpc::admission::Passage;
use crate::rpc::encoded::Encoded;
use crate::rpc::errors::refused_item;
use crate::rpc::limits::FEED_MESSAGE_BYTES_MAX;
use crate::rpc::parse::ads::ad_request;
use crate::rpc::services::{Answers, Policies, caller_of, passage};
use crate::rpc::traces::Trace;
use crate::types::proto::v1;
use crate::types::proto::v1::ad_service_server::SERVICE_NAME;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Policy;

const REQUEST_ADS: &str = "/munadi.v1.AdService/RequestAds";
const STREAM_ADS: &str = "/munadi.v1.AdService/StreamAds";

/// The service.
#[derive(Clone)]
pub(super) struct Ads {
    pub(super) node: Arc<Node>,
    pub(super) policies: Policies,
}

impl NamedService for Ads {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for Ads {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let ads = self.clone();
        match request.uri().path() {
            REQUEST_ADS => Box::pin(async move { Ok(grpc().unary(ads, request).await) }),
            STREAM_ADS => Box::pin(async move { Ok(grpc().streaming(ads, request).await) }),
            _ => Box::pin(ready(Ok(Status::unimplemented("").into_http()))),
        }
    }
}

fn grpc<Q: Message + Default + 'static>() -> Grpc<Encoded<Q>> {
    Grpc::new(Encoded::default()).max_decoding_message_size(FEED_MESSAGE_BYTES_MAX)
}

impl UnaryService<v1::RequestAdsRequest> for Ads {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<v1::RequestAdsRequest>) -> Self::Future {
        let feed = self.feed(&request);
        let _decides = Trace::of(request.extensions()).part("decide");
        let answer = |feed: Feed| {
            let answer = feed.answer(&self.node, request.into_inner().ad_request)?;
            Ok(Response::new(answer.into_bytes()))
        };
        ready(feed.and_then(answer))
    }
}

impl StreamingService<v1::StreamAdsRequest> for Ads {
    type Response = Bytes;
    type ResponseStream = Answers<Bytes>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    /// A tray is filled when the caller has room for its answer: none waits, and the order is kept.
    fn call(&mut self, request: Request<Streaming<v1::StreamAdsRequest>>) -> Self::Future {
        let (node, passage) = (Arc::clone(&self.node), passage(&request));
        let feed = self.feed(&request).and_then(|feed| Ok((feed, passage?)));
        let answers = |(feed, passage): (Feed, Passage)| -> Self::ResponseStream {
            let answer = move |wire: v1::StreamAdsRequest| {
                passage.judge()?;
                Ok(feed.streamed(&node, wire, passage.message()))
            };
            Box::pin(request.into_inner().map(move |item| item.and_then(&answer)))
        };
        ready(feed.map(answers).map(Response::new))
    }
}

impl Ads {
    fn feed<T>(&self, request: &Request<T>) -> Result<Feed, Status> {
        let id = caller_of(request)?.tenant;
        let message = "this feed is not in the server's configuration: add it under [[feeds]]";
        let missing = || Refusal::new(Reason::Unavailable, "", message);
        let policy = *self.policies.get(&id).ok_or_else(missing)?;
        Ok(Feed { id, policy })
    }
}

/// The feed that calls, and what it allows.
#[derive(Clone, Copy)]
struct Feed {
    id: u32,
    policy: Policy,
}

impl Feed {
    fn answer(&self, node: &Node, wire: Option<v1::AdRequest>) -> Result<node::Answer, Refusal> {
        let request = ad_request(wire, self.id, &node.opener_now(), node.now())?;
        Ok(node.request_ads(self.id, &self.policy, &request))
    }

    /// Returns the encoded answer to one request of a stream, if it was taken.
    fn streamed(
        &self,
        node: &Node,
        wire: v1::StreamAdsRequest,
        taken: Result<(), Refusal>,
    ) -> Bytes {
        let sequence = wire.sequence;
        match taken.and_then(|()| self.answer(node, wire.ad_request)) {
            Ok(answer) => answer.into_streamed(sequence),
            Err(refusal) => {
                let error = Some(refused_item(&refusal));
                let refused = v1::StreamAdsResponse { sequence, error, ..Default::default() };
                refused.encode_to_vec().into()
            }
        }
    }
}
