//! The `munadi` binary over a long time and on a bad day: hours of load, peers that mean harm, a stop under load, a
//! clock that jumps, a disk that must be asked to keep what is acknowledged.
//!
//! Long forms, each of a release build and with `-- --nocapture`; the last line of each is JSON:
//! `SOAK_SECONDS=1800 cargo test --release --test steady soak` (memory, open files and p99 of half an hour; the slope
//! of memory is checked from there on), `PEERS=500 … hostile` (so many peers that mean harm), `DRAIN_STUCK=1 … stop`
//! (a client that never answers holds the stop up until its deadline).
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop there")]

mod calls;
mod clock;
mod figures;
mod hostile;
mod journal;
mod peers;
#[path = "../support/process.rs"]
mod process;
mod server;
mod shim;
#[path = "../support/shop.rs"]
mod shop;
mod shops;
mod soak;
mod stop;
mod syncs;

/// Returns a number that the environment gives.
fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}
