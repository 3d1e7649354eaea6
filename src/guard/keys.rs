//! API keys: `mk_<id>_<secret>`, of which only the secret's hash is known here.

use std::fmt;
use std::sync::Arc;

use dashmap::DashMap;
use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::guard::{Caller, Issuers, Role};
use crate::node::ISSUED_PREFIX;
use crate::types::proto::v1::CredentialKind;

/// The most characters that a key's id may have.
const ID_CHARS_MAX: usize = 32;

/// The most characters of a presented secret that are looked at: hashing more would be work for nothing.
pub const SECRET_CHARS_MAX: usize = 128;

/// How every key begins, so that a leaked one is recognised by scanners.
pub(super) const PREFIX: &str = "mk_";

/// One key as the configuration holds it.
#[derive(Clone, Debug)]
pub struct Key {
    /// Names the key: lower-case letters, digits and hyphens.
    pub id: String,
    /// What its bearer is.
    pub role: Role,
    /// Whose it is; for a feed the feed's id.
    pub tenant: u32,
    /// BLAKE3 of the secret, 64 hexadecimal digits.
    pub secret_blake3: String,
}

/// Why a key of the configuration is refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum BadKey {
    /// The id cannot stand in a key.
    #[error("key id {0:?}: write 1 to {ID_CHARS_MAX} lower-case letters, digits or hyphens")]
    Id(String),
    /// The id is one of those that the engine gives.
    #[error("key id {0:?}: ids that begin with {ISSUED_PREFIX:?} are of keys that CreateKey makes")]
    Issued(String),
    /// Two keys have one id.
    #[error("key id {0:?} is there twice: give each key its own")]
    Twice(String),
    /// The hash is not one. It is no secret, but it is not repeated either: people paste secrets here.
    #[error(
        "key {0:?}: secret_blake3 must be the 64 hexadecimal digits that `munadi keys new` prints"
    )]
    Hash(String),
    /// The role needs a tenant.
    #[error("key {0:?}: a key of role {1} needs a tenant above 0; 0 is the platform itself")]
    Tenant(String, Role),
}

/// A known key: what its secret must hash to, and who its bearer is.
struct Known {
    hash: [u8; 32],
    caller: Caller,
}

/// The keys that a node knows, by id. Keys come and go while callers are being judged, so the map is
/// a concurrent one. There is no second cache of keys that were right before: judging one is a single
/// block of BLAKE3 and one look-up, which is what a cache would cost.
pub struct Keys {
    by_id: DashMap<String, Known>,
    issuers: Issuers,
}

impl Keys {
    /// Returns the keys of a configuration.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Result<Self, BadKey> {
        let known = Self { by_id: DashMap::new(), issuers: Issuers::default() };
        for key in keys {
            if known.by_id.contains_key(&key.id) {
                return Err(BadKey::Twice(key.id));
            }
            known.put(key)?;
        }
        Ok(known)
    }

    /// Returns the same, with outside issuers whose tokens are credentials beside them.
    #[must_use]
    pub fn with_issuers(self, issuers: Issuers) -> Self {
        Self { issuers, ..self }
    }

    /// Returns the outside issuers.
    pub const fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// Returns how many keys are known.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Adds a key, or replaces the one with its id.
    pub fn put(&self, key: Key) -> Result<(), BadKey> {
        if !is_id(&key.id) {
            return Err(BadKey::Id(key.id));
        }
        if key.id.starts_with(ISSUED_PREFIX) {
            return Err(BadKey::Issued(key.id));
        }
        if key.tenant == 0 && !key.role.may_be_platform() {
            return Err(BadKey::Tenant(key.id, key.role));
        }
        let hash = HEXLOWER.decode(key.secret_blake3.as_bytes()).ok();
        let Some(hash) = hash.and_then(|hash| hash.try_into().ok()) else {
            return Err(BadKey::Hash(key.id));
        };
        let (tenant, role, credential) = (key.tenant, key.role, CredentialKind::Key);
        let key_id = Arc::from(&*key.id);
        let caller = Caller { tenant, role, credential, key_id, end: None };
        self.by_id.insert(key.id, Known { hash, caller });
        Ok(())
    }

    /// Forgets a key: its bearer is refused from now on. Returns whether it was known.
    pub fn revoke(&self, id: &str) -> bool {
        self.by_id.remove(id).is_some()
    }

    /// Tells whether the key that a caller was judged by is still known: neither revoked nor replaced.
    pub(super) fn knows(&self, caller: &Caller) -> bool {
        let known = self.by_id.get(&*caller.key_id);
        // Each key that is put has an id of its own in memory, though another has the same letters.
        known.is_some_and(|known| Arc::ptr_eq(&known.caller.key_id, &caller.key_id))
    }

    /// Tells whether an operator's key is known.
    pub fn has_operator(&self) -> bool {
        self.by_id.iter().any(|known| known.caller.role == Role::Operator)
    }

    /// Returns whose key this is, from the value of an `authorization` header.
    pub fn caller(&self, header: &[u8]) -> Option<Caller> {
        self.caller_of(&Presented::of(bearer(header)?)?)
    }

    /// Returns whose key this is. An unknown id takes as long as a wrong secret.
    pub(super) fn caller_of(&self, presented: &Presented<'_>) -> Option<Caller> {
        let known = self.by_id.get(presented.id);
        let wanted = known.as_ref().map_or([0; 32], |known| known.hash);
        let is_right = presented.fits(&wanted);
        known.filter(|_| is_right).map(|known| known.caller.clone())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("count", &self.by_id.len()).finish_non_exhaustive()
    }
}

