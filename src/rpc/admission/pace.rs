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
use crate::rpc::admission::ahead::{Ticket, turn_bytes};
use crate::rpc::admission::gate::Gate;
use crate::rpc::limits::{CLASS_AFTER_CALLS, READ_PAUSE, SLOW_READ_BYTES};

/// How often a connection that is left unread looks whether it still is to be.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a connection waits between two reads while it catches up: long enough for what was read to be answered,
/// before more is read of it. Calls that were given up meanwhile would else look like a flood of resets.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(1);

/// How long a connection catches up at the least, and after something waited there: its caller may have few calls
/// open at once, and sends what it held back as they are answered.
const CATCH_UP_LEAST: Duration = Duration::from_millis(100);
const SETTLED: Duration = Duration::from_millis(50);

/// How long it catches up at the most once its class is taken again: a caller that never stops would else be read
/// slowly for ever.
const CATCH_UP_MOST: Duration = Duration::from_secs(1);

/// How many times as long as for one turn something may wait to be read altogether.
const STALE_TURNS: u32 = 4;

/// Where the class of a connection is not known yet.
const UNKNOWN: u8 = u8::MAX;

/// What one connection asks for.
pub(in crate::rpc) struct Calls {
    gate: Arc<Gate>,
    /// The most important class of its last calls, or [`UNKNOWN`]: it is left unread with those of that class.
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
        // Who comes while much is refused comes again, with what waited meanwhile.
        let is_much = gate.shed().unread(Class::Serving, Duration::ZERO) > 0.0;
        let are_behind = AtomicBool::new(is_much);
        Self {
            gate,
            class: AtomicU8::new(UNKNOWN),
            number: AtomicU64::new(0),
            lower: AtomicU32::new(0),
            are_behind,
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

    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
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
    /// What waited is read little by little, until nothing waits any more.
    CatchingUp {
        /// Since when.
        since: Duration,
        /// When it has caught up, if nothing more comes.
        until: Duration,
        /// Whether nothing waited when it was last read.
        is_empty: bool,
    },
}

impl Mode {
    fn catching_up(now: Duration) -> Self {
        Self::CatchingUp { since: now, until: now + CATCH_UP_LEAST, is_empty: false }
    }
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
    /// Since when something may wait to be read: since it was last found empty.
    waits_since: Option<Duration>,
    /// Since when it waits for its turn.
    joined: Option<Duration>,
    ticket: Ticket,
    /// How long it waited for the turn that it has now.
    turn: Option<Duration>,
    /// Whether it has just read less than it was allowed to: it may look once more, though hardly anything waits.
    is_drained: bool,
}

impl Pace {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        let calls = Arc::new(Calls::new(Arc::clone(&gate)));
        let catching_up = Mode::catching_up(gate.clock().monotonic());
        let mode = if calls.are_behind() { catching_up } else { Mode::Freely };
        Self {
            calls,
            gate,
            pause: READ_PAUSE,
            mode,
            until: None,
            waits_since: None,
            joined: None,
            ticket: Ticket::default(),
            turn: None,
            is_drained: false,
        }
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
            Mode::Freely if !is_left => {
                if !self.is_stale() {
                    return self.poll_ahead(context).map(Ok);
                }
                self.catch_up();
            }
            Mode::CatchingUp { .. } if !is_left => self.look_whether_caught_up(),
            Mode::Hardly { .. } => {}
            Mode::Freely | Mode::CatchingUp { .. } => self.leave(),
        }
        match self.mode {
            Mode::Freely => self.poll_ahead(context).map(Ok),
            Mode::Hardly { .. } => self.poll_hardly(context),
            Mode::CatchingUp { .. } => {
                if let Some(until) = &mut self.until {
                    ready!(until.as_mut().poll(context));
                }
                // What is refused is soon done: a turn for each little would take longer than more takes to come.
                if self.is_spared() {
                    self.leave_row();
                } else {
                    ready!(self.poll_ahead(context));
                }
                self.until = Some(Box::pin(sleep(CATCH_UP_PAUSE)));
                Poll::Ready(Ok(Some(SLOW_READ_BYTES)))
            }
        }
    }

    /// Waits for a turn among the connections of the core. Returns how many bytes may be read.
    fn poll_ahead(&mut self, context: &Context<'_>) -> Poll<Option<usize>> {
        let Some(most) = turn_bytes(self.calls.class()).filter(|_| self.gate.sheds()) else {
            self.leave_row();
            return Poll::Ready(None);
        };
        if std::mem::take(&mut self.is_drained) {
            return Poll::Ready(Some(most));
        }
        let now = self.gate.clock().monotonic();
        self.waits_since.get_or_insert(now);
        let joined = *self.joined.get_or_insert(now);
        ready!(self.gate.ahead().poll_turn(&mut self.ticket, context));
        self.joined = None;
        self.turn = Some(now.saturating_sub(joined));
        Poll::Ready(Some(most))
    }

    /// Gives up its place among those that wait for a turn.
    fn leave_row(&mut self) {
        (self.waits_since, self.joined) = (None, None);
        self.gate.ahead().leave(&mut self.ticket);
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
                self.catch_up();
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

    /// Takes note of how many bytes came, of so many that were asked for.
    pub(in crate::rpc) fn heard(&mut self, count: usize, asked: usize) {
        if let Some(waited) = self.turn.take() {
            self.gate.ahead().has_read(count, waited);
            self.is_drained = self.mode == Mode::Freely && (1..asked).contains(&count);
        }
        if count < asked {
            self.waits_since = None;
        }
        match &mut self.mode {
            Mode::Freely => {}
            // What was left is gone, and what comes now has not waited.
            Mode::Hardly { since, .. } if count < asked => {
                *since = self.gate.clock().monotonic();
            }
            Mode::Hardly { .. } => {}
            Mode::CatchingUp { until, is_empty, .. } => {
                *is_empty = count < asked;
                if !*is_empty {
                    *until = (*until).max(self.gate.clock().monotonic() + SETTLED);
                }
                self.look_whether_caught_up();
            }
        }
    }

    /// Reads freely again once nothing has waited for a while; or where nothing is spared any more, after a while.
    fn look_whether_caught_up(&mut self) {
        let Mode::CatchingUp { since, until, is_empty } = self.mode else { return };
        let now = self.gate.clock().monotonic();
        let is_over = now >= since + CATCH_UP_MOST && !self.is_spared();
        if is_empty && now >= until || is_over || self.gate.is_stopping() {
            (self.mode, self.until) = (Mode::Freely, None);
            self.calls.are_behind.store(false, Ordering::Relaxed);
        }
    }

    /// Reads what waited little by little, all of which is refused where its class is left unread.
    fn catch_up(&mut self) {
        self.mode = Mode::catching_up(self.gate.clock().monotonic());
        self.until = None;
        self.calls.are_behind.store(true, Ordering::Relaxed);
    }

    /// Tells whether what it has to read has waited for too long: for its turn, or for some turns without being found
    /// empty, as more comes of a busy one meanwhile.
    fn is_stale(&self) -> bool {
        let (Some(joined), Some(since), Some(class)) =
            (self.joined, self.waits_since, self.calls.class())
        else {
            return false;
        };
        let now = self.gate.clock().monotonic();
        let waited = now.saturating_sub(joined).max(now.saturating_sub(since) / STALE_TURNS);
        self.gate.shed().is_stale(class, waited)
    }

    fn leave(&mut self) {
        metrics::counter!("munadi_connections_left_unread_total").increment(1);
        let since = self.gate.clock().monotonic();
        self.mode = Mode::Hardly { since, next: since + self.drawn_pause() };
        self.until = None;
        self.leave_row();
        self.calls.are_behind.store(true, Ordering::Relaxed);
    }

    /// Tells whether whoever called here has given up, after so long. Not who asked for reports, which may take longer;
    /// not where all are taken again, or where the server stops and waits for what has come.
    fn is_given_up(&self, unread_for: Duration) -> bool {
        unread_for >= self.pause
            && self.calls.class() != Some(Class::Reports)
            && self.is_spared()
            && !self.gate.is_stopping()
    }

    fn is_spared(&self) -> bool {
        self.calls.class().is_some_and(|class| self.gate.shed().spares(class))
    }

    /// Returns a pause, up to half as much less or more.
    fn drawn_pause(&self) -> Duration {
        let part = (self.gate.lot() >> 32) as u32;
        self.pause / 2 + self.pause.mul_f64(f64::from(part) / f64::from(u32::MAX))
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.heard(0, 0);
        self.leave_row();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use super::*;
    use crate::node::Pressure;
    use crate::rpc::admission::shed::{Controller, Shed};
    use crate::rpc::limits::{EVENTS_READ_BYTES, Limits, SERVING_READ_BYTES};

    fn gate() -> Arc<Gate> {
        Gate::of_nothing(Limits { shed: true, ..Limits::OFF })
    }

    /// The pace of a connection of a class, with a short pause.
    fn pace(gate: &Arc<Gate>, class: Class) -> Pace {
        let mut pace = Pace::new(Arc::clone(gate));
        pace.pause = Duration::from_millis(250);
        pace.calls.note(class);
        pace.calls.confirm(class);
        assert_eq!(pace.calls.class(), Some(class));
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
        assert!(all.unread(Class::Events, Duration::ZERO) >= 1.0, "{all:?}");
        gate.use_shed(all);
    }

    /// Reads so much, or waits if there is no turn.
    fn read(pace: &mut Pace, count: usize) -> Poll<Option<usize>> {
        let turn = ask(pace);
        if let Poll::Ready(asked) = turn {
            pace.heard(count, asked.unwrap_or(usize::MAX));
            pace.gate.ahead().call_next();
        }
        turn
    }

    const TURN: Poll<Option<usize>> = Poll::Ready(Some(SERVING_READ_BYTES));

    /// Asks without waiting.
    fn ask(pace: &mut Pace) -> Poll<Option<usize>> {
        pace.poll_turn(&mut Context::from_waker(Waker::noop())).map(Result::unwrap)
    }

    /// Lets it find nothing to read until it has caught up.
    async fn settle(pace: &mut Pace) {
        while matches!(pace.mode, Mode::CatchingUp { .. }) {
            pace.heard(0, SLOW_READ_BYTES);
            pace.gate.ahead().call_next();
            sleep(Duration::from_millis(5)).await;
        }
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

    #[test]
    fn while_its_class_is_left_unread_a_little_is_read_and_then_nothing_for_a_while() {
        let gate = gate();
        run(async {
            let [mut pace, mut always] =
                [Class::Serving, Class::Administration].map(|class| pace(&gate, class));
            assert_eq!(read(&mut pace, 0), TURN);
            read_none(&gate);
            for _ in 0..3 {
                assert_eq!(ask(&mut pace), Poll::Pending);
                let begun = gate.clock().monotonic();
                assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
                assert!(gate.clock().monotonic() - begun >= Duration::from_millis(100));
                assert!(pace.calls.are_behind());
                pace.heard(SLOW_READ_BYTES, SLOW_READ_BYTES);
            }
            assert_eq!(ask(&mut always), Poll::Ready(None), "these are always read");
        });
    }

    #[test]
    fn connections_wait_by_turns() {
        let gate = gate();
        gate.use_shed(shed(18, Duration::from_millis(40)));
        let unread = gate.shed().unread(Class::Serving, Duration::ZERO);
        assert!((0.1..0.9).contains(&unread), "{unread}");
        run(async {
            let mut paces: Vec<_> = (0..100).map(|_| pace(&gate, Class::Serving)).collect();
            let waiting =
                paces.iter_mut().filter_map(|pace| read(pace, 0).is_pending().then_some(()));
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
            settle(&mut pace).await;
            assert_eq!(read(&mut pace, 0), TURN);
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
        assert!(refused(&gate, Class::Serving, &waiting) <= 0.0);
        let shed = shed(18, Duration::from_millis(40));
        gate.use_shed(shed);
        let (share, unread) =
            (shed.share(Class::Serving), shed.unread(Class::Serving, Duration::ZERO));
        assert!((0.1..0.9).contains(&share) && (0.1..0.9).contains(&unread), "{shed:?}");
        assert!(refused(&gate, Class::Serving, &waiting) >= 1.0);
        assert!((refused(&gate, Class::Serving, &other) - share).abs() < 0.01);
        // An event's connection is read, and so is all else that is called on it.
        let all = 1.0 - (1.0 - share) * (1.0 - unread);
        assert!((refused(&gate, Class::Serving, &events) - all).abs() < 0.01);
        assert!(refused(&gate, Class::Events, &events) <= 0.0);
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
            let begun = gate.clock().monotonic();
            while gate.clock().monotonic() < begun + 2 * CATCH_UP_LEAST {
                assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
                pace.heard(SLOW_READ_BYTES, SLOW_READ_BYTES);
                gate.ahead().call_next();
                assert!(pace.calls.are_behind());
            }
            settle(&mut pace).await;
            assert_eq!(read(&mut pace, 0), TURN, "nothing waits any more");
            assert!(!pace.calls.are_behind());
        });
    }

    #[test]
    fn connections_read_a_little_in_turn_and_those_that_run_the_market_what_there_is() {
        let gate = gate();
        run(async {
            let [mut one, mut other] = [(), ()].map(|()| pace(&gate, Class::Serving));
            let mut events = pace(&gate, Class::Events);
            let mut new = Pace::new(Arc::clone(&gate));
            assert_eq!(ask(&mut one), TURN);
            one.heard(SERVING_READ_BYTES, SERVING_READ_BYTES);
            for waiting in [&mut other, &mut events, &mut new, &mut one] {
                assert_eq!(ask(waiting), Poll::Pending);
            }
            let mut keys = pace(&gate, Class::Administration);
            assert_eq!(ask(&mut keys), Poll::Ready(None));
            gate.ahead().call_next();
            assert_eq!(ask(&mut events), Poll::Pending, "another one is first");
            assert_eq!(read(&mut other, 1), TURN);
            assert_eq!(ask(&mut other), TURN, "it had less than it might, and looks once more");
            other.heard(0, SERVING_READ_BYTES);
            assert_eq!(read(&mut events, 0), Poll::Ready(Some(EVENTS_READ_BYTES)));
            assert_eq!(read(&mut new, 0), TURN);
            assert_eq!(ask(&mut one), TURN);
            drop(one);
            gate.ahead().call_next();
            assert_eq!(ask(&mut other), TURN, "who has gone keeps nobody waiting");
        });
    }

    #[test]
    fn what_is_read_tells_how_long_it_may_have_waited() {
        let gate = gate();
        run(async {
            let [mut one, mut other] = [(), ()].map(|()| pace(&gate, Class::Serving));
            let step = Duration::from_millis(60);
            for _ in 0..3 {
                assert_eq!(ask(&mut one), TURN);
                assert_eq!(ask(&mut other), Poll::Pending);
                sleep(step).await;
                one.heard(SERVING_READ_BYTES, SERVING_READ_BYTES);
                gate.ahead().call_next();
                gate.ahead().take_mean();
                assert_eq!(read(&mut other, SERVING_READ_BYTES), TURN);
                assert!(gate.ahead().take_mean() >= step);
            }
            // All that time neither was found empty: what comes of them is of no use where much is refused.
            assert_eq!(ask(&mut one), TURN);
            assert_eq!(ask(&mut other), Poll::Pending);
            sleep(8 * step).await;
            one.heard(SERVING_READ_BYTES, SERVING_READ_BYTES);
            gate.ahead().call_next();
            gate.use_shed(shed(18, Duration::from_millis(40)));
            assert_eq!(ask(&mut other), Poll::Ready(Some(SLOW_READ_BYTES)));
            assert!(other.calls.are_behind());
            other.heard(0, SLOW_READ_BYTES);
            gate.ahead().call_next();
            one.heard(0, SERVING_READ_BYTES);
            assert_eq!(read(&mut one, 0), TURN, "it was found empty");
        });
    }

    /// It comes again, and brings what waited at its caller.
    #[test]
    fn a_connection_that_comes_while_much_is_refused_catches_up_first() {
        let gate = gate();
        gate.use_shed(shed(18, Duration::from_millis(40)));
        run(async {
            let mut pace = Pace::new(Arc::clone(&gate));
            assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
            let calls = pace.calls();
            calls.note(Class::Serving);
            assert!(refused(&gate, Class::Serving, &calls) >= 1.0);
            assert!(refused(&gate, Class::Events, &calls) <= 0.0);
            settle(&mut pace).await;
            assert!(refused(&gate, Class::Serving, &calls) < 1.0);
        });
    }

    /// A caller who never stops is read freely again too, and one who paused has caught up.
    #[test]
    fn a_connection_catches_up_for_a_second_at_the_most_once_all_is_taken() {
        let gate = gate();
        read_none(&gate);
        run(async {
            let [mut busy, mut idle] = [(), ()].map(|()| pace(&gate, Class::Serving));
            gate.use_shed(Shed::default());
            assert_eq!(turn(&mut idle).await.unwrap(), Some(SLOW_READ_BYTES));
            idle.heard(SLOW_READ_BYTES - 1, SLOW_READ_BYTES);
            gate.ahead().call_next();
            let begun = gate.clock().monotonic();
            while matches!(busy.mode, Mode::CatchingUp { .. }) {
                assert!(gate.clock().monotonic() < begun + 5 * CATCH_UP_MOST);
                let asked = turn(&mut busy).await.unwrap().unwrap();
                busy.heard(asked, asked);
                gate.ahead().call_next();
            }
            assert!(gate.clock().monotonic() >= begun + CATCH_UP_MOST - CATCH_UP_LEAST);
            assert!(!busy.calls.are_behind());
            assert_eq!(read(&mut idle, SERVING_READ_BYTES), TURN, "nothing waited for long");
        });
    }

    /// Who asks for reports may wait for long; and what has just come has not waited.
    #[test]
    fn a_connection_is_cut_only_where_something_was_left_for_long() {
        let gate = gate();
        run(async {
            let [mut reports, mut idle] =
                [Class::Reports, Class::Serving].map(|class| pace(&gate, class));
            read_none(&gate);
            assert_eq!(ask(&mut reports), Poll::Pending);
            assert_eq!(ask(&mut idle), Poll::Pending);
            assert_eq!(turn(&mut idle).await.unwrap(), Some(SLOW_READ_BYTES));
            sleep(idle.pause).await;
            idle.heard(1, SLOW_READ_BYTES);
            gate.use_shed(shed(15, Duration::from_millis(40)));
            for pace in [&mut reports, &mut idle] {
                assert_eq!(turn(pace).await.unwrap(), Some(SLOW_READ_BYTES));
                pace.heard(0, SLOW_READ_BYTES);
                gate.ahead().call_next();
            }
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
            let shed = shed(15, Duration::from_millis(40));
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
            settle(&mut pace).await;
            assert_eq!(read(&mut pace, 0), TURN, "no pause begins");
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
            pace.calls.confirm(Class::Administration);
            assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
            settle(&mut pace).await;
            assert_eq!(ask(&mut pace), Poll::Ready(None));
        });
    }
}
