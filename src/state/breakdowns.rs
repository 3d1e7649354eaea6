//! An ad's days (UTC): its people, and its counts by one attribute of a view at a time.
//!
//! Counts by attributes of viewers are shown on a grid that never changes: whole days, each frozen a day after
//! its end, and in it only cells of enough people. Whatever is asked is a sum of such cells, so the difference
//! of two answers tells no more than the cells do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::crowd::{Few, People};
use crate::types::proto::journal::v1::{Charge, ViewContext};
use crate::types::proto::v1::Money;
use crate::types::time::{DAY_MS, Moment};

/// Least viewers in a cell that is shown by an attribute of viewers, and in a day's reach.
pub const AUDIENCE_MIN: usize = 50;

/// Least people who tapped, opened or converted in such a cell, where that is asked for.
pub const ACTORS_MIN: usize = 10;

/// Values of one attribute that an ad's day tells apart: the lowest numbers. The others share one cell.
pub const BREAKDOWN_VALUES_MAX: usize = 64;

/// A day takes people, and counts by their attributes, until so many days after it have ended. What is told
/// later is counted without its attributes.
pub const BREAKDOWN_OPEN_DAYS: u32 = 1;

/// The value of the cell of all that have none of their own.
pub const REST: u32 = u32::MAX;

/// What a view's counts are cut by.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Cut {
    /// Two letters as a big-endian number.
    Country,
    /// The country's number above the packed region's 16 bits.
    Region,
    /// `AgeBand` above `Gender`'s 4 bits.
    AgeGender,
    /// An `Os`.
    Os,
    /// Place in the tray, from 1.
    Position,
    /// An `EntryPoint`, of conversations only.
    EntryPoint,
}

impl Cut {
    /// Tells whether it is an attribute of viewers, which others must not learn.
    pub const fn is_of_viewer(self) -> bool {
        matches!(self, Self::Country | Self::Region | Self::AgeGender | Self::Os)
    }
}

/// What people did, as far as their number matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Saw it.
    Seen,
    /// Tapped.
    Tapped,
    /// Opened a chat.
    Opened,
    /// Converted.
    Converted,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Seen, Self::Tapped, Self::Opened, Self::Converted];

    const fn enough(self) -> usize {
        match self {
            Self::Seen => AUDIENCE_MIN,
            Self::Tapped | Self::Opened | Self::Converted => ACTORS_MIN,
        }
    }
}

/// What a cell counts. No invalid event is in it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// First frames drawn.
    pub impressions: u64,
    /// Viewable ones.
    pub viewable: u64,
    /// Taps.
    pub taps: u64,
    /// Openings matched to the ad.
    pub conversations: u64,
    /// Conversions credited.
    pub conversions: u64,
    /// Their value by currency, micros.
    pub values: BTreeMap<String, i64>,
    /// Charged on the day, by the journal's time, micros.
    pub spend: i64,
}

impl Counts {
    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.impressions += other.impressions;
        self.viewable += other.viewable;
        self.taps += other.taps;
        self.conversations += other.conversations;
        self.conversions += other.conversions;
        self.spend += other.spend;
        for (currency, micros) in &other.values {
            *self.values.entry(currency.clone()).or_default() += micros;
        }
    }
}

/// How many people a cell has of each step.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Crowd {
    Counting(Box<[Few; 4]>),
    /// A bit for each step of which there are enough.
    Closed(u8),
}

impl Default for Crowd {
    fn default() -> Self {
        Self::Closed(0)
    }
}

impl Crowd {
    fn has_enough(&self, step: Step) -> bool {
        match self {
            Self::Counting(few) => few[step as usize].is_enough(),
            Self::Closed(bits) => bits & (1 << step as u8) != 0,
        }
    }

    /// Adds a person of an open day, of which no crowd is closed yet.
    fn add(&mut self, step: Step, person: u64) {
        if let Self::Closed(_) = self {
            *self = Self::Counting(Box::default());
        }
        if let Self::Counting(few) = self {
            few[step as usize].add(person, step.enough());
        }
    }

    fn close(&mut self) {
        let bit = |step: Step| -> u8 { if self.has_enough(step) { 1 << step as u8 } else { 0 } };
        *self = Self::Closed(Step::ALL.into_iter().map(bit).sum());
    }
}

/// The counts of one value.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cell {
    /// What is counted.
    pub counts: Counts,
    crowd: Crowd,
}

