//! The HTTP door: webhooks of the chat platforms, and links that forward to a chat.
//!
//! A handler is thin: who sent it, what it says, one call of the node, the answer. Which path leads where
//! stands in `routes`.

mod answer;
mod apps;
mod body;
pub mod limits;
mod redirect;
mod routes;
mod server;
mod signature;
mod status;
mod taps;
mod turn;
mod webhooks;

pub use answer::Answer;
pub use apps::{App, AppKind, Apps, BadApp, BadUrl, check_public_url};
pub use server::{Patience, WebConfig, serve, serve_handler};
pub use status::serve_status;
