//! One accepted connection: its seat among all and its place among those of its address, and the moments at which
//! it is cut.

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

use crate::rpc::addresses::Place;
use crate::rpc::greeting::Greeting;
use crate::rpc::limits::STALL_BYTES_LEAST;

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

/// A socket that ends by itself: soon if it never says that it speaks HTTP/2 and saw the settings, or if its
/// peer does not read what it asked for; else after its life.
///
/// tonic 0.14.9 knows an age and a grace, but with both set it cuts at their sum without having asked
/// the caller to finish. So tonic gets the age, at which it asks, and the cut is made here.
pub(super) struct Connection {
    socket: TcpStream,
    ends: Pin<Box<Sleep>>,
    times: Times,
    greeting: Greeting,
    /// Since when the peer does not read, and how much it read in the meantime. `None`: nothing waits for it.
    stalled: Option<(Pin<Box<Sleep>>, usize)>,
    _seat: OwnedSemaphorePermit,
    _place: Place,
}

impl Connection {
    /// Takes a seat and a place for a socket that must greet in time.
    pub(super) fn new(
        socket: TcpStream,
        seat: OwnedSemaphorePermit,
        place: Place,
        times: Times,
    ) -> Self {
        let ends = Box::pin(sleep(times.greet));
        let greeting = Greeting::default();
        Self { socket, ends, times, greeting, stalled: None, _seat: seat, _place: place }
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

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
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
        let wrote = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.written(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.written(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever flushes has nothing left to write.
        self.stalled = None;
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
