//! The commands. Each is one file: its arguments, and `run`.

pub mod audit;
pub mod fsck;
pub mod report;
