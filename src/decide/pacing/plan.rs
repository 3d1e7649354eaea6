//! The spending plan: which share of a budget's traffic comes when, from the shape of a market's
//! week.
//!
//! Traffic is counted in *average days*: an hour of the week weighs what share of an average day's
//! requests it brings. A plan is the list of hours from when a budget begins to when it ends, in
//! real order, each with its hour of the week on the market's wall clock. So a day of 23 or 25
//! hours, hours outside the schedule, a start at noon and a lifetime of many days are all the same
//! kind of plan.

/// Hours of a week.
pub const WEEK_HOURS: usize = 168;

const DAYS_OF_WEEK: f64 = 7.0;

/// What part of a shape is the uniform one: no hour is ever taken for empty.
pub const UNIFORM: f64 = 0.05;

/// Traffic by hour of the week of one market. Hour 0 begins the first day of the caller's week.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// In average days: they sum to 7.
    hours: [f64; WEEK_HOURS],
}

impl Default for Shape {
    fn default() -> Self {
        Self { hours: [DAYS_OF_WEEK / WEEK_HOURS as f64; WEEK_HOURS] }
    }
}

impl Shape {
    /// Returns the shape of counted requests, in any unit; uniform if there are none.
    pub fn of(requests: &[f64; WEEK_HOURS]) -> Self {
        let sum: f64 = requests.iter().map(|count| count.max(0.0)).sum();
        if sum <= 0.0 || !sum.is_finite() {
            return Self::default();
        }
        let uniform = DAYS_OF_WEEK / WEEK_HOURS as f64;
        let mixed =
            |count: f64| (1.0 - UNIFORM) * count.max(0.0) / sum * DAYS_OF_WEEK + UNIFORM * uniform;
        Self { hours: requests.map(mixed) }
    }

    /// Returns the shape of several markets together, each with its weight: requests a week, say.
    pub fn mixed<'a>(markets: impl IntoIterator<Item = (&'a Self, f64)>) -> Self {
        let mut sums = [0.0; WEEK_HOURS];
        for (shape, weight) in markets {
            sums.iter_mut()
                .zip(&shape.hours)
                .for_each(|(sum, hour)| *sum += hour * weight.max(0.0));
        }
        let sum: f64 = sums.iter().sum();
        if sum <= 0.0 {
            return Self::default();
        }
        Self { hours: sums.map(|hour| hour / sum * DAYS_OF_WEEK) }
    }
}

/// A run of minutes of one hour of the week.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Slot {
    /// How many real minutes: 60, less at the ends of a budget, or of an hour with a change of the
    /// clock.
    pub minutes: u16,
    /// Which hour of the week the market's wall clock shows, below [`WEEK_HOURS`].
    pub hour: u8,
    /// Whether the schedule lets the ad set run.
    pub open: bool,
}

/// Cumulative traffic from when a budget begins to when it ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Of each slot: the minute it ends at, and the traffic until then in average days.
    ends: Vec<(u32, f64)>,
}

impl Plan {
    /// Returns the plan of these slots. An hour beyond the week counts as one without traffic.
    pub fn new(shape: &Shape, slots: impl IntoIterator<Item = Slot>) -> Self {
        let (mut minute, mut traffic) = (0, 0.0);
        let end = |slot: Slot| {
            minute += u32::from(slot.minutes);
            let hour = shape.hours.get(usize::from(slot.hour)).copied().unwrap_or_default();
            if slot.open {
                traffic += hour * f64::from(slot.minutes) / 60.0;
            }
            (minute, traffic)
        };
        Self { ends: slots.into_iter().map(end).collect() }
    }

    /// Returns how many minutes the plan has.
    pub fn minutes(&self) -> u32 {
        self.ends.last().map_or(0, |end| end.0)
    }

