//! Sealing and opening of tokens and cursors, and the keyed hashes behind ids and codes.
//!
//! Floor 1, pure: keys, time and randomness are arguments. Each sealed text is one byte of key id, then
//! AES-SIV (RFC 5297) under that key: 16 bytes of tag, then the payload. The associated data is one
//! header of two bytes, kind and key id, so a token of one kind never opens as another.
//! A token that opens is ours and unaltered; whether it was used before is for the state to say.

mod hash;
mod keyring;
mod layout;
mod push;
mod refusal;
#[cfg(test)]
mod samples;
mod seal;

pub use hash::{
    account_viewer, contact_number, conversation_id, experiment_key, imported_conversation,
    imported_view, message_number, network_number, noise_key, prefill_code, viewer_number,
};
pub use keyring::{
    CLICK_TOKEN_LIFE_S, FREQUENCY_TOKEN_LIFE_S, KEY_ROTATION_S, KEY_SLACK_S, KeyRing, RingFull,
    SHOW_BY_DEFAULT_S, SealKey, Secret, TOKEN_LIFE_MAX_S, VIEW_TOKEN_GRACE_S, VIEW_TOKEN_LIFE_S,
};
pub use push::{push_secret, push_signature};
pub use refusal::{Kind, TokenRefusal};
pub use seal::{
    CLICK_TOKEN_BYTES, CLICK_TOKEN_CHARS, FREQUENCY_TOKEN_BYTES, PLACE_BYTES_MAX, SealedClick,
    SealedFrequency, SealedView, Sealer, VIEW_TOKEN_BYTES,
};
