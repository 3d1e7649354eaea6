//! Where the newest row of each outcome stands in a shard, and which outcomes are a viewer's.

use serde::{Deserialize, Serialize};

use crate::state::Map;

/// Outcomes of one viewer that are revised when something of it is found out later: the newest.
pub const REVISED_OUTCOMES_MAX: usize = 64;

/// Adjustments of one conversion that are told apart. A further one is refused.
pub const ADJUSTMENTS_MAX: usize = 64;

/// An adjustment of a conversion that counted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Adjusted {
    /// Hash of its id.
    pub adjustment: u64,
    /// Hash of what it says: the same id with other content is refused.
    pub content: u64,
}

/// The rows of one shard, as long as they are remembered. About 50 bytes an outcome; a viewer without outcomes
/// has none.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Rows {
    /// The number of the newest row, by outcome.
    newest: Map<u64, u64>,
    /// Outcomes by viewer, in the order in which they first came.
    of_viewer: Map<u64, Vec<u64>>,
    /// Adjustments by conversion, the oldest first.
    adjusted: Map<u64, Vec<Adjusted>>,
}

impl Rows {
    /// Notes a row. `viewer` 0: it is nobody's.
    pub(in crate::state) fn note(&mut self, viewer: u64, outcome: u64, seq: u64) {
        self.newest.insert(outcome, seq);
        if viewer == 0 {
            return;
        }
        let theirs = self.of_viewer.entry(viewer).or_default();
        if theirs.contains(&outcome) {
            return;
        }
        if theirs.len() == REVISED_OUTCOMES_MAX {
            theirs.remove(0);
        }
        theirs.push(outcome);
    }

    pub(in crate::state) fn adjust(&mut self, outcome: u64, adjusted: Adjusted) {
        self.adjusted.entry(outcome).or_default().push(adjusted);
    }

    /// Forgets a row, and its outcome with the last of them.
    pub(in crate::state) fn forget(&mut self, viewer: u64, outcome: u64, seq: u64) {
        if self.newest(outcome) != Some(seq) {
            return;
        }
        self.newest.remove(&outcome);
        self.adjusted.remove(&outcome);
        let Some(theirs) = self.of_viewer.get_mut(&viewer) else { return };
        theirs.retain(|known| *known != outcome);
        if theirs.is_empty() {
            self.of_viewer.remove(&viewer);
        }
    }

    /// Returns the number of an outcome's newest row.
    pub fn newest(&self, outcome: u64) -> Option<u64> {
        self.newest.get(&outcome).copied()
    }

    /// Returns the adjustments of a conversion, the oldest first.
    pub fn adjusted(&self, outcome: u64) -> &[Adjusted] {
        self.adjusted.get(&outcome).map_or(&[], Vec::as_slice)
    }

    /// Returns a viewer's outcomes, in the order in which they first came.
    pub fn of_viewer(&self, viewer: u64) -> &[u64] {
        self.of_viewer.get(&viewer).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_known_by_its_newest_row_until_that_is_forgotten() {
        let mut rows = Rows::default();
        rows.note(7, 100, 1);
        rows.note(7, 200, 2);
        rows.note(7, 100, 3);
        assert_eq!((rows.newest(100), rows.of_viewer(7)), (Some(3), &[100, 200][..]));
        rows.forget(7, 100, 1);
        assert_eq!(rows.newest(100), Some(3), "an older row of it");
        rows.forget(7, 200, 2);
        rows.forget(7, 100, 3);
        assert_eq!(rows, Rows::default(), "nothing is kept of what is forgotten");
    }

    #[test]
    fn the_newest_outcomes_of_a_viewer_are_kept_and_rows_of_nobody_take_no_room() {
        let mut rows = Rows::default();
        (0..100).for_each(|outcome| rows.note(7, outcome, outcome));
        assert_eq!(rows.of_viewer(7).len(), REVISED_OUTCOMES_MAX);
        assert_eq!(rows.of_viewer(7).first(), Some(&(100 - REVISED_OUTCOMES_MAX as u64)));
        assert_eq!(rows.newest(0), Some(0), "its row is still known");
        rows.note(0, 500, 500);
        assert_eq!((rows.of_viewer(0).len(), rows.newest(500)), (0, Some(500)));
    }
}
