//! API keys that were made while the engine runs: what each is, and the hash of its secret.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use serde::{Deserialize, Serialize};

use crate::types::proto::journal::v1::{ApiKeyPut, ApiKeysUsed};
use crate::types::proto::v1::ApiKey;
use crate::types::time::{DAY_MS, Moment};

/// Most keys that are good at the same time.
pub const KEYS_MAX: usize = 10_000;

/// Most keys that are kept, with those that have ended: of these the first that ended go.
pub const KEYS_KEPT_MAX: usize = 2 * KEYS_MAX;

/// How long a key that has ended is still listed.
pub const KEY_MEMORY_MS: i64 = 90 * DAY_MS;

/// A key as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct StoredKey {
    /// All that may be told of it; without the time of its last use.
    #[serde(with = "crate::state::wire::message")]
    pub key: ApiKey,
    /// BLAKE3 of its secret; of another length it fits no secret.
    pub secret_hash: Vec<u8>,
    /// When it was last used, as far as is journaled, milliseconds; 0: never.
    pub used_ms: i64,
}

impl StoredKey {
    /// Returns when it ended or will end; `None`: never.
    pub fn end(&self) -> Option<Moment> {
        let ends = [&self.key.expire_time, &self.key.revoke_time];
        ends.into_iter().flatten().map(Moment::from).min()
    }

    /// Tells whether it opens doors now.
    pub fn is_good(&self, now: Moment) -> bool {
        self.end().is_none_or(|end| now < end)
    }
}

/// All keys, by id.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ApiKeys {
    by_id: BTreeMap<String, StoredKey>,
}

impl ApiKeys {
    /// Returns a key; `None`: there is none, or it was forgotten.
    pub fn get(&self, id: &str) -> Option<&StoredKey> {
        self.by_id.get(id)
    }

    /// Returns the keys behind an id, in the order of their ids.
    pub fn after(&self, id: &str) -> impl Iterator<Item = (&str, &StoredKey)> {
        let behind = self.by_id.range::<str, _>((Excluded(id), Unbounded));
        behind.map(|(id, stored)| (&**id, stored))
    }

    /// Returns the keys that are good now.
    pub fn good(&self, now: Moment) -> impl Iterator<Item = &StoredKey> {
        self.by_id.values().filter(move |stored| stored.is_good(now))
    }

    pub(in crate::state) fn put(&mut self, at: Moment, fact: &ApiKeyPut) {
        let Some(key) = &fact.key else { return };
        let used_ms = self.by_id.get(&key.id).map_or(0, |known| known.used_ms);
        let secret_hash = fact.secret_hash.clone();
        let stored = StoredKey { key: key.clone(), secret_hash, used_ms };
        self.by_id.insert(key.id.clone(), stored);
        let ended = |stored: &StoredKey| stored.end().filter(|end| *end <= at);
        self.by_id.retain(|_, stored| ended(stored).is_none_or(|end| end.0 > at.0 - KEY_MEMORY_MS));
        while self.by_id.len() > KEYS_KEPT_MAX {
            let dead = self.by_id.iter().filter_map(|(id, stored)| Some((ended(stored)?, id)));
            let Some(first) = dead.min().map(|(_, id)| id.clone()) else { return };
            self.by_id.remove(&first);
        }
    }

    pub(in crate::state) fn note_used(&mut self, fact: &ApiKeysUsed) {
        for (id, at_ms) in fact.ids.iter().zip(&fact.at_ms) {
            if let Some(stored) = self.by_id.get_mut(id) {
                stored.used_ms = stored.used_ms.max(*at_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::credit::timestamp;

    fn put(keys: &mut ApiKeys, id: &str, at_ms: i64, revoked_ms: Option<i64>) {
        let revoke_time = revoked_ms.map(timestamp);
        let key = Some(ApiKey { id: id.into(), revoke_time, ..Default::default() });
        keys.put(Moment(at_ms), &ApiKeyPut { key, secret_hash: vec![1; 32] });
    }

    fn ids(keys: &ApiKeys) -> Vec<&str> {
        keys.after("").map(|(id, _)| id).collect()
    }

    #[test]
    fn a_key_is_good_until_the_first_of_its_ends() {
        let key = |expire: Option<i64>, revoke: Option<i64>| StoredKey {
            key: ApiKey {
                expire_time: expire.map(timestamp),
                revoke_time: revoke.map(timestamp),
                ..Default::default()
            },
            secret_hash: Vec::new(),
            used_ms: 0,
        };
        let good = |key: StoredKey, at| key.is_good(Moment(at));
        assert!(good(key(None, None), i64::MAX));
        assert!(good(key(Some(2_000), None), 1_999) && !good(key(Some(2_000), None), 2_000));
        assert!(!good(key(Some(2_000), Some(1_000)), 1_500));
        assert!(!good(key(Some(1_000), Some(2_000)), 1_500));
    }

    #[test]
    fn what_ended_long_ago_is_forgotten_and_what_is_good_stays() {
        let mut keys = ApiKeys::default();
        put(&mut keys, "m-a", 1_000, None);
        put(&mut keys, "m-b", 2_000, Some(2_000));
        put(&mut keys, "m-c", 2_000 + KEY_MEMORY_MS - 1, None);
        assert_eq!(ids(&keys), ["m-a", "m-b", "m-c"]);
        put(&mut keys, "m-d", 2_000 + KEY_MEMORY_MS, None);
        assert_eq!(ids(&keys), ["m-a", "m-c", "m-d"]);
        assert_eq!(keys.after("m-a").next().unwrap().0, "m-c");
    }

    #[test]
    fn the_last_use_only_rises_and_survives_another_version() {
        let mut keys = ApiKeys::default();
        put(&mut keys, "m-a", 1_000, None);
        let used = |at_ms| ApiKeysUsed { ids: vec!["m-a".into(), "m-z".into()], at_ms };
        keys.note_used(&used(vec![5_000, 1]));
        keys.note_used(&used(vec![4_000, 1]));
        put(&mut keys, "m-a", 6_000, Some(6_000));
        assert_eq!(keys.get("m-a").unwrap().used_ms, 5_000);
        assert_eq!(keys.get("m-z"), None);
    }
}
