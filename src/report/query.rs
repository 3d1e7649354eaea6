//! A report's question, and the fold of tallies that answers it.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;

use crate::report::columns::Sums;
use crate::report::metrics::{METRICS, mismatch, steps_of};
use crate::report::rows::{Key, Order, arrange};
use crate::report::settled::settled_fraction;
use crate::state::Map;
use crate::state::breakdowns::{AUDIENCE_MIN, Cut, Step, day_number, is_frozen};
use crate::state::catalog::{Catalog, Family};
use crate::state::credit::confidence_of;
use crate::state::feeds::Feeds;
use crate::state::lateness::{DELAY_HOURS, Delays, Lateness};
use crate::state::tallies::{AdTally, Tally};
use crate::types::day::{Day, day_of};
use crate::types::iso::currency_index;
use crate::types::proto::v1::{
    AttributionModel, Dimension, EmptySlots, MatchKind, Metric, QueryReportResponse, ReportRow,
};
use crate::types::request::Scope;
use crate::types::time::{DAY_MS, HOUR_MS, Moment};

/// Hours of a day.
const DAY_HOURS: u32 = (DAY_MS / HOUR_MS) as u32;

/// Only what is of these; an empty list takes all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filters {
    /// Campaigns.
    pub campaigns: Vec<u64>,
    /// Ad sets.
    pub ad_sets: Vec<u64>,
    /// Ads.
    pub ads: Vec<u64>,
    /// Numbers of `Channel`.
    pub channels: Vec<i32>,
    /// Feeds.
    pub feeds: Vec<u32>,
    /// Numbers of `Placement`.
    pub placements: Vec<i32>,
    /// Numbers of `MatchConfidence`.
    pub confidences: Vec<i32>,
    /// Numbers of `AttributionModel`.
    pub models: Vec<i32>,
    /// Numbers of `AttributionWindow`.
    pub windows: Vec<i32>,
}

/// One question, parsed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query {
    /// First hour since the epoch.
    pub start_hour: u32,
    /// The hour after the last one.
    pub end_hour: u32,
    /// Whether the span has no end of its own: it ends with the hour, and the day, that runs.
    pub is_open: bool,
    /// What a row is about.
    pub dimensions: Vec<Dimension>,
    /// What rows are cut by too.
    pub breakdown: Option<Cut>,
    /// Only these columns; empty: all that go with the question.
    pub metrics: Vec<Metric>,
    /// Only this account; 0: all.
    pub account: u64,
    /// Only this campaign; 0: all.
    pub campaign: u64,
    /// What else is left out.
    pub filters: Filters,
    /// What rows are ordered by, before their dimensions.
    pub order: Vec<Order>,
    /// Rows to pass over: those of earlier pages.
    pub skip: u64,
    /// Most rows of this page.
    pub limit: usize,
}

impl Query {
    /// Tells whether rows have a column.
    pub fn asks(&self, metric: Metric) -> bool {
        if self.metrics.is_empty() {
            mismatch(metric, self).is_none()
        } else {
            self.metrics.contains(&metric)
        }
    }

    /// Tells whether rows are told apart by a dimension.
    pub fn has(&self, dimension: Dimension) -> bool {
        self.dimensions.contains(&dimension)
    }

    /// Tells whether the span is of whole days, UTC.
    pub fn has_whole_days(&self) -> bool {
        let ends = self.is_open || self.end_hour.is_multiple_of(DAY_HOURS);
        self.start_hour.is_multiple_of(DAY_HOURS) && ends
    }

    /// Tells whether people, or attributes of theirs, are asked for.
    pub fn is_of_people(&self) -> bool {
        self.breakdown.is_some_and(Cut::is_of_viewer)
            || self.asks(Metric::Reach)
            || self.asks(Metric::Frequency)
    }

    /// Tells whether outcomes are asked for as attribution models split them.
    pub fn is_of_credits(&self) -> bool {
        self.has(Dimension::Model)
            || self.has(Dimension::Window)
            || !self.filters.models.is_empty()
            || !self.filters.windows.is_empty()
    }

