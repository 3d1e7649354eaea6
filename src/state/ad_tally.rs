//! The tallies of one ad: by hour, feed and placement, by day, and why it was passed over.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::breakdowns::{AdDays, Happened, Step};
use crate::state::context::context_of_view;
use crate::state::tallies::Tally;
use crate::state::totals::Totals;
use crate::types::proto::journal::v1::{
    Charge, ClickMatched, ConversionCredited, ImpressionSeen, Reason, Showing, Tapped, ViewContext,
    Watched,
};
use crate::types::time::Moment;

/// Hours for which it is known why an ad was passed over.
pub const PASSED_HOURS: u32 = 48;

/// Reasons that are kept of one ad and hour: the largest.
pub const PASSED_REASONS_MAX: usize = 8;

/// What an hour of an ad is counted by: hours since the epoch, feed, `Placement`. Feed and placement are 0 where
/// they are not known: of minutes' counts, and of what is told about a conversation after its opening.
pub type Slot = (u32, u32, i32);

/// Hours of the spans that tallies are summed over while they are counted, so that a report need not walk all
/// hours: a day, and 16 days, both UTC.
const ROLLED_HOURS: [u32; 2] = [24, 384];

/// The tallies of one ad.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AdTally {
    /// By hour, feed and placement.
    pub hours: BTreeMap<Slot, Tally>,
    /// Sums of the hours before `rolled_before` whatever the feed and placement, without what models give: by
    /// length and number of the span.
    rolled: BTreeMap<(u32, u32), Tally>,
    /// An hour is added to the sums when it has ended, not with each of its events.
    rolled_before: u32,
    /// By day, with people and breakdowns.
    pub days: AdDays,
    /// What action rates come from.
    pub totals: Totals,
    /// How often it was hidden or reported since the beginning.
    pub hides: u64,
    /// How often the ad reached an auction and was passed over, by hour since the epoch and reason. Kept
    /// are the last [`PASSED_HOURS`] hours that have any, and of each the [`PASSED_REASONS_MAX`] largest
    /// counts: after each minute the smallest of too many is forgotten, of equals the highest number.
    pub passed: BTreeMap<u32, BTreeMap<u32, u64>>,
}

impl AdTally {
    /// Returns the tallies of hours from one up to another, in their order.
    pub fn between(&self, start: u32, end: u32) -> impl Iterator<Item = (&Slot, &Tally)> {
        // A range that ends before it starts would panic.
        let first = (start, 0, i32::MIN);
        self.hours.range(first..(end.max(start), 0, i32::MIN))
    }

    /// Returns the tallies of hours, whatever the feed and placement.
    pub fn by_hour(&self) -> BTreeMap<u32, Tally> {
        let mut hours = BTreeMap::<u32, Tally>::new();
        for ((hour, ..), tally) in &self.hours {
            hours.entry(*hour).or_default().merge(tally);
        }
        hours
    }

    /// Shows tallies that sum up to those from one hour up to another, each with its first hour, in order.
    /// Before `rolled_before` they are of spans of at most `longest` hours, as far as their hours have ended.
    pub fn cover(
        &self,
        start: u32,
        end: u32,
        rolled_before: u32,
        longest: u32,
        mut each: impl FnMut(u32, &Tally),
    ) {
        let rolled_end = end.min(rolled_before).min(self.rolled_before);
        let mut at = start;
        while at < end {
            let fits = |hours: &u32| {
                let whole = at.is_multiple_of(*hours) && at.saturating_add(*hours) <= rolled_end;
                whole && *hours <= longest
            };
            if let Some(hours) = ROLLED_HOURS.into_iter().rev().find(fits) {
                // All that fit in a row: shorter ones up to where a longer one does.
                let longer = ROLLED_HOURS.into_iter().rfind(|it| *it > hours && *it <= longest);
                let next = longer.map_or(u32::MAX, |it| (at / it + 1).saturating_mul(it));
                let until = rolled_end.min(next) / hours;
                let rolled = self.rolled.range((hours, at / hours)..(hours, until));
                rolled.for_each(|((_, number), tally)| each(number * hours, tally));
                at = until * hours;
            } else {
                // All up to where a span fits; where none does any more, up to the end.
                let shortest = ROLLED_HOURS[0];
                let next = (at / shortest + 1).saturating_mul(shortest);
                let fits = shortest <= longest && next.saturating_add(shortest) <= rolled_end;
                let until = if fits { next } else { end };
                self.between(at, until).for_each(|((hour, ..), tally)| each(*hour, tally));
                at = until;
            }
        }
    }

