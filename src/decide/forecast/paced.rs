//! What a pacer would bid hour by hour: a day's budget along the day's traffic.
//!
//! Each hour gets the share of what is left that its requests have of those still to come, as the node's
//! pacer plans it (partly even, and carefully at first), and the threshold that spends just that (ALGORITHMS 3:
//! the plan; 7: the closed form). One threshold for the whole day would buy most where most is to be had, which
//! caps move to the morning.
//!
//! Hours are searched in the order of time, so each begins with what viewers remember of those before. For
//! that the steps are laid out hour by hour (`hours`); `replay`, which has them viewer by viewer, runs the
//! result again and must spend the same: a test holds both against each other.

use std::mem::take;

use crate::decide::forecast::hours::{Day, Hour, Hours, Segment};
use crate::decide::forecast::offers::{
    FIRST, HOUR_TICKS, OPENED, Offers, SEEN, Step, TAPPED, amount_of,
};
use crate::decide::forecast::replay::HALF_SHIFT;
use crate::decide::onlooker::Cap;
use crate::state::catalog::REACH_HOURS;
use crate::types::proto::v1::CapEvent;

/// How near to its share an hour's spend is looked for, in parts of it. What it is off, later hours bear.
const NEAR: f64 = 1.0 / 128.0;

/// What may be left of a budget that was spent, in parts of it.
const REST: f64 = 1.0 / 64.0;

/// Steps of the search of one hour.
const TRIES_MAX: usize = 24;

/// An hour without a guess begins at one of so many.
const FIRST_PART: usize = 4;

/// Where viewers are worth less with each showing, thresholds above the dearest step are tried too: so many
/// to an octave, and so many octaves.
const PER_OCTAVE: usize = 32;
/// See [`PER_OCTAVE`].
const OCTAVES: usize = 16;

/// No try comes nearer to an end of what is left than this part of it.
const CLOSEST: f64 = 0.05;

/// The number of impressions among counted events.
const IMPRESSION: usize = CapEvent::Impressions as usize;

/// What a viewer remembers.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// At which tick the advertiser was shown last.
    shown: Option<u32>,
    /// The last of what it saw, in [`Pacing::seen`]; 0: nothing.
    last: u32,
}

/// An impression.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The one of the same viewer before it; 0: none.
    before: u32,
    hour: u32,
    mark: u32,
}

/// A segment whose viewer may be shown the draft in this hour.
#[derive(Clone, Copy, Debug)]
struct Ready {
    begin: u32,
    end: u32,
    viewer: u32,
    /// At which tick the advertiser was shown last.
    last: Option<u32>,
    /// How often the viewer was shown it lately, where that counts.
    times: u32,
}

/// What a pacer would bid, and what that comes to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Paced {
    /// By [`Offers::slot`].
    pub(super) thresholds: Vec<u64>,
    /// The highest of them.
    pub(super) highest: u64,
    /// Whether the budget was spent.
    pub(super) ended: bool,
    /// What 1,000 more impressions would cost, micros: the mean threshold of the hours that would buy more.
    pub(super) dearest: f64,
    /// Impressions, of the sample.
    pub(super) impressions: u32,
    /// Micros, of the sample.
    pub(super) spend: f64,
}

/// Searches; keeps its buffers.
pub(super) struct Pacing<'a> {
    offers: &'a Offers,
    hours: &'a Hours,
    caps: &'a [Cap],
    is_for_reach: bool,
    memories: Vec<Memory>,
    /// The first is nobody's.
    seen: Vec<Seen>,
    ready: Vec<Ready>,
    /// Of each that is ready, cap by cap: how often more it may happen.
    rooms: Vec<u32>,
}

/// A sum at one threshold: micros for 1,000 impressions each, and impressions.
type Sum = (f64, u32);

