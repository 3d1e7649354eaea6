//! API keys that are made while the engine runs: what doors look up, and the writes to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;

use data_encoding::BASE32_DNSSEC;

use crate::node::dice::fill_from_system;
use crate::node::front::Front;
use crate::node::live::Live;
use crate::node::running::Node;
use crate::node::writer::Work;
use crate::state::credit::timestamp;
use crate::state::keys::{ApiKeys, StoredKey};
use crate::types::proto::v1::{ApiKey, CallerRole};
use crate::types::refusal::Refusal;
use crate::types::request::{KeyChange, KeyMutation};
use crate::types::time::Moment;

/// How the ids of keys begin that are made while the engine runs. No key of the configuration begins so.
pub const ISSUED_PREFIX: &str = "m-";

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// The keys that open doors, by id.
pub(in crate::node) type KeyTable = BTreeMap<String, Arc<Issued>>;

/// A key that opens doors until its end.
#[derive(Debug)]
pub struct Issued {
    /// BLAKE3 of its secret.
    pub secret_hash: [u8; 32],
    /// What its bearer is.
    pub role: CallerRole,
    /// Whose it is.
    pub tenant: u32,
    /// When it ends; `None`: never.
    end: Option<Moment>,
    /// When it was last used, milliseconds; 0: never. Shared with the versions of the table after this.
    used_ms: Arc<AtomicI64>,
}

impl Issued {
    /// Notes that it was used.
    pub fn note_used(&self, now: Moment) {
        self.used_ms.fetch_max(now.0, Relaxed);
    }

    pub(in crate::node) fn used_ms(&self) -> i64 {
        self.used_ms.load(Relaxed)
    }
}

/// What a write to the keys is answered with.
#[derive(Clone, PartialEq)]
pub struct NewKey {
    /// The new key, or the one that was revoked.
    pub key: ApiKey,
    /// The one that it takes the place of.
    pub rotated: Option<ApiKey>,
    /// `mk_<id>_<secret>`; empty where no key was made just now.
    pub bearer: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("id", &self.key.id).finish_non_exhaustive()
    }
}

/// Returns the table of these keys; the uses of those in an earlier one are taken over.
fn table_of(keys: &ApiKeys, earlier: &KeyTable) -> KeyTable {
    let issued = |(id, stored): (&str, &StoredKey)| {
        let used_ms = match earlier.get(id) {
            Some(known) => Arc::clone(&known.used_ms),
            None => Arc::new(AtomicI64::new(stored.used_ms)),
        };
        // What is revoked has ended at once, whatever the caller's clock says.
        let hash = stored.secret_hash.as_slice().try_into().ok();
        let secret_hash = hash.filter(|_| stored.key.revoke_time.is_none())?;
        let (role, tenant) = (stored.key.role(), stored.key.tenant);
        let issued = Issued { secret_hash, role, tenant, end: stored.end(), used_ms };
        Some((id.to_owned(), Arc::new(issued)))
    };
    keys.after("").filter_map(issued).collect()
}

impl Live {
    /// Returns the keys as the catalog says now.
    pub(in crate::node) fn key_table(&self) -> KeyTable {
        table_of(&self.catalog().keys, &self.keys.load())
    }

    /// Shows doors the keys, after recovery: everything is durable.
    pub(in crate::node) fn show_keys(&self) {
        self.keys.store(Arc::new(self.key_table()));
    }

    /// Returns when each key was last used whose journaled time is at least so much older.
    pub(in crate::node) fn key_uses(&self, least_ms: i64) -> Vec<(String, i64)> {
        let (catalog, table) = (self.catalog(), self.keys.load());
        let used = |(id, issued): (&String, &Arc<Issued>)| {
            let used_ms = issued.used_ms();
            let known = catalog.keys.get(id)?;
            (used_ms.saturating_sub(known.used_ms) >= least_ms).then(|| (id.clone(), used_ms))
        };
        table.iter().filter_map(used).collect()
    }
}

