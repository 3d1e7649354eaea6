//! Three advertisers with an ad each, and a business that is written to over WhatsApp.

use munadi::types::proto::v1;
use munadi::types::proto::v1::campaign_service_client::CampaignServiceClient;
use tonic::Status;
use tonic::transport::Channel;

use crate::calls::with_key;
use crate::shop::{self, Shop};

/// What advertisers may spend a day, micros: the first a few showings, so that it is spent while a test runs.
const BUDGETS: [i64; 3] = [1_500_000, 900_000_000_000_000, 900_000_000_000_000];

/// The number of the WhatsApp endpoint, and the platform's number of it.
pub(crate) const NUMBER: &str = "5215512345678";
pub(crate) const NUMBER_ID: &str = "112233445566";

/// Makes three advertisers, the first with a small budget.
pub(crate) async fn open(way: &Channel) -> Result<Vec<Shop>, Status> {
    shop::open(way, &BUDGETS).await
}

/// Makes an endpoint of a business whose messages a platform tells of by webhooks.
pub(crate) async fn whatsapp(way: &Channel, shop: &Shop) -> Result<(), Status> {
    let channel_endpoint = Some(v1::ChannelEndpoint {
        business_id: shop.business,
        channel: v1::Channel::Whatsapp.into(),
        address: NUMBER.into(),
        channel_account_id: NUMBER_ID.into(),
        ..Default::default()
    });
    let request = v1::CreateChannelEndpointRequest {
        request_id: "whatsapp".into(),
        channel_endpoint,
        validate_only: false,
    };
    let mut client = CampaignServiceClient::new(way.clone());
    client.create_channel_endpoint(with_key("advertiser", request)).await.map(drop)
}
