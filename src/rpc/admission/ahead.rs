//! Who reads on a core. Its connections of reports, ads and events read a little each in turn, and the next only once
//! what was read has begun: what is read waits in a row that nobody can leave, but what is not read can be left
//! unread, and how long its connection waits tells how late the core is. Strangers, who ask again and again without a
//! call that they may make, have one turn of [`STRANGERS_TURN`] while others wait, however many they are.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::guard::Class;
use crate::rpc::admission::gate::Gate;
use crate::rpc::limits::{EVENTS_READ_BYTES, SERVING_READ_BYTES};

/// Returns how many bytes a connection of a class, or of none yet, reads in a turn. `None`: it waits for none, and
/// reads what there is.
pub(super) const fn turn_bytes(class: Option<Class>) -> Option<usize> {
    match class {
        None | Some(Class::Reports | Class::Serving) => Some(SERVING_READ_BYTES),
        Some(Class::Events) => Some(EVENTS_READ_BYTES),
        Some(Class::Administration | Class::Health) => None,
    }
}

/// Of so many turns strangers have one while others wait too.
const STRANGERS_TURN: u32 = 4;

/// A connection's place among those that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Ticket(Option<u64>);

/// Those who wait for their turn, in the order in which they came.
type Waiting = VecDeque<(u64, Waker)>;

/// Whose turn it is on one core.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    row: Mutex<Row>,
    /// Tells the usher.
    changed: Notify,
    /// Nanoseconds that connections waited which then read something, and how many did, since somebody asked.
    waited: AtomicU64,
    turns: AtomicU64,
}

#[derive(Debug, Default)]
struct Row {
    is_taken: bool,
    /// Whether whoever took the turn has read.
    has_read: bool,
    known: Waiting,
    strangers: Waiting,
    /// Turns since a stranger had one.
    since_stranger: u32,
    /// Whom the usher called.
    called: Option<u64>,
    tickets: u64,
}

impl Row {
    /// Returns who is next.
    fn next(&mut self) -> Option<(u64, Waker)> {
        if self.known.is_empty() || self.since_stranger + 1 >= STRANGERS_TURN {
            self.since_stranger = 0;
            self.strangers.pop_front().or_else(|| self.known.pop_front())
        } else {
            self.since_stranger += 1;
            self.known.pop_front()
        }
    }
}

impl Ahead {
    /// Takes the turn, or waits for it. `is_known`: the connection is no stranger's.
    pub(super) fn poll_turn(
        &self,
        ticket: &mut Ticket,
        is_known: bool,
        context: &Context<'_>,
    ) -> Poll<()> {
        let mut row = self.row();
        let is_called = ticket.0.is_some() && ticket.0 == row.called;
        let is_first = row.called.is_none() && row.known.is_empty() && row.strangers.is_empty();
        if !row.is_taken && (is_called || is_first) {
            row.is_taken = true;
            (row.called, ticket.0) = (None, None);
            return Poll::Ready(());
        }
        let Row { known, strangers, tickets, .. } = &mut *row;
        let waits = |(other, _): &&mut (u64, Waker)| Some(*other) == ticket.0;
        if let Some((_, waker)) = known.iter_mut().chain(&mut *strangers).find(waits) {
            waker.clone_from(context.waker());
        } else if !is_called {
            *tickets += 1;
            ticket.0 = Some(*tickets);
            let waiting = if is_known { known } else { strangers };
            waiting.push_back((*tickets, context.waker().clone()));
        }
        Poll::Pending
    }

