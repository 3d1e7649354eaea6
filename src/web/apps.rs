//! The apps whose webhooks are taken: which platform signs them, with what secret, and for whom they speak.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::web::body::shares_of_app;
use crate::web::limits::{
    APP_NAME_CHARS_MAX, APPS_MAX, PUBLIC_URL_CHARS_MAX, SECRET_CHARS_MAX, SECRET_CHARS_MIN,
};
use crate::web::signature::MetaKey;

/// Whose webhooks an app's are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "snake_case")]
pub enum AppKind {
    /// WhatsApp Cloud API.
    Whatsapp,
    /// Messenger and Instagram.
    Messenger,
    /// Twilio's form.
    Twilio,
}

impl AppKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Whatsapp, Self::Messenger, Self::Twilio];

    /// Returns the name that configuration, paths and metrics use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whatsapp => "whatsapp",
            Self::Messenger => "messenger",
            Self::Twilio => "twilio",
        }
    }
}

/// One app as the configuration holds it. `Debug` shows no secret.
#[derive(Clone)]
pub struct App {
    /// The last part of its webhook's path: lower-case letters, digits and hyphens.
    pub name: String,
    /// Whose webhooks they are.
    pub kind: AppKind,
    /// Whose endpoints it may speak for; 0: the platform's app, for every tenant's.
    pub tenant: u32,
    /// What the platform sends to prove that the address is ours (`hub.verify_token`). Twilio has none.
    pub verify_token: String,
    /// What the platform signs with: the app secret, or Twilio's auth token.
    pub app_secret: String,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// Why an app of the configuration is refused. No secret is repeated.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum BadApp {
    /// The name cannot stand in a path.
    #[error(
        "app {0:?}: name must be 1 to {APP_NAME_CHARS_MAX} lower-case letters, digits or hyphens"
    )]
    Name(String),
    /// Two apps have one name.
    #[error("app {0:?} is there twice: give each app its own name")]
    Twice(String),
    /// Too many.
    #[error("there are more than {APPS_MAX} apps")]
    TooMany,
    /// The secret is none.
    #[error(
        "app {0:?}: app_secret must be {SECRET_CHARS_MIN} to {SECRET_CHARS_MAX} visible ASCII \
         characters, as the platform shows it"
    )]
    Secret(String),
    /// The verify token is none.
    #[error(
        "app {0:?}: verify_token must be {SECRET_CHARS_MIN} to {SECRET_CHARS_MAX} visible ASCII \
         characters; make one up and tell the platform"
    )]
    VerifyToken(String),
    /// Twilio verifies nothing.
    #[error("app {0:?}: verify_token is of no use to a Twilio app: leave it out")]
    VerifyTokenOfTwilio(String),
    /// A signature of Twilio covers the address.
    #[error("app {0:?}: a Twilio app needs web.public_url, which Twilio signs too")]
    NoPublicUrl(String),
}

/// An app that a door knows. `Debug` shows no secret.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) app: App,
    pub(super) meta_key: MetaKey,
    /// Its part of the memory of all bodies.
    pub(super) shares: Arc<Semaphore>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.app, f)
    }
}

/// The apps that a door knows, by name.
#[derive(Clone, Debug, Default)]
pub struct Apps {
    by_name: BTreeMap<String, Known>,
}

impl Apps {
    /// Returns the apps of a configuration.
    ///
    /// # Errors
    /// With the app at fault.
    pub fn new(apps: impl IntoIterator<Item = App>, public_url: &str) -> Result<Self, BadApp> {
        let mut by_name = BTreeMap::new();
        for app in apps {
            check(&app, public_url)?;
            if by_name.len() == APPS_MAX {
                return Err(BadApp::TooMany);
            }
            if by_name.contains_key(&app.name) {
                return Err(BadApp::Twice(app.name));
            }
            let meta_key = MetaKey::new(&app.app_secret);
            let shares = Arc::new(shares_of_app());
            by_name.insert(app.name.clone(), Known { app, meta_key, shares });
        }
        Ok(Self { by_name })
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.by_name.len()
    }

    /// Returns the app that a path names.
    pub fn get(&self, kind: AppKind, name: &str) -> Option<&App> {
        self.known(kind, name).map(|known| &known.app)
    }

    /// As [`Apps::get`], with what its platform signs with.
    pub(super) fn known(&self, kind: AppKind, name: &str) -> Option<&Known> {
        self.by_name.get(name).filter(|known| known.app.kind == kind)
    }
}

