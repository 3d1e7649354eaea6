//! Webhooks: whose it is, who signed it, what it tells, the node's acknowledgement, and only then 200. A body is read
//! only for an app that is known, with a signature that may be one. What a person wrote is passed over while it is
//! read, and the body is zeroed before the node is asked.

use http::request::Parts;
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming as Body;
use prost::Message;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::channels::inbound::{
    Form, Inbound, Malformed, parse_messenger, parse_twilio, parse_whatsapp,
};
use crate::types::proto::journal::v1::VolumeTierPut;
use crate::types::refusal::Reason;
use crate::types::request::{Author, Incoming, ListChange, ListMutation, Verdict};
use crate::web::answer::{self, Answer};
use crate::web::apps::{App, AppKind, Known};
use crate::web::body::BadBody;
use crate::web::limits::{ANSWER_DEADLINE, CHALLENGE_CHARS_MAX, EVENTS_MAX};
use crate::web::routes::Web;
use crate::web::signature::{is_of_twilio, is_same, told_by_meta, told_by_twilio};
use crate::web::turn::{Turn, Turned};

/// The header of Meta's signature.
const META_SIGNATURE: &str = "x-hub-signature-256";

/// The header of Twilio's signature.
const TWILIO_SIGNATURE: &str = "x-twilio-signature";

/// How a post of a webhook ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::web) enum Ended {
    /// Everything it told is durable, or of no use.
    Taken,
    /// No app has this name.
    NoApp,
    /// The signature is missing or another's.
    Unsigned,
    /// No JSON or form.
    Malformed,
    /// Not read.
    BadBody(BadBody),
    /// Too much waits for the journal.
    Busy,
    /// The journal can't be written, or did not answer in time.
    Unavailable,
}

impl Ended {
    /// Returns the name that metrics use.
    const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::NoApp => "no_app",
            Self::Unsigned => "unsigned",
            Self::Malformed => "malformed",
            Self::BadBody(BadBody::TooLarge) => "too_large",
            Self::BadBody(BadBody::TooSlow) => "too_slow",
            Self::BadBody(BadBody::Broken) => "broken",
            Self::Busy | Self::BadBody(BadBody::Busy) => "busy",
            Self::Unavailable => "unavailable",
        }
    }

    fn answer(self) -> Answer {
        match self {
            Self::Taken => answer::text(StatusCode::OK, "ok"),
            Self::NoApp => answer::refused(StatusCode::NOT_FOUND, "APP_UNKNOWN"),
            Self::Unsigned => answer::refused(StatusCode::UNAUTHORIZED, "SIGNATURE_INVALID"),
            Self::Malformed => answer::refused(StatusCode::BAD_REQUEST, "BODY_MALFORMED"),
            Self::BadBody(BadBody::TooLarge) => {
                answer::refused(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE")
            }
            Self::BadBody(BadBody::TooSlow) => {
                answer::refused(StatusCode::REQUEST_TIMEOUT, "BODY_TOO_SLOW")
            }
            Self::BadBody(BadBody::Broken) => {
                answer::refused(StatusCode::BAD_REQUEST, "BODY_BROKEN")
            }
            Self::Busy | Self::BadBody(BadBody::Busy) => answer::busy("BUSY"),
            Self::Unavailable => answer::busy("UNAVAILABLE"),
        }
    }
}

