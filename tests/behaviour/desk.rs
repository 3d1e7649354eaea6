//! A node with its server on a free port, and a caller of each role: what the door's tests start with.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use munadi::cli::report::KeyArgs;
use munadi::guard::{Key, Keys, Role, secret_blake3};
use munadi::journal::file::Options;
use munadi::node::clock::{Clock, MovedClock, SystemClock};
use munadi::node::{Node, NodeOptions};
use munadi::rpc::limits::Limits;
use munadi::rpc::{Patience, Running, ServerConfig, serve};
use munadi::types::proto::v1;
use munadi::types::proto::v1::ad_service_client::AdServiceClient;
use munadi::types::proto::v1::admin_service_client::AdminServiceClient;
use munadi::types::proto::v1::attribution_service_client::AttributionServiceClient;
use munadi::types::proto::v1::campaign_service_client::CampaignServiceClient;
use munadi::types::proto::v1::conversation_service_client::ConversationServiceClient;
use munadi::types::proto::v1::conversion_service_client::ConversionServiceClient;
use munadi::types::proto::v1::event_service_client::EventServiceClient;
use munadi::types::proto::v1::explain_service_client::ExplainServiceClient;
use munadi::types::proto::v1::report_service_client::ReportServiceClient;
use munadi::types::request::Policy;
use tempfile::TempDir;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// The advertiser of the tests, and another one.
pub(crate) const TACOS: &str = "advertiser-4";
pub(crate) const RIVALS: &str = "advertiser-5";

/// The feed of the tests, and another one.
pub(crate) const STATUS: &str = "feed-1";
pub(crate) const STORIES: &str = "feed-2";

/// The chat platform and an analyst, both for every tenant.
pub(crate) const PLATFORM: &str = "chat-0";
pub(crate) const ANALYST: &str = "analytics-0";

/// Who keeps the town in order.
pub(crate) const OPERATOR: &str = "operator-0";

/// The rivals' own chat platform and analyst.
pub(crate) const RIVAL_CHAT: &str = "chat-5";
pub(crate) const RIVAL_ANALYST: &str = "analytics-5";

const KEYS: [(&str, Role, u32); 9] = [
    (TACOS, Role::Advertiser, 4),
    (RIVALS, Role::Advertiser, 5),
    (STATUS, Role::Feed, 1),
    (STORIES, Role::Feed, 2),
    (PLATFORM, Role::Chat, 0),
    (ANALYST, Role::Analytics, 0),
    (OPERATOR, Role::Operator, 0),
    (RIVAL_CHAT, Role::Chat, 5),
    (RIVAL_ANALYST, Role::Analytics, 5),
];

/// Least price of 1,000 impressions: what an ad without a rival pays.
pub(crate) const FLOOR_CPM_MICROS: i64 = 10_000_000;

/// Small, as each segment is written full of zeros first.
const SEGMENT_BYTES: u64 = 4 << 20;

/// The secret of every key.
pub(crate) const SECRET: &str = "planted-secret";

/// Where the node believes its HTTP door to be.
pub(crate) const PUBLIC_URL: &str = "https://ads.example";

/// A caller's way in.
pub(crate) type Way = InterceptedService<Channel, Bearer>;

/// A running node and its server.
pub(crate) struct Desk {
    server: Running,
    node: Arc<Node>,
    folder: TempDir,
}

impl Desk {
    /// Starts a node on an empty folder. Ads serve without a review.
    pub(crate) fn start() -> Self {
        Self::open(true)
    }

    /// Starts a node where ads wait for the operator.
    pub(crate) fn reviewing() -> Self {
        Self::open(false)
    }

    fn open(approve_ads: bool) -> Self {
        Self::by_clock(approve_ads, Arc::new(SystemClock::default()), |_, _| {})
    }

    /// Starts a node whose clock is moved by hand, and does this with it before its doors open.
    pub(crate) fn moved(
        approve_ads: bool,
        clock: &Arc<MovedClock>,
        before: impl FnOnce(&mut Node, Arc<dyn Clock>),
    ) -> Self {
        Self::by_clock(approve_ads, Arc::<MovedClock>::clone(clock), before)
    }

