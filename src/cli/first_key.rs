//! The first start: where no operator could call, a key is made and shown once.

use std::io::{self, Write};

use crate::cli::Failure;
use crate::guard::Keys;
use crate::node::{NewKey, Node};
use crate::types::proto::v1::{ApiKey, CallerRole, CredentialKind};
use crate::types::refusal::Refusal;
use crate::types::request::{Author, KeyChange, KeyMutation};

/// What the key's user is called: whoever started the server.
const NAME: &str = "first";

/// Makes an operator's key and writes it to `out`, where neither the configuration nor the node has one that is
/// good. It goes to no log. What can't be shown is revoked again, so that the next start makes another.
pub(super) fn first_key(node: &Node, keys: &Keys, out: impl Write) -> Result<(), Failure> {
    if keys.has_operator() || node.front().has_operator_key(node.now()) {
        return Ok(());
    }
    let key =
        ApiKey { name: NAME.to_owned(), role: CallerRole::Operator.into(), ..ApiKey::default() };
    let made = write(node, "first", "CreateKey", KeyChange::Create(key))?;
    if let Err(error) = show(out, &made) {
        write(node, "unseen", "RevokeKey", KeyChange::Revoke(made.key.id))?;
        return Err(format!("the first operator's key could not be shown: {error}").into());
    }
    tracing::info!(key = made.key.id, "made the first operator's key and showed it once");
    Ok(())
}

fn show(mut out: impl Write, made: &NewKey) -> io::Result<()> {
    writeln!(
        out,
        "# There was no operator's key, so this one was made. It is shown once and kept nowhere."
    )?;
    writeln!(out, "{}", made.bearer)?;
    out.flush()
}

fn write(
    node: &Node,
    request: &str,
    method: &'static str,
    change: KeyChange,
) -> Result<NewKey, Failure> {
    let by = Author {
        credential: CredentialKind::Server,
        name: "serve".to_owned(),
        role: CallerRole::Operator,
        tenant: 0,
        method,
    };
    let mutation = KeyMutation {
        tenant: 0,
        // Another start is another request.
        request_id: format!("{request}-{}", node.now().0),
        body_hash: [0; 16],
        by,
        change,
        secret_hash: [0; 32],
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let failed = |refusal: Refusal| format!("the first operator's key: {}", refusal.message);
    Ok(runtime.block_on(node.write_key(mutation)).map_err(failed)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::guard::{Gate, Key, Role, secret_blake3};
    use crate::journal::file::Options;
    use crate::node::NodeOptions;
    use crate::node::clock::SystemClock;

    /// Small, as each segment is written full of zeros first.
    const SEGMENT_BYTES: u64 = 4 << 20;

    fn node(folder: &Path) -> Node {
        let journal = Options { segment_bytes: SEGMENT_BYTES, ..Options::default() };
        let options = NodeOptions { journal, ..NodeOptions::default() };
        Node::start(folder, Arc::new(SystemClock::default()), &options).unwrap()
    }

    fn shown(node: &Node, keys: &Keys) -> String {
        let mut out = Vec::new();
        first_key(node, keys, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_first_start_shows_a_key_that_opens_and_later_ones_show_none() {
        let folder = tempfile::tempdir().unwrap();
        let none = Arc::new(Keys::new([]).unwrap());
        let first = node(folder.path());
        let text = shown(&first, &none);
        let bearer = text.lines().find(|line| line.starts_with("mk_m-")).unwrap().to_owned();
        assert_eq!(shown(&first, &none), "");
        first.stop().unwrap();

        let second = Arc::new(node(folder.path()));
        assert_eq!(shown(&second, &none), "", "it is in the journal");
        let gate = Gate::new(Arc::clone(&none), Some(Arc::clone(&second)));
        let caller = gate.caller(Some(format!("Bearer {bearer}").as_bytes()), None).unwrap();
        assert_eq!((caller.role, caller.tenant), (Role::Operator, 0));
        assert_eq!(gate.caller(Some(format!("Bearer {bearer}x").as_bytes()), None), None);
        drop(gate);
        Arc::into_inner(second).unwrap().stop().unwrap();
    }

    #[test]
    fn no_key_is_made_where_the_configuration_has_one_or_none_can_be_shown() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(folder.path());
        let key = |role| Key { id: "a".into(), role, tenant: 1, secret_blake3: secret_blake3("s") };
        let operator = Keys::new([key(Role::Operator)]).unwrap();
        assert_eq!(shown(&node, &operator), "");
        let feed = Keys::new([key(Role::Feed)]).unwrap();
        assert!(first_key(&node, &feed, Closed).is_err());
        assert!(!node.front().has_operator_key(node.now()), "what nobody saw is revoked");
        assert!(shown(&node, &feed).contains("mk_m-"));
        node.stop().unwrap();
    }
}