impl Web {
    /// Answers a platform that asks whether the address is ours: with its challenge, if it knows the app's
    /// verify token.
    pub(in crate::web) fn verify(&self, kind: AppKind, name: &str, head: &Parts) -> Answer {
        let Some(app) = self.apps.get(kind, name) else { return Ended::NoApp.answer() };
        let form = Form::decode(head.uri.query().unwrap_or_default().as_bytes());
        let Some(form) = form.filter(|form| form.get("hub.mode") == "subscribe") else {
            return answer::refused(StatusCode::BAD_REQUEST, "HUB_MODE_INVALID");
        };
        if !is_same(&app.verify_token, form.get("hub.verify_token")) {
            return answer::refused(StatusCode::FORBIDDEN, "VERIFY_TOKEN_INVALID");
        }
        let challenge = form.get("hub.challenge");
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=CHALLENGE_CHARS_MAX).contains(&challenge.len()) || !challenge.bytes().all(allowed)
        {
            return answer::refused(StatusCode::BAD_REQUEST, "HUB_CHALLENGE_INVALID");
        }
        answer::text(StatusCode::OK, challenge.to_owned())
    }

    /// Takes one post of a webhook.
    pub(in crate::web) async fn post(
        &self,
        kind: AppKind,
        name: &str,
        head: &Parts,
        body: Body,
    ) -> Answer {
        let ended = self.take(kind, name, head, body).await.err().unwrap_or(Ended::Taken);
        metrics::counter!(
            "munadi_webhook_posts_total", "app" => kind.name(), "outcome" => ended.name()
        )
        .increment(1);
        ended.answer()
    }

    async fn take(&self, kind: AppKind, name: &str, head: &Parts, body: Body) -> Result<(), Ended> {
        // What is told here is billed: it is refused only where the node would refuse it, but before it is read.
        if self.gauge.read().bars_events(ANSWER_DEADLINE) {
            return Err(Ended::Busy);
        }
        let known = self.apps.known(kind, name).ok_or(Ended::NoApp)?;
        if !may_be_signed(kind, &head.headers) {
            return Err(Ended::Unsigned);
        }
        let body = self.memory.read(&known.shares, body).await.map_err(Ended::BadBody)?;
        let Turned { mut events, tiers } = self.events(known, head, body)?;
        for tier in tiers {
            self.note(tier).await?;
        }
        while !events.is_empty() {
            let rest = events.split_off(events.len().min(EVENTS_MAX));
            self.record(kind, events).await?;
            events = rest;
        }
        Ok(())
    }

    /// Returns what a signed body tells. The body is zeroed on return, whatever it held.
    fn events(
        &self,
        known: &Known,
        head: &Parts,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Turned, Ended> {
        let Known { app, meta_key, .. } = known;
        let parse: fn(&[u8]) -> Result<Vec<Inbound<'_>>, Malformed> = match app.kind {
            AppKind::Whatsapp => parse_whatsapp,
            AppKind::Messenger => parse_messenger,
            AppKind::Twilio => return self.form(app, head, &body),
        };
        if !meta_key.has_signed(&body, header(&head.headers, META_SIGNATURE)) {
            return Err(Ended::Unsigned);
        }
        let told = parse(&body).map_err(|_| Ended::Malformed)?;
        Ok(self.turned(app, &told))
    }

    fn form(&self, app: &App, head: &Parts, body: &[u8]) -> Result<Turned, Ended> {
        // What is signed are the decoded fields, so they come first.
        let form = Form::decode(body).ok_or(Ended::Malformed)?;
        let path = head.uri.path_and_query().map_or("", |path| path.as_str());
        let url = [&*self.public_url, path].concat();
        if !is_of_twilio(&app.app_secret, &url, &form, header(&head.headers, TWILIO_SIGNATURE)) {
            return Err(Ended::Unsigned);
        }
        if form.has_twice() {
            return Err(Ended::Malformed);
        }
        Ok(self.turned(app, &[parse_twilio(&form)]))
    }

    fn turned(&self, app: &App, told: &[Inbound<'_>]) -> Turned {
        let sealer = self.node.opener();
        let (front, tenant, now) = (self.node.front(), app.tenant, self.node.now());
        let turn = Turn { front, sealer: &sealer, tenant, now };
        let mut turned = Turned::default();
        for told in told {
            let became = turn.turn(told, &mut turned);
            metrics::counter!(
                "munadi_webhook_told_total", "app" => app.kind.name(), "became" => became.name()
            )
            .increment(1);
        }
        turned
    }

    /// Waits until the step of a rate card is durable. One that is known already changes nothing.
    async fn note(&self, tier: VolumeTierPut) -> Result<(), Ended> {
        let hash = blake3::hash(&tier.encode_to_vec());
        let mut body_hash = [0; 16];
        body_hash.copy_from_slice(&hash.as_bytes()[..16]);
        let mutation = ListMutation {
            tenant: 0,
            request_id: hash.to_hex().to_string(),
            body_hash,
            by: Author::default(),
            change: ListChange::VolumeTier(tier),
        };
        match timeout(ANSWER_DEADLINE, self.node.mutate_lists(mutation)).await {
            Ok(Err(refusal)) if refusal.reason == Reason::Busy => Err(Ended::Busy),
            Ok(Err(refusal)) if refusal.reason == Reason::Unavailable => Err(Ended::Unavailable),
            Err(_) => Err(Ended::Unavailable),
            // What else is refused would be refused again.
            Ok(_) => Ok(()),
        }
    }

    /// Waits until events are durable. What the node refuses would be refused again: it is counted, and the
    /// platform is not asked to repeat it.
    async fn record(&self, kind: AppKind, events: Vec<Incoming>) -> Result<(), Ended> {
        let ended = |reason: Reason| match reason {
            Reason::Busy => Ended::Busy,
            _ => Ended::Unavailable,
        };
        let pending = self.node.record(events).map_err(|refusal| ended(refusal.reason))?;
        let verdicts = timeout(ANSWER_DEADLINE, pending).await.map_err(|_| Ended::Unavailable)?;
        for verdict in verdicts.map_err(|refusal| ended(refusal.reason))? {
            let verdict = match verdict {
                Verdict::Recorded { .. } => "recorded",
                Verdict::Already => "already",
                Verdict::Refused(_) => "refused",
            };
            metrics::counter!(
                "munadi_webhook_events_total", "app" => kind.name(), "verdict" => verdict
            )
            .increment(1);
        }
        Ok(())
    }
}

/// Tells whether a post has a signature that may be somebody's: without one nothing of it need be read.
fn may_be_signed(kind: AppKind, headers: &HeaderMap) -> bool {
    match kind {
        AppKind::Whatsapp | AppKind::Messenger => {
            told_by_meta(header(headers, META_SIGNATURE)).is_some()
        }
        AppKind::Twilio => told_by_twilio(header(headers, TWILIO_SIGNATURE)).is_some(),
    }
}

/// Returns a header that is there once.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_better_later_asks_to_be_sent_again() {
        for (ended, status, again) in [
            (Ended::Taken, 200, false),
            (Ended::NoApp, 404, false),
            (Ended::Unsigned, 401, false),
            (Ended::Malformed, 400, false),
            (Ended::BadBody(BadBody::TooLarge), 413, false),
            (Ended::BadBody(BadBody::TooSlow), 408, false),
            (Ended::BadBody(BadBody::Broken), 400, false),
            (Ended::BadBody(BadBody::Busy), 503, true),
            (Ended::Busy, 503, true),
            (Ended::Unavailable, 503, true),
        ] {
            let answer = ended.answer();
            assert_eq!(answer.status(), status, "{ended:?}");
            assert_eq!(answer.headers().contains_key("retry-after"), again, "{ended:?}");
        }
    }
}
