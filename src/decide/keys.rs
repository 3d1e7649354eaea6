//! API keys: what a write to them becomes.

use prost::Message;

use crate::decide::mutate::{answer_to, other_method};
use crate::decide::noted::{Changed, noted};
use crate::state::catalog::Catalog;
use crate::state::credit::timestamp;
use crate::state::keys::{KEYS_MAX, StoredKey};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{ApiKeyPut, RequestAnswered};
use crate::types::proto::v1::{ApiKey, RotateKeyResponse};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{KeyChange, KeyMutation, KeyWritten};
use crate::types::time::Moment;

/// Keys of one principal (role, tenant and name) that may be good at the same time.
pub const KEYS_OF_ONE_MAX: usize = 2;

/// What a write to the keys becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct WrittenKey {
    /// What to journal; empty when the answer is remembered.
    pub facts: Vec<Kind>,
    /// What to answer.
    pub answer: KeyWritten,
}

/// Judges a write to the keys. `id` is free, and what a new key is named by.
///
/// # Errors
/// With the field at fault; nothing is changed then.
pub fn write_key(
    catalog: &Catalog,
    mutation: &KeyMutation,
    id: &str,
    now: Moment,
) -> Result<WrittenKey, Refusal> {
    let KeyMutation { tenant, request_id, body_hash, .. } = mutation;
    if let Some(known) = answer_to(catalog, *tenant, request_id, body_hash)? {
        let known = RotateKeyResponse::decode(known).map_err(|_| other_method())?;
        let RotateKeyResponse { key, rotated, .. } = known;
        let answer = KeyWritten { key: key.unwrap_or_default(), rotated, is_new: false };
        return Ok(WrittenKey { facts: Vec::new(), answer });
    }
    let judge = Judge { catalog, id, now };
    let (key, rotated) = match &mutation.change {
        KeyChange::Create(wanted) => (judge.created(wanted)?, None),
        KeyChange::Rotate { id, overlap_ms, expire } => {
            let (key, rotated) = judge.rotated(id, *overlap_ms, *expire)?;
            (key, Some(rotated))
        }
        KeyChange::Revoke(id) => (judge.revoked(id)?, None),
    };
    let answered = RequestAnswered {
        tenant: *tenant,
        request_id: request_id.clone(),
        body_hash: body_hash.to_vec(),
        // The secret is in no answer that is kept.
        answer: RotateKeyResponse {
            key: Some(key.clone()),
            bearer: String::new(),
            rotated: rotated.clone(),
        }
        .encode_to_vec(),
    };
    let mut facts = Vec::new();
    for written in std::iter::once(&key).chain(&rotated) {
        let known = catalog.keys.get(&written.id);
        let secret_hash =
            known.map_or_else(|| mutation.secret_hash.to_vec(), |known| known.secret_hash.clone());
        facts
            .push(Kind::ApiKeyPut(Box::new(ApiKeyPut { key: Some(written.clone()), secret_hash })));
        let changed = Changed {
            request_id: request_id.clone(),
            subject: written.id.clone(),
            owner: written.tenant,
            kind: "munadi.v1.ApiKey",
            before: known.map_or_else(Vec::new, |known| known.key.encode_to_vec()),
            after: written.encode_to_vec(),
        };
        facts.extend(noted(&mutation.by, changed));
    }
    facts.push(Kind::RequestAnswered(answered));
    let is_new = !matches!(mutation.change, KeyChange::Revoke(_));
    Ok(WrittenKey { facts, answer: KeyWritten { key, rotated, is_new } })
}

struct Judge<'a> {
    catalog: &'a Catalog,
    id: &'a str,
    now: Moment,
}

