//! Admission before parsing: between the guard and the services, each call is taken or refused by what is
//! known without reading it: its class, its key, and how much the node has to do.

mod gate;
pub(in crate::rpc) mod limits;
mod rates;
mod shed;
mod watch;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use tokio::time::timeout;
use tower::{Layer, Service};

use crate::guard::{Caller, Class, class};
use crate::node::Gauge;
use crate::node::clock::{Clock, SystemClock};
use crate::rpc::admission::gate::{Gate, Seat};
use crate::rpc::admission::rates::Rates;
use crate::rpc::errors::deadline;
use crate::rpc::limits::{CALL_DEADLINE, Limits, deadline_of};
use crate::types::refusal::Refusal;

/// What the gates of all cores of a server share.
#[derive(Clone)]
pub(super) struct Admission {
    limits: Limits,
    gauge: Gauge,
    rates: Arc<Rates>,
}

impl Admission {
    /// Returns what is shared by a server of these limits over the node of this gauge.
    pub(super) fn new(limits: Limits, gauge: Gauge) -> Self {
        Self { limits, gauge, rates: Arc::new(Rates::new(&limits)) }
    }

    /// Returns the layer of one core, and starts its watch on the runtime that this is called on.
    pub(super) fn of_core(self) -> AdmissionLayer {
        let gate = Arc::new(Gate::new(self.limits, self.gauge, self.rates));
        tokio::spawn(watch::watch(Arc::clone(&gate)));
        AdmissionLayer { gate }
    }
}

/// Puts [`Admitted`] around services.
#[derive(Clone)]
pub(super) struct AdmissionLayer {
    gate: Arc<Gate>,
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admitted<S>;

    fn layer(&self, inner: S) -> Admitted<S> {
        Admitted { gate: Arc::clone(&self.gate), clock: Arc::default(), inner }
    }
}

/// A service that sees only calls for which there is room and time.
#[derive(Clone)]
pub(super) struct Admitted<S> {
    gate: Arc<Gate>,
    clock: Arc<SystemClock>,
    inner: S,
}

/// The gate as one stream's messages pass it; in the extensions of every taken call.
#[derive(Clone)]
pub(in crate::rpc) struct Passage {
    gate: Arc<Gate>,
    class: Class,
    key: Option<Arc<str>>,
}

impl Passage {
    /// Takes one message of the stream, or says why not.
    ///
    /// # Errors
    /// `Overloaded` or `RateExceeded`.
    pub(in crate::rpc) fn message(&self) -> Result<(), Refusal> {
        self.gate.check(self.class, self.key.as_ref()).map_err(gate::Refused::refusal)
    }
}

