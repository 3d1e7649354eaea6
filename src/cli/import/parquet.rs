//! Histories in Parquet: columns of the same names as the keys of JSON.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};

use crate::cli::import::at;
use crate::cli::import::batches::{Cutter, Place};
use crate::cli::import::row::{Field, KEYS, Row};

/// Columns without which no row is an event. `account_id` may be told by the command instead.
const REQUIRED: [&str; 5] = ["type", "event_id", "event_time", "viewer", "account_id"];

/// Rows that are decoded at a time.
const ROWS: usize = 8_192;

/// What a column must hold.
#[derive(Clone, Copy)]
enum Wanted {
    Text,
    Time,
    Id,
    Amount,
}

impl Wanted {
    fn of(name: &str) -> Self {
        match name {
            "event_time" => Self::Time,
            "account_id" | "ad_id" => Self::Id,
            "value_micros" => Self::Amount,
            _ => Self::Text,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text (UTF8)",
            Self::Time => "a timestamp in UTC, such as timestamp[us, tz=UTC]",
            Self::Id => "UINT64, INT64 or text (UTF8)",
            Self::Amount => "INT64",
        }
    }

    fn fits(self, told: &DataType) -> bool {
        let text = matches!(told, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        match self {
            Self::Text => text,
            Self::Time => matches!(told, DataType::Timestamp(..)),
            Self::Id => text || matches!(told, DataType::UInt64 | DataType::Int64),
            Self::Amount => matches!(told, DataType::Int64),
        }
    }
}

/// Checks the columns of a file.
pub(super) fn check(file: &Path, opened: File, has_account: bool) -> io::Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(opened);
    let builder = builder.map_err(|error| at(file, &invalid(format!("is no Parquet: {error}"))))?;
    match fault(builder.schema(), has_account) {
        None => Ok(()),
        Some(fault) => Err(at(file, &invalid(fault))),
    }
}

