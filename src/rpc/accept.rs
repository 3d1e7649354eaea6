//! How connections come in: in clear as they are accepted, or within TLS once their handshake is done.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use metrics::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::TcpIncoming;

use crate::listen::Counted;
use crate::rpc::addresses::Addresses;
use crate::rpc::admission::AdmissionLayer;
use crate::rpc::connection::{Connection, Seat, Times, Wire};
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
    /// How many each address has.
    pub(super) addresses: Addresses,
    /// How many there are.
    pub(super) open: Gauge,
    /// How long it may take to shake hands, and for the rest.
    pub(super) times: Times,
    /// What takes or refuses its calls.
    pub(super) admission: AdmissionLayer,
}

impl Terms {
    fn seat(&self, address: IpAddr) -> io::Result<Seat> {
        let place = self.addresses.enter(address).ok_or_else(|| turned_away("address"))?;
        let seat = Arc::clone(&self.seats).try_acquire_owned();
        let seat = seat.map_err(|_| turned_away("server"))?;
        Ok(Seat { _seat: seat, _place: place, _counted: Counted::new(&self.open) })
    }

    fn seated(&self, wire: Wire, seat: Seat) -> Connection {
        Connection::new(wire, seat, self.times, self.admission.pace())
    }
}

/// Counts a connection that is one too many of its address or of the server.
fn turned_away(of: &'static str) -> io::Error {
    metrics::counter!("munadi_connections_refused_total", "of" => of).increment(1);
    io::Error::other("too many connections")
}

/// Returns the connections of a listener, in clear.
pub(super) fn plain(listener: TcpListener, terms: Terms) -> Incoming {
    let sockets = TcpIncoming::from(listener).with_nodelay(Some(true));
    Box::pin(sockets.map(move |socket| {
        let socket = socket?;
        // Without a seat and a place it is closed unread.
        let seat = terms.seat(socket.peer_addr()?.ip())?;
        Ok(terms.seated(Wire::Plain(socket), seat))
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
                Ok((socket, peer)) => {
                    // Without a seat it is dropped: a handshake costs more than a connection in clear.
                    let Ok(seat) = terms.seat(peer.ip()) else { continue };
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
    seat: Seat,
    terms: Terms,
) -> Option<Connection> {
    // Only slower without it.
    let _ = socket.set_nodelay(true);
    match timeout(terms.times.greet, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => Some(terms.seated(Wire::Tls(Box::new(stream)), seat)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
        Err(_) => None,
    }
}
