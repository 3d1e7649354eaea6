//! The HTTP door as chat platforms use it: signed posts to webhooks.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::bytes::Bytes;
use serde_json::Value;
use sha2::Sha256;

use crate::town::error::TownError;

/// What the names of the town's apps end in, behind the kind of each.
pub const APP: &str = "town";

/// The platforms' side of the HTTP door.
#[derive(Clone)]
pub struct Hooks {
    client: Client<HttpConnector, Full<Bytes>>,
    address: String,
    secret: String,
}

impl Hooks {
    /// Returns the platforms that post to this address, `http://127.0.0.1:7701`, and sign with this secret.
    #[must_use]
    pub fn new(address: String, secret: String) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), address, secret }
    }

    /// Posts a body to the webhook of a kind of app, and waits until the door has taken it.
    ///
    /// # Errors
    /// When the door can't be reached, or does not take it.
    pub(crate) async fn post(&self, kind: &'static str, body: &Value) -> Result<(), TownError> {
        let body = body.to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes())
            .expect("HMAC takes a key of any length (RFC 2104)");
        mac.update(body.as_bytes());
        let signature = format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()));
        let failed = |what: String| TownError::Webhook { kind, what };
        let request = Request::post(format!("{}/webhooks/{kind}/{kind}-{APP}", self.address))
            .header("x-hub-signature-256", signature)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| failed(error.to_string()))?;
        let answer = self.client.request(request).await;
        let status = answer.map_err(|error| failed(error.to_string()))?.status();
        if status == StatusCode::OK { Ok(()) } else { Err(failed(status.to_string())) }
    }
}
