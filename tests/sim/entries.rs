//! The auditor's double entry: what each account was paid, given, charged and given back, posted by hand from
//! the journal's facts and compared with the node's ledger after every batch.

use std::collections::{BTreeMap, BTreeSet};

use munadi::state::State;
use munadi::types::proto::journal::v1::{Charge, EventCredited, Funded, Granted, Showing};
use munadi::types::proto::v1::{LedgerAccount, TransferKind};
use munadi::types::request::EventFilter;

use crate::audit::{Finding, ensure};
use crate::books::day;
use crate::catalog::Rows;

/// One charged event: a view is billed once.
#[derive(Clone, Debug)]
struct Event {
    account: u64,
    campaign: u64,
    feed: u32,
    at: i64,
    /// All of it, of that promo credit and prepaid money.
    paid: [i64; 3],
    credited: bool,
}

/// A grant of a prepaid account, and what its spend limit leaves: to be checked when its batch is whole.
struct Full {
    account: u64,
    amount: i64,
    limit: i64,
}

#[derive(Default)]
pub(crate) struct Entries {
    /// Debits and credits.
    sums: BTreeMap<(u64, LedgerAccount), (i64, i64)>,
    /// Of what is granted, promo credit.
    granted_promo: BTreeMap<u64, i64>,
    transfers: BTreeSet<Vec<u8>>,
    events: BTreeMap<u64, Event>,
    /// Accounts of this batch, and since they were last compared with the node's ledger.
    touched: BTreeSet<u64>,
    changed: BTreeSet<u64>,
    fulls: Vec<Full>,
    /// Accounts that were given something back in this batch.
    refunded: BTreeSet<u64>,
    /// What batch so far was paid in promo and prepaid, by account, and promo granted when it began.
    drawn: BTreeMap<u64, [i64; 3]>,
    pub(crate) fundings: u64,
    pub(crate) withdrawals: u64,
    pub(crate) credits: u64,
    pub(crate) given_back: i64,
    pub(crate) batches: u64,
}

impl Entries {
    fn post(
        &mut self,
        account: u64,
        from: LedgerAccount,
        to: LedgerAccount,
        amount: i64,
    ) -> Finding {
        ensure(amount >= 0, || format!("{amount} from {from:?} to {to:?}"))?;
        self.sums.entry((account, from)).or_default().0 += amount;
        self.sums.entry((account, to)).or_default().1 += amount;
        self.touched.insert(account);
        self.changed.insert(account);
        Ok(())
    }

    fn balance(&self, account: u64, of: LedgerAccount) -> i64 {
        self.sums.get(&(account, of)).map_or(0, |(debits, credits)| credits - debits)
    }

    /// Returns what an account was paid or given and has not spent.
    pub(crate) fn held(&self, account: u64) -> i64 {
        let of = [LedgerAccount::Prepaid, LedgerAccount::Promo, LedgerAccount::Granted];
        of.iter().map(|of| self.balance(account, *of)).sum()
    }

    pub(crate) fn funded(&mut self, fact: &Funded) -> Finding {
        let (from, to) = match fact.kind() {
            TransferKind::Funding => (LedgerAccount::Funding, LedgerAccount::Prepaid),
            TransferKind::Promo => (LedgerAccount::PromoGiven, LedgerAccount::Promo),
            TransferKind::Withdrawal => (LedgerAccount::Prepaid, LedgerAccount::Funding),
            other => return Err(format!("{other:?} is no order")),
        };
        let withdrawn = fact.kind() == TransferKind::Withdrawal;
        self.withdrawals += u64::from(withdrawn);
        self.fundings += u64::from(!withdrawn);
        let new = self.transfers.insert(fact.transfer.clone());
        ensure(new && fact.amount > 0, || "a transfer came twice".into())?;
        self.post(fact.account, from, to, fact.amount)
    }

    /// Posts a grant of a prepaid account, of which its spend limit leaves so much.
    pub(crate) fn granted(&mut self, fact: &Granted, limit: i64) -> Finding {
        let account = fact.account;
        let held = self.held(account);
        ensure(fact.amount <= held.min(limit), || {
            format!("its account has {held}, its limit leaves {limit}")
        })?;
        let moved = fact.from_promo + fact.from_prepaid;
        ensure(moved == fact.amount, || format!("{moved} were moved"))?;
        let (granted, promo, prepaid) =
            (LedgerAccount::Granted, LedgerAccount::Promo, LedgerAccount::Prepaid);
        self.post(account, granted, promo, fact.back_promo)?;
        self.post(account, granted, prepaid, fact.back_prepaid)?;
        let back = self.balance(account, granted);
        ensure(back == 0, || format!("{back} of the earlier grant stay granted"))?;
        self.post(account, promo, granted, fact.from_promo)?;
        self.post(account, prepaid, granted, fact.from_prepaid)?;
        *self.granted_promo.entry(account).or_default() += fact.from_promo - fact.back_promo;
        self.fulls.push(Full { account, amount: fact.amount, limit });
        Ok(())
    }

