//! The recount's double entry: every transfer of the journal, posted by plain code of its own.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    Charge, EventCredited, Funded, Granted, ServedMinute, Showing,
};
use crate::types::proto::v1::BillingMode;

// Accounts of the ledger, by their numbers on disk.
pub(super) const FUNDING: i32 = 1;
pub(super) const PREPAID: i32 = 2;
pub(super) const PROMO: i32 = 3;
pub(super) const PROMO_GIVEN: i32 = 4;
pub(super) const GRANTED: i32 = 5;
pub(super) const RECEIVABLE: i32 = 6;
pub(super) const SPENT: i32 = 7;
pub(super) const REFUNDED: i32 = 8;
pub(super) const OVER_DELIVERED: i32 = 9;
pub(super) const BORNE: i32 = 10;

/// The account's own line, as grants name it.
const ACCOUNT_LINE: i32 = 1;

/// One transfer: what it is, from, to, micros.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Leg {
    pub(super) kind: &'static str,
    pub(super) debit: i32,
    pub(super) credit: i32,
    pub(super) amount: i64,
}

const fn leg(kind: &'static str, debit: i32, credit: i32, amount: i64) -> Leg {
    Leg { kind, debit, credit, amount }
}

/// Returns every transfer that a fact makes.
pub(super) fn legs(fact: &Kind) -> Vec<Leg> {
    let mut legs = match fact {
        Kind::Funded(fact) => match fact.kind {
            1 => vec![leg("FUNDING", FUNDING, PREPAID, fact.amount)],
            2 => vec![leg("PROMO", PROMO_GIVEN, PROMO, fact.amount)],
            3 => vec![leg("WITHDRAWAL", PREPAID, FUNDING, fact.amount)],
            _ => Vec::new(),
        },
        Kind::Granted(fact) => vec![
            leg("GRANT_BACK", GRANTED, PROMO, fact.back_promo),
            leg("GRANT_BACK", GRANTED, PREPAID, fact.back_prepaid),
            leg("GRANT", PROMO, GRANTED, fact.from_promo),
            leg("GRANT", PREPAID, GRANTED, fact.from_prepaid),
        ],
        Kind::ImpressionSeen(fact) => of_charge(fact.charge.as_ref()),
        Kind::Tapped(fact) => of_charge(fact.charge.as_ref()),
        Kind::ClickMatched(fact) => of_charge(fact.charge.as_ref()),
        Kind::EventCredited(fact) => vec![
            leg("CREDIT", REFUNDED, PROMO, fact.promo),
            leg("CREDIT", REFUNDED, PREPAID, fact.prepaid),
            leg("CREDIT", REFUNDED, RECEIVABLE, fact.amount - fact.promo - fact.prepaid),
        ],
        _ => Vec::new(),
    };
    legs.retain(|leg| leg.amount != 0);
    legs
}

fn of_charge(charge: Option<&Charge>) -> Vec<Leg> {
    let Some(charge) = charge else { return Vec::new() };
    let mut legs = Vec::new();
    if charge.ungranted {
        legs.push(leg("GRANT", PROMO, GRANTED, charge.promo));
        legs.push(leg("GRANT", PREPAID, GRANTED, charge.prepaid));
    }
    let owed = charge.amount - charge.promo - charge.prepaid;
    legs.push(leg("CHARGE", GRANTED, SPENT, charge.promo + charge.prepaid));
    legs.push(leg("CHARGE", RECEIVABLE, SPENT, owed));
    legs.push(leg("OVER_DELIVERY", BORNE, OVER_DELIVERED, charge.over_delivered));
    legs
}

/// What one account-day came to: charged, promo, prepaid, over-delivered, invalid, credited, and how many
/// events were charged, invalid and credited.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct DayBook {
    pub(super) money: [i64; 6],
    pub(super) events: [u64; 3],
}

/// A charge, and whether it was given back.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct ChargeBook {
    parts: [i64; 3],
    credited: bool,
    /// The journal's time of it.
    at_ms: i64,
}

/// How an account pays.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Terms {
    prepaid: bool,
    limit: Option<i64>,
}

/// A grant of a prepaid account's own line in the batch that is read.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct GrantNow {
    account: u64,
    grant: u64,
    amount: i64,
    funds: i64,
    of_limit: i64,
}

