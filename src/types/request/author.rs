//! Who makes a change, for the log of changes, and changes of API keys.

use crate::types::proto::v1;
use crate::types::time::Moment;

/// Who makes a change, and by which method. Without a method it is nobody's: what the engine or a channel notes by
/// itself is not told to the log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Author {
    /// By what the caller is known.
    pub credential: v1::CredentialKind,
    /// The key's id, the certificate's serial number or the token's subject.
    pub name: String,
    /// What the caller is.
    pub role: v1::CallerRole,
    /// The caller's tenant.
    pub tenant: u32,
    /// The method's name; empty: none.
    pub method: &'static str,
}

/// One write to the API keys, checked for its form.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyMutation {
    /// The caller's tenant.
    pub tenant: u32,
    /// The caller's id of the write.
    pub request_id: String,
    /// First 16 bytes of BLAKE3 over method and body.
    pub body_hash: [u8; 16],
    /// Who writes.
    pub by: Author,
    /// What to write.
    pub change: KeyChange,
    /// BLAKE3 of the secret of a new key; the node sets it.
    pub secret_hash: [u8; 32],
}

/// What changes of the API keys.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyChange {
    /// Makes a key of this name, role, tenant and end; all else is given.
    Create(v1::ApiKey),
    /// Makes another key for the principal of this one, which then ends.
    Rotate {
        /// Which.
        id: String,
        /// How long it stays good, milliseconds.
        overlap_ms: i64,
        /// When the new one ends by itself; `None`: never.
        expire: Option<Moment>,
    },
    /// Ends a key.
    Revoke(String),
}

/// What a write to the keys became.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyWritten {
    /// The new key, or the one that was revoked.
    pub key: v1::ApiKey,
    /// The one that it takes the place of.
    pub rotated: Option<v1::ApiKey>,
    /// Whether a key was made just now: a remembered answer has no secret.
    pub is_new: bool,
}
