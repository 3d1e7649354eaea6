//! The clock seam: wall time for journal and tokens, monotonic time for deadlines and seals.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::types::time::Moment;

/// Tells the time. The only source of it in the engine.
pub trait Clock: Send + Sync {
    /// Returns the wall time. It may go back; the journal's own time does not.
    fn now(&self) -> Moment;

    /// Returns the time since some fixed moment; it never goes back and is never moved by a town.
    fn monotonic(&self) -> Duration;
}

/// The machine's own clocks.
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is where the time is read")]
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is where the time is read")]
    fn now(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(since.as_millis() as i64)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A wall clock that somebody moves by hand: a town that lives a day in seconds, a test. Its monotonic
/// time is the machine's.
pub struct MovedClock {
    now_ms: AtomicI64,
    machine: SystemClock,
}

impl MovedClock {
    /// Returns a clock that stands at this moment.
    pub fn at(now: Moment) -> Self {
        Self { now_ms: AtomicI64::new(now.0), machine: SystemClock::default() }
    }

    /// Moves the clock, forwards or back.
    pub fn set(&self, now: Moment) {
        self.now_ms.store(now.0, Ordering::Release);
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Moment {
        Moment(self.now_ms.load(Ordering::Acquire))
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }
}
