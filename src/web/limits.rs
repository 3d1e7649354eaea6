//! Every limit of the HTTP door, with its reason. The README lists them.

use std::time::Duration;

/// Bytes of one request's body: a batch of a channel's webhooks has at most 1,000 changes, and channels
/// send far fewer.
pub const BODY_BYTES_MAX: usize = 1_024 * 1_024;

/// Bytes of all bodies that are read at a time, of the whole door.
pub const BODIES_BYTES_MAX: usize = 64 * BODY_BYTES_MAX;

/// Bytes of one request's line and headers.
pub const HEAD_BYTES_MAX: usize = 16 * 1_024;

/// Bytes that one connection keeps of what it has read, a body's part after the head too.
pub const READ_BUFFER_BYTES_MAX: usize = 64 * 1_024;

/// Headers of one request.
pub const HEADERS_MAX: usize = 64;

/// Connections of the whole door: with those of the gRPC door below the 1,024 files that a process usually
/// may open.
pub const CONNECTIONS_MAX: usize = 200;

/// How long a connection may take for the head of its next request: silence included.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request's body may take.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take before the sender is told to send it again.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// How long a connection may live: then it closes after the request at hand.
pub const CONNECTION_AGE: Duration = Duration::from_secs(10 * 60);

/// How long requests may take to finish when the door closes; after it their connections are cut.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(15);

/// How long a sender should wait after 503, seconds.
pub const RETRY_AFTER_S: u32 = 1;

/// Characters of an app's name.
pub const APP_NAME_CHARS_MAX: usize = 32;

/// Characters of an app's secret and of its verify token, at least and at most.
pub const SECRET_CHARS_MIN: usize = 16;
/// See [`SECRET_CHARS_MIN`].
pub const SECRET_CHARS_MAX: usize = 128;

/// Apps of one door.
pub const APPS_MAX: usize = 1_000;

/// Characters of the public address of the door.
pub const PUBLIC_URL_CHARS_MAX: usize = 200;

/// Characters of the challenge that a platform wants back.
pub const CHALLENGE_CHARS_MAX: usize = 128;

/// Events that one webhook hands to the node at a time, as many as a batch over gRPC.
pub const EVENTS_MAX: usize = 1_000;
