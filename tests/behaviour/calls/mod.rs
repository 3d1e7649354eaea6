//! A call of every method, as the wire has it: what a caller of each role sends, with ids of whoever it is.

mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use munadi::types::proto::DESCRIPTORS;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tokio_stream::StreamExt;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status};

use crate::desk::Way;

pub(crate) use requests::{Call, Kind, REQUESTS};

/// How long a call may take before its test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What stands in a request for an id: its name, then the id.
pub(crate) type Ids = BTreeMap<&'static str, String>;

/// Returns the path of every method of the interface.
pub(crate) fn methods() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let path = |method: prost_reflect::MethodDescriptor| {
        format!("/{}/{}", method.parent_service().full_name(), method.name())
    };
    methods.map(path).collect()
}

/// Returns the bytes of a request: its JSON with `"$name"` for ids, and `"$request"` for a request id.
pub(crate) fn bytes(call: &Call, ids: &Ids, request_id: &str) -> Vec<u8> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let (service, method) = call.method.split_once('/').unwrap();
    let service = pool.get_service_by_name(&format!("munadi.v1.{service}")).unwrap();
    let method = service.methods().find(|known| known.name() == method).unwrap();
    let mut json = call.json.replace("$request", request_id);
    for (name, id) in ids {
        json = json.replace(&format!("${name}$"), id);
    }
    assert!(!json.contains('$'), "{}: {json}", call.method);
    let mut reader = serde_json::Deserializer::from_str(&json);
    let message = DynamicMessage::deserialize(method.input(), &mut reader);
    message.unwrap_or_else(|error| panic!("{}: {error}: {json}", call.method)).encode_to_vec()
}

/// Sends a request and returns the first message of the answer; `None`: the answer ended without one.
pub(crate) async fn send(
    way: Way,
    method: &str,
    request: Vec<u8>,
) -> Result<Option<Vec<u8>>, Status> {
    // Whoever watches is told nothing as long as nothing is open.
    let watches = method == "ConversationService/WatchWindows";
    let answered = async {
        let mut client = Grpc::new(way);
        let ready = client.ready().await;
        ready.map_err(|error| Status::unknown(error.to_string()))?;
        let path = PathAndQuery::try_from(format!("/munadi.v1.{method}")).unwrap();
        let request = Request::new(tokio_stream::once(request));
        let mut answers = client.streaming(request, path, Raw).await?.into_inner();
        if watches { Ok(None) } else { answers.next().await.transpose() }
    };
    let answered = tokio::time::timeout(PATIENCE, answered).await;
    answered.unwrap_or_else(|_| panic!("{method} answers in time"))
}

/// Messages as bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        prost::bytes::BufMut::put_slice(into, &item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; prost::bytes::Buf::remaining(from)];
        prost::bytes::Buf::copy_to_slice(from, &mut item);
        Ok(Some(item))
    }
}
