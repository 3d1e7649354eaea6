//! Forgetting a viewer.

use prost::Message;

use crate::decide::noted::{Changed, noted};
use crate::node::running::Node;
use crate::node::writer::Work;
use crate::types::proto::v1::{EraseViewerRequest, ViewerRef};
use crate::types::refusal::Refusal;
use crate::types::request::Author;

impl Node {
    /// Forgets a viewer of a feed, and tells whether anything of it was remembered; answers once that is durable.
    /// The log of changes is told who asked and of which feed, but not whom: it would remember what is to be
    /// forgotten.
    ///
    /// # Errors
    /// `Busy`, or `Unavailable` when the journal can't be written.
    pub async fn erase_viewer(
        &self,
        by: &Author,
        feed_id: u32,
        viewer: u64,
    ) -> Result<bool, Refusal> {
        let of = ViewerRef { feed_id, viewer_id: String::new() };
        let changed = Changed {
            subject: feed_id.to_string(),
            kind: "munadi.v1.EraseViewerRequest",
            after: EraseViewerRequest { viewer: Some(of) }.encode_to_vec(),
            ..Changed::default()
        };
        self.note(noted(by, changed)).await?;
        self.submit(|reply| Work::Erase(viewer, reply))?.await
    }
}
