//! Pages of credited and declined outcomes, in their fixed order over all shards.

use crate::node::front::{Front, sees};
use crate::node::live::Live;
use crate::report::pull::{
    EncodedPage, Page, Pulled, Run, closed_before, page, put_row, whole_row,
};
use crate::state::catalog::Catalog;
use crate::state::credit::Credit;
use crate::types::ids::SeqVector;
use crate::types::proto::v1::AttributionRow;
use crate::types::request::Scope;
use crate::types::time::Moment;

/// Rows of one page of the attribution stream.
pub const PULL_ROWS_MAX: usize = 1_000;

/// Bytes for which room is made for a row; longer ones make more.
const ROW_BYTES: usize = 256;

/// Bytes for which room is made behind the rows of a page: a cursor of all shards, and a moment.
const PAGE_END_BYTES: usize = 1_024;

impl Front {
    /// Returns the next page of the attribution stream, up to the last closed minute before `now`, which
    /// it says too.
    pub fn pull(&self, scope: Scope, cursor: &SeqVector, now: Moment) -> (Pulled, Moment) {
        let end = closed_before(now);
        (self.pull_before(scope, cursor, end), end)
    }

    /// Returns the same page as [`Front::pull_before`], encoded from where the credits lie.
    pub fn pull_encoded(&self, scope: Scope, cursor: &SeqVector, end: Moment) -> EncodedPage {
        let Page { places, cursor, more } = self.page_of(scope, cursor, end);
        EncodedPage { rows: self.0.rows_at(&places), cursor, more }
    }

    /// Returns the next page of what was journaled before a moment, which lies in no open minute.
    pub fn pull_before(&self, scope: Scope, cursor: &SeqVector, end: Moment) -> Pulled {
        let Page { places, cursor, more } = self.page_of(scope, cursor, end);
        let rows = self.0.credits_at(&places).into_iter().map(|(_, credit)| whole_row(credit));
        Pulled { rows: rows.collect(), cursor, more }
    }

    fn page_of(&self, scope: Scope, cursor: &SeqVector, end: Moment) -> Page {
        self.0.credits_behind((cursor, end), PULL_ROWS_MAX, |catalog, row| {
            sees(catalog, scope, Some(row.account_id))
        })
    }
}

impl Live {
    /// Returns where the credits stand that are behind a cursor and before a moment: at most `limit` of those
    /// that `sees` tells. Locks a shard for a few of them at a time.
    pub(in crate::node) fn credits_behind(
        &self,
        (cursor, end): (&SeqVector, Moment),
        limit: usize,
        sees: impl Fn(&Catalog, &AttributionRow) -> bool,
    ) -> Page {
        page(cursor, limit, |shard, after| {
            let catalog = self.catalog();
            let part = self.shard(shard);
            let from = part.credits.partition_point(|credit| credit.seq <= after.0);
            Run::of(part.credits.range(from..), end, |row| sees(&catalog, row))
        })
    }

    /// Returns the credits at these places with their shards, in the same order. What was forgotten meanwhile
    /// is left out.
    pub(in crate::node) fn credits_at(&self, places: &[(usize, u64)]) -> Vec<(usize, Credit)> {
        let mut found: Vec<Option<Credit>> = vec![None; places.len()];
        self.look_at(places, |at, credit| found[at] = Some(credit.clone()));
        let found = places.iter().zip(found);
        found.filter_map(|((shard, _), credit)| Some((*shard, credit?))).collect()
    }

    /// Returns the rows of the credits at these places, encoded, in the same order.
    fn rows_at(&self, places: &[(usize, u64)]) -> Vec<u8> {
        // Shard by shard, then in their order.
        let mut rows = Vec::with_capacity(places.len() * ROW_BYTES);
        let mut spans = vec![0..0; places.len()];
        self.look_at(places, |at, credit| {
            let start = rows.len();
            put_row(&mut rows, credit);
            spans[at] = start..rows.len();
        });
        let mut ordered = Vec::with_capacity(rows.len() + PAGE_END_BYTES);
        spans.into_iter().for_each(|span| ordered.extend_from_slice(&rows[span]));
        ordered
    }

    /// Shows the credit at each place that is still there, with which of the places it is. Locks each shard once.
    fn look_at(&self, places: &[(usize, u64)], mut show: impl FnMut(usize, &Credit)) {
        let mut by_shard: Vec<usize> = (0..places.len()).collect();
        by_shard.sort_by_key(|at| places[*at]);
        for together in by_shard.chunk_by(|one, other| places[*one].0 == places[*other].0) {
            let part = self.shard(places[together[0]].0);
            for at in together {
                if let Some(credit) = part.credit_at(places[*at].1) {
                    show(*at, credit);
                }
            }
        }
    }
}
