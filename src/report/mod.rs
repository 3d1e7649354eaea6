//! Questions over the state: report rows, pages of the attribution stream, balances, transfers, invoices.

#[cfg(feature = "columns")]
pub mod columnar;
mod columns;
pub mod fold;
pub mod invoices;
#[cfg(feature = "columns")]
pub mod last_touch;
pub mod lift;
pub mod metrics;
pub mod models;
pub mod noise;
pub mod outbound;
pub mod pull;
pub mod query;
pub mod reconcile;
pub mod rows;
pub mod settled;
pub mod subjects;
pub mod transfers;
