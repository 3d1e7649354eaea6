//! The gRPC door: parse, ask the node, answer. Nothing is decided here.
//!
//! A service is thin: the caller from the guard, the request through `parse`, one call of the node, the
//! answer. Every refusal becomes a status in one table, `errors`.

mod accept;
mod addresses;
mod admission;
mod connection;
mod encoded;
pub mod errors;
mod greeting;
pub mod limits;
mod meter;
mod parse;
mod server;
mod services;
pub mod tls;
pub mod traces;

pub use crate::listen::Running;
#[cfg(feature = "columns")]
pub use parse::tables::Ticket;
pub use server::{Patience, READY_SERVICE, ServerConfig, serve, serve_routes};
pub use services::Policies;
