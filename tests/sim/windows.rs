//! The windows of a conversation against a plain list of everything that was ever heard.

use munadi::state::windows::{LATE_MS_MAX, Open, Windows};
use munadi::types::proto::v1::Direction;
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Moment};

use crate::luck::Luck;
use crate::number;

const CASES: u64 = 20_000;

/// Days on which clocks are turned somewhere, or a second was put in: 2016-12-31, 2026-03-08,
/// 2026-03-29, 2026-10-25, 2026-11-01.
const ODD_DAYS: [i64; 5] = [17_166, 20_520, 20_541, 20_751, 20_758];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    Inbound,
    Outbound,
    Referral,
}

/// Everything that was heard, looked at anew for each question. Its lengths are its own.
#[derive(Debug, Default)]
pub(crate) struct Naive(pub(crate) Vec<(Event, i64)>);

impl Naive {
    fn times(&self, wanted: Event) -> impl Iterator<Item = i64> {
        self.0.iter().filter(move |(event, _)| *event == wanted).map(|(_, ms)| *ms)
    }

    pub(crate) fn at(&self, at: i64) -> Open {
        let inbound: Vec<_> = self.times(Event::Inbound).collect();
        let mut answers = Vec::new();
        for referral in self.times(Event::Referral) {
            let first = self.times(Event::Outbound).filter(|reply| *reply >= referral).min();
            answers.extend(first.filter(|reply| *reply - referral < 86_400_000));
        }
        Open {
            service_until: end(&inbound, 86_400_000, at),
            free_entry_until: end(&answers, 259_200_000, at),
        }
    }
}

/// Follows windows of one length from `at` to where none goes on.
fn end(starts: &[i64], length: i64, at: i64) -> Option<Moment> {
    let open = starts.iter().filter(|start| **start <= at && at - **start < length);
    let mut end = *open.max()? + length;
    while let Some(next) = starts.iter().filter(|start| **start <= end).max()
        && next + length > end
    {
        end = next + length;
    }
    Some(Moment(end))
}

/// Returns a time at an edge of something heard before, or any.
fn near(luck: &mut Luck, naive: &Naive, now: i64) -> i64 {
    if naive.0.is_empty() || luck.chance(300) {
        return now - luck.between(0, 4 * DAY_MS);
    }
    let (_, base) = *luck.pick(&naive.0);
    let lengths = [0, DAY_MS, 3 * DAY_MS, 2 * DAY_MS, 4 * DAY_MS, -DAY_MS, -3 * DAY_MS, HOUR_MS];
    base + luck.pick(&lengths) + luck.between(-1, 2)
}

fn case(seed: u64) {
    let mut luck = Luck::new(seed);
    let mut now = *luck.pick(&ODD_DAYS) * DAY_MS + DAY_MS - 1_000;
    let (mut windows, mut naive) = (Windows::default(), Naive::default());
    for _ in 0..=luck.below(40) {
        now += luck.between(0, 4) * luck.between(0, 20 * HOUR_MS);
        // What the engine takes: three days late, five minutes early.
        let oldest = now - 3 * DAY_MS;
        let (mut event, mut event_ms) = match luck.below(8) {
            0..3 => (Event::Inbound, near(&mut luck, &naive, now)),
            3..6 => (Event::Outbound, near(&mut luck, &naive, now)),
            _ => (Event::Referral, near(&mut luck, &naive, now)),
        };
        if !naive.0.is_empty() && luck.chance(100) {
            // The same again.
            (event, event_ms) = *luck.pick(&naive.0);
        }
        event_ms = event_ms.clamp(oldest, now + 5 * MINUTE_MS);
        naive.0.push((event, event_ms));
        match event {
            Event::Inbound => windows.hear(Direction::Inbound, event_ms),
            Event::Outbound => windows.hear(Direction::Outbound, event_ms),
            Event::Referral => windows.refer(event_ms),
        }
        for _ in 0..4 {
            let at = near(&mut luck, &naive, now).max(oldest);
            let (ours, theirs) = (windows.at(Moment(at)), naive.at(at));
            let replay = format!("WINDOW_SEED={seed} cargo sim windows");
            assert_eq!(ours, theirs, "at {at} after {naive:?}\n{replay}");
        }
    }
}

#[test]
fn what_comes_later_than_events_may_come_is_not_heard() {
    let newest = 10 * DAY_MS;
    let mut windows = Windows::default();
    windows.hear(Direction::Outbound, newest);
    windows.hear(Direction::Inbound, newest - LATE_MS_MAX - 1);
    assert_eq!(windows.service_end(), None);
    windows.hear(Direction::Inbound, newest - LATE_MS_MAX);
    assert_eq!(windows.service_end(), Some(Moment(newest - LATE_MS_MAX + DAY_MS)));
}

#[test]
fn windows_agree_with_a_model_that_forgets_nothing() {
    if let Some(seed) = number("WINDOW_SEED") {
        return case(seed);
    }
    let cases = number("WINDOW_CASES").unwrap_or(CASES);
    (0..cases).for_each(case);
    println!("{cases} histories of windows agree");
}
