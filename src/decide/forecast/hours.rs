//! The requests that a draft is meant for, laid out hour by hour: what pacing searches.

use std::ops::Range;

use crate::decide::forecast::offers::{FIRST, Offers, Step};

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
