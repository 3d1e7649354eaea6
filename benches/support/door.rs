//! The server set-up that the real server and the no-op share: the real one's own, guard included.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use munadi::guard::{Key, Keys, Role, secret_blake3};
use munadi::rpc::{Patience, ServerConfig};

use crate::Failure;

/// The feed that asks for ads.
pub(crate) const FEED: u32 = 7;

/// The feed's key.
pub(crate) const FEED_KEY: &str = "mk_feed_bench-only";

/// The key of whoever creates the ads.
pub(crate) const ADVERTISER_KEY: &str = "mk_advertiser_bench-only";

const SECRET: &str = "bench-only";
const TENANT: u32 = 42;

/// Returns the set-up: a runtime for each core, a free port, two keys.
pub(crate) fn config() -> Result<ServerConfig, Failure> {
    let keys = [("feed", Role::Feed, FEED), ("advertiser", Role::Advertiser, TENANT)];
    let keys = keys.map(|(id, role, tenant)| Key {
        id: id.to_owned(),
        role,
        tenant,
        secret_blake3: secret_blake3(SECRET),
    });
    Ok(ServerConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        cores: std::thread::available_parallelism()?,
        keys: Arc::new(Keys::new(keys)?),
        patience: Patience::default(),
    })
}
