//! How fast a connection is read. While much of its class is refused it takes its turn at being left unread: the
//! cheapest refusal is of what is never read. What it still sends waits in the kernel and at its caller, who may have
//! few calls open at once.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::guard::Class;
use crate::node::clock::Clock;
use crate::rpc::admission::gate::Gate;
use crate::rpc::limits::{CLASS_AFTER_CALLS, READ_PAUSE, SLOW_READ_BYTES};

/// How often a connection that is left unread looks whether it still is to be.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a connection waits between two reads while it catches up: long enough for what was read to be answered,
/// before more is read of it. Calls that were given up meanwhile would else look like a flood of resets.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(1);

/// What one connection asks for.
pub(in crate::rpc) struct Calls {
    gate: Arc<Gate>,
    /// The most important class of its last calls: it is left unread with those of that class.
    class: AtomicU8,
    /// Its number among these.
    number: AtomicU64,
    /// How many calls in a row were of less important ones.
    lower: AtomicU32,
    /// Whether what is read of it has waited for long.
    are_behind: AtomicBool,
}

impl Calls {
    fn new(gate: Arc<Gate>) -> Self {
        // Until it has asked for something, it may be anyone's.
        let class = Class::Health;
        let number = gate.take_number(class);
        Self {
            gate,
            class: AtomicU8::new(class.index() as u8),
            number: AtomicU64::new(number),
            lower: AtomicU32::new(0),
            are_behind: AtomicBool::new(false),
        }
    }

    /// Notes a call. Only the core of the connection does.
    pub(super) fn note(&self, class: Class) {
        let known = self.class();
        if class > known {
            self.become_of(class);
        } else if class == known {
            self.lower.store(0, Ordering::Relaxed);
        } else if self.lower.fetch_add(1, Ordering::Relaxed) + 1 >= CLASS_AFTER_CALLS {
            self.become_of(class);
        }
    }

    fn become_of(&self, class: Class) {
        self.gate.give_back(self.class(), self.number());
        self.number.store(self.gate.take_number(class), Ordering::Relaxed);
        self.class.store(class.index() as u8, Ordering::Relaxed);
        self.lower.store(0, Ordering::Relaxed);
    }

    pub(super) fn class(&self) -> Class {
        Class::ALL[usize::from(self.class.load(Ordering::Relaxed)) % Class::ALL.len()]
    }

    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    pub(super) fn are_behind(&self) -> bool {
        self.are_behind.load(Ordering::Relaxed)
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.gate.give_back(self.class(), self.number());
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// All that comes is read.
    Freely,
    /// A little is read, then nothing for a while.
    Hardly {
        /// Since when.
        since: Duration,
        /// When a little is read again.
        next: Duration,
    },
    /// What waited is read little by little, until nothing waits.
    CatchingUp,
}

/// How fast one connection is read.
pub(in crate::rpc) struct Pace {
    calls: Arc<Calls>,
    gate: Arc<Gate>,
    /// How long nothing is read while it is left unread, on average.
    pause: Duration,
    mode: Mode,
    /// Until when nothing is read.
    until: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        let calls = Arc::new(Calls::new(Arc::clone(&gate)));
        Self { calls, gate, pause: READ_PAUSE, mode: Mode::Freely, until: None }
    }

    /// Returns where it is noted what the connection asks for.
    pub(in crate::rpc) fn calls(&self) -> Arc<Calls> {
        Arc::clone(&self.calls)
    }

