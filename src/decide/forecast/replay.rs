//! A day again, with the draft in it: frequency caps and distances in the order of time, viewer by viewer.

use crate::decide::forecast::offers::{
    DAY_TICKS, FIRST, HOUR_TICKS, OPENED, Offers, Part, Run, SEEN, Step, TAPPED,
};
use crate::decide::onlooker::Cap;
use crate::state::catalog::REACH_HOURS;
use crate::types::proto::v1::CapEvent;

/// Days of a sample, at most, and the one that was begun before the first.
pub(super) const DAYS_MAX: usize = 8;

/// Steps of the search for a threshold: enough to tell any two amounts and most of their lots apart.
const SEARCH_STEPS_MAX: usize = 48;

/// How near to the budget the search ends, in parts of it.
const NEAR: f64 = 1.0 / 500.0;

/// A search looks at one of so many people first, where those are enough.
const COARSE: usize = 16;

/// See [`COARSE`].
const COARSE_LEAST: usize = 500;

/// How far around the amount that a few people end at all of them are looked at: 4 %.
const AROUND: u64 = (1 << HALF_SHIFT) / 18;

/// Where the exponent of an amount begins in a key: 23 bits of its fraction and 32 others lie below.
pub(super) const HALF_SHIFT: u32 = 55;

/// What an ad is worth beside what a request asks: higher keys are lost.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Threshold {
    /// The same at all times.
    One(u64),
    /// By [`Offers::slot`].
    ByHour(Vec<u64>),
}

/// What came of one viewer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lot {
    /// Micros for 1,000 impressions each.
    pub(super) pay: f64,
    pub(super) impressions: u32,
    /// Impressions in the best placement that they are worth, and that would be tapped as often.
    pub(super) worth: f64,
    pub(super) taps: f64,
    /// Impressions by day.
    pub(super) days: [u16; DAYS_MAX],
}

/// What came of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    /// Micros.
    pub(super) spend: f64,
    pub(super) impressions: f64,
    /// Impressions in the best placement that they are worth.
    pub(super) worth: f64,
}

/// What was counted of one viewer in one hour, by [`CapEvent`].
#[derive(Clone, Copy, Debug, Default)]
struct Hour {
    hour: u32,
    counts: [u32; 4],
}

