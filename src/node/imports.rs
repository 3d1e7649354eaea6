//! Histories of other systems on their way to the writer.

use std::sync::Arc;

use crate::node::pending::Pending;
use crate::node::running::Node;
use crate::node::writer::Work;
use crate::types::refusal::Refusal;
use crate::types::request::{Import, ImportVerdict};

impl Node {
    /// Hands events of a history to the writer; the answer comes once they are durable.
    ///
    /// # Errors
    /// `Busy` when too much waits, `Unavailable` when the node is stopping.
    pub fn import(&self, history: Arc<Import>) -> Result<Pending<Vec<ImportVerdict>>, Refusal> {
        let events = history.items.len() as u64;
        let pending = self.submit(|reply| Work::Import(history, reply))?;
        metrics::counter!("munadi_imported_events_total").increment(events);
        Ok(pending)
    }
}
