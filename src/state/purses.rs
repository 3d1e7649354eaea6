//! Money: what each budget line was granted and has spent. Hard: a charge was clipped before it became
//! a fact.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::{Applied, Map, Stamp};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{Charge, Granted, LineKind, Showing};
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

/// All money of one account.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Purse {
    lines: Map<(i32, u64), Line>,
    /// Charged by the account's day, micros: what is invoiced.
    pub invoices: BTreeMap<i32, i64>,
    /// Delivered beyond the budgets and not charged, micros.
    pub over_delivered: i64,
}

impl Purse {
    /// Returns a budget line; `None`: nothing was granted or charged on it yet.
    pub fn line(&self, kind: LineKind, id: u64) -> Option<&Line> {
        self.lines.get(&(kind.into(), id))
    }

    fn line_mut(&mut self, kind: LineKind, id: u64) -> &mut Line {
        self.lines.entry((kind.into(), id)).or_default()
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
        if charge.amount != 0 {
            *self.invoices.entry(charge.day).or_default() += charge.amount;
        }
        self.over_delivered += charge.over_delivered;
    }
}

/// Purses of 1,024 accounts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PurseChunk {
    applied: Applied,
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
                let purse = self.purses.entry(fact.account).or_default();
                purse.line_mut(fact.line_kind(), fact.line).grant(fact);
            }
            Kind::ImpressionSeen(fact) => self.charge(&fact.showing, &fact.charge),
            Kind::Tapped(fact) => self.charge(&fact.showing, &fact.charge),
            Kind::ClickMatched(fact) => self.charge(&fact.showing, &fact.charge),
            Kind::AccountPut(_)
            | Kind::BusinessPut(_)
            | Kind::EndpointPut(_)
            | Kind::CampaignPut(_)
            | Kind::AdSetPut(_)
            | Kind::AdPut(_)
            | Kind::RequestAnswered(_)
            | Kind::TaxonomyPut(_)
            | Kind::PolicyRulesPut(_)
            | Kind::ExchangeRatesPut(_)
            | Kind::TrafficRulesPut(_)
            | Kind::Funded(_)
            | Kind::EventCredited(_)
            | Kind::ServedMinute(_)
            | Kind::Watched(_)
            | Kind::FeedbackGiven(_)
            | Kind::ConversionCredited(_)
            | Kind::ConversationOpened(_)
            | Kind::MessageRecorded(_)
            | Kind::Converted(_)
            | Kind::OutboxSettled(_)
            | Kind::OutcomeDeclined(_) => {}
        }
    }

    fn charge(&mut self, showing: &Option<Showing>, charge: &Option<Charge>) {
        if let (Some(showing), Some(charge)) = (showing, charge) {
            self.purses.entry(showing.account).or_default().charge(showing, charge);
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
    fn a_charge_and_its_grant_may_be_applied_in_either_order() {
        let (mut first, mut second) = (Line::default(), Line::default());
        first.grant(&granted(1, 10));
        first.charge(1, 0, 4);
        second.charge(1, 0, 4);
        second.grant(&granted(1, 10));
        assert_eq!(first, second);
    }
}