fn check(app: &App, public_url: &str) -> Result<(), BadApp> {
    let name = || app.name.clone();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=APP_NAME_CHARS_MAX).contains(&app.name.len()) || !app.name.bytes().all(allowed) {
        return Err(BadApp::Name(name()));
    }
    if !is_secret(&app.app_secret) {
        return Err(BadApp::Secret(name()));
    }
    match app.kind {
        AppKind::Whatsapp | AppKind::Messenger if !is_secret(&app.verify_token) => {
            Err(BadApp::VerifyToken(name()))
        }
        AppKind::Twilio if !app.verify_token.is_empty() => Err(BadApp::VerifyTokenOfTwilio(name())),
        AppKind::Twilio if public_url.is_empty() => Err(BadApp::NoPublicUrl(name())),
        AppKind::Whatsapp | AppKind::Messenger | AppKind::Twilio => Ok(()),
    }
}

fn is_secret(text: &str) -> bool {
    (SECRET_CHARS_MIN..=SECRET_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A public address that can't be one.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "must be https:// and a host, without a path or a slash at the end, at most \
     {PUBLIC_URL_CHARS_MAX} characters; http:// only for this machine itself"
)]
pub struct BadUrl;

/// Checks the address at which the world reaches the door. Empty: it is not told.
///
/// # Errors
/// When links and signatures could not begin with it.
pub fn check_public_url(url: &str) -> Result<(), BadUrl> {
    if url.is_empty() {
        return Ok(());
    }
    let (host, plain) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(host), _) => (host, false),
        (None, Some(host)) => (host, true),
        (None, None) => return Err(BadUrl),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_here = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    let is_good = !host.is_empty()
        && url.len() <= PUBLIC_URL_CHARS_MAX
        && host.bytes().all(allowed)
        && host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
        && (!plain || is_here);
    if is_good { Ok(()) } else { Err(BadUrl) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";
    const URL: &str = "https://ads.example";

    #[test]
    fn an_app_is_found_by_its_kind_and_name() {
        let apps = Apps::new([app("mx", AppKind::Whatsapp)], "").unwrap();
        assert_eq!(apps.count(), 1);
        assert_eq!(apps.get(AppKind::Whatsapp, "mx").unwrap().tenant, 4);
        assert!(apps.get(AppKind::Messenger, "mx").is_none());
        assert!(apps.get(AppKind::Whatsapp, "in").is_none());
    }

    #[test]
    fn an_app_that_can_not_work_is_refused_by_its_fault() {
        let refused = |app: App, url| Apps::new([app], url).unwrap_err();
        let good = app("mx", AppKind::Whatsapp);
        let named = |name: &str| App { name: name.into(), ..good.clone() };
        for name in ["", "MX", "a b", &"a".repeat(33), "a/b"] {
            assert_eq!(refused(named(name), ""), BadApp::Name(name.into()));
        }
        for secret in ["", "0123456789abcde", &"x".repeat(129), "0123456789abcde\n"] {
            let bad = App { app_secret: secret.into(), ..good.clone() };
            assert_eq!(refused(bad, ""), BadApp::Secret("mx".into()));
            let bad = App { verify_token: secret.into(), ..good.clone() };
            assert_eq!(refused(bad, ""), BadApp::VerifyToken("mx".into()));
        }
        assert_eq!(
            refused(app("tw", AppKind::Twilio), ""),
            BadApp::VerifyTokenOfTwilio("tw".into())
        );
        let twilio = App { verify_token: String::new(), ..app("tw", AppKind::Twilio) };
        assert_eq!(refused(twilio.clone(), ""), BadApp::NoPublicUrl("tw".into()));
        assert!(Apps::new([twilio], URL).is_ok());
        let twice = Apps::new([good.clone(), good], "").unwrap_err();
        assert_eq!(twice, BadApp::Twice("mx".into()));
    }

    #[test]
    fn no_error_and_no_debug_text_repeats_a_secret() {
        let app = App { app_secret: "planted!".into(), ..app("mx", AppKind::Whatsapp) };
        let debug = format!("{app:?} {:?}", Apps::new([app.clone()], "").unwrap_err());
        let display = Apps::new([app], "").unwrap_err().to_string();
        assert!(!debug.contains("planted") && !debug.contains(SECRET), "{debug}");
        assert!(!display.contains("planted"), "{display}");
    }

    #[test]
    fn a_public_address_is_a_host_behind_tls() {
        for good in ["", URL, "https://ads.example:8443", "http://127.0.0.1:7701"] {
            assert_eq!(check_public_url(good), Ok(()), "{good}");
        }
        for bad in [
            "ads.example",
            "http://ads.example",
            "https://",
            "https://ads.example/",
            "https://a@b",
            "https://ads.example?x",
            "https://:443",
            "http://localhost.evil.example",
        ] {
            assert_eq!(check_public_url(bad), Err(BadUrl), "{bad}");
        }
    }

    fn app(name: &str, kind: AppKind) -> App {
        let (verify_token, app_secret) = (SECRET.to_owned(), SECRET.to_owned());
        App { name: name.into(), kind, tenant: 4, verify_token, app_secret }
    }
}
