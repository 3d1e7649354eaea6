//! What happened: durable, ordered, checksummed, sharded. The trait every backend implements.

use crate::types::ids::{BatchNo, JournalId, Seq, SeqVector, Shard};
