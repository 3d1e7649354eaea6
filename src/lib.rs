#![doc = include_str!("README.md")]

pub mod guard;
pub mod journal;
pub mod node;
pub mod types;