/// One day of an ad.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AdDay {
    /// Who saw it, while the day was open.
    pub people: People,
    /// How often they did.
    pub seen: u64,
    cells: BTreeMap<(Cut, u32), Cell>,
}

impl AdDay {
    /// Returns each cell of a cut with the value that it is shown under: [`REST`] where it is folded, because
    /// it or another has too few people for one of the steps.
    ///
    /// Where a cell is folded, the one with the fewest impressions of those with enough people is folded too:
    /// what is left of the ad's own total is then never a single cell, nor one of too few people.
    pub fn shown(&self, cut: Cut, steps: &[Step], is_frozen: bool) -> Vec<(u32, &Cell)> {
        let cells = self.cells.range((cut, 0)..=(cut, REST));
        let mut cells: Vec<_> = cells.map(|((_, value), cell)| (*value, cell)).collect();
        if !cut.is_of_viewer() {
            return cells;
        }
        let mut folded = vec![!is_frozen; cells.len()];
        for step in steps {
            // The rest is of no value that anyone could name.
            let named = (0..cells.len()).filter(|at| cells[*at].0 != REST);
            let (few, enough): (Vec<_>, Vec<_>) =
                named.partition(|at| !cells[*at].1.crowd.has_enough(*step));
            let size = |at: &usize| (cells[*at].1.counts.impressions, cells[*at].0);
            let smallest = enough.into_iter().min_by_key(size).filter(|_| !few.is_empty());
            few.into_iter().chain(smallest).for_each(|at| folded[at] = true);
        }
        for ((value, _), folded) in cells.iter_mut().zip(folded) {
            if folded {
                *value = REST;
            }
        }
        cells
    }

    /// Returns the values of a cut, [`REST`] too, in the order of [`AdDay::shown`].
    pub fn values(&self, cut: Cut) -> impl Iterator<Item = u32> {
        self.cells.range((cut, 0)..=(cut, REST)).map(|((_, value), _)| *value)
    }

    /// Returns the value whose cell counts a value: its own, or [`REST`] where there are too many lower ones.
    fn place(&mut self, cut: Cut, value: u32) -> u32 {
        if value == REST || self.cells.contains_key(&(cut, value)) {
            return value;
        }
        let mut known = self.cells.range((cut, 0)..(cut, REST)).map(|((_, value), _)| *value);
        let is_full = known.clone().count() >= BREAKDOWN_VALUES_MAX;
        match known.next_back().filter(|_| is_full) {
            Some(highest) if highest < value => REST,
            Some(highest) => {
                // Only the lowest numbers are kept, so it does not matter which came first.
                let gone = self.cells.remove(&(cut, highest)).unwrap_or_default();
                self.cells.entry((cut, REST)).or_default().counts.merge(&gone.counts);
                value
            }
            None => value,
        }
    }
}

/// Something that happened to a showing.
#[derive(Clone, Copy, Debug)]
pub(in crate::state) struct Happened<'a> {
    pub(in crate::state) context: Option<&'a ViewContext>,
    /// An `EntryPoint`; 0: it is no conversation.
    pub(in crate::state) entry_point: i32,
    pub(in crate::state) viewer: u64,
    pub(in crate::state) event_ms: i64,
    /// The journal's time.
    pub(in crate::state) at: Moment,
}

impl Happened<'_> {
    fn cuts(&self) -> impl Iterator<Item = (Cut, u32)> {
        let context = self.context.copied().unwrap_or_default();
        let entry = (Cut::EntryPoint, self.entry_point as u32);
        let of_view = [
            (Cut::Country, context.country),
            (Cut::Region, context.country << 16 | context.region),
            (Cut::AgeGender, context.age_gender),
            (Cut::Os, context.os_device >> 4),
            (Cut::Position, context.position),
        ];
        of_view.into_iter().chain(Some(entry).filter(|(_, value)| *value != 0))
    }
}

/// The days of one ad.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AdDays {
    /// Crowds of earlier days are closed.
    closed_before: u32,
    /// By days since the epoch, UTC.
    pub days: BTreeMap<u32, AdDay>,
}

impl AdDays {
    /// Counts a view, with who saw it.
    pub(in crate::state) fn see(&mut self, event: Happened<'_>) {
        let number = day_number(event.event_ms);
        if !is_frozen(number, event.at) {
            let day = self.days.entry(number).or_default();
            day.people.add(event.viewer);
            day.seen += 1;
        }
        self.count(event, Some(Step::Seen), |counts| counts.impressions += 1);
    }

