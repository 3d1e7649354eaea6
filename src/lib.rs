#![doc = include_str!("README.md")]

pub mod channels;
pub mod cli;
pub mod decide;
pub mod guard;
pub mod journal;
pub mod listen;
pub mod node;
pub mod report;
pub mod rpc;
pub mod state;
pub mod tokens;
pub mod town;
pub mod types;
pub mod web;
