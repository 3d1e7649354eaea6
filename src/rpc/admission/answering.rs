//! The answer to come of a call, taken or refused. It holds what it waits for as it is: nothing is allocated for a
//! call that is answered at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use tokio::time::{Sleep, sleep};

use crate::node::clock::{Clock, SystemClock};
use crate::rpc::admission::gate::Seat;
use crate::rpc::errors::deadline;

/// The answer to come of one call.
pub(in crate::rpc) struct Answering<F, Answer>(State<F, Answer>);

enum State<F, Answer> {
    Refused(Option<Response<Answer>>),
    Taken(Taken<F>),
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

impl<F, Answer> Answering<F, Answer> {
    /// Returns this answer.
    pub(super) const fn refused(answer: Response<Answer>) -> Self {
        Self(State::Refused(Some(answer)))
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

impl<F, Answer, Error> Future for Answering<F, Answer>
where
    F: Future<Output = Result<Response<Answer>, Error>> + Unpin,
    Answer: Default + Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            State::Refused(answer) => {
                Poll::Ready(Ok(answer.take().expect("it is asked until it has answered")))
            }
            State::Taken(taken) => {
                let answered = ready!(taken.poll(context));
                // Its place is free with the head of its answer.
                taken.seat = None;
                Poll::Ready(answered.unwrap_or_else(|| {
                    metrics::counter!("munadi_calls_late_total").increment(1);
                    Ok(deadline().into_http())
                }))
            }
        }
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
