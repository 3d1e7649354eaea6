//! Who is calling and what they may do: credentials, roles, and one table of methods.
//!
//! The tenant comes from the credential only. What is not in the table is denied.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;

use crate::types::proto::v1::{CallerRole, CredentialKind};
use crate::types::request::{Author, Scope};
use crate::types::time::Moment;

mod certificates;
mod class;
mod gate;
mod issuers;
mod judge;
mod keys;
mod table;

pub use certificates::certified;
pub use class::{Class, class};
pub use gate::Gate;
pub use issuers::{
    BadIssuer, ISSUER_KEYS_MAX, ISSUERS_MAX, Issuer, IssuerKeys, Issuers, SUBJECT_CHARS_MAX,
    TOKEN_CHARS_MAX, TOKEN_LEEWAY_S,
};
pub use keys::{BadKey, Key, Keys, SECRET_CHARS_MAX, secret_blake3};
pub use table::{Access, access, paths, place};

/// The domain of every `google.rpc.ErrorInfo` that this server answers with.
pub const ERROR_DOMAIN: &str = "munadi";

/// What a caller is. One key has one role.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the node: sees and changes every tenant's things.
    Operator,
    /// Pays for campaigns: sees and changes its own.
    Advertiser,
    /// Shows ads; its tenant number is its feed id.
    Feed,
    /// Reports conversations and sales.
    Chat,
    /// Reads reports and attributions.
    Analytics,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] =
        [Self::Operator, Self::Advertiser, Self::Feed, Self::Chat, Self::Analytics];

    /// Returns the name used in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Advertiser => "advertiser",
            Self::Feed => "feed",
            Self::Chat => "chat",
            Self::Analytics => "analytics",
        }
    }

    /// Returns the role that the interface means; `None`: none.
    pub const fn of_wire(role: CallerRole) -> Option<Self> {
        Some(match role {
            CallerRole::Unspecified => return None,
            CallerRole::Operator => Self::Operator,
            CallerRole::Advertiser => Self::Advertiser,
            CallerRole::Feed => Self::Feed,
            CallerRole::Chat => Self::Chat,
            CallerRole::Analytics => Self::Analytics,
        })
    }

    /// Returns what the interface calls it.
    pub const fn wire(self) -> CallerRole {
        match self {
            Self::Operator => CallerRole::Operator,
            Self::Advertiser => CallerRole::Advertiser,
            Self::Feed => CallerRole::Feed,
            Self::Chat => CallerRole::Chat,
            Self::Analytics => CallerRole::Analytics,
        }
    }

    /// Tells whether a key of this role may speak for the platform itself, tenant 0.
    pub const fn may_be_platform(self) -> bool {
        matches!(self, Self::Operator | Self::Chat | Self::Analytics)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no role.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("say operator, advertiser, feed, chat or analytics")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(UnknownRole)
    }
}

/// The credential behind a request: put into its extensions by the door, and the only source of the
/// tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// Whose things the caller may see; for a feed its id; 0: the platform itself.
    pub tenant: u32,
    /// What the caller is.
    pub role: Role,
    /// By what it is known.
    pub credential: CredentialKind,
    /// Which key it used, its certificate's serial number or its token's subject, for logs. Never the secret.
    pub key_id: Arc<str>,
    /// From when on its token or certificate is good no more, by the machine's clock. `None`: it is a key, whose
    /// end is looked up.
    pub end: Option<Moment>,
}

impl Caller {
    /// Returns who makes a change by the method whose request this is: `CreateAdRequest`.
    pub fn author(&self, request: &'static str) -> Author {
        Author {
            credential: self.credential,
            name: self.key_id.to_string(),
            role: self.role.wire(),
            tenant: self.tenant,
            method: request.strip_suffix("Request").unwrap_or(request),
        }
    }

    /// Returns whose things the caller may see: an operator and the platform itself everyone's.
    pub const fn scope(&self) -> Scope {
        let is_platform = self.tenant == 0 && self.role.may_be_platform();
        Scope { tenant: self.tenant, any: is_platform || matches!(self.role, Role::Operator) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_operators_and_the_platform_see_everyones_things() {
        let credential = CredentialKind::Key;
        let (key_id, end): (Arc<str>, _) = ("a".into(), None);
        let caller =
            |role, tenant| Caller { tenant, role, credential, key_id: Arc::clone(&key_id), end };
        let any = |role, tenant| caller(role, tenant).scope().any;
        for role in Role::ALL {
            assert_eq!(any(role, 7), role == Role::Operator, "{role}");
            assert_eq!(any(role, 0), role.may_be_platform(), "{role}");
            assert_eq!(Role::of_wire(role.wire()), Some(role));
            assert_eq!(caller(role, 7).author("CreateAdRequest").method, "CreateAd");
        }
    }
}
