//! Where a draft could have stood: its real targeting and hours, asked of every logged request once.

use crate::decide::forecast::Plan;
use crate::decide::forecast::ladder::{Rung, ladder};
use crate::decide::forecast::log::{Person, Rival, Sample, Visit};
use crate::decide::rates::Factors;
use crate::decide::target::{Target, Told, Trait};
use crate::state::totals::placement_slot;
use crate::types::hash::mix;
use crate::types::proto::v1::{OptimizationGoal, Placement};
use crate::types::time::{HOUR_MS, Moment, SECOND_MS};
use crate::types::week::Week;

/// Seconds of one tick: seven days of them fit 16 bits.
pub(super) const TICK_S: u32 = 10;

/// Ticks of an hour and of a day.
pub(super) const HOUR_TICKS: u32 = 3_600 / TICK_S;
/// See [`HOUR_TICKS`].
pub(super) const DAY_TICKS: u32 = 24 * HOUR_TICKS;

/// Bits of [`Step::mark`], above the number of the tray's shape.
pub(super) const FIRST: u32 = 1 << 16;
/// The ad would be seen there.
pub(super) const SEEN: u32 = 1 << 17;
/// And tapped.
pub(super) const TAPPED: u32 = 1 << 18;
/// And a conversation opened.
pub(super) const OPENED: u32 = 1 << 19;
/// Where the number of the placement begins, of three bits.
const PLACEMENT_SHIFT: u32 = 20;

/// One rung of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// What it asks, ordered as the amounts are (bits of a positive float), then a lot, then the tick of the
    /// request.
    pub(super) key: u64,
    /// What 1,000 seen impressions there cost, micros.
    pub(super) pay: f32,
    /// The shape of the tray, whether this is the first rung of its request, what would come of it, and the
    /// placement.
    pub(super) mark: u32,
}

impl Step {
    /// Returns when the request was, in ticks since the sample's beginning.
    pub(super) const fn tick(&self) -> u32 {
        self.key as u32 & 0xFFFF
    }
}

/// Returns what an ad worth this much is compared with rungs by: at just the bar every other lot wins.
pub(super) const fn key_of(value: f32) -> u64 {
    (value.max(0.0).to_bits() as u64) << 32 | 0x7FFF_FFFF
}

/// Returns the amount that a key was made of.
pub(super) const fn amount_of(key: u64) -> f64 {
    f32::from_bits((key >> 32) as u32) as f64
}

/// The requests of one viewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) viewer: u64,
    /// Where its steps end; they begin where those of the one before end.
    pub(super) end: u32,
}

/// Every request that a draft is meant for.
#[derive(Debug, Default)]
pub(super) struct Offers {
    pub(super) runs: Vec<Run>,
    pub(super) steps: Vec<Step>,
    /// Of each shape: how long ago the advertiser must have been shown before, ticks.
    pub(super) distances: Vec<u32>,
    /// How far into an hour the first tick is, in ticks.
    pub(super) into_hour: u32,
    /// By placement.
    pub(super) parts: [Part; PLACEMENT_NUMBERS],
}

/// Numbers of placements that a request may have: three bits.
const PLACEMENT_NUMBERS: usize = 8;

/// What an impression in a placement is of one in the best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    /// Of its value.
    pub(super) worth: f32,
    /// Of its taps.
    pub(super) taps: f32,
}

impl Default for Part {
    fn default() -> Self {
        Self { worth: 1.0, taps: 1.0 }
    }
}

impl Part {
    fn of(plan: &Plan, placement: u32) -> Self {
        let Factors { tap, viewable } = plan.factors[placement_slot(placement)];
        let share = |factor: u16| f32::from(factor.max(1)) / f32::from(u16::MAX);
        let worth = match plan.aim.goal {
            OptimizationGoal::Unspecified
            | OptimizationGoal::Impressions
            | OptimizationGoal::Reach => 1.0,
            OptimizationGoal::ViewableImpressions => share(viewable),
            OptimizationGoal::LinkClicks
            | OptimizationGoal::Conversations
            | OptimizationGoal::Conversions => share(tap),
        };
        Self { worth, taps: share(tap) }
    }
}

/// The conjunctions of a draft, without when and where: those are asked of each request.
struct Crowd {
    targets: Vec<Target>,
    placements: Vec<u8>,
    hours: Vec<Option<Week>>,
    told: Told,
}

impl Crowd {
    fn new(mut targets: Vec<Target>) -> Self {
        let place = Trait::Placement as usize;
        let take = |target: &mut Target| std::mem::replace(&mut target.traits[place], u8::MAX);
        let placements = targets.iter_mut().map(take).collect();
        let hours = targets.iter_mut().map(|target| target.hours.take()).collect();
        Self { targets, placements, hours, told: Told::default() }
    }

    /// Returns which conjunctions match, a bit each, for each face of a viewer; `false`: none does.
    fn match_all(&mut self, person: &Person, masks: &mut Vec<u16>) -> bool {
        masks.clear();
        for face in &person.faces {
            self.told.take(face, Placement::Unspecified, Moment(0));
            let each = self.targets.iter().enumerate();
            let matching = each.filter(|(_, target)| target.matches(&self.told));
            masks.push(matching.fold(0, |mask, (at, _)| mask | 1 << at));
        }
        masks.iter().any(|mask| *mask != 0)
    }

