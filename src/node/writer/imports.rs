//! Histories of other systems: touches where their viewers live, outcomes credited at once.

use std::sync::Arc;

use crate::decide::Decided;
use crate::decide::imports::{Known, import};
use crate::node::live::Live;
use crate::node::writer::{Reply, Writer};
use crate::state::Map;
use crate::types::ids::shard_of;
use crate::types::request::{Import, ImportVerdict, Imported};
use crate::types::time::Moment;

/// Steps of a delivery: its credit, then its settling.
const DELIVERY_STEPS: usize = 2;

impl Writer {
    /// Judges events of a history, and tells of outcomes what they are credited to.
    pub(super) fn import(
        &mut self,
        history: &Import,
        reply: Reply<Vec<ImportVerdict>>,
        now: Moment,
    ) {
        let live = Arc::clone(&self.live);
        let mut verdicts = Vec::with_capacity(history.items.len());
        let mut counted = Map::default();
        for (index, item) in history.items.iter().enumerate() {
            verdicts.push(match judged(&live, item, history.dry_run, now) {
                Decided::Facts(facts) => {
                    if !history.dry_run {
                        counted.extend(item.outcome().map(|outcome| (index, outcome)));
                        self.note_outgoing(&facts);
                        self.journal(item.shard(), facts, now);
                    }
                    ImportVerdict::Counted
                }
                Decided::Already => ImportVerdict::Already,
                Decided::Refused(refusal) => ImportVerdict::Refused(refusal),
            });
        }
        if !counted.is_empty() {
            (0..DELIVERY_STEPS).for_each(|_| self.deliver(now));
        }
        for (index, verdict) in verdicts.iter_mut().enumerate() {
            if let Some(outcome) = counted.get(&index) {
                *verdict = came_to(&live, *outcome, history.items[index].viewer);
            }
        }
        self.answer(reply, Ok(verdicts));
    }
}

fn judged(live: &Live, item: &Imported, dry_run: bool, now: Moment) -> Decided {
    let catalog = live.catalog();
    // One bucket may hold both, so they are not locked together.
    let outcome = item
        .outcome()
        .and_then(|outcome| live.cell(outcome).facts.conversions.get(&outcome).cloned());
    let cell = live.cell(item.viewer);
    let known = Known {
        catalog: &catalog,
        past: cell.facts.past.get(&item.viewer),
        viewer: cell.facts.viewers.get(&item.viewer),
        outcome: outcome.as_ref(),
        dry_run,
        now,
    };
    import(&known, item)
}

/// Returns what became of an outcome that was delivered.
fn came_to(live: &Live, outcome: u64, viewer: u64) -> ImportVerdict {
    let cell = live.cell(viewer);
    let known = cell.facts.viewers.get(&viewer);
    if known.is_some_and(|known| known.credit_of(outcome).is_some()) {
        return ImportVerdict::Matched;
    }
    drop(cell);
    let part = live.shard(shard_of(outcome).index());
    let row = part.credits.iter().rev().find(|credit| credit.row.outcome_id == outcome);
    ImportVerdict::Declined(row.map(|credit| credit.row.decline_reason()).unwrap_or_default())
}
