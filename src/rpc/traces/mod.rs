//! Traces: a span for each call that is let in, sent to a collector of OpenTelemetry. Built with the feature
//! `traces`; without it nothing of this is in the path of a call.
//!
//! A span tells the method, the code, the class and the caller's role: no id, no credential, no text of a request.

#[cfg(not(feature = "traces"))]
mod absent;
#[cfg(feature = "traces")]
mod exporter;
#[cfg(feature = "traces")]
mod layer;
#[cfg(feature = "traces")]
mod spans;

use std::io;

use http::Uri;
use http::uri::Scheme;
use thiserror::Error;

#[cfg(not(feature = "traces"))]
pub use absent::Traces;
#[cfg(not(feature = "traces"))]
pub(in crate::rpc) use absent::{Trace, layer};
#[cfg(feature = "traces")]
pub(in crate::rpc) use layer::layer;
#[cfg(feature = "traces")]
pub(in crate::rpc) use spans::Trace;
#[cfg(feature = "traces")]
pub use spans::Traces;

/// The part of calls that are traced where nothing is said.
pub const SAMPLE_USUAL: f64 = 0.01;

/// Every call is traced.
pub const SAMPLE_MAX: f64 = 1.0;

/// The longest address of a collector, bytes.
pub const ENDPOINT_BYTES_MAX: usize = 256;

/// Where spans are sent, and of how many calls.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceConfig {
    endpoint: String,
    sample: f64,
}

/// Why calls can't be traced.
#[derive(Debug, Error)]
pub enum BadTraces {
    /// The address is none that spans can be sent to.
    #[error(
        "endpoint: must be http://, a host and a port such as http://127.0.0.1:4317, at most {ENDPOINT_BYTES_MAX} \
         bytes, without a name, a password or a path: name the collector's gRPC address"
    )]
    Endpoint,
    /// No part of all calls.
    #[error("sample: must be 0 to {SAMPLE_MAX}: 0.01 is one call of a hundred")]
    Sample,
    /// The library is not built in.
    #[error(
        "this build can't trace: build it with `--features traces`, or leave [traces] out of the configuration"
    )]
    NotBuilt,
    /// What sends could not be started.
    #[error("spans can't be sent: {0}")]
    Start(#[from] io::Error),
}

impl TraceConfig {
    /// Checks where spans go, and the part of calls that have one, 0 to [`SAMPLE_MAX`].
    ///
    /// # Errors
    /// When one of them is out of its bounds, or the feature is not built in.
    pub fn new(endpoint: &str, sample: f64) -> Result<Self, BadTraces> {
        if !is_collector(endpoint) {
            return Err(BadTraces::Endpoint);
        }
        if !(0.0..=SAMPLE_MAX).contains(&sample) {
            return Err(BadTraces::Sample);
        }
        if !cfg!(feature = "traces") {
            return Err(BadTraces::NotBuilt);
        }
        Ok(Self { endpoint: endpoint.to_owned(), sample })
    }

    /// Returns the collector's address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the part of calls that have a span where their caller doesn't say.
    pub const fn sample(&self) -> f64 {
        self.sample
    }
}

fn is_collector(endpoint: &str) -> bool {
    let uri =
        if endpoint.len() <= ENDPOINT_BYTES_MAX { endpoint.parse::<Uri>().ok() } else { None };
    let Some(uri) = uri else { return false };
    // A name and a password before the host would be told wherever the address is.
    let has_host = uri.authority().is_some_and(|it| {
        !it.host().is_empty() && it.port_u16().is_some() && !it.as_str().contains('@')
    });
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    uri.scheme() == Some(&Scheme::HTTP) && has_host && is_bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_host_and_a_port_in_clear() {
        let long = format!("http://{}:1", "a".repeat(ENDPOINT_BYTES_MAX));
        for (endpoint, good) in [
            ("http://127.0.0.1:4317", true),
            ("http://collector.example:4317/", true),
            ("http://[::1]:4317", true),
            ("https://collector.example:4317", false),
            ("http://collector.example", false),
            ("http://name:password@collector.example:4317", false),
            ("http://collector.example:4317/v1/traces", false),
            ("http://collector.example:4317/?key=1", false),
            ("127.0.0.1:4317", false),
            ("", false),
            (&*long, false),
        ] {
            assert_eq!(is_collector(endpoint), good, "{endpoint}");
        }
    }

    #[test]
    fn what_is_out_of_its_bounds_is_named_whatever_is_built() {
        let endpoint = "http://127.0.0.1:4317";
        for sample in [-0.01, 1.01, f64::NAN, f64::INFINITY] {
            let error = TraceConfig::new(endpoint, sample).unwrap_err();
            assert!(matches!(error, BadTraces::Sample), "{sample}: {error}");
        }
        let error = TraceConfig::new("https://planted-secret", 0.5).unwrap_err();
        assert!(matches!(error, BadTraces::Endpoint), "{error}");
        assert!(!error.to_string().contains("planted"), "{error}");
        for sample in [0.0, SAMPLE_USUAL, SAMPLE_MAX] {
            let is_good = match TraceConfig::new(endpoint, sample) {
                Ok(_) => true,
                Err(BadTraces::NotBuilt) => false,
                Err(error) => panic!("{sample}: {error}"),
            };
            let is_built = cfg!(feature = "traces");
            assert_eq!(is_good, is_built, "{sample}");
        }
    }
}
