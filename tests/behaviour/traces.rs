//! Traces: a collector in this process hears of each call that is let in, of its caller's trace, and of nothing that a
//! call held.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use munadi::guard::{Key, Keys, Role, secret_blake3};
use munadi::rpc::limits::Limits;
use munadi::rpc::traces::{TraceConfig, Traces};
use munadi::rpc::{Patience, Running, ServerConfig, serve};
use munadi::types::proto::v1;
use munadi::types::request::Policy;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Request, Response, Status};

use crate::calls::{Raw, send};
use crate::desk::{Bearer, Desk, OPERATOR, SECRET, STATUS, Way, calls};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID: &str = "b7ad6b7169203331";

/// What must show nowhere: the caller's own state of the trace, a request's id, a viewer's.
const PLANTED: [&str; 3] = ["planted-state", "planted-request", "planted-viewer"];

/// What a collector is sent, as far as it is looked at (opentelemetry/proto/trace/v1/trace.proto).
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    text: String,
}

impl Span {
    fn is_of_the_caller(&self) -> bool {
        hex(&self.trace_id) == TRACE_ID
    }

    fn attributes(&self) -> Vec<(&str, &str)> {
        let mut pairs: Vec<(&str, &str)> = self
            .attributes
            .iter()
            .map(|it| (&*it.key, it.value.as_ref().map_or("", |value| &*value.text)))
            .collect();
        pairs.sort_unstable();
        pairs
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes what it is sent, as it came.
#[derive(Clone)]
struct Taking(Sender<Vec<u8>>);

impl tonic::server::UnaryService<Vec<u8>> for Taking {
    type Response = Vec<u8>;
    type Future = std::future::Ready<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        let sent = self.0.send(request.into_inner());
        let answer = sent.map_err(|_| Status::unavailable("the test is over"));
        std::future::ready(answer.map(|()| Response::new(Vec::new())))
    }
}

impl tonic::server::NamedService for Taking {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl tower::Service<http::Request<tonic::body::Body>> for Taking {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<Self::Response, std::convert::Infallible>> + Send>,
    >;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let taking = self.clone();
        Box::pin(async move { Ok(tonic::server::Grpc::new(Raw).unary(taking, request).await) })
    }
}

/// A collector on a thread of its own.
struct Collector {
    addr: SocketAddr,
    taken: Receiver<Vec<u8>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Collector {
    fn open() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, taken) = channel();
        let (stop, stopped) = oneshot::channel();
        let serving = async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            let stopped = async {
                let _ = stopped.await;
            };
            let server = Server::builder().add_service(Taking(sender));
            server.serve_with_incoming_shutdown(incoming, stopped).await.unwrap();
        };
        let thread = std::thread::spawn(|| calls(serving));
        Self { addr, taken, stop, thread }
    }

    /// Returns everything that was sent here, once nothing more is.
    fn close(self) -> Vec<Vec<u8>> {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
        self.taken.into_iter().collect()
    }
}

/// Opens another door of a desk's node, whose calls are traced.
fn door(desk: &Desk, traces: &Arc<Traces>) -> Running {
    let key = |id: &str, role, tenant| {
        let secret_blake3 = secret_blake3(SECRET);
        Key { id: id.into(), role, tenant, secret_blake3 }
    };
    let keys = [key(OPERATOR, Role::Operator, 0), key(STATUS, Role::Feed, 1)];
    let config = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        cores: NonZeroUsize::MIN,
        keys: Arc::new(Keys::new(keys).unwrap()),
        patience: Patience::default(),
        tls: None,
        limits: Limits::OFF,
        traces: Some(Arc::clone(traces)),
    };
    let policies = Arc::new([(1, Policy::default())].into());
    serve(desk.node(), &policies, config).unwrap()
}

fn way(door: &Running, key: &str) -> Way {
    let endpoint = Endpoint::from_shared(format!("http://{}", door.addr())).unwrap();
    InterceptedService::new(endpoint.connect_lazy(), Bearer::new(key))
}

