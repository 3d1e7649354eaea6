//! The HTTP door: what webhooks become, what is refused, and that no text of a person is kept anywhere.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop there")]

mod bodies;
mod content;
mod followed;
mod full;
mod fuzz;
mod histories;
mod http;
mod most;
mod order;
mod published;
mod refused;
mod shed;
mod stage;
mod taken;
mod watching;
