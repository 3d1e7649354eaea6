//! The table `transfers`: what stands in the ledger of an account.

use crate::report::columnar::{Column, Take, name};
use crate::types::proto::v1::{LedgerAccount, Transfer, TransferKind};

/// One transfer.
#[derive(Clone, Debug, PartialEq)]
pub struct TransferRow {
    /// Whose.
    pub account_id: u64,
    /// What moved.
    pub transfer: Transfer,
}

type Row = TransferRow;

/// Its columns: the fields of `Transfer`.
pub const COLUMNS: &[Column<Row>] = &[
    ("account_id", Take::Number(|row| row.account_id)),
    ("transfer_id", Take::Text(|row| &row.transfer.id)),
    ("kind", name!(|row: &Row| row.transfer.kind, TransferKind, "TRANSFER_KIND_")),
    ("debit", name!(|row: &Row| row.transfer.debit, LedgerAccount, "LEDGER_ACCOUNT_")),
    ("credit", name!(|row: &Row| row.transfer.credit, LedgerAccount, "LEDGER_ACCOUNT_")),
    ("amount_micros", Take::Micros(|row| Some(row.transfer.amount.as_ref()?.micros))),
    ("currency", Take::Currency(currency)),
    ("time", Take::Time(|row| row.transfer.time.as_ref())),
    ("reason", Take::Text(|row| &row.transfer.reason)),
    ("events", Take::Number(|row| row.transfer.events)),
    ("closed", Take::Flag(|row| row.transfer.closed)),
];

fn currency(row: &Row) -> &str {
    row.transfer.amount.as_ref().map_or("", |amount| &amount.currency)
}
