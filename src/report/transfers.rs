//! An account's transfers in order: money that came and went, the charges of each day, credits.

use crate::state::credit::timestamp;
use crate::state::ledger::sides;
use crate::state::purses::{AccountDay, Credits, Funding, Purse};
use crate::types::day::{day_of, start_of};
use crate::types::proto::v1::{LedgerAccount, Money, Transfer, TransferKind};
use crate::types::time::Moment;

/// Where a transfer stands in the list: its time, then its id.
pub type Place = (i64, u128);

/// Whose transfers, and which.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The account.
    pub account: u64,
    /// Its time zone.
    pub zone: &'a str,
    /// Its currency.
    pub currency: &'a str,
    /// From this moment on.
    pub start: Moment,
    /// And before this one.
    pub end: Moment,
    /// Behind this place.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: usize,
    /// The journal's time.
    pub now: Moment,
}

/// Returns a page of an account's transfers, and the place of its last one if there are more.
pub fn transfers(purse: &Purse, question: &Question<'_>) -> (Vec<Transfer>, Option<Place>) {
    let mut all = listed(purse, question);
    let inside = |(at, id): &Place| {
        let behind = question.after.is_none_or(|after| (*at, *id) > after);
        behind && question.start.0 <= *at && *at < question.end.0
    };
    all.retain(|(place, _)| inside(place));
    all.sort_unstable_by_key(|(place, _)| *place);
    let more = all.len() > question.limit;
    all.truncate(question.limit);
    let last = all.last().map(|(place, _)| *place).filter(|_| more);
    (all.into_iter().map(|(_, transfer)| transfer).collect(), last)
}

fn listed(purse: &Purse, question: &Question<'_>) -> Vec<(Place, Transfer)> {
    let mut all = Vec::new();
    for (id, funding) in &purse.fundings {
        let place = (funding.at_ms, *id);
        all.push((place, funding_transfer(*id, funding, question.currency)));
    }
    let today = day_of(question.zone, question.now).number;
    for (day, sums) in &purse.days {
        for (debit, amount, events) in charges(sums).into_iter().filter(|part| part.1 > 0) {
            let start = start_of(question.zone, *day);
            let name = [u64::from(day.cast_unsigned()), debit as u64];
            let id = derived(b"charges", question.account, &name);
            let transfer = Transfer {
                kind: TransferKind::Charges.into(),
                events,
                closed: *day < today,
                ..transfer((start.0, id), (debit, LedgerAccount::Spent), amount, question.currency)
            };
            all.push(((start.0, id), transfer));
        }
    }
    for ((batch, day), credits) in &purse.credits {
        for (credit, amount) in given_back(credits).into_iter().filter(|part| part.1 > 0) {
            let name = [*batch, u64::from(day.cast_unsigned()), credit as u64];
            let place = (credits.at_ms, derived(b"credits", question.account, &name));
            let sides = (LedgerAccount::Refunded, credit);
            let transfer = Transfer {
                kind: TransferKind::Credit.into(),
                reason: credits.reason.clone(),
                events: credits.events,
                ..transfer(place, sides, amount, question.currency)
            };
            all.push((place, transfer));
        }
    }
    all
}

/// Returns a transfer of the operator's.
pub fn funding_transfer(id: u128, funding: &Funding, currency: &str) -> Transfer {
    let kind = TransferKind::try_from(funding.kind).unwrap_or_default();
    Transfer {
        kind: funding.kind,
        reason: funding.reason.clone(),
        ..transfer((funding.at_ms, id), sides(kind), funding.amount, currency)
    }
}

fn transfer(
    (at_ms, id): Place,
    (debit, credit): (LedgerAccount, LedgerAccount),
    micros: i64,
    currency: &str,
) -> Transfer {
    Transfer {
        id: format!("{id:032x}"),
        debit: debit.into(),
        credit: credit.into(),
        amount: Some(Money { micros, currency: currency.to_owned() }),
        time: Some(timestamp(at_ms)),
        ..Transfer::default()
    }
}

/// A day's charges, by what paid them.
fn charges(day: &AccountDay) -> [(LedgerAccount, i64, u64); 2] {
    let paid = day.promo + day.prepaid;
    [
        (LedgerAccount::Granted, paid, day.events_paid),
        (LedgerAccount::Receivable, day.charged - paid, day.events_owed),
    ]
}

fn given_back(credits: &Credits) -> [(LedgerAccount, i64); 3] {
    [
        (LedgerAccount::Promo, credits.promo),
        (LedgerAccount::Prepaid, credits.prepaid),
        (LedgerAccount::Receivable, credits.amount - credits.promo - credits.prepaid),
    ]
}

/// Returns the id of a transfer that is made from what it is of: the first half of BLAKE3 over it.
fn derived(what: &[u8], account: u64, name: &[u64]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(what).update(&account.to_be_bytes());
    name.iter().for_each(|part| {
        hasher.update(&part.to_be_bytes());
    });
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_be_bytes(half)
}