/// Everything that was posted.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Postings {
    /// Debits and credits by account and ledger account.
    pub(super) sums: BTreeMap<(u64, i32), (i128, i128)>,
    /// By account and day.
    pub(super) days: BTreeMap<(u64, i32), DayBook>,
    /// By account and transfer id: kind, amount, reason.
    pub(super) fundings: BTreeMap<(u64, u128), (i32, i64, String)>,
    /// By account, batch and day: amount, promo, prepaid, events.
    pub(super) credits: BTreeMap<(u64, u64, i32), [i64; 4]>,
    /// Promo credit granted and not spent, by account.
    pub(super) granted_promo: BTreeMap<u64, i64>,
    /// How many transfers.
    pub(super) transfers: u64,
    accounts: BTreeMap<u64, Terms>,
    charges: BTreeMap<(u64, u64, u32), ChargeBook>,
    credit_ids: BTreeSet<Vec<u8>>,
    touched: BTreeSet<u64>,
    granted: Vec<GrantNow>,
    withdrawn: BTreeMap<u64, i64>,
    /// The journal's time of the fact that is read.
    #[serde(skip)]
    at_ms: i64,
    batch: u64,
    /// The hashes of all transfers, and of those before this batch, each with their number.
    hash: (u64, u64),
    hash_before: (u64, u64),
    #[serde(skip)]
    faults: Vec<String>,
}

impl Postings {
    /// Notes that the next facts are of this batch.
    pub(super) fn enter(&mut self, batch: u64) {
        if batch != self.batch {
            self.leave();
            self.batch = batch;
            self.hash_before = self.hash;
        }
    }

    /// Checks what must hold between two batches.
    pub(super) fn leave(&mut self) {
        for account in std::mem::take(&mut self.touched) {
            for (number, name) in [(PREPAID, "prepaid"), (PROMO, "promo"), (GRANTED, "granted")] {
                let balance = self.balance(account, number);
                if balance < 0 {
                    self.fault(format!("account {account}, {name} is {balance}, below zero"));
                }
            }
            let promo = self.granted_promo.get(&account).copied().unwrap_or_default();
            if promo < 0 || i128::from(promo) > self.balance(account, GRANTED) {
                self.fault(format!("account {account}: {promo} of its grant is promo credit"));
            }
        }
        let withdrawn = std::mem::take(&mut self.withdrawn);
        for now in std::mem::take(&mut self.granted) {
            let left = now.funds - withdrawn.get(&now.account).copied().unwrap_or_default();
            let left = left.min(now.of_limit).max(0);
            if now.amount != left {
                let GrantNow { grant, amount, .. } = now;
                self.fault(format!("grant {grant} is {amount}: the account has {left}"));
            }
        }
    }

    /// Forgets charges from before a moment: no credit names them any more.
    pub(super) fn forget(&mut self, before_ms: i64) {
        self.charges.retain(|_, book| book.at_ms >= before_ms);
    }

    /// Returns what was given back to an account.
    pub(super) fn credited_to(&self, account: u64) -> i64 {
        let days = self.days.range((account, i32::MIN)..=(account, i32::MAX));
        days.map(|(_, book)| book.money[5]).sum()
    }

    fn balance(&self, account: u64, number: i32) -> i128 {
        self.sums.get(&(account, number)).map_or(0, |(debits, credits)| credits - debits)
    }

    fn fault(&mut self, what: String) {
        self.faults.push(format!("batch {}: {what}", self.batch));
    }

    /// Posts what a fact moves. `spent`: what its account was charged so far.
    pub(super) fn take(&mut self, at_ms: i64, fact: &Kind, spent: impl Fn(u64) -> i64) {
        self.at_ms = at_ms;
        match fact {
            Kind::AccountPut(fact) => {
                if let Some(row) = &fact.account {
                    let prepaid = row.billing_mode == i32::from(BillingMode::Prepaid);
                    let limit = row.spend_limit.as_ref().map(|limit| limit.micros);
                    self.accounts.insert(row.id, Terms { prepaid, limit });
                }
            }
            Kind::Funded(fact) => self.funded(fact),
            Kind::Granted(fact) => self.granted(fact, spent(fact.account)),
            Kind::ImpressionSeen(it) => {
                self.charged(1, &it.showing, &it.charge, (it.invalid_price, it.invalid_day));
            }
            Kind::Tapped(it) => {
                self.charged(2, &it.showing, &it.charge, (it.invalid_price, it.invalid_day));
            }
            Kind::ClickMatched(it) => {
                let billing = if it.tap_billed { 2 } else { 3 };
                self.charged(billing, &it.showing, &it.charge, (it.invalid_price, it.invalid_day));
            }
            Kind::EventCredited(fact) => self.credited(fact),
            Kind::ServedMinute(fact) => self.sealed(fact),
            _ => {}
        }
        let Some(account) = account_of(fact) else { return };
        let legs = legs(fact);
        if !legs.is_empty() {
            self.touched.insert(account);
        }
        for leg in legs {
            if leg.amount < 0 {
                self.fault(format!("account {account}: a negative transfer: {leg:?}"));
            }
            self.sums.entry((account, leg.debit)).or_default().0 += i128::from(leg.amount);
            self.sums.entry((account, leg.credit)).or_default().1 += i128::from(leg.amount);
        }
    }

