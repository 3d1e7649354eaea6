#![doc = include_str!("README.md")]

pub mod channels;
pub mod decide;
pub mod journal;
pub mod node;
pub mod report;
pub mod state;
pub mod tokens;
pub mod types;