    /// Tells whether feeds, placements or credits are asked for, which sums of hours do not know.
    fn is_by_slot(&self) -> bool {
        let by_feed = self.has(Dimension::Feed) || !self.filters.feeds.is_empty();
        let by_placement = self.has(Dimension::Placement) || !self.filters.placements.is_empty();
        by_feed || by_placement || self.is_of_credits()
    }

    /// Tells whether a model and window are asked for: without either the default ones.
    fn holds_credit(&self, model: i32, window: i32) -> bool {
        let Filters { models, windows, .. } = &self.filters;
        let by_default = |filter: &[i32], dimension, value: i32, usual: i32| {
            if filter.is_empty() && !self.has(dimension) {
                value == usual
            } else {
                holds(filter, &value)
            }
        };
        by_default(models, Dimension::Model, model, AttributionModel::LastTouch.into())
            && by_default(windows, Dimension::Window, window, 0)
    }

    fn days(&self) -> std::ops::Range<u32> {
        let start = self.start_hour / DAY_HOURS;
        start..self.end_hour.div_ceil(DAY_HOURS).max(start)
    }
}

/// An ad that a question is about, with what its rows need of the catalog.
#[derive(Clone, Debug)]
pub struct Subject {
    family: Family,
    zone: String,
    currency: u8,
    channel: i32,
    creative: i32,
}

impl Subject {
    /// Returns an ad if the caller may see it and the question is about it.
    pub fn of(query: &Query, scope: Scope, catalog: &Catalog, ad: u64) -> Option<Self> {
        let family = catalog.family(ad)?;
        let account = family.account;
        let theirs = scope.any || catalog.tenant_of(account) == Some(scope.tenant);
        let filters = &query.filters;
        let asked = (query.account == 0 || query.account == account)
            && (query.campaign == 0 || query.campaign == family.campaign)
            && holds(&filters.campaigns, &family.campaign)
            && holds(&filters.ad_sets, &family.ad_set)
            && holds(&filters.ads, &ad);
        if !theirs || !asked {
            return None;
        }
        let channel = if query.has(Dimension::Channel) || !filters.channels.is_empty() {
            catalog.endpoints.get(family.endpoint).map_or(0, |endpoint| endpoint.channel)
        } else {
            0
        };
        let creative = || catalog.ads.get(ad)?.creative.map(|creative| creative.format);
        let creative = if query.has(Dimension::CreativeType) { creative() } else { None };
        holds(&filters.channels, &channel).then_some(Self {
            family,
            zone: catalog.zone_of(account)?.to_owned(),
            currency: currency_index(catalog.currency_of(account)?)?,
            channel: if query.has(Dimension::Channel) { channel } else { 0 },
            creative: creative.unwrap_or_default(),
        })
    }

    fn key(&self, query: &Query) -> Key {
        let of = |dimension, id: u64| if query.has(dimension) { id } else { 0 };
        Key {
            account: of(Dimension::Account, self.family.account),
            campaign: of(Dimension::Campaign, self.family.campaign),
            ad_set: of(Dimension::AdSet, self.family.ad_set),
            ad: of(Dimension::Ad, self.family.ad),
            channel: self.channel,
            creative: self.creative,
            currency: self.currency,
            ..Key::default()
        }
    }
}

/// Tells whether a filter lets something through.
fn holds<T: PartialEq>(filter: &[T], value: &T) -> bool {
    filter.is_empty() || filter.contains(value)
}

/// A report while it is being summed.
#[derive(Debug)]
pub struct Report<'a> {
    query: &'a Query,
    now: Moment,
    /// Boxed, as a row is large, and a table moves its entries.
    rows: Map<Key, Box<Sums>>,
    /// Steps that a cell of a breakdown needs enough people of.
    steps: Vec<Step>,
    has_reach: bool,
    /// Days of zones by their starts.
    days: BTreeMap<String, BTreeMap<i64, Day>>,
    /// Events of the span by hour.
    events: Map<u32, u64>,
    delays: Delays,
}