    fn by_clock(
        approve_ads: bool,
        clock: Arc<dyn Clock>,
        before: impl FnOnce(&mut Node, Arc<dyn Clock>),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Options { segment_bytes: SEGMENT_BYTES, ..Options::default() };
        let feeds = vec![1, 2];
        let options = NodeOptions {
            feeds,
            seed: Some(7),
            journal,
            approve_ads,
            push_insecure: true,
            public_url: PUBLIC_URL.into(),
            ..NodeOptions::default()
        };
        let mut node = Node::start(folder.path(), Arc::clone(&clock), &options).expect("a node");
        before(&mut node, clock);
        let node = Arc::new(node);
        let keys = KEYS.map(|(id, role, tenant)| Key {
            id: id.into(),
            role,
            tenant,
            secret_blake3: secret_blake3(SECRET),
        });
        let config = ServerConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cores: NonZeroUsize::MIN,
            keys: Arc::new(Keys::new(keys).expect("good keys")),
            patience: Patience::default(),
            tls: None,
            limits: Limits::OFF,
            traces: None,
        };
        let policy = Policy { floor_cpm_micros: FLOOR_CPM_MICROS, ..Policy::default() };
        let policies = [1, 2].map(|feed| (feed, policy));
        let policies = Arc::new(BTreeMap::from(policies));
        let server = serve(&node, &policies, config).expect("a free port");
        Self { server, node, folder }
    }

    /// Returns the node, for another door.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Returns the node's folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the way in of a key; an empty one has none.
    pub(crate) fn way(&self, key: &str) -> Way {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.server.addr()));
        let channel = endpoint.expect("an address").connect_lazy();
        InterceptedService::new(channel, Bearer::new(key))
    }

    /// Returns the way in of a whole key, `mk_<id>_<secret>`.
    pub(crate) fn way_of(&self, bearer: &str) -> Way {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.server.addr()));
        let channel = endpoint.expect("an address").connect_lazy();
        InterceptedService::new(channel, Bearer::of(bearer))
    }

    /// Returns how a command of the command line asks by a key.
    pub(crate) fn caller(&self, key: &str) -> KeyArgs {
        let key = Some(format!("mk_{key}_{SECRET}"));
        KeyArgs { addr: format!("http://{}", self.server.addr()), key_file: None, key }
    }

    pub(crate) fn campaigns(&self, key: &str) -> CampaignServiceClient<Way> {
        CampaignServiceClient::new(self.way(key))
    }

    pub(crate) fn admin(&self, key: &str) -> AdminServiceClient<Way> {
        AdminServiceClient::new(self.way(key))
    }

    pub(crate) fn ads(&self, key: &str) -> AdServiceClient<Way> {
        AdServiceClient::new(self.way(key))
    }

    pub(crate) fn events(&self, key: &str) -> EventServiceClient<Way> {
        EventServiceClient::new(self.way(key))
    }

    pub(crate) fn conversations(&self, key: &str) -> ConversationServiceClient<Way> {
        ConversationServiceClient::new(self.way(key))
    }

    pub(crate) fn conversions(&self, key: &str) -> ConversionServiceClient<Way> {
        ConversionServiceClient::new(self.way(key))
    }

    pub(crate) fn explain(&self, key: &str) -> ExplainServiceClient<Way> {
        ExplainServiceClient::new(self.way(key))
    }

    pub(crate) fn reports(&self, key: &str) -> ReportServiceClient<Way> {
        ReportServiceClient::new(self.way(key))
    }

    pub(crate) fn attributions(&self, key: &str) -> AttributionServiceClient<Way> {
        AttributionServiceClient::new(self.way(key))
    }

    /// Drains the server and stops the node. Returns its folder.
    pub(crate) fn stop(self) -> TempDir {
        self.server.stop();
        let node = Arc::into_inner(self.node).expect("no door holds the node any more");
        node.stop().expect("a sealed journal");
        self.folder
    }
}

