//! The two servers: a node behind the HTTP door, and the same door that answers without a thought.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use munadi::listen::Running;
use munadi::node::clock::SystemClock;
use munadi::node::{Node, NodeOptions};
use munadi::types::proto::v1;
use munadi::types::request::{Author, Change, Mutation, Resource};
use munadi::web::{App, AppKind, Apps, Patience, WebConfig, serve, serve_handler};

use crate::Failure;
use crate::support::child::Target;

/// What posts are signed with.
const SECRET: &str = "bench-only-secret";

/// The number that is written to.
pub(crate) const ACCOUNT: &str = "106540352242922";

const TENANT: u32 = 42;

/// A running server.
pub(crate) struct Server {
    pub(crate) target: Target,
    _running: Running,
    _node: Option<Arc<Node>>,
}

/// Starts a node with one endpoint in this empty folder, and its door.
pub(crate) fn real(folder: &Path) -> Result<Server, Failure> {
    // A checkpoint is no part of what is measured.
    let checkpoint_every = Duration::from_secs(24 * 3_600);
    let options = NodeOptions { checkpoint_every, ..NodeOptions::default() };
    let node = Arc::new(Node::start(folder, Arc::new(SystemClock::default()), &options)?);
    endpoint(&node)?;
    let running = serve(&node, &config()?)?;
    let target = Target { address: running.addr(), key: SECRET.into() };
    Ok(Server { target, _running: running, _node: Some(node) })
}

/// Starts a door that reads each body and answers 200, for posts like those to the real one.
pub(crate) fn noop(real: &Target) -> Result<Server, Failure> {
    let running = serve_handler(&config()?, |request| async move {
        let read = request.into_body().collect().await;
        let text = if read.is_ok() { "ok" } else { "broken" };
        http::Response::new(Full::new(text.into()))
    })?;
    let target = Target { address: running.addr(), key: real.key.clone() };
    Ok(Server { target, _running: running, _node: None })
}

fn config() -> Result<WebConfig, Failure> {
    let app = App {
        name: "bench".into(),
        kind: AppKind::Whatsapp,
        tenant: 0,
        verify_token: SECRET.into(),
        app_secret: SECRET.into(),
    };
    Ok(WebConfig {
        country_header: None,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        cores: std::thread::available_parallelism()?,
        public_url: String::new(),
        apps: Arc::new(Apps::new([app], "")?),
        patience: Patience::default(),
    })
}

/// Makes the endpoint that is written to, and what stands above it.
fn endpoint(node: &Node) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let write = |number: u8, resource| {
        let mutation = Mutation {
            tenant: TENANT,
            any_tenant: false,
            request_id: number.to_string(),
            body_hash: [number; 16],
            by: Author::default(),
            validate_only: false,
            approve: true,
            change: Change::Create(resource),
        };
        let made = runtime.block_on(node.mutate(mutation));
        made.map(|made| made.id()).map_err(|refusal| refusal.message.into_owned())
    };
    let account_id = write(
        1,
        Resource::Account(v1::Account {
            name: "Bench".into(),
            currency: "MXN".into(),
            time_zone: "America/Mexico_City".into(),
            ..Default::default()
        }),
    )?;
    let business = v1::Business { account_id, name: "Bench".into(), ..Default::default() };
    let business_id = write(2, Resource::Business(business))?;
    let endpoint = v1::ChannelEndpoint {
        business_id,
        channel: v1::Channel::Whatsapp.into(),
        address: "5215512345678".into(),
        channel_account_id: ACCOUNT.into(),
        ..Default::default()
    };
    write(3, Resource::Endpoint(endpoint))?;
    Ok(())
}
