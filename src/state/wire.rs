//! Serde forms of protobuf messages inside checkpoints: their own encoding, as bytes.

/// For one message: `#[serde(with = "crate::state::wire::message")]`.
pub(crate) mod message {
    use prost::Message;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<M: Message, S: Serializer>(
        message: &M,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&message.encode_to_vec())
    }

    pub(crate) fn deserialize<'de, M: Message + Default, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<M, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        M::decode(&bytes[..]).map_err(D::Error::custom)
    }
}

/// For a list of them: `#[serde(with = "crate::state::wire::messages")]`.
pub(crate) mod messages {
    use prost::Message;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<M: Message, S: Serializer>(
        messages: &[M],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let encoded: Vec<_> = messages.iter().map(Message::encode_to_vec).collect();
        encoded.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, M: Message + Default, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<M>, D::Error> {
        let encoded = Vec::<Vec<u8>>::deserialize(deserializer)?;
        encoded.iter().map(|bytes| M::decode(&bytes[..]).map_err(D::Error::custom)).collect()
    }
}

/// For packed showings: `#[serde(with = "crate::state::wire::views")]`. They are copied as they lie.
pub(in crate::state) mod views {
    use std::fmt;

    use serde::{Deserializer, Serializer, de::Error, de::Visitor};

    use crate::types::shown::Views;

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("packed showings")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }

    pub(in crate::state) fn serialize<S: Serializer>(
        views: &Views,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(views.bytes())
    }

    pub(in crate::state) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Views, D::Error> {
        let bytes = deserializer.deserialize_byte_buf(Bytes)?;
        Views::of_bytes(bytes).ok_or_else(|| D::Error::custom("no packed showings"))
    }
}
