//! The answer to come of a call, taken or refused. It holds what it waits for as it is: nothing is allocated for a
//! call that is answered at once.
//!
//! A refusal comes behind the end of its request, which is dropped as it comes. A stream that is answered before its
//! end is reset, and what still comes of it counts as its caller's fault once there were too many such to remember
//! (h2 keeps 50): a connection whose calls are refused one after the other would soon be closed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use hyper::body::Body;
use prost::bytes::Buf;
use tokio::time::{Sleep, sleep};
use tonic::Status;

use crate::node::clock::{Clock, SystemClock};
use crate::rpc::admission::gate::Seat;
use crate::rpc::errors::deadline;
use crate::rpc::limits::{REFUSED_READ_BYTES, REFUSED_WAIT};

/// Returns what is told of a call whose time is over.
pub(super) fn late() -> Status {
    metrics::counter!("munadi_calls_late_total").increment(1);
    deadline()
}

/// The answer to come of one call.
pub(in crate::rpc) struct Answering<F, Answer, B>(State<F, Answer, B>);

enum State<F, Answer, B> {
    Refused { answer: Option<Response<Answer>>, rest: Option<Rest<B>> },
    Taken(Taken<F>),
}

/// What is still to come of a refused request.
struct Rest<B> {
    body: B,
    /// Bytes that are still dropped.
    left: usize,
    /// Set once it has to wait.
    late: Option<Pin<Box<Sleep>>>,
}

/// A call that is at work.
struct Taken<F> {
    answer: F,
    seat: Option<Seat>,
    clock: Arc<SystemClock>,
    /// When it must be answered, by the clock.
    until: Option<Duration>,
    /// Set once it has to wait.
    late: Option<Pin<Box<Sleep>>>,
    is_begun: bool,
}

impl<F, Answer, B> Answering<F, Answer, B> {
    /// Returns this answer: behind the end of the request where that is given, or at once.
    pub(super) fn refused(answer: Response<Answer>, request: Option<B>) -> Self {
        let rest = request.map(|body| Rest { body, left: REFUSED_READ_BYTES, late: None });
        Self(State::Refused { answer: Some(answer), rest })
    }

    /// Returns the answer of a service, if it comes before its deadline.
    pub(super) const fn taken(
        answer: F,
        seat: Seat,
        clock: Arc<SystemClock>,
        until: Option<Duration>,
    ) -> Self {
        let seat = Some(seat);
        Self(State::Taken(Taken { answer, seat, clock, until, late: None, is_begun: false }))
    }
}

impl<F, Answer, Error, B> Future for Answering<F, Answer, B>
where
    F: Future<Output = Result<Response<Answer>, Error>> + Unpin,
    Answer: Default + Unpin,
    B: Body + Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            State::Refused { answer, rest } => {
                if let Some(rest) = rest {
                    ready!(rest.poll_end(context));
                }
                Poll::Ready(Ok(answer.take().expect("it is asked until it has answered")))
            }
            State::Taken(taken) => {
                let answered = ready!(taken.poll(context));
                // Its place is free with the head of its answer.
                taken.seat = None;
                Poll::Ready(answered.unwrap_or_else(|| Ok(late().into_http())))
            }
        }
    }
}

impl<B: Body + Unpin> Rest<B> {
    /// Drops what comes, until the request's end, or until it is too much or takes too long.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.body.is_end_stream() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let count = frame.data_ref().map_or(0, Buf::remaining);
                    let Some(left) = self.left.checked_sub(count) else { break };
                    self.left = left;
                }
                Poll::Ready(_) => break,
                Poll::Pending => {
                    let late = self.late.get_or_insert_with(|| Box::pin(sleep(REFUSED_WAIT)));
                    return late.as_mut().poll(context);
                }
            }
        }
        Poll::Ready(())
    }
}

impl<F: Future + Unpin> Taken<F> {
    /// Returns the answer; `None`: it is late. A call whose deadline passed while it waited for its core is not
    /// begun.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let left = |clock: &SystemClock, until: Duration| until.saturating_sub(clock.monotonic());
        if let Some(until) = self.until
            && !self.is_begun
        {
            self.is_begun = true;
            if left(&self.clock, until).is_zero() {
                return Poll::Ready(None);
            }
        }
        if let Poll::Ready(answer) = Pin::new(&mut self.answer).poll(context) {
            return Poll::Ready(Some(answer));
        }
        let Some(until) = self.until else { return Poll::Pending };
        let begin = || Box::pin(sleep(left(&self.clock, until)));
        let late = self.late.get_or_insert_with(begin);
        ready!(late.as_mut().poll(context));
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::future::Ready;
    use std::task::Waker;

    use hyper::body::Frame;
    use prost::bytes::Bytes;

    use super::*;

    /// A request that comes piece by piece; `None`: nothing has come yet.
    struct Pieces(VecDeque<Option<usize>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(Some(count)) => {
                    Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; count])))))
                }
                Some(None) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    type Refusal = Answering<Ready<Result<Response<()>, Infallible>>, (), Pieces>;

    fn refused(pieces: Option<&[Option<usize>]>) -> Refusal {
        let body = pieces.map(|pieces| Pieces(pieces.iter().copied().collect()));
        Answering::refused(Response::new(()), body)
    }

    /// Returns how often it has to be asked.
    fn asked(mut refusal: Refusal) -> usize {
        let context = &mut Context::from_waker(Waker::noop());
        let asked = |_: &usize| Pin::new(&mut refusal).poll(context).is_ready();
        (1..100).find(asked).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_comes_behind_the_end_of_its_request() {
        assert_eq!(asked(refused(None)), 1, "who may never end is not waited for");
        for (pieces, wanted) in [
            (&[][..], 1),
            (&[Some(9)], 1),
            (&[None, Some(9)], 2),
            (&[Some(5), None, None, Some(4)], 3),
            (&[Some(REFUSED_READ_BYTES), None, Some(0)], 2),
            // Too much.
            (&[Some(REFUSED_READ_BYTES + 1), None, None], 1),
            (&[Some(REFUSED_READ_BYTES), None, Some(1), None], 2),
        ] {
            assert_eq!(asked(refused(Some(pieces))), wanted, "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_answered_all_the_same() {
        let clock = SystemClock::default();
        let mut forever = [None; 100];
        forever[0] = Some(1);
        refused(Some(&forever)).await.unwrap();
        assert!(clock.monotonic() >= REFUSED_WAIT, "{:?}", clock.monotonic());
    }
}
