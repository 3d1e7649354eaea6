//! The fold of tallies that answers a report's question.

use std::collections::BTreeMap;

use crate::report::metrics::{METRICS, steps_of};
use crate::report::noise::{Cost, NOISY_COUNTS};
use crate::report::query::{DAY_HOURS, Query, holds};
use crate::report::rows::{Key, Rows};
use crate::report::settled::settled_fraction;
use crate::report::subjects::Subject;
use crate::state::breakdowns::{AUDIENCE_MIN, Cut, Step, is_frozen};
use crate::state::credit::confidence_of;
use crate::state::lateness::{DELAY_HOURS, Delays, Lateness};
use crate::state::tallies::{AdTally, Tally};
use crate::types::day::{Day, day_of};
use crate::types::proto::v1::{Dimension, MatchKind, Metric, ReportRow};
use crate::types::time::{DAY_MS, HOUR_MS, Moment};

/// The period that rows are of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Period {
    Whole,
    Hour,
    /// Of the account's zone.
    Day,
    UtcDay,
}

impl Period {
    fn of(query: &Query) -> Self {
        match () {
            () if query.has(Dimension::Hour) => Self::Hour,
            () if query.has(Dimension::Day) => Self::Day,
            () if query.has(Dimension::UtcDay) => Self::UtcDay,
            () => Self::Whole,
        }
    }
}

/// A report while it is being summed.
#[derive(Debug)]
pub struct Report<'a> {
    query: &'a Query,
    now: Moment,
    period: Period,
    rows: Rows,
    /// Steps that a cell of a breakdown needs enough people of.
    steps: Vec<Step>,
    has_reach: bool,
    by_confidence: bool,
    /// Days of zones by their starts.
    days: BTreeMap<String, BTreeMap<i64, Day>>,
    /// The last one of the ad that is being added: mostly the next hour's too.
    day: Option<Day>,
    /// The hours before this one are told whole: they need not be told apart.
    settled: u32,
    /// Events of those hours.
    settled_events: u64,
    /// Events of later hours.
    events: BTreeMap<u32, u64>,
    delays: Delays,
    /// What the question costs accounts whose viewers it tells of.
    costs: BTreeMap<u64, Cost>,
}

impl<'a> Report<'a> {
    /// Returns an empty report on a question at a moment.
    pub fn new(query: &'a Query, now: Moment) -> Self {
        let asked = METRICS.into_iter().filter(|metric| query.asks(*metric));
        let steps = asked.flat_map(|metric| steps_of(metric).iter().copied());
        Self {
            query,
            now,
            period: Period::of(query),
            rows: Rows::default(),
            steps: steps.collect(),
            has_reach: query.asks(Metric::Reach) || query.asks(Metric::Frequency),
            by_confidence: query.has(Dimension::MatchConfidence),
            days: BTreeMap::new(),
            day: None,
            settled: now.hour().saturating_sub(DELAY_HOURS as u32),
            settled_events: 0,
            events: BTreeMap::new(),
            delays: [0; DELAY_HOURS],
            costs: BTreeMap::new(),
        }
    }

    /// Learns from some ads how late events are told.
    pub fn learn(&mut self, lateness: &Lateness) {
        self.delays.iter_mut().zip(lateness.closed).for_each(|(sum, more)| *sum += more);
    }

    /// Adds what another report on the same question has of other ads.
    pub fn merge(&mut self, other: Self) {
        self.rows.merge(other.rows);
        self.settled_events += other.settled_events;
        for (hour, events) in other.events {
            *self.events.entry(hour).or_default() += events;
        }
        self.delays.iter_mut().zip(other.delays).for_each(|(sum, more)| *sum += more);
        self.costs.extend(other.costs);
    }

    /// Adds what the question asks for of one ad.
    pub fn add(&mut self, subject: &Subject, tally: &AdTally) {
        self.day = None;
        if let Some(cut) = self.query.breakdown {
            self.add_cells(cut, subject, tally);
        }
        if self.query.is_by_slot() {
            self.add_slots(subject, tally);
        } else {
            self.add_spans(subject, tally);
        }
        if self.has_reach {
            self.add_people(subject, tally);
        }
    }

    /// Adds hours by feed and placement, or what models give in them.
    fn add_slots(&mut self, subject: &Subject, tally: &AdTally) {
        let (query, key) = (self.query, subject.key(self.query));
        let (by_feed, by_placement) = (query.has(Dimension::Feed), query.has(Dimension::Placement));
        let (filters, is_of_credits) = (&query.filters, query.is_of_credits());
        for ((hour, feed, placement), tally) in tally.between(query.start_hour, query.end_hour) {
            if !holds(&filters.feeds, feed) || !holds(&filters.placements, placement) {
                continue;
            }
            let key = Key {
                feed: if by_feed { *feed } else { 0 },
                placement: if by_placement { *placement } else { 0 },
                period: self.period(subject, *hour),
                ..key
            };
            self.note_events(*hour, tally);
            if is_of_credits {
                self.add_credits(key, tally);
            } else if self.by_confidence {
                self.add_matches(key, tally);
            } else {
                self.rows.row(key).add(tally, subject.currency());
            }
        }
    }

    /// Adds the sums of spans of hours, as long as rows and the share of what is settled allow.
    fn add_spans(&mut self, subject: &Subject, tally: &AdTally) {
        let (query, key) = (self.query, subject.key(self.query));
        let longest = match self.period {
            Period::Whole => u32::MAX,
            Period::Hour => 0,
            Period::Day if subject.zone() != "UTC" => 0,
            Period::Day | Period::UtcDay => DAY_HOURS,
        };
        let (settled, is_broken_down) = (self.settled, query.breakdown.is_some());
        let currency = subject.currency();
        let mut place = None;
        tally.cover(query.start_hour, query.end_hour, settled, longest, |hour, tally| {
            self.note_events(hour, tally);
            if is_broken_down {
                return;
            }
            let period = self.period(subject, hour);
            if self.by_confidence {
                return self.add_matches(Key { period, ..key }, tally);
            }
            let place = place.get_or_insert_with(|| self.rows.place(Key { period, ..key }));
            self.rows.at(place, period).add(tally, currency);
        });
    }

