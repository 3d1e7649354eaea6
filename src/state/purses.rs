//! Money: what each budget line was granted and has spent. Hard: a charge was clipped before it became
//! a fact.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::kinds::catalog_kinds;
use crate::state::ledger::{Ledger, Seal, clamped, of_charge, of_credit, of_funded, of_granted};
use crate::state::{Applied, Map, Stamp};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{Charge, EventCredited, Funded, Granted, LineKind, Showing};
use crate::types::proto::v1::LedgerAccount;
use crate::types::time::Moment;

/// Grants of a line that are kept: today's, those it replaced today, and yesterday's for late looks.
const GRANTS_KEPT: usize = 8;

/// Days of a line's own spend that are kept; invoices keep every day.
const DAYS_KEPT: usize = 8;

/// A slice of a budget.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grant {
    /// Its id.
    pub id: u64,
    /// The account's day.
    pub day: i32,
    /// The most that may be charged to it, micros.
    pub amount: i64,
    /// What has been, micros.
    pub spent: i64,
    /// The end of its day, milliseconds.
    pub until_ms: i64,
}

impl Grant {
    /// Returns what may still be charged, micros.
    pub fn left(&self, now: Moment) -> i64 {
        if now.0 < self.until_ms { (self.amount - self.spent).max(0) } else { 0 }
    }
}

/// One budget: the account's, a campaign's or an ad set's.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Line {
    /// Spent since the beginning, micros.
    pub life: i64,
    /// Spent by day, the latest days, micros.
    pub days: BTreeMap<i32, i64>,
    /// The latest grants, oldest first; the last one given is current.
    grants: Vec<Grant>,
    current: u64,
}

impl Line {
    /// Returns the grant that charges draw on now; `None` before the first.
    pub fn current(&self) -> Option<&Grant> {
        self.grants.iter().rev().find(|grant| grant.id == self.current)
    }

    fn grant(&mut self, fact: &Granted) {
        let grant = self.known(fact.grant);
        grant.day = fact.day;
        grant.amount = fact.amount;
        grant.until_ms = fact.until_ms;
        self.current = fact.grant;
    }

    fn charge(&mut self, grant: u64, day: i32, amount: i64) {
        self.life += amount;
        *self.days.entry(day).or_default() += amount;
        while self.days.len() > DAYS_KEPT {
            self.days.pop_first();
        }
        if grant != 0 {
            self.known(grant).spent += amount;
        }
    }

    /// Returns the grant, new if a charge came before its giving (another shard's fact may).
    fn known(&mut self, id: u64) -> &mut Grant {
        let index = self.grants.iter().position(|grant| grant.id == id).unwrap_or_else(|| {
            if self.grants.len() == GRANTS_KEPT {
                self.grants.remove(0);
            }
            self.grants.push(Grant { id, ..Grant::default() });
            self.grants.len() - 1
        });
        &mut self.grants[index]
    }
}

/// What one day of an account came to, micros: what is invoiced.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AccountDay {
    /// Charged.
    pub charged: i64,
    /// Of that, paid by promo credit.
    pub promo: i64,
    /// Of that, paid by prepaid money. What is left is owed.
    pub prepaid: i64,
    /// Events that were charged anything.
    pub events: u64,
    /// Of those, how many were paid by promo or prepaid, wholly or in part.
    pub events_paid: u64,
    /// How many are owed, wholly or in part.
    pub events_owed: u64,
    /// Delivered beyond budgets and not charged.
    pub over_delivered: i64,
    /// What events that were marked invalid before billing would have cost.
    pub invalid: i64,
    /// How many of those.
    pub invalid_events: u64,
    /// Given back on this day, whenever it was charged.
    pub credited: i64,
    /// For how many events.
    pub credited_events: u64,
}

/// Money or promo credit that came or went. Never changed.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Funding {
    /// A `TransferKind`.
    pub kind: i32,
    /// Micros, above zero.
    pub amount: i64,
    /// Why, for people.
    pub reason: String,
    /// The journal's time, milliseconds.
    pub at_ms: i64,
}

/// Charges that one request for credit gave back on one day.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Credits {
    /// Given back, micros.
    pub amount: i64,
    /// Of that, to promo credit.
    pub promo: i64,
    /// Of that, to prepaid money.
    pub prepaid: i64,
    /// For how many events.
    pub events: u64,
    /// When the first was, by the journal's time, milliseconds.
    pub at_ms: i64,
    /// Why, for people.
    pub reason: String,
}

