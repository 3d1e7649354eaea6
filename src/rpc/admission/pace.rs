//! How fast a connection is read. One none of whose calls is taken is read slowly: the cheapest refusal is of what
//! is never read. What it still sends waits in the kernel and at its caller, who may have few calls open at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::guard::Class;
use crate::rpc::admission::gate::Gate;
use crate::rpc::limits::{READ_PAUSE, REFUSED_IN_A_ROW_LEAST, SLOW_READ_BYTES};

/// How often the least number of refusals may be doubled before a connection is read slowly, so that not all
/// connections are at once.
const DOUBLINGS: u64 = 4;

/// How long a connection waits between two reads while it catches up: long enough for what was read to be answered,
/// before more is read of it. Calls that were given up meanwhile would else look like a flood of resets.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(1);

/// What became of one connection's calls.
#[derive(Debug, Default)]
pub(in crate::rpc) struct Calls {
    /// Refused in a row, each of a class of which none was taken.
    refused: AtomicU32,
    /// The class of the last of them.
    class: AtomicU8,
    is_slow: AtomicBool,
}

impl Calls {
    /// Notes a call of a class of which this share is refused.
    pub(super) fn note(&self, class: Class, share: f64) {
        if share >= 1.0 {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.class.store(class.index() as u8, Ordering::Relaxed);
        } else if share <= 0.0 || !self.is_slow.load(Ordering::Relaxed) {
            // A class that begins to be taken again ends no pause at once: all connections would come together.
            self.refused.store(0, Ordering::Relaxed);
        }
    }

    fn class(&self) -> Class {
        Class::ALL[usize::from(self.class.load(Ordering::Relaxed)) % Class::ALL.len()]
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// All that comes is read.
    Freely,
    /// A little is read, then nothing for a while.
    Slowly,
    /// What waited is read little by little, until nothing waits.
    CatchingUp,
}

/// How fast one connection is read.
pub(in crate::rpc) struct Pace {
    calls: Arc<Calls>,
    gate: Arc<Gate>,
    /// How long nothing is read while it is read slowly, on average.
    pause: Duration,
    /// Refusals in a row after which it is read slowly.
    patience: u32,
    mode: Mode,
    /// Until when nothing is read.
    until: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        let patience = patience(gate.lot());
        let (pause, mode) = (READ_PAUSE, Mode::Freely);
        Self { calls: Arc::default(), gate, pause, patience, mode, until: None }
    }

    /// Returns where it is noted what becomes of the connection's calls.
    pub(in crate::rpc) fn calls(&self) -> Arc<Calls> {
        Arc::clone(&self.calls)
    }

    /// Waits until the connection may be read. Returns how many bytes at the most; `None`: any number. What came
    /// of so many must be told to [`Self::heard`].
    pub(in crate::rpc) fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Option<usize>> {
        let refused = self.calls.refused.load(Ordering::Relaxed);
        let is_hopeless = refused >= self.patience && !self.gate.is_stopping();
        match self.mode {
            Mode::Freely if !is_hopeless => return Poll::Ready(None),
            Mode::CatchingUp if !is_hopeless => {}
            Mode::Freely | Mode::CatchingUp => self.slow_down(),
            // Something else than what is refused was taken.
            Mode::Slowly if refused == 0 => self.catch_up(),
            Mode::Slowly => {}
        }
        if let Some(until) = &mut self.until {
            ready!(until.as_mut().poll(context));
            if self.mode == Mode::Slowly && self.is_let_go() {
                self.catch_up();
            }
        }
        let pause = if self.mode == Mode::Slowly { self.drawn_pause() } else { CATCH_UP_PAUSE };
        self.until = Some(Box::pin(sleep(pause)));
        Poll::Ready(Some(SLOW_READ_BYTES))
    }

    /// Takes note of how many bytes came, where only so many were asked for.
    pub(in crate::rpc) fn heard(&mut self, count: usize) {
        if self.mode == Mode::CatchingUp && count < SLOW_READ_BYTES {
            (self.mode, self.until) = (Mode::Freely, None);
        }
    }

    fn slow_down(&mut self) {
        metrics::counter!("munadi_connections_slowed_total").increment(1);
        self.mode = Mode::Slowly;
        self.calls.is_slow.store(true, Ordering::Relaxed);
        self.until = Some(Box::pin(sleep(self.drawn_pause())));
    }

    fn catch_up(&mut self) {
        (self.mode, self.until) = (Mode::CatchingUp, None);
        self.patience = patience(self.gate.lot());
        self.calls.refused.store(0, Ordering::Relaxed);
        self.calls.is_slow.store(false, Ordering::Relaxed);
    }

    /// Tells by lot whether the connection is read freely again. The more of its class is taken, the likelier: by
    /// the fourth power, as each that is let go brings all of its calls. A server that stops waits for nobody's.
    fn is_let_go(&self) -> bool {
        if self.gate.is_stopping() {
            return true;
        }
        let share = self.gate.shed().share(self.calls.class());
        let chance = (1.0 - share).powi(4);
        chance >= 1.0 || (self.gate.lot() as f64) < chance * u64::MAX as f64
    }

    /// Returns a pause, up to half as much less or more.
    fn drawn_pause(&self) -> Duration {
        let part = (self.gate.lot() >> 32) as u32;
        self.pause / 2 + self.pause.mul_f64(f64::from(part) / f64::from(u32::MAX))
    }
}

