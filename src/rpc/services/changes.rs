//! The log of changes, as AdminService tells it.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage};
use tonic::Status;

use crate::node::Node;
use crate::rpc::parse::keys::changes;
use crate::state::changes::Noted;
use crate::state::credit::timestamp;
use crate::types::proto::{DESCRIPTORS, v1};

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the build wrote them"));

/// Returns a page of changes.
pub(super) async fn list_changes(
    node: &Node,
    wire: &v1::ListChangesRequest,
) -> Result<v1::ListChangesResponse, Status> {
    let sealer = node.opener();
    let (list, asked) = changes(wire, &sealer)?;
    let (found, next) = node.changes(&asked).await?;
    let next_page_token = next.map_or(String::new(), |last| list.seal(last, &sealer));
    Ok(v1::ListChangesResponse { changes: found.iter().map(told).collect(), next_page_token })
}

fn told(noted: &Noted) -> v1::Change {
    let change = noted.change();
    let json = |bytes: &[u8]| json(&change.r#type, bytes).unwrap_or_default();
    v1::Change {
        number: noted.seq,
        time: Some(timestamp(noted.at_ms)),
        credential: change.credential,
        caller: change.caller.clone(),
        role: change.role,
        tenant: change.tenant,
        method: change.method.clone(),
        request_id: change.request_id.clone(),
        subject: change.subject.clone(),
        owner: change.owner,
        r#type: change.r#type.clone(),
        before: json(&change.before),
        after: json(&change.after),
        before_bytes: change.before_bytes,
        after_bytes: change.after_bytes,
    }
}

/// Returns a message of this type in protobuf's JSON; `None`: there is nothing to be told.
fn json(kind: &str, bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return None;
    }
    let message = DynamicMessage::decode(POOL.get_message_by_name(kind)?, bytes).ok()?;
    serde_json::to_string(&message).ok()
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_form_reads_as_json_and_an_unknown_type_as_nothing() {
        let key = v1::ApiKey { id: "m-a".into(), tenant: 4, ..Default::default() };
        let bytes = key.encode_to_vec();
        let told = json("munadi.v1.ApiKey", &bytes).unwrap();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&told["id"], &told["tenant"]), (&"m-a".into(), &4.into()));
        assert_eq!(json("munadi.v1.Nothing", &bytes), None);
        assert_eq!(json("munadi.v1.ApiKey", &[]), None);
    }
}
