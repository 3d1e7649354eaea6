//! How connections come in: in clear as they are accepted, or within TLS once their handshake is done.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::TcpIncoming;

use crate::rpc::connection::{Connection, Wire};
use crate::rpc::tls::{RELOAD_EVERY, Tls};

/// Connections whose handshake is done and that wait to be served.
const WAITING_MAX: usize = 64;

/// How long nothing is accepted after the system could not: it has no file left, or no memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections as they come.
pub(super) type Incoming = Pin<Box<dyn Stream<Item = io::Result<Connection>> + Send>>;

/// What every connection is given.
#[derive(Clone)]
pub(super) struct Terms {
    /// Seats of all cores.
    pub(super) seats: Arc<Semaphore>,
    /// How long it may take to shake hands, and then to say that it speaks HTTP/2.
    pub(super) greet: Duration,
    /// How long it may live after that.
    pub(super) life: Duration,
}

impl Terms {
    fn seat(&self) -> io::Result<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_owned().map_err(io::Error::other)
    }

    fn seated(&self, wire: Wire, seat: OwnedSemaphorePermit) -> Connection {
        Connection::new(wire, seat, self.greet, self.life)
    }
}

/// Returns the connections of a listener, in clear.
pub(super) fn plain(listener: TcpListener, terms: Terms) -> Incoming {
    let sockets = TcpIncoming::from(listener).with_nodelay(Some(true));
    Box::pin(sockets.map(move |socket| {
        let seat = terms.seat()?;
        Ok(terms.seated(Wire::Plain(socket?), seat))
    }))
}

/// Returns the connections of a listener within TLS. Each shakes hands by itself, so that a slow one keeps nobody
/// waiting; and it is looked from time to time whether the certificates have changed.
pub(super) fn within_tls(listener: TcpListener, tls: Arc<Tls>, terms: Terms) -> Incoming {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(accept(listener, tls, terms, sender));
    Box::pin(ReceiverStream::new(receiver))
}

async fn accept(
    listener: TcpListener,
    tls: Arc<Tls>,
    terms: Terms,
    sender: mpsc::Sender<io::Result<Connection>>,
) {
    let mut look = interval(RELOAD_EVERY);
    loop {
        tokio::select! {
            // The server takes no more: the listener is closed with this.
            () = sender.closed() => return,
            _ = look.tick() => {
                let tls = Arc::clone(&tls);
                tokio::task::spawn_blocking(move || tls.reload());
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    // Without a seat it is dropped: a handshake costs more than a connection in clear.
                    let Ok(seat) = terms.seat() else { continue };
                    let acceptor = TlsAcceptor::from(tls.current());
                    let shaken = shake_hands(acceptor, socket, seat, terms.clone());
                    let sender = sender.clone();
                    tokio::spawn(async move {
                        if let Some(connection) = shaken.await {
                            // A server that has stopped takes none.
                            let _ = sender.send(Ok(connection)).await;
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Shakes hands; `None`: the peer did not, or not in time.
async fn shake_hands(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    seat: OwnedSemaphorePermit,
    terms: Terms,
) -> Option<Connection> {
    // Only slower without it.
    let _ = socket.set_nodelay(true);
    match timeout(terms.greet, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => Some(terms.seated(Wire::Tls(Box::new(stream)), seat)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
        Err(_) => None,
    }
}
