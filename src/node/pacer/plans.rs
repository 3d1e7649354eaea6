//! When the rest of a budget's traffic comes: spending plans, made from what was asked lately in its market,
//! and shared by all budgets of the same market, zone, schedule and span.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decide::pacing::plan::{Plan, Shape, Slot, WEEK_HOURS};
use crate::node::live::Live;
use crate::state::Map;
use crate::state::shapes::Shapes;
use crate::types::day::{Day, day_of, hour_of_week_in};
use crate::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Moment};
use crate::types::week::Week;

/// Days that are planned hour by hour; what lies behind them is taken for average ones. A life without an end
/// is planned as one of so many days from each day on.
pub(super) const PLANNED_DAYS: i64 = 28;

const DAY_HOURS: usize = 24;

/// Returns which part of a week some hours are.
fn share(hours: Week) -> f64 {
    hours.hours().count() as f64 / WEEK_HOURS as f64
}

/// What a plan is of.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Span {
    /// The account's zone.
    pub(super) zone: Arc<str>,
    /// Countries, ascending; none: all.
    pub(super) market: Arc<[u16]>,
    pub(super) hours: Week,
    /// When the budget begins: the first moment of the plan.
    pub(super) begin_ms: i64,
    /// Before it nothing runs.
    pub(super) start_ms: i64,
    /// When the budget ends, or what it pays for.
    pub(super) end_ms: i64,
}

/// A plan with its place in time.
#[derive(Debug)]
pub(super) struct Spanned {
    begin: Moment,
    plan: Plan,
    /// Traffic behind what was planned hour by hour, average days.
    tail: f64,
}

impl Spanned {
    /// Returns the traffic between two moments, average days.
    pub(super) fn between(&self, from: Moment, to: Moment) -> f64 {
        self.plan.between(self.minute(from), self.minute(to))
    }

    /// Returns the traffic that is left, average days.
    pub(super) fn left(&self, now: Moment) -> f64 {
        self.plan.left(self.minute(now)) + self.tail
    }

    /// Returns the minutes until the last that is open.
    pub(super) fn minutes_left(&self, now: Moment) -> u32 {
        self.plan.minutes().saturating_sub(self.minute(now))
    }

    fn minute(&self, at: Moment) -> u32 {
        u32::try_from((at.0 - self.begin.0).max(0) / MINUTE_MS).unwrap_or(u32::MAX)
    }
}

/// A zone's clock, and the countries whose traffic counts.
type Market = (Arc<str>, Arc<[u16]>);

/// The plans of this hour, made when first asked for.
#[derive(Default)]
pub(super) struct Plans {
    hour: u32,
    days: Map<Arc<str>, Day>,
    shapes: Map<Market, Arc<Shape>>,
    plans: Map<Span, Arc<Spanned>>,
    /// Plans that were made since [`Plans::renew`].
    made: usize,
}

impl Plans {
    /// Begins a step: forgets what an earlier hour was planned by.
    pub(super) fn renew(&mut self, now: Moment) {
        self.made = 0;
        if self.hour != now.hour() {
            self.hour = now.hour();
            self.shapes.clear();
            self.plans.clear();
        }
    }

    /// Returns how many plans this step has made.
    pub(super) const fn made(&self) -> usize {
        self.made
    }

    /// Returns the day of a zone.
    pub(super) fn day(&mut self, zone: &Arc<str>, now: Moment) -> Day {
        let day = self.days.entry(Arc::clone(zone)).or_insert_with(|| day_of(zone, now));
        if now < day.start || day.until <= now {
            *day = day_of(zone, now);
        }
        *day
    }

    /// Returns the plan of a span.
    pub(super) fn of(&mut self, span: &Span, live: &Live, now: Moment) -> Arc<Spanned> {
        if let Some(known) = self.plans.get(span) {
            return Arc::clone(known);
        }
        let key = (Arc::clone(&span.zone), Arc::clone(&span.market));
        let shape = self.shapes.entry(key).or_insert_with(|| {
            let shapes = live.shapes();
            Arc::new(shape_of(&shapes, &span.zone, &span.market, now))
        });
        let plan = Arc::new(planned(span, shape));
        self.plans.insert(span.clone(), Arc::clone(&plan));
        self.made += 1;
        plan
    }
}

/// Plans a span hour by hour, from its beginning to the last hour that is open.
fn planned(span: &Span, shape: &Shape) -> Spanned {
    let last = span.end_ms.min(span.begin_ms + PLANNED_DAYS * DAY_MS);
    let (mut slots, mut open, mut at) = (Vec::new(), 0, span.begin_ms);
    while at < last {
        // Hours begin with the span: at midnight of the zone, so its clocks show whole ones.
        let whole = span.begin_ms + ((at - span.begin_ms) / HOUR_MS + 1) * HOUR_MS;
        let mut until = whole.min(last);
        if at < span.start_ms && span.start_ms < until {
            until = span.start_ms;
        }
        let hour = hour_of_week_in(&span.zone, Moment(at));
        let is_open = at >= span.start_ms && span.hours.has(hour);
        // Ends are told in milliseconds: what is less than a minute counts as one, so no slot is empty.
        let minutes = (until - at + MINUTE_MS - 1) / MINUTE_MS;
        slots.push(Slot { minutes: minutes as u16, hour, open: is_open });
        if is_open {
            open = slots.len();
        }
        at = until;
    }
    slots.truncate(open);
    let behind = (span.end_ms - last.max(span.start_ms)).max(0) as f64 / DAY_MS as f64;
    let tail = behind * share(span.hours);
    Spanned { begin: Moment(span.begin_ms), plan: Plan::new(shape, slots), tail }
}

