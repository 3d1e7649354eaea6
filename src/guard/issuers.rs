//! Tokens of outside issuers (JWT, RFC 7519): whom one names. None is made here.

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::guard::{Caller, Role};
use crate::types::proto::v1::CredentialKind;
use crate::types::time::Moment;

/// How far the clocks of an issuer and this machine may be apart, seconds.
pub const TOKEN_LEEWAY_S: u64 = 60;

/// The longest token that is looked at, characters.
pub const TOKEN_CHARS_MAX: usize = 4_096;

/// The longest subject of a token, characters: it names the caller in the log of changes.
pub const SUBJECT_CHARS_MAX: usize = 256;

/// Issuers of a configuration: each of them may be asked for a token's signature.
pub const ISSUERS_MAX: usize = 8;

/// Keys of one issuer.
pub const ISSUER_KEYS_MAX: usize = 32;

/// An outside issuer as the configuration holds it.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// What `iss` must be.
    pub issuer: String,
    /// What must be among `aud`.
    pub audience: String,
    /// The algorithms that are taken, by name; those with a shared secret are not, nor is none at all.
    pub algorithms: Vec<String>,
    /// The issuer's public keys.
    pub keys: IssuerKeys,
    /// The claim that names the role.
    pub role_claim: String,
    /// The claim that names the tenant, as a number.
    pub tenant_claim: String,
}

/// Public keys of an issuer.
#[derive(Clone, Debug)]
pub enum IssuerKeys {
    /// One key, in PEM.
    Pem(Vec<u8>),
    /// A set of keys (JWKS, RFC 7517).
    Jwks(Vec<u8>),
}

/// Why an issuer of the configuration is refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum BadIssuer {
    /// Something is not told.
    #[error("issuer {0:?}: {1} is empty: write it")]
    Empty(String, &'static str),
    /// An algorithm that is none, or not safe.
    #[error(
        "issuer {0:?}: {1:?} is not taken: write RS256, RS384, RS512, PS256, PS384, PS512, ES256, \
         ES384 or EdDSA"
    )]
    Algorithm(String, String),
    /// Its keys can't be read, or fit none of the algorithms.
    #[error(
        "issuer {0:?}: no public key in its file fits the algorithms: write PEM, or a JWKS as JSON"
    )]
    Keys(String),
    /// Two of one name, or too many of them.
    #[error("issuer {0:?}: is there twice, or there are more than {ISSUERS_MAX}")]
    TooMany(String),
}

/// One issuer whose tokens can be judged.
struct Known {
    keys: Vec<(Option<String>, DecodingKey)>,
    algorithms: Vec<Algorithm>,
    validation: Validation,
    role_claim: String,
    tenant_claim: String,
}

/// The issuers that are known.
#[derive(Default)]
pub struct Issuers {
    known: Vec<Known>,
}

impl Issuers {
    /// Returns the issuers of a configuration.
    ///
    /// # Errors
    /// With the issuer at fault.
    pub fn new(issuers: impl IntoIterator<Item = Issuer>) -> Result<Self, BadIssuer> {
        let (mut known, mut names) = (Vec::new(), Vec::new());
        for issuer in issuers {
            if names.contains(&issuer.issuer) || names.len() == ISSUERS_MAX {
                return Err(BadIssuer::TooMany(issuer.issuer));
            }
            names.push(issuer.issuer.clone());
            known.push(Known::new(issuer)?);
        }
        Ok(Self { known })
    }

    /// Returns how many are known.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Returns whom a token names. Its end is judged by the machine's clock.
    pub fn caller(&self, token: &str) -> Option<Caller> {
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let header = decode_header(token).ok()?;
        self.known.iter().find_map(|known| known.caller(token, header.alg, header.kid.as_deref()))
    }
}

impl fmt::Debug for Issuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuers").field("count", &self.known.len()).finish_non_exhaustive()
    }
}

