//! The writer's thread: round by round until the node stops. If it fails, nobody waits for it in vain.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::journal::LogError;
use crate::node::clock::Clock;
use crate::node::front::Front;
use crate::node::pressure::Unacknowledged;
use crate::node::queue::{Queue, Taken};
use crate::node::writer::Writer;

/// How long the writer sleeps at most: what time makes due is seen this late.
const PATIENCE: Duration = Duration::from_millis(20);

/// Writes until the queue is closed and empty, then seals the journal.
///
/// # Errors
/// When the journal can't be written, or the writer panicked: what was acknowledged is safe, nothing is acknowledged
/// any more, and the node says that it has stopped.
pub(in crate::node) fn drive(
    writer: Writer,
    front: &Front,
    queue: &Queue,
    clock: &dyn Clock,
) -> Result<(), LogError> {
    // What the writer left half done is never read again but by readers, who may see a fact too few.
    let ended = catch_unwind(AssertUnwindSafe(|| take_rounds(writer, queue, clock)));
    let ended = ended.unwrap_or_else(|_| {
        tracing::error!("the writer failed: restart the node, and tell its authors");
        front.0.progress.note_stopped();
        Err(LogError::Stopped)
    });
    queue.close();
    // Whoever still waits is told so by its dropped reply.
    while !queue.next(Some(0), Duration::ZERO).ended {}
    ended
}

fn take_rounds(mut writer: Writer, queue: &Queue, clock: &dyn Clock) -> Result<(), LogError> {
    let mut unacknowledged = Unacknowledged::default();
    loop {
        let Taken { work, came, ended } = queue.next(writer.round_least(), PATIENCE);
        writer.step(clock.now(), work);
        queue.note_unacknowledged(unacknowledged.note(came, writer.head(), writer.durable()));
        queue.turn_away(writer.is_out_of_space());
        if writer.is_stopped() {
            tracing::error!("the journal can't be written: restart the node to reopen it");
            return Err(LogError::Stopped);
        }
        if ended {
            return writer.close(clock.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread::current;

    use super::*;
    use crate::journal::memory::MemoryLog;
    use crate::node::Node;
    use crate::node::clock::MovedClock;
    use crate::tokens::KeyRing;
    use crate::types::ids::JournalId;
    use crate::types::refusal::Reason;
    use crate::types::time::Moment;

    /// A clock that fails the writer, and nobody else, from a moment on.
    struct FailingClock(MovedClock);

    const END: Moment = Moment(1_700_000_000_000);

    impl Clock for FailingClock {
        fn now(&self) -> Moment {
            let now = self.0.now();
            assert!(now < END || current().name() != Some("writer"), "as asked");
            now
        }

        fn monotonic(&self) -> Duration {
            self.0.monotonic()
        }
    }

    #[test]
    fn a_writer_that_fails_lets_nobody_wait_and_the_node_says_so() {
        let clock = Arc::new(FailingClock(MovedClock::at(END.plus_ms(-1_000))));
        let log = Box::new(MemoryLog::new(JournalId([7; 16])));
        let ring = KeyRing::generate(&mut |bytes: &mut [u8]| bytes.fill(9), END.seconds());
        let node = Node::over(log, ring, 7, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(node.settled()).unwrap();
        assert!(!node.front().is_stopped());
        clock.0.set(END);
        let refused = runtime.block_on(node.settled()).unwrap_err();
        assert_eq!(refused.reason, Reason::Unavailable);
        let front = node.front().clone();
        assert!(matches!(node.stop(), Err(LogError::Stopped)));
        assert!(front.is_stopped());
    }
}
