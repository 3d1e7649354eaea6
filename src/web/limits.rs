//! Every limit of the HTTP door, with its reason. The README lists them.

use std::time::Duration;

/// Bytes of one request's body: a batch of a channel's webhooks has at most 1,000 changes, and channels
/// send far fewer.
pub const BODY_BYTES_MAX: usize = 1_024 * 1_024;

/// Bytes of all bodies that are read at a time, of the whole door.
pub const BODIES_BYTES_MAX: usize = 64 * BODY_BYTES_MAX;

/// Bytes of the bodies of one app that are read at a time: whoever posts to it in its name leaves room for the others.
pub const APP_BODIES_BYTES_MAX: usize = BODIES_BYTES_MAX / 4;

/// Bytes that a body is given before any of it has come; more only as it comes.
pub const BODY_FIRST_BYTES: usize = 16 * 1_024;

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

/// Taps a second that are counted of one followed link: a poster at the busiest place has fewer. Further ones are
/// forwarded all the same.
pub const LINK_TAPS_PER_S: u32 = 10;

/// Taps of one link that may come at once.
pub const LINK_TAPS_BURST: u32 = 100;

/// Taps a second that are counted of all entry sources together: each is written to the journal.
pub const SOURCE_TAPS_PER_S: u32 = 500;

/// Taps of all entry sources that may come at once.
pub const SOURCE_TAPS_BURST: u32 = 1_000;

/// Buckets that links share: a few hundred kilobytes, however many are followed.
pub const LINK_BUCKETS: u16 = 16_384;
