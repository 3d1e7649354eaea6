//! The layer behind admission: begins a span for each call that was taken, and ends it with the head of the answer.
//!
//! Behind it, so that a stranger can neither fill the collector nor choose what is traced.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use tonic::Code;
use tower::{Layer, Service};

use crate::guard::Caller;
use crate::rpc::meter::code_of;
use crate::rpc::traces::spans::{Call, Traces};

/// Puts [`Traced`] around services.
#[derive(Clone)]
pub(in crate::rpc) struct TraceLayer(Option<Arc<Traces>>);

/// Returns the layer; `None`: it leaves every call as it is.
pub(in crate::rpc) const fn layer(traces: Option<Arc<Traces>>) -> TraceLayer {
    TraceLayer(traces)
}

impl<S> Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { traces: self.0.clone(), inner }
    }
}

/// A service whose calls have spans.
#[derive(Clone)]
pub(in crate::rpc) struct Traced<S> {
    traces: Option<Arc<Traces>>,
    inner: S,
}

impl<S, Body, Answer> Service<Request<Body>> for Traced<S>
where
    S: Service<Request<Body>, Response = Response<Answer>>,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Spanned<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let call = self.traces.as_ref().and_then(|traces| begin(traces, &mut request));
        Spanned { inner: self.inner.call(request), call }
    }
}

/// Begins the span of a call. One that asks for no key, whether the node lives, has none.
fn begin<Body>(traces: &Arc<Traces>, request: &mut Request<Body>) -> Option<Call> {
    let role = request.extensions().get::<Caller>()?.role;
    let mut extensions = std::mem::take(request.extensions_mut());
    let call = traces.begin(request.uri().path(), role, request.headers(), &mut extensions);
    *request.extensions_mut() = extensions;
    call
}

/// The answer to come of a call that may have a span.
pub(in crate::rpc) struct Spanned<F> {
    inner: F,
    call: Option<Call>,
}

impl<F, Answer, Error> Future for Spanned<F>
where
    F: Future<Output = Result<Response<Answer>, Error>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = ready!(Pin::new(&mut self.inner).poll(context));
        if let Some(call) = self.call.take() {
            let code = answered.as_ref().map_or(Code::Unknown, |answer| code_of(answer.headers()));
            call.end(code);
        }
        Poll::Ready(answered)
    }
}
