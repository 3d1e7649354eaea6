//! The server of every service, with the limits of its connections.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use prost_types::FileDescriptorSet;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::guard::{Gate, Keys};
use crate::listen::{self, Running, Stop};
use crate::node::{Gauge, Node};
use crate::rpc::accept::{Terms, plain, within_tls};
use crate::rpc::addresses::Addresses;
use crate::rpc::admission::Admission;
use crate::rpc::connection::Times;
use crate::rpc::limits::{self, Limits};
use crate::rpc::meter::MeterLayer;
use crate::rpc::services::{Policies, routes};
use crate::rpc::tls::Tls;
use crate::rpc::traces::{self, Traces};
use crate::types::proto::DESCRIPTORS;

/// The name by which `grpc.health.v1` is asked whether calls may be sent here: SERVING while the state is
/// recovered, the journal can be written and its lag is small. The empty name is whether the server is there.
pub const READY_SERVICE: &str = "munadi.ready";

/// How often it is looked at.
const READY_EVERY: Duration = Duration::from_millis(500);

/// Tells whether calls may be sent here now.
type Ready = Arc<dyn Fn() -> bool + Send + Sync>;

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
    /// What connections are opened with; `None`: in clear.
    pub tls: Option<Arc<Tls>>,
    /// What callers may take.
    pub limits: Limits,
    /// Where spans of calls are sent; `None`: there are none.
    pub traces: Option<Arc<Traces>>,
}

/// How long connections may take for what they do. The defaults are the limits of the README.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To say that they speak HTTP/2 and saw the server's settings.
    pub greet: Duration,
    /// To read some of what they asked for.
    pub stall: Duration,
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
            stall: limits::STALL_TIMEOUT,
            age: limits::CONNECTION_AGE,
            grace: limits::CONNECTION_GRACE,
            drain: limits::DRAIN_DEADLINE,
        }
    }
}

/// Starts a server of every service of the interface over a node.
///
/// # Errors
/// As [`serve_routes`].
pub fn serve(node: &Arc<Node>, policies: &Policies, config: ServerConfig) -> io::Result<Running> {
    start(routes(node, policies), config, Some(Arc::clone(node)))
}

/// Starts a server of these services, with health and reflection beside them, all behind the guard.
///
/// # Errors
/// When the address can't be listened on, or no thread can be started.
pub fn serve_routes(routes: Routes, config: ServerConfig) -> io::Result<Running> {
    start(routes, config, None)
}

fn start(routes: Routes, config: ServerConfig, node: Option<Arc<Node>>) -> io::Result<Running> {
    let gauge = node.as_ref().map_or_else(Gauge::of_nothing, |node| node.gauge());
    let asked = node.clone();
    let ready: Ready = Arc::new(move || asked.as_ref().is_none_or(|node| node.readiness().is_ok()));
    let guard = Gate::new(Arc::clone(&config.keys), node);
    let (health, routes) = with_health_and_reflection(routes)?;
    let seats = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let addresses = Addresses::new(config.limits.address_connections);
    let admission = Admission::new(guard, config.limits, gauge);
    let (addr, cores) = (config.listen, config.cores);
    let core = Core { config, routes, health, seats, addresses, admission, ready };
    listen::start("door", addr, cores, move |listener, stop| core.clone().serve(listener, stop))
}

/// What each core is made of.
#[derive(Clone)]
struct Core {
    config: ServerConfig,
    routes: Routes,
    health: HealthReporter,
    seats: Arc<Semaphore>,
    addresses: Addresses,
    admission: Admission,
    ready: Ready,
}

impl Core {
    async fn serve(self, listener: TcpListener, stop: Stop) -> io::Result<()> {
        let Patience { greet, stall, age, grace, drain } = self.config.patience;
        let times = Times { greet, life: age + grace, stall };
        let open = metrics::gauge!("munadi_connections", "door" => "grpc");
        let admission = self.admission.of_core();
        let terms = Terms {
            seats: self.seats,
            addresses: self.addresses,
            open,
            times,
            admission: admission.clone(),
        };
        let incoming = match self.config.tls {
            Some(tls) => within_tls(listener, tls, terms),
            None => plain(listener, terms),
        };
        let ready = self.ready;
        let (mut stopped, health, draining) = (stop.clone(), self.health, admission.clone());
        let stopping = async move {
            show_readiness(&health, &ready, &mut stopped).await;
            draining.stop();
            let names = ["", READY_SERVICE].map(str::to_owned);
            for name in names.into_iter().chain(service_names()) {
                health.set_service_status(name, ServingStatus::NotServing).await;
            }
        };
        let serving = builder(age)
            // What is turned away is counted too.
            .layer(MeterLayer::register())
            .layer(admission)
            .layer(traces::layer(self.config.traces))
            .add_routes(self.routes)
            .serve_with_incoming_shutdown(incoming, stopping);
        let mut stopped = stop;
        tokio::select! {
            served = serving => served.map_err(io::Error::other),
            // hyper may wait for ever for a connection that never ends (hyperium/hyper#4170).
            () = stopped.overdue(drain) => {
                tracing::warn!(?drain, "cut the connections that had not finished in time");
                Ok(())
            }
        }
    }
}

/// Lets health tell whether the server is ready, until a stop is asked for.
async fn show_readiness(health: &HealthReporter, ready: &Ready, stop: &mut Stop) {
    let mut shown = None;
    loop {
        let status = if ready() { ServingStatus::Serving } else { ServingStatus::NotServing };
        if shown.replace(status) != Some(status) {
            health.set_service_status(READY_SERVICE, status).await;
        }
        tokio::select! {
            () = stop.asked() => return,
            () = sleep(READY_EVERY) => {}
        }
    }
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
        // Until it was looked at.
        health.set_service_status(READY_SERVICE, ServingStatus::NotServing).await;
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
