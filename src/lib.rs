#![doc = include_str!("README.md")]

pub mod channels;
pub mod journal;
pub mod node;
pub mod tokens;
pub mod types;