impl Front {
    /// Returns a key that opens doors now, by its id. A revoked one is none as soon as its end is durable.
    pub fn issued(&self, id: &str, now: Moment) -> Option<Arc<Issued>> {
        let table = self.0.keys.load();
        let issued = table.get(id)?;
        issued.end.is_none_or(|end| now < end).then(|| Arc::clone(issued))
    }

    /// Tells whether an operator's key opens doors now.
    pub fn has_operator_key(&self, now: Moment) -> bool {
        let catalog = self.0.catalog();
        catalog.keys.good(now).any(|stored| stored.key.role() == CallerRole::Operator)
    }

    /// Returns the keys behind an id, in the order of their ids, and the last one's id if there are more.
    pub fn keys(&self, after: &str, limit: usize) -> (Vec<ApiKey>, Option<String>) {
        let (catalog, table) = (self.0.catalog(), self.0.keys.load());
        let mut behind = catalog.keys.after(after);
        let told = |(id, stored): (&str, &StoredKey)| {
            let used_ms = table.get(id).map_or(0, |issued| issued.used_ms()).max(stored.used_ms);
            let last_used_time = (used_ms > 0).then(|| timestamp(used_ms));
            ApiKey { last_used_time, ..stored.key.clone() }
        };
        let page: Vec<_> = behind.by_ref().take(limit).map(told).collect();
        let last = page.last().map(|key| key.id.clone());
        let next = last.filter(|_| behind.next().is_some());
        (page, next)
    }
}

impl Node {
    /// Writes to the API keys; answers once it is durable, and from then on doors know of it. The secret of a new
    /// key is made here and kept nowhere.
    ///
    /// # Errors
    /// With the field at fault, or `Busy`.
    pub async fn write_key(&self, mut mutation: KeyMutation) -> Result<NewKey, Refusal> {
        let mut secret = String::new();
        if !matches!(mutation.change, KeyChange::Revoke(_)) {
            let mut random = [0; SECRET_BYTES];
            fill_from_system(&mut random);
            secret = BASE32_DNSSEC.encode(&random);
            mutation.secret_hash = *blake3::hash(secret.as_bytes()).as_bytes();
        }
        let written = self.submit(|reply| Work::WriteKey(Box::new(mutation), reply))?.await?;
        let id = &written.key.id;
        let bearer = if written.is_new { format!("mk_{id}_{secret}") } else { String::new() };
        Ok(NewKey { key: written.key, rotated: written.rotated, bearer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;
    use crate::state::catalog::Catalog;
    use crate::types::ids::{Seq, Shard};
    use crate::types::proto::journal::v1::ApiKeyPut;
    use crate::types::proto::journal::v1::fact::Kind;

    #[test]
    fn a_table_has_what_is_not_revoked_and_keeps_the_uses() {
        let mut catalog = Catalog::default();
        let mut put = |seq, id: &str, revoke_ms: Option<i64>| {
            let revoke_time = revoke_ms.map(timestamp);
            let key = Some(ApiKey { id: id.into(), revoke_time, ..Default::default() });
            let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(seq), at: Moment(5) };
            let put = ApiKeyPut { key, secret_hash: vec![1; 32] };
            catalog.apply(stamp, &Kind::ApiKeyPut(Box::new(put)));
            catalog.keys.clone()
        };
        let earlier = table_of(&put(1, "m-a", None), &KeyTable::new());
        let held = Arc::clone(&earlier["m-a"]);
        let later = table_of(&put(2, "m-b", None), &earlier);
        held.note_used(Moment(7));
        held.note_used(Moment(6));
        assert_eq!(later["m-a"].used_ms(), 7, "whoever holds an older version is counted too");
        assert_eq!(later["m-b"].used_ms(), 0);
        let last = table_of(&put(3, "m-a", Some(5)), &later);
        assert_eq!(last.keys().collect::<Vec<_>>(), ["m-b"]);
    }

    #[test]
    fn a_new_key_shows_no_secret() {
        let key = ApiKey { id: "m-a".into(), ..Default::default() };
        let new = NewKey { key, rotated: None, bearer: "mk_m-a_secret".into() };
        assert!(!format!("{new:?}").contains("secret"));
    }
}
