//! The only floor with clock, dice and threads: one writer, readers that never wait for the disk.

mod checkpoint;
pub mod clock;
mod counts;
pub mod dice;
mod files;
mod front;
mod indexer;
mod live;
mod queue;
mod recover;
mod running;
mod seal;
mod serve;
pub mod writer;

pub use files::Files;
pub use front::{Front, PULL_ROWS_MAX};
pub use queue::QUEUE_MAX;
pub use recover::{OpenError, Opened, fold, open};
pub use running::{Node, NodeOptions, Pending, StartError};
pub use serve::Answer;
