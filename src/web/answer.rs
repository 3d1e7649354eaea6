//! Answers of the HTTP door: a status and a word for machines. Nothing that was sent is repeated.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;

use crate::web::limits::RETRY_AFTER_S;

/// What a handler answers.
pub type Answer = Response<Full<Bytes>>;

/// Returns an answer of plain text.
pub(in crate::web) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Returns an answer that names what stands in the way, and what is to be done.
pub(in crate::web) fn refused(status: StatusCode, reason: &'static str) -> Answer {
    text(status, reason)
}

/// Returns the answer to a method that a path does not have.
pub(in crate::web) fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = refused(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// Returns the answer to what should come again a little later.
pub(in crate::web) fn busy(reason: &'static str) -> Answer {
    let mut answer = refused(StatusCode::SERVICE_UNAVAILABLE, reason);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    answer
}
