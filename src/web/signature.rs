//! Whether a platform has signed what came: over the bytes as they came, compared in constant time.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::channels::inbound::Form;

/// How Meta's signature begins (`X-Hub-Signature-256`).
const META_PREFIX: &[u8] = b"sha256=";

/// Bytes of a SHA-256.
const SHA256_BYTES: usize = 32;

/// Bytes of a SHA-1.
const SHA1_BYTES: usize = 20;

/// What Meta signs an app's webhooks with: HMAC-SHA-256 under the app secret, which is hashed in once.
#[derive(Clone)]
pub(super) struct MetaKey(Hmac<Sha256>);

impl MetaKey {
    pub(super) fn new(secret: &str) -> Self {
        Self(keyed(secret))
    }

    /// Tells whether this is the signature of a body, in hexadecimal.
    pub(super) fn has_signed(&self, body: &[u8], header: Option<&[u8]>) -> bool {
        let told = told_by_meta(header);
        told.is_some_and(|told| self.0.clone().chain_update(body).verify_slice(&told).is_ok())
    }
}

/// Returns the signature that a header of Meta's tells; `None`: it can't be anybody's.
pub(super) fn told_by_meta(header: Option<&[u8]>) -> Option<[u8; SHA256_BYTES]> {
    let hex = header?.strip_prefix(META_PREFIX)?;
    let mut told = [0; SHA256_BYTES];
    if hex.len() != 2 * SHA256_BYTES {
        return None;
    }
    HEXLOWER_PERMISSIVE.decode_mut(hex, &mut told).ok()?;
    Some(told)
}

/// Returns the signature that a header of Twilio's tells; `None`: it can't be anybody's.
pub(super) fn told_by_twilio(header: Option<&[u8]>) -> Option<[u8; SHA1_BYTES]> {
    BASE64.decode(header?).ok()?.try_into().ok()
}

/// Tells whether this is Twilio's signature of a form posted to an address (`X-Twilio-Signature`): HMAC-SHA-1
/// under the auth token over the address and each field's name and value, ascending, in base64.
pub(super) fn is_of_twilio(secret: &str, url: &str, form: &Form, header: Option<&[u8]>) -> bool {
    let Some(told) = told_by_twilio(header) else { return false };
    let mut mac = keyed::<Hmac<Sha1>>(secret);
    mac.update(url.as_bytes());
    for (name, value) in form.sorted() {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    mac.verify_slice(&told).is_ok()
}

/// Tells whether two tokens are the same, in a time that says nothing of where they differ.
pub(super) fn is_same(secret: &str, told: &str) -> bool {
    // Hashes are of one length, so the time tells none either.
    let hash = |text: &str| *blake3::hash(text.as_bytes()).as_bytes();
    hash(secret).ct_eq(&hash(told)).into()
}

fn keyed<M: KeyInit>(secret: &str) -> M {
    M::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length (RFC 2104)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_of_meta_is_that_of_rfc_4231() {
        // Test case 2.
        let body = b"what do ya want for nothing?";
        let good = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let signed = |text: &str| MetaKey::new("Jefe").has_signed(body, Some(text.as_bytes()));
        assert!(signed(&format!("sha256={good}")));
        assert!(signed(&format!("sha256={}", good.to_uppercase())));
        for bad in [
            good.to_owned(),
            format!("sha256={}", &good[..62]),
            format!("sha256={good}00"),
            format!("sha256={}", good.replace('5', "6")),
            "sha256=".to_owned(),
            "sha1=".to_owned(),
            String::new(),
        ] {
            assert!(!signed(&bad), "{bad}");
        }
        assert!(!MetaKey::new("Jefe").has_signed(body, None));
        let good = format!("sha256={good}");
        assert!(!MetaKey::new("Jefa").has_signed(body, Some(good.as_bytes())));
        assert!(!MetaKey::new("Jefe").has_signed(&body[1..], Some(good.as_bytes())));
    }

    #[test]
    fn a_signature_of_twilio_is_that_of_its_documentation() {
        // https://www.twilio.com/docs/usage/security: the example of validating requests.
        let url = "https://example.com/myapp.php?foo=1&bar=2";
        let body = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675310&Digits=1234&\
            From=%2B14158675310&To=%2B18005551212";
        let form = Form::decode(body).unwrap();
        let good = b"L/OH5YylLD5NRKLltdqwSvS0BnU=";
        assert!(is_of_twilio("12345", url, &form, Some(good)));
        assert!(!is_of_twilio("12346", url, &form, Some(good)));
        assert!(!is_of_twilio("12345", "https://example.com/", &form, Some(good)));
        assert!(!is_of_twilio("12345", url, &form, Some(&good[..27])));
        assert!(!is_of_twilio("12345", url, &form, None));
        let other = Form::decode(b"CallSid=CA1234567890ABCDE").unwrap();
        assert!(!is_of_twilio("12345", url, &other, Some(good)));
    }

    #[test]
    fn a_verify_token_is_the_same_or_not() {
        assert!(is_same("made-up", "made-up"));
        assert!(!is_same("made-up", "made-uq") && !is_same("made-up", "made-up "));
    }
}