/// Returns the shape of a market's week on a zone's clocks: the average of each hour of the week where it
/// was counted, else that of its hour of the day, else that of all. Hours that are not whole are left out.
fn shape_of(shapes: &Shapes, zone: &str, market: &[u16], now: Moment) -> Shape {
    let mut counted = BTreeMap::<u32, u64>::new();
    let all: Vec<u32> = match market {
        [] => shapes.markets().collect(),
        some => some.iter().map(|country| u32::from(*country)).collect(),
    };
    for country in all {
        for (hour, requests) in shapes.of(country) {
            *counted.entry(hour).or_default() += requests;
        }
    }
    let first = counted.keys().next().map_or(u32::MAX, |first| first + 1);
    let (mut weeks, mut days) = ([(0.0, 0.0); WEEK_HOURS], [(0.0, 0.0); DAY_HOURS]);
    for hour in first..now.hour().max(first) {
        let at = usize::from(hour_of_week_in(zone, Moment(i64::from(hour) * HOUR_MS)));
        let requests = counted.get(&hour).copied().unwrap_or_default() as f64;
        for sum in [&mut weeks[at], &mut days[at % DAY_HOURS]] {
            *sum = (sum.0 + requests, sum.1 + 1.0);
        }
    }
    let (requests, hours) = days.iter().fold((0.0, 0.0), |all, day| (all.0 + day.0, all.1 + day.1));
    let mean = if hours > 0.0 { requests / hours } else { 0.0 };
    Shape::of(&std::array::from_fn(|at| match (weeks[at], days[at % DAY_HOURS]) {
        ((sum, count), _) if count > 0.0 => sum / count,
        (_, (sum, count)) if count > 0.0 => sum / count,
        _ => mean,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Moment {
        Moment(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond())
    }

    fn plan(zone: &str, hours: Week, from: &str, to: &str) -> Spanned {
        let span = Span {
            zone: zone.into(),
            market: [].into(),
            hours,
            begin_ms: at(from).0,
            start_ms: i64::MIN,
            end_ms: at(to).0,
        };
        planned(&span, &Shape::default())
    }

    #[test]
    fn a_day_of_a_changing_clock_has_23_or_25_hours() {
        let zone = "America/New_York";
        let short = plan(zone, Week::ALL, "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z");
        assert_eq!(short.plan.minutes(), 23 * 60);
        let long = plan(zone, Week::ALL, "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z");
        assert_eq!(long.plan.minutes(), 25 * 60);
        // Open from 01:00 to 01:59, which comes twice when the clocks go back.
        let night = Week::of(&[6 * 24 + 1]).unwrap();
        let twice = plan(zone, night, "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z");
        assert!((twice.left(at("2026-11-01T04:00:00Z")) - 2.0 / 24.0).abs() < 1e-9);
    }

    #[test]
    fn a_plan_ends_with_its_last_open_hour() {
        // Monday, 09:00 to 16:59.
        let office = Week::of(&(9..17).collect::<Vec<_>>()).unwrap();
        let day = plan("UTC", office, "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z");
        let left = |time| (day.left(at(time)) * 24.0, day.minutes_left(at(time)));
        let near = |(hours, minutes): (f64, u32), wanted: f64, left| {
            assert!((hours - wanted).abs() < 1e-9 && minutes == left, "{hours} {minutes}");
        };
        near(left("2026-11-23T00:00:00Z"), 8.0, 17 * 60);
        near(left("2026-11-23T12:30:00Z"), 4.5, 270);
        near(left("2026-11-23T17:00:00Z"), 0.0, 0);
        let tuesday = plan("UTC", office, "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z");
        assert_eq!((tuesday.plan.minutes(), tuesday.tail), (0, 0.0));
    }

    #[test]
    fn a_long_life_is_average_days_behind_the_first_weeks() {
        let life = plan("UTC", Week::ALL, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
        assert!((life.left(at("2026-01-01T00:00:00Z")) - 365.0).abs() < 1e-6);
        assert!((life.left(at("2026-01-11T00:00:00Z")) - 355.0).abs() < 1e-6);
    }

    #[test]
    fn a_start_within_an_hour_is_planned_to_the_minute() {
        let begin = at("2026-11-23T00:00:00Z");
        let span = Span {
            zone: "UTC".into(),
            market: [].into(),
            hours: Week::ALL,
            begin_ms: begin.0,
            start_ms: begin.0 + 90 * MINUTE_MS,
            end_ms: begin.0 + 4 * HOUR_MS,
        };
        let plan = planned(&span, &Shape::default());
        assert!((plan.left(begin) * 24.0 - 2.5).abs() < 1e-9);
        assert_eq!(plan.minutes_left(begin), 240);
    }
}
