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

/// For rows by number: `#[serde(with = "crate::state::wire::rows")]`.
pub(in crate::state) mod rows {
    use std::sync::Arc;

    use prost::Message;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(in crate::state) fn serialize<M: Message, S: Serializer>(
        rows: &[Option<Arc<M>>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let encoded = rows.iter().map(|row| row.as_ref().map(|row| row.encode_to_vec()));
        encoded.collect::<Vec<_>>().serialize(serializer)
    }

    pub(in crate::state) fn deserialize<'de, M: Message + Default, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Option<Arc<M>>>, D::Error> {
        let encoded = Vec::<Option<Vec<u8>>>::deserialize(deserializer)?;
        let decode = |bytes: Vec<u8>| M::decode(&bytes[..]).map(Arc::new).map_err(D::Error::custom);
        encoded.into_iter().map(|row| row.map(decode).transpose()).collect()
    }
}
