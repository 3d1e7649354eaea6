//! Forgetting a viewer.

use crate::node::running::Node;
use crate::node::writer::Work;
use crate::types::refusal::Refusal;

impl Node {
    /// Forgets a viewer, and tells whether anything of it was remembered; answers once that is durable.
    ///
    /// # Errors
    /// `Busy`, or `Unavailable` when the journal can't be written.
    pub async fn erase_viewer(&self, viewer: u64) -> Result<bool, Refusal> {
        self.submit(|reply| Work::Erase(viewer, reply))?.await
    }
}
