//! The same rows in columns: attributions by Arrow Flight over loopback.

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightClient, Ticket};
use tokio_stream::StreamExt;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Endpoint;

use crate::Failure;

/// Reads all attributions and returns how many these are.
pub(crate) async fn read_all(
    endpoint: &Endpoint,
    bearer: AsciiMetadataValue,
) -> Result<usize, Failure> {
    let client = FlightServiceClient::new(endpoint.connect().await?);
    let mut client = FlightClient::new_from_inner(client.max_decoding_message_size(16 << 20));
    client.metadata_mut().insert("authorization", bearer);
    let mut batches = client.do_get(Ticket::new(r#"{"table":"attributions"}"#)).await?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        rows += batch?.num_rows();
    }
    Ok(rows)
}
