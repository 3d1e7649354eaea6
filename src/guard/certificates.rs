//! Client certificates: whom one names.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::guard::{Caller, Role};
use crate::types::proto::v1::CredentialKind;
use crate::types::time::Moment;

/// How the URI begins, among a certificate's alternative names, that says what its bearer is:
/// `munadi://feed/7` is feed 7, `munadi://operator/0` the platform's operator.
const SCHEME: &str = "munadi://";

/// The longest serial number of a certificate, bytes (RFC 5280, 4.1.2.2).
const SERIAL_BYTES_MAX: usize = 20;

/// Returns whom a certificate names, in DER; `None`: nobody. Whether it is good has been checked before, when the
/// connection was opened.
pub fn certified(certificate: &[u8]) -> Option<Caller> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut ours = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(SCHEME),
        _ => None,
    });
    // Of two it would not be sure which one is meant.
    let (only, None) = (ours.next()?, ours.next()) else { return None };
    let (role, tenant) = role_and_tenant(only)?;
    let serial = certificate.raw_serial();
    let serial = HEXLOWER.encode(&serial[..serial.len().min(SERIAL_BYTES_MAX)]);
    let credential = CredentialKind::Certificate;
    // Its last second still counts (RFC 5280, 4.1.2.5).
    let last_s = certificate.validity().not_after.timestamp();
    let end = Some(Moment(last_s.saturating_add(1).saturating_mul(1_000)));
    Some(Caller { tenant, role, credential, key_id: Arc::from(serial), end })
}

/// Returns what `role/tenant` says.
fn role_and_tenant(text: &str) -> Option<(Role, u32)> {
    let (role, tenant) = text.split_once('/')?;
    let role: Role = role.parse().ok()?;
    let digits = tenant.bytes().all(|byte| byte.is_ascii_digit());
    let tenant: u32 = tenant.parse().ok().filter(|_| digits)?;
    (tenant != 0 || role.may_be_platform()).then_some((role, tenant))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType, SerialNumber, date_time_ymd};

    use super::*;

    fn caller(uris: &[&str]) -> Option<Caller> {
        let mut params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(0x0A1B_u64));
        params.not_after = date_time_ymd(2030, 1, 1);
        params
            .subject_alt_names
            .extend(uris.iter().map(|&uri| SanType::URI(uri.try_into().unwrap())));
        let key = KeyPair::generate().unwrap();
        certified(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn a_certificate_names_one_role_and_its_tenant() {
        let feed = caller(&["https://a.example", "munadi://feed/7"]).unwrap();
        assert_eq!((feed.role, feed.tenant), (Role::Feed, 7));
        assert_eq!(feed.credential, CredentialKind::Certificate);
        assert!(feed.key_id.ends_with("0a1b"), "{}", feed.key_id);
        // 2030-01-01, midnight UTC, and a second.
        assert_eq!(feed.end, Some(Moment(1_893_456_001_000)));
        assert!(caller(&["munadi://operator/0"]).is_some());
        for wrong in [
            &[][..],
            &["https://a.example/feed/7"],
            &["munadi://feed/7", "munadi://feed/8"],
            &["munadi://feed/7", "munadi://feed/7"],
            &["munadi://feed/0"],
            &["munadi://king/7"],
            &["munadi://feed"],
            &["munadi://feed/7/8"],
            &["munadi://feed/+7"],
            &["munadi://feed/"],
            &["munadi://feed/4294967296"],
        ] {
            assert_eq!(caller(wrong), None, "{wrong:?}");
        }
        assert_eq!(certified(b"no certificate"), None);
    }
}
