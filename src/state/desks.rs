//! What is counted at a business's desk beside its conversations: free messages, printed codes, conversions
//! on their way out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::state::kinds::catalog_kinds;
use crate::state::{Applied, Map, Stamp};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{ConversionsPushed, DeadLetter};
use crate::types::time::{DAY_MS, Moment};

/// Conversions of one account that were given up and are still listed: the newest.
pub const DEAD_LETTERS_MAX: usize = 10_000;

/// Days for which it is known what was told of an endpoint: a week, and today.
pub const TOLD_DAYS: u32 = 8;
/// Months of which free messages are counted: a receipt is at most days old.
const FREE_MONTHS_MAX: usize = 2;

/// One endpoint of a business.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Desk {
    /// Free service messages taken, by month since 1970-01: of the last two months.
    free: BTreeMap<u32, u64>,
    /// Its printed codes and web buttons, by source.
    pub sources: BTreeMap<u64, SourceTally>,
    /// What was told of it since the beginning.
    pub told: Told,
    /// The same by days since the epoch (UTC, by the journal's time): the last [`TOLD_DAYS`] that have any.
    pub days: BTreeMap<u32, Told>,
}

/// How often what was told of an endpoint: what its conversations may be billed by.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Told {
    /// Valid taps on its ads, those that a click token implied too.
    pub taps: u64,
    /// Valid openings that were matched to one of them.
    pub matched: u64,
    /// Openings told by the advertiser's own credential alone.
    pub own: u64,
    /// Openings told by another, or proven by the channel's signature.
    pub independent: u64,
}

impl Told {
    /// Adds counts.
    pub const fn add(&mut self, more: &Self) {
        self.taps += more.taps;
        self.matched += more.matched;
        self.own += more.own;
        self.independent += more.independent;
    }
}

impl Desk {
    fn tell(&mut self, day: u32, more: &Told) {
        self.told.add(more);
        self.days.entry(day).or_default().add(more);
        let last = self.days.keys().next_back().copied().unwrap_or_default();
        self.days = self.days.split_off(&(last + 1).saturating_sub(TOLD_DAYS));
    }

    /// Returns what was told from this day on.
    pub fn told_since(&self, day: u32) -> Told {
        let mut all = Told::default();
        self.days.range(day..).for_each(|(_, told)| all.add(told));
        all
    }
}

impl Desk {
    /// Returns how many free service messages were taken in a month since 1970-01. Of a month that is too long
    /// ago to be known: as many as there are.
    pub fn free_used(&self, month: u32) -> u64 {
        let known = self.free.get(&month).copied();
        let forgotten = || match self.free.first_key_value() {
            Some((first, _)) if self.free.len() == FREE_MONTHS_MAX && month < *first => u64::MAX,
            _ => 0,
        };
        known.unwrap_or_else(forgotten)
    }

    fn take_free(&mut self, month: u32) {
        if self.free_used(month) == u64::MAX {
            return;
        }
        *self.free.entry(month).or_default() += 1;
        if self.free.len() > FREE_MONTHS_MAX {
            self.free.pop_first();
        }
    }
}

/// What came of one printed code or web button.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SourceTally {
    /// Taps, by hours since the epoch.
    pub taps: BTreeMap<u32, u64>,
    /// Conversations opened, by hours since the epoch.
    pub opened: BTreeMap<u32, u64>,
}

/// An account's conversions on their way out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Push {
    /// Everything up to here was delivered or given up, by shard.
    pub up_to: Vec<u64>,
    /// Given up, by outcome.
    pub dead: BTreeMap<u64, Dead>,
}

/// A [`DeadLetter`] inside a checkpoint.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Dead(#[serde(with = "crate::state::wire::message")] pub DeadLetter);

/// Desks of 1,024 endpoints, and pushes of 1,024 accounts.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct DeskChunk {
    applied: Applied,
    /// By endpoint.
    pub desks: Map<u64, Desk>,
    /// By account.
    pub pushes: Map<u64, Push>,
}