impl<'a> Report<'a> {
    /// Returns an empty report on a question at a moment.
    pub fn new(query: &'a Query, now: Moment) -> Self {
        let asked = METRICS.into_iter().filter(|metric| query.asks(*metric));
        let steps = asked.flat_map(|metric| steps_of(metric).iter().copied());
        Self {
            query,
            now,
            rows: Map::default(),
            steps: steps.collect(),
            has_reach: query.asks(Metric::Reach) || query.asks(Metric::Frequency),
            days: BTreeMap::new(),
            events: Map::default(),
            delays: [0; DELAY_HOURS],
        }
    }

    /// Learns from some ads how late events are told.
    pub fn learn(&mut self, lateness: &Lateness) {
        self.delays.iter_mut().zip(lateness.closed).for_each(|(sum, more)| *sum += more);
    }

    /// Adds what the question asks for of one ad.
    pub fn add(&mut self, subject: &Subject, tally: &AdTally) {
        if let Some(cut) = self.query.breakdown {
            self.add_cells(cut, subject, tally);
        }
        self.add_hours(subject, tally);
        if self.has_reach {
            self.add_people(subject, tally);
        }
    }

    fn add_hours(&mut self, subject: &Subject, tally: &AdTally) {
        let (query, key) = (self.query, subject.key(self.query));
        if !query.is_by_slot() {
            return self.add_spans(key, subject, tally);
        }
        let filters = &query.filters;
        for ((hour, feed, placement), tally) in tally.between(query.start_hour, query.end_hour) {
            if !holds(&filters.feeds, feed) || !holds(&filters.placements, placement) {
                continue;
            }
            let key = Key {
                feed: if query.has(Dimension::Feed) { *feed } else { 0 },
                placement: if query.has(Dimension::Placement) { *placement } else { 0 },
                period: self.period(&subject.zone, *hour),
                ..key
            };
            self.note_events(*hour, tally);
            if query.is_of_credits() {
                self.add_credits(key, tally);
            } else if query.has(Dimension::MatchConfidence) {
                self.add_matches(key, tally);
            } else {
                self.row(key).add(tally);
            }
        }
    }

    /// Adds the sums of spans of hours, as long as rows and the share of what is settled allow.
    fn add_spans(&mut self, key: Key, subject: &Subject, tally: &AdTally) {
        let query = self.query;
        let is_utc = query.has(Dimension::UtcDay) || subject.zone == "UTC";
        let longest = match () {
            () if query.has(Dimension::Hour) => 0,
            () if query.has(Dimension::Day) && !is_utc => 0,
            () if query.has(Dimension::Day) || query.has(Dimension::UtcDay) => DAY_HOURS,
            () => u32::MAX,
        };
        // Of the hours whose tokens have not all ended each one counts by itself.
        let settled = self.now.hour().saturating_sub(DELAY_HOURS as u32);
        // Without a period all of an ad is in one row.
        let has_period =
            [Dimension::Hour, Dimension::Day, Dimension::UtcDay].iter().any(|it| query.has(*it));
        let mut row: Option<(Key, Sums)> = None;
        for (hour, tally) in tally.cover(query.start_hour, query.end_hour, settled, longest) {
            self.note_events(hour, tally);
            if query.breakdown.is_some() {
                continue;
            }
            let key = Key { period: self.period(&subject.zone, hour), ..key };
            if query.has(Dimension::MatchConfidence) {
                self.add_matches(key, tally);
                continue;
            }
            if has_period {
                self.row(key).add(tally);
                continue;
            }
            match &mut row {
                Some((known, sums)) if *known == key => sums.add(tally),
                _ => {
                    let mut sums = Sums::of(key.row());
                    sums.add(tally);
                    self.put(row.replace((key, sums)));
                }
            }
        }
        self.put(row);
    }

    /// Joins a row's sums with what is known of it.
    fn put(&mut self, row: Option<(Key, Sums)>) {
        let Some((key, sums)) = row else { return };
        match self.rows.entry(key) {
            Entry::Vacant(place) => {
                place.insert(Box::new(sums));
            }
            Entry::Occupied(mut known) => known.get_mut().merge(sums),
        }
    }

    fn note_events(&mut self, hour: u32, tally: &Tally) {
        let events = tally.impressions + tally.taps + tally.conversations + tally.conversions;
        if events > 0 {
            *self.events.entry(hour).or_default() += events;
        }
    }

