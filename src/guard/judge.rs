//! Whether a caller may make a call: by its credential and the table.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::guard::{Access, Caller, ERROR_DOMAIN, Gate, access};

/// Says the same whichever part of the credential is wrong, so that key ids can't be guessed.
const NO_KEY: &str = "no valid key: send one as `authorization: Bearer mk_<id>_<secret>`";

/// Says the same of a method that does not exist.
const NOT_YOURS: &str =
    "this key's role may not call this method: use a key of another role, or check the name";

impl Gate {
    /// Returns the caller of a call that may be made, or `None` where no key is asked for. `header`: the value of
    /// its `authorization`; `certified`: whom the certificate of its connection names.
    ///
    /// # Errors
    /// The status of the whole call, when its caller is not known or may not call this.
    pub fn judge(
        &self,
        path: &str,
        header: Option<&[u8]>,
        certified: Option<&Caller>,
    ) -> Result<Option<Caller>, Status> {
        let Access::Roles(roles) = access(path) else {
            return Ok(None);
        };
        let Some(caller) = self.caller(header, certified) else { return Err(not_known()) };
        if !roles.contains(&caller.role) {
            return Err(refusal(Code::PermissionDenied, NOT_YOURS, "ROLE_DENIED"));
        }
        Ok(Some(caller))
    }

    /// Judges the caller of a call that goes on once more: a look-up, nothing is hashed.
    ///
    /// # Errors
    /// The status that a new call by the same credential would be answered with, when that is good no more.
    pub fn judge_again(&self, caller: &Caller) -> Result<(), Status> {
        if self.knows(caller) { Ok(()) } else { Err(not_known()) }
    }
}

fn not_known() -> Status {
    refusal(Code::Unauthenticated, NO_KEY, "CREDENTIAL_INVALID")
}

fn refusal(code: Code, message: &str, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::guard::table::TABLE;
    use crate::guard::{Key, Keys, Role, secret_blake3};
    use crate::node::clock::{Clock, SystemClock};
    use crate::types::proto::v1::CredentialKind;
    use crate::types::time::Moment;

    /// Each method with each role's key: let in exactly where the table says so.
    #[test]
    fn each_method_lets_in_the_roles_of_the_table_and_no_other() {
        let gate = gate();
        for (path, wanted) in TABLE {
            for role in Role::ALL {
                let judged = judge(&gate, path, Some(role.name()), None);
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
            let judged = judge(&gate, path, None, None);
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
        let text = |path, id| judge(&gate, path, id, None).unwrap_err().message().to_owned();
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
            end: None,
        };
        let certified = |path, key, caller: Option<&Caller>| {
            judge(&gate, path, key, caller).map_err(|status| status.code())
        };
        assert_eq!(certified(path, None, Some(&feed)), Ok(Some(feed.clone())));
        assert_eq!(certified(path, None, None), Err(Code::Unauthenticated));
        assert_eq!(certified(path, Some("nobody"), Some(&feed)), Err(Code::Unauthenticated));
        let other = certified(path, Some("feed"), Some(&feed)).unwrap().unwrap();
        assert_eq!((other.tenant, &*other.key_id), (7, "feed"), "the key decides");
        let reports = "/munadi.v1.ReportService/QueryReport";
        assert_eq!(certified(reports, None, Some(&feed)), Err(Code::PermissionDenied));
    }

    #[test]
    fn what_has_ended_lets_nobody_in_and_nobody_go_on() {
        let gate = gate();
        let path = "/munadi.v1.AdService/StreamAds";
        let machine = SystemClock::default().now();
        let ends = [(1, false), (machine.0 - 1, false), (machine.0 + 600_000, true)];
        for credential in [CredentialKind::Certificate, CredentialKind::Token] {
            for (end_ms, is_good) in ends {
                let (key_id, end) = ("07".into(), Some(Moment(end_ms)));
                let caller = Caller { tenant: 9, role: Role::Feed, credential, key_id, end };
                let again = gate.judge_again(&caller).map_err(|status| status.code());
                assert_eq!(again.is_ok(), is_good, "{caller:?}");
                assert_eq!(judge(&gate, path, None, Some(&caller)).is_ok(), is_good, "{caller:?}");
                assert!(is_good || again == Err(Code::Unauthenticated));
            }
        }
    }

    #[test]
    fn a_caller_goes_on_until_its_key_is_revoked_and_is_then_told_as_if_it_came_anew() {
        let keys = Arc::new(keys());
        let gate = Gate::new(Arc::clone(&keys), None);
        let path = "/munadi.v1.AdService/StreamAds";
        let caller = judge(&gate, path, Some("feed"), None).unwrap().unwrap();
        assert!(gate.judge_again(&caller).is_ok());
        assert!(keys.revoke("operator"));
        assert!(gate.judge_again(&caller).is_ok(), "another's key");
        assert!(keys.revoke("feed"));
        let (again, anew) =
            (gate.judge_again(&caller).unwrap_err(), judge(&gate, path, Some("feed"), None));
        let anew = anew.unwrap_err();
        assert_eq!((again.code(), again.message()), (anew.code(), anew.message()));
        let issued = Caller { key_id: "m-a".into(), ..caller };
        assert!(gate.judge_again(&issued).is_err(), "there is no node that could know it");
    }

    fn gate() -> Gate {
        Gate::new(Arc::new(keys()), None)
    }

    /// Returns a key of each role.
    fn keys() -> Keys {
        let key = |role: Role| Key {
            id: role.name().into(),
            role,
            tenant: 7,
            secret_blake3: secret_blake3("secret"),
        };
        Keys::new(Role::ALL.map(key)).unwrap()
    }

    /// Judges a call with the key of this id.
    fn judge(
        gate: &Gate,
        path: &str,
        key: Option<&str>,
        certified: Option<&Caller>,
    ) -> Result<Option<Caller>, Status> {
        let header = key.map(|id| format!("Bearer mk_{id}_secret"));
        gate.judge(path, header.as_deref().map(str::as_bytes), certified)
    }
}
