//! An ad's days (UTC): its people, and its counts by one attribute of a view at a time.
//!
//! Counts by attributes of viewers are shown on a grid that never changes: whole days, each frozen a day after
//! its end, and in it only cells of enough people. Whatever is asked is a sum of such cells, so the difference
//! of two answers tells no more than the cells do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::crowd::{Few, People};
use crate::state::tally::{add_value, add_values};
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
        self.spend = self.spend.saturating_add(other.spend);
        add_values(&mut self.values, &other.values);
    }
}

/// How many people a cell has of each step.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct Crowd {
    /// A bit for each step of which there are enough.
    enough: u8,
    /// Those who took the other steps, while the day is open; `None`: nobody did.
    few: Option<Box<[Few; 4]>>,
}

impl Crowd {
    const fn has_enough(&self, step: Step) -> bool {
        self.enough & 1 << step as u8 != 0
    }

    /// Adds a person of an open day, of which no crowd is closed yet.
    fn add(&mut self, step: Step, person: u64) {
        if self.has_enough(step) {
            return;
        }
        let few = self.few.get_or_insert_default();
        if few[step as usize].add(person, step.enough()) {
            self.enough |= 1 << step as u8;
            if few.iter().all(Few::is_empty) {
                self.few = None;
            }
        }
    }

    fn close(&mut self) {
        self.few = None;
    }
}

/// The counts of one value.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cell {
    /// What is counted.
    pub counts: Counts,
    crowd: Crowd,
}

/// The cells of a day, by cut and value. Their keys stand together, so that one is found in a few cache lines.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct Cells {
    /// Ascending.
    keys: Vec<(Cut, u32)>,
    /// In the same order.
    cells: Vec<Cell>,
}

impl Cells {
    /// Returns a cut's values with their cells, ascending.
    fn of(&self, cut: Cut) -> impl Iterator<Item = (u32, &Cell)> {
        let from = self.keys.partition_point(|key| *key < (cut, 0));
        let to = self.keys.partition_point(|key| *key <= (cut, REST));
        let values = self.keys[from..to].iter().map(|(_, value)| *value);
        values.zip(&self.cells[from..to])
    }

    /// Returns the cell that counts a value, and whether it is the value's own: where there are too many lower
    /// ones, it is that of [`REST`].
    fn place(&mut self, cut: Cut, value: u32) -> (&mut Cell, bool) {
        match self.keys.binary_search(&(cut, value)) {
            Ok(at) => (&mut self.cells[at], value != REST),
            Err(_) if value == REST => (self.insert((cut, REST)), false),
            Err(_) => self.add(cut, value),
        }
    }

    /// Only the lowest numbers are kept, so it does not matter which came first.
    fn add(&mut self, cut: Cut, value: u32) -> (&mut Cell, bool) {
        let from = self.keys.partition_point(|key| *key < (cut, 0));
        let to = self.keys.partition_point(|key| *key < (cut, REST));
        if to - from < BREAKDOWN_VALUES_MAX {
            return (self.insert((cut, value)), true);
        }
        if self.keys[to - 1].1 < value {
            return (self.insert((cut, REST)), false);
        }
        self.keys.remove(to - 1);
        let gone = self.cells.remove(to - 1);
        self.insert((cut, REST)).counts.merge(&gone.counts);
        (self.insert((cut, value)), true)
    }

    /// Returns the cell of a key, made where there is none.
    fn insert(&mut self, key: (Cut, u32)) -> &mut Cell {
        let at = self.keys.binary_search(&key).unwrap_or_else(|at| {
            self.keys.insert(at, key);
            self.cells.insert(at, Cell::default());
            at
        });
        &mut self.cells[at]
    }
}

/// One day of an ad.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AdDay {
    /// Who saw it, while the day was open.
    pub people: People,
    /// How often they did.
    pub seen: u64,
    cells: Cells,
}