impl<'a> Pacing<'a> {
    pub(super) fn new(
        offers: &'a Offers,
        hours: &'a Hours,
        caps: &'a [Cap],
        is_for_reach: bool,
    ) -> Self {
        let (memories, seen, ready, rooms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { offers, hours, caps, is_for_reach, memories, seen, ready, rooms }
    }

    /// Returns what spends so many micros of the sample each day, none of it above `ceiling`.
    pub(super) fn of(&mut self, ceiling: u64, a_day: f64) -> Paced {
        let hours = self.hours;
        self.memories.clear();
        self.memories.resize(hours.viewers, Memory::default());
        self.seen.clear();
        self.seen.push(Seen { before: 0, hour: 0, mark: 0 });
        let mut paced = Paced {
            thresholds: Vec::with_capacity(hours.hours.len()),
            highest: 0,
            ended: true,
            dearest: 0.0,
            impressions: 0,
            spend: 0.0,
        };
        let (mut day, mut left, mut weight, mut part) = (Day::default(), 0.0, 0.0, None);
        for at in 0..hours.hours.len() {
            let hour = &hours.hours[at];
            if hour.traffic == 0.0 {
                paced.thresholds.push(0);
                continue;
            }
            if at >= day.end {
                paced.ended &= left <= REST * a_day * 1_000.0;
                (day, left) = (Day::of(&hours.hours, at), a_day * 1_000.0);
            }
            self.prepare(hour);
            let target = left * day.pass(hour.traffic);
            let (threshold, is_all, next) = self.search(hour, ceiling, target, part);
            part = next.or(part);
            let (pay, impressions) = self.show(threshold);
            left -= pay;
            paced.spend += pay / 1_000.0;
            paced.impressions += impressions;
            paced.highest = paced.highest.max(threshold);
            if !is_all {
                paced.dearest += amount_of(threshold) * hour.traffic;
                weight += hour.traffic;
            }
            paced.thresholds.push(threshold);
        }
        paced.ended &= left <= REST * a_day * 1_000.0 && weight > 0.0;
        paced.dearest /= f64::max(weight, 1.0);
        paced
    }

    /// Lists who may be shown the draft in an hour at all.
    fn prepare(&mut self, hour: &Hour) {
        self.ready.clear();
        self.rooms.clear();
        let wall = (hour.tick + self.offers.into_hour) / HOUR_TICKS;
        let mut begin = hour.steps.start as u32;
        for segment in &self.hours.segments[hour.segments.clone()] {
            let Segment { viewer, end } = *segment;
            let Memory { shown, last } = self.memories[viewer as usize];
            let one = Ready { begin, end, viewer, last: shown, times: 0 };
            begin = end;
            let rooms = self.rooms.len();
            self.rooms.extend(self.caps.iter().map(|cap| u32::from(cap.max)));
            let times = self.remember(last, wall, rooms);
            if self.rooms[rooms..].contains(&0) {
                self.rooms.truncate(rooms);
            } else {
                self.ready.push(Ready { times, ..one });
            }
        }
    }

    /// Takes what a viewer saw out of the rooms from an index on; returns how often that was lately.
    fn remember(&mut self, last: u32, wall: u32, rooms: usize) -> u32 {
        let (mut shown, mut at) = (0, last);
        let reach = if self.is_for_reach { u32::from(REACH_HOURS) } else { 0 };
        let longest = self.caps.iter().map(|cap| cap.interval_hours.into()).fold(reach, u32::max);
        while at != 0 {
            let Seen { before, hour, mark } = self.seen[at as usize];
            if hour + longest < wall {
                break;
            }
            shown += u32::from(self.is_for_reach && hour + reach >= wall);
            for (cap, room) in self.caps.iter().zip(&mut self.rooms[rooms..]) {
                if hour + u32::from(cap.interval_hours) >= wall {
                    *room = room.saturating_sub(u32::from(counts(mark, cap.event)));
                }
            }
            at = before;
        }
        shown
    }

    /// Returns the threshold that spends a target (micros for 1,000 impressions each), whether it buys all
    /// that may be bought, and which part of the hour's steps lies below it.
    fn search(
        &self,
        hour: &Hour,
        ceiling: u64,
        target: f64,
        part: Option<f64>,
    ) -> (u64, bool, Option<f64>) {
        let keys = &self.hours.keys[hour.steps.clone()];
        let above = if self.is_for_reach { PER_OCTAVE * OCTAVES } else { 0 };
        let most = keys.partition_point(|key| *key <= ceiling) + above;
        let of = |rank: usize| {
            let known = keys[..rank.min(keys.len())].last().copied().unwrap_or_default();
            let steps = rank.saturating_sub(keys.len()) as u64;
            known.saturating_add(steps * ((1 << HALF_SHIFT) / PER_OCTAVE as u64)).min(ceiling)
        };
        let (mut low, mut high): ((usize, f64), Option<(usize, f64)>) = ((0, 0.0), None);
        let guess =
            part.map_or(keys.len() / FIRST_PART, |part| (part * keys.len() as f64) as usize);
        let mut rank = guess.clamp(usize::from(most > 0), most);
        for _ in 0..TRIES_MAX {
            if target <= 0.0 || low.0 >= most || high.is_some_and(|high| high.0 <= low.0 + 1) {
                break;
            }
            let spend = self.sum(of(rank)).0;
            let is_near = (spend - target).abs() <= NEAR * target;
            if spend <= target {
                low = (rank, spend);
            } else {
                high = Some((rank, spend));
            }
            if is_near {
                break;
            }
            rank = next_rank(low, high, target, most);
        }
        // What is nearer; one impression more or less is borne by the hours behind.
        let (rank, _) = match high {
            Some(high) if high.1 - target < target - low.1 => high,
            _ => low,
        };
        let part = (rank > 0).then(|| rank as f64 / keys.len().max(1) as f64);
        (of(rank), rank >= most, part)
    }

    /// Sums what a threshold would bring in the hour that was prepared.
    fn sum(&self, threshold: u64) -> Sum {
        let (mut pay, mut impressions) = (0.0, 0);
        for (at, one) in self.ready.iter().enumerate() {
            self.one(at, one, threshold, |step| {
                pay += f64::from(step.pay);
                impressions += 1;
            });
        }
        (pay, impressions)
    }

    /// Does the same for good: viewers remember it.
    fn show(&mut self, threshold: u64) -> Sum {
        let (mut pay, mut impressions) = (0.0, 0);
        let (mut seen, mut memories) = (take(&mut self.seen), take(&mut self.memories));
        let remembers = self.is_for_reach || !self.caps.is_empty();
        let wall = |step: &Step| (step.tick() + self.offers.into_hour) / HOUR_TICKS;
        for (at, one) in self.ready.iter().enumerate() {
            let Memory { shown, last } = &mut memories[one.viewer as usize];
            *shown = self.one(at, one, threshold, |step| {
                pay += f64::from(step.pay);
                impressions += 1;
                if remembers {
                    let before = std::mem::replace(last, seen.len() as u32);
                    seen.push(Seen { before, hour: wall(step), mark: step.mark });
                }
            });
        }
        (self.seen, self.memories) = (seen, memories);
        (pay, impressions)
    }

    /// Runs one viewer's hour as `Replay` does; returns when the advertiser was shown last.
    fn one(&self, at: usize, one: &Ready, most: u64, mut show: impl FnMut(&Step)) -> Option<u32> {
        let steps = &self.hours.steps[one.begin as usize..one.end as usize];
        let rooms = &self.rooms[at * self.caps.len()..];
        let (mut counted, mut last, mut at) = ([0; 4], one.last, 0);
        while let Some(first) = steps.get(at) {
            let times = if self.is_for_reach { one.times + counted[IMPRESSION] } else { 0 };
            let threshold = most.saturating_sub(u64::from(times) << HALF_SHIFT);
            let mut won = (first.key <= threshold).then_some(first);
            at += 1;
            while let Some(next) = steps.get(at).filter(|next| next.mark & FIRST == 0) {
                won = if next.key <= threshold { Some(next) } else { won };
                at += 1;
            }
            let Some(step) = won else { continue };
            let mut caps = self.caps.iter().zip(rooms);
            if self.offers.is_near(step, last)
                || caps.any(|(cap, room)| counted[usize::from(cap.event & 3)] >= *room)
            {
                continue;
            }
            last = Some(step.tick());
            if step.mark & SEEN != 0 {
                show(step);
                (1..).zip(&mut counted[1..]).for_each(|(event, counted)| {
                    *counted += u32::from(counts(step.mark, event));
                });
            }
        }
        last
    }
}

/// Tells whether an impression with this mark is counted by a cap on an event.
const fn counts(mark: u32, event: u8) -> bool {
    mark & [0, SEEN, TAPPED, OPENED][event as usize & 3] != 0
}

/// Returns the rank to try between one that is too low and one that is too high, if there is one.
fn next_rank(low: (usize, f64), high: Option<(usize, f64)>, target: f64, most: usize) -> usize {
    let Some(high) = high else {
        let times = if low.1 > 0.0 { target / low.1 } else { f64::INFINITY };
        return ((low.0 as f64 * times.clamp(1.25, 4.0)) as usize + 1).min(most);
    };
    let part = ((target - low.1) / (high.1 - low.1)).clamp(CLOSEST, 1.0 - CLOSEST);
    let rank = low.0 + ((high.0 - low.0) as f64 * part).round() as usize;
    rank.min(high.0 - 1).max(low.0 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::forecast::offers::DAY_TICKS;
    use crate::decide::forecast::offers::Run;
    use crate::decide::forecast::replay::{Replay, Threshold};
    use crate::types::hash::mix;

    /// Small numbers that depend on a seed.
    struct Luck(u64);

    impl Luck {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = mix(self.0.wrapping_add(0x9E37_79B9_7F4A_7C15));
            self.0 % end
        }
    }

    /// Requests of some people over a day or two, most of them in some hours of it.
    fn offers(luck: &mut Luck) -> Offers {
        let mut offers = Offers {
            distances: vec![0, 30],
            into_hour: luck.below(2) as u32 * 100,
            ..Offers::default()
        };
        let (days, alike) = (1 + luck.below(2) as u32, luck.below(4) == 0);
        for viewer in 0..1 + luck.below(60) {
            let visits = 1 + luck.below(12);
            let mut ticks: Vec<u32> = (0..visits)
                .map(|_| {
                    let (one, other) = (luck.below(1_000), luck.below(1_000));
                    one.max(other) as u32 * DAY_TICKS * days / 1_000
                })
                .collect();
            ticks.sort_unstable();
            for tick in ticks {
                let mut bar = if alike { 5_000.0 } else { 1_000.0 + luck.below(9_000) as f32 };
                let low = (luck.below(1 << 16) << 16) | u64::from(tick);
                let chance = [SEEN, SEEN, SEEN | TAPPED, SEEN | TAPPED | OPENED, 0];
                let mark = luck.below(2) as u32 | chance[luck.below(5) as usize];
                for rung in 0..1 + luck.below(2) as u32 {
                    let key = u64::from(bar.to_bits()) << 32 | low;
                    let mark = if rung == 0 { mark | FIRST } else { mark };
                    offers.steps.push(Step { key, pay: bar, mark });
                    bar += 1.0 + luck.below(3_000) as f32;
                }
            }
            offers.runs.push(Run { viewer, end: offers.steps.len() as u32 });
        }
        offers
    }

    /// What a replay viewer by viewer spends, micros for 1,000 impressions each, and shows.
    fn spends(replay: &mut Replay<'_>, thresholds: &[u64]) -> (f64, u32) {
        let (mut pay, mut impressions) = (0.0, 0);
        replay.run(&Threshold::ByHour(thresholds.to_vec()), |_, lot| {
            pay += lot.pay;
            impressions += lot.impressions;
        });
        (pay, impressions)
    }

    /// Returns what of the plan is due in an hour, from what was spent before it: in so many small steps, each
    /// of which spreads what is left anew.
    fn due(offers: &Offers, at: usize, left: f64) -> f64 {
        const SMALL: u32 = 2_000;
        let mut requests = vec![0.0; 60];
        let firsts = offers.steps.iter().filter(|step| step.mark & FIRST != 0);
        firsts.for_each(|step| requests[offers.slot(step.tick())] += 1.0);
        let of_day = &requests[at / 25 * 25..][..25];
        let (all, open) =
            (of_day.iter().sum::<f64>(), of_day.iter().filter(|it| **it > 0.0).count());
        let planned = |requests: f64| {
            if requests > 0.0 { 0.95 * requests / all + 0.05 / open as f64 } else { 0.0 }
        };
        let mut to_come: f64 = of_day[at % 25..].iter().copied().map(planned).sum();
        let (mut rest, step) = (left, planned(requests[at]) / f64::from(SMALL));
        for _ in 0..SMALL {
            let ease = (0.75 + 0.25 * (1.0 - to_come) / 0.3).min(1.0);
            rest -= rest * (step / to_come).min(1.0) * ease;
            to_come -= step;
        }
        left - rest
    }

    #[test]
    fn every_hour_spends_its_share_as_a_replay_of_each_viewer_does() {
        let mut luck = Luck(5);
        let (mut bought, mut short, mut ended) = (0, 0, 0);
        for case in 0..2_000 {
            let offers = offers(&mut luck);
            let (event, max) = (1 + luck.below(3) as u8, 1 + luck.below(3) as u8);
            let interval_hours = [1, 5, 24][luck.below(3) as usize];
            let caps = [Cap { event, max, interval_hours }; 2];
            let caps = &caps[..luck.below(2) as usize];
            let is_for_reach = luck.below(4) == 0;
            let hours = Hours::of(&offers);
            let mut pacing = Pacing::new(&offers, &hours, caps, is_for_reach);
            let mut replay = Replay::new(&offers, caps, is_for_reach);
            let a_day = 5.0 + luck.below(1_500) as f64;
            let ceiling = if luck.below(2) == 0 { u64::MAX } else { 6_000_f32.to_bits().into() };
            let ceiling = if ceiling == u64::MAX { ceiling } else { ceiling << 32 };
            let paced = pacing.of(ceiling, a_day);
            assert_eq!(paced, pacing.of(ceiling, a_day), "case {case}: it keeps nothing");
            assert!(paced.thresholds.iter().all(|it| *it <= ceiling), "case {case}");
            let (pay, impressions) = spends(&mut replay, &paced.thresholds);
            let context = format!("case {case}: {paced:?}");
            assert_eq!(impressions, paced.impressions, "{context}");
            assert!((pay / 1_000.0 - paced.spend).abs() < 1e-6, "{context}: {pay}");
            let (mut before, mut left) = (0.0, a_day * 1_000.0);
            for slot in 0..paced.thresholds.len() {
                if slot == 25 {
                    left = a_day * 1_000.0;
                }
                let of = |replay: &mut Replay<'_>, threshold| {
                    let mut thresholds = paced.thresholds[..=slot].to_vec();
                    thresholds[slot] = threshold;
                    spends(replay, &thresholds).0 - before
                };
                let (due, spent) =
                    (due(&offers, slot, left), of(&mut replay, paced.thresholds[slot]));
                let most = of(&mut replay, ceiling);
                // Off by more than a part of it only where one impression is more than that.
                let off = (spent - due).abs();
                let close = NEAR * due.abs() + 12_000.0 * 4.0;
                assert!(off <= close || spent >= most - 0.1, "{context}: {slot}: {spent} of {due}");
                short += usize::from(most < due);
                bought += usize::from(off <= NEAR * due);
                (before, left) = (before + spent, left - spent);
            }
            ended += usize::from(paced.ended);
        }
        assert!(bought > 2_000 && short > 1_000 && ended > 300, "{bought} {short} {ended}");
    }
}
