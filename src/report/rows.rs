//! A report's rows: what tells them apart, how they are written, and in which order they come.

use std::cmp::Ordering;

use crate::report::columns::Sums;
use crate::report::metrics::{keep, number_of};
use crate::report::query::Query;
use crate::state::Map;
use crate::state::breakdowns::{Cut, REST};
use crate::state::credit::timestamp;
use crate::types::iso::currency_at;
use crate::types::proto::v1::{AgeBand, Dimension, EntryPoint, Gender, Metric, Os, ReportRow};
use crate::types::token::unpack_region;

/// What tells rows apart, in their order. 0 where a dimension was not asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Key {
    pub(super) account: u64,
    pub(super) campaign: u64,
    pub(super) ad_set: u64,
    pub(super) ad: u64,
    pub(super) channel: i32,
    pub(super) feed: u32,
    pub(super) placement: i32,
    pub(super) confidence: i32,
    pub(super) creative: i32,
    pub(super) model: i32,
    pub(super) window: i32,
    pub(super) cut: Option<Cut>,
    pub(super) value: u32,
    /// Its start, milliseconds; the least number: none was asked for.
    pub(super) period: i64,
    /// Its place among currencies.
    pub(super) currency: u8,
}

impl Default for Key {
    fn default() -> Self {
        Self {
            account: 0,
            campaign: 0,
            ad_set: 0,
            ad: 0,
            channel: 0,
            feed: 0,
            placement: 0,
            confidence: 0,
            creative: 0,
            model: 0,
            window: 0,
            cut: None,
            value: 0,
            period: i64::MIN,
            currency: 0,
        }
    }
}

impl Key {
    /// Returns a row that says what it is about.
    pub(super) fn row(self) -> ReportRow {
        let is_rest = self.cut.is_some() && self.value == REST;
        let named = self.cut.filter(|_| !is_rest && self.value != 0);
        ReportRow {
            account_id: self.account,
            campaign_id: self.campaign,
            ad_set_id: self.ad_set,
            ad_id: self.ad,
            channel: self.channel,
            feed_id: self.feed,
            placement: self.placement,
            match_confidence: self.confidence,
            creative_type: self.creative,
            model: self.model,
            window: self.window,
            breakdown: named.map(|cut| name_of(cut, self.value)).unwrap_or_default(),
            other: is_rest,
            period: (self.period != i64::MIN).then(|| timestamp(self.period)),
            currency: currency_at(self.currency).unwrap_or_default().to_owned(),
            ..ReportRow::default()
        }
    }

    /// Compares two rows by one dimension.
    fn compare(&self, other: &Self, dimension: Dimension) -> Ordering {
        match dimension {
            Dimension::Unspecified => Ordering::Equal,
            Dimension::Account => self.account.cmp(&other.account),
            Dimension::Campaign => self.campaign.cmp(&other.campaign),
            Dimension::AdSet => self.ad_set.cmp(&other.ad_set),
            Dimension::Ad => self.ad.cmp(&other.ad),
            Dimension::Hour | Dimension::Day | Dimension::UtcDay => self.period.cmp(&other.period),
            Dimension::Channel => self.channel.cmp(&other.channel),
            Dimension::Feed => self.feed.cmp(&other.feed),
            Dimension::Placement => self.placement.cmp(&other.placement),
            Dimension::MatchConfidence => self.confidence.cmp(&other.confidence),
            Dimension::CreativeType => self.creative.cmp(&other.creative),
            Dimension::Model => self.model.cmp(&other.model),
            Dimension::Window => self.window.cmp(&other.window),
        }
    }
}

/// Returns how a value of a breakdown is written.
fn name_of(cut: Cut, value: u32) -> String {
    let letters = |number: u32| {
        let letters = (number as u16).to_be_bytes().into_iter().filter(u8::is_ascii_graphic);
        letters.map(char::from).collect::<String>()
    };
    let number = |value: u32| i32::try_from(value).unwrap_or_default();
    let bare = |name: &'static str, prefix: &str| name.strip_prefix(prefix).unwrap_or(name);
    match cut {
        Cut::Country => letters(value),
        Cut::Region => match unpack_region(value as u16) {
            region if region.is_empty() => letters(value >> 16),
            region => format!("{}-{region}", letters(value >> 16)),
        },
        Cut::AgeGender => {
            let age = AgeBand::try_from(number(value >> 4)).unwrap_or_default();
            let gender = Gender::try_from(number(value & 0xF)).unwrap_or_default();
            let age = bare(age.as_str_name(), "AGE_BAND_");
            format!("{age} {}", bare(gender.as_str_name(), "GENDER_"))
        }
        Cut::Os => {
            bare(Os::try_from(number(value)).unwrap_or_default().as_str_name(), "OS_").into()
        }
        Cut::Position => value.to_string(),
        Cut::EntryPoint => {
            let point = EntryPoint::try_from(number(value)).unwrap_or_default();
            bare(point.as_str_name(), "ENTRY_POINT_").into()
        }
    }
}

/// What rows are ordered by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// A metric that is one number.
    Metric(Metric),
    /// A dimension of the question.
    Dimension(Dimension),
}

/// One order of rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// What of them.
    pub by: By,
    /// From the highest to the lowest.
    pub descending: bool,
}

/// Returns the finished rows in their order.
pub(super) fn arrange(
    query: &Query,
    rows: Map<Key, Box<Sums>>,
) -> Box<dyn Iterator<Item = ReportRow> + '_> {
    let finished = |(key, sums): (Key, Box<Sums>)| (key, sums.finish());
    let kept = |(_, mut row): (Key, ReportRow)| {
        keep(&mut row, |metric| query.asks(metric));
        row
    };
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    if query.order.is_empty() {
        return Box::new(rows.into_iter().map(finished).map(kept));
    }
    let mut rows: Vec<_> = rows.into_iter().map(finished).collect();
    // The sort is stable, so equals stay in the order of their keys.
    rows.sort_by(|(key, row), (other_key, other)| {
        let mut orders = query.order.iter().map(|order| {
            let found = match order.by {
                By::Dimension(dimension) => key.compare(other_key, dimension),
                By::Metric(metric) => number_of(row, metric).cmp(&number_of(other, metric)),
            };
            if order.descending { found.reverse() } else { found }
        });
        orders.find(|found| *found != Ordering::Equal).unwrap_or(Ordering::Equal)
    });
    Box::new(rows.into_iter().map(kept))
}
