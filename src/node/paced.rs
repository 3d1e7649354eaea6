//! Writing a checkpoint without taking a core from serving: a pass over a full state works for seconds on end.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::node::clock::Clock;

/// How long is worked at a time, and then waited: the length of a scheduler's slice, so that whoever wants the core has
/// had it.
const SLICE: Duration = Duration::from_millis(3);

/// Passes on what is written, and waits as long as was worked, again and again. No lock must be held by who writes.
pub struct Paced<'a> {
    out: &'a mut dyn Write,
    clock: &'a dyn Clock,
    stopping: &'a AtomicBool,
    since: Duration,
}

impl<'a> Paced<'a> {
    /// Begins to work. Once `stopping` is set all writing fails: who stops should not wait for it.
    pub fn new(out: &'a mut dyn Write, clock: &'a dyn Clock, stopping: &'a AtomicBool) -> Self {
        Self { out, clock, stopping, since: clock.monotonic() }
    }
}

impl Write for Paced<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.clock.monotonic().saturating_sub(self.since) >= SLICE {
            thread::sleep(SLICE);
            self.since = self.clock.monotonic();
        }
        if self.stopping.load(Ordering::Acquire) {
            return Err(io::Error::other("the node stops"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::clock::SystemClock;

    #[test]
    fn what_is_written_passes_whole_and_half_of_the_time_is_waited() {
        let (clock, mut bytes) = (SystemClock::default(), Vec::new());
        let begin = clock.monotonic();
        let stopping = AtomicBool::new(false);
        let mut paced = Paced::new(&mut bytes, &clock, &stopping);
        let mut wrote = 0_u32;
        let mut worked = Duration::ZERO;
        while worked < 10 * SLICE {
            let since = clock.monotonic();
            while clock.monotonic().saturating_sub(since) < SLICE / 3 {}
            worked += clock.monotonic().saturating_sub(since);
            paced.write_all(&wrote.to_le_bytes()).unwrap();
            wrote += 1;
        }
        paced.flush().unwrap();
        stopping.store(true, Ordering::Release);
        assert!(paced.write(&[0]).is_err());
        let passed = clock.monotonic().saturating_sub(begin);
        assert!(passed >= worked + 6 * SLICE, "{passed:?} for {worked:?} of work");
        let expected: Vec<u8> = (0..wrote).flat_map(u32::to_le_bytes).collect();
        assert_eq!(bytes, expected);
    }
}
