//! Goal events of an ad set with a cost cap: those predicted of what is charged, and those that come.
//!
//! An event that is charged promises what its rates say will follow. What comes of it comes within
//! the hour: a click to chat takes minutes (ALGORITHMS 5). So promises are kept by the minute of
//! the ad they are of, and once they are an hour old they are *ripe*: what came of them by then,
//! and what comes late, tells how true predictions are. Sales come for days, so nothing of them
//! ripens, and their predictions stand.

use std::collections::VecDeque;

use crate::decide::auction::Aim;
use crate::decide::rates::Rates;
use crate::state::paces::Goals;
use crate::types::day::Day;
use crate::types::proto::journal::v1::Showing;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::v1::{BillingEvent, EventKind, OptimizationGoal};
use crate::types::time::Moment;

/// Minutes after which a promise is ripe.
pub const RIPE_MINUTES: u32 = 60;

/// Predicted events are told in parts of 65,536 and summed a thousand times finer: one impression
/// promises little of a sale.
const FINER: i64 = 1_000;
const EVENT_ONE: i64 = 65_536 * FINER;

/// When so many ripe ones are remembered of any day, they and what came of them count half.
const LATELY_MAX: i64 = 1_000 * EVENT_ONE;

/// What was promised of ads of one minute, and what came of it.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    minute: u32,
    predicted: i64,
    real: u64,
}

/// The goal events of one ad set. Predicted ones are in parts of [`EVENT_ONE`].
#[derive(Clone, Debug)]
pub struct GoalCount {
    aim: Aim,
    /// The number of the day, and its first minute.
    day: i32,
    since: u32,
    /// No bucket is of an earlier minute: what is told late of one counts in this.
    floor: u32,
    predicted: i64,
    ripe: i64,
    seen: u64,
    real: u64,
    lately_ripe: i64,
    lately_seen: u64,
    /// What is not ripe, ascending by minute: at most an hour and what clocks run ahead.
    young: VecDeque<Bucket>,
}

impl GoalCount {
    /// Returns the count whose numbers were told in this minute of a day: none, or what was
    /// journaled. What was not ripe then is taken to be of that minute.
    pub fn restore(aim: Aim, goals: Goals, day: Day, minute: u32) -> Self {
        let lump = Bucket {
            minute,
            predicted: (goals.predicted - goals.ripe) * FINER,
            real: goals.real.saturating_sub(goals.seen),
        };
        let ripens = aim.goal != OptimizationGoal::Conversions;
        Self {
            aim,
            day: day.number,
            since: day.start.minute(),
            floor: minute,
            predicted: goals.predicted * FINER,
            ripe: goals.ripe * FINER,
            seen: goals.seen,
            real: goals.real,
            lately_ripe: goals.lately_ripe * FINER,
            lately_seen: goals.lately_seen,
            young: ripens.then_some(lump).into_iter().collect(),
        }
    }

    /// Takes a valid fact of the ad set in. `rates` are those that its ad was sold by.
    pub fn note(&mut self, fact: &Kind, rates: Rates) {
        let Some((minute, billed, goal)) = self.read(fact) else { return };
        let ripens = self.aim.goal != OptimizationGoal::Conversions;
        if billed {
            // What one billed event is worth where a goal event is worth `EVENT_ONE`.
            let per = if self.aim.is_per_thousand() { EVENT_ONE * 1_000 } else { EVENT_ONE };
            let events = self.aim.worth_of_event(per, rates);
            self.predicted += events;
            if ripens {
                // It is charged today, whenever its ad was handed out.
                self.bucket(minute.max(self.since)).predicted += events;
            }
        }
        if goal && ripens {
            let today = minute >= self.since;
            self.real += u64::from(today);
            if today || minute >= self.floor {
                self.bucket(minute).real += 1;
            } else {
                self.lately_seen += 1;
            }
        }
    }

