//! Writes to the API keys, and when these were used.

use std::sync::Arc;

use data_encoding::BASE32_DNSSEC;

use crate::decide::keys::write_key;
use crate::node::indexer::Shown;
use crate::node::keys::ISSUED_PREFIX;
use crate::node::writer::{Reply, Writer};
use crate::types::dice::Dice;
use crate::types::ids::Shard;
use crate::types::proto::journal::v1::ApiKeysUsed;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::request::{KeyChange, KeyMutation, KeyWritten};
use crate::types::time::{HOUR_MS, Moment};

/// How much later than journaled a key must have been used for that to be journaled.
pub(super) const USES_STEP_MS: i64 = HOUR_MS;

/// Uses that one decision tells, so that it fits into a block.
const USES_MAX: usize = 1_000;

impl Writer {
    pub(super) fn write_key(
        &mut self,
        mutation: &KeyMutation,
        reply: Reply<KeyWritten>,
        now: Moment,
    ) {
        let id = match mutation.change {
            KeyChange::Revoke(_) => String::new(),
            KeyChange::Create(_) | KeyChange::Rotate { .. } => self.fresh_key_id(),
        };
        let written = write_key(&self.live.catalog(), mutation, &id, now);
        let answer = written.map(|written| {
            if !written.facts.is_empty() {
                self.journal(Shard::CATALOG, written.facts, now);
                let table = Arc::new(self.live.key_table());
                self.indexer.note(self.head, Shown::Keys(table));
            }
            written.answer
        });
        self.answer(reply, answer);
    }

    /// Draws an id that no key has.
    fn fresh_key_id(&mut self) -> String {
        loop {
            let drawn = BASE32_DNSSEC.encode(&self.dice.roll().to_be_bytes());
            let id = format!("{ISSUED_PREFIX}{drawn}");
            if self.live.catalog().keys.get(&id).is_none() {
                return id;
            }
        }
    }

    /// Journals when keys were used, of those whose journaled time is at least so much older.
    pub(super) fn note_key_uses(&mut self, least_ms: i64, now: Moment) {
        for uses in self.live.key_uses(least_ms).chunks(USES_MAX) {
            let (ids, at_ms) = uses.iter().cloned().unzip();
            let fact = ApiKeysUsed { ids, at_ms };
            self.journal(Shard::CATALOG, vec![Kind::ApiKeysUsed(Box::new(fact))], now);
        }
    }
}