/// Replays at one threshold after the other; keeps its buffers.
pub(super) struct Replay<'a> {
    offers: &'a Offers,
    caps: &'a [Cap],
    /// Whether a viewer who was shown the ad lately is worth half as much, for each time.
    is_for_reach: bool,
    hours: Vec<Hour>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(offers: &'a Offers, caps: &'a [Cap], is_for_reach: bool) -> Self {
        Self { offers, caps, is_for_reach, hours: Vec::new() }
    }

    /// Runs the time at a threshold: what asks for no more is won. Shows each viewer who was reached.
    pub(super) fn run(&mut self, threshold: &Threshold, reached: impl FnMut(&Run, &Lot)) {
        let people = self.offers.runs.len();
        match threshold {
            Threshold::One(threshold) => self.run_first(people, |_| *threshold, reached),
            Threshold::ByHour(hours) => {
                let offers = self.offers;
                let of = |tick| hours.get(offers.slot(tick)).copied().unwrap_or_default();
                self.run_first(people, of, reached);
            }
        }
    }

    fn run_first(
        &mut self,
        people: usize,
        threshold: impl Fn(u32) -> u64,
        mut reached: impl FnMut(&Run, &Lot),
    ) {
        let mut begin = 0;
        for run in &self.offers.runs[..people] {
            let steps = &self.offers.steps[begin..run.end as usize];
            begin = run.end as usize;
            let lot = self.one(steps, &threshold);
            if lot.impressions > 0 {
                reached(run, &lot);
            }
        }
    }

    /// Returns the sum of all, from that of the first so many people. Their order is that of a hash.
    fn sum(&mut self, people: usize, threshold: u64) -> Sum {
        let mut sum = Sum::default();
        self.run_first(
            people,
            |_| threshold,
            |_, lot| {
                sum.spend += lot.pay / 1_000.0;
                sum.impressions += f64::from(lot.impressions);
                sum.worth += lot.worth;
            },
        );
        let of_all = self.offers.runs.len() as f64 / people.max(1) as f64;
        let Sum { spend, impressions, worth } = sum;
        let [spend, impressions, worth] = [spend, impressions, worth].map(|it| it * of_all);
        Sum { spend, impressions, worth }
    }

    fn one(&mut self, steps: &[Step], threshold: &impl Fn(u32) -> u64) -> Lot {
        let (mut lot, mut last) = (Lot::default(), None);
        self.hours.clear();
        let mut at = 0;
        while let Some(first) = steps.get(at) {
            let tick = first.tick();
            let hour = (tick + self.offers.into_hour) / HOUR_TICKS;
            let most = threshold(tick);
            let threshold = if self.is_for_reach { self.halved(most, hour) } else { most };
            let mut won = (first.key <= threshold).then_some(first);
            at += 1;
            while let Some(next) = steps.get(at).filter(|next| next.mark & FIRST == 0) {
                won = if next.key <= threshold { Some(next) } else { won };
                at += 1;
            }
            let Some(step) = won else { continue };
            if self.offers.is_near(step, last) || self.is_capped(hour) {
                continue;
            }
            last = Some(tick);
            if step.mark & SEEN == 0 {
                continue;
            }
            let Part { worth, taps } = self.offers.part(step);
            lot.pay += f64::from(step.pay);
            lot.impressions += 1;
            lot.worth += f64::from(worth);
            lot.taps += f64::from(taps);
            let day = (tick / DAY_TICKS) as usize;
            lot.days[day.min(DAYS_MAX - 1)] += 1;
            if self.is_for_reach || !self.caps.is_empty() {
                self.note(hour, step.mark);
            }
        }
        lot
    }

    /// Tells whether a cap is reached. The hour that is partly inside its interval counts whole, as in
    /// serving.
    fn is_capped(&self, hour: u32) -> bool {
        self.caps.iter().any(|cap| {
            let from = hour.saturating_sub(u32::from(cap.interval_hours));
            let inside = self.hours.iter().filter(|it| it.hour >= from);
            let event = usize::from(cap.event & 3);
            inside.map(|it| it.counts[event]).sum::<u32>() >= u32::from(cap.max)
        })
    }

    /// Returns the threshold of a viewer who was shown the ad lately: half for each time, which is one less in
    /// the exponent of the amount above.
    fn halved(&self, threshold: u64, hour: u32) -> u64 {
        let from = hour.saturating_sub(u32::from(REACH_HOURS));
        let inside = self.hours.iter().filter(|it| it.hour >= from);
        let shown = inside.map(|it| it.counts[CapEvent::Impressions as usize]).sum::<u32>();
        threshold.saturating_sub(u64::from(shown) << HALF_SHIFT)
    }

    fn note(&mut self, hour: u32, mark: u32) {
        if self.hours.last().is_none_or(|last| last.hour != hour) {
            self.hours.push(Hour { hour, ..Hour::default() });
        }
        let Some(last) = self.hours.last_mut() else { return };
        last.counts[CapEvent::Impressions as usize] += 1;
        last.counts[CapEvent::Taps as usize] += u32::from(mark & TAPPED != 0);
        last.counts[CapEvent::Conversations as usize] += u32::from(mark & OPENED != 0);
    }

    /// Returns the highest threshold at which the time's spend is within what `allows` says, and that is
    /// not above `ceiling`: the pacing multiplier that hindsight would have set once for all of it
    /// (ALGORITHMS 3: the value of an ad over its price is compared with one number).
    ///
    /// `allows` tells by how much a spend is inside, in parts of what is allowed; below 0: outside.
    pub(super) fn threshold(&mut self, ceiling: u64, allows: impl Fn(Sum) -> f64) -> u64 {
        let all = self.offers.runs.len();
        if allows(self.sum(all, ceiling)) >= 0.0 {
            return ceiling;
        }
        let keys = self.offers.steps.iter().map(|step| step.key);
        let mut ends = (keys.min().unwrap_or_default().saturating_sub(1), ceiling);
        if all / COARSE >= COARSE_LEAST {
            // Where a few people end it is near to where all do.
            let guess = self.search(all / COARSE, ends, &allows);
            for near in [guess.saturating_sub(AROUND), guess.saturating_add(AROUND)] {
                if ends.0 < near && near < ends.1 {
                    let is_inside = allows(self.sum(all, near)) >= 0.0;
                    ends = if is_inside { (near, ends.1) } else { (ends.0, near) };
                }
            }
        }
        self.search(all, ends, &allows)
    }

    /// Halves the room between a threshold that is allowed and one that isn't.
    fn search(
        &mut self,
        people: usize,
        (mut inside, mut outside): (u64, u64),
        allows: &impl Fn(Sum) -> f64,
    ) -> u64 {
        for _ in 0..SEARCH_STEPS_MAX {
            let middle = inside + (outside - inside) / 2;
            if middle == inside {
                break;
            }
            let left = allows(self.sum(people, middle));
            if left < 0.0 {
                outside = middle;
            } else {
                inside = middle;
                if left <= NEAR {
                    break;
                }
            }
        }
        inside
    }
}