/// All money of one account.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Purse {
    lines: Map<(i32, u64), Line>,
    /// Debits and credits.
    pub ledger: Ledger,
    /// Of what is granted, promo credit, micros; the rest is prepaid money.
    granted_promo: i64,
    /// By the account's day.
    pub days: BTreeMap<i32, AccountDay>,
    /// By transfer id.
    pub fundings: BTreeMap<u128, Funding>,
    /// By the hash of the request that found them, and the account's day.
    pub credits: BTreeMap<(u64, i32), Credits>,
}

impl Purse {
    /// Returns a budget line; `None`: nothing was granted or charged on it yet.
    pub fn line(&self, kind: LineKind, id: u64) -> Option<&Line> {
        self.lines.get(&(kind.into(), id))
    }

    fn line_mut(&mut self, kind: LineKind, id: u64) -> &mut Line {
        self.lines.entry((kind.into(), id)).or_default()
    }

    /// Returns a copy of what lists and invoices are made of: days, transfers and credits. No budget line, of
    /// which there may be many, and no sums.
    pub fn history(&self) -> Self {
        Self {
            days: self.days.clone(),
            fundings: self.fundings.clone(),
            credits: self.credits.clone(),
            ..Self::default()
        }
    }

    /// Returns the funds of the account.
    pub fn funds(&self) -> Funds {
        let granted = self.ledger.balance(LedgerAccount::Granted);
        Funds {
            promo: self.ledger.balance(LedgerAccount::Promo),
            prepaid: self.ledger.balance(LedgerAccount::Prepaid),
            granted_promo: self.granted_promo,
            granted_prepaid: granted - self.granted_promo,
        }
    }

    fn grant(&mut self, fact: &Granted) {
        self.ledger.post(of_granted(fact));
        self.granted_promo += fact.from_promo - fact.back_promo;
        self.line_mut(fact.line_kind(), fact.line).grant(fact);
    }

    fn charge(&mut self, showing: &Showing, charge: &Charge) {
        let lines = [
            (LineKind::Account, showing.account, charge.account_grant),
            (LineKind::Campaign, showing.campaign, charge.campaign_grant),
            (LineKind::AdSet, showing.ad_set, charge.ad_set_grant),
        ];
        for (kind, id, grant) in lines {
            self.line_mut(kind, id).charge(grant, charge.day, charge.amount);
        }
        self.ledger.post(of_charge(charge));
        if !charge.ungranted {
            self.granted_promo -= charge.promo;
        }
        if charge.amount == 0 && charge.over_delivered == 0 {
            return;
        }
        let day = self.days.entry(charge.day).or_default();
        day.charged += charge.amount;
        day.promo += charge.promo;
        day.prepaid += charge.prepaid;
        let paid = charge.promo + charge.prepaid;
        day.events += u64::from(charge.amount > 0);
        day.events_paid += u64::from(paid > 0);
        day.events_owed += u64::from(charge.amount > paid);
        day.over_delivered = day.over_delivered.saturating_add(charge.over_delivered);
    }

    fn pass(&mut self, day: i32, price: i64) {
        let day = self.days.entry(day).or_default();
        day.invalid = day.invalid.saturating_add(price);
        day.invalid_events += 1;
    }

    fn fund(&mut self, fact: &Funded, at: Moment) {
        self.ledger.post([of_funded(fact)]);
        let funding = Funding {
            kind: fact.kind,
            amount: fact.amount,
            reason: fact.reason.clone(),
            at_ms: at.0,
        };
        self.fundings.insert(transfer_number(&fact.transfer), funding);
    }

    fn credit(&mut self, fact: &EventCredited, at: Moment) {
        self.ledger.post(of_credit(fact));
        let day = self.days.entry(fact.day).or_default();
        day.credited += fact.amount;
        day.credited_events += 1;
        let credits = self.credits.entry((fact.batch, fact.day)).or_default();
        if credits.events == 0 {
            credits.reason.clone_from(&fact.reason);
            credits.at_ms = at.0;
        }
        credits.at_ms = credits.at_ms.min(at.0);
        credits.amount += fact.amount;
        credits.promo += fact.promo;
        credits.prepaid += fact.prepaid;
        credits.events += 1;
    }
}

/// What an account was paid or given and has not spent, micros. None is below zero.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Funds {
    /// Promo credit that was not granted.
    pub promo: i64,
    /// Prepaid money that was not granted.
    pub prepaid: i64,
    /// Promo credit that was granted and not spent.
    pub granted_promo: i64,
    /// Prepaid money that was granted and not spent.
    pub granted_prepaid: i64,
}