    /// Returns the tally of an hour whose feed is not known.
    pub(in crate::state) fn hour(&mut self, ms: i64) -> &mut Tally {
        self.hours.entry((Moment(ms).hour(), 0, 0)).or_default()
    }

    /// Counts something of an hour whose feed is not known.
    pub(in crate::state) fn note(&mut self, ms: i64, add: impl Fn(&mut Tally)) {
        self.note_shown(ms, &None, 0, add);
    }

    /// Counts something of an hour, feed and placement.
    pub(in crate::state) fn note_shown(
        &mut self,
        ms: i64,
        showing: &Option<Showing>,
        placement: u32,
        add: impl Fn(&mut Tally),
    ) {
        let feed = showing.as_ref().map_or(0, |showing| showing.feed);
        let hour = Moment(ms).hour();
        add(self.hours.entry((hour, feed, placement as i32)).or_default());
        if hour < self.rolled_before {
            for hours in ROLLED_HOURS {
                add(self.rolled.entry((hours, hour / hours)).or_default());
            }
        }
    }

    /// Counts something of an hour, and adds its charge to the hour of the journal's time.
    fn note_charged(
        &mut self,
        (ms, at): (i64, Moment),
        showing: &Option<Showing>,
        placement: u32,
        charge: &Option<Charge>,
        add: impl Fn(&mut Tally),
    ) {
        if Moment(ms).hour() == at.hour() {
            self.note_shown(ms, showing, placement, |tally| {
                add(tally);
                tally.charge(charge.as_ref());
            });
        } else {
            self.note_shown(ms, showing, placement, add);
            if charge.is_some() {
                self.note_shown(at.0, showing, placement, |tally| tally.charge(charge.as_ref()));
            }
        }
    }

    /// Adds the hours that have ended to the sums.
    pub(in crate::state) fn roll(&mut self, at: Moment) {
        let hour = at.hour();
        if hour <= self.rolled_before {
            return;
        }
        let ended = (self.rolled_before, 0, i32::MIN)..(hour, 0, i32::MIN);
        for ((hour, ..), tally) in self.hours.range(ended) {
            for hours in ROLLED_HOURS {
                self.rolled.entry((hours, hour / hours)).or_default().merge_counts(tally);
            }
        }
        self.rolled_before = hour;
    }

    pub(in crate::state) fn see(&mut self, fact: &ImpressionSeen, at: Moment) {
        let (showing, charge) = (&fact.showing, &fact.charge);
        self.note_charged((fact.event_ms, at), showing, fact.placement, charge, |tally| {
            *tally.seen(fact.invalid) += 1;
        });
        let context = context_of_view(fact);
        let event = happened(showing, Some(&context), fact.event_ms, at);
        if fact.invalid == 0 {
            self.days.see(event, charge.as_ref());
        } else {
            self.days.charge(event, charge.as_ref());
        }
    }

    pub(in crate::state) fn watch(&mut self, fact: &Watched, at: Moment) {
        self.note_shown(fact.event_ms, &fact.showing, fact.placement, |tally| tally.viewable += 1);
        let event = happened(&fact.showing, fact.context.as_ref(), fact.event_ms, at);
        self.days.count(event, None, |counts| counts.viewable += 1);
    }

    pub(in crate::state) fn pass(&mut self, hour: u32, reasons: &[Reason]) {
        let last = self.passed.keys().next_back().map_or(hour, |last| hour.max(*last));
        let first = last.saturating_sub(PASSED_HOURS - 1);
        if reasons.is_empty() || hour < first {
            return;
        }
        let counts = self.passed.entry(hour).or_default();
        for reason in reasons {
            *counts.entry(reason.reason).or_default() += u64::from(reason.count);
        }
        while counts.len() > PASSED_REASONS_MAX {
            let smallest = counts.iter().min_by_key(|(reason, count)| (**count, Reverse(**reason)));
            let Some(smallest) = smallest.map(|(reason, _)| *reason) else { break };
            counts.remove(&smallest);
        }
        self.passed = self.passed.split_off(&first);
    }

