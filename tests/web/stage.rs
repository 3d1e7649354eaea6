//! A node with a journal in files, a clock moved by hand, and both its doors.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use munadi::channels::{Channel, FoundClick, find_click};
use munadi::guard::{Key, Keys, Role, secret_blake3};
use munadi::journal::file::Options;
use munadi::listen::Running;
use munadi::node::clock::MovedClock;
use munadi::node::{Node, NodeOptions};
use munadi::rpc::limits::Limits;
use munadi::rpc::{ServerConfig, serve};
use munadi::tokens::{contact_number, conversation_id};
use munadi::types::proto::v1;
use munadi::types::refusal::Refusal;
use munadi::types::request::{
    AdRequest, Author, Change, Incoming, Mutation, Policy, Profile, Resource, Scope, Verdict,
};
use munadi::types::time::Moment;
use munadi::types::token::{ClickToken, PackedPrice};
use munadi::web::{App, AppKind, Apps, Patience, WebConfig};
use sha1::Sha1;
use sha2::Sha256;
use tempfile::TempDir;

use crate::http::{Answer, send};

/// The time of the stage: 2026-11-23, noon UTC, in seconds.
pub(crate) const NOW_S: i64 = 1_795_435_200;
/// Whose the shop is.
pub(crate) const TENANT: u32 = 4;
/// The secret of every app but the other's.
pub(crate) const SECRET: &str = "the-secret-of-apps";
/// The secret of the app that is the rival's.
pub(crate) const OTHER_SECRET: &str = "the-secret-of-a-rival";
pub(crate) const VERIFY_TOKEN: &str = "made-up-verify-token";
pub(crate) const PUBLIC_URL: &str = "https://ads.example";
/// The key of the operator.
pub(crate) const KEY: &str = "mk_operator_planted-secret";
const FEED: u32 = 1;
/// Small, as each segment is written full of zeros first.
const SEGMENT_BYTES: u64 = 4 << 20;

pub(crate) const ALL: Scope = Scope { tenant: 0, any: true };

/// Numbers the writes.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// A running node and its doors.
pub(crate) struct Stage {
    pub(crate) node: Arc<Node>,
    pub(crate) clock: Arc<MovedClock>,
    pub(crate) web: Running,
    pub(crate) rpc: Running,
    folder: TempDir,
}

