//! What can stop a town, and what to do about it.

use thiserror::Error;

/// Why the town stopped. Refusals of single events are counted, not raised.
#[derive(Debug, Error)]
pub enum TownError {
    /// The server can't be reached.
    #[error("the server can't be reached: {0}")]
    Unreachable(#[from] tonic::transport::Error),
    /// A key has characters that no key has.
    #[error("the {0}'s key can't be sent: keys are `mk_<id>_<secret>` in ASCII")]
    Key(&'static str),
    /// A whole call was refused.
    #[error("{call} was refused: {status}")]
    Refused {
        /// The method.
        call: &'static str,
        /// What the server said.
        status: Box<tonic::Status>,
    },
    /// The server broke its own contract.
    #[error("{call} answered against its contract: {what}")]
    Contract {
        /// The method.
        call: &'static str,
        /// What was wrong.
        what: String,
    },
    /// A webhook did not take what was posted.
    #[error("the webhook of {kind} did not take a post: {what}")]
    Webhook {
        /// Whose.
        kind: &'static str,
        /// What the door said.
        what: String,
    },
    /// A line of the list could not be created.
    #[error("{reference} was refused: {status}")]
    Line {
        /// The line's kind and name.
        reference: String,
        /// What the server said.
        status: Box<tonic::Status>,
    },
    /// A line names something that no earlier line creates.
    #[error("{reference}: there is no {missing} before it")]
    Missing {
        /// The line's kind and name.
        reference: String,
        /// What it refers to.
        missing: String,
    },
    /// Recorded requests must be in the order of their time.
    #[error("line {line}: its time is before that of the request above it: sort the file by time")]
    Order {
        /// The number of the line, from 1.
        line: usize,
    },
    /// A recorded line can't be read.
    #[error(transparent)]
    Recorded(#[from] crate::town::recorded::BadLine),
}

impl TownError {
    /// Returns a function that names the call which a status refused.
    pub(crate) fn refused(call: &'static str) -> impl Fn(tonic::Status) -> Self {
        move |status| Self::Refused { call, status: Box::new(status) }
    }
}