    /// Counts something in the cells of all cuts.
    pub(in crate::state) fn count(
        &mut self,
        event: Happened<'_>,
        step: Option<Step>,
        add: impl Fn(&mut Counts),
    ) {
        self.close(event.at);
        let number = day_number(event.event_ms);
        let frozen = is_frozen(number, event.at);
        let day = self.days.entry(number).or_default();
        for (cut, value) in event.cuts() {
            let late = frozen && cut.is_of_viewer();
            let value = day.place(cut, if late { REST } else { value });
            let cell = day.cells.entry((cut, value)).or_default();
            add(&mut cell.counts);
            if let Some(step) = step.filter(|_| !frozen && value != REST && cut.is_of_viewer()) {
                cell.crowd.add(step, event.viewer);
            }
        }
    }

    /// Counts a conversion's value too.
    pub(in crate::state) fn convert(&mut self, event: Happened<'_>, value: Option<&Money>) {
        self.count(event, Some(Step::Converted), |counts| {
            counts.conversions += 1;
            if let Some(Money { micros, currency }) = value {
                *counts.values.entry(currency.clone()).or_default() += micros;
            }
        });
    }

    /// Adds a charge to the day of the journal's time.
    pub(in crate::state) fn charge(&mut self, event: Happened<'_>, charge: Option<&Charge>) {
        let Some(charge) = charge.filter(|charge| charge.amount != 0) else { return };
        let event = Happened { event_ms: event.at.0, entry_point: 0, ..event };
        self.count(event, None, |counts| counts.spend += charge.amount);
    }

    /// Keeps of crowds that grow no more whether they are large enough.
    fn close(&mut self, at: Moment) {
        // A day later than they are frozen: facts of one batch may come in another order.
        let before = day_number(at.0).saturating_sub(BREAKDOWN_OPEN_DAYS + 1);
        if before <= self.closed_before {
            return;
        }
        for day in self.days.range_mut(self.closed_before..before).map(|(_, day)| day) {
            day.cells.values_mut().for_each(|cell| cell.crowd.close());
        }
        self.closed_before = before;
    }
}

/// Returns a moment's day since the epoch, UTC.
pub fn day_number(ms: i64) -> u32 {
    u32::try_from(ms.div_euclid(DAY_MS)).unwrap_or_default()
}

/// Tells whether a day takes no more people at a moment of the journal.
pub fn is_frozen(day: u32, at: Moment) -> bool {
    day_number(at.0) > day.saturating_add(BREAKDOWN_OPEN_DAYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts something of an ad by its number: day, value and kind all follow from it.
    fn count(ad: &mut AdDays, number: i64, at: Moment) {
        let context = ViewContext { country: (number * 37 % 90) as u32, ..ViewContext::default() };
        let event = Happened {
            context: Some(&context),
            entry_point: 0,
            viewer: (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15),
            event_ms: at.0 - number % 4 * DAY_MS,
            at,
        };
        match number % 3 {
            0 => ad.see(event),
            1 => ad.count(event, Some(Step::Tapped), |counts| counts.taps += 1),
            _ => ad.count(event, None, |counts| counts.viewable += 1),
        }
        ad.charge(event, Some(&Charge { amount: number % 2, ..Charge::default() }));
    }

    #[test]
    fn neither_the_order_within_a_batch_nor_too_many_values_show() {
        let (mut one, mut other) = (AdDays::default(), AdDays::default());
        for batch in 0..400 {
            let at = Moment(20_000 * DAY_MS + batch * DAY_MS / 9);
            let numbers: Vec<i64> = (batch * 21..batch * 21 + 21).collect();
            numbers.iter().for_each(|number| count(&mut one, *number, at));
            numbers.iter().rev().for_each(|number| count(&mut other, *number, at));
        }
        assert_eq!(one, other);
        let full =
            one.days.values().map(|day| day.cells.range((Cut::Country, 0)..=(Cut::Country, REST)));
        assert!(full.clone().any(|cells| cells.count() == BREAKDOWN_VALUES_MAX + 1));
        let closed =
            |day: &AdDay| day.cells.values().all(|it| matches!(it.crowd, Crowd::Closed(_)));
        assert!(one.days.values().next().is_some_and(closed));
    }
}