    fn funded(&mut self, fact: &Funded) {
        let bytes = fact.transfer.iter().chain(fact.reason.as_bytes()).map(|byte| u64::from(*byte));
        let mut numbers = vec![fact.account, fact.kind as u64, fact.amount as u64];
        numbers.extend(bytes);
        self.seal(2, &numbers);
        let Ok(id) = <[u8; 16]>::try_from(&*fact.transfer) else {
            return self.fault(format!("account {}: a transfer without an id", fact.account));
        };
        let id = u128::from_be_bytes(id);
        if fact.amount <= 0 || !(1..=3).contains(&fact.kind) {
            self.fault(format!("transfer {id:032x} is of no kind or amount"));
        }
        if fact.kind == 3 {
            *self.withdrawn.entry(fact.account).or_default() += fact.amount;
        }
        let content = (fact.kind, fact.amount, fact.reason.clone());
        if self.fundings.insert((fact.account, id), content).is_some() {
            self.fault(format!("transfer {id:032x} is there twice"));
        }
    }

    fn granted(&mut self, fact: &Granted, spent: i64) {
        let numbers = [fact.amount, fact.until_ms, fact.from_prepaid, fact.from_promo];
        let back = [fact.back_prepaid, fact.back_promo, fact.day.into(), fact.line_kind.into()];
        let numbers = numbers.iter().chain(&back).map(|number| *number as u64);
        let all: Vec<u64> =
            [fact.grant, fact.account, fact.line].into_iter().chain(numbers).collect();
        self.seal(1, &all);
        let moved = fact.from_promo + fact.from_prepaid;
        let terms = self.accounts.get(&fact.account).copied().unwrap_or_default();
        if !terms.prepaid || fact.line_kind != ACCOUNT_LINE {
            if moved != 0 || fact.back_promo != 0 || fact.back_prepaid != 0 {
                self.fault(format!("grant {} moves money that it may not", fact.grant));
            }
            return;
        }
        let granted = self.balance(fact.account, GRANTED);
        let promo = self.granted_promo.entry(fact.account).or_default();
        let back = (fact.back_promo, i128::from(fact.back_prepaid));
        let left = (*promo, granted - i128::from(*promo));
        *promo += fact.from_promo - fact.back_promo;
        if back != left || moved != fact.amount {
            let grant = fact.grant;
            self.fault(format!("grant {grant}: {back:?} went back of {left:?} that were left"));
        }
        let of = |number| self.balance(fact.account, number);
        let funds = of(PREPAID) + of(PROMO) + granted;
        self.granted.push(GrantNow {
            account: fact.account,
            grant: fact.grant,
            amount: fact.amount,
            funds: i64::try_from(funds).unwrap_or(i64::MAX),
            of_limit: terms.limit.map_or(i64::MAX, |limit| limit - spent),
        });
    }

    fn charged(
        &mut self,
        billing: u32,
        showing: &Option<Showing>,
        charge: &Option<Charge>,
        (invalid_price, invalid_day): (i64, i32),
    ) {
        let Some(showing) = showing else { return };
        if invalid_price != 0 {
            let book = self.days.entry((showing.account, invalid_day)).or_default();
            book.money[4] += invalid_price;
            book.events[1] += 1;
        }
        let Some(charge) = charge else { return };
        self.seal_charge(showing, charge);
        let owed = charge.amount - charge.promo - charge.prepaid;
        if charge.promo < 0 || charge.prepaid < 0 || owed < 0 {
            self.fault(format!("view {}: {charge:?} is paid by more than it is", showing.view));
        }
        if !charge.ungranted {
            *self.granted_promo.entry(showing.account).or_default() -= charge.promo;
        }
        let key = (showing.account, showing.view, billing);
        let parts = [charge.amount, charge.promo, charge.prepaid];
        // That a view is billed once is checked beside the budgets.
        self.charges.insert(key, ChargeBook { parts, credited: false, at_ms: self.at_ms });
        if charge.amount == 0 && charge.over_delivered == 0 {
            return;
        }
        let book = self.days.entry((showing.account, charge.day)).or_default();
        let more = [charge.amount, charge.promo, charge.prepaid, charge.over_delivered];
        book.money.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        book.events[0] += u64::from(charge.amount > 0);
    }