impl Judge<'_> {
    fn created(&self, wanted: &ApiKey) -> Result<ApiKey, Refusal> {
        let expire = wanted.expire_time.as_ref().map(Moment::from);
        self.judge_end(expire, "key.expire_time")?;
        self.judge_room(wanted, "key.name")?;
        Ok(ApiKey {
            id: self.id.to_owned(),
            create_time: Some(timestamp(self.now.0)),
            revoke_time: None,
            last_used_time: None,
            ..wanted.clone()
        })
    }

    fn rotated(
        &self,
        id: &str,
        overlap_ms: i64,
        expire: Option<Moment>,
    ) -> Result<(ApiKey, ApiKey), Refusal> {
        let known = self.known(id)?;
        if !known.is_good(self.now) {
            let message = "has ended: create a key for the same name instead";
            return Err(Refusal::new(Reason::FieldInvalid, "key_id", message));
        }
        self.judge_end(expire, "expire_time")?;
        self.judge_room(&known.key, "key_id")?;
        let end = self.now.plus_ms(overlap_ms);
        let end = known.end().map_or(end, |known| known.min(end));
        let old = ApiKey { expire_time: Some(timestamp(end.0)), ..known.key.clone() };
        let new = ApiKey {
            id: self.id.to_owned(),
            create_time: Some(timestamp(self.now.0)),
            expire_time: expire.map(|end| timestamp(end.0)),
            ..known.key.clone()
        };
        Ok((new, old))
    }

    fn revoked(&self, id: &str) -> Result<ApiKey, Refusal> {
        let key = self.known(id)?.key.clone();
        let revoke_time = key.revoke_time.or_else(|| Some(timestamp(self.now.0)));
        Ok(ApiKey { revoke_time, ..key })
    }

    fn known(&self, id: &str) -> Result<&StoredKey, Refusal> {
        let known = self.catalog.keys.get(id);
        known.ok_or_else(|| Refusal::new(Reason::NotFound, "key_id", "no such id"))
    }

    fn judge_end(&self, end: Option<Moment>, field: &'static str) -> Result<(), Refusal> {
        if end.is_some_and(|end| end <= self.now) {
            let message = "is not in the future: send a later time, or none";
            return Err(Refusal::new(Reason::FieldInvalid, field, message));
        }
        Ok(())
    }

    /// Refuses a further key of a principal, or of all.
    fn judge_room(&self, like: &ApiKey, field: &'static str) -> Result<(), Refusal> {
        let principal = |key: &ApiKey| (key.role, key.tenant, key.name.clone());
        let wanted = principal(like);
        let (mut all, mut theirs) = (0, 0);
        for stored in self.catalog.keys.good(self.now) {
            all += 1;
            theirs += usize::from(principal(&stored.key) == wanted);
        }
        if theirs >= KEYS_OF_ONE_MAX {
            let message = format!(
                "names who has {KEYS_OF_ONE_MAX} good keys: revoke one, or wait until it ends"
            );
            return Err(Refusal::new(Reason::TooLarge, field, message));
        }
        if all >= KEYS_MAX {
            let message = format!("there are {KEYS_MAX} good keys: revoke some");
            return Err(Refusal::new(Reason::TooLarge, "", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;
    use crate::types::ids::{Seq, Shard};
    use crate::types::proto::v1::CallerRole;
    use crate::types::request::Author;

    /// A catalog that takes what is written.
    #[derive(Default)]
    struct Desk {
        catalog: Catalog,
        seq: u64,
    }

    impl Desk {
        fn write(
            &mut self,
            id: &str,
            change: KeyChange,
            at_ms: i64,
        ) -> Result<KeyWritten, Refusal> {
            self.seq += 1;
            let mutation = mutation(&format!("write-{}", self.seq), change);
            self.take(&mutation, id, at_ms)
        }

        fn take(
            &mut self,
            mutation: &KeyMutation,
            id: &str,
            at_ms: i64,
        ) -> Result<KeyWritten, Refusal> {
            let written = write_key(&self.catalog, mutation, id, Moment(at_ms))?;
            for fact in &written.facts {
                self.seq += 1;
                let (shard, seq, at) = (Shard::CATALOG, Seq(self.seq), Moment(at_ms));
                self.catalog.apply(Stamp { shard, seq, at }, fact);
            }
            Ok(written.answer)
        }
    }

    fn mutation(request_id: &str, change: KeyChange) -> KeyMutation {
        let by = Author { method: "CreateKey", ..Author::default() };
        let (request_id, body_hash) = (request_id.to_owned(), [1; 16]);
        KeyMutation { tenant: 0, request_id, body_hash, by, change, secret_hash: [7; 32] }
    }

    fn create(name: &str) -> KeyChange {
        let role = CallerRole::Analytics.into();
        KeyChange::Create(ApiKey { name: name.into(), role, tenant: 4, ..Default::default() })
    }

    fn rotate(id: &str, overlap_ms: i64) -> KeyChange {
        KeyChange::Rotate { id: id.into(), overlap_ms, expire: None }
    }

    #[test]
    fn a_principal_has_two_good_keys_at_most() {
        let mut desk = Desk::default();
        desk.write("m-a", create("bi"), 1_000).unwrap();
        desk.write("m-b", create("bi"), 2_000).unwrap();
        let third = desk.write("m-c", create("bi"), 3_000).unwrap_err();
        assert_eq!((third.reason, &*third.field), (Reason::TooLarge, "key.name"));
        assert!(desk.write("m-d", create("etl"), 3_000).is_ok(), "another principal");
        let revoked = desk.write("", KeyChange::Revoke("m-a".into()), 4_000).unwrap();
        assert_eq!(revoked.key.revoke_time, Some(timestamp(4_000)));
        assert!(!revoked.is_new);
        desk.write("m-c", create("bi"), 5_000).unwrap();
        let again = desk.write("", KeyChange::Revoke("m-a".into()), 6_000).unwrap();
        assert_eq!(again.key.revoke_time, Some(timestamp(4_000)), "it keeps its time");
    }

    #[test]
    fn both_keys_of_a_rotation_are_good_until_the_old_one_ends() {
        let mut desk = Desk::default();
        desk.write("m-a", create("bi"), 1_000).unwrap();
        let written = desk.write("m-b", rotate("m-a", 10_000), 2_000).unwrap();
        assert_eq!((&*written.key.id, &*written.key.name), ("m-b", "bi"));
        assert!(written.is_new);
        assert_eq!(written.rotated.unwrap().expire_time, Some(timestamp(12_000)));
        let good = |desk: &Desk, at| desk.catalog.keys.good(Moment(at)).count();
        assert_eq!((good(&desk, 11_999), good(&desk, 12_000)), (2, 1));
        let full = desk.write("m-c", rotate("m-b", 10_000), 3_000).unwrap_err();
        assert_eq!(full.reason, Reason::TooLarge);
        let ended = desk.write("m-c", rotate("m-a", 10_000), 12_000).unwrap_err();
        assert_eq!((ended.reason, &*ended.field), (Reason::FieldInvalid, "key_id"));
        // An end that comes sooner stays.
        desk.write("m-c", rotate("m-b", 1_000), 13_000).unwrap();
        assert_eq!(desk.catalog.keys.get("m-b").unwrap().end(), Some(Moment(14_000)));
    }

    #[test]
    fn a_repeated_write_makes_no_second_key_and_tells_so() {
        let mut desk = Desk::default();
        let first = mutation("once", create("bi"));
        assert!(desk.take(&first, "m-a", 1_000).unwrap().is_new);
        let again = desk.take(&first, "m-b", 2_000).unwrap();
        assert_eq!((&*again.key.id, again.is_new), ("m-a", false));
        assert_eq!(desk.catalog.keys.good(Moment(3_000)).count(), 1);
        let other = KeyMutation { body_hash: [2; 16], ..first };
        let refused = desk.take(&other, "m-b", 2_000).unwrap_err();
        assert_eq!(refused.reason, Reason::RequestIdReused);
    }

    #[test]
    fn every_write_leaves_a_change_for_each_key_and_no_hash_in_it() {
        let mut desk = Desk::default();
        desk.write("m-a", create("bi"), 1_000).unwrap();
        desk.write("m-b", rotate("m-a", 10_000), 2_000).unwrap();
        let changes: Vec<_> = desk.catalog.changes.newest(0, i64::MAX, u64::MAX).collect();
        let subjects = changes.iter().map(|noted| &*noted.change().subject);
        assert_eq!(subjects.collect::<Vec<_>>(), ["m-a", "m-b", "m-a"]);
        assert!(!changes[0].change().before.is_empty() && changes[1].change().before.is_empty());
        for noted in changes {
            let after = &noted.change().after;
            assert!(!after.windows(32).any(|window| window == [7; 32]));
        }
        assert_eq!(desk.catalog.keys.get("m-b").unwrap().secret_hash, [7; 32]);
    }

    #[test]
    fn what_is_unknown_or_ends_in_the_past_is_refused() {
        let mut desk = Desk::default();
        let unknown = desk.write("m-b", rotate("m-z", 1), 1_000).unwrap_err();
        assert_eq!((unknown.reason, &*unknown.field), (Reason::NotFound, "key_id"));
        let expire_time = Some(timestamp(1_000));
        let past = KeyChange::Create(ApiKey { expire_time, ..Default::default() });
        let past = desk.write("m-b", past, 1_000).unwrap_err();
        assert_eq!((past.reason, &*past.field), (Reason::FieldInvalid, "key.expire_time"));
    }
}