impl<S, Body, Answer> Service<Request<Body>> for Admitted<S>
where
    S: Service<Request<Body>, Response = Response<Answer>>,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
    Answer: Default + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let class = class(request.uri().path());
        let key = request.extensions().get::<Caller>().map(|caller| Arc::clone(&caller.key_id));
        match self.gate.enter(class, key.as_ref()) {
            Ok(seat) => {
                let until = self.until(class, request.headers());
                let clock = Arc::clone(&self.clock);
                request.extensions_mut().insert(Passage {
                    gate: Arc::clone(&self.gate),
                    class,
                    key,
                });
                Box::pin(in_time(self.inner.call(request), seat, clock, until))
            }
            Err(refused) => {
                let status = refused.status(key.as_deref().unwrap_or_default());
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}

impl<S> Admitted<S> {
    /// Returns when a call must be answered, by the clock: what its class allows, or the caller.
    fn until(&self, class: Class, headers: &HeaderMap) -> Option<Duration> {
        let most = if self.gate.sheds() { deadline_of(class)? } else { CALL_DEADLINE };
        let asked = headers.get("grpc-timeout").and_then(|value| asked_of(value.as_bytes()));
        Some(self.clock.monotonic() + asked.unwrap_or(most).min(most))
    }
}

/// Answers a call before its deadline, and does not begin one whose deadline passed while it waited for its core.
async fn in_time<F, E, Answer>(
    answer: F,
    seat: Seat,
    clock: Arc<SystemClock>,
    until: Option<Duration>,
) -> Result<Response<Answer>, E>
where
    F: Future<Output = Result<Response<Answer>, E>>,
    Answer: Default,
{
    let _seat = seat;
    let Some(until) = until else { return answer.await };
    let left = until.saturating_sub(clock.monotonic());
    if !left.is_zero()
        && let Ok(answer) = timeout(left, answer).await
    {
        return answer;
    }
    metrics::counter!("munadi_calls_late_total").increment(1);
    Ok(deadline().into_http())
}

/// Reads a `grpc-timeout`: up to 8 digits and a unit. `None`: it is none.
fn asked_of(header: &[u8]) -> Option<Duration> {
    let (unit, digits) = header.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(count * 3_600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicBool, Ordering};

    use tonic::{Code, Status};
    use tower::service_fn;

    use super::*;

    const REQUEST_ADS: &str = "/munadi.v1.AdService/RequestAds";
    const SHED: Limits = Limits { shed: true, ..Limits::OFF };

    fn layer(limits: Limits) -> AdmissionLayer {
        let rates = Arc::new(Rates::new(&limits));
        AdmissionLayer { gate: Arc::new(Gate::new(limits, Gauge::of_nothing(), rates)) }
    }

    fn request(path: &str, timeout: Option<&str>) -> Request<()> {
        let mut request = Request::builder().uri(path);
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        request.body(()).unwrap()
    }

    /// Runs a future on a runtime with timers.
    fn run<F: Future>(future: F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(future)
    }

    fn code(answer: &Response<()>) -> Option<Code> {
        Status::from_header_map(answer.headers()).map(|status| status.code())
    }

    #[test]
    fn a_call_that_is_late_before_it_begins_is_not_begun() {
        let begun = Arc::new(AtomicBool::new(false));
        let note = Arc::clone(&begun);
        let inner = service_fn(move |_: Request<()>| {
            let note = Arc::clone(&note);
            async move {
                note.store(true, Ordering::Relaxed);
                Ok::<_, Infallible>(Response::new(()))
            }
        });
        let mut service = layer(SHED).layer(inner);
        let answer = run(service.call(request(REQUEST_ADS, Some("0m")))).unwrap();
        assert_eq!(code(&answer), Some(Code::DeadlineExceeded));
        assert!(!begun.load(Ordering::Relaxed));
        let answer = run(service.call(request(REQUEST_ADS, Some("9S")))).unwrap();
        assert_eq!(code(&answer), None);
        assert!(begun.load(Ordering::Relaxed));
    }

    #[test]
    fn a_call_is_answered_when_its_class_allows_no_more_whatever_the_caller_asks_for() {
        let clock = SystemClock::default();
        let mut service = layer(SHED)
            .layer(service_fn(|_: Request<()>| pending::<Result<Response<()>, Infallible>>()));
        let answer = run(service.call(request(REQUEST_ADS, Some("9H")))).unwrap();
        assert_eq!(code(&answer), Some(Code::DeadlineExceeded));
        let took = clock.monotonic();
        assert!(took >= deadline_of(Class::Serving).unwrap(), "{took:?}");
        assert!(took < CALL_DEADLINE, "{took:?}");
        assert_eq!(service.gate.enter(Class::Serving, None).map(drop), Ok(()));
    }

    #[test]
    fn health_has_no_deadline_and_needs_no_key() {
        let admitted = layer(SHED).layer(());
        assert_eq!(admitted.until(Class::Health, &HeaderMap::new()), None);
        let mut service =
            layer(SHED).layer(service_fn(|_| ready(Ok::<_, Infallible>(Response::new(())))));
        let answer = run(service.call(request("/grpc.health.v1.Health/Check", None))).unwrap();
        assert_eq!(code(&answer), None);
    }

    #[test]
    fn a_caller_may_ask_for_less_time_in_any_unit() {
        for (header, wanted) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("42m", Some(Duration::from_millis(42))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("123456789n", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
            ("1", None),
        ] {
            assert_eq!(asked_of(header.as_bytes()), wanted, "{header}");
        }
    }
}
