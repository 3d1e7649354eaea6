//! A gRPC codec whose answers are encoded already: they are copied into the connection's buffer.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::{BufMut, Bytes};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic_prost::{ProstCodec, ProstDecoder};

use crate::node::ANSWER_BYTES;

/// Bytes for which room is made before a question is read; longer ones make more. tonic's own 8 KiB each way
/// are several times what a tray needs.
const QUESTION_BYTES: usize = 1_024;

/// Answers are sent on once there are so many bytes of them.
const YIELD_BYTES: usize = 32 << 10;

/// Decodes questions `Q`; takes encoded answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoded<Q>(PhantomData<fn() -> Q>);

impl<Q> Default for Encoded<Q> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Q: Message + Default + 'static> Codec for Encoded<Q> {
    type Encode = Bytes;
    type Decode = Q;
    type Encoder = Self;
    type Decoder = ProstDecoder<Q>;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> ProstDecoder<Q> {
        ProstCodec::<Q, Q>::raw_decoder(BufferSettings::new(QUESTION_BYTES, YIELD_BYTES))
    }
}

impl<Q: Message + Default + 'static> Encoder for Encoded<Q> {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, answer: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&answer);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(ANSWER_BYTES, YIELD_BYTES)
    }
}
