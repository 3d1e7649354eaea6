#![doc = include_str!("README.md")]

pub mod journal;
pub mod node;
pub mod town;
pub mod types;
