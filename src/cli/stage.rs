//! Where a town lives: a node in a folder of its own, its two doors on loopback, and the keys of all roles.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cli::Failure;
use crate::cli::audit::{AuditReport, audit};
use crate::guard::{Key, Keys, Role, secret_blake3};
use crate::node::clock::{Clock, MovedClock};
use crate::node::{Node, NodeOptions};
use crate::rpc::limits::Limits;
use crate::rpc::{Patience, Running, ServerConfig, serve};
use crate::town::{self, Doors, FEED, Hooks, Wake};
use crate::types::money::MICROS_PER_UNIT;
use crate::types::request::Policy;
use crate::types::time::Moment;
use crate::web::{self, App, AppKind, Apps, WebConfig};

/// The feed's floor where no exchange rates are loaded: one unit of any currency for 1,000 impressions, so
/// that nothing is free.
pub(super) const FLOOR_CPM_MICROS: i64 = MICROS_PER_UNIT;

/// Rounds of the writer until nothing follows from an event any more: an opening is noted for experiments in
/// one, credited in the next, settled in a third, and a second one of the same conversation waits for that.
const ROUNDS: usize = 6;

/// A node with its server, and a clock that somebody else moves.
pub(super) struct Stage {
    folder: Folder,
    node: Arc<Node>,
    server: Running,
    web: Running,
    clock: Arc<MovedClock>,
    keys: town::Keys,
    /// What the platforms sign their webhooks with.
    app_secret: String,
}

impl Stage {
    /// Starts an empty node at this moment: in `keep`, or in a folder that is removed at the end. Nothing
    /// is served below the floor.
    ///
    /// # Errors
    /// When the folder holds something, or the node or its server can't be started.
    pub(super) fn open(
        keep: Option<&Path>,
        start: Moment,
        seed: u64,
        advertisers: usize,
        floor_cpm_micros: i64,
    ) -> Result<Self, Failure> {
        let folder = Folder::new(keep)?;
        let clock = Arc::new(MovedClock::at(start));
        let options = NodeOptions {
            feeds: vec![FEED],
            seed: Some(seed),
            // A day is over before another one is worth its time.
            checkpoint_every: Duration::from_secs(3_600),
            ..NodeOptions::default()
        };
        let wall: Arc<dyn Clock> = Arc::<MovedClock>::clone(&clock);
        let node = Arc::new(Node::start(&folder.path, wall, &options)?);
        let (keys, known) = keys(advertisers);
        let config = ServerConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            // One core answers one caller, in one order.
            cores: NonZeroUsize::MIN,
            keys: Arc::new(known),
            patience: Patience::default(),
            tls: None,
            limits: Limits::OFF,
            traces: None,
        };
        let policy = Policy { floor_cpm_micros, ..Policy::default() };
        let policies = Arc::new(BTreeMap::from([(FEED, policy)]));
        let server = serve(&node, &policies, config)?;
        let app_secret = secret();
        let web = web::serve(&node, &web_config(&app_secret)?)?;
        Ok(Self { folder, node, server, web, clock, keys, app_secret })
    }

    /// Returns the chat platforms' side of the HTTP door.
    pub(super) fn hooks(&self) -> Hooks {
        Hooks::new(format!("http://{}", self.web.addr()), self.app_secret.clone())
    }

    /// Connects to the server as every role of the town.
    ///
    /// # Errors
    /// When the server can't be reached.
    pub(super) async fn doors(&self) -> Result<Doors, Failure> {
        Ok(Doors::connect(&format!("http://{}", self.server.addr()), &self.keys).await?)
    }

    /// Returns the clock that the town moves.
    pub(super) fn clock(&self) -> Arc<MovedClock> {
        Arc::clone(&self.clock)
    }

    /// Returns the machine's time, for measuring.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Returns what waits until the node has done all that follows from time and events.
    pub(super) fn wake(&self) -> Wake {
        let node = Arc::clone(&self.node);
        Box::new(move || {
            let node = Arc::clone(&node);
            Box::pin(async move {
                for _ in 0..ROUNDS {
                    // A node that stopped says so to the next call of the town.
                    let _ = node.settled().await;
                }
            })
        })
    }

    /// Stops server and node, and lets the audit recount the journal they leave.
    ///
    /// # Errors
    /// When the journal can't be sealed or read.
    pub(super) fn close(self) -> Result<AuditReport, Failure> {
        self.server.stop();
        self.web.stop();
        let node = Arc::into_inner(self.node);
        node.map_or(Ok(()), Node::stop)?;
        Ok(audit(&self.folder.path)?)
    }
}

/// Returns the HTTP door for the platforms' apps, which speak for every business.
fn web_config(app_secret: &str) -> Result<WebConfig, Failure> {
    let app = |kind: AppKind| App {
        name: format!("{}-{}", kind.name(), town::APP),
        kind,
        tenant: 0,
        verify_token: app_secret.to_owned(),
        app_secret: app_secret.to_owned(),
    };
    let apps = Apps::new([AppKind::Whatsapp, AppKind::Messenger].map(app), "")?;
    Ok(WebConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        cores: NonZeroUsize::MIN,
        public_url: String::new(),
        country_header: None,
        apps: Arc::new(apps),
        patience: web::Patience::default(),
    })
}

/// Makes keys for the town's roles; returns them, and what the server knows of them.
fn keys(advertisers: usize) -> (town::Keys, Keys) {
    let mut known = Vec::new();
    let mut key = |id: String, role, tenant| {
        let secret = secret();
        known.push(Key { id: id.clone(), role, tenant, secret_blake3: secret_blake3(&secret) });
        format!("mk_{id}_{secret}")
    };
    let advertisers = (1..=advertisers as u32)
        .map(|tenant| key(format!("advertiser-{tenant}"), Role::Advertiser, tenant));
    let keys = town::Keys {
        advertisers: advertisers.collect(),
        feed: key("feed".to_owned(), Role::Feed, FEED),
        chat: key("chat".to_owned(), Role::Chat, 0),
        analytics: key("analytics".to_owned(), Role::Analytics, 0),
        operator: key("operator".to_owned(), Role::Operator, 0),
    };
    (keys, Keys::new(known).expect("the ids differ and every role has its tenant"))
}

fn secret() -> String {
    let mut bytes = [0; 16];
    crate::node::dice::fill_from_system(&mut bytes);
    data_encoding::HEXLOWER.encode(&bytes)
}

/// The folder of one run. Removed when dropped, unless it is to be kept.
struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    fn new(keep: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = keep else {
            let path = std::env::temp_dir().join(format!("munadi-{}", secret()));
            fs::create_dir(&path)?;
            return Ok(Self { path, kept: false });
        };
        fs::create_dir_all(path)?;
        if fs::read_dir(path)?.next().is_some() {
            let path = path.display();
            return Err(format!("{path}: the folder is not empty: name a new one").into());
        }
        Ok(Self { path: path.to_owned(), kept: true })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a temporary folder was left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_unless_it_is_kept() {
        let path = Folder::new(None).unwrap().path.clone();
        assert!(!path.exists());
        let temporary = tempfile::tempdir().unwrap();
        let kept = temporary.path().join("kept");
        drop(Folder::new(Some(&kept)).unwrap());
        assert!(kept.exists());
        fs::write(kept.join("something"), "here").unwrap();
        assert!(Folder::new(Some(&kept)).is_err());
    }
}
