//! Spans: when one begins, what it tells, and where it goes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, HeaderMap};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Span as _, SpanKind, Status, TraceContextExt, Tracer, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span,
};
use tokio::runtime::Runtime;
use tonic::Code;

use crate::guard::{self, Role};
use crate::rpc::meter::CODES;
use crate::rpc::traces::exporter::Exporter;
use crate::rpc::traces::{BadTraces, TraceConfig};

/// Spans that wait to be sent. What ends beyond them is dropped: no call waits for the collector.
const SPANS_WAITING_MAX: usize = 2_048;

/// Spans that are sent at once.
const SPANS_SENT_MAX: usize = 512;

/// How often they are sent at the latest.
const EXPORT_EVERY: Duration = Duration::from_secs(1);

/// How long a stop waits until what waits is sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The only header that is read of the caller's trace. `tracestate` is text of the caller's own, which the span
/// would carry.
const TRACEPARENT: &str = "traceparent";

/// What a method is called that the guard doesn't know.
const UNKNOWN_METHOD: &str = "unknown";

/// Traces that are kept: where their spans go, and the thread that sends them.
#[derive(Debug)]
pub struct Traces {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
    propagator: TraceContextPropagator,
    /// The methods of the guard's table in its order, without the slash before them.
    methods: Vec<&'static str>,
    /// Drives the connection to the collector; `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Traces {
    /// Starts to trace. Whether there is a collector is seen when the first spans are sent.
    ///
    /// # Errors
    /// When a thread can't be started.
    pub fn open(config: &TraceConfig) -> Result<Self, BadTraces> {
        // Of its own: batches are sent from a thread of the library, which waits for this runtime. On a door's,
        // which has one thread, a flush would wait for itself (open-telemetry/opentelemetry-rust#2715).
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("traces")
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let exporter = Exporter::new(config.endpoint()).map_err(io::Error::other)?;
        drop(entered);
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(SPANS_WAITING_MAX)
            .with_max_export_batch_size(SPANS_SENT_MAX)
            .with_scheduled_delay(EXPORT_EVERY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let about = [
            KeyValue::new("service.name", env!("CARGO_PKG_NAME")),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ];
        // Whoever traces a call has decided for the whole of it; the lot is for those that nobody traces yet.
        let lot = Sampler::TraceIdRatioBased(config.sample());
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(Sampler::ParentBased(Box::new(lot)))
            .with_resource(Resource::builder_empty().with_attributes(about).build())
            .build();
        Ok(Self {
            tracer: provider.tracer(env!("CARGO_PKG_NAME")),
            provider,
            propagator: TraceContextPropagator::new(),
            methods: guard::paths().map(|path| path.trim_start_matches('/')).collect(),
            runtime: Some(runtime),
        })
    }

    /// Sends what waits, for [`CLOSE_TIMEOUT`] at most. No call is traced from then on.
    pub fn close(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(CLOSE_TIMEOUT) {
            tracing::warn!(%error, "the last spans may be lost");
        }
    }

    /// Begins the span of a call, if it is to have one, and puts its trace into the call's extensions.
    pub(super) fn begin(
        self: &Arc<Self>,
        path: &str,
        role: Role,
        headers: &HeaderMap,
        extensions: &mut Extensions,
    ) -> Option<Call> {
        let parent = self.propagator.extract_with_context(&Context::new(), &Head(headers));
        let known = guard::place(path).and_then(|place| self.methods.get(place).copied());
        let method = known.unwrap_or(UNKNOWN_METHOD);
        let begun = self.tracer.span_builder(method).with_kind(SpanKind::Server);
        let mut span = begun.start_with_context(&self.tracer, &parent);
        if !span.is_recording() {
            return None;
        }
        span.set_attributes([
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", method),
            KeyValue::new("munadi.call.class", guard::class(path).name()),
            KeyValue::new("munadi.caller.role", role.name()),
        ]);
        let context = Context::new().with_remote_span_context(span.span_context().clone());
        extensions.insert(Trace(Some(Arc::new(Place { traces: Arc::clone(self), context }))));
        Some(Call { span, is_open: true })
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // A runtime that is dropped where others run would panic; the provider would send through it afterwards.
        let _ = self.provider.shutdown_with_timeout(CLOSE_TIMEOUT);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The span of a call. One that ends without an answer was left by its caller.
pub(super) struct Call {
    span: Span,
    is_open: bool,
}

impl Call {
    /// Ends the span with the code of the call's answer.
    pub(super) fn end(mut self, code: Code) {
        self.close(code);
    }

    fn close(&mut self, code: Code) {
        self.is_open = false;
        let name = CODES.get(code as usize).copied().unwrap_or_default();
        self.span.set_attribute(KeyValue::new("rpc.response.status_code", name));
        if is_fault(code) {
            // No message: it may quote what the caller sent.
            self.span.set_status(Status::error(""));
        }
        self.span.end();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.is_open {
            self.close(Code::Cancelled);
        }
    }
}

/// Tells whether a code is the server's own fault, as OpenTelemetry's conventions for gRPC have it.
const fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// Where the parts of a call belong.
struct Place {
    traces: Arc<Traces>,
    context: Context,
}

/// The trace of a call, for the parts that matter.
#[derive(Clone)]
pub(in crate::rpc) struct Trace(Option<Arc<Place>>);

/// A part of a call, measured until it is dropped. Empty where the call has no span.
pub(in crate::rpc) struct Part {
    _span: Option<Span>,
}

impl Trace {
    /// Returns the trace of the call with these extensions.
    pub(in crate::rpc) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or(Self(None))
    }

    /// Begins a part of the call.
    pub(in crate::rpc) fn part(&self, name: &'static str) -> Part {
        let _span = self.0.as_ref().map(|place| {
            let begun = place.traces.tracer.span_builder(name).with_kind(SpanKind::Internal);
            begun.start_with_context(&place.traces.tracer, &place.context)
        });
        Part { _span }
    }
}

/// The caller's head, of which nothing but the parent is read.
struct Head<'a>(&'a HeaderMap);

impl Extractor for Head<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key != TRACEPARENT {
            return None;
        }
        self.0.get(TRACEPARENT)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns traces that reach nobody.
    fn traces(sample: f64) -> Arc<Traces> {
        let config = TraceConfig::new("http://127.0.0.1:1", sample).unwrap();
        Arc::new(Traces::open(&config).unwrap())
    }

