//! The HTTP/1.1 server: one runtime a core, with the limits of its connections, and a drain with an end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::listen::{self, Counted, Running, Stop};
use crate::node::Node;
use crate::web::answer::Answer;
use crate::web::apps::Apps;
use crate::web::limits;
use crate::web::routes::Web;

/// How long accepting waits after it failed: a process without files left would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the door is started with.
#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Where to listen. Port 0: any free one.
    pub listen: SocketAddr,
    /// How many runtimes serve.
    pub cores: NonZeroUsize,
    /// The address at which the world reaches the door, without a slash at its end. Empty: not told.
    pub public_url: String,
    /// Names the header in which something before the door tells the country of who follows a link. `None`:
    /// it is not known.
    pub country_header: Option<HeaderName>,
    /// Whose webhooks are taken.
    pub apps: Arc<Apps>,
    /// How long connections may take.
    pub patience: Patience,
}

/// How long connections may take for what they do. The defaults are the limits of the README.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of the next request.
    pub head: Duration,
    /// For a request's body.
    pub body: Duration,
    /// Before they close after the request at hand.
    pub age: Duration,
    /// To finish when the door closes.
    pub drain: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: limits::HEAD_TIMEOUT,
            body: limits::BODY_TIMEOUT,
            age: limits::CONNECTION_AGE,
            drain: limits::DRAIN_DEADLINE,
        }
    }
}

/// Opens the HTTP door of a node.
///
/// # Errors
/// When the address can't be listened on, or no thread can be started.
pub fn serve(node: &Arc<Node>, config: &WebConfig) -> io::Result<Running> {
    let web = Arc::new(Web::new(node, config));
    serve_handler(config, move |request| {
        let web = Arc::clone(&web);
        async move { web.answer(request).await }
    })
}

/// Opens a door that answers every request by this handler.
///
/// # Errors
/// As [`serve`].
pub fn serve_handler<H, F>(config: &WebConfig, handler: H) -> io::Result<Running>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    serve_named("web", config, handler)
}

/// The same for a door of another name.
pub(in crate::web) fn serve_named<H, F>(
    name: &'static str,
    config: &WebConfig,
    handler: H,
) -> io::Result<Running>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let open = metrics::gauge!("munadi_connections", "door" => name);
    let seats = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let patience = config.patience;
    listen::start(name, config.listen, config.cores, move |listener, stop| {
        let (handler, seats, open) = (handler.clone(), Arc::clone(&seats), open.clone());
        Core { handler, seats, open, patience }.serve(listener, stop)
    })
}

struct Core<H> {
    handler: H,
    seats: Arc<Semaphore>,
    open: Gauge,
    patience: Patience,
}

impl<H, F> Core<H>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    async fn serve(self, listener: TcpListener, mut stop: Stop) -> io::Result<()> {
        let mut open = JoinSet::new();
        loop {
            let socket = tokio::select! {
                () = stop.asked() => break,
                accepted = listener.accept() => accepted,
                // What has ended is let go of at once.
                Some(_) = open.join_next() => continue,
            };
            match socket {
                Ok((socket, _)) => {
                    // Without a seat it is closed unread.
                    if let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() {
                        let (handler, patience) = (self.handler.clone(), self.patience);
                        let held = (seat, Counted::new(&self.open));
                        open.spawn(converse(socket, held, handler, patience, stop.clone()));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        let drain = self.patience.drain;
        tokio::select! {
            () = async { while open.join_next().await.is_some() {} } => {}
            () = sleep(drain) => {
                tracing::warn!(?drain, "cut the connections that had not finished in time");
            }
        }
        Ok(())
    }
}

/// Answers one connection's requests, one after the other, until it ends or is asked to.
async fn converse<H, F>(
    socket: TcpStream,
    _held: (OwnedSemaphorePermit, Counted),
    handler: H,
    patience: Patience,
    mut stop: Stop,
) where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    // An answer is one small write: nothing is gained by waiting for more. It works without, too.
    let _ = socket.set_nodelay(true);
    let service = service_fn(|request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(builder(patience).serve_connection(TokioIo::new(socket), service));
    tokio::select! {
        biased;
        // How a connection ends is the peer's affair.
        _ = connection.as_mut() => return,
        () = stop.asked() => {}
        () = sleep(patience.age) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Returns a server with every limit set.
fn builder(patience: Patience) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_headers(limits::HEADERS_MAX)
        .max_header_size(limits::HEAD_BYTES_MAX)
        .max_buf_size(limits::READ_BUFFER_BYTES_MAX);
    builder
}
