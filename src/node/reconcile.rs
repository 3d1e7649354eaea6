//! Reconciliation with a CRM's own list: gathers an account's outcomes shard by shard.

use crate::node::front::Front;
use crate::report::reconcile::{Asked, Comparison, Line, Named, Reconciled};
use crate::types::ids::SHARDS;
use crate::types::refusal::Refusal;
use crate::types::request::Scope;

impl Front {
    /// Compares a list with an account's outcomes. A conversation may be told under any of its names.
    ///
    /// # Errors
    /// `NotFound` for an unknown or foreign account.
    pub fn reconcile(
        &self,
        scope: Scope,
        asked: &Asked,
        lines: Vec<Line>,
    ) -> Result<Reconciled, Refusal> {
        self.check_account(scope, asked.account)?;
        let named = |(line, read): Line| {
            let read = read.map(|(named, told)| match named {
                Named::Chat(id) => (Named::Chat(self.0.conversation_named(id)), told),
                Named::Sale(_) => (named, told),
            });
            (line, read)
        };
        let mut comparison = Comparison::new(*asked, lines.into_iter().map(named));
        for shard in 0..SHARDS {
            let part = self.0.shard(shard);
            for credit in &part.credits {
                if comparison.wants(&credit.row) {
                    comparison.take(credit.row.clone());
                }
            }
        }
        let knows = |id: u64| {
            let cell = self.0.cell(id);
            cell.facts.chats.get(&id).is_some_and(|chat| chat.account == asked.account)
        };
        Ok(comparison.finish(knows))
    }
}
