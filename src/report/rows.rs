//! A report's rows: what tells them apart, how they are written, and in which order they come.

use std::cmp::Ordering;
use std::{iter, mem};

use crate::report::columns::Sums;
use crate::report::metrics::{METRICS, clear, number_of};
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

/// The rows of a report: groups that differ in more than the period, and in each its periods.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// By key without a period.
    groups: Map<Key, usize>,
    periods: Vec<Periods>,
    sums: Vec<Sums>,
}

/// The periods of a group, ascending, and where their sums are. Most groups have one: it needs no memory of its own.
#[derive(Debug)]
struct Periods {
    first: (i64, usize),
    others: Vec<(i64, usize)>,
}

impl Periods {
    /// Returns the period of a place, from 0.
    fn get(&self, at: usize) -> Option<(i64, usize)> {
        at.checked_sub(1).map_or(Some(self.first), |at| self.others.get(at).copied())
    }

    fn iter(&self) -> impl Iterator<Item = (i64, usize)> {
        iter::once(self.first).chain(self.others.iter().copied())
    }

    /// Returns the place of a period, or where it belongs.
    fn find(&self, period: i64) -> Result<usize, usize> {
        match period.cmp(&self.first.0) {
            Ordering::Less => Err(0),
            Ordering::Equal => Ok(0),
            Ordering::Greater => {
                let found = self.others.binary_search_by_key(&period, |(known, _)| *known);
                found.map(|at| at + 1).map_err(|at| at + 1)
            }
        }
    }

    fn insert(&mut self, at: usize, period: (i64, usize)) {
        if let Some(behind) = at.checked_sub(1) {
            self.others.insert(behind, period);
        } else {
            self.others.insert(0, mem::replace(&mut self.first, period));
        }
    }
}

/// A place among the periods of a group. An ad's hours ascend, so the next period is mostly the same one, or the one
/// behind it.
#[derive(Debug)]
pub(super) struct Place {
    group: usize,
    at: usize,
}

/// A row that is not written yet.
struct Found<'a> {
    /// Without its period.
    key: &'a Key,
    period: i64,
    sums: usize,
}

impl Found<'_> {
    fn key(&self) -> Key {
        Key { period: self.period, ..*self.key }
    }
}

impl Rows {
    /// Returns the place of a period among those of a group.
    pub(super) fn place(&mut self, key: Key) -> Place {
        let (next, sums) = (self.periods.len(), self.sums.len());
        let group = *self.groups.entry(Key { period: i64::MIN, ..key }).or_insert(next);
        if group == next {
            self.periods.push(Periods { first: (key.period, sums), others: Vec::new() });
            self.sums.push(Sums::default());
        }
        let mut place = Place { group, at: 0 };
        self.at(&mut place, key.period);
        place
    }

    /// Returns the row of a period, and moves the place to it.
    pub(super) fn at(&mut self, place: &mut Place, period: i64) -> &mut Sums {
        let periods = &mut self.periods[place.group];
        let is = |at: usize| periods.get(at).is_some_and(|(known, _)| known == period);
        if !is(place.at) {
            place.at = if is(place.at + 1) {
                place.at + 1
            } else {
                periods.find(period).unwrap_or_else(|at| {
                    periods.insert(at, (period, self.sums.len()));
                    self.sums.push(Sums::default());
                    at
                })
            };
        }
        let found = periods.get(place.at).unwrap_or(periods.first);
        &mut self.sums[found.1]
    }

    /// Returns the row of a key.
    pub(super) fn row(&mut self, key: Key) -> &mut Sums {
        let mut place = self.place(key);
        self.at(&mut place, key.period)
    }

    /// Adds what other rows have counted. What is in one of both only, as most groups are, is moved.
    pub(super) fn merge(&mut self, mut other: Self) {
        let base = self.sums.len();
        self.sums.append(&mut other.sums);
        self.groups.reserve(other.groups.len());
        self.periods.reserve(other.periods.len());
        // By their numbers, so that each comes up once and in order.
        let mut keys: Vec<_> = other.groups.into_iter().map(|(key, group)| (group, key)).collect();
        keys.sort_unstable_by_key(|(group, _)| *group);
        for ((_, key), mut theirs) in keys.into_iter().zip(other.periods) {
            theirs.first.1 += base;
            theirs.others.iter_mut().for_each(|(_, sums)| *sums += base);
            let next = self.periods.len();
            let group = *self.groups.entry(key).or_insert(next);
            if group == next {
                self.periods.push(theirs);
                continue;
            }
            for (period, sums) in theirs.iter() {
                let ours = &mut self.periods[group];
                match ours.find(period) {
                    Err(at) => ours.insert(at, (period, sums)),
                    Ok(at) => {
                        let more = mem::take(&mut self.sums[sums]);
                        let ours = ours.get(at).unwrap_or(ours.first);
                        self.sums[ours.1].merge(&more);
                    }
                }
            }
        }
    }

