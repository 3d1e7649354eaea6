//! What stands for traces in a build without them: nothing.

use std::sync::Arc;

use http::Extensions;
use tower::layer::util::Identity;

use crate::rpc::traces::{BadTraces, TraceConfig};

/// Traces that are kept: in this build there are none.
#[derive(Debug)]
pub enum Traces {}

impl Traces {
    /// Starts to trace, which this build can't.
    ///
    /// # Errors
    /// Always.
    pub const fn open(_: &TraceConfig) -> Result<Self, BadTraces> {
        Err(BadTraces::NotBuilt)
    }

    /// Sends what waits.
    pub const fn close(&self) {
        match *self {}
    }
}

/// Returns what leaves services as they are.
pub(in crate::rpc) fn layer(_: Option<Arc<Traces>>) -> Identity {
    Identity::new()
}

/// The trace of a call: none.
pub(in crate::rpc) struct Trace;

/// A part of a call that is not measured.
pub(in crate::rpc) struct Part;

impl Trace {
    /// Returns the trace of the call with these extensions.
    pub(in crate::rpc) const fn of(_: &Extensions) -> Self {
        Self
    }

    /// Begins a part of the call.
    pub(in crate::rpc) const fn part(&self, _: &'static str) -> Part {
        Part
    }
}
