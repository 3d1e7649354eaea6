//! Forgetting viewers, once nothing on its way is theirs.

use crate::node::writer::Writer;
use crate::node::writer::outbox::click_of;
use crate::types::ids::shard_of;
use crate::types::proto::journal::v1::ViewerErased;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::time::Moment;

impl Writer {
    /// Forgets the viewers that are to be, but for those of outcomes on their way: an outcome that is credited
    /// already and not settled yet is known by what the viewer remembers, and would be credited twice.
    pub(super) fn erase_due(&mut self, now: Moment) {
        for (viewer, reply) in std::mem::take(&mut self.erasing) {
            if self.is_awaited(viewer) {
                self.erasing.push((viewer, reply));
                continue;
            }
            let was_known = self.live.cell(viewer).facts.knows(viewer);
            // Journaled also if nothing is known: what was handed out to it must count no more.
            self.journal(shard_of(viewer), vec![Kind::ViewerErased(ViewerErased { viewer })], now);
            self.answer(reply, Ok(was_known));
        }
    }

    /// Tells whether an outcome on its way is, or may be, of this viewer.
    fn is_awaited(&self, viewer: u64) -> bool {
        let outgoing = self
            .outbox
            .iter()
            .filter_map(|outcome| self.live.cell(*outcome).facts.outbox.get(outcome).cloned());
        let mut outgoing = outgoing.filter_map(|outgoing| click_of(&self.live, &outgoing));
        outgoing.any(|click| click.viewer == viewer)
    }
}