    /// Returns the minute of the ad that a fact is of, whether it is what is charged, and how it
    /// counts as a goal; `None`: not at all. Of an ad that is charged by the tap the tap's minute.
    fn read(&self, fact: &Kind) -> Option<(u32, bool, bool)> {
        let Aim { billing, goal } = self.aim;
        let issued = |showing: &Option<Showing>| {
            Moment::from_seconds(showing.as_ref().map_or(0, |showing| showing.issued_s))
        };
        let by_tap = billing == BillingEvent::LinkClicks;
        let told = |at: Moment, billed: BillingEvent, goals: &[OptimizationGoal]| {
            Some((at.minute(), billing == billed, goals.contains(&goal)))
        };
        match fact {
            Kind::ImpressionSeen(fact) if fact.invalid == 0 => {
                let goals = [OptimizationGoal::Impressions, OptimizationGoal::Reach];
                told(issued(&fact.showing), BillingEvent::Impressions, &goals)
            }
            Kind::Watched(fact)
                if fact.invalid == 0 && fact.event_kind == EventKind::Viewable as u32 =>
            {
                let goals = [OptimizationGoal::ViewableImpressions];
                told(issued(&fact.showing), BillingEvent::Unspecified, &goals)
            }
            Kind::Tapped(fact) if fact.invalid == 0 => {
                let at = if by_tap { Moment(fact.event_ms) } else { issued(&fact.showing) };
                told(at, BillingEvent::LinkClicks, &[OptimizationGoal::LinkClicks])
            }
            Kind::ClickMatched(fact) if fact.invalid == 0 => {
                let at = if by_tap { Moment(fact.touch_ms) } else { issued(&fact.showing) };
                let goals = [OptimizationGoal::Conversations, OptimizationGoal::LinkClicks];
                let goals = if fact.implied_tap { &goals[..] } else { &goals[..1] };
                let charged_by_tap = by_tap && fact.tap_billed;
                let billed = if charged_by_tap { billing } else { BillingEvent::Conversations };
                told(at, billed, goals)
            }
            _ => None,
        }
    }

    fn bucket(&mut self, minute: u32) -> &mut Bucket {
        let minute = minute.max(self.floor);
        let at = self.young.partition_point(|bucket| bucket.minute < minute);
        if self.young.get(at).is_none_or(|bucket| bucket.minute != minute) {
            self.young.insert(at, Bucket { minute, ..Bucket::default() });
        }
        &mut self.young[at]
    }

    /// Lets time pass up to now, on this day.
    pub fn pass(&mut self, day: Day, now: Moment) {
        if day.number != self.day {
            (self.day, self.since) = (day.number, day.start.minute());
            (self.predicted, self.ripe, self.seen, self.real) = (0, 0, 0, 0);
        }
        let end = (now.minute() + 1).saturating_sub(RIPE_MINUTES);
        while let Some(bucket) = self.young.pop_front_if(|bucket| bucket.minute < end) {
            let Bucket { minute, predicted, real } = bucket;
            if minute >= self.since {
                self.ripe += predicted;
                self.seen += real;
            }
            self.lately_ripe += predicted;
            self.lately_seen += real;
            while self.lately_ripe > LATELY_MAX {
                self.lately_ripe /= 2;
                self.lately_seen /= 2;
            }
        }
        self.floor = self.floor.max(end);
    }

