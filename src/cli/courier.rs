//! The HTTP client that pushes conversions: https to the public internet, no redirects, everything within bounds.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec::IntoIter;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use tower::Service;

use crate::node::clock::Clock;
use crate::node::push::{Courier, Delivery, Parcel};
use crate::types::public::{is_public, may_be_asked};
use crate::types::time::SECOND_MS;

/// How long a parcel may take, from the look-up of its host to the end of the answer.
pub const PARCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read, and thrown away, so that its connection can be used again.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Connections to one host that wait for the next parcel.
const IDLE_PER_HOST_MAX: usize = 2;

/// How long a connection waits for the next parcel to its host before it is closed: receivers come and go, and each
/// would keep its sockets here.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

type Way = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct HttpCourier {
    client: Way,
    clock: Arc<dyn Clock>,
    insecure: bool,
}

impl HttpCourier {
    /// Returns a client. `insecure` lets it reach addresses that are not public, and this machine in clear.
    pub fn new(clock: Arc<dyn Clock>, insecure: bool) -> Self {
        Self::idling(clock, insecure, IDLE_TIMEOUT)
    }

    /// Returns a client whose connections wait so long for the next parcel.
    fn idling(clock: Arc<dyn Clock>, insecure: bool, idle: Duration) -> Self {
        let mut http = HttpConnector::new_with_resolver(Resolver { insecure });
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http();
        let connector = https.enable_http1().wrap_connector(http);
        let mut builder = Client::builder(TokioExecutor::new());
        // Without a timer the pool closes nothing by itself.
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(idle);
        builder.pool_max_idle_per_host(IDLE_PER_HOST_MAX);
        Self { client: builder.build(connector), clock, insecure }
    }

    async fn send(self, parcel: Parcel) -> Delivery {
        let Some(request) = request(parcel, self.insecure) else { return Delivery::Unanswered };
        let answered = async {
            let answer = self.client.request(request).await.ok()?;
            let (head, body) = answer.into_parts();
            // What it says is nothing to us; an endless answer ends here.
            let _ = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            Some(head)
        };
        match timeout(PARCEL_TIMEOUT, answered).await {
            Ok(Some(head)) => Delivery::Answered {
                status: head.status.as_u16(),
                retry_after_ms: retry_after_ms(&head.headers, self.clock.now().0),
            },
            Ok(None) | Err(_) => Delivery::Unanswered,
        }
    }
}

impl Courier for HttpCourier {
    fn deliver(&self, parcel: Parcel) -> Pin<Box<dyn Future<Output = Delivery> + Send>> {
        Box::pin(self.clone().send(parcel))
    }
}

/// Returns the request, if its URL may be asked for: the resolver looks at names only.
fn request(parcel: Parcel, insecure: bool) -> Option<Request<Full<Bytes>>> {
    let uri: Uri = parcel.url.parse().ok()?;
    may_be_asked(uri.scheme_str(), uri.host()?, insecure).ok()?;
    let mut request = Request::builder().method(Method::POST).uri(uri);
    for (name, value) in parcel.headers {
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::from(parcel.body))).ok()
}

/// Returns what `Retry-After` asks for, in seconds or as a date of HTTP; 0: nothing.
fn retry_after_ms(headers: &HeaderMap, now_ms: i64) -> i64 {
    let Some(told) = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()) else {
        return 0;
    };
    if let Ok(seconds) = told.trim().parse::<u32>() {
        return i64::from(seconds) * SECOND_MS;
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(told.trim());
    date.map_or(0, |date| (date.as_millisecond() - now_ms).max(0))
}

/// Looks names up, and leaves out what is not of the public internet: at the very moment of connecting, so that a
/// name can't change in between.
#[derive(Clone, Copy, Debug)]
struct Resolver {
    insecure: bool,
}

impl Service<Name> for Resolver {
    type Response = IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let insecure = self.insecure;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<_> =
                found.filter(|address| insecure || is_public(address.ip())).collect();
            if allowed.is_empty() {
                let message = "the host has no address of the public internet";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
            }
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::node::clock::SystemClock;

    fn parcel(url: &str) -> Parcel {
        let header = |name| (name, String::new());
        let headers =
            ["content-type", "x-munadi-timestamp", "x-munadi-key-version", "x-munadi-signature"];
        Parcel { account: 1, url: url.into(), headers: headers.map(header), body: String::new() }
    }

    #[test]
    fn only_https_to_the_public_internet_is_asked_for() {
        let asks = |url: &str, insecure| request(parcel(url), insecure).is_some();
        for url in ["https://crm.example/a", "https://1.1.1.1/"] {
            assert!(asks(url, false), "{url}");
        }
        for url in [
            "http://crm.example/a",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://10.0.0.1/",
            "https://169.254.169.254/",
            "https://[::ffff:192.168.0.1]/",
        ] {
            assert!(!asks(url, false), "{url}");
        }
        assert!(asks("http://127.0.0.1:9/", true) && asks("https://10.0.0.1/", true));
        assert!(!asks("http://crm.example/", true));
    }

    #[test]
    fn a_name_that_leads_home_has_no_address() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let look_up = |insecure| {
            let mut resolver = Resolver { insecure };
            runtime.block_on(resolver.call("localhost".parse().unwrap()))
        };
        assert_eq!(look_up(false).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(look_up(true).unwrap().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn a_connection_that_waits_in_vain_is_closed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (sender, closed) = tokio::sync::oneshot::channel();
        let patience = Duration::from_secs(20);
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(patience)).unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                socket.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            let _ = sender.send(socket.read(&mut byte).ok());
        });
        let clock = Arc::new(SystemClock::default());
        let courier = HttpCourier::idling(clock, true, Duration::from_millis(50));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let delivery = courier.deliver(parcel(&url)).await;
            assert_eq!(delivery, Delivery::Answered { status: 200, retry_after_ms: 0 });
            let ended = timeout(patience, closed).await.unwrap().unwrap();
            assert_eq!(ended, Some(0), "it waits for ever");
        });
        // Only now: what goes with the client would prove nothing.
        drop(courier);
    }

    #[test]
    fn a_pause_is_told_in_seconds_or_by_a_date() {
        let pause = |told: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, told.parse().unwrap());
            retry_after_ms(&headers, 1_795_435_200_000)
        };
        assert_eq!(pause("120"), 120_000);
        assert_eq!(pause("Mon, 23 Nov 2026 12:01:00 GMT"), 60_000);
        assert_eq!(pause("Mon, 23 Nov 2026 11:01:00 GMT"), 0);
        for nothing in ["", "soon", "-5"] {
            assert_eq!(pause(nothing), 0, "{nothing}");
        }
        assert_eq!(retry_after_ms(&HeaderMap::new(), 0), 0);
    }
}