    pub(in crate::state) fn tap(&mut self, fact: &Tapped, at: Moment) {
        let (showing, charge) = (&fact.showing, &fact.charge);
        self.note_charged((fact.event_ms, at), showing, fact.placement, charge, |tally| {
            *tally.tapped(fact.invalid) += 1;
            tally.tap_people += u64::from(fact.new_person);
        });
        let event = happened(showing, fact.context.as_ref(), fact.event_ms, at);
        if fact.invalid == 0 {
            self.days.count_charged(event, Some(Step::Tapped), charge.as_ref(), |counts| {
                counts.taps += 1;
            });
        } else {
            self.days.charge(event, charge.as_ref());
        }
    }

    pub(in crate::state) fn open(&mut self, fact: &ClickMatched, at: Moment) {
        let placement = placement_of(fact.context.as_ref());
        let context = fact.context.as_ref();
        if fact.implied_tap {
            self.note_shown(fact.touch_ms, &fact.showing, placement, |tally| {
                *tally.tapped(fact.invalid) += 1;
                tally.tap_people += u64::from(fact.new_tap_person);
            });
            if fact.invalid == 0 {
                let tapped = happened(&fact.showing, context, fact.touch_ms, at);
                self.days.count(tapped, Some(Step::Tapped), |counts| counts.taps += 1);
            }
        }
        let (showing, charge) = (&fact.showing, &fact.charge);
        self.note_charged((fact.event_ms, at), showing, placement, charge, |tally| {
            *tally.opened(fact.invalid) += 1;
            if fact.invalid == 0 {
                tally.funnel().open(fact);
            }
        });
        let event = happened(showing, context, fact.event_ms, at);
        if fact.invalid == 0 {
            let opened = Happened { entry_point: fact.entry_point, ..event };
            self.days.count(opened, Some(Step::Opened), |counts| counts.conversations += 1);
        }
        self.days.charge(event, charge.as_ref());
    }

    pub(in crate::state) fn convert(&mut self, fact: &ConversionCredited, at: Moment) {
        let context = fact.context.as_ref();
        let placement = placement_of(context);
        self.note_shown(fact.event_ms, &fact.showing, placement, |tally| tally.convert(fact));
        let event = happened(&fact.showing, context, fact.event_ms, at);
        self.days.convert(event, fact.value.as_ref());
    }
}

/// Returns an event of a showing, as the days count it.
fn happened<'a>(
    showing: &Option<Showing>,
    context: Option<&'a ViewContext>,
    event_ms: i64,
    at: Moment,
) -> Happened<'a> {
    let viewer = showing.as_ref().map_or(0, |showing| showing.viewer);
    Happened { context, entry_point: 0, viewer, event_ms, at }
}

fn placement_of(context: Option<&ViewContext>) -> u32 {
    context.map_or(0, |context| context.placement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::HOUR_MS;

    #[test]
    fn spans_cover_the_hours_once() {
        for seed in 0..400_u64 {
            let mut state = seed;
            let mut roll = |end: u32| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u32 % end
            };
            let base = (roll(3) + 1) * ROLLED_HOURS[1] - roll(40);
            let mut ad = AdTally::default();
            for _ in 0..roll(200) {
                let hour = base + roll(1_000);
                ad.note(i64::from(hour) * HOUR_MS, |tally| tally.impressions += 1);
            }
            for _ in 0..20 {
                let start = if roll(4) == 0 { 0 } else { base + roll(1_000) };
                let end = if roll(4) == 0 { u32::MAX } else { start + 1 + roll(1_000) };
                let rolled_before = if roll(4) == 0 { 0 } else { base + roll(1_200) };
                let longest = [0, ROLLED_HOURS[0], u32::MAX][roll(3) as usize];
                let (mut shown, mut hours) = (0, Vec::new());
                ad.cover(start, end, rolled_before, longest, |hour, tally| {
                    shown += tally.impressions;
                    hours.push(hour);
                });
                let wanted =
                    ad.between(start, end).map(|(_, tally)| tally.impressions).sum::<u64>();
                let what = format!("seed {seed}: {start}..{end}, {rolled_before}, {longest}");
                assert_eq!(shown, wanted, "{what}");
                assert!(hours.is_sorted_by(|one, other| one < other), "{what}: {hours:?}");
                assert!(hours.iter().all(|hour| (start..end).contains(hour)), "{what}: {hours:?}");
                if longest == 0 {
                    assert_eq!(hours.len(), ad.between(start, end).count(), "{what}");
                }
            }
        }
    }
}
