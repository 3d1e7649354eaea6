//! How fast connections are read: freely, hardly, and while they catch up.

use std::future::poll_fn;
use std::task::Waker;

use tokio::time::Instant;

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

/// The pace of a connection of ads that was left unread for long.
async fn left(gate: &Arc<Gate>) -> Pace {
    let mut pace = pace(gate, Class::Serving);
    assert_eq!(ask(&mut pace), Poll::Pending);
    sleep(2 * pace.pause).await;
    pace
}

/// The pace of a connection of ads that is left unread, for an hour on average.
fn held(gate: &Arc<Gate>) -> Pace {
    read_none(gate);
    let mut pace = pace(gate, Class::Serving);
    pace.pause = Duration::from_secs(3_600);
    assert_eq!(ask(&mut pace), Poll::Pending);
    pace
}

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
        let waiting = paces.iter_mut().filter_map(|pace| read(pace, 0).is_pending().then_some(()));
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
    waiting.set_behind(true);
    assert!(refused(&gate, Class::Serving, &waiting) <= 0.0);
    let shed = shed(18, Duration::from_millis(40));
    gate.use_shed(shed);
    let (share, unread) = (shed.share(Class::Serving), shed.unread(Class::Serving, Duration::ZERO));
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
        let mut pace = left(&gate).await;
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
fn who_names_a_class_without_a_key_reads_no_more_than_others_and_is_soon_a_stranger() {
    let gate = gate();
    run(async {
        let mut bare = Pace::new(Arc::clone(&gate));
        bare.calls.note(Class::Events);
        for _ in 0..NEW_TURNS {
            assert_eq!(read(&mut bare, SERVING_READ_BYTES), TURN);
        }
        let [mut one, mut other] = [(), ()].map(|()| pace(&gate, Class::Events));
        assert_eq!(ask(&mut one), Poll::Ready(Some(EVENTS_READ_BYTES)));
        assert_eq!(ask(&mut bare), Poll::Pending);
        assert_eq!(ask(&mut other), Poll::Pending);
        one.heard(0, EVENTS_READ_BYTES);
        gate.ahead().call_next();
        assert_eq!(ask(&mut bare), Poll::Pending, "who came later is known");
        assert_eq!(read(&mut other, 0), Poll::Ready(Some(EVENTS_READ_BYTES)));
    });
}

#[test]
fn connections_read_a_little_in_turn_and_those_that_run_the_market_what_there_is() {
    let gate = gate();
    run(async {
        let [mut one, mut other] = [(), ()].map(|()| pace(&gate, Class::Serving));
        let mut events = pace(&gate, Class::Events);
        let [mut new, mut stranger] = [(), ()].map(|()| Pace::new(Arc::clone(&gate)));
        stranger.turns = NEW_TURNS;
        assert_eq!(ask(&mut one), TURN);
        one.heard(SERVING_READ_BYTES, SERVING_READ_BYTES);
        for waiting in [&mut stranger, &mut other, &mut events, &mut new, &mut one] {
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
        assert_eq!(read(&mut new, 0), TURN, "it is no stranger yet");
        assert_eq!(ask(&mut one), Poll::Pending, "of four turns a stranger has one");
        assert_eq!(read(&mut stranger, 0), TURN);
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
            assert!(other.calls.waited() >= step, "a call's time began before it was read");
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
        other.heard(SLOW_READ_BYTES, SLOW_READ_BYTES);
        assert!(other.calls.waited() >= 8 * step, "all that time it may have waited");
        other.heard(0, SLOW_READ_BYTES);
        gate.ahead().call_next();
        one.heard(0, SERVING_READ_BYTES);
        assert_eq!(read(&mut one, 0), TURN, "it was found empty");
    });
}

/// What is refused is soon done, but whoever may not call at all is refused for as long as it asks.
#[test]
fn who_may_call_needs_no_turn_to_catch_up_and_a_stranger_does() {
    let gate = gate();
    run(async {
        let mut one = pace(&gate, Class::Serving);
        assert_eq!(ask(&mut one), TURN);
        gate.use_shed(shed(15, Duration::from_millis(40)));
        let [mut known, mut stranger] = [(), ()].map(|()| Pace::new(Arc::clone(&gate)));
        for pace in [&mut known, &mut stranger] {
            pace.calls.note(Class::Serving);
            pace.turns = NEW_TURNS;
            assert!(pace.is_spared() && matches!(pace.mode, Mode::CatchingUp { .. }));
        }
        known.calls.confirm(Class::Serving);
        assert_eq!(ask(&mut known), Poll::Ready(Some(SLOW_READ_BYTES)));
        assert_eq!(ask(&mut stranger), Poll::Pending);
        one.heard(0, SERVING_READ_BYTES);
        gate.ahead().call_next();
        assert_eq!(ask(&mut stranger), Poll::Ready(Some(SLOW_READ_BYTES)));
    });
}

#[test]
fn a_connection_looks_again_soon_after_it_was_left_unread_and_then_now_and_then() {
    let gate = gate();
    run(async {
        let mut pace = held(&gate);
        let looks_at = |pace: &Pace| pace.until.as_ref().unwrap().deadline();
        assert!(looks_at(&pace) <= Instant::now() + LOOK_SOON);
        sleep(LOOK_EVERY + LOOK_SOON).await;
        let now = Instant::now();
        assert_eq!(ask(&mut pace), Poll::Pending);
        assert!(looks_at(&pace) >= now + LOOK_EVERY);
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

#[test]
fn the_time_of_a_call_runs_while_its_connection_is_left_unread() {
    let gate = gate();
    read_none(&gate);
    run(async {
        let mut pace = left(&gate).await;
        let unread_for = 2 * pace.pause;
        gate.use_shed(Shed::default());
        for _ in 0..3 {
            assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
            pace.heard(SLOW_READ_BYTES, SLOW_READ_BYTES);
            gate.ahead().call_next();
            assert!(pace.calls.waited() >= unread_for, "{:?}", pace.calls.waited());
        }
        // What comes behind that has not waited.
        for wanted in [1, 1] {
            assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
            pace.heard(wanted, SLOW_READ_BYTES);
            gate.ahead().call_next();
        }
        assert!(pace.calls.waited() < unread_for, "{:?}", pace.calls.waited());
        settle(&mut pace).await;
        assert_eq!(read(&mut pace, 1), TURN);
        assert!(pace.calls.waited() < unread_for, "{:?}", pace.calls.waited());
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
        let mut pace = left(&gate).await;
        gate.stop();
        assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
        settle(&mut pace).await;
        assert_eq!(read(&mut pace, 0), TURN, "no pause begins");
    });
}

#[test]
fn a_more_important_call_ends_the_pause() {
    let gate = gate();
    run(async {
        let mut pace = held(&gate);
        pace.calls.confirm(Class::Administration);
        assert_eq!(turn(&mut pace).await.unwrap(), Some(SLOW_READ_BYTES));
        settle(&mut pace).await;
        assert_eq!(ask(&mut pace), Poll::Ready(None));
    });
}
