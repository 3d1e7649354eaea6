//! What the town itself counts, from the answers it got: the node's reports must agree with it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::town::founding::{AdHome, Founded};
use crate::town::lines::Kind;
use crate::types::proto::v1::{EventKind, ItemOutcome, ItemResult};
use crate::types::time::Moment;

/// Counts and charges, as they were acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) ads_served: u64,
    /// By the reason's short name.
    pub(crate) empty_slots: BTreeMap<String, u64>,
    /// Events, messages and sales that were sent.
    pub(crate) sent: u64,
    pub(crate) already: u64,
    /// Batches that had to be sent again: their `ALREADY`s hide what is new, so the counts and charges
    /// below are too low then.
    pub(crate) sent_again: u64,
    /// By the refusal's stable name.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Recorded ad events that are valid, by kind.
    pub(crate) recorded: BTreeMap<EventKind, u64>,
    charges: BTreeMap<(Kind, u64), BTreeMap<Date, i64>>,
    zones: BTreeMap<u64, TimeZone>,
}

impl Tally {
    /// Returns an empty tally that knows the accounts' midnights.
    pub(crate) fn new(founded: &Founded) -> Self {
        let mut tally = Self::default();
        tally.learn(founded);
        tally
    }

    /// Learns the midnights of more accounts.
    pub(crate) fn learn(&mut self, founded: &Founded) {
        let zone = |name: &str| TimeZone::get(name).unwrap_or(TimeZone::UTC);
        let zones = founded.accounts.iter().map(|(&id, purse)| (id, zone(&purse.time_zone)));
        self.zones.extend(zones);
    }

    /// Counts how one item ended. Returns whether it is new.
    pub(crate) fn count(&mut self, result: &ItemResult) -> bool {
        self.sent += 1;
        match result.outcome() {
            ItemOutcome::Recorded => return true,
            ItemOutcome::Already => self.already += 1,
            ItemOutcome::Refused | ItemOutcome::Unspecified => {
                *self.refused.entry(result.reason.clone()).or_default() += 1;
            }
        }
        false
    }

    /// Books a charge on the account's day, on all three lines that pay it.
    pub(crate) fn charge(&mut self, home: &AdHome, at: Moment, micros: i64) {
        if micros == 0 {
            return;
        }
        let zone = self.zones.entry(home.account).or_insert(TimeZone::UTC);
        let at = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::MAX);
        let day = zone.to_datetime(at).date();
        let lines = [
            (Kind::Account, home.account),
            (Kind::Campaign, home.campaign),
            (Kind::AdSet, home.ad_set),
        ];
        for line in lines {
            *self.charges.entry(line).or_default().entry(day).or_default() += micros;
        }
    }

    /// Returns everything that was charged to a line.
    pub(crate) fn charged(&self, kind: Kind, id: u64) -> i64 {
        self.charges.get(&(kind, id)).map_or(0, |days| days.values().sum())
    }

    /// Returns what was charged above any budget: by each account day, and over the whole life. It
    /// must be nothing.
    pub(crate) fn over_budget(&self, founded: &Founded) -> i64 {
        let over = |charged: i64, limit: Option<crate::types::money::Micros>| {
            limit.map_or(0, |limit| (charged - limit.0).max(0))
        };
        let of_line = |(line, budget): (&(Kind, u64), &crate::town::founding::BudgetLine)| {
            let Some(days) = self.charges.get(line) else {
                return 0;
            };
            let of_days: i64 = days.values().map(|&charged| over(charged, budget.daily)).sum();
            of_days + over(days.values().sum(), budget.lifetime)
        };
        founded.budgets.iter().map(of_line).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::town::founding::{BudgetLine, Purse};
    use crate::types::money::Micros;
    use crate::types::time::HOUR_MS;

    const HOME: AdHome =
        AdHome { account: 1, campaign: 1, ad_set: 1, business: 1, endpoint: 1, channel: 1 };
    // 2026-06-01T18:30Z is midnight in India.
    const MIDNIGHT: Moment = Moment(1_780_272_000_000 + 18 * HOUR_MS + HOUR_MS / 2);

    fn founded(daily: Option<i64>, lifetime: Option<i64>) -> Founded {
        let mut founded = Founded::default();
        let (currency, time_zone) = ("INR".into(), "Asia/Kolkata".into());
        let purse = Purse { currency, time_zone, ..Purse::default() };
        founded.accounts.insert(1, purse);
        let budget =
            BudgetLine { daily: daily.map(Micros), lifetime: lifetime.map(Micros), account: 1 };
        founded.budgets.insert((Kind::Campaign, 1), budget);
        founded
    }

    #[test]
    fn a_day_ends_at_the_accounts_own_midnight() {
        let founded = founded(Some(10), None);
        let mut tally = Tally::new(&founded);
        tally.charge(&HOME, MIDNIGHT.plus_ms(-1), 10);
        tally.charge(&HOME, MIDNIGHT, 10);
        assert_eq!(tally.over_budget(&founded), 0);
        tally.charge(&HOME, MIDNIGHT.plus_ms(-1), 3);
        assert_eq!(tally.over_budget(&founded), 3);
    }

    #[test]
    fn a_life_is_the_sum_of_its_days() {
        let founded = founded(None, Some(15));
        let mut tally = Tally::new(&founded);
        tally.charge(&HOME, MIDNIGHT.plus_ms(-1), 10);
        tally.charge(&HOME, MIDNIGHT, 10);
        assert_eq!(tally.over_budget(&founded), 5);
        assert_eq!(tally.charged(Kind::AdSet, 1), 20);
    }
}
