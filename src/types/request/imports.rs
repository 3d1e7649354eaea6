//! Events of another system, parsed: names hashed at the door, so that the writer needn't.

use crate::types::ids::{Shard, shard_of};
use crate::types::proto::v1;
use crate::types::refusal::Refusal;
use crate::types::time::Moment;

/// Events to be counted as a history, each alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// The events.
    pub items: Vec<Imported>,
    /// Whether they are only judged.
    pub dry_run: bool,
}

/// One event of a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The caller's tenant; 0: an operator, who may speak for every account.
    pub tenant: u32,
    /// Whose it is.
    pub account: u64,
    /// Whom it happened to.
    pub viewer: u64,
    /// When it happened.
    pub at: Moment,
    /// What happened.
    pub event: ImportedEvent,
}

/// What happened, as another system tells it. Views are hashes of its ids, in their viewers' shards.
#[derive(Clone, Debug, PartialEq)]
pub enum ImportedEvent {
    /// An ad was seen.
    Impression {
        /// Its id.
        view: u64,
        /// The ad.
        ad: u64,
    },
    /// More happened to an impression.
    Watched {
        /// The impression's id.
        view: u64,
        /// The ad.
        ad: u64,
        /// `VIEWABLE` or `VIDEO_50`.
        kind: v1::EventKind,
    },
    /// An ad was tapped.
    Tap {
        /// The tap's own id.
        view: u64,
        /// The ad.
        ad: u64,
        /// The impression that was tapped; 0: not told.
        tapped_view: u64,
    },
    /// A conversation was opened.
    Conversation {
        /// Its outcome.
        outcome: u64,
        /// The tap that led to it; 0: not told.
        tap: u64,
    },
    /// A sale, lead or other conversion.
    Conversion {
        /// Its outcome.
        outcome: u64,
        /// The tap that led to it; 0: not told.
        tap: u64,
        /// The caller's id of it.
        event_id: String,
        /// What happened.
        name: String,
        /// What it was worth.
        value: Option<v1::Money>,
    },
}

impl Imported {
    /// Returns the outcome that it is; `None`: it is a touch.
    pub const fn outcome(&self) -> Option<u64> {
        match self.event {
            ImportedEvent::Conversation { outcome, .. }
            | ImportedEvent::Conversion { outcome, .. } => Some(outcome),
            ImportedEvent::Impression { .. }
            | ImportedEvent::Watched { .. }
            | ImportedEvent::Tap { .. } => None,
        }
    }

    /// Returns the shard that it belongs to.
    pub fn shard(&self) -> Shard {
        shard_of(self.outcome().unwrap_or(self.viewer))
    }
}

/// How an event of a history ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ImportVerdict {
    /// A touch that counts; in a dry run an outcome, too.
    Counted,
    /// An outcome that counts and is credited to a touch.
    Matched,
    /// An outcome that counts and is credited to none.
    Declined(v1::DeclineReason),
    /// It was counted before.
    Already,
    /// It is not counted.
    Refused(Refusal),
}
