//! A gRPC codec of bytes: questions are put together from encoded parts, answers are only counted.

use prost::bytes::{Buf, BufMut};
use prost::{decode_length_delimiter, encode_length_delimiter};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::support::load::Mode;
use crate::support::requests;

const AD_REQUEST_OF_CALL: u8 = 0x0A;
const AD_REQUEST_OF_STREAM: u8 = 0x12;
const SLOTS_OF_CALL: u8 = 0x0A;
const SLOTS_OF_STREAM: u8 = 0x12;
const SEQUENCE: u8 = 0x08;
const POSITION_OF_SLOT: u8 = 0x08;
const AD_OF_SLOT: u8 = 0x12;
const REASON_OF_SLOT: u8 = 0x18;

/// One request: whose turn it is, and in a stream its number.
pub(crate) struct Question {
    pub(crate) turn: u32,
    pub(crate) sequence: u64,
}

/// What is kept of an answer.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) bytes: u64,
    pub(crate) ads: u64,
    pub(crate) sequence: u64,
}

/// Bytes as the method of this mode has them.
#[derive(Clone, Copy)]
pub(crate) struct Raw(pub(crate) Mode);

impl Codec for Raw {
    type Encode = Question;
    type Decode = Answer;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Question;
    type Error = Status;

    fn encode(&mut self, question: Question, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let (viewer, template) = requests::at_turn(question.turn);
        match self.0 {
            Mode::Unary => out.put_u8(AD_REQUEST_OF_CALL),
            Mode::Stream => {
                out.put_u8(SEQUENCE);
                put_varint(question.sequence, out)?;
                out.put_u8(AD_REQUEST_OF_STREAM);
            }
        }
        put_varint(template.len() as u64, out)?;
        template.put(viewer, out);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Answer;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Answer>, Status> {
        let answer = count(self.0, bytes.chunk())?;
        bytes.advance(bytes.remaining());
        Ok(Some(answer))
    }
}

/// Counts the ads of an answer; anything but slots (a refusal, above all) is an error.
fn count(mode: Mode, mut rest: &[u8]) -> Result<Answer, Status> {
    let mut answer = Answer { bytes: rest.len() as u64, ..Answer::default() };
    while rest.has_remaining() {
        match (mode, rest.get_u8()) {
            (Mode::Unary, SLOTS_OF_CALL) | (Mode::Stream, SLOTS_OF_STREAM) => {
                let slot = message(&mut rest)?;
                answer.ads += u64::from(holds_ad(slot)?);
            }
            (Mode::Stream, SEQUENCE) => answer.sequence = varint(&mut rest)? as u64,
            (_, tag) => return Err(strange(&format!("tag {tag:#x} in the answer"))),
        }
    }
    Ok(answer)
}

fn holds_ad(mut slot: &[u8]) -> Result<bool, Status> {
    if slot.first() == Some(&POSITION_OF_SLOT) {
        slot.advance(1);
        varint(&mut slot)?;
    }
    match slot.first() {
        Some(&AD_OF_SLOT) => Ok(true),
        Some(&REASON_OF_SLOT) => Ok(false),
        tag => Err(strange(&format!("tag {tag:?} in a slot"))),
    }
}

fn message<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Status> {
    let length = varint(rest)?;
    let (message, after) = rest.split_at_checked(length).ok_or_else(|| strange("cut off"))?;
    *rest = after;
    Ok(message)
}

// Prost offers its varints to others under the name of what it uses them for.
fn put_varint(value: u64, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
    encode_length_delimiter(value as usize, out).map_err(|error| strange(&error.to_string()))
}

fn varint(rest: &mut &[u8]) -> Result<usize, Status> {
    decode_length_delimiter(rest).map_err(|error| strange(&error.to_string()))
}

fn strange(what: &str) -> Status {
    Status::data_loss(format!("the answer is not a filled tray: {what}"))
}