impl DeskChunk {
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
            Kind::MessagePriced(fact) => {
                self.desks.entry(fact.endpoint).or_default().take_free(fact.free_month);
            }
            Kind::SourceTapped(fact) => {
                let taps = &mut self.source(fact.endpoint, fact.source).taps;
                *taps.entry(Moment(fact.event_ms).hour()).or_default() += 1;
            }
            Kind::ConversationOpened(fact) => {
                if fact.source != 0 {
                    let opened = &mut self.source(fact.endpoint, fact.source).opened;
                    *opened.entry(Moment(fact.event_ms).hour()).or_default() += 1;
                }
                let (own, independent) = (!fact.independent, fact.independent);
                let (own, independent) = (own.into(), independent.into());
                self.tell(fact.endpoint, stamp, Told { own, independent, ..Told::default() });
            }
            Kind::Tapped(fact) if fact.invalid == 0 => {
                self.tell(fact.endpoint, stamp, Told { taps: 1, ..Told::default() });
            }
            Kind::ClickMatched(fact) if fact.invalid == 0 => {
                let taps = fact.implied_tap.into();
                self.tell(fact.endpoint, stamp, Told { taps, matched: 1, ..Told::default() });
            }
            Kind::ConversionsPushed(fact) => {
                self.pushes.entry(fact.account).or_default().advance(fact);
            }
            catalog_kinds!()
            | Kind::Granted(_)
            | Kind::ServedMinute(_)
            | Kind::Funded(_)
            | Kind::ImpressionSeen(_)
            | Kind::Watched(_)
            | Kind::Tapped(_)
            | Kind::FeedbackGiven(_)
            | Kind::ClickMatched(_)
            | Kind::ConversionCredited(_)
            | Kind::EventCredited(_)
            | Kind::MessageRecorded(_)
            | Kind::Converted(_)
            | Kind::OutboxSettled(_)
            | Kind::OutcomeDeclined(_)
            | Kind::ContactMoved(_)
            | Kind::ReferralNoted(_)
            | Kind::StepCredited(_)
            | Kind::OutcomeRevised(_)
            | Kind::RevisionSettled(_)
            | Kind::TouchRevised(_)
            | Kind::GhostNoted(_)
            | Kind::ViewerErased(_)
            | Kind::OutcomeNoted(_) => {}
        }
    }

    fn tell(&mut self, endpoint: u64, stamp: Stamp, more: Told) {
        let day = (stamp.at.0.div_euclid(DAY_MS)).max(0) as u32;
        self.desks.entry(endpoint).or_default().tell(day, &more);
    }

    fn source(&mut self, endpoint: u64, source: u64) -> &mut SourceTally {
        self.desks.entry(endpoint).or_default().sources.entry(source).or_default()
    }
}

impl Push {
    fn advance(&mut self, fact: &ConversionsPushed) {
        if !fact.up_to.is_empty() {
            self.up_to.clone_from(&fact.up_to);
        }
        for letter in &fact.dead {
            self.dead.insert(letter.outcome, Dead(*letter));
        }
        for outcome in &fact.revived {
            self.dead.remove(outcome);
        }
        while self.dead.len() > DEAD_LETTERS_MAX {
            let oldest = self.dead.iter().min_by_key(|(outcome, dead)| (dead.0.last_ms, **outcome));
            let Some(oldest) = oldest.map(|(outcome, _)| *outcome) else { break };
            self.dead.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_messages_are_counted_by_month_and_two_months_are_known() {
        let mut desk = Desk::default();
        for month in [680, 681, 680, 681, 681] {
            desk.take_free(month);
        }
        assert_eq!([679, 680, 681, 682].map(|month| desk.free_used(month)), [u64::MAX, 2, 3, 0]);
        desk.take_free(682);
        desk.take_free(680);
        assert_eq!([680, 681, 682].map(|month| desk.free_used(month)), [u64::MAX, 3, 1]);
    }
}
