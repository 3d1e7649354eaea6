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
        let recount: Option<Self> = postcard::from_bytes(&base.recount()?).ok();
        let lists =
            |recount: &Self| [recount.credits.len(), recount.latest_ms.len(), recount.next.len()];
        recount
            .filter(|recount| lists(recount) == [SHARDS_ALL; 3])
            .ok_or_else(|| base.damaged("its recount can't be decoded"))
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
