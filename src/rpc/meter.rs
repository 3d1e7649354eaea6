//! The layer before admission: counts each call by method and code, and how long the head of its answer took.
//!
//! A call costs two readings of the clock and two additions to counters that were looked up before: of the 20
//! microseconds of a request for ads, less than a hundredth.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use metrics::{Counter, Histogram};
use tonic::Code;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

use crate::guard;
use crate::node::clock::{Clock, SystemClock};

/// The header by which an answer that is only a refusal tells its code.
const GRPC_STATUS: &str = "grpc-status";

/// What a path is counted as that is no method: anybody can make paths up.
const UNKNOWN_METHOD: &str = "unknown";

/// Every code of gRPC by its number.
pub(in crate::rpc) const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The counters of one method.
struct Method {
    path: &'static str,
    /// `None`: it is a stream that may last, of which a time says nothing.
    seconds: Option<Histogram>,
    /// By code, looked up when the first such call ends.
    codes: [OnceLock<Counter>; CODES.len()],
}

impl Method {
    fn new(path: &'static str) -> Self {
        let seconds = class_of(path)
            .map(|class| metrics::histogram!("munadi_call_seconds", "class" => class));
        Self { path, seconds, codes: std::array::from_fn(|_| OnceLock::new()) }
    }

    fn count(&self, code: Code) {
        let code = code as usize;
        let Some(counter) = self.codes.get(code) else { return };
        let look_up = || metrics::counter!("munadi_calls_total", "code" => CODES[code], "method" => self.path);
        counter.get_or_init(look_up).increment(1);
    }
}

/// The counters of every method, in the order of the guard's table; the last is of whatever else is called.
struct Methods {
    clock: SystemClock,
    methods: Vec<Method>,
}

impl Methods {
    fn at(&self, place: usize) -> &Method {
        &self.methods[place.min(self.methods.len() - 1)]
    }
}

/// Puts [`Metered`] around services. One for each core, so that cores share no count of its handles.
#[derive(Clone)]
pub(super) struct MeterLayer(Arc<Methods>);

impl MeterLayer {
    /// Returns the layer, its counters looked up: whoever exposes them must have said so before.
    pub(super) fn register() -> Self {
        let paths = guard::paths().chain([UNKNOWN_METHOD]);
        let methods = paths.map(Method::new).collect();
        Self(Arc::new(Methods { clock: SystemClock::default(), methods }))
    }
}

impl<S> Layer<S> for MeterLayer {
    type Service = Metered<S>;

    fn layer(&self, inner: S) -> Metered<S> {
        Metered { methods: Arc::clone(&self.0), inner }
    }
}

/// A service whose calls are counted.
#[derive(Clone)]
pub(super) struct Metered<S> {
    methods: Arc<Methods>,
    inner: S,
}

impl<S, Body, Answer> Service<Request<Body>> for Metered<S>
where
    S: Service<Request<Body>, Response = Response<Answer>>,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Counted<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let methods = Arc::clone(&self.methods);
        let place = guard::place(request.uri().path()).unwrap_or(usize::MAX);
        let began = methods.clock.monotonic();
        let call = Call { methods, place, began, is_open: true };
        Counted { inner: self.inner.call(request), call }
    }
}

/// One call that is counted when it ends: as CANCELLED if its caller went before.
struct Call {
    methods: Arc<Methods>,
    place: usize,
    began: Duration,
    is_open: bool,
}

impl Call {
    fn end(&mut self, code: Code) {
        self.is_open = false;
        let method = self.methods.at(self.place);
        method.count(code);
        if let Some(seconds) = &method.seconds {
            seconds.record(self.methods.clock.monotonic().saturating_sub(self.began));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.is_open {
            self.methods.at(self.place).count(Code::Cancelled);
        }
    }
}

/// The answer to come of a call that is counted.
pub(super) struct Counted<F> {
    inner: F,
    call: Call,
}

impl<F, Answer, Error> Future for Counted<F>
where
    F: Future<Output = Result<Response<Answer>, Error>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = ready!(Pin::new(&mut self.inner).poll(context));
        let code = answered.as_ref().map_or(Code::Unknown, |answer| code_of(answer.headers()));
        self.call.end(code);
        Poll::Ready(answered)
    }
}

/// Returns the code that an answer's head tells. One that has content tells it only behind that: what fails there
/// is a stream's affair.
pub(in crate::rpc) fn code_of(headers: &HeaderMap) -> Code {
    headers.get(GRPC_STATUS).map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// Returns what kind of work a method is; `None`: it is a stream that may last as long as its caller wants.
fn class_of(path: &str) -> Option<&'static str> {
    let (service, method) = path.rsplit_once('/')?;
    let begins = |words: &[&str]| words.iter().any(|word| method.starts_with(word));
    if !service.starts_with("/munadi.v1.") || begins(&["Stream", "Watch"]) {
        return None;
    }
    let class = match service.trim_start_matches("/munadi.v1.") {
        "AdService" => "serve",
        "EventService" | "ImportService" => "record",
        "ReportService" | "AttributionService" | "ExplainService" => "report",
        _ if begins(&["Record"]) => "record",
        _ if begins(&["Pull"]) => "report",
        _ if begins(&["Get", "List", "Search"]) => "read",
        _ => "write",
    };
    Some(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_the_class_of_its_work() {
        for (path, class) in [
            ("/munadi.v1.AdService/RequestAds", Some("serve")),
            ("/munadi.v1.AdService/StreamAds", None),
            ("/munadi.v1.EventService/RecordEvents", Some("record")),
            ("/munadi.v1.ConversationService/RecordConversions", Some("record")),
            ("/munadi.v1.ConversationService/WatchWindows", None),
            ("/munadi.v1.CampaignService/CreateAd", Some("write")),
            ("/munadi.v1.CampaignService/GetAd", Some("read")),
            ("/munadi.v1.AttributionService/GetLift", Some("report")),
            ("/munadi.v1.ConversionService/PullConversionPayloads", Some("report")),
            ("/grpc.health.v1.Health/Watch", None),
            (UNKNOWN_METHOD, None),
        ] {
            assert_eq!(class_of(path), class, "{path}");
        }
    }

    #[test]
    fn a_head_tells_the_code() {
        let mut headers = HeaderMap::new();
        assert_eq!(code_of(&headers), Code::Ok);
        headers.insert(GRPC_STATUS, "8".parse().unwrap());
        assert_eq!(code_of(&headers), Code::ResourceExhausted);
        headers.insert(GRPC_STATUS, "ninety".parse().unwrap());
        assert_eq!(code_of(&headers), Code::Unknown);
        assert_eq!(CODES[Code::Unauthenticated as usize], "UNAUTHENTICATED");
        assert_eq!(CODES[Code::Cancelled as usize], "CANCELLED");
    }

    #[test]
    fn what_is_no_method_is_counted_together() {
        let MeterLayer(methods) = MeterLayer::register();
        assert_eq!(methods.at(usize::MAX).path, UNKNOWN_METHOD);
        for path in guard::paths() {
            let place = guard::place(path).unwrap();
            assert_eq!(methods.at(place).path, path);
        }
        assert_eq!(guard::place("/munadi.v1.AdminService/Drain"), None);
    }
}