impl Known {
    fn new(issuer: Issuer) -> Result<Self, BadIssuer> {
        let name = || issuer.issuer.clone();
        for (field, told) in [
            ("issuer", &issuer.issuer),
            ("audience", &issuer.audience),
            ("role_claim", &issuer.role_claim),
            ("tenant_claim", &issuer.tenant_claim),
        ] {
            if told.is_empty() {
                return Err(BadIssuer::Empty(name(), field));
            }
        }
        if issuer.algorithms.is_empty() {
            return Err(BadIssuer::Empty(name(), "algorithms"));
        }
        let mut algorithms: Vec<Algorithm> = Vec::new();
        for told in &issuer.algorithms {
            let found = told.parse().ok();
            // Whoever could check such a token could forge one.
            let found = found.filter(|found: &Algorithm| found.family() != AlgorithmFamily::Hmac);
            algorithms.push(found.ok_or_else(|| BadIssuer::Algorithm(name(), told.clone()))?);
        }
        let mut keys = match &issuer.keys {
            IssuerKeys::Pem(pem) => of_pem(pem, &algorithms),
            IssuerKeys::Jwks(json) => of_jwks(json),
        };
        keys.retain(|(_, key)| algorithms.iter().any(|known| known.family() == key.family()));
        if keys.is_empty() || keys.len() > ISSUER_KEYS_MAX {
            return Err(BadIssuer::Keys(name()));
        }
        let mut validation = Validation::new(algorithms[0]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.set_audience(&[&issuer.audience]);
        validation.set_issuer(&[&issuer.issuer]);
        validation.leeway = TOKEN_LEEWAY_S;
        validation.validate_nbf = true;
        let Issuer { role_claim, tenant_claim, .. } = issuer;
        Ok(Self { keys, algorithms, validation, role_claim, tenant_claim })
    }

    fn caller(&self, token: &str, algorithm: Algorithm, kid: Option<&str>) -> Option<Caller> {
        if !self.algorithms.contains(&algorithm) {
            return None;
        }
        // The library wants all algorithms of a call to be of the key's family.
        let validation = Validation { algorithms: vec![algorithm], ..self.validation.clone() };
        let fits = |known: &Option<String>| match (known, kid) {
            (Some(known), Some(kid)) => known == kid,
            // A key without a name, or a token that names none: its signature tells.
            _ => true,
        };
        let mut theirs =
            self.keys.iter().filter(|(name, key)| fits(name) && key.family() == algorithm.family());
        let decoded = |key| decode::<Map<String, Value>>(token, key, &validation).ok();
        let claims = theirs.find_map(|(_, key)| decoded(key))?.claims;
        let role: Role = claims.get(&self.role_claim)?.as_str()?.parse().ok()?;
        let tenant = u32::try_from(claims.get(&self.tenant_claim)?.as_u64()?).ok()?;
        if tenant == 0 && !role.may_be_platform() {
            return None;
        }
        let subject = claims.get("sub")?.as_str()?;
        let fits = (1..=SUBJECT_CHARS_MAX).contains(&subject.chars().count());
        if !fits || subject.chars().any(char::is_control) {
            return None;
        }
        let credential = CredentialKind::Token;
        let end = Some(end_of(claims.get("exp")?)?);
        Some(Caller { tenant, role, credential, key_id: Arc::from(subject), end })
    }
}

/// Returns from when on a token of this `exp` is good no more: the leeway's last second still counts.
fn end_of(exp: &Value) -> Option<Moment> {
    let seconds = exp.as_f64()?.round() as i64;
    Some(Moment(seconds.saturating_add(TOKEN_LEEWAY_S as i64 + 1).saturating_mul(1_000)))
}

/// Returns the key of a PEM, as each family of the algorithms may read it.
fn of_pem(pem: &[u8], algorithms: &[Algorithm]) -> Vec<(Option<String>, DecodingKey)> {
    let read = |family| match family {
        AlgorithmFamily::Rsa => DecodingKey::from_rsa_pem(pem).ok(),
        AlgorithmFamily::Ec => DecodingKey::from_ec_pem(pem).ok(),
        AlgorithmFamily::Ed => DecodingKey::from_ed_pem(pem).ok(),
        AlgorithmFamily::Hmac => None,
    };
    let families = [AlgorithmFamily::Rsa, AlgorithmFamily::Ec, AlgorithmFamily::Ed];
    let wanted = families
        .into_iter()
        .filter(|family| algorithms.iter().any(|algorithm| algorithm.family() == *family));
    wanted.filter_map(read).map(|key| (None, key)).collect()
}

/// Returns the keys of a set that can be read, with their names.
fn of_jwks(json: &[u8]) -> Vec<(Option<String>, DecodingKey)> {
    let set: JwkSet = serde_json::from_slice(json).unwrap_or_default();
    let key = |jwk: &jsonwebtoken::jwk::Jwk| {
        DecodingKey::from_jwk(jwk).ok().map(|key| (jwk.common.key_id.clone(), key))
    };
    set.keys.iter().filter_map(key).collect()
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
    use rcgen::KeyPair;
    use serde_json::json;

    use super::*;

    fn issuer(keys: IssuerKeys) -> Issuer {
        Issuer {
            issuer: "https://id.example".into(),
            audience: "munadi".into(),
            algorithms: vec!["ES256".into(), "RS256".into()],
            keys,
            role_claim: "munadi_role".into(),
            tenant_claim: "munadi_tenant".into(),
        }
    }

    fn good() -> Value {
        json!({
            "iss": "https://id.example",
            "aud": ["other", "munadi"],
            "sub": "ana@shop.example",
            "exp": get_current_timestamp() + 600,
            "munadi_role": "advertiser",
            "munadi_tenant": 4,
        })
    }

    fn token(key: &KeyPair, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
        encode(&header, claims, &key).unwrap()
    }

    fn by_pem(key: &KeyPair) -> Issuers {
        let pem = IssuerKeys::Pem(key.public_key_pem().into_bytes());
        Issuers::new([issuer(pem)]).unwrap()
    }

    #[test]
    fn a_token_names_role_tenant_and_subject() {
        let key = KeyPair::generate().unwrap();
        let caller = by_pem(&key).caller(&token(&key, None, &good())).unwrap();
        assert_eq!((caller.role, caller.tenant), (Role::Advertiser, 4));
        assert_eq!(caller.credential, CredentialKind::Token);
        assert_eq!(&*caller.key_id, "ana@shop.example");
    }

    /// The library takes a token while `exp` and the leeway have not passed, whole seconds each.
    #[test]
    fn a_token_has_the_end_at_which_it_would_be_refused() {
        let (key, mut claims) = (KeyPair::generate().unwrap(), good());
        let issuers = by_pem(&key);
        let exp = get_current_timestamp() + 600;
        for told in [json!(exp), json!(exp as f64 + 0.4)] {
            claims["exp"] = told;
            let caller = issuers.caller(&token(&key, None, &claims)).unwrap();
            let last = Moment((exp + TOKEN_LEEWAY_S) as i64 * 1_000 + 999);
            assert_eq!(caller.end, Some(last.plus_ms(1)));
        }
        // The library's own end is the same, give or take what this test takes.
        for (ago_s, is_good) in [(TOKEN_LEEWAY_S - 3, true), (TOKEN_LEEWAY_S + 2, false)] {
            claims["exp"] = json!(get_current_timestamp() - ago_s);
            let caller = issuers.caller(&token(&key, None, &claims));
            assert_eq!(caller.is_some(), is_good, "ended {ago_s} s ago");
        }
    }

    #[test]
    fn a_token_with_anything_wrong_names_nobody() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let issuers = by_pem(&key);
        let now = get_current_timestamp();
        for (claim, wrong) in [
            ("iss", json!("https://other.example")),
            ("aud", json!("other")),
            ("aud", Value::Null),
            ("exp", json!(now - TOKEN_LEEWAY_S - 60)),
            ("exp", json!("never")),
            ("exp", Value::Null),
            ("nbf", json!(now + TOKEN_LEEWAY_S + 60)),
            ("sub", json!("")),
            ("sub", json!("a\nb")),
            ("sub", Value::Null),
            ("munadi_role", json!("king")),
            ("munadi_role", Value::Null),
            ("munadi_tenant", json!("4")),
            ("munadi_tenant", json!(-4)),
            ("munadi_tenant", json!(0)),
            ("munadi_tenant", json!(4_294_967_296_u64)),
        ] {
            let mut claims = good();
            match wrong {
                Value::Null => {
                    claims.as_object_mut().unwrap().remove(claim);
                }
                ref wrong => claims[claim] = wrong.clone(),
            }
            assert_eq!(issuers.caller(&token(&key, None, &claims)), None, "{claim} {wrong}");
        }
        assert_eq!(issuers.caller(&token(&other, None, &good())), None, "another key");
        let mut late = good();
        late["exp"] = json!(now - TOKEN_LEEWAY_S / 2);
        assert!(issuers.caller(&token(&key, None, &late)).is_some(), "clocks differ a little");
        for text in ["", "a.b.c", "a.b", &"a".repeat(TOKEN_CHARS_MAX + 1)] {
            assert_eq!(issuers.caller(text), None);
        }
    }

