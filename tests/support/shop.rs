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

/// Makes an account and everything below it for each of these daily budgets, micros. Returns the last account.
pub(crate) async fn open(way: &Channel, budgets: &[i64]) -> Result<u64, Status> {
    let mut account = 0;
    for (number, daily) in budgets.iter().enumerate() {
        account = one(way, number, *daily).await?;
    }
    Ok(account)
}

/// Makes a business with one live ad, and returns the account.
async fn one(way: &Channel, number: usize, daily: i64) -> Result<u64, Status> {
    let mut client = CampaignServiceClient::new(way.clone());
    let request_id = |kind: &str| format!("{kind}-{number}");
    let validate_only = false;
    let account = Some(v1::Account {
        name: "Tacos".into(),
        currency: "MXN".into(),
        time_zone: "America/Mexico_City".into(),
        ..Default::default()
    });
    let request = v1::CreateAccountRequest { request_id: request_id("a"), account, validate_only };
    let answer = client.create_account(asked(request)).await?.into_inner();
    let account_id = answer.account.unwrap().id;
    let business = Some(v1::Business { account_id, name: "Tacos".into(), ..Default::default() });
    let request =
        v1::CreateBusinessRequest { request_id: request_id("b"), business, validate_only };
    let answer = client.create_business(asked(request)).await?.into_inner();
    let channel_endpoint = Some(v1::ChannelEndpoint {
        business_id: answer.business.unwrap().id,
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
    let endpoint_id = answer.channel_endpoint.unwrap().id;
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
    let ad_set = Some(v1::AdSet {
        campaign_id: answer.campaign.unwrap().id,
        name: "Everyone".into(),
        billing_event: v1::BillingEvent::Impressions.into(),
        bid: money(50_000_000),
        ..Default::default()
    });
    let request = v1::CreateAdSetRequest { request_id: request_id("s"), ad_set, validate_only };
    let answer = client.create_ad_set(asked(request)).await?.into_inner();
    let ad = Some(v1::Ad {
        ad_set_id: answer.ad_set.unwrap().id,
        name: "Three for two".into(),
        creative: Some(v1::Creative { primary_text: "Tacos!".into(), ..Default::default() }),
        destination: Some(v1::ChatDestination { endpoint_id, ..Default::default() }),
        ..Default::default()
    });
    let request = v1::CreateAdRequest { request_id: request_id("d"), ad, validate_only };
    client.create_ad(asked(request)).await?;
    Ok(account_id)
}

/// Returns a write of the advertiser's, who waits for its answer.
fn asked<T>(message: T) -> Request<T> {
    let mut request = with_key("advertiser", message);
    request.set_timeout(PATIENCE);
    request
}
