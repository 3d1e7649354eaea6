//! Revisions: outcomes told anew where their viewer lives, and from there to their conversations.

use std::sync::Arc;

use crate::decide::Decided;
use crate::decide::chats::adjusted::{KnownSale, adjusted};
use crate::decide::imports::conversion_outcome;
use crate::decide::revise::{There, ToldTouch, earned, invalidated, late, step, touch};
use crate::decide::steps::{STEPS, step_outcome};
use crate::node::writer::Writer;
use crate::state::catalog::Catalog;
use crate::state::credit::Credit;
use crate::state::viewers::Viewer;
use crate::types::ids::{SHARDS, Shard, shard_of};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{EventCredited, RevisionSettled};
use crate::types::proto::v1::Outcome;
use crate::types::request::Adjustment;
use crate::types::time::Moment;

impl Writer {
    /// Returns the revisions that stand beside a charge given back: of every outcome whose path has its showing.
    pub(super) fn revised_by(&self, credited: &EventCredited) -> Vec<Kind> {
        let showing = credited.showing.unwrap_or_default();
        let on_path = |credit: &&Credit| credit.path.iter().any(|it| it.view == showing.view);
        let credits: Vec<Credit> = {
            let part = self.live.shard(shard_of(showing.viewer).index());
            part.of_viewer(showing.viewer).filter(on_path).cloned().collect()
        };
        if credits.is_empty() {
            return Vec::new();
        }
        let catalog = self.live.catalog();
        let cell = self.live.cell(showing.viewer);
        let viewer = cell.facts.viewers.get(&showing.viewer);
        let there = There { catalog: &catalog, viewer, past: None };
        let revised = credits.iter().filter_map(|credit| invalidated(credit, credited, &there));
        revised.map(|fact| Kind::OutcomeRevised(Box::new(fact))).collect()
    }

    /// Returns the revisions that stand beside an event that tells of a touch: of every outcome of its viewer that lies
    /// behind it and was judged without it.
    pub(super) fn revised_late(&self, catalog: &Catalog, fact: &Kind, now: Moment) -> Vec<Kind> {
        let Some(told) = ToldTouch::of(fact) else { return Vec::new() };
        let viewer = told.showing.viewer;
        let credits: Vec<Credit> = {
            let part = self.live.shard(shard_of(viewer).index());
            part.of_viewer(viewer).filter(|credit| told.may_earn(credit)).cloned().collect()
        };
        if credits.is_empty() {
            return Vec::new();
        }
        let cell = self.live.cell(viewer);
        let known = Viewer::after(cell.facts.viewers.get(&viewer), fact, now);
        let past = cell.facts.past.get(&viewer);
        let there = There { catalog, viewer: Some(&known), past };
        let revised = credits.iter().filter_map(|credit| late(credit, &told, &there));
        revised.map(|fact| Kind::OutcomeRevised(Box::new(fact))).collect()
    }

    /// Judges an adjustment; returns the shard that its conversion's newest row stands in.
    pub(super) fn adjusted(
        &self,
        catalog: &Catalog,
        adjustment: &Adjustment,
        now: Moment,
    ) -> (Shard, Decided) {
        let outcome = conversion_outcome(adjustment.account, &adjustment.event_id);
        let reported = self.live.cell(outcome).facts.conversions.contains_key(&outcome);
        // A row is where its viewer lives, or where it was declined: a few dozen look-ups for something rare.
        let rows = Shard::all().take(SHARDS).filter_map(|shard| {
            let part = self.live.shard(shard.index());
            let newest = part.newest(outcome)?.clone();
            Some((newest, shard, part.adjusted(outcome).to_vec()))
        });
        let newest = rows.max_by_key(|(credit, ..)| credit.row.revision);
        let (shard, adjusted_before) = newest
            .as_ref()
            .map_or((Shard::CATALOG, &[][..]), |(_, shard, adjusted)| (*shard, adjusted));
        let newest = newest.as_ref().map(|(credit, ..)| credit);
        let known = KnownSale { newest, adjusted: adjusted_before, reported };
        (shard, adjusted(catalog, &known, adjustment, now))
    }

    /// Notes openings whose conversations are to be told what became of them.
    pub(super) fn note_revised(&mut self, facts: &[Kind]) {
        for fact in facts {
            if let Kind::OutcomeRevised(fact) = fact
                && fact.kind() == Outcome::Conversation
                && fact.viewer != 0
            {
                self.revised.push_back((fact.outcome, fact.viewer));
            }
        }
    }

    /// Takes every revised opening one step further: first its conversation's shard takes it over, then, in a
    /// later batch, the viewer's notes that it has. After a crash in between there is nothing left to take over.
    pub(super) fn hand_over(&mut self, now: Moment) {
        for _ in 0..self.revised.len() {
            let Some((outcome, viewer)) = self.revised.pop_front() else { break };
            self.hand_one_over(outcome, viewer, now);
        }
    }

    fn hand_one_over(&mut self, outcome: u64, viewer: u64, now: Moment) {
        let live = Arc::clone(&self.live);
        if !live.cell(viewer).facts.revised.contains_key(&outcome) {
            return;
        }
        // Its conversation does not have the touch yet, and gets the revised one.
        if live.cell(outcome).facts.outbox.contains_key(&outcome) {
            self.revised.push_back((outcome, viewer));
            return;
        }
        let opening = live.shard(shard_of(viewer).index()).newest(outcome).cloned();
        let facts = opening.map_or_else(Vec::new, |opening| self.taken_over(&opening));
        if facts.is_empty() {
            let settled = Kind::RevisionSettled(RevisionSettled { outcome, viewer });
            self.journal(shard_of(viewer), vec![settled], now);
        } else {
            self.journal(shard_of(outcome), facts, now);
            self.revised.push_back((outcome, viewer));
        }
    }

    /// Returns what a conversation's shard has to take over of a revised opening.
    fn taken_over(&self, opening: &Credit) -> Vec<Kind> {
        let (outcome, conversation) = (opening.row.outcome_id, opening.row.conversation_id);
        let (touched, settled) = {
            let cell = self.live.cell(conversation);
            let chat = cell.facts.chats.get(&conversation);
            let settled = chat.map_or_else(Vec::new, |chat| earned(chat, opening));
            (chat.and_then(|chat| touch(chat, opening)), settled)
        };
        let steps: Vec<_> = {
            let part = self.live.shard(shard_of(outcome).index());
            let known = STEPS.iter().filter_map(|kind| part.newest(step_outcome(outcome, *kind)));
            known.filter_map(|known| step(known, opening)).collect()
        };
        let steps = steps.into_iter().map(|fact| Kind::OutcomeRevised(Box::new(fact)));
        let touched = touched.map(|fact| Kind::TouchRevised(Box::new(fact)));
        touched.into_iter().chain(settled).chain(steps).collect()
    }
}
