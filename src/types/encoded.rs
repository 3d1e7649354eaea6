//! Encoded messages, field by field: read where they lie, and written without being built first.
//!
//! What is written is what `prost` writes of the same message: fields ascending, defaults left out.

use prost::bytes::BufMut;
use prost::encoding::{
    WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint,
};

/// The value of a field as it is encoded. Numbers of fixed width are passed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Value<'a> {
    /// A number, flag or enum.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
}

/// The fields of an encoded message in their order, by number. Ends where the encoding is broken.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (number, wire) = decode_key(&mut self.0).ok()?;
            let skipped = match wire {
                WireType::Varint => {
                    return Some((number, Value::Number(decode_varint(&mut self.0).ok()?)));
                }
                WireType::LengthDelimited => {
                    let length = decode_varint(&mut self.0).ok()?;
                    return Some((number, Value::Bytes(self.cut(length)?)));
                }
                WireType::SixtyFourBit => size_of::<u64>(),
                WireType::ThirtyTwoBit => size_of::<u32>(),
                WireType::StartGroup | WireType::EndGroup => return None,
            };
            self.cut(skipped as u64)?;
        }
    }
}

impl<'a> Fields<'a> {
    fn cut(&mut self, length: u64) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(field)
    }

    /// Returns a text, bytes or message: the last one under this number, as decoding has it.
    pub fn bytes(self, number: u32) -> Option<&'a [u8]> {
        let of_number = self.filter_map(|(found, value)| match value {
            Value::Bytes(bytes) if found == number => Some(bytes),
            Value::Bytes(_) | Value::Number(_) => None,
        });
        of_number.last()
    }

    /// Returns a text; empty: there is none.
    pub fn text(self, number: u32) -> &'a str {
        text(self.bytes(number).unwrap_or_default())
    }
}

/// Returns the text of a field. What is no UTF-8 was refused when the row came in.
pub fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}

/// Writes a number, flag or enum, also a zero: for members of a `oneof`.
pub fn put_number_always(out: &mut Vec<u8>, number: u32, value: u64) {
    encode_key(number, WireType::Varint, out);
    encode_varint(value, out);
}

/// Writes a number, flag or enum; zero is left out.
pub fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_number_always(out, number, value);
    }
}

/// Writes an encoded message, also an empty one.
pub fn put_message(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.put_slice(bytes);
}

/// Writes a text or bytes; an empty one is left out.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_message(out, number, bytes);
    }
}

/// Writes a message that is written in place. Its length is put before it when it is known, which costs less
/// than computing it first.
pub fn put_nested(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    encode_key(number, WireType::LengthDelimited, out);
    let start = out.len();
    write(out);
    let length = out.len() - start;
    let width = encoded_len_varint(length as u64);
    out.resize(start + width + length, 0);
    out.copy_within(start..start + length, start + width);
    encode_varint(length as u64, &mut &mut out[start..start + width]);
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::Timestamp;

    use super::*;
    use crate::types::proto::v1::{Creative, PlacedAd, Slot, WhyThisAd, slot::Filling};

    #[test]
    fn what_is_written_in_place_is_what_prost_writes() {
        for length in [0, 1, 100, 125, 126, 127, 128, 129, 16_000, 16_384, 20_000] {
            let why = WhyThisAd { advertiser: "a".repeat(length), ..Default::default() };
            let ad = PlacedAd { ad_id: 7, why_this_ad: Some(why), ..Default::default() };
            let slot = Slot { position: 0, filling: Some(Filling::Ad(ad)), ..Slot::default() };
            let mut out = Vec::new();
            put_number(&mut out, 1, 0);
            put_nested(&mut out, 2, |out| {
                put_number(out, 1, 7);
                put_nested(out, 7, |out| put_bytes(out, 1, "a".repeat(length).as_bytes()));
            });
            assert_eq!(out, slot.encode_to_vec(), "{length}");
        }
    }

    #[test]
    fn fields_are_found_where_they_lie() {
        let creative = Some(Creative { headline: "text".into(), ..Default::default() });
        let show_by = Some(Timestamp { seconds: 300, nanos: 0 });
        let ad = PlacedAd { ad_id: 1 << 63, creative, show_by, ..Default::default() };
        let bytes = ad.encode_to_vec();
        let fields = Fields(&bytes);
        assert_eq!(Fields(&bytes).next(), Some((1, Value::Number(1 << 63))));
        assert_eq!(Fields(fields.bytes(2).unwrap()).text(2), "text");
        assert_eq!((fields.bytes(3), fields.text(3)), (None, ""));
        // Fixed numbers of 4 and 8 bytes, then a number.
        let fixed = [0x0D, 1, 2, 3, 4, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x18, 9];
        assert_eq!(Fields(&fixed).collect::<Vec<_>>(), [(3, Value::Number(9))]);
    }

    #[test]
    fn a_broken_encoding_ends() {
        let bytes = PlacedAd { chat_link: "link".into(), ..Default::default() }.encode_to_vec();
        for end in 1..bytes.len() {
            assert_eq!(Fields(&bytes[..end]).next(), None, "{end}");
        }
        assert_eq!(Fields(&[0x0B, 0x0C]).next(), None, "groups");
    }
}
