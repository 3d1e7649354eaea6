//! The town's side of the node's doors: one connection, and the key of each role it plays.

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::town::error::TownError;
use crate::types::proto::v1::ad_service_client::AdServiceClient;
use crate::types::proto::v1::admin_service_client::AdminServiceClient;
use crate::types::proto::v1::attribution_service_client::AttributionServiceClient;
use crate::types::proto::v1::campaign_service_client::CampaignServiceClient;
use crate::types::proto::v1::conversation_service_client::ConversationServiceClient;
use crate::types::proto::v1::event_service_client::EventServiceClient;
use crate::types::proto::v1::report_service_client::ReportServiceClient;

/// The number of the town's only feed.
pub const FEED: u32 = 1;

/// The keys (`mk_<id>_<secret>`) of the roles that the town plays.
#[derive(Clone, Debug)]
pub struct Keys {
    /// One for each advertiser of the town, by its number.
    pub advertisers: Vec<String>,
    /// Of the feed service.
    pub feed: String,
    /// Of the chat platform: tenant 0, role chat.
    pub chat: String,
    /// Of somebody who may read every tenant's attribution: tenant 0, role analytics, or an operator.
    pub analytics: String,
    /// Of an operator, who reviews the ads, keeps the lists, and sees empty slots too.
    pub operator: String,
}

/// A connection that sends a key with each call.
pub(crate) type Door = InterceptedService<Channel, Bearer>;

/// Adds `authorization: Bearer …` to each call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Every service, each with the key of who calls it.
pub struct Doors {
    /// By the advertiser's number.
    pub(crate) campaigns: Vec<CampaignServiceClient<Door>>,
    pub(crate) admin: AdminServiceClient<Door>,
    pub(crate) ads: AdServiceClient<Door>,
    pub(crate) events: EventServiceClient<Door>,
    pub(crate) chats: ConversationServiceClient<Door>,
    pub(crate) reports: ReportServiceClient<Door>,
    pub(crate) attributions: AttributionServiceClient<Door>,
}

/// The most that one answer may weigh: a report page of 10,000 rows.
const ANSWER_BYTES_MAX: usize = 16 << 20;

impl Doors {
    /// Connects to a server by its address, `http://127.0.0.1:7400`.
    ///
    /// # Errors
    /// When the server can't be reached, or a key can't be sent.
    pub async fn connect(address: &str, keys: &Keys) -> Result<Self, TownError> {
        let channel = Endpoint::from_shared(address.to_owned())?.connect().await?;
        Self::over(channel, keys)
    }

    /// Returns the doors behind a channel.
    ///
    /// # Errors
    /// When a key can't be sent.
    pub fn over(channel: Channel, keys: &Keys) -> Result<Self, TownError> {
        let door = |role, key: &str| {
            let bearer = format!("Bearer {key}").parse().map_err(|_| TownError::Key(role))?;
            Ok::<_, TownError>(InterceptedService::new(channel.clone(), Bearer(bearer)))
        };
        let campaigns = keys
            .advertisers
            .iter()
            .map(|key| Ok::<_, TownError>(CampaignServiceClient::new(door("advertiser", key)?)));
        Ok(Self {
            campaigns: campaigns.collect::<Result<_, _>>()?,
            admin: AdminServiceClient::new(door("operator", &keys.operator)?),
            ads: AdServiceClient::new(door("feed", &keys.feed)?),
            events: EventServiceClient::new(door("feed", &keys.feed)?),
            chats: ConversationServiceClient::new(door("chat", &keys.chat)?),
            reports: ReportServiceClient::new(door("operator", &keys.operator)?)
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            attributions: AttributionServiceClient::new(door("analytics", &keys.analytics)?)
                .max_decoding_message_size(ANSWER_BYTES_MAX),
        })
    }
}