/// Puts a key before each request.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    pub(crate) fn new(key: &str) -> Self {
        if key.is_empty() { Self(None) } else { Self::of(&format!("mk_{key}_{SECRET}")) }
    }

    fn of(bearer: &str) -> Self {
        Self(Some(format!("Bearer {bearer}").parse().expect("ASCII")))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

/// Runs a test's calls.
pub(crate) fn calls<T>(calls: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(calls)
}

/// What stands behind one live ad.
pub(crate) struct Shop {
    pub(crate) account: u64,
    pub(crate) campaign: u64,
    pub(crate) business: u64,
    pub(crate) endpoint: u64,
    pub(crate) ad_set: u64,
    pub(crate) ad: u64,
}

/// Makes an account and everything below it, down to a live ad that bids for impressions.
pub(crate) async fn open_shop(desk: &Desk, key: &str) -> Result<Shop, Status> {
    let mut client = desk.campaigns(key);
    let request_id = |kind: &str| format!("{key}-{kind}");
    let account = v1::Account {
        name: "Tacos".into(),
        currency: "MXN".into(),
        time_zone: "America/Mexico_City".into(),
        ..Default::default()
    };
    let (id, account) = (request_id("account"), Some(account));
    let request = v1::CreateAccountRequest { request_id: id, account, validate_only: false };
    let account = client.create_account(request).await?.into_inner().account;
    let account = account.expect("the account").id;

    let business = v1::Business { account_id: account, name: "Tacos".into(), ..Default::default() };
    let (id, business) = (request_id("business"), Some(business));
    let request = v1::CreateBusinessRequest { request_id: id, business, validate_only: false };
    let business = client.create_business(request).await?.into_inner().business;
    let business = business.expect("the business").id;

    let endpoint = v1::ChannelEndpoint {
        business_id: business,
        channel: v1::Channel::Whatsapp.into(),
        address: "5215512345678".into(),
        channel_business_id: "1029384756".into(),
        ..Default::default()
    };
    let (id, channel_endpoint) = (request_id("endpoint"), Some(endpoint));
    let request =
        v1::CreateChannelEndpointRequest { request_id: id, channel_endpoint, validate_only: false };
    let endpoint = client.create_channel_endpoint(request).await?.into_inner().channel_endpoint;
    let endpoint = endpoint.expect("the endpoint").id;

    let money = |micros| Some(v1::Money { micros, currency: "MXN".into() });
    let campaign = v1::Campaign {
        account_id: account,
        name: "Lunch".into(),
        objective: v1::Objective::OutcomeEngagement.into(),
        budget: Some(v1::Budget { daily: money(1_000_000_000), lifetime: None }),
        ..Default::default()
    };
    let (id, campaign) = (request_id("campaign"), Some(campaign));
    let request = v1::CreateCampaignRequest { request_id: id, campaign, validate_only: false };
    let campaign = client.create_campaign(request).await?.into_inner().campaign;
    let campaign = campaign.expect("the campaign").id;

    let ad_set = v1::AdSet {
        campaign_id: campaign,
        name: "Everyone".into(),
        billing_event: v1::BillingEvent::Impressions.into(),
        bid: money(50_000_000),
        ..Default::default()
    };
    let (id, ad_set) = (request_id("ad-set"), Some(ad_set));
    let request = v1::CreateAdSetRequest { request_id: id, ad_set, validate_only: false };
    let ad_set = client.create_ad_set(request).await?.into_inner().ad_set.expect("the ad set").id;

    let ad = v1::Ad {
        ad_set_id: ad_set,
        name: "Three for two".into(),
        creative: Some(v1::Creative { primary_text: "Tacos!".into(), ..Default::default() }),
        destination: Some(v1::ChatDestination { endpoint_id: endpoint, ..Default::default() }),
        ..Default::default()
    };
    let (id, ad) = (request_id("ad"), Some(ad));
    let request = v1::CreateAdRequest { request_id: id, ad, validate_only: false };
    let ad = client.create_ad(request).await?.into_inner().ad.expect("the ad").id;
    Ok(Shop { account, campaign, business, endpoint, ad_set, ad })
}

/// Returns a request for a tray of twenty posts.
pub(crate) fn tray(viewer: &str) -> Option<v1::AdRequest> {
    Some(v1::AdRequest {
        placement: v1::Placement::Status.into(),
        viewer: Some(v1::ViewerContext { pseudonym: viewer.into(), ..Default::default() }),
        posts: 20,
        ..Default::default()
    })
}

/// Returns the first ad of a tray.
pub(crate) fn first_ad(slots: &[v1::Slot]) -> &v1::PlacedAd {
    let ad = slots.iter().find_map(|slot| match &slot.filling {
        Some(v1::slot::Filling::Ad(ad)) => Some(ad),
        _ => None,
    });
    ad.expect("an ad in the tray")
}

/// Returns an event of an ad, now.
pub(crate) fn event(ad: &v1::PlacedAd, kind: v1::EventKind) -> v1::AdEvent {
    v1::AdEvent { view_token: ad.view_token.clone(), kind: kind.into(), ..v1::AdEvent::default() }
}
