//! The recount in a base: what of it is carried on, what is forgotten, and how it is read back.

use crate::cli::audit::recount::Recount;
use crate::node::base::{Base, BaseError};
use crate::state::credit::CREDIT_MEMORY_MS;
use crate::types::ids::SHARDS_ALL;
use crate::types::time::{DAY_MS, Moment};

/// The version of the recount's layout. Who changes it reads the earlier ones too: the journal before a base is gone.
pub(in crate::cli) const RECOUNT_VERSION: u32 = 1;

/// How long a base remembers views, taps, outcomes and grants by their names: the node keeps rows of outcomes as long,
/// and all else shorter. Sums stay for ever.
pub(in crate::cli) const RECOUNT_MEMORY_MS: i64 = CREDIT_MEMORY_MS + DAY_MS;

/// How much later than a base's making a request may still give back what is from before it: one that was under way.
const UNDER_WAY_MS: i64 = DAY_MS;

impl Recount {
    /// Reads the recount of a base.
    ///
    /// # Errors
    /// When it is of another version, or can't be decoded.
    pub(in crate::cli) fn of_base(base: &Base) -> Result<Self, BaseError> {
        if base.recount_version() != RECOUNT_VERSION {
            return Err(base.other_recount());
        }
        Self::decoded(&base.recount()?).ok_or_else(|| base.damaged("its recount can't be decoded"))
    }

    /// Reads what [`Recount::kept`] returned.
    pub(in crate::cli) fn decoded(bytes: &[u8]) -> Option<Self> {
        let recount: Self = postcard::from_bytes(bytes).ok()?;
        let lists = [recount.credits.len(), recount.latest_ms.len(), recount.next.len()];
        (lists == [SHARDS_ALL; 3]).then_some(recount)
    }

    /// Forgets what no later fact can refer to, at a place of the journal where all is older than `last`.
    ///
    /// Charges are remembered as long as they may be given back. Behind a base that is only for what lies behind it
    /// too, but for credits that stood in the journal, or were under way, when it was made.
    pub(in crate::cli) fn forget(&mut self, last: Moment, previous: Option<&Base>) {
        let before_ms = last.0 - RECOUNT_MEMORY_MS;
        for views in [&mut self.seen, &mut self.tapped, &mut self.billed] {
            views.retain(|_, at_ms| *at_ms >= before_ms);
        }
        self.credited.retain(|_, at_ms| *at_ms >= before_ms);
        let lines = &self.lines;
        self.grants.retain(|id, book| {
            let newest = lines.get(&book.line).is_some_and(|line| line.grant == *id);
            newest || book.until_ms >= before_ms
        });
        self.prices.forget(before_ms);
        self.revisions.forget(before_ms);
        self.implied.forget(before_ms);
        if let Some(previous) = previous.filter(|it| it.read_to().plus_ms(UNDER_WAY_MS) < last) {
            self.postings.forget(previous.span().1.0);
        }
    }

    /// Returns what a base keeps of it.
    ///
    /// # Errors
    /// When it can't be encoded.
    pub(in crate::cli) fn kept(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::audit::samples::{VIEWER_SHARD, campaign, granted, showing, write};
    use crate::journal::Block;
    use crate::journal::file::scan;
    use crate::node::Files;
    use crate::types::proto::journal::v1::fact::Kind;
    use crate::types::proto::journal::v1::{Charge, ImpressionSeen};

    const GRANT: u64 = 77;

    fn seen(view: u64) -> (u8, Kind) {
        let charge = Some(Charge { amount: 10, campaign_grant: GRANT, ..Charge::default() });
        let showing = showing(view);
        let fact = ImpressionSeen { showing, charge, ..ImpressionSeen::default() };
        (VIEWER_SHARD, Kind::ImpressionSeen(fact))
    }

    /// Returns a budget's grant and these views, each a block and a batch of its own, a second after the other.
    fn blocks(views: &[u64]) -> Vec<Block> {
        let dir = tempfile::tempdir().unwrap();
        let first = vec![(64, campaign(500)), (0, granted(GRANT, 500))];
        let facts: Vec<_> = first.into_iter().chain(views.iter().map(|view| seen(*view))).collect();
        write(dir.path(), &facts);
        let mut blocks = Vec::new();
        scan(&Files::new(dir.path()).journal(), |block| blocks.push(block.clone())).unwrap();
        blocks
    }

    fn faults(mut recount: Recount, blocks: &[Block]) -> Vec<String> {
        blocks.iter().for_each(|block| recount.read(block));
        let mut faults = recount.finish(true);
        faults.sort();
        faults
    }

    fn read(blocks: &[Block]) -> Recount {
        let mut recount = Recount::default();
        blocks.iter().for_each(|block| recount.read(block));
        recount
    }

    #[test]
    fn a_recount_that_was_kept_goes_on_as_if_it_had_not_been() {
        let blocks = blocks(&[1, 2, 1, 3]);
        let whole = faults(Recount::default(), &blocks);
        assert!(whole.iter().any(|fault| fault.contains("billed before")), "{whole:?}");
        for cut in 0..=blocks.len() {
            let mut first = read(&blocks[..cut]);
            let mut both = first.so_far(true);
            let again = Recount::decoded(&first.kept().unwrap()).unwrap();
            both.extend(faults(again, &blocks[cut..]));
            both.sort();
            assert_eq!(both, whole, "cut before block {cut}");
        }
        assert!(Recount::decoded(&[1, 2, 3]).is_none());
    }

    #[test]
    fn views_are_forgotten_by_age_and_grants_but_for_each_lines_newest() {
        let blocks = blocks(&[1, 2, 1, 2]);
        let later = |last_ms: i64| {
            let mut first = read(&blocks[..4]);
            first.forget(Moment(last_ms + RECOUNT_MEMORY_MS), None);
            faults(first, &blocks[4..])
        };
        let billed = |faults: &[String]| {
            faults.iter().filter(|fault| fault.contains("billed before")).count()
        };
        // The first view stands at three seconds, the second at four.
        assert_eq!(billed(&later(3_000)), 2);
        assert_eq!(billed(&later(4_000)), 1);
        let none = later(DAY_MS + 1);
        assert_eq!(none, Vec::<String>::new(), "the grant is still known");
        let dir = tempfile::tempdir().unwrap();
        let facts = [(64, campaign(500)), (0, granted(GRANT, 100)), (0, granted(GRANT + 1, 100))];
        write(dir.path(), &facts);
        let mut recount = Recount::default();
        scan(&Files::new(dir.path()).journal(), |block| recount.read(block)).unwrap();
        // A grant ends with its day.
        for (until_ms, known) in [(DAY_MS, vec![GRANT, GRANT + 1]), (DAY_MS + 1, vec![GRANT + 1])] {
            recount.forget(Moment(until_ms + RECOUNT_MEMORY_MS), None);
            assert_eq!(recount.grants.keys().copied().collect::<Vec<_>>(), known);
        }
    }
}
