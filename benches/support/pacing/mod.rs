//! A simulated day of one campaign, the rules that pace it, and a market of many campaigns.

pub(crate) mod bound;
pub(crate) mod cells;
pub(crate) mod cost;
pub(crate) mod data;
pub(crate) mod day;
pub(crate) mod market;
pub(crate) mod minute;
pub(crate) mod rules;
