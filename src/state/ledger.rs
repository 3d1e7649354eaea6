//! One account's ledger in double entry: each transfer debits one account of it and credits another.
//!
//! Sums only, so facts may be applied in any order. Which fact makes which postings is said here and
//! nowhere else in the engine; `munadi audit` says it again by itself.
//!
//! A balance is credits less debits. Above zero are what the engine owes or has earned (prepaid, promo,
//! granted, spent, over-delivered), below zero their counterparts outside (funding, promo given,
//! receivable, borne) and refunded, which stands against spent: spent and refunded together are the net.

use serde::{Deserialize, Serialize};

use crate::types::proto::journal::v1::{Charge, EventCredited, Funded, Granted};
use crate::types::proto::v1::{LedgerAccount, TransferKind};

/// Accounts of a ledger, by their number in the interface; 0 is none.
pub const LEDGER_ACCOUNTS: usize = 12;

/// What an account of the ledger was debited and credited, micros. Grants go to and fro every day, so the
/// sums outgrow an `i64` long before any balance does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sums {
    /// All debits.
    pub debits: i128,
    /// All credits.
    pub credits: i128,
}

/// One transfer within a ledger.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Posting {
    /// Where it comes from.
    pub debit: LedgerAccount,
    /// Where it goes.
    pub credit: LedgerAccount,
    /// How much, micros; 0: there is none.
    pub amount: i64,
}

const fn from(debit: LedgerAccount, credit: LedgerAccount, amount: i64) -> Posting {
    Posting { debit, credit, amount }
}

/// The ledger of one account.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ledger([Sums; LEDGER_ACCOUNTS]);

impl Ledger {
    /// Returns what an account was debited and credited.
    pub fn sums(&self, account: LedgerAccount) -> Sums {
        self.0[account as usize]
    }

    /// Returns an account's balance, micros: credits less debits.
    pub fn balance(&self, account: LedgerAccount) -> i64 {
        let Sums { debits, credits } = self.sums(account);
        clamped(credits - debits)
    }

    /// Returns the sums over all accounts. Invariant: both are equal.
    pub fn totals(&self) -> Sums {
        self.0.iter().fold(Sums::default(), |all, one| Sums {
            debits: all.debits + one.debits,
            credits: all.credits + one.credits,
        })
    }

    /// Posts each transfer.
    pub fn post(&mut self, postings: impl IntoIterator<Item = Posting>) {
        for Posting { debit, credit, amount } in postings {
            self.0[debit as usize].debits += i128::from(amount);
            self.0[credit as usize].credits += i128::from(amount);
        }
    }
}

/// Returns a sum as an `i64`. Amounts that are taken in are limited so that no balance is beyond it.
pub fn clamped(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}

/// Returns the posting of money or promo credit that came or went.
pub fn of_funded(fact: &Funded) -> Posting {
    let (debit, credit) = sides(fact.kind());
    from(debit, credit, fact.amount)
}

/// Returns what a transfer of the operator's debits and credits.
pub const fn sides(kind: TransferKind) -> (LedgerAccount, LedgerAccount) {
    match kind {
        TransferKind::Funding => (LedgerAccount::Funding, LedgerAccount::Prepaid),
        TransferKind::Promo => (LedgerAccount::PromoGiven, LedgerAccount::Promo),
        TransferKind::Withdrawal => (LedgerAccount::Prepaid, LedgerAccount::Funding),
        // No operator makes these; the door refuses them.
        TransferKind::Unspecified | TransferKind::Charges | TransferKind::Credit => {
            (LedgerAccount::Unspecified, LedgerAccount::Unspecified)
        }
    }
}

/// Returns the postings of a grant: what the earlier one left goes back first.
pub fn of_granted(fact: &Granted) -> [Posting; 4] {
    [
        from(LedgerAccount::Granted, LedgerAccount::Promo, fact.back_promo),
        from(LedgerAccount::Granted, LedgerAccount::Prepaid, fact.back_prepaid),
        from(LedgerAccount::Promo, LedgerAccount::Granted, fact.from_promo),
        from(LedgerAccount::Prepaid, LedgerAccount::Granted, fact.from_prepaid),
    ]
}

/// Returns the postings of a charge: from what was granted, the rest to be invoiced, and as a memo what
/// nobody pays.
pub fn of_charge(charge: &Charge) -> [Posting; 5] {
    let at_once = i64::from(charge.ungranted);
    let paid = charge.promo + charge.prepaid;
    [
        from(LedgerAccount::Promo, LedgerAccount::Granted, charge.promo * at_once),
        from(LedgerAccount::Prepaid, LedgerAccount::Granted, charge.prepaid * at_once),
        from(LedgerAccount::Granted, LedgerAccount::Spent, paid),
        from(LedgerAccount::Receivable, LedgerAccount::Spent, charge.amount - paid),
        from(
            LedgerAccount::OverDeliveryBorne,
            LedgerAccount::OverDelivered,
            charge.over_delivered,
        ),
    ]
}

/// Returns the postings of a charge given back: to what it was paid from.
pub fn of_credit(fact: &EventCredited) -> [Posting; 3] {
    let owed = fact.amount - fact.promo - fact.prepaid;
    [
        from(LedgerAccount::Refunded, LedgerAccount::Promo, fact.promo),
        from(LedgerAccount::Refunded, LedgerAccount::Prepaid, fact.prepaid),
        from(LedgerAccount::Refunded, LedgerAccount::Receivable, owed),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_posting_debits_what_it_credits() {
        let mut ledger = Ledger::default();
        let kind = TransferKind::Funding.into();
        ledger.post([of_funded(&Funded { kind, amount: 100, ..Funded::default() })]);
        let from_prepaid = 70;
        ledger.post(of_granted(&Granted { from_prepaid, ..Granted::default() }));
        let charge = Charge { amount: 50, prepaid: 40, over_delivered: 5, ..Charge::default() };
        ledger.post(of_charge(&charge));
        let credited = EventCredited { amount: 50, prepaid: 40, ..EventCredited::default() };
        ledger.post(of_credit(&credited));
        let balance = |account| ledger.balance(account);
        assert_eq!(ledger.totals().debits, ledger.totals().credits);
        assert_eq!(balance(LedgerAccount::Funding), -100);
        assert_eq!(balance(LedgerAccount::Prepaid), 70);
        assert_eq!(balance(LedgerAccount::Granted), 30);
        assert_eq!(balance(LedgerAccount::Spent), 50);
        assert_eq!(balance(LedgerAccount::Refunded), -50);
        assert_eq!(balance(LedgerAccount::Receivable), 0);
        assert_eq!(balance(LedgerAccount::OverDelivered), 5);
    }

    #[test]
    fn money_that_was_not_granted_passes_through_granted() {
        let mut ledger = Ledger::default();
        let charge = Charge { amount: 9, promo: 4, prepaid: 3, ungranted: true, ..Charge::default() };
        ledger.post(of_charge(&charge));
        let of = |account| ledger.balance(account);
        assert_eq!((of(LedgerAccount::Promo), of(LedgerAccount::Prepaid)), (-4, -3));
        assert_eq!((of(LedgerAccount::Granted), of(LedgerAccount::Receivable)), (0, -2));
    }
}