    /// Waits until the connection may be read. Returns how many bytes at the most; `None`: any number. What came
    /// of so many must be told to [`Self::heard`].
    ///
    /// # Errors
    /// When the connection must be cut: its turn has come, but its callers have given up what waits there, and to
    /// read that would cost more than what a new connection does.
    pub(in crate::rpc) fn poll_turn(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<usize>>> {
        let is_left = self.gate.leaves_unread(&self.calls);
        match self.mode {
            Mode::Freely if !is_left => return Poll::Ready(Ok(None)),
            Mode::CatchingUp if !is_left => {}
            Mode::Hardly { .. } => {}
            Mode::Freely | Mode::CatchingUp => self.leave(),
        }
        if self.mode == Mode::CatchingUp {
            if let Some(until) = &mut self.until {
                ready!(until.as_mut().poll(context));
            }
            self.until = Some(Box::pin(sleep(CATCH_UP_PAUSE)));
            return Poll::Ready(Ok(Some(SLOW_READ_BYTES)));
        }
        self.poll_hardly(context)
    }

    /// Waits as a connection does that is left unread, until it is not any more.
    fn poll_hardly(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        while let Mode::Hardly { since, next } = self.mode {
            let now = self.gate.clock().monotonic();
            if !self.gate.leaves_unread(&self.calls) {
                if self.is_given_up(now.saturating_sub(since)) {
                    metrics::counter!("munadi_connections_cut_total", "cause" => "unread")
                        .increment(1);
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                (self.mode, self.until) = (Mode::CatchingUp, None);
            } else if now >= next {
                self.mode = Mode::Hardly { since, next: now + self.drawn_pause() };
            } else {
                let look = || Box::pin(sleep(LOOK_EVERY));
                ready!(self.until.get_or_insert_with(look).as_mut().poll(context));
                self.until = None;
                continue;
            }
            break;
        }
        Poll::Ready(Ok(Some(SLOW_READ_BYTES)))
    }

    /// Takes note of how many bytes came, where only so many were asked for.
    pub(in crate::rpc) fn heard(&mut self, count: usize) {
        if self.mode == Mode::CatchingUp && count < SLOW_READ_BYTES {
            (self.mode, self.until) = (Mode::Freely, None);
            self.calls.are_behind.store(false, Ordering::Relaxed);
        }
    }

    fn leave(&mut self) {
        metrics::counter!("munadi_connections_left_unread_total").increment(1);
        let since = self.gate.clock().monotonic();
        self.mode = Mode::Hardly { since, next: since + self.drawn_pause() };
        self.until = None;
        self.calls.are_behind.store(true, Ordering::Relaxed);
    }

    /// Tells whether whoever called here has given up, after so long: not where all are taken again, or where the
    /// server stops and waits for what has come.
    fn is_given_up(&self, unread_for: Duration) -> bool {
        let spares = self.gate.shed().spares(self.calls.class());
        unread_for >= self.pause && spares && !self.gate.is_stopping()
    }

    /// Returns a pause, up to half as much less or more.
    fn drawn_pause(&self) -> Duration {
        let part = (self.gate.lot() >> 32) as u32;
        self.pause / 2 + self.pause.mul_f64(f64::from(part) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use super::*;
    use crate::node::Pressure;
    use crate::rpc::admission::shed::{Controller, Shed};
    use crate::rpc::limits::Limits;

    fn gate() -> Arc<Gate> {
        Gate::of_nothing(Limits { shed: true, ..Limits::OFF })
    }

    /// The pace of a connection of a class, with a short pause.
    fn pace(gate: &Arc<Gate>, class: Class) -> Pace {
        let mut pace = Pace::new(Arc::clone(gate));
        pace.pause = Duration::from_millis(250);
        (0..CLASS_AFTER_CALLS).for_each(|_| pace.calls.note(class));
        assert_eq!(pace.calls.class(), class);
        pace
    }

    /// Returns what is refused after so many windows of a wait.
    fn shed(windows: usize, wait: Duration) -> Shed {
        let mut controller = Controller::default();
        (0..windows).fold(Shed::default(), |_, _| controller.after(wait, Pressure::default()))
    }

    /// Lets no connection of a class up to events be read.
    fn read_none(gate: &Gate) {
        let all = shed(300, Duration::from_millis(60));
        assert_eq!(all.unread(Class::Events, Duration::ZERO), 1.0);
        gate.use_shed(all);
    }

    /// Asks without waiting.
    fn ask(pace: &mut Pace) -> Poll<Option<usize>> {
        pace.poll_turn(&mut Context::from_waker(Waker::noop())).map(Result::unwrap)
    }

    async fn turn(pace: &mut Pace) -> io::Result<Option<usize>> {
        poll_fn(|context| pace.poll_turn(context)).await
    }

    fn run<F: Future>(future: F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_connection_is_of_the_most_important_class_that_it_lately_called() {
        let gate = gate();
        let calls = Calls::new(Arc::clone(&gate));
        (1..CLASS_AFTER_CALLS).for_each(|_| calls.note(Class::Serving));
        assert_eq!(calls.class(), Class::Health, "one too few");
        calls.note(Class::Serving);
        assert_eq!(calls.class(), Class::Serving);
        calls.note(Class::Events);
        assert_eq!(calls.class(), Class::Events, "at once");
        for number in 1..10 * CLASS_AFTER_CALLS {
            let is_event = number % (CLASS_AFTER_CALLS - 1) == 0;
            calls.note(if is_event { Class::Events } else { Class::Serving });
            assert_eq!(calls.class(), Class::Events, "{number}");
        }
        let other = Calls::new(Arc::clone(&gate));
        (0..CLASS_AFTER_CALLS).for_each(|_| other.note(Class::Events));
        assert_eq!((calls.number(), other.number()), (0, 1));
        drop(calls);
        assert_eq!(gate.take_number(Class::Events), 0, "a number is given back");
    }

    #[test]
    fn while_its_class_is_left_unread_a_little_is_read_and_then_nothing_for_a_while() {
        let gate = gate();
        run(async {
            let mut pace = pace(&gate, Class::Serving);
            assert_eq!(ask(&mut pace), Poll::Ready(None));
            read_none(&gate);
            for _ in 0..3 {
                assert_eq!(ask(&mut pace), Poll::Pending);
                let begun = gate.clock().monotonic();
                assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
                assert!(gate.clock().monotonic() - begun >= Duration::from_millis(100));
                assert!(pace.calls.are_behind());
                pace.heard(SLOW_READ_BYTES);
            }
            let mut health = super::tests::pace(&gate, Class::Health);
            assert_eq!(ask(&mut health), Poll::Ready(None), "these are always read");
        });
    }

    #[test]
    fn connections_wait_by_turns() {
        let gate = gate();
        gate.use_shed(shed(34, Duration::from_millis(40)));
        let unread = gate.shed().unread(Class::Serving, Duration::ZERO);
        assert!((0.1..0.9).contains(&unread), "{unread}");
        run(async {
            let mut paces: Vec<_> = (0..100).map(|_| pace(&gate, Class::Serving)).collect();
            let waiting = paces.iter_mut().filter_map(|pace| ask(pace).is_pending().then_some(()));
            let share = waiting.count() as f64 / 100.0;
            assert!((share - unread).abs() <= 0.05, "{share} instead of {unread}");
        });
    }

    #[test]
    fn of_a_core_that_is_late_nothing_more_is_read_for_a_moment() {
        let gate = gate();
        run(async {
            let mut pace = pace(&gate, Class::Serving);
            gate.must_look_by(Duration::ZERO);
            sleep(Duration::from_millis(200)).await;
            assert_eq!(ask(&mut pace), Poll::Pending);
            gate.must_look_by(Duration::MAX);
            assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
            pace.heard(1);
            assert_eq!(ask(&mut pace), Poll::Ready(None));
        });
    }

    /// Returns the share of a class's calls that is refused on a connection.
    fn refused(gate: &Gate, class: Class, calls: &Calls) -> f64 {
        let is_refused = |_: &i32| gate.pass(class, gate.shed(), Some(calls)).is_err();
        (0..1_000).filter(is_refused).count() as f64 / 1_000.0
    }

    #[test]
    fn of_what_is_read_just_so_much_is_refused_that_its_class_bears_its_share() {
        let gate = gate();
        let [waiting, other, events] =
            [Class::Serving, Class::Serving, Class::Events].map(|class| pace(&gate, class).calls());
        waiting.are_behind.store(true, Ordering::Relaxed);
        assert_eq!(refused(&gate, Class::Serving, &waiting), 0.0);
        gate.must_look_by(Duration::ZERO);
        std::thread::sleep(2 * LOOK_EVERY);
        assert_eq!(
            refused(&gate, Class::Serving, &waiting),
            1.0,
            "it came while the core was late"
        );
        assert_eq!(refused(&gate, Class::Serving, &other), 0.0);
        gate.must_look_by(Duration::MAX);

        let shed = shed(34, Duration::from_millis(40));
        gate.use_shed(shed);
        let (share, unread) =
            (shed.share(Class::Serving), shed.unread(Class::Serving, Duration::ZERO));
        assert!((0.1..0.9).contains(&share) && (0.1..0.9).contains(&unread), "{shed:?}");
        assert_eq!(refused(&gate, Class::Serving, &waiting), 1.0);
        assert!((refused(&gate, Class::Serving, &other) - share).abs() < 0.01);
        // An event's connection is read, and so is all else that is called on it.
        let all = 1.0 - (1.0 - share) * (1.0 - unread);
        assert!((refused(&gate, Class::Serving, &events) - all).abs() < 0.01);
        assert_eq!(refused(&gate, Class::Events, &events), 0.0);
    }

    #[test]
    fn when_it_is_over_what_waited_is_read_little_by_little_and_then_all() {
        let gate = gate();
        read_none(&gate);
        run(async {
            let mut pace = pace(&gate, Class::Serving);
            assert_eq!(ask(&mut pace), Poll::Pending);
            sleep(2 * pace.pause).await;
            gate.use_shed(Shed::default());
            for _ in 0..3 {
                assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
                pace.heard(SLOW_READ_BYTES);
                assert!(pace.calls.are_behind());
            }
            assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
            pace.heard(SLOW_READ_BYTES - 1);
            assert_eq!(ask(&mut pace), Poll::Ready(None), "nothing waits any more");
            assert!(!pace.calls.are_behind());
        });
    }

    /// Most of what was left there has been given up by its callers.
    #[test]
    fn a_connection_whose_turn_comes_after_a_long_while_is_cut() {
        let gate = gate();
        read_none(&gate);
        run(async {
            let [mut long, mut short] = [(), ()].map(|()| pace(&gate, Class::Serving));
            assert_eq!(ask(&mut long), Poll::Pending);
            sleep(2 * long.pause).await;
            assert_eq!(ask(&mut short), Poll::Pending);
            // Some are refused by call now, and of two connections none is left unread.
            let shed = shed(29, Duration::from_millis(40));
            gate.use_shed(shed);
            let (share, unread) =
                (shed.share(Class::Serving), shed.unread(Class::Serving, Duration::ZERO));
            assert!(share > 0.0 && share < 1.0 && unread < 0.5, "{shed:?}");
            assert_eq!(turn(&mut long).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert_eq!(turn(&mut short).await.unwrap(), Some(SLOW_READ_BYTES));
        });
    }

    #[test]
    fn a_server_that_stops_soon_reads_what_is_still_to_come() {
        let gate = gate();
        read_none(&gate);
        run(async {
            let mut pace = pace(&gate, Class::Serving);
            assert_eq!(ask(&mut pace), Poll::Pending);
            sleep(2 * pace.pause).await;
            gate.stop();
            assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
            pace.heard(0);
            assert_eq!(ask(&mut pace), Poll::Ready(None), "no pause begins");
        });
    }

    #[test]
    fn a_more_important_call_ends_the_pause() {
        let gate = gate();
        read_none(&gate);
        run(async {
            let mut pace = pace(&gate, Class::Serving);
            pace.pause = Duration::from_secs(3_600);
            assert_eq!(ask(&mut pace), Poll::Pending);
            pace.calls.note(Class::Administration);
            assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
            pace.heard(0);
            assert_eq!(ask(&mut pace), Poll::Ready(None));
        });
    }
}