/// A shop by its ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shop {
    pub(crate) business: u64,
    pub(crate) endpoint: u64,
    pub(crate) ad: u64,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::at(NOW_S)
    }

    pub(crate) fn at(seconds: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(MovedClock::at(Moment(seconds * 1_000)));
        let journal = Options { segment_bytes: SEGMENT_BYTES, ..Options::default() };
        let options = NodeOptions {
            feeds: vec![FEED],
            seed: Some(7),
            journal,
            approve_ads: true,
            ..NodeOptions::default()
        };
        let wall = Arc::<MovedClock>::clone(&clock);
        let node = Node::start(folder.path(), wall, &options).unwrap();
        Self::on(node, clock, folder)
    }

    /// Opens both doors of a node.
    pub(crate) fn on(node: Node, clock: Arc<MovedClock>, folder: TempDir) -> Self {
        let node = Arc::new(node);
        let web = door(&node, Patience::default());
        let key = Key {
            id: "operator".into(),
            role: Role::Operator,
            tenant: 0,
            secret_blake3: secret_blake3("planted-secret"),
        };
        let config = ServerConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cores: NonZeroUsize::MIN,
            keys: Arc::new(Keys::new([key]).unwrap()),
            patience: munadi::rpc::Patience::default(),
            tls: None,
            limits: Limits::OFF,
            traces: None,
        };
        let rpc = serve(&node, &Arc::new(BTreeMap::new()), config).unwrap();
        Self { node, clock, web, rpc, folder }
    }

    /// Closes the doors and the node, and returns its folder.
    pub(crate) fn stop(self) -> TempDir {
        self.web.stop();
        self.rpc.stop();
        Arc::into_inner(self.node).unwrap().stop().unwrap();
        self.folder
    }

    /// Makes a shop of a tenant with an ad that opens a chat on a channel.
    pub(crate) fn shop(&self, tenant: u32, line: v1::ChannelEndpoint) -> Shop {
        let make = |resource| self.write(tenant, Change::Create(resource)).unwrap().id();
        let account_id = make(Resource::Account(v1::Account {
            name: "Tacos".into(),
            currency: "MXN".into(),
            time_zone: "America/Mexico_City".into(),
            ..Default::default()
        }));
        let business_id = make(Resource::Business(v1::Business {
            account_id,
            name: "Tacos".into(),
            ..Default::default()
        }));
        let endpoint = v1::ChannelEndpoint { business_id, ..line };
        let endpoint_id = make(Resource::Endpoint(endpoint));
        let money = |micros| Some(v1::Money { micros, currency: "MXN".into() });
        let campaign_id = make(Resource::Campaign(v1::Campaign {
            account_id,
            name: "Lunch".into(),
            objective: v1::Objective::OutcomeEngagement.into(),
            budget: Some(v1::Budget { daily: money(1_000_000_000), lifetime: None }),
            ..Default::default()
        }));
        let ad_set_id = make(Resource::AdSet(v1::AdSet {
            campaign_id,
            name: "Everyone".into(),
            billing_event: v1::BillingEvent::Impressions.into(),
            bid: money(50_000_000),
            ..Default::default()
        }));
        let destination = Some(v1::ChatDestination { endpoint_id, ..Default::default() });
        let ad = make(Resource::Ad(v1::Ad {
            ad_set_id,
            name: "Three for two".into(),
            creative: Some(v1::Creative { primary_text: "Tacos!".into(), ..Default::default() }),
            destination,
            ..Default::default()
        }));
        Shop { business: business_id, endpoint: endpoint_id, ad }
    }

    /// Makes an entry source of a shop.
    pub(crate) fn source(&self, shop: Shop) -> v1::EntrySource {
        let row = v1::EntrySource {
            endpoint_id: shop.endpoint,
            name: "Menu".into(),
            entry_point: v1::EntryPoint::QrCode.into(),
            prefilled_text: "Hi".into(),
            ..Default::default()
        };
        match self.write(TENANT, Change::Create(Resource::Source(row))) {
            Ok(Resource::Source(source)) => source,
            other => panic!("no source: {other:?}"),
        }
    }

    pub(crate) fn write(&self, tenant: u32, change: Change) -> Result<Resource, Refusal> {
        let number = WRITES.fetch_add(1, Ordering::Relaxed);
        let mut body_hash = [0; 16];
        body_hash[..8].copy_from_slice(&number.to_le_bytes());
        let mutation = Mutation {
            tenant,
            any_tenant: false,
            request_id: number.to_string(),
            body_hash,
            by: Author::default(),
            validate_only: false,
            approve: true,
            change,
        };
        wait(self.node.mutate(mutation))
    }

    /// Shows an ad to a viewer who looks at it and taps it; returns the chat link.
    pub(crate) fn tapped(&self, viewer: &str) -> String {
        self.clicked(viewer).0
    }

    /// As [`Stage::tapped`], with the click that the tap makes.
    pub(crate) fn clicked(&self, viewer: &str) -> (String, ClickToken) {
        let number =
            munadi::tokens::viewer_number(self.node.opener().ring().link(FEED).unwrap(), viewer);
        let request = AdRequest {
            placement: v1::Placement::Status,
            viewer: Some(number),
            profile: Profile::default(),
            posts: 20,
            positions: Vec::new(),
            named: true,
            ads_in_session: 0,
        };
        let slots = self.node.request_ads(FEED, &Policy::default(), &request).slots();
        let ad = slots.into_iter().find_map(|slot| match slot.filling {
            Some(v1::slot::Filling::Ad(ad)) => Some(ad),
            _ => None,
        });
        let ad = ad.expect("an ad in the tray");
        let token =
            self.node.opener().open_view(&ad.view_token, self.node.now().seconds()).unwrap();
        let event = |kind| Incoming::Ad { token, kind, at: None, suspect: None, network: 0 };
        let events = vec![event(v1::EventKind::Impression), event(v1::EventKind::Tap)];
        let verdicts = wait(self.node.record(events).unwrap()).unwrap();
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Recorded { .. })));
        let click = ClickToken {
            entry_point: v1::EntryPoint::Ad as u8,
            per_tap: false,
            view: token.view,
            ad: token.ad,
            viewer: token.viewer,
            issued: token.issued,
            price: PackedPrice::pack(0),
        };
        (ad.chat_link, click)
    }

    /// Returns a conversation after all that follows from it is done; `None`: there is none.
    pub(crate) fn conversation(&self, shop: Shop, contact: &str) -> Option<v1::Conversation> {
        for _ in 0..3 {
            wait(self.node.settled()).unwrap();
        }
        let number = contact_number(&self.node.opener().ring().contact, shop.endpoint, contact);
        let id = conversation_id(shop.business, shop.endpoint, number);
        wait(self.node.conversation(ALL, id)).ok()
    }

    /// Posts a body of Meta's, signed with the secret of most apps.
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        let signature = signed(SECRET, body.as_bytes());
        let headers = [("x-hub-signature-256", &*signature)];
        send(self.web.addr(), "POST", path, &headers, body.as_bytes())
    }

    /// Posts Twilio's form.
    pub(crate) fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut sorted = fields.to_vec();
        sorted.sort_unstable();
        let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{PUBLIC_URL}{path}").as_bytes());
        sorted.iter().for_each(|(name, value)| mac.update(format!("{name}{value}").as_bytes()));
        let signature = data_encoding::BASE64.encode(&mac.finalize().into_bytes());
        let mut writer = form_urlencoded::Serializer::new(String::new());
        writer.extend_pairs(fields);
        let body = writer.finish();
        let headers = [("x-twilio-signature", &*signature)];
        send(self.web.addr(), "POST", path, &headers, body.as_bytes())
    }
}

