//! Delivery of openings and conversions to the shard of their viewer, exactly once.

use std::sync::Arc;

use crate::decide::deliver::{Click, Step, There, deliver};
use crate::node::live::Live;
use crate::node::writer::Writer;
use crate::node::writer::taps::RecentTaps;
use crate::state::bucket::Outgoing;
use crate::state::chats::Chat;
use crate::types::ids::shard_of;
use crate::types::proto::journal::v1::OutcomeNoted;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::time::Moment;
use crate::types::token::PrefillCode;

impl Writer {
    /// Notes what a decision put into an outbox.
    pub(super) fn note_outgoing(&mut self, facts: &[Kind]) {
        for fact in facts {
            match fact {
                Kind::ConversationOpened(fact) if fact.proof.is_some() || fact.told_viewer != 0 => {
                    self.outbox.push_back(fact.outcome);
                    self.take_click(&Outgoing::Opened(*fact));
                }
                Kind::Converted(fact) if fact.proof.is_some() || fact.told_viewer != 0 => {
                    self.outbox.push_back(fact.outcome);
                }
                _ => {}
            }
        }
    }

    /// Takes the taps that openings on their way have claimed: another opening must not find them.
    pub(super) fn take_claimed(&mut self) {
        for outcome in self.outbox.clone() {
            let outgoing = self.live.cell(outcome).facts.outbox.get(&outcome).cloned();
            if let Some(outgoing @ Outgoing::Opened(_)) = outgoing {
                self.take_click(&outgoing);
            }
        }
    }

    fn take_click(&mut self, opened: &Outgoing) {
        self.taps.claims_of(opened, RecentTaps::claim);
        if let Some(click) = click_of(&self.live, opened) {
            self.taps.take(click.view);
        }
    }

    /// Takes every delivery that waited before this round one step further. The steps stand in batches
    /// of their own: a settled outbox always has its credit before it in the journal.
    pub(super) fn deliver(&mut self, now: Moment) {
        if self.outbox.is_empty() && self.revised.is_empty() {
            return;
        }
        self.cut();
        self.hand_over(now);
        for _ in 0..self.outbox.len() {
            let Some(outcome) = self.outbox.pop_front() else { break };
            self.deliver_one(outcome, now);
        }
        self.cut();
    }

    fn deliver_one(&mut self, outcome: u64, now: Moment) {
        let live = Arc::clone(&self.live);
        let outgoing = live.cell(outcome).facts.outbox.get(&outcome).cloned();
        // Settled before a restart: nothing is left to do.
        let Some(outgoing) = outgoing else { return };
        if waits(&live, &outgoing) {
            self.outbox.push_back(outcome);
            return;
        }
        if let Some(fact) = unnoted(&live, &outgoing) {
            self.journal(shard_of(fact.viewer), vec![Kind::OutcomeNoted(fact)], now);
            self.outbox.push_back(outcome);
            return;
        }
        let click = click_of(&live, &outgoing);
        let viewer = click.map_or(0, |click| click.viewer);
        match next_step(&live, &outgoing, click, now) {
            Step::Credit(fact) => {
                self.pacer.note_goal(&live, &fact, None);
                // A tap that only its token tells of may lie before other outcomes.
                let revised = self.revised_late(&live.catalog(), &fact, now);
                self.note_revised(&revised);
                let facts = std::iter::once(*fact).chain(revised).collect();
                self.journal(shard_of(viewer), facts, now);
                self.outbox.push_back(outcome);
            }
            Step::Settle(facts) => {
                self.taps.claims_of(&outgoing, RecentTaps::settle);
                self.journal(shard_of(outcome), facts, now);
            }
        }
    }
}

/// Tells whether an earlier opening of the same conversation is on its way: they settle one after the other,
/// so that each knows whom the ones before have counted.
fn waits(live: &Live, outgoing: &Outgoing) -> bool {
    let Outgoing::Opened(fact) = outgoing else { return false };
    let cell = live.cell(fact.conversation);
    let Some(chat) = cell.facts.chats.get(&fact.conversation) else { return false };
    let first = chat.openings.iter().find(|opening| cell.facts.outbox.contains_key(opening));
    first.is_some_and(|first| *first != fact.outcome)
}

/// Returns what experiments have not heard yet of an outcome whose viewer was told. Of a viewer with as many as are
/// remembered they hear no more: the oldest would be forgotten on its way, and noted again for ever.
fn unnoted(live: &Live, outgoing: &Outgoing) -> Option<OutcomeNoted> {
    let fact = outgoing.noted(&live.catalog())?;
    let new = live.cell(fact.viewer).facts.may_note(fact.viewer, fact.outcome);
    new.then_some(fact)
}

pub(super) fn click_of(live: &Live, outgoing: &Outgoing) -> Option<Click> {
    outgoing.click(|code| {
        let shard = PrefillCode::from_number(code)?.shard();
        live.shard(shard.index()).codes.get(&code).copied()
    })
}

fn next_step(live: &Live, outgoing: &Outgoing, click: Option<Click>, now: Moment) -> Step {
    // Copied, as the viewer may live in the same bucket.
    let chat = match outgoing {
        Outgoing::Opened(fact) => {
            live.cell(fact.conversation).facts.chats.get(&fact.conversation).map(Chat::gist)
        }
        Outgoing::Converted(_) => None,
    };
    let account = match outgoing {
        Outgoing::Opened(fact) => fact.account,
        Outgoing::Converted(fact) => fact.account,
    };
    let catalog = live.catalog();
    let cell = live.cell(click.map_or(0, |click| click.viewer));
    let click = click.filter(|click| cell.facts.may_claim(click.viewer, click.view));
    let purses = live.purses(account);
    let there = There {
        catalog: &catalog,
        viewer: click.and_then(|click| cell.facts.viewers.get(&click.viewer)),
        past: click.and_then(|click| cell.facts.past.get(&click.viewer)),
        purse: purses.purses.get(&account),
        now,
    };
    deliver(outgoing, click, &there, chat.as_ref())
}
