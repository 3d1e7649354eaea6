//! The server: one current-thread runtime a core, each with its own listener on one shared port.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use prost::Message;
use prost_types::FileDescriptorSet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tokio_stream::StreamExt;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::guard::{GuardLayer, Keys};
use crate::node::Node;
use crate::rpc::connection::Connection;
use crate::rpc::limits;
use crate::rpc::services::{Policies, routes};
use crate::types::proto::DESCRIPTORS;

/// Connections that wait to be accepted, of one core.
const BACKLOG: i32 = 1_024;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen. Port 0: any free one.
    pub listen: SocketAddr,
    /// How many runtimes serve.
    pub cores: NonZeroUsize,
    /// Who may call.
    pub keys: Arc<Keys>,
    /// How long connections may take.
    pub patience: Patience,
}

/// How long connections may take for what they do. The defaults are the limits of the README.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To say that they speak HTTP/2.
    pub greet: Duration,
    /// Before they are asked to come again.
    pub age: Duration,
    /// To finish their calls after that.
    pub grace: Duration,
    /// To finish their calls when the server stops.
    pub drain: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            greet: limits::HANDSHAKE_TIMEOUT,
            age: limits::CONNECTION_AGE,
            grace: limits::CONNECTION_GRACE,
            drain: limits::DRAIN_DEADLINE,
        }
    }
}

/// A server that runs. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    cores: Vec<JoinHandle<()>>,
}

impl Running {
    /// Returns where it listens, with the port that was chosen.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops: health says so, no new call is taken, calls may finish until the deadline, then their
    /// connections are cut. Blocks until all is over.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for core in self.cores {
            if core.join().is_err() {
                tracing::error!("a core of the server panicked");
            }
        }
    }
}

/// Starts a server of every service of the interface over a node.
///
/// # Errors
/// As [`serve_routes`].
pub fn serve(node: &Arc<Node>, policies: &Policies, config: ServerConfig) -> io::Result<Running> {
    serve_routes(routes(node, policies), config)
}

/// Starts a server of these services, with health and reflection beside them, all behind the guard.
///
/// # Errors
/// When the address can't be listened on, or no thread can be started.
pub fn serve_routes(routes: Routes, config: ServerConfig) -> io::Result<Running> {
    let listeners = listen(config.listen, config.cores.get())?;
    let addr = listeners[0].local_addr()?;
    let (health, routes) = with_health_and_reflection(routes)?;
    let (stop, stopped) = watch::channel(false);
    let seats = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let core = Core { config, routes, health, seats, stopped };
    let mut cores = Vec::with_capacity(listeners.len());
    for (number, listener) in listeners.into_iter().enumerate() {
        let core = core.clone();
        let thread = std::thread::Builder::new().name(format!("door-{number}"));
        cores.push(thread.spawn(move || core.run(listener))?);
    }
    Ok(Running { addr, stop, cores })
}

/// What each core is made of.
#[derive(Clone)]
struct Core {
    config: ServerConfig,
    routes: Routes,
    health: HealthReporter,
    seats: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

impl Core {
    fn run(self, listener: TcpListener) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.and_then(|runtime| runtime.block_on(self.serve(listener)));
        // The runtime is gone, and with it every connection that is still open.
        if let Err(error) = served {
            tracing::error!(%error, "a core of the server ended");
        }
    }

    async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let Patience { greet, age, grace, drain } = self.config.patience;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let seats = self.seats;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).map(move |socket| {
            let seat = Arc::clone(&seats).try_acquire_owned().map_err(io::Error::other)?;
            Ok::<_, io::Error>(Connection::new(socket?, seat, greet, age + grace))
        });
        let (mut stopped, health) = (self.stopped.clone(), self.health);
        let stopping = async move {
            stop_asked(&mut stopped).await;
            for name in ["".to_owned()].into_iter().chain(service_names()) {
                health.set_service_status(name, ServingStatus::NotServing).await;
            }
        };
        let serving = builder(age)
            .layer(GuardLayer::new(self.config.keys))
            .add_routes(self.routes)
            .serve_with_incoming_shutdown(incoming, stopping);
        let mut stopped = self.stopped;
        // hyper may wait for ever for a connection that never ends (hyperium/hyper#4170).
        let too_late = async move {
            stop_asked(&mut stopped).await;
            sleep(drain).await;
        };
        tokio::select! {
            served = serving => served.map_err(io::Error::other),
            () = too_late => {
                tracing::warn!(?drain, "cut the connections that had not finished in time");
                Ok(())
            }
        }
    }
}

/// Waits until a stop is asked for, or nobody is left to ask.
async fn stop_asked(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Returns a server with every limit set: tonic's own defaults switch off two of hyper's.
fn builder(age: Duration) -> Server {
    Server::builder()
        .timeout(limits::CALL_DEADLINE)
        .max_concurrent_streams(limits::STREAMS_MAX)
        .http2_max_local_error_reset_streams(Some(limits::FAULTY_STREAMS_MAX))
        .http2_max_pending_accept_reset_streams(Some(limits::RESET_STREAMS_MAX))
        .http2_max_header_list_size(limits::HEADER_BYTES_MAX)
        .max_frame_size(limits::FRAME_BYTES_MAX)
        .http2_keepalive_interval(Some(limits::KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(limits::KEEPALIVE_TIMEOUT))
        .max_connection_age(age)
}

fn with_health_and_reflection(routes: Routes) -> io::Result<(HealthReporter, Routes)> {
    let (health, health_service) = tonic_health::server::health_reporter();
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        for name in service_names() {
            health.set_service_status(name, ServingStatus::Serving).await;
        }
    });
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (v1, v1alpha) = (reflection().build_v1(), reflection().build_v1alpha());
    let routes = routes
        .add_service(health_service)
        .add_service(v1.map_err(io::Error::other)?)
        .add_service(v1alpha.map_err(io::Error::other)?);
    Ok((health, routes))
}

fn service_names() -> impl Iterator<Item = String> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).expect("the build wrote them");
    set.file.into_iter().flat_map(|file| {
        let package = file.package().to_owned();
        let named = move |service| format!("{package}.{service}");
        file.service.into_iter().map(move |service| named(service.name().to_owned()))
    })
}

/// Returns one listener a core, all on one port; the kernel spreads new connections over them.
fn listen(addr: SocketAddr, cores: usize) -> io::Result<Vec<TcpListener>> {
    // Sharing a port is for our own cores only: whoever else listens there must be noticed.
    if addr.port() != 0 {
        TcpListener::bind(addr)?;
    }
    let first = listener(addr)?;
    let addr = first.local_addr()?;
    let others = (1..cores).map(|_| listener(addr));
    std::iter::once(Ok(first)).chain(others).collect()
}

fn listener(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
