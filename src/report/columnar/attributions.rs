//! The table `attributions`: one row for each outcome and revision, straight from the state's credits.

use crate::report::columnar::{Column, Take, name};
use crate::state::credit::Credit;
use crate::types::proto::v1::{
    DeclineReason, InvalidReason, MatchConfidence, MatchKind, Outcome, RevisionCause, TouchKind,
};

/// Its columns: the fields of `AttributionRow` but for the path.
pub const COLUMNS: &[Column<Credit>] = &[
    ("outcome_id", Take::Number(|credit| credit.row.outcome_id)),
    ("revision", Take::Number(|credit| credit.row.revision.into())),
    ("outcome", name!(|credit: &Credit| credit.row.outcome, Outcome, "OUTCOME_")),
    ("account_id", Take::Number(|credit| credit.row.account_id)),
    ("campaign_id", Take::Number(|credit| credit.row.campaign_id)),
    ("ad_set_id", Take::Number(|credit| credit.row.ad_set_id)),
    ("ad_id", Take::Number(|credit| credit.row.ad_id)),
    ("conversation_id", Take::Number(|credit| credit.row.conversation_id)),
    ("event_id", Take::Text(|credit| &credit.row.event_id)),
    ("name", Take::Text(|credit| &credit.row.name)),
    ("value_micros", Take::Micros(|credit| Some(credit.row.value.as_ref()?.micros))),
    ("currency", Take::Currency(currency)),
    ("event_time", Take::Time(|credit| credit.row.event_time.as_ref())),
    ("touch_time", Take::Time(|credit| credit.row.touch_time.as_ref())),
    ("match_kind", name!(|credit: &Credit| credit.row.match_kind, MatchKind, "MATCH_KIND_")),
    (
        "decline_reason",
        name!(|credit: &Credit| credit.row.decline_reason, DeclineReason, "DECLINE_REASON_"),
    ),
    ("charged_micros", Take::Micros(|credit| Some(credit.row.charged_micros))),
    ("journal_minute", Take::Time(|credit| credit.row.journal_minute.as_ref())),
    ("invalid", name!(|credit: &Credit| credit.row.invalid, InvalidReason, "INVALID_REASON_")),
    (
        "match_confidence",
        name!(|credit: &Credit| credit.row.match_confidence, MatchConfidence, "MATCH_CONFIDENCE_"),
    ),
    ("touch_kind", name!(|credit: &Credit| credit.row.touch_kind, TouchKind, "TOUCH_KIND_")),
    (
        "revision_cause",
        name!(|credit: &Credit| credit.row.revision_cause, RevisionCause, "REVISION_CAUSE_"),
    ),
    ("withdrawn", Take::Flag(|credit| credit.row.withdrawn)),
    ("imported", Take::Flag(|credit| credit.row.imported)),
];

fn currency(credit: &Credit) -> &str {
    credit.row.value.as_ref().map_or("", |value| &value.currency)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int8Type, Int64Type, TimestampMillisecondType, UInt64Type};

    use super::*;
    use crate::report::columnar::{Filling, Table};
    use crate::state::credit::{Shown, timestamp};
    use crate::types::proto::v1::{AttributionRow, Money};

    fn credit(outcome_id: u64, row: AttributionRow) -> Credit {
        let row = AttributionRow { outcome_id, revision: 1, ..row };
        let (path, shown) = (Vec::new(), Shown::default());
        Credit { seq: outcome_id, at_ms: 0, click: 0, row, path, judged_ms: 0, shown }
    }

    #[test]
    fn a_row_reads_in_columns_as_it_does_in_the_interface() {
        let sale = AttributionRow {
            outcome: Outcome::Conversion.into(),
            ad_id: u64::MAX,
            event_id: "order 1".into(),
            value: Some(Money { micros: -7, currency: "MXN".into() }),
            event_time: Some(timestamp(1_700_000_000_123)),
            ..AttributionRow::default()
        };
        let declined = DeclineReason::NoTouch.into();
        let other = AttributionRow { decline_reason: declined, ..AttributionRow::default() };
        let mut filling = Filling::new(Arc::new(Table::Attributions.schema()), COLUMNS, 2);
        filling.push(&credit(1, sale));
        filling.push(&credit(2, other));
        let batch = filling.finish().unwrap().unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap();
        assert_eq!(column("ad_id").as_primitive::<UInt64Type>().values(), &[u64::MAX, 0]);
        assert_eq!(column("value_micros").as_primitive::<Int64Type>().value(0), -7);
        assert!(column("value_micros").is_null(1) && column("currency").is_null(1));
        let times = column("event_time").as_primitive::<TimestampMillisecondType>();
        assert_eq!((times.value(0), times.is_null(1)), (1_700_000_000_123, true));
        let reasons = column("decline_reason").as_dictionary::<Int8Type>();
        let reasons = reasons.downcast_dict::<arrow_array::StringArray>().unwrap();
        let told: Vec<_> = reasons.into_iter().collect();
        assert_eq!(told, [None, Some("NO_TOUCH")]);
    }
}
