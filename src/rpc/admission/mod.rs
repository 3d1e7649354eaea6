//! Admission before parsing: before the services, each call is taken or refused by what is known without reading
//! it. What costs least is asked first: its class by its path, then its credential, its key's rate, its place. A
//! call that goes on is judged by its credential again and again.

mod ahead;
mod answering;
mod calls;
mod gate;
mod head;
pub(in crate::rpc) mod limits;
mod pace;
mod rates;
mod refused;
mod shed;
#[cfg(test)]
mod simulated;
mod turns;
mod watch;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Body;
use tonic::Status;
use tower::{Layer, Service};

use crate::guard;
use crate::guard::{Caller, Class, class};
use crate::node::Gauge;
use crate::node::clock::{Clock, SystemClock};
use crate::rpc::admission::answering::{Answering, late};
use crate::rpc::admission::gate::{Gate, Seat};
use crate::rpc::admission::head::{asked_of, is_stream};
use crate::rpc::admission::rates::{RateKey, Rates};
use crate::rpc::admission::refused::{Answers, Refused};
use crate::rpc::connection::Line;
use crate::rpc::limits::{CALL_DEADLINE, Limits, deadline_of};
use crate::types::refusal::Refusal;

pub(super) use calls::Calls;
pub(super) use pace::Pace;

/// What the gates of all cores of a server share.
#[derive(Clone)]
pub(super) struct Admission {
    guard: Arc<guard::Gate>,
    limits: Limits,
    gauge: Gauge,
    rates: Arc<Rates>,
    answers: Arc<Answers>,
}

impl Admission {
    /// Returns what is shared by a server of these limits over the node of this gauge, whose callers are those that
    /// the guard knows.
    pub(super) fn new(guard: guard::Gate, limits: Limits, gauge: Gauge) -> Self {
        let rates = Arc::new(Rates::new(&limits));
        Self { guard: Arc::new(guard), limits, gauge, rates, answers: Arc::default() }
    }

    /// Returns the layer of one core, and starts its watch and its usher on the runtime that this is called on.
    pub(super) fn of_core(self) -> AdmissionLayer {
        let gate = Arc::new(Gate::new(self.limits, self.gauge, self.rates, self.answers));
        tokio::spawn(watch::watch(Arc::clone(&gate)));
        tokio::spawn(ahead::usher(Arc::clone(&gate)));
        AdmissionLayer { guard: self.guard, gate }
    }
}

/// Puts [`Admitted`] around services.
#[derive(Clone)]
pub(super) struct AdmissionLayer {
    guard: Arc<guard::Gate>,
    gate: Arc<Gate>,
}

impl AdmissionLayer {
    /// Returns how fast a new connection of this core is read.
    pub(super) fn pace(&self) -> Pace {
        Pace::new(Arc::clone(&self.gate))
    }

    /// Lets no connection of this core be read slowly any more: a drain waits for all of them.
    pub(super) fn stop(&self) {
        self.gate.stop();
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admitted<S>;

    fn layer(&self, inner: S) -> Admitted<S> {
        let (guard, gate) = (Arc::clone(&self.guard), Arc::clone(&self.gate));
        Admitted { guard, gate, clock: Arc::default(), inner }
    }
}

/// A service that sees only calls that their caller may make, and for which there is room and time. It reads the
/// [`Caller`] from their extensions.
#[derive(Clone)]
pub(super) struct Admitted<S> {
    guard: Arc<guard::Gate>,
    gate: Arc<Gate>,
    clock: Arc<SystemClock>,
    inner: S,
}

/// The gate as one stream's messages pass it; in the extensions of every taken call whose requests or answers are a
/// stream.
#[derive(Clone)]
pub(in crate::rpc) struct Passage {
    gate: Arc<Gate>,
    guard: Arc<guard::Gate>,
    class: Class,
    caller: Caller,
    key: RateKey,
}

impl Passage {
    /// Judges the stream's caller once more, before a message of either side: its key may be revoked meanwhile, its
    /// token or certificate have ended.
    ///
    /// # Errors
    /// The status that ends the stream: what a new call would be answered with.
    pub(in crate::rpc) fn judge(&self) -> Result<(), Status> {
        self.guard.judge_again(&self.caller)
    }

