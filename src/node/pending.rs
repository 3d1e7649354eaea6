//! Answers that come once they are durable.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use crate::node::queue::{Queue, Turned};
use crate::node::writer::{Reply, Work};
use crate::types::refusal::{Reason, Refusal};

/// An answer that comes once it is durable.
pub struct Pending<T>(oneshot::Receiver<Result<T, Refusal>>);

impl<T> Future for Pending<T> {
    type Output = Result<T, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(answer.unwrap_or_else(|_| Err(unavailable())))
    }
}

/// Puts work into the queue; the answer comes once it is durable.
pub(in crate::node) fn submit<T: Send + 'static>(
    queue: &Queue,
    work: impl FnOnce(Reply<T>) -> Work,
) -> Result<Pending<T>, Refusal> {
    let (sender, receiver) = oneshot::channel();
    let reply: Reply<T> = Box::new(move |answer| {
        // The caller may have gone; what it sent counts all the same.
        let _ = sender.send(answer);
    });
    match queue.push(work(reply)) {
        Ok(()) => Ok(Pending(receiver)),
        Err(Turned::Full) => {
            metrics::counter!("munadi_busy_total").increment(1);
            let message = "too much waits for the journal; send it again in a second";
            Err(Refusal::new(Reason::Busy, "", message))
        }
        Err(Turned::NoSpace) => {
            metrics::counter!("munadi_disk_full_total").increment(1);
            let message = "the journal's disk is full and nothing was stored; send it again later";
            Err(Refusal::new(Reason::Busy, "", message))
        }
        Err(Turned::Closed) => Err(unavailable()),
    }
}

pub(in crate::node) fn unavailable() -> Refusal {
    let message = "the node is stopping or can't write its journal; send it to another or later";
    Refusal::new(Reason::Unavailable, "", message)
}
