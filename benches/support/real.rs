//! A stand-in for the real server until the node is there: makes each answer anew and hashes a little.

use std::pin::Pin;

use munadi::types::proto::v1;
use munadi::types::proto::v1::ad_service_server::{AdService, AdServiceServer};
use tokio_stream::{Stream, StreamExt};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::Failure;
use crate::support::child::Target;
use crate::support::percore;

/// A running server.
pub(crate) struct Real {
    pub(crate) target: Target,
}

/// Starts the stand-in.
pub(crate) fn start(ads: u32) -> Result<Real, Failure> {
    let address = percore::start(&Routes::new(AdServiceServer::new(StandIn { ads })))?;
    Ok(Real { target: Target { address, key: "mk_bench_none".to_owned() } })
}

#[derive(Clone, Copy)]
struct StandIn {
    ads: u32,
}

#[tonic::async_trait]
impl AdService for StandIn {
    type StreamAdsStream =
        Pin<Box<dyn Stream<Item = Result<v1::StreamAdsResponse, Status>> + Send>>;

    async fn request_ads(
        &self,
        request: Request<v1::RequestAdsRequest>,
    ) -> Result<Response<v1::RequestAdsResponse>, Status> {
        let slots = self.slots(request.into_inner().ad_request)?;
        Ok(Response::new(v1::RequestAdsResponse { slots }))
    }

    async fn stream_ads(
        &self,
        request: Request<Streaming<v1::StreamAdsRequest>>,
    ) -> Result<Response<Self::StreamAdsStream>, Status> {
        let stand_in = *self;
        let stream = request.into_inner().map(move |question| {
            let v1::StreamAdsRequest { sequence, ad_request } = question?;
            Ok(v1::StreamAdsResponse { sequence, slots: stand_in.slots(ad_request)?, error: None })
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

impl StandIn {
    fn slots(self, request: Option<v1::AdRequest>) -> Result<Vec<v1::Slot>, Status> {
        let viewer = request.and_then(|request| request.viewer);
        let viewer = viewer.ok_or_else(|| Status::invalid_argument("no viewer"))?;
        Ok((0..3).map(|slot| self.slot(&viewer, slot)).collect())
    }

    fn slot(self, viewer: &v1::ViewerContext, slot: u32) -> v1::Slot {
        let mut hash = blake3::hash(viewer.pseudonym.as_bytes());
        for _ in 0..10 {
            hash = blake3::hash(hash.as_bytes());
        }
        let ad = v1::PlacedAd {
            ad_id: u64::from(hash.as_bytes()[slot as usize]) % u64::from(self.ads),
            creative: Some(v1::Creative {
                primary_text: "Fresh bread, baked while you sleep".to_owned(),
                headline: "Order by chat".to_owned(),
                media_url: "https://media.example/bread.jpg".to_owned(),
                media_sha256: hash.as_bytes().to_vec(),
            }),
            chat_link: format!("https://wa.me/5215512345678?text={}", hash.to_hex()),
            view_token: hash.as_bytes().to_vec().into(),
            ..v1::PlacedAd::default()
        };
        v1::Slot { position: 2 + 5 * slot, filling: Some(v1::slot::Filling::Ad(ad)) }
    }
}
