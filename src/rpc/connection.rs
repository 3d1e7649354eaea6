//! One accepted connection: its seat among all, and the moment at which it is cut.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::listen::Counted;

/// Bytes of the greeting with which every HTTP/2 connection begins (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;

/// A socket that ends by itself: soon if it never says that it speaks HTTP/2, else after its life.
///
/// tonic 0.14.9 knows an age and a grace, but with both set it cuts at their sum without having asked
/// the caller to finish. So tonic gets the age, at which it asks, and the cut is made here.
pub(super) struct Connection {
    socket: TcpStream,
    ends: Pin<Box<Sleep>>,
    /// How long it may live once it has greeted.
    life: Duration,
    heard: usize,
    _seat: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Connection {
    /// Takes a seat for a socket that must greet in time.
    pub(super) fn new(
        socket: TcpStream,
        (seat, counted): (OwnedSemaphorePermit, Counted),
        greet: Duration,
        life: Duration,
    ) -> Self {
        let ends = Box::pin(sleep(greet));
        Self { socket, ends, life, heard: 0, _seat: seat, _counted: counted }
    }

    fn hear(&mut self, count: usize) {
        let had_greeted = self.heard >= PREFACE_BYTES;
        self.heard = self.heard.saturating_add(count);
        if !had_greeted && self.heard >= PREFACE_BYTES {
            self.ends = Box::pin(sleep(self.life));
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
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
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
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.socket.connect_info()
    }
}
