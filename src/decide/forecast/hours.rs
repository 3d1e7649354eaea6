//! The requests that a draft is meant for, laid out hour by hour: what pacing searches.

use std::ops::Range;

use crate::decide::forecast::offers::{DAY_TICKS, FIRST, Offers, Step};
use crate::decide::pacing::ease;
use crate::decide::pacing::plan::UNIFORM;

/// The steps of the requests of one viewer in one hour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) viewer: u32,
    /// Where its steps end; they begin where those of the one before end.
    pub(super) end: u32,
}

/// One hour, cut where a day ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Hour {
    pub(super) segments: Range<usize>,
    pub(super) steps: Range<usize>,
    /// Requests.
    pub(super) traffic: f64,
    /// A tick of it.
    pub(super) tick: u32,
}

/// The steps of a draft hour by hour.
#[derive(Debug, Default)]
pub(super) struct Hours {
    /// By [`Offers::slot`].
    pub(super) hours: Vec<Hour>,
    pub(super) segments: Vec<Segment>,
    pub(super) steps: Vec<Step>,
    /// Of each hour, ascending.
    pub(super) keys: Vec<u64>,
    pub(super) viewers: usize,
}

impl Hours {
    /// Lays out the steps anew. Takes some ten milliseconds for a full log.
    pub(super) fn of(offers: &Offers) -> Self {
        let mut hours: Vec<Hour> = Vec::new();
        each(offers, |slot, _, step, is_new| {
            if hours.len() <= slot {
                hours.resize(slot + 1, Hour::default());
            }
            let hour = &mut hours[slot];
            hour.steps.end += 1;
            hour.segments.end += usize::from(is_new);
            hour.traffic += f64::from(u8::from(step.mark & FIRST != 0));
            hour.tick = step.tick();
        });
        let (mut steps, mut segments) = (0, 0);
        for hour in &mut hours {
            let (more_steps, more_segments) = (hour.steps.end, hour.segments.end);
            // Ends move on as they are filled.
            (hour.steps, hour.segments) = (steps..steps, segments..segments);
            (steps, segments) = (steps + more_steps, segments + more_segments);
        }
        let mut all = Self {
            hours,
            segments: vec![Segment { viewer: 0, end: 0 }; segments],
            steps: vec![Step { key: 0, pay: 0.0, mark: 0 }; steps],
            keys: vec![0; steps],
            viewers: offers.runs.len(),
        };
        each(offers, |slot, viewer, step, is_new| {
            let hour = &mut all.hours[slot];
            let at = hour.steps.end;
            (all.steps[at], all.keys[at]) = (*step, step.key);
            hour.steps.end += 1;
            hour.segments.end += usize::from(is_new);
            let end = hour.steps.end as u32;
            all.segments[hour.segments.end - 1] = Segment { viewer, end };
        });
        for hour in &all.hours {
            all.keys[hour.steps.clone()].sort_unstable();
        }
        all
    }
}

/// What of a day's plan is still to come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Day {
    /// Which hour is the first behind it.
    pub(super) end: usize,
    /// Added to each hour's requests: plans are partly even.
    even: f64,
    whole: f64,
    left: f64,
}

impl Day {
    /// Returns the plan of the day that begins with an hour.
    pub(super) fn of(hours: &[Hour], begin: usize) -> Self {
        let number = hours[begin].tick / DAY_TICKS;
        let is_in = |hour: &&Hour| hour.traffic == 0.0 || hour.tick / DAY_TICKS == number;
        let of_day = hours[begin..].iter().take_while(is_in);
        let (mut count, mut traffic, mut open) = (0, 0.0, 0.0);
        for hour in of_day {
            count += 1;
            traffic += hour.traffic;
            open += f64::from(u8::from(hour.traffic > 0.0));
        }
        let even = traffic / open * UNIFORM / (1.0 - UNIFORM);
        let whole = traffic + even * open;
        Self { end: begin + count, even, whole, left: whole }
    }

    /// Lets an hour of so many requests pass; returns which part of what is left a budget spends in it, if the
    /// plan is solved anew all the time.
    pub(super) fn pass(&mut self, traffic: f64) -> f64 {
        let before = self.left;
        self.left = (self.left - traffic - self.even).max(0.0);
        let middle = self.whole - f64::midpoint(before, self.left);
        1.0 - (self.left / before).powf(ease(middle / self.whole, 1.0))
    }
}

/// Shows every step with its hour, its viewer's number, and whether that is its viewer's first of the hour.
fn each(offers: &Offers, mut show: impl FnMut(usize, u32, &Step, bool)) {
    let mut begin = 0;
    for (viewer, run) in (0..).zip(&offers.runs) {
        let mut last = usize::MAX;
        for step in &offers.steps[begin..run.end as usize] {
            let slot = offers.slot(step.tick());
            show(slot, viewer, step, slot != last);
            last = slot;
        }
        begin = run.end as usize;
    }
}