    fn begun(traces: &Arc<Traces>, parent: Option<&str>) -> Option<Call> {
        let mut headers = HeaderMap::new();
        if let Some(parent) = parent {
            headers.insert(TRACEPARENT, parent.parse().unwrap());
        }
        headers.insert("tracestate", "planted=secret".parse().unwrap());
        let path = "/munadi.v1.AdService/RequestAds";
        let mut extensions = Extensions::new();
        let call = traces.begin(path, Role::Feed, &headers, &mut extensions);
        assert_eq!(extensions.get::<Trace>().is_some(), call.is_some());
        call
    }

    #[test]
    fn a_caller_that_traces_decides_and_the_lot_decides_for_others() {
        let sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let (all, none) = (traces(1.0), traces(0.0));
        let call = begun(&none, Some(sampled)).unwrap();
        let span = call.span.span_context();
        assert_eq!(span.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.trace_state().header(), "", "the caller's own text is left behind");
        assert!(begun(&all, Some(unsampled)).is_none());
        assert!(begun(&all, None).is_some());
        assert!(begun(&none, None).is_none());
        for broken in ["", "planted", "00-planted-secret-01", "zz-0-0-0"] {
            let call = begun(&all, Some(broken)).unwrap();
            let span = call.span.span_context();
            assert!(span.is_valid(), "{broken}");
            assert!(begun(&none, Some(broken)).is_none(), "{broken}");
        }
    }

    #[test]
    fn only_the_servers_faults_are_errors() {
        let faults = (0..CODES.len() as i32).map(Code::from).filter(|code| is_fault(*code));
        let faults: Vec<_> = faults.map(|code| CODES[code as usize]).collect();
        assert_eq!(
            faults,
            [
                "UNKNOWN",
                "DEADLINE_EXCEEDED",
                "UNIMPLEMENTED",
                "INTERNAL",
                "UNAVAILABLE",
                "DATA_LOSS"
            ]
        );
    }

    #[test]
    fn a_call_without_a_span_has_no_parts() {
        assert!(Trace::of(&Extensions::new()).part("decide")._span.is_none());
    }
}
