//! The real server: a node in a folder of its own, its ads created through the door.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use munadi::node::clock::SystemClock;
use munadi::node::{Node, NodeOptions};
use munadi::rpc::{Policies, Running, serve};
use munadi::types::request::Policy;
use tempfile::TempDir;

use crate::Failure;
use crate::support::campaigns;
use crate::support::child::Target;
use crate::support::door::{self, ADVERTISER_KEY, FEED, FEED_KEY};

/// How long new ads may take to go live; a second is promised.
const LIVE_WITHIN: Duration = Duration::from_secs(10);

/// A running server. Its folder goes with it.
pub(crate) struct Real {
    pub(crate) target: Target,
    _server: Running,
    _folder: TempDir,
}

/// Starts a server with so many live ads.
pub(crate) fn start(ads: u32) -> Result<Real, Failure> {
    let folder = tempfile::tempdir()?;
    let options = NodeOptions { feeds: vec![FEED], approve_ads: true, ..NodeOptions::default() };
    let node = Arc::new(Node::start(folder.path(), Arc::new(SystemClock::default()), &options)?);
    let policies: Policies = Arc::new(BTreeMap::from([(FEED, Policy::default())]));
    let server = serve(&node, &policies, door::config()?)?;
    let target = |key: &str| Target { address: server.addr(), key: key.to_owned() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(campaigns::create(&target(ADVERTISER_KEY), ads))?;
    let created = Instant::now();
    while node.front().live_ads() < ads as usize {
        if created.elapsed() > LIVE_WITHIN {
            return Err(format!("{} of {ads} ads are live", node.front().live_ads()).into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Real { target: target(FEED_KEY), _server: server, _folder: folder })
}
