//! The writer's queue and the budgets of the board while threads take turns in made-up orders: each lock, wait and
//! atomic is a place where another thread may go on. `SCHEDULES=10000 cargo test --lib interleaved` tries that many
//! orders of each; one that fails is printed, with the way to run it again.
//!
//! The very files of both are compiled here once more, over locks and atomics that hand the turn on. Those are
//! sequentially consistent: what a weaker order could do besides is not tried.

#[allow(clippy::duplicate_mod, dead_code, reason = "the same file over other locks")]
#[path = "queue/bounded.rs"]
mod bounded;
#[allow(
    clippy::duplicate_mod,
    dead_code,
    unreachable_pub,
    reason = "the same file over other atomics"
)]
#[path = "../decide/board/line.rs"]
mod line;

use std::sync::OnceLock;
use std::time::Duration;

use shuttle::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize};
use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
use shuttle::thread;

use crate::node::pressure::Pressure;
use crate::node::writer::Work;
use crate::types::time::{MINUTE_MS, Moment};

use bounded::{Queue, Turned};
use line::Line;

/// Orders that are tried in a usual run.
const SCHEDULES: usize = 1_000;

/// Rare changes of turn in those orders that let one thread run as long as it can (Burckhardt and others, ASPLOS 2010).
const CHANGES: usize = 4;

/// Runs threads in so many orders: half of them take each turn at random, half change it rarely.
fn under_schedules(run: impl Fn() + Send + Sync + 'static) {
    let told = std::env::var("SCHEDULES").ok().and_then(|text| text.parse().ok());
    let half = told.unwrap_or(SCHEDULES).div_ceil(2);
    let run = Arc::new(run);
    let again = Arc::clone(&run);
    shuttle::check_random(move || run(), half);
    shuttle::check_pct(move || again(), half, CHANGES);
}

/// Threads that serve from one budget, and how often each tries to hold something of it.
const DOORS: i64 = 3;
const TRIES: u32 = 2;

/// What each hold is for, micros, and how many of them the budget has room for.
const PRICE: i64 = 10;
const ROOM: i64 = 3;

/// The minute of the first hold; each further one is of the next.
const MINUTE: u32 = 5;

/// Holds something of a budget as long as it is free, as serving does. Returns the minutes of the holds.
fn hold_while_free(line: &Line) -> Vec<u32> {
    let now = Moment(i64::from(MINUTE + TRIES - 1) * MINUTE_MS);
    let mut minutes = Vec::new();
    for minute in MINUTE..MINUTE + TRIES {
        if line.free(now) >= PRICE {
            line.hold(minute, PRICE);
            minutes.push(minute);
        }
    }
    minutes
}

/// Returns what is held as it was last summed, and what the ring says in a minute that was not summed.
fn held(line: &Line) -> [i64; 2] {
    [TRIES - 1, TRIES].map(|later| line.held(Moment(i64::from(MINUTE + later) * MINUTE_MS)))
}

#[test]
fn holds_of_a_budget_stay_near_it_and_end_at_nothing_however_they_are_interleaved() {
    under_schedules(|| {
        let line = Arc::new(Line::default());
        line.set(ROOM * PRICE, i64::MAX);
        let doors = (0..DOORS).map(|_| {
            let line = Arc::clone(&line);
            thread::spawn(move || hold_while_free(&line))
        });
        let doors: Vec<_> = doors.collect();
        let holds: Vec<_> = doors.into_iter().map(|door| door.join().unwrap()).collect();
        let total = holds.iter().map(|minutes| minutes.len() as i64 * PRICE).sum::<i64>();
        assert_eq!(held(&line), [total; 2], "{holds:?}");
        // What is free is looked at before it is held: each other door may come between once.
        assert!((ROOM * PRICE..=(ROOM + DOORS - 1) * PRICE).contains(&total), "{holds:?}");
        let doors = holds.into_iter().map(|minutes| {
            let line = Arc::clone(&line);
            thread::spawn(move || minutes.iter().for_each(|minute| line.release(*minute, PRICE)))
        });
        let doors: Vec<_> = doors.collect();
        doors.into_iter().for_each(|door| door.join().unwrap());
        assert_eq!(held(&line), [0; 2]);
    });
}