    /// Returns what there is to tell, and to journal.
    pub const fn told(&self) -> Goals {
        Goals {
            predicted: self.predicted / FINER,
            ripe: self.ripe / FINER,
            seen: self.seen,
            real: self.real,
            lately_ripe: self.lately_ripe / FINER,
            lately_seen: self.lately_seen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::hash::mix;
    use crate::types::proto::journal::v1::{
        ClickMatched, ConversionCredited, ImpressionSeen, Tapped, Watched,
    };
    use crate::types::time::MINUTE_MS;

    const HALF: Rates = Rates { tap: 32_768, chat: 32_768, viewable: 32_768, sale: 32_768 };
    const TAPS: Aim =
        Aim { billing: BillingEvent::Impressions, goal: OptimizationGoal::LinkClicks };
    /// A day of 300 minutes.
    const DAY_MINUTES: u32 = 300;

    fn at(minute: u32) -> Moment {
        Moment(i64::from(minute) * MINUTE_MS)
    }

    fn day(minute: u32) -> Day {
        let number = minute / DAY_MINUTES;
        let start = number * DAY_MINUTES;
        Day { number: number as i32, start: at(start), until: at(start + DAY_MINUTES) }
    }

    fn begin(aim: Aim, minute: u32) -> GoalCount {
        GoalCount::restore(aim, Goals::default(), day(minute), minute)
    }

    fn shown(minute: u32) -> Option<Showing> {
        Some(Showing { issued_s: at(minute).seconds(), ..Showing::default() })
    }

    fn seen(minute: u32) -> Kind {
        Kind::ImpressionSeen(ImpressionSeen { showing: shown(minute), ..Default::default() })
    }

    fn tapped(minute: u32) -> Kind {
        let event_ms = at(minute + 5).0;
        Kind::Tapped(Tapped { showing: shown(minute), event_ms, ..Default::default() })
    }

    /// Each fact of a day in a list, looked at whole whenever it is asked.
    #[derive(Default)]
    struct Slow(Vec<(u32, bool)>);

    impl Slow {
        fn told(&self, now: u32) -> (usize, usize, usize, usize) {
            let count = |promised: bool, until: u32| {
                let of = |fact: &&(u32, bool)| fact.1 == promised && fact.0 < until;
                self.0.iter().filter(of).count()
            };
            let end = (now + 1).saturating_sub(RIPE_MINUTES);
            let all = |promised| count(promised, u32::MAX);
            (all(true), count(true, end), count(false, end), all(false))
        }
    }

    #[test]
    fn a_days_sums_are_those_of_a_slow_list() {
        for seed in 0..2_000_u64 {
            let (mut count, mut slow) = (begin(TAPS, DAY_MINUTES), Slow::default());
            let mut roll = mix(seed);
            for now in DAY_MINUTES..2 * DAY_MINUTES {
                for _ in 0..roll % 3 {
                    roll = mix(roll);
                    let minute = now - ((roll >> 8) as u32 % 120).min(now - DAY_MINUTES);
                    let promised = roll & 1 == 0;
                    let fact = if promised { seen(minute) } else { tapped(minute) };
                    count.note(&fact, HALF);
                    slow.0.push((minute, promised));
                }
                roll = mix(roll);
                count.pass(day(now), at(now));
                let Goals { predicted, ripe, seen, real, .. } = count.told();
                let halves = |sum: i64| (sum as f64 / 32_768.0).round() as usize;
                let found = (halves(predicted), halves(ripe), seen as usize, real as usize);
                assert_eq!(found, slow.told(now), "seed {seed}, minute {now}");
                assert!(count.young.len() <= RIPE_MINUTES as usize + 1);
            }
        }
    }

    #[test]
    fn what_is_journaled_ripens_again_and_nothing_is_lost_or_doubled() {
        let mut count = begin(TAPS, DAY_MINUTES);
        (DAY_MINUTES..DAY_MINUTES + 90).for_each(|minute| {
            count.note(&seen(minute), HALF);
            count.note(&tapped(minute), HALF);
            count.pass(day(minute), at(minute));
        });
        let told = count.told();
        assert_eq!((told.seen, told.real), (30, 90));
        let last = DAY_MINUTES + 89;
        let mut again = GoalCount::restore(TAPS, told, day(last), last);
        assert_eq!(again.told(), told);
        // Late, of what was not ripe then: it counts with that.
        again.note(&tapped(last - 10), HALF);
        for (minute, seen) in [(last + RIPE_MINUTES - 1, 30), (last + RIPE_MINUTES, 91)] {
            again.pass(day(minute), at(minute));
            assert_eq!(again.told().seen, seen, "{minute}");
        }
        assert_eq!(again.told().ripe, told.predicted);
    }

    #[test]
    fn a_day_that_is_over_tells_the_next_how_true_predictions_are() {
        let halves = |sum: i64| (sum as f64 / 32_768.0).round();
        let mut count = begin(TAPS, 0);
        (0..8).for_each(|_| count.note(&seen(10), HALF));
        (0..4).for_each(|_| count.note(&tapped(10), HALF));
        // Of the last minute of the day: one is charged and tapped in it, one is on the next.
        let last = DAY_MINUTES - 1;
        count.note(&seen(last), HALF);
        count.pass(day(last), at(last));
        count.pass(day(DAY_MINUTES), at(DAY_MINUTES));
        count.note(&seen(last), HALF);
        count.note(&tapped(last), HALF);
        count.pass(day(DAY_MINUTES + 59), at(DAY_MINUTES + 59));
        let Goals { predicted, ripe, seen, real, lately_ripe, lately_seen } = count.told();
        assert_eq!((halves(predicted), ripe, seen, real), (1.0, 0, 0, 0));
        assert_eq!((halves(lately_ripe), lately_seen), (9.0, 5));
        // A day late.
        count.note(&tapped(10), HALF);
        count.pass(day(DAY_MINUTES + 60), at(DAY_MINUTES + 60));
        let Goals { ripe, lately_ripe, lately_seen, .. } = count.told();
        assert_eq!((halves(ripe), halves(lately_ripe), lately_seen), (1.0, 10.0, 6));
    }

    #[test]
    fn of_earlier_days_the_last_thousand_are_remembered() {
        let mut count = begin(TAPS, 0);
        for now in 0..5_000 {
            count.note(&seen(now), HALF);
            if now % 2 == 0 || now > 3_000 {
                count.note(&tapped(now), HALF);
            }
            count.pass(day(now), at(now));
            let Goals { lately_ripe, lately_seen, .. } = count.told();
            let (ripe, truth) = (lately_ripe >> 16, lately_seen as f64 / (lately_ripe as f64));
            assert!(ripe <= 1_000 && (now < 1_500 || ripe >= 499), "{ripe} at {now}");
            // A half of all views are promised.
            let truth = truth * 65_536.0;
            assert!(!(1_000..3_000).contains(&now) || (truth - 1.0).abs() < 0.01, "{truth}");
            assert!(now < 4_990 || truth > 1.5, "{truth} of late");
        }
    }

    #[test]
    fn each_goal_is_told_by_its_own_fact_and_a_promise_by_what_is_charged() {
        use BillingEvent::{Conversations as Chats, Impressions, LinkClicks as Taps};
        let showing = shown(3);
        let matched = |implied_tap, invalid| {
            let touch_ms = at(8).0;
            let fact =
                ClickMatched { showing, touch_ms, implied_tap, invalid, ..Default::default() };
            Kind::ClickMatched(fact)
        };
        let watched = |event_kind: EventKind| {
            let event_kind = event_kind as u32;
            Kind::Watched(Watched { showing, event_kind, ..Default::default() })
        };
        let sold = ConversionCredited { showing, ..Default::default() };
        let facts = [
            seen(3),
            watched(EventKind::Viewable),
            watched(EventKind::Video25),
            tapped(3),
            matched(false, 0),
            matched(true, 0),
            matched(true, 7),
            Kind::ConversionCredited(Box::new(sold)),
        ];
        for (billing, goal, promised, came) in [
            (Impressions, OptimizationGoal::Impressions, 1.0, 1),
            (Impressions, OptimizationGoal::ViewableImpressions, 0.5, 1),
            (Impressions, OptimizationGoal::LinkClicks, 0.5, 2),
            (Impressions, OptimizationGoal::Conversations, 0.25, 2),
            (Impressions, OptimizationGoal::Conversions, 0.125, 0),
            (Taps, OptimizationGoal::LinkClicks, 1.0, 2),
            (Taps, OptimizationGoal::Conversations, 0.5, 2),
            (Chats, OptimizationGoal::Conversations, 2.0, 2),
            (Chats, OptimizationGoal::Conversions, 1.0, 0),
        ] {
            let mut count = begin(Aim { billing, goal }, 0);
            facts.iter().for_each(|fact| count.note(fact, HALF));
            count.pass(day(70), at(70));
            let Goals { predicted, ripe, seen, real, .. } = count.told();
            let events = predicted as f64 / 65_536.0;
            assert!((events - promised).abs() < 1e-3, "{billing:?} {goal:?}: {events}");
            assert_eq!((seen, real), (came, came), "{billing:?} {goal:?}");
            let ripens = goal != OptimizationGoal::Conversions;
            assert_eq!(ripe, if ripens { predicted } else { 0 }, "{billing:?} {goal:?}");
        }
    }

    #[test]
    fn a_tap_that_its_chat_tells_of_promises_where_it_is_charged() {
        let billing = BillingEvent::LinkClicks;
        for (goal, tap_billed, promised) in [
            (OptimizationGoal::LinkClicks, false, 0.0),
            (OptimizationGoal::LinkClicks, true, 1.0),
            (OptimizationGoal::Conversations, true, 0.5),
        ] {
            let (showing, touch_ms, implied_tap) = (shown(3), at(8).0, true);
            let fact =
                ClickMatched { showing, touch_ms, implied_tap, tap_billed, ..Default::default() };
            let mut count = begin(Aim { billing, goal }, 0);
            count.note(&Kind::ClickMatched(fact), HALF);
            count.pass(day(70), at(70));
            let Goals { predicted, real, .. } = count.told();
            assert!((predicted as f64 / 65_536.0 - promised).abs() < 1e-3, "{goal:?}: {predicted}");
            assert_eq!(real, 1, "{goal:?}");
        }
    }
}
