//! What one connection asks for, and so with which others it is left unread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::guard::Class;
use crate::rpc::admission::gate::Gate;
use crate::rpc::limits::CLASS_AFTER_CALLS;

/// Where the class of a connection is not known yet.
const UNKNOWN: u8 = u8::MAX;

/// What one connection asks for.
pub(in crate::rpc) struct Calls {
    gate: Arc<Gate>,
    /// The most important class of its last calls, or [`UNKNOWN`]: it is left unread with those of that class.
    class: AtomicU8,
    /// Its number among these.
    number: AtomicU64,
    /// Whether it made a call that it may make.
    is_known: AtomicBool,
    /// Whether a call was refused before it was known who makes it.
    was_refused: AtomicBool,
    /// How many calls in a row were of less important ones.
    lower: AtomicU32,
    /// Whether what is read of it has waited for long.
    are_behind: AtomicBool,
    /// How long what was last read of it may have waited, microseconds.
    waited_us: AtomicU32,
}

impl Calls {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        // Who comes while much is refused comes again, with what waited meanwhile.
        let is_much = gate.shed().unread(Class::Serving, Duration::ZERO) > 0.0;
        let are_behind = AtomicBool::new(is_much);
        Self {
            gate,
            class: AtomicU8::new(UNKNOWN),
            number: AtomicU64::new(0),
            is_known: AtomicBool::new(false),
            was_refused: AtomicBool::new(false),
            lower: AtomicU32::new(0),
            are_behind,
            waited_us: AtomicU32::new(0),
        }
    }

    /// Notes a call, before it is known who makes it. Only the core of the connection does.
    pub(super) fn note(&self, class: Class) {
        match self.class() {
            None if class <= Class::Events => self.become_of(class),
            Some(known) if class == known => self.lower.store(0, Ordering::Relaxed),
            Some(known) if class < known => {
                if self.lower.fetch_add(1, Ordering::Relaxed) + 1 >= CLASS_AFTER_CALLS {
                    self.become_of(class);
                }
            }
            Some(_) | None => {}
        }
    }

    /// Notes a call that its caller may make: only then it makes its connection more important. Whether the node
    /// lives is asked by anybody.
    pub(super) fn confirm(&self, class: Class) {
        if class != Class::Health && !self.is_known() {
            self.is_known.store(true, Ordering::Relaxed);
        }
        if class != Class::Health && self.class().is_none_or(|known| class > known) {
            self.become_of(class);
        }
    }

    fn become_of(&self, class: Class) {
        self.give_back();
        self.number.store(self.gate.take_number(class), Ordering::Relaxed);
        self.class.store(class.index() as u8, Ordering::Relaxed);
        self.lower.store(0, Ordering::Relaxed);
    }

    fn give_back(&self) {
        if let Some(class) = self.class() {
            self.gate.give_back(class, self.number());
        }
    }

    /// Returns its class. `None`: it has called nothing yet.
    pub(super) fn class(&self) -> Option<Class> {
        Class::ALL.get(usize::from(self.class.load(Ordering::Relaxed))).copied()
    }

    /// Tells, of a connection that is not known, whether this refused call is its first. Only its core asks.
    pub(super) fn is_first_refused(&self) -> bool {
        !self.is_known() && !self.was_refused.swap(true, Ordering::Relaxed)
    }

    /// Tells whether it made a call that it may make, other than whether the node lives.
    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Notes whether what is read of it from now on has waited for long.
    pub(super) fn set_behind(&self, are_behind: bool) {
        self.are_behind.store(are_behind, Ordering::Relaxed);
    }

    /// Notes how long what is read of it now has waited to be read.
    pub(super) fn set_waited(&self, waited: Duration) {
        let waited_us = u32::try_from(waited.as_micros()).unwrap_or(u32::MAX);
        self.waited_us.store(waited_us, Ordering::Relaxed);
    }

    pub(super) fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_us.load(Ordering::Relaxed).into())
    }

    pub(super) fn are_behind(&self) -> bool {
        self.are_behind.load(Ordering::Relaxed)
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::limits::Limits;

    #[test]
    fn a_connection_is_of_the_most_important_class_that_it_lately_called() {
        let gate = Gate::of_nothing(Limits { shed: true, ..Limits::OFF });
        let calls = Calls::new(Arc::clone(&gate));
        assert_eq!(calls.class(), None);
        calls.note(Class::Administration);
        assert_eq!(calls.class(), None, "anybody may say so");
        calls.note(Class::Serving);
        assert_eq!(calls.class(), Some(Class::Serving), "at once");
        for class in [Class::Health, Class::Events, Class::Administration] {
            calls.note(class);
            assert_eq!(calls.class(), Some(Class::Serving), "anybody may say so");
        }
        calls.confirm(Class::Health);
        assert_eq!(calls.class(), Some(Class::Serving), "anybody may ask for that");
        calls.confirm(Class::Administration);
        assert_eq!(calls.class(), Some(Class::Administration));
        (1..CLASS_AFTER_CALLS).for_each(|_| calls.note(Class::Serving));
        assert_eq!(calls.class(), Some(Class::Administration), "one too few");
        calls.note(Class::Serving);
        assert_eq!(calls.class(), Some(Class::Serving));
        calls.confirm(Class::Events);
        for number in 1..10 * CLASS_AFTER_CALLS {
            let is_event = number % (CLASS_AFTER_CALLS - 1) == 0;
            calls.note(if is_event { Class::Events } else { Class::Serving });
            assert_eq!(calls.class(), Some(Class::Events), "{number}");
        }
        let other = Calls::new(Arc::clone(&gate));
        other.note(Class::Events);
        assert_eq!((calls.number(), other.number()), (0, 1));
        drop(calls);
        assert_eq!(gate.take_number(Class::Events), 0, "a number is given back");
    }
}