    /// Ends the turn of a connection that waited so long for it and has read so much. How long strangers wait, `None`,
    /// is no matter: many of them would have others refused.
    pub(super) fn has_read(&self, count: usize, waited: Option<Duration>) {
        if let Some(waited) = waited.filter(|_| count > 0) {
            let waited = waited.as_nanos() as u64;
            self.waited.fetch_add(waited, Ordering::Relaxed);
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
        self.row().has_read = true;
        self.changed.notify_one();
    }

    /// Lets a connection wait no longer.
    pub(super) fn leave(&self, ticket: &mut Ticket) {
        let Some(number) = ticket.0.take() else { return };
        let mut row = self.row();
        row.known.retain(|(other, _)| *other != number);
        row.strangers.retain(|(other, _)| *other != number);
        if row.called == Some(number) {
            row.called = None;
            self.changed.notify_one();
        }
    }

    /// Returns how long those waited that had their turn since this was last asked, on average.
    pub(super) fn take_mean(&self) -> Duration {
        let waited = self.waited.swap(0, Ordering::Relaxed);
        let turns = self.turns.swap(0, Ordering::Relaxed);
        Duration::from_nanos(waited.checked_div(turns).unwrap_or(0))
    }

    /// Frees the turn of whoever has read, and calls the next. Returns whether somebody was called.
    pub(super) fn call_next(&self) -> bool {
        let mut row = self.row();
        if std::mem::take(&mut row.has_read) {
            row.is_taken = false;
        }
        if row.is_taken {
            return false;
        }
        let next = row.next();
        row.called = next.as_ref().map(|(number, _)| *number);
        drop(row);
        next.map(|(_, waker)| waker.wake()).is_some()
    }

    fn row(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the connections of the core that it runs on read one after the other, for as long as that runs.
pub(super) async fn usher(gate: Arc<Gate>) {
    let ahead = gate.ahead();
    loop {
        ahead.changed.notified().await;
        // Behind all that has just been read.
        yield_now().await;
        // Whoever is called and does not come, as its connection was closed, keeps nobody else waiting.
        while ahead.call_next() {
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;
    use crate::rpc::limits::Limits;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection that only waits.
    #[derive(Default)]
    struct Waiting {
        ticket: Ticket,
        woken: Arc<Counted>,
    }

    impl Waiting {
        fn ask(&mut self, ahead: &Ahead) -> bool {
            self.ask_as(ahead, true)
        }

        fn ask_as(&mut self, ahead: &Ahead, is_known: bool) -> bool {
            let waker = Waker::from(Arc::clone(&self.woken));
            let context = Context::from_waker(&waker);
            ahead.poll_turn(&mut self.ticket, is_known, &context).is_ready()
        }

        fn woken(&self) -> usize {
            self.woken.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn each_has_its_turn_in_the_order_in_which_they_came() {
        let ahead = Ahead::default();
        let mut all = [(); 4].map(|()| Waiting::default());
        assert!(all[0].ask(&ahead), "nobody reads");
        for round in 1..20 {
            let reads = (round - 1) % 4;
            let next = round % 4;
            // However often they ask meanwhile.
            for _ in 0..3 {
                for place in 0..4 {
                    let asks = (reads + 1 + place) % 4;
                    assert!(asks == reads || !all[asks].ask(&ahead), "{round}");
                }
            }
            ahead.has_read(1, None);
            assert!(!all[next].ask(&ahead), "what was read has not begun");
            assert!(ahead.call_next());
            assert_eq!(all.iter().map(Waiting::woken).sum::<usize>(), round);
            assert!(!all[(next + 1) % 4].ask(&ahead), "another one was called");
            assert!(all[next].ask(&ahead));
        }
    }

    #[test]
    fn who_is_called_and_does_not_come_keeps_nobody_waiting() {
        let ahead = Ahead::default();
        let [mut one, mut gone, mut left, mut last] = [(); 4].map(|()| Waiting::default());
        assert!(one.ask(&ahead));
        assert!(![&mut gone, &mut left, &mut last].into_iter().any(|it| it.ask(&ahead)));
        ahead.has_read(0, None);
        assert!(ahead.call_next());
        assert_eq!(gone.woken(), 1);
        ahead.leave(&mut left.ticket);
        assert!(ahead.call_next());
        assert_eq!((left.woken(), last.woken()), (0, 1));
        assert!(!gone.ask(&ahead), "it comes too late, and waits again");
        ahead.leave(&mut last.ticket);
        assert!(ahead.call_next());
        assert!(gone.ask(&ahead));
        assert!(!one.ask(&ahead));
        assert!(!ahead.call_next(), "it reads");
        ahead.has_read(0, None);
        assert!(ahead.call_next());
        assert!(one.ask(&ahead));
        ahead.has_read(0, None);
        assert!(!ahead.call_next(), "nobody waits");
        assert!(last.ask(&ahead));
    }

    #[test]
    fn of_four_turns_strangers_have_one_while_others_wait() {
        let ahead = Ahead::default();
        let mut reads = Waiting::default();
        assert!(reads.ask(&ahead));
        let mut strangers = [(); 6].map(|()| Waiting::default());
        let mut known = [(); 9].map(|()| Waiting::default());
        assert!(!strangers.iter_mut().any(|it| it.ask_as(&ahead, false)));
        assert!(!known.iter_mut().any(|it| it.ask(&ahead)));
        let mut order = String::new();
        for _ in 0..strangers.len() + known.len() {
            ahead.has_read(0, None);
            assert!(ahead.call_next());
            let is_stranger =
                strangers.iter_mut().any(|it| it.woken() > 0 && it.ask_as(&ahead, false));
            assert!(is_stranger || known.iter_mut().any(|it| it.woken() > 0 && it.ask(&ahead)));
            order.push(if is_stranger { 's' } else { 'k' });
            // Who has read waits no more.
            strangers.iter_mut().chain(&mut known).filter(|it| it.woken() > 0).for_each(|it| {
                ahead.leave(&mut it.ticket);
                it.woken = Arc::default();
            });
        }
        assert_eq!(order, "kkkskkkskkkssss");
        ahead.has_read(0, None);
        assert!(!ahead.call_next());
    }

    #[test]
    fn the_usher_calls_the_next_once_what_was_read_has_begun() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let gate = Gate::of_nothing(Limits { shed: true, ..Limits::OFF });
            tokio::spawn(usher(Arc::clone(&gate)));
            yield_now().await;
            let [begun, turns] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
            let readers = (0..8).map(|_| {
                let gate = Arc::clone(&gate);
                let (begun, turns) = (Arc::clone(&begun), Arc::clone(&turns));
                tokio::spawn(async move {
                    let mut ticket = Ticket::default();
                    for _ in 0..10 {
                        let turn = |context: &mut Context<'_>| {
                            gate.ahead().poll_turn(&mut ticket, true, context)
                        };
                        std::future::poll_fn(turn).await;
                        let before = turns.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(begun.load(Ordering::Relaxed), 16 * before, "all was begun");
                        gate.ahead().has_read(1, None);
                        for _ in 0..16 {
                            let begun = Arc::clone(&begun);
                            tokio::spawn(async move { begun.fetch_add(1, Ordering::Relaxed) });
                        }
                    }
                })
            });
            for reader in readers.collect::<Vec<_>>() {
                reader.await.unwrap();
            }
        });
    }

    #[test]
    fn the_mean_is_of_those_that_read_something_since_it_was_asked_for() {
        let ahead = Ahead::default();
        assert_eq!(ahead.take_mean(), Duration::ZERO);
        for (count, waited) in [(5, 0), (1, 10), (0, 999), (2, 50)] {
            ahead.has_read(count, Some(Duration::from_millis(waited)));
            ahead.has_read(9, None);
        }
        assert_eq!(ahead.take_mean(), Duration::from_millis(20));
        assert_eq!(ahead.take_mean(), Duration::ZERO);
    }
}
