//! Cells of batches by the names of their columns, as the interface's own values.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int16Type, Int64Type, TimestampMillisecondType, UInt64Type};
use arrow_array::{Array, RecordBatch, StringArray};
use munadi::types::proto::v1;

/// A row of a batch, read by the names of its columns.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a>(&'a RecordBatch, usize);

/// Returns the rows of batches in their order.
pub(crate) fn rows(batches: &[RecordBatch]) -> impl Iterator<Item = Row<'_>> {
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| Row(batch, row)))
}

impl<'a> Row<'a> {
    fn column(self, name: &str) -> &'a dyn Array {
        self.0.column_by_name(name).unwrap_or_else(|| panic!("no column {name}")).as_ref()
    }

    pub(crate) fn number(self, name: &str) -> u64 {
        self.column(name).as_primitive::<UInt64Type>().value(self.1)
    }

    pub(crate) fn optional(self, name: &str) -> Option<u64> {
        self.column(name).is_valid(self.1).then(|| self.number(name))
    }

    pub(crate) fn micros(self, name: &str) -> Option<i64> {
        let column = self.column(name).as_primitive::<Int64Type>();
        column.is_valid(self.1).then(|| column.value(self.1))
    }

    pub(crate) fn time(self, name: &str) -> Option<prost_types::Timestamp> {
        let column = self.column(name).as_primitive::<TimestampMillisecondType>();
        let ms = column.is_valid(self.1).then(|| column.value(self.1))?;
        let nanos = (ms.rem_euclid(1_000) * 1_000_000) as i32;
        Some(prost_types::Timestamp { seconds: ms.div_euclid(1_000), nanos })
    }

    pub(crate) fn text(self, name: &str) -> String {
        self.column(name).as_string::<i32>().value(self.1).to_owned()
    }

    pub(crate) fn flag(self, name: &str) -> bool {
        self.column(name).as_boolean().value(self.1)
    }

    /// Returns an enum's name as the interface has it: empty for null.
    pub(crate) fn name(self, name: &str, prefix: &str) -> String {
        let column = self.column(name).as_dictionary::<Int8Type>();
        let names: &StringArray = column.values().as_string();
        match column.key(self.1) {
            Some(key) => format!("{prefix}{}", names.value(key)),
            None => format!("{prefix}UNSPECIFIED"),
        }
    }

    pub(crate) fn currency(self, name: &str) -> String {
        let column = self.column(name).as_dictionary::<Int16Type>();
        let names: &StringArray = column.values().as_string();
        column.key(self.1).map_or(String::new(), |key| names.value(key).to_owned())
    }

    pub(crate) fn attribution(self) -> v1::AttributionRow {
        let value = self.micros("value_micros");
        let value = value.map(|micros| v1::Money { micros, currency: self.currency("currency") });
        let name = |column, prefix| self.name(column, prefix);
        let kind = name("outcome", "OUTCOME_");
        let matched = name("match_kind", "MATCH_KIND_");
        let declined = name("decline_reason", "DECLINE_REASON_");
        let invalid = name("invalid", "INVALID_REASON_");
        let confidence = name("match_confidence", "MATCH_CONFIDENCE_");
        let touch = name("touch_kind", "TOUCH_KIND_");
        let cause = name("revision_cause", "REVISION_CAUSE_");
        v1::AttributionRow {
            outcome_id: self.number("outcome_id"),
            revision: self.number("revision") as u32,
            outcome: v1::Outcome::from_str_name(&kind).unwrap().into(),
            account_id: self.number("account_id"),
            campaign_id: self.number("campaign_id"),
            ad_set_id: self.number("ad_set_id"),
            ad_id: self.number("ad_id"),
            conversation_id: self.number("conversation_id"),
            event_id: self.text("event_id"),
            name: self.text("name"),
            value,
            event_time: self.time("event_time"),
            touch_time: self.time("touch_time"),
            match_kind: v1::MatchKind::from_str_name(&matched).unwrap().into(),
            decline_reason: v1::DeclineReason::from_str_name(&declined).unwrap().into(),
            charged_micros: self.micros("charged_micros").unwrap(),
            journal_minute: self.time("journal_minute"),
            invalid: v1::InvalidReason::from_str_name(&invalid).unwrap().into(),
            match_confidence: v1::MatchConfidence::from_str_name(&confidence).unwrap().into(),
            touch_kind: v1::TouchKind::from_str_name(&touch).unwrap().into(),
            revision_cause: v1::RevisionCause::from_str_name(&cause).unwrap().into(),
            withdrawn: self.flag("withdrawn"),
            imported: self.flag("imported"),
            ..Default::default()
        }
    }
}