/// Returns what is wrong with the columns; `None`: nothing is.
fn fault(schema: &Schema, has_account: bool) -> Option<String> {
    let told = |name: &str| schema.fields().iter().any(|column| column.name() == name);
    let required = REQUIRED.iter().filter(|name| !(has_account && **name == "account_id"));
    let missing = required
        .filter(|name| !told(name))
        .map(|name| format!("column {name} is missing: it must be {}", Wanted::of(name).name()));
    let wrong = schema.fields().iter().filter_map(|column| {
        let (name, kind) = (column.name(), column.data_type());
        if !KEYS.contains(&&**name) {
            let keys = KEYS.join(", ");
            return Some(format!("column {name} is none of {keys}: leave it out"));
        }
        let wanted = Wanted::of(name);
        let message = || format!("column {name} is {kind}: it must be {}", wanted.name());
        (!wanted.fits(kind)).then(message)
    });
    missing.chain(wrong).next()
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

/// Takes each row of a file whose columns were checked.
pub(super) fn read(cutter: &mut Cutter<'_>, file: usize, opened: File) -> io::Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(opened).map_err(io::Error::other)?;
    let reader = builder.with_batch_size(ROWS).build().map_err(io::Error::other)?;
    let mut line = 0;
    for batch in reader {
        let batch = batch.map_err(io::Error::other)?;
        let columns = columns(&batch);
        for index in 0..batch.num_rows() {
            line += 1;
            let fields = || {
                columns.each_ref().map(|column| {
                    column.as_ref().map_or(Field::Nothing, |column| column.field(index))
                })
            };
            let row = Row::of_fields(fields());
            if !cutter.take(Place { file, line }, Ok(row), || raw(fields())) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// One column of a batch.
struct Column<'a> {
    array: &'a dyn Array,
    values: Values<'a>,
}

enum Values<'a> {
    Text(&'a arrow_array::StringArray),
    LargeText(&'a arrow_array::LargeStringArray),
    TextView(&'a arrow_array::StringViewArray),
    Unsigned(&'a [u64]),
    Signed(&'a [i64]),
    /// Units since the epoch, and how many a second has.
    Time(&'a [i64], i64),
}

fn columns(batch: &RecordBatch) -> [Option<Column<'_>>; KEYS.len()] {
    KEYS.map(|name| {
        let array = &**batch.column_by_name(name)?;
        Some(Column { array, values: values(array)? })
    })
}

fn values(array: &dyn Array) -> Option<Values<'_>> {
    Some(match array.data_type() {
        DataType::Utf8 => Values::Text(array.as_string_opt()?),
        DataType::LargeUtf8 => Values::LargeText(array.as_string_opt()?),
        DataType::Utf8View => Values::TextView(array.as_string_view_opt()?),
        DataType::UInt64 => Values::Unsigned(array.as_primitive_opt::<UInt64Type>()?.values()),
        DataType::Int64 => Values::Signed(array.as_primitive_opt::<Int64Type>()?.values()),
        DataType::Timestamp(TimeUnit::Second, _) => {
            Values::Time(array.as_primitive_opt::<TimestampSecondType>()?.values(), 1)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Values::Time(array.as_primitive_opt::<TimestampMillisecondType>()?.values(), 1_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Values::Time(array.as_primitive_opt::<TimestampMicrosecondType>()?.values(), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Values::Time(
            array.as_primitive_opt::<TimestampNanosecondType>()?.values(),
            1_000_000_000,
        ),
        _ => return None,
    })
}

impl<'a> Column<'a> {
    fn field(&self, row: usize) -> Field<'a> {
        if self.array.is_null(row) {
            return Field::Nothing;
        }
        match self.values {
            Values::Text(texts) => Field::Text(Cow::Borrowed(texts.value(row))),
            Values::LargeText(texts) => Field::Text(Cow::Borrowed(texts.value(row))),
            Values::TextView(texts) => Field::Text(Cow::Borrowed(texts.value(row))),
            Values::Unsigned(numbers) => Field::Unsigned(numbers[row]),
            Values::Signed(numbers) => Field::Signed(numbers[row]),
            Values::Time(units, per_second) => {
                let (seconds, rest) =
                    (units[row].div_euclid(per_second), units[row].rem_euclid(per_second));
                let nanos = (rest * (1_000_000_000 / per_second)) as i32;
                Field::Time(prost_types::Timestamp { seconds, nanos })
            }
        }
    }
}

/// Returns a row for the side file.
fn raw(fields: [Field<'_>; KEYS.len()]) -> Map<String, Value> {
    let value = |field| match field {
        Field::Nothing | Field::Other => None,
        Field::Text(text) => Some(Value::from(text.into_owned())),
        Field::Unsigned(number) => Some(Value::from(number.to_string())),
        Field::Signed(number) => Some(Value::from(number.to_string())),
        Field::Time(at) => {
            jiff::Timestamp::new(at.seconds, at.nanos).ok().map(|at| Value::from(at.to_string()))
        }
    };
    let told = KEYS.into_iter().zip(fields);
    told.filter_map(|(key, field)| Some((key.to_owned(), value(field)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, Int64Array, StringArray, StringViewArray, TimestampMicrosecondArray, UInt64Array,
    };
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::cli::import::STAGES;
    use crate::cli::import::batches::{Batch, read as read_files};

    fn texts(texts: [Option<&str>; 2]) -> ArrayRef {
        Arc::new(StringArray::from(texts.to_vec()))
    }

    /// Returns the columns of a tap and of a conversion.
    fn two() -> Vec<(&'static str, ArrayRef)> {
        let times = TimestampMicrosecondArray::from(vec![1_795_435_200_250_000, -1]);
        let views = StringViewArray::from(vec![Some("ana"), Some("ben")]);
        vec![
            ("type", texts([Some("tap"), Some("conversion")])),
            ("event_id", texts([Some("t-1"), Some("c-1")])),
            ("event_time", Arc::new(times.with_timezone("UTC"))),
            ("viewer", Arc::new(views)),
            ("account_id", Arc::new(UInt64Array::from(vec![u64::MAX, 7]))),
            ("ad_id", Arc::new(Int64Array::from(vec![Some(9), None]))),
            ("name", texts([None, Some("Purchase")])),
            ("value_micros", Arc::new(Int64Array::from(vec![None, Some(5)]))),
            ("currency", texts([None, Some("MXN")])),
        ]
    }

    fn written(columns: Vec<(&str, ArrayRef)>) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".parquet").tempfile().unwrap();
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let to = file.reopen().unwrap();
        let mut writer = ArrowWriter::try_new(to, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    }

    fn checked(columns: Vec<(&str, ArrayRef)>, has_account: bool) -> Result<(), String> {
        let file = written(columns);
        let checked = check(Path::new("history.parquet"), file.reopen().unwrap(), has_account);
        checked.map_err(|error| error.to_string())
    }

    #[test]
    fn rows_of_columns_are_events() {
        let file = written(two());
        check(file.path(), file.reopen().unwrap(), false).unwrap();
        let mut batches = Vec::new();
        let mut put = |batch: Batch| {
            batches.push(batch);
            true
        };
        read_files(&[file.path().to_owned()], 0, STAGES, &mut put).unwrap();
        let events: Vec<_> = batches.iter().flat_map(|batch| &batch.events).collect();
        let time = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
        assert_eq!(events.len(), 2);
        assert_eq!((&*events[0].event_id, &*events[0].viewer), ("t-1", "ana"));
        assert_eq!(events[0].event_time, time(1_795_435_200, 250_000_000));
        assert_eq!((events[0].account_id, events[0].ad_id), (u64::MAX, 9));
        assert_eq!(events[1].event_time, time(-1, 999_999_000));
        assert_eq!((events[1].value_micros, &*events[1].currency), (Some(5), "MXN"));
        assert_eq!(batches[1].places[0], Place { file: 0, line: 2 });
    }

    #[test]
    fn columns_that_are_missing_wrong_or_unknown_are_named_with_what_is_wanted() {
        let without = |name: &str| two().into_iter().filter(|(known, _)| *known != name).collect();
        let as_text = |name: &str| {
            let mut columns: Vec<_> = without(name);
            columns
                .push((KEYS[KEYS.iter().position(|key| *key == name).unwrap()], texts([None; 2])));
            columns
        };
        let says = |told: Result<(), String>, words: [&str; 2]| {
            let told = told.unwrap_err();
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
            assert!(told.starts_with("history.parquet: "), "{told}");
        };
        says(checked(without("viewer"), true), ["column viewer is missing", "UTF8"]);
        says(checked(without("account_id"), false), ["column account_id is missing", "UINT64"]);
        assert_eq!(checked(without("account_id"), true), Ok(()));
        says(checked(as_text("event_time"), true), ["column event_time is Utf8", "timestamp"]);
        says(checked(as_text("value_micros"), true), ["column value_micros is Utf8", "INT64"]);
        let mut more = two();
        more.push(("message", texts([None; 2])));
        says(checked(more, true), ["column message is none of type", "leave it out"]);
        let mut other = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut other, b"{}").unwrap();
        let told = check(Path::new("history.parquet"), other, true).map_err(|it| it.to_string());
        says(told, ["is no Parquet", ""]);
    }

    #[test]
    fn a_bad_row_is_kept_as_json() {
        let mut columns = two();
        columns[0] = ("type", texts([Some("click"), Some("conversion")]));
        let file = written(columns);
        let mut bad = Vec::new();
        let mut put = |batch: Batch| {
            bad.extend(batch.bad);
            true
        };
        read_files(&[file.path().to_owned()], 0, STAGES, &mut put).unwrap();
        assert_eq!((bad.len(), bad[0].place.line), (1, 1));
        let row = &bad[0].row;
        assert_eq!((&row["type"], &row["viewer"]), (&Value::from("click"), &Value::from("ana")));
        assert_eq!(row["event_time"], Value::from("2026-11-23T12:00:00.25Z"));
        assert_eq!(row["account_id"], Value::from(u64::MAX.to_string()));
        assert!(row.get("name").is_none());
    }
}