/// Returns how many refusals in a row it takes.
const fn patience(lot: u64) -> u32 {
    REFUSED_IN_A_ROW_LEAST << (lot % DOUBLINGS)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use super::*;
    use crate::node::{Gauge, Pressure};
    use crate::rpc::admission::rates::Rates;
    use crate::rpc::admission::shed::{Controller, Shed};
    use crate::rpc::limits::Limits;

    const MOST: u32 = REFUSED_IN_A_ROW_LEAST << (DOUBLINGS - 1);

    fn gate() -> Arc<Gate> {
        let limits = Limits { shed: true, ..Limits::OFF };
        let rates = Arc::new(Rates::new(&limits));
        Arc::new(Gate::new(limits, Gauge::of_nothing(), rates, Arc::default()))
    }

    /// A pace with a short pause.
    fn pace(gate: &Arc<Gate>) -> Pace {
        let mut pace = Pace::new(Arc::clone(gate));
        pace.pause = Duration::from_millis(100);
        pace
    }

    /// Lets all of serving be refused, or nothing.
    fn refuse_serving(gate: &Gate, all: bool) {
        let mut controller = Controller::default();
        let wait = if all { Duration::from_millis(60) } else { Duration::ZERO };
        let after = |_, _| controller.after(wait, Pressure::default());
        gate.use_shed((0..200).fold(Shed::default(), after));
        let share = gate.shed().share(Class::Serving);
        assert!(if all { share >= 1.0 } else { share <= 0.0 }, "{share}");
    }

    /// Asks without waiting.
    fn ask(pace: &mut Pace) -> Poll<Option<usize>> {
        pace.poll_turn(&mut Context::from_waker(Waker::noop()))
    }

    /// The pace of a connection that is read slowly: all its calls were hopeless.
    fn slowed(gate: &Arc<Gate>) -> Pace {
        let mut pace = pace(gate);
        (0..MOST).for_each(|_| pace.calls.note(Class::Serving, 1.0));
        assert_eq!(ask(&mut pace), Poll::Pending);
        pace
    }

    fn run<F: Future>(future: F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_connection_is_read_slowly_once_enough_in_a_row_were_hopeless() {
        let gate = gate();
        run(async {
            for _ in 0..20 {
                let mut pace = pace(&gate);
                let wanted = pace.patience;
                assert!((REFUSED_IN_A_ROW_LEAST..=MOST).contains(&wanted), "{wanted}");
                let calls = pace.calls();
                (1..wanted).for_each(|_| calls.note(Class::Serving, 1.0));
                assert_eq!(ask(&mut pace), Poll::Ready(None), "one too few");
                calls.note(Class::Serving, 1.0);
                assert_eq!(ask(&mut pace), Poll::Pending);
            }
        });
    }

    /// A connection that also tells events is not kept waiting with them.
    #[test]
    fn what_is_taken_or_could_have_been_begins_the_row_anew() {
        let gate = gate();
        run(async {
            for (class, share) in [(Class::Events, 0.0), (Class::Serving, 0.99)] {
                let mut pace = pace(&gate);
                let calls = pace.calls();
                for number in 0..10 * MOST {
                    calls.note(Class::Serving, 1.0);
                    if number % (REFUSED_IN_A_ROW_LEAST - 1) == 0 {
                        calls.note(class, share);
                    }
                    assert_eq!(ask(&mut pace), Poll::Ready(None), "{number} {class:?}");
                }
            }
        });
    }

    #[test]
    fn while_all_is_refused_a_little_is_read_and_then_nothing_for_a_while() {
        let gate = gate();
        refuse_serving(&gate, true);
        run(async {
            let mut pace = pace(&gate);
            (0..MOST).for_each(|_| pace.calls.note(Class::Serving, 1.0));
            for _ in 0..3 {
                assert_eq!(ask(&mut pace), Poll::Pending);
                // What was refused by lot meanwhile ends nothing.
                pace.calls.note(Class::Serving, 0.99);
                let turn = poll_fn(|context| pace.poll_turn(context)).await;
                assert_eq!(turn, Some(SLOW_READ_BYTES));
                pace.heard(SLOW_READ_BYTES);
            }
        });
    }

    #[test]
    fn when_it_is_over_what_waited_is_read_little_by_little_and_then_all() {
        let gate = gate();
        refuse_serving(&gate, true);
        run(async {
            let mut pace = slowed(&gate);
            refuse_serving(&gate, false);
            for _ in 0..3 {
                let turn = poll_fn(|context| pace.poll_turn(context)).await;
                assert_eq!(turn, Some(SLOW_READ_BYTES));
                pace.heard(SLOW_READ_BYTES);
            }
            let turn = poll_fn(|context| pace.poll_turn(context)).await;
            assert_eq!(turn, Some(SLOW_READ_BYTES));
            pace.heard(SLOW_READ_BYTES - 1);
            assert_eq!(ask(&mut pace), Poll::Ready(None), "nothing waits any more");
        });
    }

    #[test]
    fn a_server_that_stops_soon_reads_what_is_still_to_come() {
        let gate = gate();
        refuse_serving(&gate, true);
        run(async {
            let mut pace = slowed(&gate);
            gate.stop();
            let turn = poll_fn(|context| pace.poll_turn(context)).await;
            assert_eq!(turn, Some(SLOW_READ_BYTES));
            pace.heard(0);
            (0..MOST).for_each(|_| pace.calls.note(Class::Serving, 1.0));
            assert_eq!(ask(&mut pace), Poll::Ready(None), "no pause begins");
        });
    }

    #[test]
    fn an_event_that_is_taken_ends_the_pause() {
        let gate = gate();
        refuse_serving(&gate, true);
        run(async {
            let mut pace = pace(&gate);
            pace.pause = Duration::from_secs(3_600);
            (0..MOST).for_each(|_| pace.calls.note(Class::Serving, 1.0));
            assert_eq!(ask(&mut pace), Poll::Pending);
            pace.calls.note(Class::Events, 0.0);
            assert_eq!(ask(&mut pace), Poll::Ready(Some(SLOW_READ_BYTES)));
        });
    }
}
