//! The table `touches`: one row for each touch on the path to an outcome, with what each rule model gives it.

use crate::report::columnar::{Column, Take, name};
use crate::report::pull::touch_credits;
use crate::state::credit::Credit;
use crate::types::proto::v1::{Outcome, TouchCredit, TouchKind};

/// One touch of an outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct TouchRow {
    outcome_id: u64,
    revision: u32,
    outcome: i32,
    account_id: u64,
    position: u64,
    touch: TouchCredit,
    journal_minute: Option<prost_types::Timestamp>,
}

impl TouchRow {
    /// Returns the rows of a credit, the oldest touch first.
    pub fn of(credit: &Credit) -> impl Iterator<Item = Self> {
        let row = &credit.row;
        let touches = touch_credits(&credit.path, credit.judged_ms).into_iter();
        touches.zip(1..).map(|(touch, position)| Self {
            outcome_id: row.outcome_id,
            revision: row.revision,
            outcome: row.outcome,
            account_id: row.account_id,
            position,
            touch,
            journal_minute: row.journal_minute,
        })
    }

    fn credit(&self, model: usize) -> u64 {
        self.touch.credit_micros.get(model).copied().unwrap_or_default().into()
    }
}

/// Its columns. Credits are micro-credits in the ad sets' own windows; those of an outcome sum to 1,000,000, or
/// to nothing.
pub const COLUMNS: &[Column<TouchRow>] = &[
    ("outcome_id", Take::Number(|row| row.outcome_id)),
    ("revision", Take::Number(|row| row.revision.into())),
    ("outcome", name!(|row: &TouchRow| row.outcome, Outcome, "OUTCOME_")),
    ("account_id", Take::Number(|row| row.account_id)),
    ("position", Take::Number(|row| row.position)),
    ("campaign_id", Take::Number(|row| row.touch.campaign_id)),
    ("ad_set_id", Take::Number(|row| row.touch.ad_set_id)),
    ("ad_id", Take::Number(|row| row.touch.ad_id)),
    ("kind", name!(|row: &TouchRow| row.touch.kind, TouchKind, "TOUCH_KIND_")),
    ("time", Take::Time(|row| row.touch.time.as_ref())),
    ("last_touch_credit_micros", Take::Number(|row| row.credit(0))),
    ("first_touch_credit_micros", Take::Number(|row| row.credit(1))),
    ("last_click_credit_micros", Take::Number(|row| row.credit(2))),
    ("linear_credit_micros", Take::Number(|row| row.credit(3))),
    ("time_decay_credit_micros", Take::Number(|row| row.credit(4))),
    ("position_based_credit_micros", Take::Number(|row| row.credit(5))),
    ("journal_minute", Take::Time(|row| row.journal_minute.as_ref())),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::attribution::RULE_MODELS;

    #[test]
    fn each_rule_model_has_its_column_in_order() {
        let named = |model: &crate::types::proto::v1::AttributionModel| {
            let name = model.as_str_name().trim_start_matches("ATTRIBUTION_MODEL_");
            format!("{}_credit_micros", name.to_lowercase())
        };
        let wanted: Vec<_> = RULE_MODELS.iter().map(named).collect();
        let columns = COLUMNS.iter().map(|(name, _)| *name);
        let found: Vec<_> = columns.filter(|name| name.ends_with("_credit_micros")).collect();
        assert_eq!(found, wanted);
    }
}
