//! One accepted connection: its seat among all, its peer, and the moment at which it is cut.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::guard::{Peer, certified};

/// Bytes of the greeting with which every HTTP/2 connection begins (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;

/// What a connection's bytes go through.
pub(super) enum Wire {
    /// In clear.
    Plain(TcpStream),
    /// Within TLS, its handshake done.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Returns who is at the other end.
    fn peer(&self) -> Peer {
        match self {
            Self::Plain(socket) => Peer { address: socket.peer_addr().ok(), caller: None },
            Self::Tls(stream) => {
                let (socket, session) = stream.get_ref();
                let certificate = session.peer_certificates().and_then(<[_]>::first);
                let caller = certificate.and_then(|certificate| certified(certificate));
                Peer { address: socket.peer_addr().ok(), caller }
            }
        }
    }
}

/// A socket that ends by itself: soon if it never says that it speaks HTTP/2, else after its life.
///
/// tonic 0.14.9 knows an age and a grace, but with both set it cuts at their sum without having asked
/// the caller to finish. So tonic gets the age, at which it asks, and the cut is made here.
pub(super) struct Connection {
    wire: Wire,
    peer: Peer,
    ends: Pin<Box<Sleep>>,
    /// How long it may live once it has greeted.
    life: Duration,
    heard: usize,
    _seat: OwnedSemaphorePermit,
}

impl Connection {
    /// Takes a seat for a socket that must greet in time.
    pub(super) fn new(
        wire: Wire,
        seat: OwnedSemaphorePermit,
        greet: Duration,
        life: Duration,
    ) -> Self {
        let peer = wire.peer();
        Self { wire, peer, ends: Box::pin(sleep(greet)), life, heard: 0, _seat: seat }
    }

    fn hear(&mut self, count: usize) {
        let had_greeted = self.heard >= PREFACE_BYTES;
        self.heard = self.heard.saturating_add(count);
        if !had_greeted && self.heard >= PREFACE_BYTES {
            self.ends = Box::pin(sleep(self.life));
        }
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
        let read = Pin::new(&mut self.wire).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read {
            self.hear(buffer.filled().len() - before);
        }
        // After the read, so that a greeting replaces the timer before it is asked.
        if self.ends.as_mut().poll(context).is_ready() {
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
        Pin::new(&mut self.wire).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}
