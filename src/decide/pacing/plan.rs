//! The spending plan: which share of a budget's traffic comes when, from the shape of a market's week.
//!
//! Traffic is counted in *average days*: an hour of the week weighs what share of an average day's
//! requests it brings. A plan is the list of hours from when a budget begins to when it ends, in real
//! order, each with its hour of the week on the market's wall clock. So a day of 23 or 25 hours, hours
//! outside the schedule, a start at noon and a lifetime of many days are all the same kind of plan.

/// Hours of a week.
pub const WEEK_HOURS: usize = 168;

const DAYS_OF_WEEK: f64 = 7.0;

/// What part of a shape is the uniform one: no hour is ever taken for empty.
const UNIFORM: f64 = 0.05;

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
    /// How many real minutes: 60, less at the ends of a budget, or of an hour with a change of the clock.
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

    /// Returns the traffic before a minute since the beginning, average days; all of it after the end.
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
