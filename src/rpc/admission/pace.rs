//! How fast a connection is read. While much of its class is refused it takes its turn at being left unread: the
//! cheapest refusal is of what is never read. What it still sends waits in the kernel and at its caller, who may have
//! few calls open at once.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::guard::Class;
use crate::node::clock::Clock;
use crate::rpc::admission::ahead::{Ticket, turn_bytes};
use crate::rpc::admission::calls::Calls;
use crate::rpc::admission::gate::Gate;
use crate::rpc::limits::{READ_PAUSE, SERVING_READ_BYTES, SLOW_READ_BYTES};

/// How often a connection that is left unread looks whether it still is to be: at first, as its core may be late for
/// a moment only, and a request for ads has little time; and later.
const LOOK_SOON: Duration = Duration::from_millis(25);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Turns after which a connection that has made no call that it may make is a stranger's: enough to greet and to ask
/// whether the node lives.
const NEW_TURNS: u32 = 4;

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
    /// Turns that it had, up to [`NEW_TURNS`].
    turns: u32,
    /// Since when what is read may have waited, as its connection was left unread.
    held_since: Option<Duration>,
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
            turns: 0,
            held_since: None,
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
                self.held_since = self.joined;
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
                if self.is_spared() && self.calls.is_known() {
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
        let Some(most) = turn_bytes(self.calls.class()) else {
            self.leave_row();
            self.calls.set_waited(Duration::ZERO);
            return Poll::Ready(None);
        };
        let is_known = self.calls.is_known();
        // Who names a class has not shown that it may.
        let most = if is_known { most } else { most.min(SERVING_READ_BYTES) };
        if std::mem::take(&mut self.is_drained) {
            return Poll::Ready(Some(most));
        }
        let now = self.gate.clock().monotonic();
        self.waits_since.get_or_insert(now);
        let joined = *self.joined.get_or_insert(now);
        let is_stranger = !is_known && self.turns >= NEW_TURNS;
        ready!(self.gate.ahead().poll_turn(&mut self.ticket, !is_stranger, context));
        self.joined = None;
        self.turn = Some(now.saturating_sub(joined));
        self.turns = (self.turns + 1).min(NEW_TURNS);
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
                let is_new = now.saturating_sub(since) < LOOK_EVERY;
                let look = || Box::pin(sleep(if is_new { LOOK_SOON } else { LOOK_EVERY }));
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
        let now = self.gate.clock().monotonic();
        let held = self.held_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let turn = self.turn.take();
        if let Some(waited) = turn {
            self.gate.ahead().has_read(count, self.calls.is_known().then_some(waited));
            self.is_drained = self.mode == Mode::Freely && (1..asked).contains(&count);
        }
        if count > 0 {
            self.calls.set_waited(held.max(turn.unwrap_or_default()));
        }
        if count < asked {
            (self.waits_since, self.held_since) = (None, None);
        }
        match &mut self.mode {
            Mode::Freely => {}
            // What was left is gone, and what comes now has not waited.
            Mode::Hardly { since, .. } if count < asked => {
                *since = now;
                self.held_since = Some(now);
            }
            Mode::Hardly { .. } => {}
            Mode::CatchingUp { until, is_empty, .. } => {
                *is_empty = count < asked;
                if !*is_empty {
                    *until = (*until).max(now + SETTLED);
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
            (self.mode, self.until, self.held_since) = (Mode::Freely, None, None);
            self.calls.set_behind(false);
        }
    }

    /// Reads what waited little by little, all of which is refused where its class is left unread.
    fn catch_up(&mut self) {
        self.mode = Mode::catching_up(self.gate.clock().monotonic());
        self.until = None;
        self.calls.set_behind(true);
    }

    /// Tells whether what it has to read has waited for too long: for its turn, or for some turns without being found
    /// empty, as more comes of a busy one meanwhile.
    fn is_stale(&self) -> bool {
        let Some(class) = self.calls.class() else { return false };
        let (Some(joined), Some(since)) = (self.joined, self.waits_since) else { return false };
        let now = self.gate.clock().monotonic();
        let waited = now.saturating_sub(joined).max(now.saturating_sub(since) / STALE_TURNS);
        self.gate.shed().is_stale(class, waited)
    }

    fn leave(&mut self) {
        metrics::counter!("munadi_connections_left_unread_total").increment(1);
        let since = self.gate.clock().monotonic();
        self.mode = Mode::Hardly { since, next: since + self.drawn_pause() };
        self.until = None;
        self.held_since.get_or_insert(since);
        self.leave_row();
        self.calls.set_behind(true);
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
mod tests;
