//! Advertisers with an ad each, and requests with a key.

use std::time::Duration;

use munadi::types::proto::v1;
use munadi::types::proto::v1::campaign_service_client::CampaignServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::process::SECRET;

/// How long a write may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns a request with a key.
pub(crate) fn with_key<T>(id: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer mk_{id}_{SECRET}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

/// An advertiser's things by their ids.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shop {
    pub(crate) account: u64,
    pub(crate) business: u64,
    pub(crate) endpoint: u64,
    pub(crate) campaign: u64,
    pub(crate) ad: u64,
}

/// Makes an account and everything below it for each of these daily budgets, micros.
pub(crate) async fn open(way: &Channel, budgets: &[i64]) -> Result<Vec<Shop>, Status> {
    let mut shops = Vec::new();
    for (number, daily) in budgets.iter().enumerate() {
        let shop = one(way, number, *daily).await?;
        assert_ne!(shop.ad, 0, "an id is no zero");
        shops.push(shop);
    }
    Ok(shops)
}

/// Makes a business with one live ad.
async fn one(way: &Channel, number: usize, daily: i64) -> Result<Shop, Status> {
    let mut client = CampaignServiceClient::new(way.clone());
    let request_id = |kind: &str| format!("{kind}-{number}");
    let validate_only = false;
    let account = Some(v1::Account {
        name: "Tacos".into(),
        currency: "MXN".into(),
        time_zone: "America/Mexico_City".into(),
        ..Default::default()
    });
    let mut shop = Shop::default();
    let request = v1::CreateAccountRequest { request_id: request_id("a"), account, validate_only };
    let answer = client.create_account(asked(request)).await?.into_inner();
    shop.account = answer.account.unwrap().id;
    let account_id = shop.account;
    let business = Some(v1::Business { account_id, name: "Tacos".into(), ..Default::default() });
    let request =
        v1::CreateBusinessRequest { request_id: request_id("b"), business, validate_only };
    let answer = client.create_business(asked(request)).await?.into_inner();
    shop.business = answer.business.unwrap().id;
    let channel_endpoint = Some(v1::ChannelEndpoint {
        business_id: shop.business,
        channel: v1::Channel::Telegram.into(),
        address: "tacos_bot".into(),
        ..Default::default()
    });
    let request = v1::CreateChannelEndpointRequest {
        request_id: request_id("e"),
        channel_endpoint,
        validate_only,
    };
    let answer = client.create_channel_endpoint(asked(request)).await?.into_inner();
    shop.endpoint = answer.channel_endpoint.unwrap().id;
    let money = |micros| Some(v1::Money { micros, currency: "MXN".into() });
    let campaign = Some(v1::Campaign {
        account_id,
        name: "Lunch".into(),
        objective: v1::Objective::OutcomeEngagement.into(),
        budget: Some(v1::Budget { daily: money(daily), lifetime: None }),
        ..Default::default()
    });
    let request =
        v1::CreateCampaignRequest { request_id: request_id("c"), campaign, validate_only };
    let answer = client.create_campaign(asked(request)).await?.into_inner();
    shop.campaign = answer.campaign.unwrap().id;
    shop.ad = ad(&mut client, number, &shop).await?;
    Ok(shop)
}

/// Makes an ad set with one live ad; returns the ad.
async fn ad(
    client: &mut CampaignServiceClient<Channel>,
    number: usize,
    shop: &Shop,
) -> Result<u64, Status> {
    let validate_only = false;
    let ad_set = Some(v1::AdSet {
        campaign_id: shop.campaign,
        name: "Everyone".into(),
        billing_event: v1::BillingEvent::Impressions.into(),
        bid: Some(v1::Money { micros: 50_000_000, currency: "MXN".into() }),
        ..Default::default()
    });
    let request_id = format!("s-{number}");
    let request = v1::CreateAdSetRequest { request_id, ad_set, validate_only };
    let answer = client.create_ad_set(asked(request)).await?.into_inner();
    let ad = Some(v1::Ad {
        ad_set_id: answer.ad_set.unwrap().id,
        name: "Three for two".into(),
        creative: Some(v1::Creative { primary_text: "Tacos!".into(), ..Default::default() }),
        destination: Some(v1::ChatDestination { endpoint_id: shop.endpoint, ..Default::default() }),
        ..Default::default()
    });
    let request = v1::CreateAdRequest { request_id: format!("d-{number}"), ad, validate_only };
    Ok(client.create_ad(asked(request)).await?.into_inner().ad.unwrap().id)
}

/// Returns a write of the advertiser's, who waits for its answer.
fn asked<T>(message: T) -> Request<T> {
    let mut request = with_key("advertiser", message);
    request.set_timeout(PATIENCE);
    request
}
