//! The layer before all services: authenticates, checks the table, names the caller.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};

use crate::guard::{Access, Caller, ERROR_DOMAIN, Gate, access};

/// Says the same whichever part of the credential is wrong, so that key ids can't be guessed.
const NO_KEY: &str = "no valid key: send one as `authorization: Bearer mk_<id>_<secret>`";

/// Says the same of a method that does not exist.
const NOT_YOURS: &str =
    "this key's role may not call this method: use a key of another role, or check the name";

/// Who is at the other end of a connection, which puts it into the extensions of its requests.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Where it calls from.
    pub address: Option<SocketAddr>,
    /// Whom its certificate names.
    pub caller: Option<Caller>,
}

/// Puts [`Guarded`] around services.
#[derive(Clone, Debug)]
pub struct GuardLayer {
    gate: Arc<Gate>,
}

impl GuardLayer {
    /// Returns a layer that lets in those whom the gate knows.
    pub fn new(gate: Gate) -> Self {
        Self { gate: Arc::new(gate) }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { gate: Arc::clone(&self.gate), inner }
    }
}

/// A service behind the guard: it sees only requests that their caller may make, and reads the
/// [`Caller`] from their extensions.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl<S, Body, Answer> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Answer>>,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
    Answer: Default + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match judge(&self.gate, &request) {
            Ok(caller) => {
                if let Some(caller) = caller {
                    request.extensions_mut().insert(caller);
                }
                Box::pin(self.inner.call(request))
            }
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
        }
    }
}

/// Returns the caller of a request that may be made, or `None` where no key is asked for.
fn judge<Body>(gate: &Gate, request: &Request<Body>) -> Result<Option<Caller>, Status> {
    let Access::Roles(roles) = access(request.uri().path()) else {
        return Ok(None);
    };
    let header = request.headers().get(AUTHORIZATION).map(|header| header.as_bytes());
    let certified = request.extensions().get::<Peer>().and_then(|peer| peer.caller.as_ref());
    let Some(caller) = gate.caller(header, certified) else {
        return Err(refusal(Code::Unauthenticated, NO_KEY, "CREDENTIAL_INVALID"));
    };
    if !roles.contains(&caller.role) {
        return Err(refusal(Code::PermissionDenied, NOT_YOURS, "ROLE_DENIED"));
    }
    Ok(Some(caller))
}

fn refusal(code: Code, message: &str, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::table::TABLE;
    use crate::guard::{Key, Keys, Role, secret_blake3};
    use crate::types::proto::v1::CredentialKind;

    /// Each method with each role's key: let in exactly where the table says so.
    #[test]
    fn each_method_lets_in_the_roles_of_the_table_and_no_other() {
        let gate = gate();
        for (path, wanted) in TABLE {
            for role in Role::ALL {
                let judged = judge(&gate, &request(path, Some(role.name())));
                match wanted {
                    Access::Open => assert_eq!(judged.unwrap(), None, "{path}"),
                    Access::Roles(roles) if roles.contains(&role) => {
                        assert_eq!(judged.unwrap().unwrap().role, role, "{path}");
                    }
                    Access::Roles(_) => {
                        assert_eq!(judged.unwrap_err().code(), Code::PermissionDenied, "{path}");
                    }
                }
            }
        }
    }

    #[test]
    fn without_a_key_only_health_answers() {
        let gate = gate();
        for (path, wanted) in TABLE {
            let judged = judge(&gate, &request(path, None));
            match wanted {
                Access::Open => assert_eq!(judged.unwrap(), None, "{path}"),
                Access::Roles(_) => {
                    assert_eq!(judged.unwrap_err().code(), Code::Unauthenticated, "{path}");
                }
            }
        }
    }

    #[test]
    fn a_refusal_tells_nothing_of_what_was_wrong() {
        let gate = gate();
        let path = "/munadi.v1.AdService/RequestAds";
        let text = |path, id| judge(&gate, &request(path, id)).unwrap_err().message().to_owned();
        assert_eq!(text(path, None), text(path, Some("nobody")));
        let unknown = "/munadi.v1.AdminService/Drain";
        assert_eq!(text(unknown, Some("operator")), text(path, Some("operator")));
        assert_eq!(text(unknown, None), text(path, None));
    }

    #[test]
    fn a_certificate_is_a_credential_and_makes_no_wrong_key_good() {
        let gate = gate();
        let path = "/munadi.v1.AdService/RequestAds";
        let feed = Caller {
            tenant: 9,
            role: Role::Feed,
            credential: CredentialKind::Certificate,
            key_id: "07".into(),
        };
        let certified = |path, key, caller: Option<&Caller>| {
            let mut request = request(path, key);
            let peer = Peer { address: None, caller: caller.cloned() };
            request.extensions_mut().insert(peer);
            judge(&gate, &request).map_err(|status| status.code())
        };
        assert_eq!(certified(path, None, Some(&feed)), Ok(Some(feed.clone())));
        assert_eq!(certified(path, None, None), Err(Code::Unauthenticated));
        assert_eq!(certified(path, Some("nobody"), Some(&feed)), Err(Code::Unauthenticated));
        let other = certified(path, Some("feed"), Some(&feed)).unwrap().unwrap();
        assert_eq!((other.tenant, &*other.key_id), (7, "feed"), "the key decides");
        let reports = "/munadi.v1.ReportService/QueryReport";
        assert_eq!(certified(reports, None, Some(&feed)), Err(Code::PermissionDenied));
    }

    fn gate() -> Gate {
        let keys = Keys::new(Role::ALL.map(|role| Key {
            id: role.name().into(),
            role,
            tenant: 7,
            secret_blake3: secret_blake3("secret"),
        }));
        Gate::new(Arc::new(keys.unwrap()), None)
    }

    fn request(path: &str, key: Option<&str>) -> Request<()> {
        let mut request = Request::builder().uri(path);
        if let Some(id) = key {
            request = request.header(AUTHORIZATION, format!("Bearer mk_{id}_secret"));
        }
        request.body(()).unwrap()
    }
}
