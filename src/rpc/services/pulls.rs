//! PullAttributions: streams credited and declined outcomes in their fixed order.
//!
//! Served by hand, before the service's other methods: rows come encoded from the node, and those of the generated
//! trait would have to be built, only to be encoded then.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use prost::Message;
use prost::bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use tower::Service;

use crate::node::Node;
use crate::report::pull::{COMPLETE_FIELD, CURSOR_FIELD, EncodedPage, closed_before};
use crate::rpc::admission::Passage;
use crate::rpc::encoded::Encoded;
use crate::rpc::limits::MESSAGE_BYTES_MAX;
use crate::rpc::parse::attributions::as_of;
use crate::rpc::parse::places::{open_cursor, seal_cursor};
use crate::rpc::services::attributions::Attributions;
use crate::rpc::services::pages::{Pages, paged};
use crate::rpc::services::{Answers, caller, passage};
use crate::state::credit::timestamp;
use crate::types::encoded::{put_bytes, put_nested};
use crate::types::ids::SeqVector;
use crate::types::proto::v1;
use crate::types::proto::v1::attribution_service_server::{AttributionServiceServer, SERVICE_NAME};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Scope;
use crate::types::time::Moment;

const PULL_ATTRIBUTIONS: &str = "/munadi.v1.AttributionService/PullAttributions";

/// Whoever follows is sent a minute at most this long after it was closed.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// The service with its pulls.
#[derive(Clone)]
pub(super) struct WithPulls {
    pub(super) node: Arc<Node>,
    /// Places for those who follow.
    pub(super) followers: Arc<Semaphore>,
    pub(super) others: AttributionServiceServer<Attributions>,
}

impl NamedService for WithPulls {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for WithPulls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != PULL_ATTRIBUTIONS {
            return self.others.call(request);
        }
        let (node, followers) = (Arc::clone(&self.node), Arc::clone(&self.followers));
        let pulls = Pulls { node, followers };
        let grpc = Grpc::new(Encoded::<v1::PullAttributionsRequest>::default());
        let mut grpc = grpc.max_decoding_message_size(MESSAGE_BYTES_MAX);
        Box::pin(async move { Ok(grpc.server_streaming(pulls, request).await) })
    }
}

struct Pulls {
    node: Arc<Node>,
    followers: Arc<Semaphore>,
}

impl ServerStreamingService<v1::PullAttributionsRequest> for Pulls {
    type Response = Bytes;
    type ResponseStream = Answers<Bytes>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<v1::PullAttributionsRequest>) -> Self::Future {
        ready(self.stream(&request))
    }
}

impl Pulls {
    fn stream(
        &self,
        request: &Request<v1::PullAttributionsRequest>,
    ) -> Result<Response<Answers<Bytes>>, Status> {
        let node = Arc::clone(&self.node);
        let (scope, passage) = (caller(request)?.scope(), passage(request)?);
        let wire = request.get_ref();
        let from = open_cursor(&wire.cursor, node.journal(), &node.opener())?;
        let as_of = as_of(wire, node.now())?;
        let follows = if wire.follow { Some(self.place()?) } else { None };
        let asked = Asked { scope, as_of, follows, passage };
        Ok(paged(|pages| pull(node, asked, from.unwrap_or_default(), pages)))
    }

    /// Takes a place among those who follow.
    fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.followers).try_acquire_owned();
        let message = "this node serves as many followers as it can; follow again later, or pull \
                       without `follow`";
        place.map_err(|_| Refusal::new(Reason::Busy, "", message))
    }
}

/// Whose rows are pulled, and how far.
struct Asked {
    scope: Scope,
    as_of: Option<Moment>,
    /// The place of a caller who follows, until it leaves.
    follows: Option<OwnedSemaphorePermit>,
    passage: Passage,
}

/// Sends pages until the last closed minute; the last one says what is complete, even without rows. Whoever
/// follows is then sent each further minute, until it leaves or the node stops.
async fn pull(
    node: Arc<Node>,
    asked: Asked,
    mut from: SeqVector,
    pages: Pages<Bytes>,
) -> Result<(), Status> {
    let mut complete = None;
    loop {
        // All that is before this is durable, so its pages wait for the writer once.
        let closed = closed_before(node.settled().await?);
        let end = asked.as_of.map_or(closed, |as_of| as_of.min(closed));
        // While a minute is open there is nothing to say.
        let mut is_news = complete.replace(end) != Some(end);
        let mut more = true;
        while more {
            asked.passage.judge()?;
            let page = node.front().pull_encoded(asked.scope, &from, end);
            (from, more) = (page.cursor.clone(), page.more);
            if (is_news || !page.rows.is_empty()) && !pages.send(answer(&node, page, end)).await {
                return Ok(());
            }
            is_news = false;
        }
        if asked.follows.is_none() {
            return Ok(());
        }
        tokio::select! {
            () = pages.closed() => return Ok(()),
            () = tokio::time::sleep(FOLLOW_EVERY) => {}
        }
    }
}

/// Returns the encoded `PullAttributionsResponse` of a page.
fn answer(node: &Node, page: EncodedPage, complete_up_to: Moment) -> Bytes {
    let mut out = page.rows;
    let cursor = seal_cursor(&page.cursor, node.journal(), &node.opener());
    put_bytes(&mut out, CURSOR_FIELD, &cursor);
    put_nested(&mut out, COMPLETE_FIELD, |out| timestamp(complete_up_to.0).encode_raw(out));
    out.into()
}
