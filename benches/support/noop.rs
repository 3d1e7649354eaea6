//! The no-op: the real server's own answers, recorded once, given again without a thought.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;

use munadi::rpc::{Running, serve_routes};
use munadi::types::proto::v1;
use munadi::types::proto::v1::ad_service_client::AdServiceClient;
use munadi::types::proto::v1::ad_service_server::{AdService, AdServiceServer};
use prost::Message;
use tokio_stream::{Stream, StreamExt};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::Failure;
use crate::support::child::Target;
use crate::support::door;
use crate::support::requests::{self, KINDS};

thread_local! {
    /// Which answer this core gives next.
    static NEXT: Cell<usize> = const { Cell::new(0) };
}

/// A running no-op.
pub(crate) struct NoopServer {
    pub(crate) target: Target,
    _server: Running,
}

/// Records one answer of the real server to each kind of request, then serves them in turn.
pub(crate) fn start(real: &Target) -> Result<NoopServer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answers = runtime.block_on(record(real))?;
    let service = AdServiceServer::new(Noop { answers: answers.into() });
    let server = serve_routes(Routes::new(service), door::config()?)?;
    let target = Target { address: server.addr(), key: real.key.clone() };
    Ok(NoopServer { target, _server: server })
}

async fn record(real: &Target) -> Result<Vec<v1::RequestAdsResponse>, Failure> {
    let mut client = AdServiceClient::connect(format!("http://{}", real.address)).await?;
    let mut answers = Vec::new();
    for turn in 0..KINDS {
        let (viewer, template) = requests::at_turn(turn);
        let mut bytes = Vec::new();
        template.put(viewer, &mut bytes);
        let ad_request = v1::AdRequest::decode(bytes.as_slice())?;
        let mut request = Request::new(v1::RequestAdsRequest { ad_request: Some(ad_request) });
        request.metadata_mut().insert("authorization", format!("Bearer {}", real.key).parse()?);
        answers.push(client.request_ads(request).await?.into_inner());
    }
    Ok(answers)
}

struct Noop {
    answers: Arc<[v1::RequestAdsResponse]>,
}

#[tonic::async_trait]
impl AdService for Noop {
    type StreamAdsStream =
        Pin<Box<dyn Stream<Item = Result<v1::StreamAdsResponse, Status>> + Send>>;

    async fn request_ads(
        &self,
        _request: Request<v1::RequestAdsRequest>,
    ) -> Result<Response<v1::RequestAdsResponse>, Status> {
        Ok(Response::new(next(&self.answers).clone()))
    }

    async fn stream_ads(
        &self,
        request: Request<Streaming<v1::StreamAdsRequest>>,
    ) -> Result<Response<Self::StreamAdsStream>, Status> {
        let answers = self.answers.clone();
        let stream = request.into_inner().map(move |question| {
            let v1::RequestAdsResponse { slots, frequency_token } = next(&answers).clone();
            Ok(v1::StreamAdsResponse {
                sequence: question?.sequence,
                slots,
                error: None,
                frequency_token,
            })
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

fn next(answers: &[v1::RequestAdsResponse]) -> &v1::RequestAdsResponse {
    let turn = NEXT.get();
    NEXT.set(turn.wrapping_add(1));
    &answers[turn % answers.len()]
}