    /// Takes one message of the stream, or says why not.
    ///
    /// # Errors
    /// `Overloaded` or `RateExceeded`.
    pub(in crate::rpc) fn message(&self) -> Result<(), Refusal> {
        self.gate.check(self.class, Some(&self.key)).map_err(Refused::refusal)
    }
}

impl<S, B, Answer> Service<Request<B>> for Admitted<S>
where
    S: Service<Request<B>, Response = Response<Answer>>,
    S::Future: Unpin,
    Answer: Default + Unpin,
    B: Body + Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answering<S::Future, Answer, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let class = class(request.uri().path());
        match self.take(class, &mut request) {
            Ok((seat, until)) => {
                let clock = Arc::clone(&self.clock);
                Answering::taken(self.inner.call(request), seat, clock, until)
            }
            Err(answer) => {
                // The requests of a stream may never end.
                let ends = !is_stream(request.uri().path());
                Answering::refused(answer, ends.then(|| request.into_body()))
            }
        }
    }
}

impl<S> Admitted<S> {
    /// Takes a call, and tells until when it must be answered; or returns the whole answer to it.
    fn take<B, Answer: Default>(
        &self,
        class: Class,
        request: &mut Request<B>,
    ) -> Result<(Seat, Option<Duration>), Response<Answer>> {
        let gate = &self.gate;
        let line = request.extensions().get::<Line>();
        let shed = gate.shed();
        if let Some(line) = line {
            line.calls.note(class);
        }
        // Of a call that is refused for load nothing but its path is looked at: no secret is hashed for it.
        let calls = line.map(|line| &*line.calls);
        if let Err(refused) = gate.pass(class, shed, calls) {
            // But once on each connection: those of strangers are read last.
            if let Some(line) = line.filter(|line| line.calls.is_first_refused())
                && self.judge(request).is_ok()
            {
                line.calls.confirm(class);
            }
            return Err(gate.answer(refused, ""));
        }
        let caller = self.judge(request).map_err(Status::into_http)?;
        if let Some(line) = line {
            line.calls.confirm(class);
        }
        let waited = calls.filter(|_| class < Class::Events).map_or(Duration::ZERO, Calls::waited);
        let until = self.until(class, request.headers(), waited).map_err(Status::into_http)?;
        let key = caller.as_ref().map(RateKey::of);
        let told = key.as_ref().map_or("", |key| &*key.id);
        let seat = gate.enter(class, key.as_ref()).map_err(|refused| gate.answer(refused, told))?;
        let is_stream = is_stream(request.uri().path());
        if let (Some(caller), Some(key)) = (caller, key) {
            if is_stream {
                let (gate, guard) = (Arc::clone(gate), Arc::clone(&self.guard));
                let passage = Passage { gate, guard, class, caller: caller.clone(), key };
                request.extensions_mut().insert(passage);
            }
            request.extensions_mut().insert(caller);
        }
        Ok((seat, until))
    }

    /// Returns who makes a call, where that must be known; or why they may not.
    fn judge<B>(&self, request: &Request<B>) -> Result<Option<Caller>, Status> {
        let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let line = request.extensions().get::<Line>();
        let certified = line.and_then(|line| line.certified.as_ref());
        self.guard.judge(request.uri().path(), header, certified)
    }

    /// Returns when a call must be answered, by the clock: what its class allows, or the caller, less the time that it
    /// waited to be read.
    ///
    /// # Errors
    /// When that has passed.
    fn until(
        &self,
        class: Class,
        headers: &HeaderMap,
        waited: Duration,
    ) -> Result<Option<Duration>, Status> {
        let most = if self.gate.sheds() { deadline_of(class) } else { Some(CALL_DEADLINE) };
        let Some(most) = most else { return Ok(None) };
        let asked = headers.get("grpc-timeout").and_then(|value| asked_of(value.as_bytes()));
        let allowed = asked.unwrap_or(most).min(most);
        if !waited.is_zero() && waited >= allowed {
            return Err(late());
        }
        Ok(Some(self.clock.monotonic() + allowed.saturating_sub(waited)))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Future, Ready, pending, ready};
    use std::sync::atomic::{AtomicBool, Ordering};

