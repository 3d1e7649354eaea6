//! The webhook bench's own parts: both servers, the posts and their load.

pub(crate) mod load;
pub(crate) mod server;