impl AdDay {
    /// Returns each cell of a cut with the value that it is shown under: [`REST`] where it is folded, because
    /// it or another has too few people for one of the steps.
    ///
    /// Where a cell is folded, the one with the fewest impressions of those with enough people is folded too:
    /// what is left of the ad's own total is then never a single cell, nor one of too few people.
    pub fn shown(&self, cut: Cut, steps: &[Step], is_frozen: bool) -> Vec<(u32, &Cell)> {
        let mut cells: Vec<_> = self.cells.of(cut).collect();
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
        self.cells.of(cut).map(|(value, _)| value)
    }

    /// Counts something in the cells of all cuts.
    fn count(
        &mut self,
        event: &Happened<'_>,
        is_frozen: bool,
        step: Option<Step>,
        add: impl Fn(&mut Counts),
    ) {
        for (cut, value) in event.cuts() {
            let of_viewer = cut.is_of_viewer();
            let is_late = is_frozen && of_viewer;
            let (cell, is_own) = self.cells.place(cut, if is_late { REST } else { value });
            add(&mut cell.counts);
            if let Some(step) = step.filter(|_| !is_frozen && is_own && of_viewer) {
                cell.crowd.add(step, event.viewer);
            }
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
        let all = [
            (Cut::Country, context.country),
            (Cut::Region, context.country << 16 | context.region),
            (Cut::AgeGender, context.age_gender),
            (Cut::Os, context.os_device >> 4),
            (Cut::Position, context.position),
            (Cut::EntryPoint, self.entry_point as u32),
        ];
        let count = if self.entry_point == 0 { all.len() - 1 } else { all.len() };
        all.into_iter().take(count)
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
    pub(in crate::state) fn see(&mut self, event: Happened<'_>, charge: Option<&Charge>) {
        self.count_charged(event, Some(Step::Seen), charge, |counts| counts.impressions += 1);
    }

    /// Counts something in the cells of all cuts.
    pub(in crate::state) fn count(
        &mut self,
        event: Happened<'_>,
        step: Option<Step>,
        add: impl Fn(&mut Counts),
    ) {
        self.count_charged(event, step, None, add);
    }

    /// Counts something, and adds its charge to the day of the journal's time.
    pub(in crate::state) fn count_charged(
        &mut self,
        event: Happened<'_>,
        step: Option<Step>,
        charge: Option<&Charge>,
        add: impl Fn(&mut Counts),
    ) {
        self.close(event.at);
        let number = day_number(event.event_ms);
        let is_frozen = is_frozen(number, event.at);
        // Most charges are of the day of their event: its cells are then found once.
        let is_same_day = event.entry_point == 0 && number == day_number(event.at.0);
        let spend = charge.filter(|_| is_same_day).map_or(0, |charge| charge.amount);
        let day = self.days.entry(number).or_default();
        if step == Some(Step::Seen) && !is_frozen {
            day.people.add(event.viewer);
            day.seen += 1;
        }
        day.count(&event, is_frozen, step, |counts| {
            add(counts);
            counts.spend += spend;
        });
        if !is_same_day {
            self.charge(event, charge);
        }
    }

    /// Counts a conversion's value too.
    pub(in crate::state) fn convert(&mut self, event: Happened<'_>, value: Option<&Money>) {
        self.count(event, Some(Step::Converted), |counts| {
            counts.conversions += 1;
            if let Some(Money { micros, currency }) = value {
                add_value(&mut counts.values, currency, *micros);
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
            day.cells.cells.iter_mut().for_each(|cell| cell.crowd.close());
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
        let charge = Charge { amount: number % 2, ..Charge::default() };
        match number % 3 {
            0 => return ad.see(event, Some(&charge)),
            1 => ad.count(event, Some(Step::Tapped), |counts| counts.taps += 1),
            _ => ad.count(event, None, |counts| counts.viewable += 1),
        }
        ad.charge(event, Some(&charge));
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
        let mut countries = one.days.values().map(|day| day.cells.of(Cut::Country).count());
        assert!(countries.any(|count| count == BREAKDOWN_VALUES_MAX + 1));
        let closed = |day: &AdDay| day.cells.cells.iter().all(|it| it.crowd.few.is_none());
        assert!(one.days.values().next().is_some_and(closed));
    }
}
