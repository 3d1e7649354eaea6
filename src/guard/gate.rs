//! Who a caller is: by its key, by the token of an outside issuer, or by the certificate of its connection.

use std::fmt;
use std::sync::Arc;

use crate::guard::keys::{PREFIX, Presented, bearer};
use crate::guard::{Caller, Keys, Role};
use crate::node::clock::{Clock, SystemClock};
use crate::node::{ISSUED_PREFIX, Node};
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
        let Some(header) = header else {
            // It was good when the connection was opened.
            return certified.filter(|caller| !has_ended(caller)).cloned();
        };
        let bearer = bearer(header)?;
        if !bearer.starts_with(PREFIX) {
            return self.keys.issuers().caller(bearer);
        }
        let presented = Presented::of(bearer)?;
        self.keys.caller_of(&presented).or_else(|| self.issued(&presented))
    }

    /// Tells whether a caller would still be let in by the credential that it was judged by.
    pub(super) fn knows(&self, caller: &Caller) -> bool {
        if caller.credential != CredentialKind::Key {
            return !has_ended(caller);
        }
        if !caller.key_id.starts_with(ISSUED_PREFIX) {
            return self.keys.knows(caller);
        }
        let issued = |node: &Arc<Node>| node.front().issued(&caller.key_id, node.now()).is_some();
        self.node.as_ref().is_some_and(issued)
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
        let (tenant, key_id) = (issued.tenant, Arc::from(presented.id));
        Some(Caller { tenant, role, credential, key_id, end: None })
    }
}

/// Tells whether a token or a certificate is good no more.
fn has_ended(caller: &Caller) -> bool {
    caller.end.is_some_and(|end| SystemClock::default().now() >= end)
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("keys", &self.keys).finish_non_exhaustive()
    }
}
