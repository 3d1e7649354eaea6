//! A report's question.

use std::collections::BTreeMap;

use crate::report::metrics::mismatch;
use crate::report::rows::Order;
use crate::state::breakdowns::{Cut, day_number, is_frozen};
use crate::state::feeds::Feeds;
use crate::types::proto::v1::{
    AttributionModel, Dimension, EmptySlots, Metric, QueryReportResponse,
};
use crate::types::time::{DAY_MS, HOUR_MS, Moment};

/// Hours of a day.
pub(super) const DAY_HOURS: u32 = (DAY_MS / HOUR_MS) as u32;

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
    pub(super) fn is_by_slot(&self) -> bool {
        let by_feed = self.has(Dimension::Feed) || !self.filters.feeds.is_empty();
        let by_placement = self.has(Dimension::Placement) || !self.filters.placements.is_empty();
        by_feed || by_placement || self.is_of_credits()
    }

    /// Tells whether a model and window are asked for: without either the default ones.
    pub(super) fn holds_credit(&self, model: i32, window: i32) -> bool {
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

    /// Returns the days, UTC, that the span has a part of.
    pub(super) fn days(&self) -> std::ops::Range<u32> {
        let start = self.start_hour / DAY_HOURS;
        start..self.end_hour.div_ceil(DAY_HOURS).max(start)
    }
}

/// Tells whether a filter lets something through.
pub(super) fn holds<T: PartialEq>(filter: &[T], value: &T) -> bool {
    filter.is_empty() || filter.contains(value)
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
