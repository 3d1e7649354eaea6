//! What the engine promises, shown through its doors.
#![allow(clippy::unwrap_used, reason = "a test that can't go on should stop there")]

mod admin;
mod asking;
mod attribution;
mod audience;
mod audited;
mod beyond;
mod billing;
mod breakdowns;
mod budgets;
mod campaigns;
mod caps;
#[cfg(feature = "columns")]
mod columns;
mod content;
mod conversations;
mod cost_caps;
mod courier;
mod crowd;
mod desk;
mod doors;
mod exchange;
mod explain;
#[cfg(feature = "columns")]
mod export;
mod forecast;
mod funnel;
mod goals;
mod h2;
#[cfg(feature = "columns")]
mod history;
mod import;
mod invalid;
mod lift;
mod limits;
mod links;
mod lists;
mod market;
mod matching;
mod message_costs;
mod models;
mod noise;
mod openings;
mod outbound;
mod pacing;
mod paths;
mod pushed;
mod rates;
mod reconcile;
mod redirect;
mod refusals;
mod reports;
mod restart;
mod reviews;
mod revisions;
mod sandbox;
mod serving;
mod shared_lines;
mod stage;
mod streams;
mod tariff;
mod town;
mod town_forecast;
mod watching;
mod windows;
mod wire;
