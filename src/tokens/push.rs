//! What signs the conversions that are pushed: a key for each account and version, derived and never kept.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::tokens::Secret;

/// Keeps these keys apart from everything else that is made of the ring.
const SIGNING_CONTEXT: &str = "munadi 2026-11 conversion push signing secret";

/// What each secret begins with, so that one is known where it is found.
const SECRET_PREFIX: &str = "whsec_";

/// Returns the secret that signs an account's conversions, as its owner is told it: 70 characters.
pub fn push_secret(root: &Secret, account: u64, key_version: u32) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(SIGNING_CONTEXT);
    hasher.update(root.bytes());
    hasher.update(&account.to_be_bytes()).update(&key_version.to_be_bytes());
    format!("{SECRET_PREFIX}{}", HEXLOWER.encode(hasher.finalize().as_bytes()))
}

/// Returns the signature of a body at a time: HMAC-SHA256 in hexadecimal digits over the seconds since the
/// epoch, a dot and the body, so that nobody sends an old body again as a new one.
pub fn push_signature(secret: &str, timestamp_s: u32, body: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(timestamp_s.to_string().as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    HEXLOWER.encode(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_and_version_has_a_secret_of_its_own() {
        let root = Secret::new([7; 32]);
        let secret = push_secret(&root, 1, 1);
        assert_eq!(secret.len(), 70);
        assert_eq!(secret, push_secret(&root, 1, 1));
        for other in [
            push_secret(&root, 1, 2),
            push_secret(&root, 2, 1),
            push_secret(&Secret::new([8; 32]), 1, 1),
        ] {
            assert_ne!(secret, other);
        }
    }

    /// Made once with another implementation of HMAC.
    #[test]
    fn a_signature_is_what_a_receiver_computes() {
        assert_eq!(push_signature("whsec_test", 1_795_435_200, "{\"data\":[]}"), GOLDEN);
    }

    const GOLDEN: &str = "319d6befa445d345d15f2a31e7c70e331aad51461d09fed4aa6d33464df45a56";
}
