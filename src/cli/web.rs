//! The `[web]` part of the configuration: where the HTTP door listens, and whose webhooks it takes.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use http::HeaderName;
use serde::Deserialize;

use crate::cli::config::BadConfig;
use crate::web::{App, AppKind, Apps, Patience, WebConfig, check_public_url};

/// The lines of `[web]`. No `Debug` of it shows a secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebLines {
    #[serde(default = "default_listen")]
    pub(super) listen: SocketAddr,
    #[serde(default)]
    public_url: String,
    #[serde(default)]
    country_header: String,
    #[serde(default)]
    apps: Vec<AppLines>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppLines {
    name: String,
    kind: AppKind,
    tenant: u32,
    #[serde(default)]
    verify_token: String,
    app_secret: String,
}

impl std::fmt::Debug for AppLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppLines").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An HTTP door that can be opened.
#[derive(Clone, Debug)]
pub(super) struct Web {
    /// Where it listens.
    pub(super) listen: SocketAddr,
    /// The address at which the world reaches it. Empty: not told.
    pub(super) public_url: String,
    /// The header that tells a person's country.
    pub(super) country_header: Option<HeaderName>,
    /// Whose webhooks it takes.
    pub(super) apps: Arc<Apps>,
}

impl Web {
    /// Returns what the door is started with.
    pub(super) fn config(&self, cores: NonZeroUsize) -> WebConfig {
        WebConfig {
            listen: self.listen,
            cores,
            public_url: self.public_url.clone(),
            country_header: self.country_header.clone(),
            apps: Arc::clone(&self.apps),
            patience: Patience::default(),
        }
    }
}

impl WebLines {
    /// Checks what the types don't say.
    pub(super) fn checked(&self) -> Result<Web, BadConfig> {
        check_public_url(&self.public_url)?;
        let apps = self.apps.iter().map(|app| App {
            name: app.name.clone(),
            kind: app.kind,
            tenant: app.tenant,
            verify_token: app.verify_token.clone(),
            app_secret: app.app_secret.clone(),
        });
        let apps = Arc::new(Apps::new(apps, &self.public_url)?);
        let country_header = match self.country_header.as_str() {
            "" => None,
            name => Some(HeaderName::try_from(name).map_err(|_| BadConfig::CountryHeader)?),
        };
        let public_url = self.public_url.clone();
        Ok(Web { listen: self.listen, public_url, country_header, apps })
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7701))
}