    /// Returns the traffic before a minute since the beginning, average days; all of it after the
    /// end.
    pub fn until(&self, minute: u32) -> f64 {
        let at = self.ends.partition_point(|end| end.0 <= minute);
        let (begin, before) = if at == 0 { (0, 0.0) } else { self.ends[at - 1] };
        match self.ends.get(at) {
            Some(&(end, after)) => {
                let inside = f64::from(minute - begin) / f64::from(end - begin);
                before + (after - before) * inside
            }
            None => before,
        }
    }

    /// Returns the traffic of minutes `from..to` since the beginning, average days.
    pub fn between(&self, from: u32, to: u32) -> f64 {
        (self.until(to) - self.until(from)).max(0.0)
    }

    /// Returns the traffic from a minute on, average days.
    pub fn left(&self, minute: u32) -> f64 {
        self.between(minute, self.minutes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(hour: u8) -> Slot {
        Slot { minutes: 60, hour, open: true }
    }

    /// A week whose evenings, 18 to 24, have all but nothing beside them.
    fn evenings() -> Shape {
        Shape::of(&std::array::from_fn(|hour| if hour % 24 >= 18 { 1_000.0 } else { 0.0 }))
    }

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn a_week_is_seven_average_days_and_a_twentieth_of_it_is_even() {
        let plan = Plan::new(&evenings(), (0..168).map(slot));
        assert_eq!(plan.minutes(), 10_080);
        assert!(near(plan.left(0), 7.0));
        assert!(near(plan.between(0, 18 * 60), 0.05 * 0.75));
        assert!(near(plan.between(18 * 60, 18 * 60 + 30), (0.95 / 6.0 + 0.05 / 24.0) / 2.0));
    }

    #[test]
    fn days_of_23_and_25_hours_end_when_they_end() {
        let shape = Shape::default();
        let short = Plan::new(&shape, (0..24).filter(|hour| *hour != 2).map(slot));
        let long = Plan::new(&shape, (0..3).chain(2..24).map(slot));
        assert_eq!((short.minutes(), long.minutes()), (1_380, 1_500));
        assert!(near(short.left(0), 23.0 / 24.0) && near(long.left(0), 25.0 / 24.0));
        assert!(near(long.left(1_440), 1.0 / 24.0));
    }

    #[test]
    fn closed_hours_have_no_traffic_and_a_day_may_begin_and_end_inside_an_hour() {
        let begin = Slot { minutes: 20, hour: 9, open: true };
        let closed = Slot { open: false, ..slot(10) };
        let end = Slot { minutes: 30, hour: 11, open: true };
        let plan = Plan::new(&Shape::default(), [begin, closed, end]);
        assert_eq!(plan.minutes(), 110);
        assert!(near(plan.left(0), 50.0 / 1_440.0));
        assert!(near(plan.between(20, 80), 0.0));
        assert!(near(plan.left(95), 15.0 / 1_440.0));
        assert!(near(plan.left(5_000), 0.0));
        assert!(near(plan.between(90, 30), 0.0), "backwards");
    }

    #[test]
    fn an_empty_plan_and_a_shape_of_nothing_are_borne() {
        let none = Plan::new(&Shape::of(&[0.0; WEEK_HOURS]), []);
        assert!(near(none.until(7), 0.0) && none.minutes() == 0);
        let odd = [Slot { minutes: 0, ..slot(3) }, slot(200), slot(4)];
        assert!(near(Plan::new(&Shape::of(&[f64::NAN; WEEK_HOURS]), odd).left(0), 1.0 / 24.0));
    }

    #[test]
    fn markets_are_mixed_by_their_weight() {
        let (even, evenings) = (Shape::default(), evenings());
        let mixed = Shape::mixed([(&even, 1.0), (&evenings, 3.0)]);
        let of = |shape: &Shape| Plan::new(shape, [slot(0)]).left(0);
        assert!(near(of(&mixed), (of(&even) + 3.0 * of(&evenings)) / 4.0));
        assert_eq!(Shape::mixed([(&evenings, 0.0)]), even);
    }
}
