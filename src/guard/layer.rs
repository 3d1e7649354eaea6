//! The layer before all services: authenticates, checks the table, names the caller.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::codegen::http::header::AUTHORIZATION;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};

use crate::guard::{Access, Caller, ERROR_DOMAIN, Keys, access};

/// Says the same whichever part of the credential is wrong, so that key ids can't be guessed.
const NO_KEY: &str = "no valid key: send one as `authorization: Bearer mk_<id>_<secret>`";

/// Says the same of a method that does not exist.
const NOT_YOURS: &str =
    "this key's role may not call this method: use a key of another role, or check the name";

/// Puts [`Guarded`] around services.
#[derive(Clone, Debug)]
pub struct GuardLayer {
    keys: Arc<Keys>,
}

impl GuardLayer {
    /// Returns a layer that lets in the bearers of these keys.
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { keys: Arc::clone(&self.keys), inner }
    }
}

/// A service behind the guard: it sees only requests that their caller may make, and reads the
/// [`Caller`] from their extensions.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    keys: Arc<Keys>,
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
        match judge(&self.keys, &request) {
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
fn judge<Body>(keys: &Keys, request: &Request<Body>) -> Result<Option<Caller>, Status> {
    let Access::Roles(roles) = access(request.uri().path()) else {
        return Ok(None);
    };
    let header = request.headers().get(AUTHORIZATION);
    let caller = header.and_then(|header| keys.caller(header.as_bytes()));
    let Some(caller) = caller else {
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
    use crate::guard::{Key, Role, secret_blake3};

    /// Each method with each role's key: let in exactly where the table says so.
    #[test]
    fn each_method_lets_in_the_roles_of_the_table_and_no_other() {
        let keys = keys();
        for (path, wanted) in TABLE {
            for role in Role::ALL {
                let judged = judge(&keys, &request(path, Some(role.name())));
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
        let keys = keys();
        for (path, wanted) in TABLE {
            let judged = judge(&keys, &request(path, None));
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
        let keys = keys();
        let path = "/munadi.v1.AdService/RequestAds";
        let text = |path, id| judge(&keys, &request(path, id)).unwrap_err().message().to_owned();
        assert_eq!(text(path, None), text(path, Some("nobody")));
        let unknown = "/munadi.v1.AdminService/Drain";
        assert_eq!(text(unknown, Some("operator")), text(path, Some("operator")));
        assert_eq!(text(unknown, None), text(path, None));
    }

    fn keys() -> Keys {
        Keys::new(Role::ALL.map(|role| Key {
            id: role.name().into(),
            role,
            tenant: 7,
            secret_blake3: secret_blake3("secret"),
        }))
        .unwrap()
    }

    fn request(path: &str, key: Option<&str>) -> Request<()> {
        let mut request = Request::builder().uri(path);
        if let Some(id) = key {
            request = request.header(AUTHORIZATION, format!("Bearer mk_{id}_secret"));
        }
        request.body(()).unwrap()
    }
}
