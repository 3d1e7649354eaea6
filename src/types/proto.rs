//! The generated messages and services: `v1` on the wire, `journal` on disk.
#![allow(missing_docs, unreachable_pub, reason = "generated; documented in proto/")]
#![allow(clippy::all, clippy::unwrap_used, reason = "generated")]

/// The public interface, package `munadi.v1`.
pub mod v1 {
    tonic::include_proto!("munadi.v1");
}

/// What is on disk, package `munadi.journal.v1`.
pub mod journal {
    pub mod v1 {
        tonic::include_proto!("munadi.journal.v1");
    }
}

/// The compiled descriptors of both packages, for reflection and the JSON form.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