    /// Returns the asked page of rows in their order, and how many rows there are.
    pub(super) fn page(&self, query: &Query) -> (Vec<ReportRow>, usize) {
        let rows = self.ordered();
        let skip = usize::try_from(query.skip).unwrap_or(usize::MAX).min(rows.len());
        let end = skip.saturating_add(query.limit).min(rows.len());
        let absent: Vec<Metric> = METRICS.into_iter().filter(|it| !query.asks(*it)).collect();
        let finished = |row: &Found<'_>| {
            let mut row = self.sums[row.sums].finish(&row.key());
            clear(&mut row, &absent);
            row
        };
        let page = if query.order.is_empty() {
            rows[skip..end].iter().map(finished).collect()
        } else {
            let first = self.first(&query.order, &rows, end);
            first[skip..].iter().map(|at| finished(&rows[*at])).collect()
        };
        (page, rows.len())
    }

    /// Returns all rows in the order of their keys.
    fn ordered(&self) -> Vec<Found<'_>> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_unstable_by_key(|(key, _)| **key);
        let mut rows = Vec::with_capacity(self.sums.len());
        for (key, group) in &groups {
            let found = |(period, sums)| Found { key, period, sums };
            rows.extend(self.periods[**group].iter().map(found));
        }
        // The currency comes behind the period: groups that differ in it alone are one after the other.
        let same = |pair: &[(&Key, &usize)]| {
            let [one, other] = [pair[0].0, pair[1].0].map(|key| Key { currency: 0, ..*key });
            one == other
        };
        if groups.windows(2).any(same) {
            rows.sort_by_key(Found::key);
        }
        rows
    }

    /// Returns where the first `end` rows are by an order; equals keep their order.
    fn first(&self, order: &[Order], rows: &[Found<'_>], end: usize) -> Vec<usize> {
        let numbers = |order: &Order| match order.by {
            By::Dimension(_) => Vec::new(),
            By::Metric(metric) => {
                let number = |row: &Found<'_>| {
                    number_of(&self.sums[row.sums].finish(&row.key()), metric).flatten()
                };
                rows.iter().map(number).collect::<Vec<_>>()
            }
        };
        let orders: Vec<_> = order.iter().map(|order| (order, numbers(order))).collect();
        let compare = |one: &usize, other: &usize| {
            let mut found = orders.iter().map(|(order, numbers)| {
                let found = match order.by {
                    By::Dimension(dimension) => {
                        rows[*one].key().compare(&rows[*other].key(), dimension)
                    }
                    By::Metric(_) => numbers[*one].cmp(&numbers[*other]),
                };
                if order.descending { found.reverse() } else { found }
            });
            found.find(|found| found.is_ne()).unwrap_or_else(|| one.cmp(other))
        };
        let mut places: Vec<usize> = (0..rows.len()).collect();
        if end < places.len() {
            places.select_nth_unstable_by(end, compare);
            places.truncate(end);
        }
        places.sort_unstable_by(compare);
        places
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::state::tallies::Tally;

    fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
        let mut state = seed;
        move |end| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % end
        }
    }

    /// The twin: every row in one map, all finished, sorted by a stable sort.
    fn plain(query: &Query, rows: &BTreeMap<Key, u64>) -> Vec<ReportRow> {
        let mut rows: Vec<_> = rows.iter().map(|(key, sum)| (*key, *sum)).collect();
        rows.sort_by(|(key, sum), (other_key, other)| {
            let orders = query.order.iter().map(|order| {
                let found = match order.by {
                    By::Dimension(dimension) => key.compare(other_key, dimension),
                    By::Metric(_) => sum.cmp(other),
                };
                if order.descending { found.reverse() } else { found }
            });
            orders.fold(Ordering::Equal, Ordering::then)
        });
        let page = rows.into_iter().skip(query.skip as usize).take(query.limit);
        page.map(|(key, impressions)| ReportRow { impressions, ..key.row() }).collect()
    }

    #[test]
    fn pages_are_what_sorting_all_rows_gives() {
        for seed in 0..300 {
            let mut roll = dice(seed);
            let orders = [
                By::Metric(Metric::Impressions),
                By::Dimension(Dimension::Campaign),
                By::Dimension(Dimension::Day),
            ];
            let mut order = || Order { by: orders[roll(3) as usize], descending: roll(2) == 0 };
            let order = (0..seed % 4).map(|_| order()).collect();
            let query = Query {
                metrics: vec![Metric::Impressions],
                order,
                skip: roll(20),
                limit: roll(40) as usize,
                ..Query::default()
            };
            let (mut parts, mut twin) = ([Rows::default(), Rows::default()], BTreeMap::new());
            for _ in 0..roll(30) {
                let key = Key { campaign: roll(3), currency: roll(2) as u8, ..Key::default() };
                let rows = &mut parts[roll(2) as usize];
                let mut place = None;
                let mut period = roll(9) as i64;
                for _ in 0..roll(12) {
                    // Mostly ascending, as an ad's hours are; at times not.
                    period = if roll(12) == 0 { roll(9) as i64 } else { period + roll(2) as i64 };
                    let impressions = roll(4);
                    let tally = Tally { impressions, ..Tally::default() };
                    let key = Key { period, ..key };
                    let place = place.get_or_insert_with(|| rows.place(key));
                    rows.at(place, period).add(&tally, "");
                    *twin.entry(key).or_default() += impressions;
                }
            }
            let [mut rows, others] = parts;
            rows.merge(others);
            let again = format!("seed {seed}; again: cargo test --lib pages_are_what_sorting");
            let (page, count) = rows.page(&query);
            assert_eq!(count, twin.len(), "{again}");
            assert_eq!(page, plain(&query, &twin), "{again}");
        }
    }
}
