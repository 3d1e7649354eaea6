//! The keys' part of AdminService.

use tokio::time::timeout;
use tonic::Status;

use crate::node::{NewKey, Node};
use crate::rpc::errors::deadline;
use crate::rpc::limits::INGEST_DEADLINE;
use crate::rpc::parse::places::{List, page_size};
use crate::types::proto::v1;
use crate::types::request::{Author, KeyMutation};

/// Writes to the keys, and waits until it is durable.
pub(super) async fn write_key(
    node: &Node,
    by: Author,
    mutation: KeyMutation,
) -> Result<NewKey, Status> {
    let mutation = KeyMutation { by, ..mutation };
    let written = timeout(INGEST_DEADLINE, node.write_key(mutation)).await;
    Ok(written.map_err(|_| deadline())??)
}

/// Returns a page of keys.
pub(super) async fn list_keys(
    node: &Node,
    wire: &v1::ListKeysRequest,
) -> Result<v1::ListKeysResponse, Status> {
    let (list, sealer) = (List::new("ListKeys", &[]), node.opener());
    let after = list.open_name(&wire.page_token, &sealer)?;
    let limit = page_size(wire.page_size)?;
    node.settled().await?;
    let (keys, next) = node.front().keys(&after, limit);
    let next_page_token = next.map_or(String::new(), |last| list.seal_name(&last, &sealer));
    Ok(v1::ListKeysResponse { keys, next_page_token })
}