/// Opens an HTTP door of a node.
pub(crate) fn door(node: &Arc<Node>, patience: Patience) -> Running {
    let config = WebConfig {
        country_header: None,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        cores: NonZeroUsize::MIN,
        public_url: PUBLIC_URL.into(),
        apps: Arc::new(Apps::new(apps(), PUBLIC_URL).unwrap()),
        patience,
    };
    munadi::web::serve(node, &config).unwrap()
}

fn apps() -> Vec<App> {
    let app = |name: &str, kind, tenant, secret: &str| App {
        name: name.into(),
        kind,
        tenant,
        verify_token: if kind == AppKind::Twilio { String::new() } else { VERIFY_TOKEN.into() },
        app_secret: secret.into(),
    };
    vec![
        app("all", AppKind::Whatsapp, 0, SECRET),
        app("own", AppKind::Whatsapp, TENANT, SECRET),
        app("rival", AppKind::Whatsapp, TENANT + 1, OTHER_SECRET),
        app("fb", AppKind::Messenger, 0, SECRET),
        app("tw", AppKind::Twilio, 0, SECRET),
    ]
}

/// Returns Meta's signature of a body.
pub(crate) fn signed(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes()))
}

/// Returns a WhatsApp endpoint with this number.
pub(crate) fn whatsapp(address: &str, account: &str) -> v1::ChannelEndpoint {
    v1::ChannelEndpoint {
        channel: v1::Channel::Whatsapp.into(),
        address: address.into(),
        channel_account_id: account.into(),
        channel_business_id: "waba".into(),
        ..Default::default()
    }
}

/// Returns the code in a chat link's text.
pub(crate) fn code_of(link: &str) -> String {
    match find_click(Channel::Whatsapp, link) {
        Some(FoundClick::Code(code)) => code.to_string(),
        _ => panic!("no code in {link}"),
    }
}

/// Runs a future to its end.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
