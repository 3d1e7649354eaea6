//! Which path leads where. Every handler of the door is mounted here.

use std::sync::Arc;

use http::{HeaderName, Method, Request, StatusCode};
use hyper::body::Incoming;

use crate::node::{Gauge, Node};
use crate::web::answer::{self, Answer};
use crate::web::apps::{AppKind, Apps};
use crate::web::body::Memory;
use crate::web::redirect;
use crate::web::server::WebConfig;
use crate::web::taps::Taps;

/// What handlers work with.
pub(in crate::web) struct Web {
    /// The node behind the door.
    pub(in crate::web) node: Arc<Node>,
    /// How far its writer is behind.
    pub(in crate::web) gauge: Gauge,
    /// Whose webhooks are taken.
    pub(in crate::web) apps: Arc<Apps>,
    /// The address at which the world reaches the door.
    pub(in crate::web) public_url: String,
    /// Names the header in which something before the door tells a person's country.
    pub(in crate::web) country_header: Option<HeaderName>,
    /// What bodies are read into.
    pub(in crate::web) memory: Memory,
    /// Which taps of followed links are counted.
    pub(in crate::web) taps: Taps,
}

/// A path, taken apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Route<'a> {
    /// `/healthz`: whether the process answers.
    Health,
    /// `/c/{token}`: forwards to a chat.
    Chat(&'a str),
    /// `/webhooks/{kind}/{app}`: what chat platforms tell.
    Webhook(AppKind, &'a str),
    /// Any other.
    Nowhere,
}

impl Route<'_> {
    fn of(path: &str) -> Route<'_> {
        let mut parts = path.strip_prefix('/').unwrap_or(path).split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("healthz"), None, None, None) => Route::Health,
            (Some("c"), Some(token), None, None) => Route::Chat(token),
            (Some("webhooks"), Some(kind), Some(app), None) => {
                let kind = AppKind::ALL.into_iter().find(|known| known.name() == kind);
                kind.map_or(Route::Nowhere, |kind| Route::Webhook(kind, app))
            }
            _ => Route::Nowhere,
        }
    }
}

impl Web {
    pub(in crate::web) fn new(node: &Arc<Node>, config: &WebConfig) -> Self {
        Self {
            node: Arc::clone(node),
            gauge: node.gauge(),
            apps: Arc::clone(&config.apps),
            public_url: config.public_url.clone(),
            country_header: config.country_header.clone(),
            memory: Memory::new(config.patience.body),
            taps: Taps::new(),
        }
    }

    /// Answers one request.
    pub(in crate::web) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        match Route::of(head.uri.path()) {
            Route::Health | Route::Chat(_) if !reads => answer::wrong_method("GET, HEAD"),
            Route::Health => self.health(),
            Route::Webhook(kind, app) => match (&head.method, kind) {
                (&Method::POST, _) => self.post(kind, app, &head, body).await,
                (_, AppKind::Twilio) => answer::wrong_method("POST"),
                (&Method::GET, AppKind::Whatsapp | AppKind::Messenger) => {
                    self.verify(kind, app, &head)
                }
                _ => answer::wrong_method("GET, POST"),
            },
            Route::Chat(token) => redirect::answer(self, token, &head),
            Route::Nowhere => answer::refused(StatusCode::NOT_FOUND, "NOT_FOUND"),
        }
    }

    /// Tells whether what is sent here can be made durable.
    fn health(&self) -> Answer {
        if self.node.front().is_stopped() {
            return answer::busy("JOURNAL_STOPPED");
        }
        answer::text(StatusCode::OK, "ok")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_one_place() {
        for (path, route) in [
            ("/healthz", Route::Health),
            ("/c/abc", Route::Chat("abc")),
            ("/webhooks/whatsapp/mx", Route::Webhook(AppKind::Whatsapp, "mx")),
            ("/webhooks/messenger/mx", Route::Webhook(AppKind::Messenger, "mx")),
            ("/webhooks/twilio/", Route::Webhook(AppKind::Twilio, "")),
            ("/webhooks/telegram/mx", Route::Nowhere),
            ("/webhooks/whatsapp", Route::Nowhere),
            ("/webhooks/whatsapp/mx/", Route::Nowhere),
            ("/c", Route::Nowhere),
            ("/c/a/b", Route::Nowhere),
            ("/", Route::Nowhere),
            ("", Route::Nowhere),
            ("*", Route::Nowhere),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }
}
