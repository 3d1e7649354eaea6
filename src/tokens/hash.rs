//! Keyed hashes: who a viewer or contact is to this journal, and which code stands for a view.

use core::net::IpAddr;

use crate::tokens::Secret;
use crate::types::ids::{HASH_MAX, from_hash, hash_of, shard_of};
use crate::types::token::PrefillCode;

/// Names the hash that has no key: its inputs are ids, one of them already a keyed hash.
const CONVERSATION_CONTEXT: &str = "munadi 2026-11 conversation id";

/// Names the hashes of another system's ids.
const IMPORT_CONTEXT: &str = "munadi 2026-11 imported event";

/// Returns the number of a feed's viewer, its shard in the top 6 bits. The pseudonym cannot be read
/// back from it, and once the feed's link secret is gone nobody can tell whose number it was.
pub fn viewer_number(link: &Secret, pseudonym: &str) -> u64 {
    from_hash(blake3::keyed_hash(link.bytes(), pseudonym.as_bytes()).as_bytes())
}

/// Returns the number of a contact (a phone number or a channel's user id) at one channel endpoint.
pub fn contact_number(secret: &Secret, endpoint: u64, contact: &str) -> u64 {
    let mut hasher = blake3::Hasher::new_keyed(secret.bytes());
    hasher.update(&endpoint.to_be_bytes()).update(contact.as_bytes());
    from_hash(hasher.finalize().as_bytes())
}

/// Returns the number of a channel's own message id at one endpoint.
pub fn message_number(secret: &Secret, endpoint: u64, message: &str) -> u64 {
    let mut hasher = blake3::Hasher::new_keyed(secret.bytes());
    // The byte keeps a message apart from a contact of the same name.
    hasher.update(&endpoint.to_be_bytes()).update(&[0]).update(message.as_bytes());
    from_hash(hasher.finalize().as_bytes())
}

/// Returns the number of a network that events come from, by its first address. For memory only.
pub fn network_number(secret: &Secret, network: IpAddr) -> u64 {
    let mut hasher = blake3::Hasher::new_keyed(secret.bytes());
    // No endpoint has this id, so no contact or message has the same input.
    hasher.update(&[u8::MAX; 8]);
    match network {
        IpAddr::V4(address) => hasher.update(&address.octets()),
        IpAddr::V6(address) => hasher.update(&address.octets()),
    };
    from_hash(hasher.finalize().as_bytes()).max(1)
}

/// Returns the number of an account's own viewer, whom no feed knows.
pub fn account_viewer(secret: &Secret, account: u64, pseudonym: &str) -> u64 {
    let mut hasher = blake3::Hasher::new_keyed(secret.bytes());
    // An account's id is no endpoint's, so no contact or message has the same input.
    hasher.update(&account.to_be_bytes()).update(pseudonym.as_bytes());
    from_hash(hasher.finalize().as_bytes())
}

/// Returns the id of an imported impression or tap, in its viewer's shard.
pub fn imported_view(account: u64, viewer: u64, is_tap: bool, event_id: &str) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key(IMPORT_CONTEXT);
    hasher.update(if is_tap { b"T" } else { b"I" });
    hasher.update(&account.to_be_bytes()).update(&viewer.to_be_bytes());
    hasher.update(event_id.as_bytes());
    let number = hash_of(from_hash(hasher.finalize().as_bytes()));
    (viewer & !HASH_MAX) | number
}

/// Returns the outcome of an imported conversation.
pub fn imported_conversation(account: u64, event_id: &str) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key(IMPORT_CONTEXT);
    hasher.update(b"C").update(&account.to_be_bytes()).update(event_id.as_bytes());
    from_hash(hasher.finalize().as_bytes())
}

/// Returns the id of the conversation between a contact and an endpoint; it lives in its business's
/// shard.
pub fn conversation_id(business: u64, endpoint: u64, contact: u64) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key(CONVERSATION_CONTEXT);
    hasher.update(&endpoint.to_be_bytes()).update(&contact.to_be_bytes());
    let number = hash_of(from_hash(hasher.finalize().as_bytes()));
    (business & !HASH_MAX) | number
}

/// Returns what decides which viewers are in the control group of an experiment: the same on every node and
/// for ever, for the secret is never rotated.
pub fn experiment_key(secret: &Secret, experiment: u64) -> u64 {
    let mut hasher = blake3::Hasher::new_keyed(secret.bytes());
    // A code's input has 8 bytes.
    hasher.update(b"experiment").update(&experiment.to_be_bytes());
    from_hash(hasher.finalize().as_bytes())
}

