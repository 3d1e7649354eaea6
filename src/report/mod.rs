//! Questions over the state: rows of reports and of the attribution stream. Pure.

pub mod pull;
pub mod query;