/// Threads that bring work, and how much each.
const FEEDS: u64 = 2;
const PIECES: u64 = 3;

/// The number of the node's own work.
const OWN: u64 = 99;

fn work(number: u64) -> Work {
    Work::Refresh(vec![number])
}

fn number(work: Work) -> u64 {
    match work {
        Work::Refresh(numbers) => numbers[0],
        _ => panic!("other work"),
    }
}

/// Brings work that is numbered; returns the numbers of what was taken.
fn bring(queue: &Queue, feed: u64) -> Vec<u64> {
    let numbers = (0..PIECES).map(|piece| feed * PIECES + piece);
    numbers.filter(|number| queue.push(work(*number)).is_ok()).collect()
}

/// Starts a thread for each feed.
fn feeds(queue: &Arc<Queue>) -> Vec<thread::JoinHandle<Vec<u64>>> {
    let start = |feed| {
        let queue = Arc::clone(queue);
        thread::spawn(move || bring(&queue, feed))
    };
    (0..FEEDS).map(start).collect()
}

#[test]
fn a_queue_loses_and_doubles_nothing_however_its_threads_are_interleaved() {
    under_schedules(|| {
        let queue = Arc::new(Queue::default());
        let feeds = feeds(&queue);
        let disk = Arc::clone(&queue);
        let disk = thread::spawn(move || {
            disk.turn_away(true);
            disk.nudge();
            disk.turn_away(false);
        });
        let node = Arc::clone(&queue);
        let node = thread::spawn(move || {
            node.put(work(OWN));
            node.close();
        });
        let mut taken = Vec::new();
        loop {
            let round = queue.next(Some(1), Duration::MAX);
            assert_eq!(round.came.is_some(), !round.work.is_empty());
            queue.note_unacknowledged(round.came);
            taken.extend(round.work.into_iter().map(number));
            if round.ended {
                break;
            }
        }
        let brought: Vec<_> = feeds.into_iter().map(|feed| feed.join().unwrap()).collect();
        disk.join().unwrap();
        node.join().unwrap();
        for (feed, brought) in (0..).zip(&brought) {
            let of_feed = taken.iter().copied().filter(|number| number / PIECES == feed);
            assert_eq!(of_feed.collect::<Vec<_>>(), *brought, "feed {feed}, in its order");
        }
        assert_eq!(taken.iter().filter(|number| **number == OWN).count(), 1);
        assert_eq!(taken.len(), brought.iter().map(Vec::len).sum::<usize>() + 1);
        assert_eq!((queue.waiting(), queue.events()), (0, 0));
        assert_eq!(queue.push(work(OWN)), Err(Turned::Closed));
        queue.note_unacknowledged(None);
        assert_eq!(queue.pressure(), Pressure::default());
    });
}

#[test]
fn a_sleeping_reader_is_woken_however_what_it_waits_for_is_interleaved() {
    under_schedules(|| {
        let queue = Arc::new(Queue::default());
        let feeds = feeds(&queue);
        let all = (FEEDS * PIECES) as usize;
        assert_eq!(queue.next(Some(all), Duration::MAX).work.len(), all, "it waits for all");
        feeds.into_iter().for_each(|feed| assert_eq!(feed.join().unwrap().len(), PIECES as usize));
        let disk = Arc::clone(&queue);
        let disk = thread::spawn(move || {
            assert_eq!(disk.push(work(OWN)), Ok(()));
            disk.nudge();
        });
        let round = queue.next(None, Duration::MAX);
        assert_eq!(round.work.len(), 0, "no round may be begun: it is woken by the nudge alone");
        assert_eq!(queue.next(Some(1), Duration::MAX).work.len(), 1);
        disk.join().unwrap();
    });
}
