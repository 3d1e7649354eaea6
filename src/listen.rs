//! What every door stands on: one current-thread runtime a core, each with its own listener on one shared
//! port, and how they all stop.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use metrics::Gauge;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;
use tokio::time::sleep;

/// How long a stop waits for work that a core handed to threads of its own, a long report: nobody hears its answer
/// any more.
const WORK_GRACE: Duration = Duration::from_secs(2);

/// Connections that wait to be accepted, of one core.
const BACKLOG: i32 = 1_024;

/// A door that is open. Dropping it closes it without waiting.
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

    /// Stops: no new call is taken, calls may finish until the door's deadline, then their connections are
    /// cut. Blocks until all is over.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for core in self.cores {
            if core.join().is_err() {
                tracing::error!("a core of a door panicked");
            }
        }
    }
}

/// A connection that is counted while it is open.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// Counts one more at a door.
    pub fn new(door: &Gauge) -> Self {
        door.increment(1.0);
        Self(door.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Tells a core when to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits until a stop is asked for, or nobody is left to ask.
    pub async fn asked(&mut self) {
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    /// Waits until a stop was asked for and this much time has passed since.
    pub async fn overdue(&mut self, grace: Duration) {
        self.asked().await;
        sleep(grace).await;
    }
}

/// Starts a thread a core, named `name-0` and so on, each with a runtime and a listener of its own. What
/// `serve` returns is awaited there; with it end the runtime and every connection still open.
///
/// # Errors
/// When the address can't be listened on, or no thread can be started.
pub fn start<F>(
    name: &str,
    addr: SocketAddr,
    cores: NonZeroUsize,
    serve: impl Fn(tokio::net::TcpListener, Stop) -> F + Clone + Send + 'static,
) -> io::Result<Running>
where
    F: Future<Output = io::Result<()>>,
{
    let listeners = listen(addr, cores.get())?;
    let addr = listeners[0].local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let mut cores = Vec::with_capacity(listeners.len());
    for (number, listener) in listeners.into_iter().enumerate() {
        let (serve, stop) = (serve.clone(), Stop(stopped.clone()));
        let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
        cores.push(thread.spawn(move || run(listener, stop, serve))?);
    }
    Ok(Running { addr, stop, cores })
}

fn run<F>(listener: TcpListener, stop: Stop, serve: impl Fn(tokio::net::TcpListener, Stop) -> F)
where
    F: Future<Output = io::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| {
        let served = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            serve(listener, stop).await
        });
        // Dropped, it would wait for them without an end.
        runtime.shutdown_timeout(WORK_GRACE);
        served
    });
    if let Err(error) = served {
        tracing::error!(%error, "a core of a door ended");
    }
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
