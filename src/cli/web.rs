//! The `[web]` part of the configuration: where the HTTP door listens, and whose webhooks it takes.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
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
    verify_token_file: Option<PathBuf>,
    #[serde(default)]
    app_secret: String,
    app_secret_file: Option<PathBuf>,
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
        let mut apps = Vec::with_capacity(self.apps.len());
        for app in &self.apps {
            let AppLines { verify_token, verify_token_file, app_secret, app_secret_file, .. } = app;
            let verify_token = secret("web.apps.verify_token", verify_token, verify_token_file)?;
            let app_secret = secret("web.apps.app_secret", app_secret, app_secret_file)?;
            let (name, kind, tenant) = (app.name.clone(), app.kind, app.tenant);
            apps.push(App { name, kind, tenant, verify_token, app_secret });
        }
        let apps = Arc::new(Apps::new(apps, &self.public_url)?);
        let country_header = match self.country_header.as_str() {
            "" => None,
            name => Some(HeaderName::try_from(name).map_err(|_| BadConfig::CountryHeader)?),
        };
        let public_url = self.public_url.clone();
        Ok(Web { listen: self.listen, public_url, country_header, apps })
    }
}

/// Returns a secret as it is written, or what the file holds that is named instead, without a line's end.
fn secret(name: &'static str, written: &str, file: &Option<PathBuf>) -> Result<String, BadConfig> {
    let Some(file) = file else { return Ok(written.to_owned()) };
    if !written.is_empty() {
        return Err(BadConfig::Secret(name));
    }
    let read = std::fs::read_to_string(file);
    let read = read.map_err(|error| BadConfig::SecretFile { name, file: file.clone(), error })?;
    Ok(read.trim_end_matches(['\r', '\n']).to_owned())
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7701))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::Config;

    #[test]
    fn a_secret_may_lie_in_a_file_and_shows_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let [token, secret] = ["token", "secret"].map(|name| folder.path().join(name));
        std::fs::write(&token, "planted-token-of-more-than-16\n").unwrap();
        std::fs::write(&secret, "planted-secret-of-more-than-16\n").unwrap();
        let app = "[web]\n[[web.apps]]\nname = 'mx'\nkind = 'whatsapp'\ntenant = 0\n";
        let by_file = format!("{app}verify_token_file = {token:?}\napp_secret_file = {secret:?}\n");
        let config = read(&by_file);
        let checked = config.check().unwrap();
        assert_eq!(checked.web.as_ref().unwrap().apps.count(), 1);
        let shown = format!("{config:?} {checked:?}");
        assert!(!shown.contains("planted"), "{shown}");
        let plain = "app_secret = 'planted-secret-of-more-than-16'\n";
        let plain = format!("{app}verify_token_file = {token:?}\n{plain}");
        let config = read(&plain);
        let shown = format!("{config:?} {:?}", config.check().unwrap());
        assert!(!shown.contains("planted"), "{shown}");
        let both = format!("{plain}app_secret_file = {secret:?}\n");
        let error = read(&both).check().unwrap_err().to_string();
        assert!(error.contains("app_secret_file") && !error.contains("planted"), "{error}");
        std::fs::remove_file(&secret).unwrap();
        let error = read(&by_file).check().unwrap_err();
        assert!(
            matches!(error, BadConfig::SecretFile { name: "web.apps.app_secret", .. }),
            "{error}"
        );
    }

    /// Reads TOML text as if it were the file.
    fn read(file: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("munadi.toml");
        std::fs::write(&path, file).unwrap();
        Config::read(Some(&path), std::iter::empty(), &[]).unwrap()
    }
}
