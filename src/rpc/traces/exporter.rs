//! The way of spans to the collector, and what is said when it is closed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// How long the collector may take for one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends spans, and logs when the collector stops taking them and when it takes them again: once each, however many
/// batches are lost between.
#[derive(Debug)]
pub(super) struct Exporter {
    way: opentelemetry_otlp::SpanExporter,
    is_failing: AtomicBool,
}

impl Exporter {
    /// Returns the way to a collector. It is called on a runtime, which then drives the connection.
    pub(super) fn new(endpoint: &str) -> Result<Self, ExporterBuildError> {
        let way = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            // Tried again, a batch would take the place of those that came meanwhile.
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        Ok(Self { way, is_failing: AtomicBool::new(false) })
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.way.export(batch).await;
        let was_failing = self.is_failing.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !was_failing => {
                tracing::warn!(%error, "the collector takes no spans: they are lost until it does");
            }
            Ok(()) if was_failing => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.way.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.way.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.way.set_resource(resource);
    }
}
