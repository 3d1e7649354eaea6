//! Serde forms of protobuf messages inside checkpoints: their own encoding, as bytes.

/// For one message: `#[serde(with = "crate::state::wire::message")]`.
pub(in crate::state) mod message {
    use prost::Message;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::state) fn serialize<M: Message, S: Serializer>(
        message: &M,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&message.encode_to_vec())
    }

    pub(in crate::state) fn deserialize<'de, M: Message + Default, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<M, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        M::decode(&bytes[..]).map_err(D::Error::custom)
    }
}
