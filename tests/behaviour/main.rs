//! What the engine promises, shown through its doors.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop there")]

mod admin;
mod asking;
mod attribution;
mod audience;
mod beyond;
mod billing;
mod budgets;
mod campaigns;
mod caps;
mod content;
mod conversations;
mod crowd;
mod desk;
mod doors;
mod exchange;
mod explain;
mod forecast;
mod goals;
mod h2;
mod invalid;
mod limits;
mod lists;
mod matching;
mod pacing;
mod rates;
mod refusals;
mod reports;
mod restart;
mod reviews;
mod serving;
mod stage;
mod streams;
mod town;
mod windows;
mod wire;