    fn note_events(&mut self, hour: u32, tally: &Tally) {
        let events = tally.impressions + tally.taps + tally.conversations + tally.conversions;
        if hour < self.settled {
            self.settled_events += events;
        } else if events > 0 {
            *self.events.entry(hour).or_default() += events;
        }
    }

    fn add_matches(&mut self, key: Key, tally: &Tally) {
        for (kind, count) in tally.chats.iter().flat_map(|chats| &chats.matches) {
            let kind_of = MatchKind::try_from(*kind).unwrap_or_default();
            let confidence = i32::from(confidence_of(kind_of));
            if holds(&self.query.filters.confidences, &confidence) {
                self.rows.row(Key { confidence, ..key }).add_matches(*kind, *count);
            }
        }
    }

    fn add_credits(&mut self, key: Key, tally: &Tally) {
        let query = self.query;
        for ((model, window), cell) in tally.credits.iter().flat_map(|credits| &credits.cells) {
            let (model, window) = (i32::from(*model), i32::from(*window));
            if query.holds_credit(model, window) {
                let key = Key {
                    model: if query.has(Dimension::Model) { model } else { 0 },
                    window: if query.has(Dimension::Window) { window } else { 0 },
                    ..key
                };
                self.rows.row(key).add_credit(cell);
            }
        }
    }

    fn add_cells(&mut self, cut: Cut, subject: &Subject, tally: &AdTally) {
        let key = subject.key(self.query);
        let noise = subject.noise().filter(|_| cut.is_of_viewer());
        for (number, day) in tally.days.days.range(self.query.days()) {
            let period = self.utc_day(*number);
            let is_frozen = is_frozen(*number, self.now);
            // Of an open day nothing is told by attributes.
            let noise = noise.filter(|_| is_frozen);
            let shown = day.shown(cut, &self.steps, is_frozen).into_iter();
            for ((value, cell), own) in shown.zip(day.values(cut)) {
                // By the value that it has, not the one it is shown under: however cells are folded, the same sums.
                let added = noise.map_or([0; NOISY_COUNTS], |noise| {
                    self.costs.insert(noise.cost.account, noise.cost);
                    noise.of_cell(subject.ad(), *number, (cut, own))
                });
                let row = self.rows.row(Key { cut: Some(cut), value, period, ..key });
                row.add_cell(&cell.counts, subject.currency(), added);
            }
        }
    }

    fn add_people(&mut self, subject: &Subject, tally: &AdTally) {
        let key = subject.key(self.query);
        for (number, day) in tally.days.days.range(self.query.days()) {
            // A register is of one person at least.
            if is_frozen(*number, self.now) && day.people.filled() >= AUDIENCE_MIN {
                let veil = subject.noise().map(|noise| {
                    self.costs.insert(noise.cost.account, noise.cost);
                    noise.of_people(subject.ad(), *number)
                });
                let period = self.utc_day(*number);
                self.rows.row(Key { period, ..key }).add_people(day, veil);
            }
        }
    }

    /// Returns the start of the period that an hour's row is of.
    fn period(&mut self, subject: &Subject, hour: u32) -> i64 {
        match self.period {
            Period::Hour => i64::from(hour) * HOUR_MS,
            Period::Day => self.start_of_day(subject.zone(), Moment(i64::from(hour) * HOUR_MS)),
            Period::UtcDay | Period::Whole => self.utc_day(hour / DAY_HOURS),
        }
    }

    fn utc_day(&self, number: u32) -> i64 {
        if self.period == Period::UtcDay { i64::from(number) * DAY_MS } else { i64::MIN }
    }

    fn start_of_day(&mut self, zone: &str, at: Moment) -> i64 {
        let holds = |day: &Day| day.start <= at && at < day.until;
        let day = self.day.filter(holds).unwrap_or_else(|| self.look_up_day(zone, at));
        self.day = Some(day);
        day.start.0
    }

    fn look_up_day(&mut self, zone: &str, at: Moment) -> Day {
        if !self.days.contains_key(zone) {
            self.days.insert(zone.to_owned(), BTreeMap::new());
        }
        let known = self.days.get_mut(zone).and_then(|days| {
            let (_, day) = days.range(..=at.0).next_back()?;
            (at < day.until).then_some(*day)
        });
        known.unwrap_or_else(|| {
            let day = day_of(zone, at);
            self.days.entry(zone.to_owned()).or_default().insert(day.start.0, day);
            day
        })
    }

    /// Returns the share of the span's events that is expected to be counted by now.
    pub fn settled_fraction(&self) -> Option<f64> {
        let mut events = self.events.clone();
        if self.settled_events > 0 {
            // Whichever hour they are of: nothing is expected of it any more.
            *events.entry(0).or_default() += self.settled_events;
        }
        settled_fraction(&events, &self.delays, self.now)
    }

    /// Returns what the question costs accounts with noise, where it tells of their viewers.
    pub fn costs(&self) -> impl Iterator<Item = &Cost> {
        self.costs.values()
    }

    /// Returns the asked page, and how many rows to pass over for the next one.
    pub fn page(self) -> (Vec<ReportRow>, Option<u64>) {
        let (rows, total) = self.rows.page(self.query);
        let next = self.query.skip + rows.len() as u64;
        (rows, (next < total as u64).then_some(next))
    }
}