/// Asks for ads as a caller whose call is part of a trace.
async fn ask(way: Way) -> Result<(), Status> {
    let [state, _, viewer] = PLANTED;
    let ad_request = v1::AdRequest {
        viewer: Some(v1::ViewerContext { pseudonym: viewer.into(), ..Default::default() }),
        ..Default::default()
    };
    let mut request = Request::new(v1::RequestAdsRequest { ad_request: Some(ad_request) });
    let head = request.metadata_mut();
    head.insert("traceparent", PARENT.parse().unwrap());
    head.insert("tracestate", format!("vendor={state}").parse().unwrap());
    let mut client = v1::ad_service_client::AdServiceClient::new(way);
    client.request_ads(request).await.map(drop)
}

#[test]
fn a_span_tells_of_the_callers_trace_and_of_nothing_that_a_call_held() {
    let collector = Collector::open();
    let config = TraceConfig::new(&format!("http://{}", collector.addr), 1.0).unwrap();
    let traces = Arc::new(Traces::open(&config).unwrap());
    let desk = Desk::start();
    let door = door(&desk, &traces);
    calls(async {
        // What it says is not looked at here: it is part of the trace either way.
        let _ = ask(way(&door, STATUS)).await;
        let [_, request_id, _] = PLANTED;
        let events = v1::RecordEventsRequest {
            request_id: request_id.into(),
            events: vec![v1::AdEvent::default()],
        };
        let events = events.encode_to_vec();
        let recorded = send(way(&door, STATUS), "EventService/RecordEvents", events).await;
        assert_ne!(recorded.map_err(|status| status.code()), Err(Code::Unauthenticated));
        // Neither is let in: there is no span of them.
        let foreign = send(way(&door, STATUS), "AdminService/ListKeys", Vec::new()).await;
        assert_eq!(foreign.unwrap_err().code(), Code::PermissionDenied);
        let nobody = send(way(&door, ""), "AdminService/ListKeys", Vec::new()).await;
        assert_eq!(nobody.unwrap_err().code(), Code::Unauthenticated);
        send(way(&door, OPERATOR), "AdminService/ListKeys", Vec::new()).await.unwrap();
    });
    door.stop();
    traces.close();
    drop(traces);
    desk.stop();
    let taken = collector.close();
    let decoded = taken.iter().map(|bytes| Export::decode(&**bytes).unwrap());
    let scopes = decoded.flat_map(|it| it.resource_spans).flat_map(|it| it.scope_spans);
    let spans: Vec<Span> = scopes.flat_map(|it| it.spans).collect();
    is_as_it_was_called(&spans);
    for bytes in &taken {
        let text = String::from_utf8_lossy(bytes);
        for planted in PLANTED.into_iter().chain([SECRET, STATUS, OPERATOR]) {
            assert!(!text.contains(planted), "{planted}");
        }
    }
}

/// Returns the only span of this name.
fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let [span] = *named else { panic!("{name}: {spans:?}") };
    span
}

fn is_as_it_was_called(spans: &[Span]) {
    let ads = only(spans, "munadi.v1.AdService/RequestAds");
    assert!(ads.is_of_the_caller());
    assert_eq!(hex(&ads.parent_span_id), PARENT_ID);
    let pairs = ads.attributes();
    for pair in [
        ("munadi.call.class", "serving"),
        ("munadi.caller.role", "feed"),
        ("rpc.method", "munadi.v1.AdService/RequestAds"),
        ("rpc.system.name", "grpc"),
    ] {
        assert!(pairs.contains(&pair), "{pair:?}: {pairs:?}");
    }
    let decided = only(spans, "decide");
    assert!(decided.is_of_the_caller());
    assert_eq!(decided.parent_span_id, ads.span_id);
    let listed = only(spans, "munadi.v1.AdminService/ListKeys");
    assert!(!listed.is_of_the_caller() && listed.parent_span_id.is_empty());
    let pairs = listed.attributes();
    assert!(pairs.contains(&("munadi.caller.role", "operator")), "{pairs:?}");
    assert!(pairs.contains(&("rpc.response.status_code", "OK")), "{pairs:?}");
    let recorded = only(spans, "munadi.v1.EventService/RecordEvents");
    assert!(recorded.attributes().contains(&("munadi.call.class", "events")));
    assert_eq!(only(spans, "journal").parent_span_id, recorded.span_id);
}
