//! The real server: a node in a folder of its own, its ads written to the node before the door opens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cpu_time::ThreadTime;
use munadi::node::Node;
use munadi::rpc::{Policies, Running, serve};
use munadi::types::request::Policy;
use tempfile::TempDir;

use crate::Failure;
use crate::support::campaigns;
use crate::support::child::Target;
use crate::support::door::{self, FEED_KEY};
use crate::support::market::{FEED, Market};
use crate::support::requests;

/// Trays that are filled before the first that counts.
const WARM_UP: u32 = 2_000;

/// A running server. Its folder goes with it.
pub(crate) struct Real {
    pub(crate) target: Target,
    /// Thread CPU time of one tray without the door: selection, auction and sealing, us.
    pub(crate) tray_us: f64,
    _server: Running,
    _market: Market,
    _folder: TempDir,
}

/// Starts a server with so many live ads, and fills so many trays in this process.
pub(crate) fn start(ads: u32, trays: u32) -> Result<Real, Failure> {
    let folder = tempfile::tempdir()?;
    let market = Market::open(folder.path())?;
    campaigns::create(&market, ads)?;
    market.wait_for(ads as usize)?;
    fill(&market.node, WARM_UP.min(trays), 0);
    let tray_us = fill(&market.node, trays, WARM_UP).as_secs_f64() * 1e6 / f64::from(trays);
    let policies: Policies = Arc::new(BTreeMap::from([(FEED, Policy::default())]));
    let server = serve(&market.node, &policies, door::config()?)?;
    let target = Target { address: server.addr(), key: FEED_KEY.to_owned() };
    Ok(Real { target, tray_us, _server: server, _market: market, _folder: folder })
}

/// Fills so many trays for viewers that the load does not bring, and returns the thread's CPU time.
fn fill(node: &Node, trays: u32, from: u32) -> Duration {
    let (policy, front, now) = (Policy::default(), node.front(), node.now());
    let mut spent = Duration::ZERO;
    for turn in from..from + trays {
        let request = requests::parsed(turn);
        let start = ThreadTime::now();
        std::hint::black_box(front.request_ads(FEED, &policy, &request, now));
        spent += start.elapsed();
    }
    spent
}
