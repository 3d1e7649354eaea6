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
    fn what_is_written_passes_whole_and_a_slice_of_work_is_followed_by_one_of_waiting() {
        let (clock, mut bytes) = (SystemClock::default(), Vec::new());
        let stopping = AtomicBool::new(false);
        let mut paced = Paced::new(&mut bytes, &clock, &stopping);
        for number in 0..5_u8 {
            let since = clock.monotonic();
            while clock.monotonic().saturating_sub(since) < SLICE {}
            let wrote = clock.monotonic();
            paced.write_all(&[number]).unwrap();
            let waited = clock.monotonic().saturating_sub(wrote);
            assert!(waited >= SLICE, "{waited:?}");
        }
        paced.flush().unwrap();
        stopping.store(true, Ordering::Release);
        assert!(paced.write(&[9]).is_err());
        assert_eq!(bytes, [0, 1, 2, 3, 4]);
    }
}
