//! What callers may take of a server: calls at once and a second, time, connections.

use std::time::Duration;

use crate::guard::Class;
use crate::rpc::limits::{
    CALL_DEADLINE, CONNECTIONS_MAX, INGEST_DEADLINE, RETRY_AFTER, STREAMS_MAX,
};

/// How long a request for ads may take: a feed that waits longer shows its tray without.
pub const SERVING_DEADLINE: Duration = Duration::from_millis(100);

/// How long an event may wait for the disk before callers are held back, and histories first: a quarter of what a
/// batch may take.
pub const LAG_TARGET: Duration = Duration::from_millis(500);

/// Calls a second of one key that tell events: 1,000 events each, far beyond what one node records.
pub const EVENTS_PER_S: u32 = 5_000;

/// Requests for ads a second of one key: a large feed has one key for all of its servers.
pub const SERVING_PER_S: u32 = 20_000;

/// Reports, explanations and histories a second of one key.
pub const REPORTS_PER_S: u32 = 50;

/// Other calls a second of one key.
pub const ADMINISTRATION_PER_S: u32 = 500;

/// Seconds whose calls may come at once.
pub const BURST_SECONDS: u32 = 2;

/// Keys whose rates are counted apart; further ones share one until others are forgotten.
pub const RATE_KEYS_MAX: usize = 4_096;

/// Connections of one address (IPv6: of one /64): an eighth of all.
pub const ADDRESS_CONNECTIONS_MAX: usize = CONNECTIONS_MAX / 8;

/// Requests for ads that are at work on one core: each takes its turn at once, so more are only waiting.
pub const SERVING_AT_WORK_MAX: usize = 1_024;

/// Calls with events that wait for the disk, of one core: as many as the writer's queue holds.
pub const EVENTS_AT_WORK_MAX: usize = 4_096;

/// Reports at work or waiting for a place, of one core.
pub const REPORTS_AT_WORK_MAX: usize = 64;

/// Other calls at work, of one core.
pub const ADMINISTRATION_AT_WORK_MAX: usize = 256;

/// Bytes of requests for ads or reports that are read of one connection before it is another's turn: some sixteen
/// small calls, a millisecond of work.
pub const SERVING_READ_BYTES: usize = 2 * 1_024;

/// The same of events, whose batches may be large.
pub const EVENTS_READ_BYTES: usize = 8 * 1_024;

/// Calls in a row of less important classes after which a connection counts as theirs, and may be left unread with
/// them: half of what it may have open at once.
pub const CLASS_AFTER_CALLS: u32 = STREAMS_MAX / 2;

/// Time in which each connection of a class has its turn at being left unread, for the share that all are. Long, as
/// a connection that is read again brings what waited at its caller.
pub const READ_ROUND: Duration = Duration::from_secs(120);

/// How long nothing is read of a connection that is left unread, on average: twice what its callers are told to wait.
/// Ads and events that were left for so long have been given up by their callers, so that such a connection is cut when
/// its turn comes.
pub const READ_PAUSE: Duration = Duration::from_secs(2);
const _: () = assert!(READ_PAUSE.as_millis() >= 2 * RETRY_AFTER.as_millis());

/// Bytes that are read of it after each pause: some eight small calls.
pub const SLOW_READ_BYTES: usize = 1_024;

/// What callers may take of one server, as it is configured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Whether calls are refused when there is more to do than can be done, and their time is capped by class.
    pub shed: bool,
    /// Calls with events a second of one key. 0: any number.
    pub events_per_s: u32,
    /// Requests for ads a second of one key. 0: any number.
    pub serving_per_s: u32,
    /// Reports a second of one key. 0: any number.
    pub reports_per_s: u32,
    /// Other calls a second of one key. 0: any number.
    pub administration_per_s: u32,
    /// Connections of one address.
    pub address_connections: usize,
}

impl Limits {
    /// No limit but those that no configuration lifts: for simulations and measurements of one machine alone.
    pub const OFF: Self = Self {
        shed: false,
        events_per_s: 0,
        serving_per_s: 0,
        reports_per_s: 0,
        administration_per_s: 0,
        address_connections: CONNECTIONS_MAX,
    };

    /// Returns the calls a second of one key in a class. 0: any number.
    pub const fn per_s(&self, class: Class) -> u32 {
        match class {
            Class::Reports => self.reports_per_s,
            Class::Serving => self.serving_per_s,
            Class::Events => self.events_per_s,
            Class::Administration => self.administration_per_s,
            Class::Health => 0,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            shed: true,
            events_per_s: EVENTS_PER_S,
            serving_per_s: SERVING_PER_S,
            reports_per_s: REPORTS_PER_S,
            administration_per_s: ADMINISTRATION_PER_S,
            address_connections: ADDRESS_CONNECTIONS_MAX,
        }
    }
}

/// Returns how long a call may take before its answer begins. `None`: a watch of the node's health may last.
pub const fn deadline_of(class: Class) -> Option<Duration> {
    match class {
        Class::Serving => Some(SERVING_DEADLINE),
        Class::Events => Some(INGEST_DEADLINE),
        Class::Reports | Class::Administration => Some(CALL_DEADLINE),
        Class::Health => None,
    }
}

/// Returns how many calls of a class may be at work on one core.
pub const fn at_work_max(class: Class) -> usize {
    match class {
        Class::Serving => SERVING_AT_WORK_MAX,
        Class::Events => EVENTS_AT_WORK_MAX,
        Class::Reports => REPORTS_AT_WORK_MAX,
        Class::Administration => ADMINISTRATION_AT_WORK_MAX,
        Class::Health => usize::MAX,
    }
}
