//! What the engine promises, shown through its doors.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop there")]

mod desk;
mod doors;
mod h2;
mod streams;
mod wire;
