//! Calls of a feed, a chat platform and an advertiser, each with its key.

use std::time::Duration;

use munadi::types::proto::v1;
use munadi::types::proto::v1::ad_service_client::AdServiceClient;
use munadi::types::proto::v1::campaign_service_client::CampaignServiceClient;
use munadi::types::proto::v1::conversation_service_client::ConversationServiceClient;
use munadi::types::proto::v1::event_service_client::EventServiceClient;
use munadi::types::proto::v1::report_service_client::ReportServiceClient;
use prost::bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::server::Server;
use crate::shop::{self, Shop};

/// How long a caller waits. Only a call that hangs takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Posts of each tray.
const POSTS: u32 = 20;

/// An ad as a feed was given it.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) ad: u64,
    pub(crate) token: Bytes,
    /// What a tap opens.
    pub(crate) link: String,
}

impl Given {
    /// Returns an event on it, of now.
    pub(crate) fn event(&self, kind: v1::EventKind) -> v1::AdEvent {
        v1::AdEvent { view_token: self.token.clone(), kind: kind.into(), ..Default::default() }
    }
}

/// Returns a runtime for callers.
pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Returns a connection that is made when it is used.
pub(crate) fn way(server: &Server) -> Channel {
    Endpoint::from_shared(server.url().to_owned()).unwrap().connect_lazy()
}

/// Returns a request with a key, whose caller waits for so long.
pub(crate) fn with_key<T>(id: &str, message: T) -> Request<T> {
    let mut request = shop::with_key(id, message);
    request.set_timeout(PATIENCE);
    request
}

/// Asks for a tray, and returns the ads in it.
pub(crate) async fn tray(way: &Channel, pseudonym: String) -> Result<Vec<Given>, Status> {
    let viewer = v1::ViewerContext { pseudonym, ..Default::default() };
    let ad_request = Some(v1::AdRequest {
        placement: v1::Placement::Status.into(),
        viewer: Some(viewer),
        posts: POSTS,
        ..Default::default()
    });
    let request = with_key("feed", v1::RequestAdsRequest { ad_request });
    let slots = AdServiceClient::new(way.clone()).request_ads(request).await?.into_inner().slots;
    let given = slots.into_iter().filter_map(|slot| match slot.filling {
        Some(v1::slot::Filling::Ad(ad)) => {
            Some(Given { ad: ad.ad_id, token: ad.view_token, link: ad.chat_link })
        }
        _ => None,
    });
    Ok(given.collect())
}

/// Tells events of a feed.
pub(crate) async fn record(
    way: &Channel,
    events: Vec<v1::AdEvent>,
) -> Result<Vec<v1::ItemResult>, Status> {
    let request = v1::RecordEventsRequest { request_id: String::new(), events };
    let mut client = EventServiceClient::new(way.clone());
    let answer = client.record_events(with_key("feed", request)).await?;
    Ok(answer.into_inner().results)
}

/// Returns the opening of a chat by the click on an ad; `None`: its link has no click token.
pub(crate) fn opening(
    shop: &Shop,
    given: &Given,
    contact: String,
) -> Option<v1::ConversationEvent> {
    let (_, token) = given.link.split_once("?start=")?;
    let opened = v1::Opened {
        entry_point: v1::EntryPoint::Ad.into(),
        proof: Some(v1::opened::Proof::ClickToken(token.to_owned())),
        wrote: true,
        ..Default::default()
    };
    let conversation = Some(v1::ConversationKey { endpoint_id: shop.endpoint, contact });
    Some(v1::ConversationEvent {
        business_id: shop.business,
        conversation,
        event: Some(v1::conversation_event::Event::Opened(opened)),
        ..Default::default()
    })
}

/// Tells events of a chat platform.
pub(crate) async fn converse(
    way: &Channel,
    events: Vec<v1::ConversationEvent>,
) -> Result<Vec<v1::ItemResult>, Status> {
    let request = v1::RecordConversationEventsRequest { request_id: String::new(), events };
    let mut client = ConversationServiceClient::new(way.clone());
    let answer = client.record_conversation_events(with_key("chat", request)).await?;
    Ok(answer.into_inner().results)
}

/// Asks for an account's report.
pub(crate) async fn report(way: &Channel, account_id: u64) -> Result<(), Status> {
    let request =
        with_key("advertiser", v1::QueryReportRequest { account_id, ..Default::default() });
    ReportServiceClient::new(way.clone()).query_report(request).await.map(drop)
}

/// Gives a campaign another name.
pub(crate) async fn rename(
    way: &Channel,
    campaign: u64,
    request_id: String,
    name: &str,
) -> Result<(), Status> {
    let request = v1::UpdateCampaignRequest {
        request_id,
        campaign: Some(v1::Campaign { id: campaign, name: name.into(), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["name".into()] }),
        validate_only: false,
    };
    let request = with_key("advertiser", request);
    CampaignServiceClient::new(way.clone()).update_campaign(request).await.map(drop)
}
