//! What operators ask of API keys and of the log of changes.

use crate::guard::Role;
use crate::node::ChangesAsked;
use crate::rpc::limits::{
    CALLER_CHARS_MAX, KEY_ID_CHARS_MAX, KEY_NAME_CHARS_MAX, KEY_OVERLAP_DEFAULT, KEY_OVERLAP_MAX,
};
use crate::rpc::parse::field::{Path, ends_after, moment, optional_text, required, text, variant};
use crate::rpc::parse::mutations::check_request_id;
use crate::rpc::parse::places::{List, page_size};
use crate::tokens::Sealer;
use crate::types::hash::fnv1a;
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Author, KeyChange, KeyMutation};
use crate::types::time::SECOND_MS;

/// Returns a whole write to the keys. It is remembered with those of tenant 0: keys are the platform's.
pub(in crate::rpc) fn key_mutation(
    request_id: String,
    body_hash: [u8; 16],
    change: KeyChange,
) -> Result<KeyMutation, Refusal> {
    check_request_id(&request_id)?;
    let by = Author::default();
    Ok(KeyMutation { tenant: 0, request_id, body_hash, by, change, secret_hash: [0; 32] })
}

/// Returns a checked key to be made.
pub(in crate::rpc) fn created(key: Option<v1::ApiKey>) -> Result<KeyChange, Refusal> {
    let path = Path::root("key");
    let key = required(key, path)?;
    text(&key.name, KEY_NAME_CHARS_MAX, path.field("name"))?;
    let role: v1::CallerRole = variant(key.role, path.field("role"))?;
    let platform = Role::of_wire(role).is_some_and(Role::may_be_platform);
    if key.tenant == 0 && !platform {
        let message = "is 0, the platform: a key of this role is of a tenant or feed above 0";
        return Err(path.field("tenant").refuse(Reason::FieldInvalid, message));
    }
    moment(key.expire_time, path.field("expire_time"))?;
    let given = [
        ("id", !key.id.is_empty()),
        ("create_time", key.create_time.is_some()),
        ("revoke_time", key.revoke_time.is_some()),
        ("last_used_time", key.last_used_time.is_some()),
    ];
    if let Some((field, _)) = given.iter().find(|(_, told)| *told) {
        let message = "is given by the engine: leave it out";
        return Err(path.field(field).refuse(Reason::FieldInvalid, message));
    }
    Ok(KeyChange::Create(key))
}

/// Returns a checked rotation.
pub(in crate::rpc) fn rotated(wire: &v1::RotateKeyRequest) -> Result<KeyChange, Refusal> {
    let id = key_id(wire.key_id.clone())?;
    let overlap_s = match u64::from(wire.overlap_seconds) {
        0 => KEY_OVERLAP_DEFAULT.as_secs(),
        told if told <= KEY_OVERLAP_MAX.as_secs() => told,
        told => {
            let most = KEY_OVERLAP_MAX.as_secs();
            let message = format!("is {told}: send at most {most} (30 days), or 0 for a day");
            return Err(Path::root("overlap_seconds").refuse(Reason::TooLarge, message));
        }
    };
    let expire = moment(wire.expire_time, Path::root("expire_time"))?;
    Ok(KeyChange::Rotate { id, overlap_ms: overlap_s as i64 * SECOND_MS, expire })
}

/// Returns a checked end of a key.
pub(in crate::rpc) fn revoked(id: String) -> Result<KeyChange, Refusal> {
    key_id(id).map(KeyChange::Revoke)
}

fn key_id(id: String) -> Result<String, Refusal> {
    text(&id, KEY_ID_CHARS_MAX, Path::root("key_id"))?;
    Ok(id)
}

/// Returns the list that a page of changes belongs to, and which changes.
pub(in crate::rpc) fn changes(
    wire: &v1::ListChangesRequest,
    sealer: &Sealer,
) -> Result<(List, ChangesAsked), Refusal> {
    let path = Path::root("end_time");
    let start = moment(wire.start_time, Path::root("start_time"))?.unwrap_or_default();
    let end = moment(wire.end_time, path)?;
    ends_after(start, end, path)?;
    optional_text(&wire.caller, CALLER_CHARS_MAX, Path::root("caller"))?;
    let span = [start.0, end.map_or(0, |end| end.0)].map(i64::cast_unsigned);
    let owner = wire.owner.map_or(u64::MAX, u64::from);
    let question = [span[0], span[1], owner, fnv1a(wire.caller.bytes())];
    let list = List::new("ListChanges", &question);
    let before = match list.open(&wire.page_token, sealer)? {
        0 => u64::MAX,
        before => before,
    };
    let (owner, caller, limit) = (wire.owner, wire.caller.clone(), page_size(wire.page_size)?);
    Ok((list, ChangesAsked { start, end, owner, caller, before, limit }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::DAY_MS;

    fn key(role: v1::CallerRole, tenant: u32) -> v1::ApiKey {
        v1::ApiKey { name: "bi".into(), role: role.into(), tenant, ..Default::default() }
    }

    #[test]
    fn a_key_has_a_name_a_role_and_its_tenant() {
        use v1::CallerRole::{Advertiser, Analytics, Unspecified};
        let fault = |key: v1::ApiKey| created(Some(key)).unwrap_err().field.into_owned();
        assert!(created(Some(key(Analytics, 0))).is_ok());
        assert!(created(Some(key(Advertiser, 4))).is_ok());
        assert_eq!(fault(key(Advertiser, 0)), "key.tenant");
        assert_eq!(fault(key(Unspecified, 4)), "key.role");
        assert_eq!(fault(v1::ApiKey { name: String::new(), ..key(Analytics, 0) }), "key.name");
        assert_eq!(fault(v1::ApiKey { id: "m-a".into(), ..key(Analytics, 0) }), "key.id");
        assert_eq!(created(None).unwrap_err().field, "key");
    }

    #[test]
    fn a_rotation_overlaps_a_day_unless_it_is_told() {
        let rotate = |overlap_seconds| {
            let wire = v1::RotateKeyRequest {
                key_id: "m-a".into(),
                overlap_seconds,
                ..Default::default()
            };
            rotated(&wire).map_err(|refusal| refusal.field.into_owned())
        };
        let overlap = |ms| Ok(KeyChange::Rotate { id: "m-a".into(), overlap_ms: ms, expire: None });
        assert_eq!(rotate(0), overlap(DAY_MS));
        assert_eq!(rotate(1), overlap(SECOND_MS));
        assert_eq!(rotate(2_592_000), overlap(30 * DAY_MS));
        assert_eq!(rotate(2_592_001), Err("overlap_seconds".into()));
        assert_eq!(revoked(String::new()).unwrap_err().field, "key_id");
    }
}
