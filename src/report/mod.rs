//! Questions over the state: report rows, pages of the attribution stream, balances, transfers, invoices.

mod columns;
pub mod invoices;
pub mod models;
pub mod outbound;
pub mod pull;
pub mod query;
pub mod transfers;