impl Funds {
    /// Returns all of it.
    pub fn sum(&self) -> i64 {
        let parts = [self.promo, self.prepaid, self.granted_promo, self.granted_prepaid];
        clamped(parts.into_iter().map(i128::from).sum())
    }
}

/// Returns a transfer's id as a number; a journaled id has 16 bytes.
pub fn transfer_number(bytes: &[u8]) -> u128 {
    bytes.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// Purses of 1,024 accounts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PurseChunk {
    applied: Applied,
    /// Of all transfers of these accounts.
    pub seal: Seal,
    /// By account.
    pub purses: Map<u64, Purse>,
}

impl PurseChunk {
    /// Returns what was applied here of each shard.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Applies a fact that touches this chunk, once.
    pub fn apply(&mut self, stamp: Stamp, fact: &Kind) {
        if !self.applied.advance(stamp) {
            return;
        }
        match fact {
            Kind::Granted(fact) => {
                self.seal.add(Seal::of_granted(fact));
                self.purses.entry(fact.account).or_default().grant(fact);
            }
            Kind::Funded(fact) => {
                self.seal.add(Seal::of_funded(fact));
                self.purses.entry(fact.account).or_default().fund(fact, stamp.at);
            }
            Kind::EventCredited(fact) => {
                self.seal.add(Seal::of_credit(fact));
                let account = fact.showing.as_ref().map_or(0, |showing| showing.account);
                self.purses.entry(account).or_default().credit(fact, stamp.at);
            }
            Kind::ImpressionSeen(fact) => {
                self.charge(&fact.showing, &fact.charge, (fact.invalid_price, fact.invalid_day));
            }
            Kind::Tapped(fact) => {
                self.charge(&fact.showing, &fact.charge, (fact.invalid_price, fact.invalid_day));
            }
            Kind::ClickMatched(fact) => {
                self.charge(&fact.showing, &fact.charge, (fact.invalid_price, fact.invalid_day));
            }
            catalog_kinds!()
            | Kind::ServedMinute(_)
            | Kind::Watched(_)
            | Kind::FeedbackGiven(_)
            | Kind::ConversionCredited(_)
            | Kind::ConversationOpened(_)
            | Kind::MessageRecorded(_)
            | Kind::Converted(_)
            | Kind::OutboxSettled(_)
            | Kind::ConversionsPushed(_)
            | Kind::MessagePriced(_)
            | Kind::ContactMoved(_)
            | Kind::SourceTapped(_)
            | Kind::ReferralNoted(_)
            | Kind::StepCredited(_)
            | Kind::OutcomeRevised(_)
            | Kind::RevisionSettled(_)
            | Kind::TouchRevised(_)
            | Kind::GhostNoted(_)
            | Kind::ViewerErased(_)
            | Kind::OutcomeNoted(_)
            | Kind::OutcomeDeclined(_) => {}
        }
    }

    fn charge(
        &mut self,
        showing: &Option<Showing>,
        charge: &Option<Charge>,
        (invalid_price, invalid_day): (i64, i32),
    ) {
        let Some(showing) = showing else { return };
        if charge.is_none() && invalid_price == 0 {
            return;
        }
        let purse = self.purses.entry(showing.account).or_default();
        if let Some(charge) = charge {
            self.seal.add(Seal::of_charge(showing, charge));
            purse.charge(showing, charge);
        }
        if invalid_price != 0 {
            purse.pass(invalid_day, invalid_price);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(grant: u64, amount: i64) -> Granted {
        Granted { grant, amount, until_ms: 100, ..Granted::default() }
    }

    #[test]
    fn a_grant_gives_its_amount_once_and_ends_with_its_day() {
        let mut line = Line::default();
        line.grant(&granted(1, 10));
        line.charge(1, 0, 4);
        let grant = line.current().expect("granted");
        assert_eq!((grant.left(Moment(99)), grant.left(Moment(100))), (6, 0));
    }

    #[test]
    fn a_history_has_the_days_and_no_lines() {
        let mut purse = Purse::default();
        let charge = Charge { amount: 5, day: 3, ..Charge::default() };
        purse.charge(&Showing { account: 1, ..Showing::default() }, &charge);
        let history = purse.history();
        assert_eq!((&history.days, purse.lines.is_empty()), (&purse.days, false));
        assert!(history.lines.is_empty(), "they are what an account has most of");
    }

    #[test]
    fn a_charge_and_its_grant_may_be_applied_in_either_order() {
        let (mut first, mut second) = (Line::default(), Line::default());
        first.grant(&granted(1, 10));
        first.charge(1, 0, 4);
        second.charge(1, 0, 4);
        second.grant(&granted(1, 10));
        assert_eq!(first, second);
    }
}