    use tonic::Code;
    use tower::service_fn;

    use super::*;
    use crate::guard::{Key, Keys, Role, secret_blake3};
    use crate::node::Pressure;
    use crate::rpc::admission::shed::{Controller, Shed};

    const REQUEST_ADS: &str = "/munadi.v1.AdService/RequestAds";
    const BEARER: &str = "Bearer mk_feed_secret";
    const SHED: Limits = Limits { shed: true, ..Limits::OFF };

    fn layer(limits: Limits) -> AdmissionLayer {
        let gate = Gate::of_nothing(limits);
        let secret_blake3 = secret_blake3("secret");
        let feed = Key { id: "feed".into(), role: Role::Feed, tenant: 7, secret_blake3 };
        let keys = Arc::new(Keys::new([feed]).unwrap());
        AdmissionLayer { guard: Arc::new(guard::Gate::new(keys, None)), gate }
    }

    fn request(path: &str, timeout: Option<&str>) -> Request<String> {
        let mut request = Request::builder().uri(path).header(AUTHORIZATION, BEARER);
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        request.body(String::new()).unwrap()
    }

    /// Returns a request for ads with this credential.
    fn with_bearer(bearer: &str) -> Request<String> {
        let request = Request::builder().uri(REQUEST_ADS).header(AUTHORIZATION, bearer);
        request.body(String::new()).unwrap()
    }

    /// Returns a request as it comes on the connection that calls this.
    fn on(calls: &Arc<Calls>, mut request: Request<String>) -> Request<String> {
        request.extensions_mut().insert(Line { certified: None, calls: Arc::clone(calls) });
        request
    }

    type Answered = Result<Response<()>, Infallible>;