    pub(crate) fn charged(&mut self, showing: &Showing, charge: &Charge, at: i64) -> Finding {
        let Charge { amount, promo, prepaid, over_delivered, .. } = *charge;
        let account = showing.account;
        let granted = self.granted_promo.get(&account).copied().unwrap_or_default();
        if charge.ungranted {
            self.post(account, LedgerAccount::Promo, LedgerAccount::Granted, promo)?;
            self.post(account, LedgerAccount::Prepaid, LedgerAccount::Granted, prepaid)?;
        } else {
            *self.granted_promo.entry(account).or_default() -= promo;
            let drawn = self.drawn.entry(account).or_insert([0, 0, granted]);
            (drawn[0], drawn[1]) = (drawn[0] + promo, drawn[1] + prepaid);
        }
        self.post(account, LedgerAccount::Granted, LedgerAccount::Spent, promo + prepaid)?;
        let owed = amount - promo - prepaid;
        self.post(account, LedgerAccount::Receivable, LedgerAccount::Spent, owed)?;
        let borne = (LedgerAccount::OverDeliveryBorne, LedgerAccount::OverDelivered);
        self.post(account, borne.0, borne.1, over_delivered)?;
        let event = Event {
            account,
            campaign: showing.campaign,
            feed: showing.feed,
            at,
            paid: [amount, promo, prepaid],
            credited: false,
        };
        let known = self.events.insert(showing.view, event);
        ensure(known.is_none(), || "charged twice".into())
    }

    pub(crate) fn credited(&mut self, fact: &EventCredited, rows: &Rows, at: i64) -> Finding {
        let view = fact.showing.as_ref().map_or(0, |showing| showing.view);
        let event = self.events.get_mut(&view).ok_or("given back, but never charged")?;
        ensure(!event.credited, || "given back twice".into())?;
        event.credited = true;
        let (account, paid) = (event.account, event.paid);
        let back = [fact.amount, fact.promo, fact.prepaid];
        let within = back.iter().zip(paid).all(|(back, paid)| *back <= paid);
        ensure(within && fact.amount > 0, || format!("{back:?} given back of {paid:?}"))?;
        ensure(self.transfers.insert(fact.transfer.clone()), || "its id came twice".into())?;
        let today = day(&rows.accounts[&account].time_zone, at);
        ensure(fact.day == today, || format!("on another day than {today}"))?;
        self.credits += 1;
        self.given_back += fact.amount;
        self.refunded.insert(account);
        let owed = fact.amount - fact.promo - fact.prepaid;
        self.post(account, LedgerAccount::Refunded, LedgerAccount::Promo, fact.promo)?;
        self.post(account, LedgerAccount::Refunded, LedgerAccount::Prepaid, fact.prepaid)?;
        self.post(account, LedgerAccount::Refunded, LedgerAccount::Receivable, owed)
    }

    /// Returns how many charged events a filter finds that were not given back, and what they cost.
    pub(crate) fn creditable(&self, filter: &EventFilter) -> (u64, i64) {
        let any = |wanted: u64, has: u64| wanted == 0 || wanted == has;
        let matching = self.events.values().filter(|event| {
            any(filter.account, event.account)
                && any(filter.campaign, event.campaign)
                && any(filter.feed.into(), event.feed.into())
                && (filter.start.0..filter.end.0).contains(&event.at)
        });
        let left = matching.filter(|event| !event.credited && event.paid[0] > 0);
        left.fold((0, 0), |(count, sum), event| (count + 1, sum + event.paid[0]))
    }

    /// Checks, between two batches, what no batch may leave behind.
    pub(crate) fn check_batch(&mut self) -> Finding {
        self.batches += 1;
        for full in std::mem::take(&mut self.fulls) {
            let held = self.held(full.account);
            let most = held.min(full.limit);
            let exact = full.amount == most || self.refunded.contains(&full.account);
            ensure(exact, || format!("{} granted of {most}", full.amount))?;
        }
        for (account, [promo, prepaid, granted]) in std::mem::take(&mut self.drawn) {
            let first = promo == granted.min(promo + prepaid);
            ensure(first, || {
                format!("{account}: {prepaid} prepaid before promo credit was spent")
            })?;
        }
        self.refunded.clear();
        for account in std::mem::take(&mut self.touched) {
            let of = [LedgerAccount::Prepaid, LedgerAccount::Promo, LedgerAccount::Granted];
            let granted = self.balance(account, LedgerAccount::Granted);
            let promo = self.granted_promo.get(&account).copied().unwrap_or_default();
            let parts = of.map(|of| self.balance(account, of));
            let solid = parts.iter().all(|part| *part >= 0) && (0..=granted).contains(&promo);
            ensure(solid, || format!("account {account} has {parts:?}, {promo} granted promo"))?;
        }
        Ok(())
    }

    /// Compares the fold of the journal with these entries: each balance, and debits with credits.
    pub(crate) fn compare(&mut self, state: &State) -> Finding {
        for account in std::mem::take(&mut self.changed) {
            let purse = state.purses.iter().find_map(|chunk| chunk.purses.get(&account));
            let purse = purse.ok_or_else(|| format!("account {account} has no purse"))?;
            let totals = purse.ledger.totals();
            ensure(totals.debits == totals.credits, || format!("{account}: {totals:?}"))?;
            let mine = self.sums.range((account, LedgerAccount::Unspecified)..);
            let mine = mine.take_while(|((of, _), _)| *of == account);
            let (mut debits, mut credits) = (0, 0);
            for ((_, of), sums) in mine {
                let balance = purse.ledger.balance(*of);
                ensure(balance == sums.1 - sums.0, || {
                    format!("account {account}: {of:?} is {balance}, posted {sums:?}")
                })?;
                (debits, credits) = (debits + sums.0, credits + sums.1);
            }
            ensure(debits == credits, || format!("{account}: {debits} debits, {credits} credits"))?;
            let funds = purse.funds();
            let promo = self.granted_promo.get(&account).copied().unwrap_or_default();
            ensure(funds.sum() == self.held(account) && funds.granted_promo == promo, || {
                format!("account {account}: {funds:?}, {promo} granted promo")
            })?;
        }
        Ok(())
    }
}
