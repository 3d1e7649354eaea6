//! One account's ledger in double entry: each transfer debits one account of it and credits another.
//!
//! Sums only, so facts may be applied in any order. Which fact makes which postings is said here and
//! nowhere else in the engine; `munadi audit` says it again by itself.
//!
//! A balance is credits less debits. Above zero are what the engine owes or has earned (prepaid, promo,
//! granted, spent, over-delivered), below zero their counterparts outside (funding, promo given,
//! receivable, borne) and refunded, which stands against spent: spent and refunded together are the net.

use serde::{Deserialize, Serialize};

use crate::types::proto::journal::v1::{Charge, EventCredited, Funded, Granted, Showing};
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
        from(LedgerAccount::OverDeliveryBorne, LedgerAccount::OverDelivered, charge.over_delivered),
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

/// The sum of the hashes of transfers, and how many they are. The order doesn't matter, each bit of each
/// transfer does: the journal says the sum once a minute, so that an altered transfer shows.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Seal {
    /// The hashes' sum, modulo 2^64.
    pub hash: u64,
    /// How many.
    pub transfers: u64,
}

impl Seal {
    /// Adds other transfers.
    pub const fn add(&mut self, other: Self) {
        self.hash = self.hash.wrapping_add(other.hash);
        self.transfers += other.transfers;
    }

    const fn one(hash: u64) -> Self {
        Self { hash, transfers: 1 }
    }

    /// Returns the seal of one grant.
    pub fn of_granted(fact: &Granted) -> Self {
        let parts = [fact.amount, fact.until_ms, fact.from_prepaid, fact.from_promo];
        let back = [fact.back_prepaid, fact.back_promo, fact.day.into(), fact.line_kind.into()];
        let numbers = parts.into_iter().chain(back).map(i64::cast_unsigned);
        Self::one(mixed(1, [fact.grant, fact.account, fact.line].into_iter().chain(numbers)))
    }

    /// Returns the seal of money or promo credit that came or went.
    pub fn of_funded(fact: &Funded) -> Self {
        let numbers = [fact.account, fact.kind as u64, fact.amount.cast_unsigned()];
        let texts = fact.transfer.iter().chain(fact.reason.as_bytes()).map(|byte| u64::from(*byte));
        Self::one(mixed(2, numbers.into_iter().chain(texts)))
    }

    /// Returns the seal of one charge.
    pub fn of_charge(showing: &Showing, charge: &Charge) -> Self {
        let names = [showing.account, showing.view, showing.campaign, showing.ad_set, showing.ad];
        let grants = [charge.account_grant, charge.campaign_grant, charge.ad_set_grant];
        let money = [charge.amount, charge.promo, charge.prepaid, charge.over_delivered];
        let rest = [i64::from(charge.day), i64::from(charge.ungranted)];
        let numbers = money.into_iter().chain(rest).map(i64::cast_unsigned);
        Self::one(mixed(3, names.into_iter().chain(grants).chain(numbers)))
    }

    /// Returns the seal of one charge given back.
    pub fn of_credit(fact: &EventCredited) -> Self {
        let names = fact.showing.map_or([0; 2], |showing| [showing.account, showing.view]);
        let money = [fact.amount, fact.promo, fact.prepaid, fact.day.into(), fact.billing.into()];
        let id = fact.transfer.iter().map(|byte| u64::from(*byte));
        let numbers = money.into_iter().map(i64::cast_unsigned).chain([fact.batch]);
        Self::one(mixed(4, names.into_iter().chain(numbers).chain(id)))
    }
}

/// Mixes numbers into one in which each of their bits shows: the finalizer of MurmurHash3 (Appleby) over the
/// numbers one after the other. Fixed for ever: journals are sealed with it.
fn mixed(kind: u64, numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(kind, |hash, number| {
        let mut hash = (hash ^ number).wrapping_add(0x9E37_79B9_7F4A_7C15);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
        hash ^ (hash >> 33)
    })
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
        let charge =
            Charge { amount: 9, promo: 4, prepaid: 3, ungranted: true, ..Charge::default() };
        ledger.post(of_charge(&charge));
        let of = |account| ledger.balance(account);
        assert_eq!((of(LedgerAccount::Promo), of(LedgerAccount::Prepaid)), (-4, -3));
        assert_eq!((of(LedgerAccount::Granted), of(LedgerAccount::Receivable)), (0, -2));
    }

    #[test]
    fn every_bit_of_a_transfer_shows_in_its_seal() {
        let showing = Showing { account: 1, view: 2, ..Showing::default() };
        let charge = Charge { amount: 1 << 40, day: 7, ..Charge::default() };
        let seal = Seal::of_charge(&showing, &charge);
        for bit in 0..63 {
            let other = Charge { amount: charge.amount ^ 1 << bit, ..charge };
            assert_ne!(Seal::of_charge(&showing, &other), seal, "{bit}");
        }
        let later = Charge { day: 8, ..charge };
        assert_ne!(Seal::of_charge(&showing, &later), seal);
        let (mut one, mut two) = (seal, Seal::of_charge(&showing, &later));
        one.add(two);
        two.add(seal);
        assert_eq!(one, two);
    }
}