    fn seal_charge(&mut self, showing: &Showing, charge: &Charge) {
        let mut numbers =
            vec![showing.account, showing.view, showing.campaign, showing.ad_set, showing.ad];
        numbers.extend([charge.account_grant, charge.campaign_grant, charge.ad_set_grant]);
        let money = [charge.amount, charge.promo, charge.prepaid, charge.over_delivered];
        numbers.extend(money.map(|amount| amount as u64));
        numbers.extend([i64::from(charge.day) as u64, u64::from(charge.ungranted)]);
        self.seal(3, &numbers);
    }

    fn credited(&mut self, fact: &EventCredited) {
        let showing = fact.showing.unwrap_or_default();
        let money = [fact.amount, fact.promo, fact.prepaid, fact.day.into(), fact.billing.into()];
        let mut numbers = vec![showing.account, showing.view];
        numbers.extend(money.map(|amount| amount as u64));
        numbers.push(fact.batch);
        numbers.extend(fact.transfer.iter().map(|byte| u64::from(*byte)));
        self.seal(4, &numbers);
        let view = showing.view;
        if !self.credit_ids.insert(fact.transfer.clone()) {
            self.fault(format!("view {view}: its credit is there twice"));
        }
        let key = (showing.account, view, fact.billing);
        match self.charges.get_mut(&key) {
            None => self.fault(format!("view {view}: a credit of what was not charged")),
            Some(book) => {
                let again = std::mem::replace(&mut book.credited, true);
                let parts = [fact.amount, fact.promo, fact.prepaid];
                let within = parts.iter().zip(book.parts).all(|(back, paid)| *back <= paid);
                let charged = book.parts[0];
                if again || !within || fact.amount <= 0 {
                    let amount = fact.amount;
                    self.fault(format!("view {view}: {amount} given back of {charged} charged"));
                }
            }
        }
        let book = self.days.entry((showing.account, fact.day)).or_default();
        book.money[5] += fact.amount;
        book.events[2] += 1;
        let sums = self.credits.entry((showing.account, fact.batch, fact.day)).or_default();
        let more = [fact.amount, fact.promo, fact.prepaid, 1];
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }

    fn seal(&mut self, kind: u64, numbers: &[u64]) {
        self.transfers += 1;
        self.hash = (self.hash.0.wrapping_add(mixed(kind, numbers)), self.hash.1 + 1);
    }

    fn sealed(&mut self, fact: &ServedMinute) {
        let told = (fact.ledger_hash, fact.ledger_transfers);
        if told != (0, 0) && told != self.hash_before {
            let (told, counted) = (told.1, self.hash_before.1);
            self.fault(format!(
                "the ledgers' seal is another: {told} transfers were sealed, {counted} are there, and \
                 one of them or more was altered"
            ));
        }
    }

    /// Returns what is wrong. It is so only in a journal that was read from its first fact.
    pub(super) fn faults(&mut self) -> Vec<String> {
        let mut ledgers = BTreeMap::<u64, (i128, i128)>::new();
        for ((account, _), (debits, credits)) in &self.sums {
            let sums = ledgers.entry(*account).or_default();
            *sums = (sums.0 + debits, sums.1 + credits);
        }
        for (account, (debits, credits)) in ledgers {
            if debits != credits {
                self.faults.push(format!("account {account}: debits {debits}, credits {credits}"));
            }
        }
        std::mem::take(&mut self.faults)
    }
}

/// Returns the account whose ledger a fact moves money in.
pub(super) fn account_of(fact: &Kind) -> Option<u64> {
    let of = |showing: &Option<Showing>| showing.map(|showing| showing.account);
    match fact {
        Kind::Funded(fact) => Some(fact.account),
        Kind::Granted(fact) => Some(fact.account),
        Kind::ImpressionSeen(fact) => of(&fact.showing),
        Kind::Tapped(fact) => of(&fact.showing),
        Kind::ClickMatched(fact) => of(&fact.showing),
        Kind::EventCredited(fact) => of(&fact.showing),
        _ => None,
    }
}

/// MurmurHash3's finalizer over the numbers one after the other, written down a second time.
fn mixed(kind: u64, numbers: &[u64]) -> u64 {
    let mut hash = kind;
    for number in numbers {
        hash ^= number;
        hash = hash.wrapping_add(0x9E37_79B9_7F4A_7C15);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
        hash ^= hash >> 33;
    }
    hash
}