    fn add_matches(&mut self, key: Key, tally: &Tally) {
        for (kind, count) in tally.chats.iter().flat_map(|chats| &chats.matches) {
            let kind_of = MatchKind::try_from(*kind).unwrap_or_default();
            let confidence = i32::from(confidence_of(kind_of));
            if holds(&self.query.filters.confidences, &confidence) {
                self.row(Key { confidence, ..key }).add_matches(*kind, *count);
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
                self.row(key).add_credit(cell);
            }
        }
    }

    fn add_cells(&mut self, cut: Cut, subject: &Subject, tally: &AdTally) {
        let key = subject.key(self.query);
        for (number, day) in tally.days.days.range(self.query.days()) {
            let period = self.utc_day(*number);
            for (value, cell) in day.shown(cut, &self.steps, is_frozen(*number, self.now)) {
                self.row(Key { cut: Some(cut), value, period, ..key }).add_cell(&cell.counts);
            }
        }
    }

    fn add_people(&mut self, subject: &Subject, tally: &AdTally) {
        let key = subject.key(self.query);
        for (number, day) in tally.days.days.range(self.query.days()) {
            // A register is of one person at least.
            if is_frozen(*number, self.now) && day.people.filled() >= AUDIENCE_MIN {
                let period = self.utc_day(*number);
                self.row(Key { period, ..key }).add_people(day);
            }
        }
    }

    fn row(&mut self, key: Key) -> &mut Sums {
        self.rows.entry(key).or_insert_with(|| Box::new(Sums::of(key.row())))
    }

    /// Returns the start of the period that an hour's row is of.
    fn period(&mut self, zone: &str, hour: u32) -> i64 {
        let start = Moment(i64::from(hour) * HOUR_MS);
        if self.query.has(Dimension::Hour) {
            start.0
        } else if self.query.has(Dimension::Day) {
            self.day(zone, start).start.0
        } else {
            self.utc_day(hour / DAY_HOURS)
        }
    }

    fn utc_day(&self, number: u32) -> i64 {
        if self.query.has(Dimension::UtcDay) { i64::from(number) * DAY_MS } else { i64::MIN }
    }

    fn day(&mut self, zone: &str, at: Moment) -> Day {
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
        // In order, as sums in floating point depend on it.
        let events = self.events.iter().map(|(hour, count)| (*hour, *count)).collect();
        settled_fraction(&events, &self.delays, self.now)
    }

    /// Returns the asked page, and how many rows to pass over for the next one.
    pub fn page(self) -> (Vec<ReportRow>, Option<u64>) {
        let query = self.query;
        let total = self.rows.len() as u64;
        let skip = usize::try_from(query.skip).unwrap_or(usize::MAX);
        let rows = arrange(query, self.rows).skip(skip).take(query.limit);
        let rows: Vec<_> = rows.collect();
        let next = query.skip + rows.len() as u64;
        (rows, (next < total).then_some(next))
    }
}

/// Returns the first day (UTC) that is not in reach and breakdowns by attributes of viewers yet.
pub fn people_up_to(now: Moment) -> Moment {
    let mut day = day_number(now.0);
    while day > 0 && !is_frozen(day - 1, now) {
        day -= 1;
    }
    Moment(i64::from(day) * DAY_MS)
}

/// Writes what feeds asked for and got into an operator's answer.
pub fn add_feeds(answer: &mut QueryReportResponse, query: &Query, feeds: &Feeds) {
    let mut empty = BTreeMap::<(u32, u32), u64>::new();
    let hours = feeds.hours.iter().filter(|((feed, placement, hour), _)| {
        (query.start_hour..query.end_hour).contains(hour)
            && holds(&query.filters.feeds, feed)
            && holds(&query.filters.placements, placement)
    });
    for ((feed, ..), hour) in hours {
        answer.requests += hour.requests;
        answer.ads_served += hour.served;
        for (reason, slots) in &hour.empty {
            *empty.entry((*feed, *reason)).or_default() += slots;
        }
    }
    let row = |((feed_id, reason), slots)| EmptySlots { feed_id, reason, slots };
    answer.empty_slots = empty.into_iter().map(row).collect();
}
