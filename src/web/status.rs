//! The operator's own page, on an address of its own: metrics, and whether the node is there and ready.

use std::future::ready;
use std::io;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};

use crate::listen::Running;
use crate::node::Node;
use crate::web::answer::{self, Answer};
use crate::web::server::{WebConfig, serve_named};

/// How an exposition calls itself.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Opens the page of a node: `/metrics` is what `render` returns once the node's gauges are set, `/ready` is 200
/// while calls may be sent here and else 503, `/live` is 200. It asks for no key: whoever reaches it reads what
/// the node earns.
///
/// # Errors
/// As [`crate::web::serve`].
pub fn serve_status<R>(node: &Arc<Node>, config: &WebConfig, render: R) -> io::Result<Running>
where
    R: Fn() -> String + Clone + Send + Sync + 'static,
{
    let node = Arc::clone(node);
    serve_named("status", config, move |request| {
        ready(page(&node, request.method(), request.uri().path(), &render))
    })
}

fn page(node: &Node, method: &Method, path: &str, render: &impl Fn() -> String) -> Answer {
    match path {
        "/metrics" | "/ready" | "/live" if !matches!(*method, Method::GET | Method::HEAD) => {
            answer::wrong_method("GET, HEAD")
        }
        "/metrics" => {
            node.show_meters();
            let mut answer = answer::text(StatusCode::OK, render());
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(EXPOSITION));
            answer
        }
        "/ready" => match node.readiness() {
            Ok(()) => answer::text(StatusCode::OK, "ready"),
            Err(unready) => answer::busy(unready.name()),
        },
        "/live" => answer::text(StatusCode::OK, "live"),
        _ => answer::refused(StatusCode::NOT_FOUND, "NOT_FOUND"),
    }
}
