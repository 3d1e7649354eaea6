//! Who is calling and what they may do: keys, roles, one table of methods, and the layer before them.
//!
//! The tenant comes from the credential only. What is not in the table is denied.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;

use crate::types::request::Scope;

mod keys;
mod layer;
mod table;

pub use keys::{BadKey, Key, Keys, SECRET_CHARS_MAX, secret_blake3};
pub use layer::{GuardLayer, Guarded};
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

/// The credential behind a request: put into its extensions by the layer, and the only source of the
/// tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// Whose things the caller may see; for a feed its id; 0: the platform itself.
    pub tenant: u32,
    /// What the caller is.
    pub role: Role,
    /// Which key it used, for logs. Never the secret.
    pub key_id: Arc<str>,
}

impl Caller {
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
        let any = |role, tenant| Caller { tenant, role, key_id: "a".into() }.scope().any;
        for role in Role::ALL {
            assert_eq!(any(role, 7), role == Role::Operator, "{role}");
            assert_eq!(any(role, 0), role.may_be_platform(), "{role}");
        }
    }
}