    /// Returns a service that answers at once.
    fn at_once() -> impl Service<
        Request<String>,
        Response = Response<()>,
        Error = Infallible,
        Future = Ready<Answered>,
    > {
        service_fn(|_| ready(Ok(Response::new(()))))
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
        let inner = service_fn(move |_: Request<String>| {
            let note = Arc::clone(&note);
            Box::pin(async move {
                note.store(true, Ordering::Relaxed);
                Ok::<_, Infallible>(Response::new(()))
            })
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
            .layer(service_fn(|_: Request<String>| pending::<Result<Response<()>, Infallible>>()));
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
        let until = admitted.until(Class::Health, &HeaderMap::new(), Duration::from_secs(9));
        assert_eq!(until.unwrap(), None);
        let mut service = layer(SHED).layer(at_once());
        let check =
            Request::builder().uri("/grpc.health.v1.Health/Check").body(String::new()).unwrap();
        let answer = run(service.call(check)).unwrap();
        assert_eq!(code(&answer), None);
    }

    /// Refuses all that is ever refused for load.
    fn overload(layer: &AdmissionLayer) {
        let (mut controller, wait) = (Controller::default(), Duration::from_millis(60));
        let after = |_, _| controller.after(wait, Pressure::default());
        layer.gate.use_shed((0..200).fold(Shed::default(), after));
    }

    /// Asks for ads with this credential.
    fn ask<S>(service: &mut S, bearer: &str) -> Option<Code>
    where
        S: Service<Request<String>, Response = Response<()>, Error = Infallible>,
    {
        code(&run(service.call(with_bearer(bearer))).unwrap())
    }

    /// Whoever calls without a key is told no more than the others, and nothing is spent on finding out.
    #[test]
    fn a_call_that_is_refused_for_load_is_not_asked_for_its_key() {
        let layer = layer(SHED);
        let mut service = layer.layer(at_once());
        assert_eq!(ask(&mut service, BEARER), None);
        assert_eq!(ask(&mut service, "Bearer mk_feed_wrong"), Some(Code::Unauthenticated));
        overload(&layer);
        for bearer in [BEARER, "Bearer mk_feed_wrong"] {
            assert_eq!(ask(&mut service, bearer), Some(Code::ResourceExhausted), "{bearer}");
        }
    }

    /// Or whoever comes again while all is refused would be a stranger for as long.
    #[test]
    fn the_first_refused_call_of_a_connection_shows_who_makes_it() {
        let layer = layer(SHED);
        let mut service = layer.layer(at_once());
        overload(&layer);
        run(async {
            let [good, bad] = [(); 2].map(|()| layer.pace().calls());
            for (calls, bearers, wanted) in [
                (&good, [BEARER, "Bearer mk_feed_wrong"], true),
                (&bad, ["Bearer mk_feed_wrong", BEARER], false),
            ] {
                for bearer in bearers {
                    let request = on(calls, with_bearer(bearer));
                    let answer = service.call(request).await.unwrap();
                    assert_eq!(code(&answer), Some(Code::ResourceExhausted));
                    assert_eq!(calls.is_known(), wanted, "only the first is looked at");
                }
            }
        });
    }

    #[test]
    fn a_call_tells_its_connection_what_it_asks_for() {
        let layer = layer(SHED);
        let mut service = layer.layer(at_once());
        overload(&layer);
        run(async {
            let mut pace = layer.pace();
            let mut context = Context::from_waker(std::task::Waker::noop());
            assert!(pace.poll_turn(&mut context).is_ready());
            for _ in 0..limits::CLASS_AFTER_CALLS {
                let request = on(&pace.calls(), request(REQUEST_ADS, None));
                let answer = service.call(request).await.unwrap();
                assert_eq!(code(&answer), Some(Code::ResourceExhausted));
            }
            assert!(pace.poll_turn(&mut context).is_pending());
        });
    }

    /// But events are of use later too, and their callers would send them again.
    #[test]
    fn an_ad_that_is_asked_for_too_long_before_it_is_read_is_not_looked_for() {
        let layer = layer(SHED);
        let asked = Arc::new(AtomicBool::new(false));
        let note = Arc::clone(&asked);
        let inner = service_fn(move |_: Request<String>| {
            note.store(true, Ordering::Relaxed);
            ready(Ok::<_, Infallible>(Response::new(())))
        });
        let mut service = layer.layer(inner);
        let calls = layer.pace().calls();
        assert!(!calls.is_known());
        let allowed = deadline_of(Class::Serving).unwrap();
        let [soon, long] = [allowed / 10, allowed];
        let late = Some(Code::DeadlineExceeded);
        for (waited, path, timeout, wanted) in [
            (long, REQUEST_ADS, None, late),
            (soon, REQUEST_ADS, None, None),
            (soon, REQUEST_ADS, Some("5m"), late),
            (soon, REQUEST_ADS, Some("5S"), None),
            (long, "/munadi.v1.EventService/RecordEvents", None, None),
        ] {
            calls.set_waited(waited);
            let answer = run(service.call(on(&calls, request(path, timeout)))).unwrap();
            assert_eq!(code(&answer), wanted, "{path} after {waited:?}, {timeout:?}");
            // So that it is answered behind the end of its request.
            assert_eq!(asked.swap(false, Ordering::Relaxed), wanted.is_none());
            assert!(calls.is_known(), "a late call shows who makes it as well");
        }
    }

    #[test]
    fn a_taken_call_has_its_caller_and_a_streams_messages_have_their_gate() {
        let inner = service_fn(|request: Request<String>| {
            let caller = request.extensions().get::<Caller>().map(|it| it.tenant);
            assert_eq!(caller, Some(7));
            let passage = request.extensions().get::<Passage>();
            let key = passage.map(|passage| &*passage.key.id == "feed");
            ready(Ok::<_, Infallible>(Response::new(key)))
        });
        let mut service = layer(SHED).layer(inner);
        for (path, wanted) in [
            (REQUEST_ADS, None),
            ("/munadi.v1.AdService/StreamAds", Some(true)),
            ("/munadi.v1.EventService/StreamEvents", Some(true)),
        ] {
            let answer = run(service.call(request(path, None))).unwrap();
            assert_eq!(answer.into_body(), wanted, "{path}");
        }
    }
}
