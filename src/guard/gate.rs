//! Who a caller is: by its key, by the token of an outside issuer, or by the certificate of its connection.

use std::fmt;
use std::sync::Arc;

use crate::guard::keys::{PREFIX, Presented, bearer};
use crate::guard::{Caller, Keys, Role};
use crate::node::Node;
use crate::types::proto::v1::CredentialKind;

/// Everything that callers are judged by.
#[derive(Clone)]
pub struct Gate {
    keys: Arc<Keys>,
    node: Option<Arc<Node>>,
}

impl Gate {
    /// Returns a gate that knows the keys of the configuration, and those that were made on a node, if there is
    /// one.
    pub const fn new(keys: Arc<Keys>, node: Option<Arc<Node>>) -> Self {
        Self { keys, node }
    }

    /// Returns who calls, from the value of an `authorization` header and the certificate of the connection. The
    /// header decides where there is one: a wrong key is not made good by a certificate.
    pub fn caller(&self, header: Option<&[u8]>, certified: Option<&Caller>) -> Option<Caller> {
        let Some(header) = header else { return certified.cloned() };
        let bearer = bearer(header)?;
        if !bearer.starts_with(PREFIX) {
            return self.keys.issuers().caller(bearer);
        }
        let presented = Presented::of(bearer)?;
        self.keys.caller_of(&presented).or_else(|| self.issued(&presented))
    }

    /// Returns whose key this is, among those that were made on the node.
    fn issued(&self, presented: &Presented<'_>) -> Option<Caller> {
        let node = self.node.as_ref()?;
        let now = node.now();
        let issued = node.front().issued(presented.id, now);
        let wanted = issued.as_ref().map_or([0; 32], |issued| issued.secret_hash);
        let is_right = presented.fits(&wanted);
        let issued = issued.filter(|_| is_right)?;
        let role = Role::of_wire(issued.role)?;
        issued.note_used(now);
        let credential = CredentialKind::Key;
        Some(Caller { tenant: issued.tenant, role, credential, key_id: Arc::from(presented.id) })
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("keys", &self.keys).finish_non_exhaustive()
    }
}