/// Returns what the configuration keeps of a secret.
pub fn secret_blake3(secret: &str) -> String {
    HEXLOWER.encode(blake3::hash(secret.as_bytes()).as_bytes())
}

/// A key as a caller presents it.
pub(super) struct Presented<'a> {
    /// What it says it is.
    pub(super) id: &'a str,
    hash: [u8; 32],
}

impl<'a> Presented<'a> {
    /// Returns the parts of `mk_<id>_<secret>`; `None`: it is no key.
    pub(super) fn of(bearer: &'a str) -> Option<Self> {
        let (id, secret) = bearer.strip_prefix(PREFIX)?.split_once('_')?;
        let fits = is_id(id) && (1..=SECRET_CHARS_MAX).contains(&secret.len());
        fits.then(|| Self { id, hash: *blake3::hash(secret.as_bytes()).as_bytes() })
    }

    /// Tells whether its secret is the one with this hash, in the same time whatever is wrong.
    pub(super) fn fits(&self, wanted: &[u8; 32]) -> bool {
        bool::from(self.hash.ct_eq(wanted))
    }
}

/// Returns what follows `Bearer` in an `authorization` header. The scheme's case does not matter (RFC 7235).
pub(super) fn bearer(header: &[u8]) -> Option<&str> {
    let (scheme, bearer) = str::from_utf8(header).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| bearer.trim_start())
}

fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_key_names_its_bearer_and_any_wrong_part_names_nobody() {
        let keys = Keys::new([key("feed-1", Role::Feed, 7, "s_3cret")]).unwrap();
        let caller = keys.caller(b"Bearer mk_feed-1_s_3cret").unwrap();
        assert_eq!((caller.tenant, caller.role, &*caller.key_id), (7, Role::Feed, "feed-1"));
        assert!(keys.caller(b"bearer  mk_feed-1_s_3cret").is_some(), "scheme in any case");
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer mk_feed-1_",
            "Bearer mk_feed-1_s_3cre",
            "Bearer mk_feed-1_s_3cret ",
            "Bearer mk_feed-2_s_3cret",
            "Bearer mk__s_3cret",
            "Bearer ak_feed-1_s_3cret",
            "Basic mk_feed-1_s_3cret",
            "mk_feed-1_s_3cret",
        ] {
            assert_eq!(keys.caller(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(keys.caller(b"Bearer mk_feed-1_\xFF"), None);
        let long = format!("Bearer mk_feed-1_{}", "a".repeat(SECRET_CHARS_MAX + 1));
        assert_eq!(keys.caller(long.as_bytes()), None);
    }

    #[test]
    fn a_revoked_key_is_refused_at_once() {
        let keys = Keys::new([key("a", Role::Operator, 0, "s")]).unwrap();
        assert!(keys.caller(b"Bearer mk_a_s").is_some());
        assert!(keys.revoke("a"));
        assert_eq!(keys.caller(b"Bearer mk_a_s"), None);
        assert!(!keys.revoke("a"));
    }

    #[test]
    fn a_caller_is_known_until_its_key_is_revoked_or_replaced() {
        let feed = || key("a", Role::Feed, 7, "s");
        let keys = Keys::new([feed(), key("b", Role::Feed, 7, "s")]).unwrap();
        let caller = keys.caller(b"Bearer mk_a_s").unwrap();
        assert!(keys.knows(&caller));
        keys.put(feed()).unwrap();
        assert!(!keys.knows(&caller), "it may have another secret");
        let caller = keys.caller(b"Bearer mk_a_s").unwrap();
        assert!(keys.revoke("b") && keys.knows(&caller), "another one's end");
        assert!(keys.revoke("a") && !keys.knows(&caller));
    }

    #[test]
    fn a_key_that_cannot_work_is_refused_by_name() {
        let new = |key: Key| Keys::new([key]).map(|_| ()).unwrap_err();
        let good = key("a", Role::Operator, 0, "s");
        for id in ["", "A", "a_b", "é", &"a".repeat(33)] {
            let error = new(Key { id: id.into(), ..good.clone() });
            assert_eq!(error, BadKey::Id(id.into()));
        }
        for role in Role::ALL.into_iter().filter(|role| !role.may_be_platform()) {
            assert_eq!(new(key("a", role, 0, "s")), BadKey::Tenant("a".into(), role));
        }
        let error = new(Key { secret_blake3: "mk_a_s".into(), ..good.clone() });
        assert_eq!(error, BadKey::Hash("a".into()));
        assert!(!error.to_string().contains("mk_a_s"), "{error}");
        let issued = new(Key { id: "m-a".into(), ..good.clone() });
        assert_eq!(issued, BadKey::Issued("m-a".into()));
        let twice = Keys::new([good.clone(), good]).map(|_| ()).unwrap_err();
        assert_eq!(twice, BadKey::Twice("a".into()));
    }

    #[test]
    fn keys_show_nothing_of_themselves() {
        let keys = Keys::new([key("a", Role::Operator, 0, "s")]).unwrap();
        assert_eq!(format!("{keys:?}"), "Keys { count: 1, .. }");
    }

    fn key(id: &str, role: Role, tenant: u32, secret: &str) -> Key {
        Key { id: id.into(), role, tenant, secret_blake3: secret_blake3(secret) }
    }
}