/// Returns the key of the noise in an account's reports: the same on every node and for ever.
pub fn noise_key(secret: &Secret, account: u64) -> Secret {
    let mut hasher = blake3::Hasher::new_keyed(secret.bytes());
    // No prefill code and no experiment has an input as long.
    hasher.update(b"munadi 2026-11 noise of an account").update(&account.to_be_bytes());
    Secret::new(*hasher.finalize().as_bytes())
}

/// Returns the code that stands for a view in the first message's text; its shard is the viewer's.
pub fn prefill_code(secret: &Secret, view: u64, viewer: u64) -> PrefillCode {
    let hash = blake3::keyed_hash(secret.bytes(), &view.to_be_bytes());
    PrefillCode::new(shard_of(viewer), from_hash(hash.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::types::ids::SHARDS;

    const SECRET: Secret = Secret::new([7; 32]);
    const OTHER: Secret = Secret::new([8; 32]);

    /// These numbers are in journals and tokens: if this fails, the code is wrong, not the
    /// test. They were made once with another binding of BLAKE3.
    #[test]
    fn the_hashes_never_change() {
        assert_eq!(viewer_number(&SECRET, "viewer-1"), GOLDEN_VIEWER);
        assert_eq!(contact_number(&SECRET, 9, "+5215512345678"), GOLDEN_CONTACT);
        assert_eq!(conversation_id(3 << 58, 9, 10), GOLDEN_CONVERSATION);
        assert_eq!(prefill_code(&SECRET, 5, 63 << 58).to_string(), GOLDEN_CODE);
        assert_eq!(message_number(&SECRET, 9, "wamid.1"), GOLDEN_MESSAGE);
    }

    const GOLDEN_VIEWER: u64 = 11_986_044_244_410_370_347;
    const GOLDEN_CONTACT: u64 = 10_236_385_513_168_602_402;
    const GOLDEN_CONVERSATION: u64 = 934_929_020_041_497_429;
    const GOLDEN_CODE: &str = "ZHV4HNG4TP";
    const GOLDEN_MESSAGE: u64 = 9_324_041_744_518_880_285;

    #[test]
    fn another_key_endpoint_or_view_gives_another_number() {
        let distinct = BTreeSet::from([
            viewer_number(&SECRET, "a"),
            viewer_number(&OTHER, "a"),
            viewer_number(&SECRET, "b"),
            contact_number(&SECRET, 1, "a"),
            contact_number(&SECRET, 2, "a"),
            contact_number(&OTHER, 1, "a"),
            contact_number(&SECRET, 1, ""),
            message_number(&SECRET, 1, "a"),
            message_number(&SECRET, 2, "a"),
            account_viewer(&SECRET, 3, "a"),
            account_viewer(&OTHER, 3, "a"),
            imported_view(1, 1 << 58, false, "a"),
            imported_view(1, 1 << 58, true, "a"),
            imported_view(2, 1 << 58, true, "a"),
            imported_view(1, 2 << 58, true, "a"),
            imported_conversation(1, "a"),
            imported_conversation(2, "a"),
        ]);
        assert_eq!(distinct.len(), 17);
        assert_eq!(shard_of(imported_view(1, 63 << 58, true, "a")), shard_of(63 << 58));
        let codes = BTreeSet::from([
            prefill_code(&SECRET, 1, 0),
            prefill_code(&SECRET, 2, 0),
            prefill_code(&SECRET, 1, 1 << 58),
            prefill_code(&OTHER, 1, 0),
        ]);
        assert_eq!(codes.len(), 4);
    }

    #[test]
    fn networks_have_numbers_of_their_own() {
        let number = |secret, text: &str| network_number(secret, text.parse().unwrap());
        let distinct = BTreeSet::from([
            0,
            number(&SECRET, "203.0.113.0"),
            number(&SECRET, "203.0.114.0"),
            number(&OTHER, "203.0.113.0"),
            number(&SECRET, "2001:db8::"),
        ]);
        assert_eq!(distinct.len(), 5);
    }

    #[test]
    fn an_id_lives_in_the_shard_it_was_made_for() {
        for shard in 0..SHARDS as u64 {
            let owner = (shard << 58) | 77;
            assert_eq!(shard_of(conversation_id(owner, 1, 2)), shard_of(owner));
            assert_eq!(prefill_code(&SECRET, 3, owner).shard(), shard_of(owner));
        }
        assert_ne!(conversation_id(0, 1, 2), conversation_id(0, 2, 1));
    }

    #[test]
    fn viewers_spread_over_all_shards() {
        let mut counts = [0; SHARDS];
        for viewer in 0..64_000 {
            counts[shard_of(viewer_number(&SECRET, &format!("v{viewer}"))).index()] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }
}
