//! Who reads on a core. Its connections of reports, ads and events read a little each in turn, and the next only once what was
//! read has begun: what is read waits in a row that nobody can leave, but what is not read can be left unread, and
//! how long its connection waits tells how late the core is.

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

/// A connection's place among those that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Ticket(Option<u64>);

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
    waiting: VecDeque<(u64, Waker)>,
    /// Whom the usher called.
    called: Option<u64>,
    tickets: u64,
}

impl Ahead {
    /// Takes the turn, or waits for it.
    pub(super) fn poll_turn(&self, ticket: &mut Ticket, context: &Context<'_>) -> Poll<()> {
        let mut row = self.row();
        let is_called = ticket.0.is_some() && ticket.0 == row.called;
        let is_first = row.called.is_none() && row.waiting.is_empty();
        if !row.is_taken && (is_called || is_first) {
            row.is_taken = true;
            (row.called, ticket.0) = (None, None);
            return Poll::Ready(());
        }
        let waits = |(other, _): &&mut (u64, Waker)| Some(*other) == ticket.0;
        if let Some((_, waker)) = row.waiting.iter_mut().find(waits) {
            waker.clone_from(context.waker());
        } else if !is_called {
            row.tickets += 1;
            let number = row.tickets;
            ticket.0 = Some(number);
            row.waiting.push_back((number, context.waker().clone()));
        }
        Poll::Pending
    }

    /// Ends the turn of a connection that waited so long for it and has read so much.
    pub(super) fn has_read(&self, count: usize, waited: Duration) {
        if count > 0 {
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
        row.waiting.retain(|(other, _)| *other != number);
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
        let next = row.waiting.pop_front();
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
            let waker = Waker::from(Arc::clone(&self.woken));
            ahead.poll_turn(&mut self.ticket, &Context::from_waker(&waker)).is_ready()
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
            ahead.has_read(1, Duration::ZERO);
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
        ahead.has_read(0, Duration::ZERO);
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
        ahead.has_read(0, Duration::ZERO);
        assert!(ahead.call_next());
        assert!(one.ask(&ahead));
        ahead.has_read(0, Duration::ZERO);
        assert!(!ahead.call_next(), "nobody waits");
        assert!(last.ask(&ahead));
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
                            gate.ahead().poll_turn(&mut ticket, context)
                        };
                        std::future::poll_fn(turn).await;
                        let before = turns.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(begun.load(Ordering::Relaxed), 16 * before, "all was begun");
                        gate.ahead().has_read(1, Duration::ZERO);
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
            ahead.has_read(count, Duration::from_millis(waited));
        }
        assert_eq!(ahead.take_mean(), Duration::from_millis(20));
        assert_eq!(ahead.take_mean(), Duration::ZERO);
    }
}
