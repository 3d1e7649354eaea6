//! The log of changes: what is told to it beside the writer's own, and how it is read.

use prost::Message;

use crate::node::front::Front;
use crate::node::running::Node;
use crate::node::writer::Work;
use crate::state::changes::Noted;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::refusal::Refusal;
use crate::types::time::Moment;

/// Bytes of a page's changes as they are encoded, about: as JSON they are a few times as long.
pub const CHANGES_PAGE_BYTES: usize = 512 << 10;

/// Which changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChangesAsked {
    /// From then on.
    pub start: Moment,
    /// And before this; `None`: until now.
    pub end: Option<Moment>,
    /// Of things of this tenant; `None`: of all.
    pub owner: Option<u32>,
    /// By this key, certificate or subject; empty: by anyone.
    pub caller: String,
    /// With a number below this.
    pub before: u64,
    /// Most of them.
    pub limit: usize,
}

impl Front {
    /// Returns changes, the newest first, and the last one's number if there are more.
    pub fn changes(&self, asked: &ChangesAsked) -> (Vec<Noted>, Option<u64>) {
        let catalog = self.0.catalog();
        let end_ms = asked.end.map_or(i64::MAX, |end| end.0);
        let wanted = |noted: &&Noted| {
            let change = noted.change();
            asked.owner.is_none_or(|owner| owner == change.owner)
                && (asked.caller.is_empty() || asked.caller == change.caller)
        };
        let mut found = catalog.changes.newest(asked.start.0, end_ms, asked.before).filter(wanted);
        let (mut page, mut bytes) = (Vec::new(), 0);
        while page.len() < asked.limit && bytes < CHANGES_PAGE_BYTES {
            let Some(noted) = found.next() else { return (page, None) };
            bytes += noted.change().encoded_len();
            page.push(noted.clone());
        }
        let last = page.last().map(|noted| noted.seq);
        let next = last.filter(|_| found.next().is_some());
        (page, next)
    }
}

impl Node {
    /// Tells the log of changes of what is changed next; waits until that is durable.
    pub(in crate::node) async fn note(&self, noted: Option<Kind>) -> Result<(), Refusal> {
        match noted {
            Some(Kind::ChangeNoted(change)) => {
                self.submit(|reply| Work::Note(change, reply))?.await
            }
            _ => Ok(()),
        }
    }

    /// Returns changes from durable facts only; see [`Front::changes`].
    ///
    /// # Errors
    /// As [`Node::settled`].
    pub async fn changes(
        &self,
        asked: &ChangesAsked,
    ) -> Result<(Vec<Noted>, Option<u64>), Refusal> {
        self.settled().await?;
        Ok(self.front().changes(asked))
    }
}