    fn is_for(&self, mask: u16, visit: &Visit, offset: Option<i16>) -> bool {
        let at = Moment::from_seconds(visit.at_s);
        let hour = || offset.map(|offset| at.hour_of_week(offset));
        let here = |place: &u8| place >> (visit.placement & 7) & 1 == 1;
        (0..self.targets.len()).any(|one| {
            mask >> one & 1 == 1
                && here(&self.placements[one])
                && self.hours[one].is_none_or(|hours| hour().is_some_and(|hour| hours.has(hour)))
        })
    }
}

impl Offers {
    /// Returns what an impression there is of one in the best placement.
    pub(super) const fn part(&self, step: &Step) -> Part {
        self.parts[(step.mark >> PLACEMENT_SHIFT) as usize % PLACEMENT_NUMBERS]
    }

    /// Returns the number of the hour, cut where a day of the sample ends, that a tick is in: pacing sets a
    /// threshold for each. Ascending in time; where a day ends with an hour one number is left out.
    pub(super) const fn slot(&self, tick: u32) -> usize {
        ((tick + self.into_hour) / HOUR_TICKS + tick / DAY_TICKS) as usize
    }

    /// Tells whether a request is too near to the tick at which the advertiser was shown last: the distance is
    /// that of the tray that is filled.
    pub(super) fn is_near(&self, step: &Step, last: Option<u32>) -> bool {
        let apart = self.distances[step.mark as usize & 0xFFFF];
        last.is_some_and(|last| step.tick() < last + apart)
    }

    /// Asks every logged request of the sample's time.
    pub(super) fn of(plan: &Plan, sample: &Sample) -> Self {
        let shapes = sample.shapes.iter();
        let mut offers = Self {
            distances: shapes
                .map(|shape| {
                    let category_s = if plan.has_category { shape.category_s } else { 0 };
                    shape.advertiser_s.max(category_s).div_ceil(TICK_S)
                })
                .collect(),
            parts: std::array::from_fn(|placement| Part::of(plan, placement as u32)),
            into_hour: (sample.from.0.rem_euclid(HOUR_MS) / SECOND_MS) as u32 / TICK_S,
            ..Self::default()
        };
        let (mut crowd, mut masks) = (Crowd::new(plan.targets.clone()), Vec::new());
        let mut rungs = Vec::new();
        for (viewer, person) in &sample.people {
            if !crowd.match_all(person, &mut masks) {
                continue;
            }
            let begin = offers.steps.len();
            offers.add(plan, sample, (*viewer, person), (&crowd, &masks), &mut rungs);
            if offers.steps.len() > begin {
                offers.runs.push(Run { viewer: *viewer, end: offers.steps.len() as u32 });
            }
        }
        offers
    }

    fn add(
        &mut self,
        plan: &Plan,
        sample: &Sample,
        (viewer, person): (u64, &Person),
        (crowd, masks): (&Crowd, &[u16]),
        rungs: &mut Vec<Rung>,
    ) {
        let (from, until) = (sample.from.seconds(), sample.until.seconds());
        let mut near = Near::default();
        for (number, (visit, rivals)) in (0..).zip(person.visits()) {
            let shape = &sample.shapes[usize::from(visit.shape)];
            let is_near = near.passes(plan, visit, rivals, shape.category_s);
            let face = usize::from(visit.face);
            let mask = masks.get(face).copied().unwrap_or_default();
            if is_near || !(from..until).contains(&visit.at_s) || mask == 0 {
                continue;
            }
            let offset = person.faces[face].utc_offset_minutes;
            if !crowd.is_for(mask, visit, offset) || !plan.runs(visit.at_s) {
                continue;
            }
            ladder(shape, rivals, plan.entrant, rungs);
            let tick = u64::from((visit.at_s - from) / TICK_S);
            let roll = mix(viewer.wrapping_add(mix(number)));
            let placement = u32::from(visit.placement) % PLACEMENT_NUMBERS as u32;
            let part = self.parts[placement as usize];
            let luck = plan.luck(roll, part.taps);
            let mark = u32::from(visit.shape) | FIRST | luck | placement << PLACEMENT_SHIFT;
            let low = (roll & 0xFFFF) << 16 | tick;
            for (at, rung) in rungs.iter().enumerate() {
                // Where it is worth a part only, as much less is enough of a bar.
                let key = u64::from((rung.bar / part.worth).to_bits()) << 32 | low;
                let mark = if at == 0 { mark } else { mark & !FIRST };
                self.steps.push(Step { key, pay: rung.pay, mark });
            }
        }
    }
}

/// When an ad of the draft's category last stood in a tray of the viewer: how far away that must be is said by
/// the tray that is filled, not by that one.
#[derive(Default)]
struct Near {
    last_s: Option<u32>,
}

impl Near {
    /// Tells whether a request is too near to an earlier ad of the category, and notes what stands here.
    fn passes(&mut self, plan: &Plan, visit: &Visit, rivals: &[Rival], apart_s: u32) -> bool {
        let group = plan.entrant.group;
        if !plan.has_category {
            return false;
        }
        let is_near = self.last_s.is_some_and(|last| visit.at_s.saturating_sub(last) < apart_s);
        let own = plan.entrant.own;
        let stands = |rival: &Rival| rival.group == group && (own == 0 || rival.ad_set != own);
        if rivals.iter().any(stands) {
            self.last_s = Some(visit.at_s);
        }
        is_near
    }
}
