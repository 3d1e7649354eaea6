//! One accepted connection: its seat among all and its place among those of its address, its peer, how fast it is
//! read, and the moments at which it is cut.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::guard::{Caller, certified};
use crate::listen::Counted;
use crate::rpc::addresses::Place;
use crate::rpc::admission::{Calls, Pace};
use crate::rpc::greeting::Greeting;
use crate::rpc::limits::STALL_BYTES_LEAST;

/// What a connection's bytes go through.
pub(super) enum Wire {
    /// In clear.
    Plain(TcpStream),
    /// Within TLS, its handshake done.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Returns whom the certificate of the other end names.
    fn certified(&self) -> Option<Caller> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => {
                let (_, session) = stream.get_ref();
                let certificate = session.peer_certificates().and_then(<[_]>::first);
                certificate.and_then(|certificate| certified(certificate))
            }
        }
    }
}

/// What each call knows of its connection, which puts it into the extensions of its requests.
#[derive(Clone)]
pub(super) struct Line {
    /// Whom its certificate names.
    pub(super) certified: Option<Caller>,
    /// What it asks for.
    pub(super) calls: Arc<Calls>,
}

/// How long a connection may take for what it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// To greet.
    pub(super) greet: Duration,
    /// For all, once it has greeted.
    pub(super) life: Duration,
    /// To take [`STALL_BYTES_LEAST`] of what waits for it.
    pub(super) stall: Duration,
}

/// What a connection holds while it is open.
pub(super) struct Seat {
    /// One of all.
    pub(super) _seat: OwnedSemaphorePermit,
    /// One of its address.
    pub(super) _place: Place,
    /// One of those that are told.
    pub(super) _counted: Counted,
}

/// A socket that ends by itself: soon if it never says that it speaks HTTP/2 and saw the settings, or if its
/// peer does not read what it asked for; else after its life.
///
/// tonic 0.14.9 knows an age and a grace, but with both set it cuts at their sum without having asked
/// the caller to finish. So tonic gets the age, at which it asks, and the cut is made here.
pub(super) struct Connection {
    wire: Wire,
    line: Line,
    pace: Pace,
    ends: Pin<Box<Sleep>>,
    times: Times,
    greeting: Greeting,
    /// Since when the peer does not read, and how much it read in the meantime. `None`: nothing waits for it.
    stalled: Option<(Pin<Box<Sleep>>, usize)>,
    _seat: Seat,
}

impl Connection {
    /// Takes a seat for a socket that must greet in time.
    pub(super) fn new(wire: Wire, seat: Seat, times: Times, pace: Pace) -> Self {
        let line = Line { certified: wire.certified(), calls: pace.calls() };
        let (ends, greeting) = (Box::pin(sleep(times.greet)), Greeting::default());
        Self { wire, line, pace, ends, times, greeting, stalled: None, _seat: seat }
    }

    /// Reads when it is the connection's turn.
    fn poll_paced(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(most) = ready!(self.pace.poll_turn(context))? else {
            return Pin::new(&mut self.wire).poll_read(context, buffer);
        };
        let most = most.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        let read = Pin::new(&mut self.wire).poll_read(context, &mut part);
        let count = part.filled().len();
        buffer.advance(count);
        self.pace.heard(count, most);
        read
    }

    /// Passes on how a write ended, and cuts the connection when too little was read for too long.
    fn written(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match wrote {
            Poll::Ready(Ok(count)) => {
                if let Some((_, read)) = &mut self.stalled {
                    *read += count;
                    if *read >= STALL_BYTES_LEAST {
                        self.stalled = None;
                    }
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let patience = self.times.stall;
                let begun = || (Box::pin(sleep(patience)), 0);
                let (over, _) = self.stalled.get_or_insert_with(begun);
                if over.as_mut().poll(context).is_ready() {
                    metrics::counter!("munadi_connections_cut_total", "cause" => "stalled")
                        .increment(1);
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        wrote
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.poll_paced(context, buffer);
        if let Poll::Ready(Ok(())) = read
            && self.greeting.hear(&buffer.filled()[before..])
        {
            self.ends = Box::pin(sleep(self.times.life));
        }
        // After the read, so that a greeting replaces the timer before it is asked.
        if self.ends.as_mut().poll(context).is_ready() {
            let cause = if self.greeting.is_complete() { "age" } else { "greeting" };
            metrics::counter!("munadi_connections_cut_total", "cause" => cause).increment(1);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(read)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.wire).poll_write(context, bytes);
        self.written(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.wire).poll_write_vectored(context, slices);
        self.written(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.wire).poll_flush(context);
        if flushed.is_ready() {
            // Whoever has flushed has nothing left to write.
            self.stalled = None;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = Line;

    fn connect_info(&self) -> Line {
        self.line.clone()
    }
}
