//! Three advertisers with an ad each.

use munadi::types::proto::v1;
use munadi::types::proto::v1::campaign_service_client::CampaignServiceClient;
use tonic::Status;
use tonic::transport::Channel;

use crate::calls::with_key;

/// What the first advertiser may spend a day, micros: a few showings, so that it is spent while a test runs.
const SMALL_BUDGET: i64 = 1_500_000;

/// What the others may spend a day, micros.
const LARGE_BUDGET: i64 = 900_000_000_000_000;

/// The number of the WhatsApp endpoint, and the platform's number of it.
pub(crate) const NUMBER: &str = "5215512345678";
pub(crate) const NUMBER_ID: &str = "112233445566";

/// An advertiser's things by their ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shop {
    pub(crate) account: u64,
    pub(crate) business: u64,
    pub(crate) endpoint: u64,
    pub(crate) campaign: u64,
    pub(crate) ad: u64,
}

/// Makes three advertisers, the first with a small budget.
pub(crate) async fn open(way: &Channel) -> Result<Vec<Shop>, Status> {
    let mut shops = Vec::new();
    for number in 0..3 {
        shops.push(one(way, number).await?);
    }
    Ok(shops)
}

/// Makes a business with one live ad.
async fn one(way: &Channel, number: u32) -> Result<Shop, Status> {
    let mut client = CampaignServiceClient::new(way.clone());
    let request_id = |kind: &str| format!("{kind}-{number}");
    let key = "advertiser";
    let validate_only = false;
    let account = Some(v1::Account {
        name: "Tacos".into(),
        currency: "MXN".into(),
        time_zone: "America/Mexico_City".into(),
        ..Default::default()
    });
    let request = v1::CreateAccountRequest { request_id: request_id("a"), account, validate_only };
    let answer = client.create_account(with_key(key, request)).await?.into_inner();
    let account = answer.account.unwrap().id;
    let row =
        Some(v1::Business { account_id: account, name: "Tacos".into(), ..Default::default() });
    let request =
        v1::CreateBusinessRequest { request_id: request_id("b"), business: row, validate_only };
    let answer = client.create_business(with_key(key, request)).await?.into_inner();
    let business = answer.business.unwrap().id;
    let channel_endpoint = Some(v1::ChannelEndpoint {
        business_id: business,
        channel: v1::Channel::Telegram.into(),
        address: "tacos_bot".into(),
        ..Default::default()
    });
    let request = v1::CreateChannelEndpointRequest {
        request_id: request_id("e"),
        channel_endpoint,
        validate_only,
    };
    let answer = client.create_channel_endpoint(with_key(key, request)).await?.into_inner();
    let endpoint = answer.channel_endpoint.unwrap().id;
    let (campaign, ad) = campaign(&mut client, number, account, endpoint).await?;
    Ok(Shop { account, business, endpoint, campaign, ad })
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

/// Makes a campaign with one live ad; returns both.
async fn campaign(
    client: &mut CampaignServiceClient<Channel>,
    number: u32,
    account_id: u64,
    endpoint_id: u64,
) -> Result<(u64, u64), Status> {
    let request_id = |kind: &str| format!("{kind}-{number}");
    let key = "advertiser";
    let validate_only = false;
    let money = |micros| Some(v1::Money { micros, currency: "MXN".into() });
    let daily = money(if number == 0 { SMALL_BUDGET } else { LARGE_BUDGET });
    let campaign = Some(v1::Campaign {
        account_id,
        name: "Lunch".into(),
        objective: v1::Objective::OutcomeEngagement.into(),
        budget: Some(v1::Budget { daily, lifetime: None }),
        ..Default::default()
    });
    let request =
        v1::CreateCampaignRequest { request_id: request_id("c"), campaign, validate_only };
    let answer = client.create_campaign(with_key(key, request)).await?.into_inner();
    let campaign = answer.campaign.unwrap().id;
    let ad_set = Some(v1::AdSet {
        campaign_id: campaign,
        name: "Everyone".into(),
        billing_event: v1::BillingEvent::Impressions.into(),
        bid: money(50_000_000),
        ..Default::default()
    });
    let request = v1::CreateAdSetRequest { request_id: request_id("s"), ad_set, validate_only };
    let answer = client.create_ad_set(with_key(key, request)).await?.into_inner();
    let ad = Some(v1::Ad {
        ad_set_id: answer.ad_set.unwrap().id,
        name: "Three for two".into(),
        creative: Some(v1::Creative { primary_text: "Tacos!".into(), ..Default::default() }),
        destination: Some(v1::ChatDestination { endpoint_id, ..Default::default() }),
        ..Default::default()
    });
    let request = v1::CreateAdRequest { request_id: request_id("d"), ad, validate_only };
    let answer = client.create_ad(with_key(key, request)).await?.into_inner();
    Ok((campaign, answer.ad.unwrap().id))
}
