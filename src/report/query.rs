//! Delivery reports: hourly tallies summed over any of account, campaign, ad set, ad, channel, hour, day.

use std::collections::BTreeMap;

use crate::report::columns::Sums;
use crate::state::catalog::{Catalog, Family};
use crate::state::credit::timestamp;
use crate::state::feeds::Feeds;
use crate::state::tallies::AdTally;
use crate::state::viewers::VIEW_MEMORY_MS;
use crate::types::day::day_of;
use crate::types::proto::v1::{Dimension, EmptySlots, QueryReportResponse, ReportRow};
use crate::types::request::Scope;
use crate::types::time::{HOUR_MS, Moment};

/// One question, parsed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query {
    /// First hour since the epoch.
    pub start_hour: u32,
    /// The hour after the last one.
    pub end_hour: u32,
    /// What a row is about.
    pub dimensions: Vec<Dimension>,
    /// Only this account; 0: all.
    pub account: u64,
    /// Only this campaign; 0: all.
    pub campaign: u64,
    /// Rows to pass over: those of earlier pages.
    pub skip: u64,
    /// Most rows of this page.
    pub limit: usize,
}

/// Account, campaign, ad set, ad, channel, start of the period, currency: what tells rows apart, in their
/// order.
type Key = (u64, u64, u64, u64, i32, i64, String);

/// A report while it is being summed.
#[derive(Debug, Default)]
pub struct Report {
    rows: BTreeMap<Key, Sums>,
}

impl Report {
    /// Adds the hours of one ad that the query asks for, if the caller may see it.
    pub fn add(
        &mut self,
        query: &Query,
        scope: Scope,
        catalog: &Catalog,
        ad: u64,
        tally: &AdTally,
    ) {
        let Some(family) = catalog.family(ad) else { return };
        let account = family.account;
        let theirs = scope.any || catalog.tenant_of(account) == Some(scope.tenant);
        let asked = (query.account == 0 || query.account == account)
            && (query.campaign == 0 || query.campaign == family.campaign);
        if !theirs || !asked || query.start_hour >= query.end_hour {
            return;
        }
        let (Some(zone), Some(currency)) = (catalog.zone_of(account), catalog.currency_of(account))
        else {
            return;
        };
        let channel = if query.dimensions.contains(&Dimension::Channel) {
            catalog.endpoints.get(family.endpoint).map_or(0, |endpoint| endpoint.channel)
        } else {
            0
        };
        for (hour, tally) in tally.hours.range(query.start_hour..query.end_hour) {
            let key = key_of(query, &family, channel, (zone, currency), *hour);
            let sums = self.rows.entry(key.clone()).or_insert_with(|| Sums::of(row_of(&key)));
            sums.add(tally);
        }
    }

    /// Returns the asked page, and how many rows to pass over for the next one.
    pub fn page(self, query: &Query) -> (Vec<ReportRow>, Option<u64>) {
        let total = self.rows.len() as u64;
        let skip = usize::try_from(query.skip).unwrap_or(usize::MAX);
        let rows = self.rows.into_values().skip(skip).take(query.limit);
        let rows: Vec<_> = rows.map(Sums::finish).collect();
        let next = query.skip + rows.len() as u64;
        (rows, (next < total).then_some(next))
    }
}

/// Writes what feeds asked for and got into an operator's answer.
pub fn add_feeds(answer: &mut QueryReportResponse, query: &Query, feeds: &Feeds) {
    let mut empty = BTreeMap::<(u32, u32), u64>::new();
    let hours = feeds.hours.iter();
    for ((feed, _, _), hour) in
        hours.filter(|((_, _, hour), _)| (query.start_hour..query.end_hour).contains(hour))
    {
        answer.requests += hour.requests;
        answer.ads_served += hour.served;
        for (reason, slots) in &hour.empty {
            *empty.entry((*feed, *reason)).or_default() += slots;
        }
    }
    let row = |((feed_id, reason), slots)| EmptySlots { feed_id, reason, slots };
    answer.empty_slots = empty.into_iter().map(row).collect();
}

/// Returns the latest hour whose tokens have all ended: counts before it change no more.
pub fn complete_up_to(now: Moment) -> Moment {
    let ended = now.0 - VIEW_MEMORY_MS;
    Moment(ended - ended.rem_euclid(HOUR_MS))
}

fn key_of(
    query: &Query,
    family: &Family,
    channel: i32,
    (zone, currency): (&str, &str),
    hour: u32,
) -> Key {
    let asks = |dimension| query.dimensions.contains(&dimension);
    let of = |dimension, id: u64| if asks(dimension) { id } else { 0 };
    let start = Moment(i64::from(hour) * HOUR_MS);
    let period = if asks(Dimension::Hour) {
        start.0
    } else if asks(Dimension::Day) {
        day_of(zone, start).start.0
    } else {
        i64::MIN
    };
    (
        of(Dimension::Account, family.account),
        of(Dimension::Campaign, family.campaign),
        of(Dimension::AdSet, family.ad_set),
        of(Dimension::Ad, family.ad),
        channel,
        period,
        currency.to_owned(),
    )
}

fn row_of((account, campaign, ad_set, ad, channel, period, currency): &Key) -> ReportRow {
    ReportRow {
        account_id: *account,
        campaign_id: *campaign,
        ad_set_id: *ad_set,
        ad_id: *ad,
        channel: *channel,
        period: (*period != i64::MIN).then(|| timestamp(*period)),
        currency: currency.clone(),
        ..ReportRow::default()
    }
}
