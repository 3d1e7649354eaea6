//! What an account has, and its monthly invoices.

use std::collections::BTreeMap;

use crate::state::ledger::clamped;
use crate::state::purses::{AccountDay, Purse};
use crate::types::day::{day_of, month_of};
use crate::types::iso::coin_micros;
use crate::types::money::half_even;
use crate::types::proto::journal::v1::LineKind;
use crate::types::proto::v1::{Account, Balance, BillingMode, Invoice, LedgerAccount, Money};
use crate::types::time::Moment;

/// Returns an account's balance. Nothing was ever paid or charged where there is no purse.
pub fn balance(account: &Account, purse: Option<&Purse>) -> Balance {
    let empty = Purse::default();
    let purse = purse.unwrap_or(&empty);
    let of = |account| purse.ledger.balance(account);
    let totals = purse.ledger.totals();
    let money = |micros| Money { micros, currency: account.currency.clone() };
    Balance {
        account_id: account.id,
        currency: account.currency.clone(),
        available: available(account, purse).map(money),
        prepaid_micros: of(LedgerAccount::Prepaid),
        promo_micros: of(LedgerAccount::Promo),
        granted_micros: of(LedgerAccount::Granted),
        spent_micros: of(LedgerAccount::Spent),
        refunded_micros: -of(LedgerAccount::Refunded),
        receivable_micros: -of(LedgerAccount::Receivable),
        over_delivered_micros: of(LedgerAccount::OverDelivered),
        debits_micros: clamped(totals.debits),
        credits_micros: clamped(totals.credits),
    }
}

fn available(account: &Account, purse: &Purse) -> Option<i64> {
    let spent = purse.line(LineKind::Account, account.id).map_or(0, |line| line.life);
    let of_limit = account.spend_limit.as_ref().map(|limit| (limit.micros - spent).max(0));
    if account.billing_mode() != BillingMode::Prepaid {
        return of_limit;
    }
    let funds = purse.funds().sum();
    Some(of_limit.map_or(funds, |limit| limit.min(funds)))
}

/// Which invoices.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Only months before this one, in months since year 0.
    pub before: i32,
    /// At most so many.
    pub limit: usize,
    /// The journal's time.
    pub now: Moment,
}

/// Returns invoices of an account, the newest first, and the month of the last one if there are more.
/// A month without any charge, credit or event has none.
pub fn invoices(account: &Account, purse: &Purse, asked: Asked) -> (Vec<Invoice>, Option<i32>) {
    let mut months = BTreeMap::<i32, AccountDay>::new();
    for (day, sums) in &purse.days {
        let month = month_of(*day);
        if month < asked.before {
            add(months.entry(month).or_default(), sums);
        }
    }
    let this_month = month_of(day_of(&account.time_zone, asked.now).number);
    let newest = months.iter().rev().take(asked.limit);
    let page: Vec<_> = newest
        .map(|(month, sums)| (*month, invoice(account, *month, sums, *month < this_month)))
        .collect();
    let more = months.len() > page.len();
    let last = page.last().map(|(month, _)| *month).filter(|_| more);
    (page.into_iter().map(|(_, invoice)| invoice).collect(), last)
}

fn add(month: &mut AccountDay, day: &AccountDay) {
    month.charged += day.charged;
    month.promo += day.promo;
    month.prepaid += day.prepaid;
    month.events += day.events;
    month.over_delivered = month.over_delivered.saturating_add(day.over_delivered);
    month.invalid = month.invalid.saturating_add(day.invalid);
    month.invalid_events += day.invalid_events;
    month.credited += day.credited;
    month.credited_events += day.credited_events;
}

fn invoice(account: &Account, month: i32, sums: &AccountDay, closed: bool) -> Invoice {
    let net = sums.charged - sums.credited;
    let payable = half_even(net, coin_micros(&account.currency));
    Invoice {
        account_id: account.id,
        month: format!("{:04}-{:02}", month / 12, month % 12 + 1),
        currency: account.currency.clone(),
        gross_micros: sums.charged.saturating_add(sums.over_delivered).saturating_add(sums.invalid),
        invalid_micros: sums.invalid,
        over_delivered_micros: sums.over_delivered,
        credited_micros: sums.credited,
        charged_micros: sums.charged,
        net_micros: net,
        payable_micros: payable,
        rounding_micros: payable - net,
        promo_micros: sums.promo,
        prepaid_micros: sums.prepaid,
        receivable_micros: sums.charged - sums.promo - sums.prepaid,
        charged_events: sums.events,
        invalid_events: sums.invalid_events,
        credited_events: sums.credited_events,
        closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::DAY_MS;

    fn account(currency: &str) -> Account {
        Account { id: 1, currency: currency.into(), time_zone: "UTC".into(), ..Account::default() }
    }

    fn purse(days: &[(i32, i64, i64)]) -> Purse {
        let mut purse = Purse::default();
        for (day, charged, credited) in days {
            let sums = AccountDay { charged: *charged, credited: *credited, ..Default::default() };
            purse.days.insert(*day, sums);
        }
        purse
    }

    #[test]
    fn a_month_is_one_invoice_and_closes_with_its_last_day() {
        let purse = purse(&[(0, 5, 0), (30, 7, 2), (31, 11, 0), (58, 1, 0)]);
        let asked = |day: i64| Asked { before: i32::MAX, limit: 12, now: Moment(day * DAY_MS) };
        let (page, more) = invoices(&account("MXN"), &purse, asked(58));
        let sums: Vec<_> = page.iter().map(|it| (&*it.month, it.charged_micros)).collect();
        assert_eq!((sums, more), (vec![("1970-02", 12), ("1970-01", 12)], None));
        assert_eq!((page[1].net_micros, page[1].closed, page[0].closed), (10, true, false));
        assert!(invoices(&account("MXN"), &purse, asked(59)).0[0].closed, "March began");
    }

    #[test]
    fn pages_go_back_in_time() {
        let purse = purse(&[(0, 5, 0), (31, 11, 0), (59, 1, 0)]);
        let asked = |before| Asked { before, limit: 2, now: Moment(0) };
        let (first, more) = invoices(&account("MXN"), &purse, asked(i32::MAX));
        assert_eq!((first.len(), more), (2, Some(1_970 * 12 + 1)));
        let (second, more) = invoices(&account("MXN"), &purse, asked(more.unwrap_or_default()));
        assert_eq!((&*second[0].month, more), ("1970-01", None));
    }

    #[test]
    fn what_is_to_be_paid_is_in_coins_of_the_currency() {
        for (currency, net, payable) in [
            ("MXN", 1_005_000, 1_000_000),
            ("MXN", 1_015_000, 1_020_000),
            ("JPY", 1_500_000, 2_000_000),
            ("JPY", 2_500_000, 2_000_000),
            ("KWD", 1_000_500, 1_000_000),
        ] {
            let asked = Asked { before: i32::MAX, limit: 1, now: Moment(0) };
            let (page, _) = invoices(&account(currency), &purse(&[(0, net, 0)]), asked);
            let found = (page[0].payable_micros, page[0].rounding_micros);
            assert_eq!(found, (payable, payable - net), "{currency} {net}");
        }
    }
}