    #[test]
    fn neither_no_signature_nor_the_public_key_as_a_secret_is_taken() {
        let key = KeyPair::generate().unwrap();
        let issuers = by_pem(&key);
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let unsigned = format!("{}.{}.", part(&json!({"alg": "none"})), part(&good()));
        assert_eq!(issuers.caller(&unsigned), None);
        let secret = EncodingKey::from_secret(key.public_key_pem().as_bytes());
        let forged = encode(&Header::new(Algorithm::HS256), &good(), &secret).unwrap();
        assert_eq!(issuers.caller(&forged), None);
    }

    #[test]
    fn of_a_keys_algorithms_only_those_that_are_named_are_taken() {
        let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let issuers = by_pem(&key);
        let pem = EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).unwrap();
        let by = |algorithm| encode(&Header::new(algorithm), &good(), &pem).unwrap();
        assert!(issuers.caller(&by(Algorithm::RS256)).is_some());
        for other in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
            assert_eq!(issuers.caller(&by(other)), None, "{other:?}");
        }
    }

    #[test]
    fn a_set_of_keys_is_chosen_from_by_name() {
        let keys = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
        let jwk = |(name, key): (&str, &KeyPair)| {
            // An uncompressed point: 4, then both coordinates (SEC 1, 2.3.3).
            let point = key.public_key_raw();
            let [x, y] = [&point[1..33], &point[33..65]].map(|part| BASE64URL_NOPAD.encode(part));
            json!({"kty": "EC", "crv": "P-256", "kid": name, "x": x, "y": y})
        };
        let set: Vec<_> = ["a", "b"].into_iter().zip(&keys).map(jwk).collect();
        let set = json!({ "keys": set }).to_string().into_bytes();
        let issuers = Issuers::new([issuer(IssuerKeys::Jwks(set))]).unwrap();
        assert!(issuers.caller(&token(&keys[0], Some("a"), &good())).is_some());
        assert!(issuers.caller(&token(&keys[1], Some("b"), &good())).is_some());
        assert!(issuers.caller(&token(&keys[1], None, &good())).is_some());
        assert_eq!(issuers.caller(&token(&keys[1], Some("a"), &good())), None);
        assert_eq!(issuers.caller(&token(&keys[1], Some("c"), &good())), None);
    }

    #[test]
    fn an_issuer_that_is_not_safe_or_can_not_work_is_refused() {
        let key = KeyPair::generate().unwrap();
        let pem = || IssuerKeys::Pem(key.public_key_pem().into_bytes());
        let refused = |issuer| Issuers::new([issuer]).unwrap_err();
        for algorithm in ["none", "HS256", "HS512", "es256", ""] {
            let algorithms = vec!["ES256".into(), algorithm.to_owned()];
            let error = refused(Issuer { algorithms, ..issuer(pem()) });
            assert!(matches!(error, BadIssuer::Algorithm(..)), "{error}");
        }
        let none = refused(Issuer { algorithms: Vec::new(), ..issuer(pem()) });
        assert!(matches!(none, BadIssuer::Empty(_, "algorithms")), "{none}");
        let nowhere = refused(Issuer { audience: String::new(), ..issuer(pem()) });
        assert!(matches!(nowhere, BadIssuer::Empty(_, "audience")), "{nowhere}");
        for keys in [
            IssuerKeys::Pem(b"planted-secret".to_vec()),
            IssuerKeys::Jwks(b"planted-secret".to_vec()),
            IssuerKeys::Jwks(br#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#.to_vec()),
        ] {
            let error = refused(issuer(keys));
            assert!(matches!(error, BadIssuer::Keys(_)), "{error}");
            assert!(!error.to_string().contains("planted"), "{error}");
        }
        let twice = Issuers::new([issuer(pem()), issuer(pem())]).unwrap_err();
        assert!(matches!(twice, BadIssuer::TooMany(_)), "{twice}");
    }
}
