//! What each attribution model gives an ad under each window, in one hour.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Parts of outcomes that one ad earned, by `AttributionModel` and `AttributionWindow` (their numbers).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Credits {
    /// A pair without an entry earned nothing.
    pub cells: BTreeMap<(u8, u8), CreditCell>,
}

/// What one model gives under one window. Counts are micro-credits: 1,000,000 of one outcome.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct CreditCell {
    /// Of conversations.
    pub conversations: u64,
    /// Of first answers.
    pub first_replies: u64,
    /// Of qualified conversations.
    pub qualified: u64,
    /// Of conversions.
    pub conversions: u64,
    /// Of the conversions' values, by currency, micros.
    pub values: BTreeMap<String, i64>,
}
