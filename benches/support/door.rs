//! The server set-up that the real server and the no-op share: the real one's own, guard included.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use munadi::guard::{Key, Keys, Role, secret_blake3};
use munadi::rpc::limits::Limits;
use munadi::rpc::{Patience, ServerConfig};

use crate::Failure;
use crate::support::market::FEED;

/// The feed's key.
pub(crate) const FEED_KEY: &str = "mk_feed_bench-only";

const SECRET: &str = "bench-only";

/// Returns the set-up: a runtime for each core, a free port, the feed's key.
pub(crate) fn config() -> Result<ServerConfig, Failure> {
    let key = Key {
        id: "feed".to_owned(),
        role: Role::Feed,
        tenant: FEED,
        secret_blake3: secret_blake3(SECRET),
    };
    Ok(ServerConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        cores: std::thread::available_parallelism()?,
        keys: Arc::new(Keys::new([key])?),
        patience: Patience::default(),
        tls: None,
        limits: Limits::OFF,
        traces: None,
    })
}
