//! Rows as Arrow columns: for each table one list of columns, from which its schema and its batches are made.
//!
//! Ids and counts are `UInt64`, money `Int64` micros beside its currency, times `Timestamp(ms, UTC)`, enums and
//! currencies dictionaries of text. An enum's value is its name in the interface without the prefix; null is
//! UNSPECIFIED. Nothing of a viewer is in any table.

pub mod attributions;
pub mod conversations;
pub mod reports;
pub mod touches;
pub mod transfers;

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Int8Builder, Int64Builder, StringBuilder, StringDictionaryBuilder,
    TimestampMillisecondBuilder, UInt64Builder,
};
use arrow_array::types::Int16Type;
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use prost_types::Timestamp;

/// The version of all tables' columns: a column that is renamed, removed or means something else raises it. A
/// new column does not.
pub const SCHEMA_VERSION: &str = "1";

/// Where a schema says its version.
pub const VERSION_KEY: &str = "munadi.schema_version";

/// Where a schema names its table.
pub const TABLE_KEY: &str = "munadi.table";

/// A table that there is in columns.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Table {
    /// Outcomes and who earned them, as `PullAttributions` has them, without their paths.
    Attributions,
    /// The touches on the paths to them, with what each model gives.
    Touches,
    /// Conversations, as `ListConversations` has them.
    Conversations,
    /// Any `QueryReport`.
    Reports,
    /// Transfers of the ledger, as `ListTransfers` has them.
    Transfers,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 5] =
        [Self::Attributions, Self::Touches, Self::Conversations, Self::Reports, Self::Transfers];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attributions => "attributions",
            Self::Touches => "touches",
            Self::Conversations => "conversations",
            Self::Reports => "reports",
            Self::Transfers => "transfers",
        }
    }

    /// Returns the table of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Returns its columns' names and types, with its name and their version.
    pub fn schema(self) -> Schema {
        let fields = match self {
            Self::Attributions => fields(attributions::COLUMNS),
            Self::Touches => fields(touches::COLUMNS),
            Self::Conversations => fields(conversations::COLUMNS),
            Self::Reports => fields(reports::COLUMNS),
            Self::Transfers => fields(transfers::COLUMNS),
        };
        Schema::new_with_metadata(fields, [(VERSION_KEY, SCHEMA_VERSION), (TABLE_KEY, self.name())])
    }
}

/// A column of rows `R`: its name, and what it takes of a row.
pub type Column<R> = (&'static str, Take<R>);

/// What a column takes of a row.
pub enum Take<R: 'static> {
    /// An id or count.
    Number(fn(&R) -> u64),
    /// A count that may be absent.
    Optional(fn(&R) -> Option<u64>),
    /// An amount, micros.
    Micros(fn(&R) -> Option<i64>),
    /// A moment.
    Time(fn(&R) -> Option<&Timestamp>),
    /// An enum's number, and the name of each.
    Name(fn(&R) -> i32, fn(i32) -> Option<&'static str>),
    /// A currency; empty: none.
    Currency(fn(&R) -> &str),
    /// A text; empty where there is none.
    Text(fn(&R) -> &str),
    /// Whether something is so.
    Flag(fn(&R) -> bool),
}

/// Takes an enum's value by its name without prefix.
macro_rules! name {
    ($of:expr, $variants:ty, $prefix:literal) => {
        $crate::report::columnar::Take::Name($of, |number| {
            let name = <$variants>::try_from(number).ok()?.as_str_name();
            name.strip_prefix($prefix).filter(|_| number != 0)
        })
    };
}
pub(in crate::report::columnar) use name;

/// The highest number of an enum that a dictionary has room for.
const NAMES_MAX: i32 = i8::MAX as i32;

fn fields<R>(columns: &[Column<R>]) -> Vec<Field> {
    let text = || Box::new(DataType::Utf8);
    let field = |(name, take): &Column<R>| {
        let (kind, nullable) = match take {
            Take::Number(_) => (DataType::UInt64, false),
            Take::Optional(_) => (DataType::UInt64, true),
            Take::Micros(_) => (DataType::Int64, true),
            Take::Time(_) => (DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
            Take::Name(..) => (DataType::Dictionary(Box::new(DataType::Int8), text()), true),
            Take::Currency(_) => (DataType::Dictionary(Box::new(DataType::Int16), text()), true),
            Take::Text(_) => (DataType::Utf8, false),
            Take::Flag(_) => (DataType::Boolean, false),
        };
        Field::new(*name, kind, nullable)
    };
    columns.iter().map(field).collect()
}

/// The values of a column that is being filled.
enum Filled {
    Number(UInt64Builder),
    Micros(Int64Builder),
    Time(TimestampMillisecondBuilder),
    Name(Int8Builder, Arc<StringArray>),
    Currency(StringDictionaryBuilder<Int16Type>),
    Text(StringBuilder),
    Flag(BooleanBuilder),
}

/// Rows on their way into a batch.
pub struct Filling<R: 'static> {
    schema: SchemaRef,
    columns: &'static [Column<R>],
    filled: Vec<Filled>,
    rows: usize,
}

impl<R> Filling<R> {
    /// Returns a batch without rows, of a table's columns and its schema.
    pub fn new(schema: SchemaRef, columns: &'static [Column<R>], rows: usize) -> Self {
        let filled = columns.iter().map(|(_, take)| Filled::of(take, rows)).collect();
        Self { schema, columns, filled, rows: 0 }
    }

    /// Returns how many rows there are.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row.
    pub fn push(&mut self, row: &R) {
        self.rows += 1;
        for ((_, take), filled) in self.columns.iter().zip(&mut self.filled) {
            filled.push(take, row);
        }
    }

    /// Returns the rows as a batch; `None`: there are none.
    ///
    /// # Errors
    /// When the schema is not that of the columns.
    pub fn finish(self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let columns: Result<Vec<_>, _> = self.filled.into_iter().map(Filled::finish).collect();
        RecordBatch::try_new(self.schema, columns?).map(Some)
    }
}

impl Filled {
    fn of<R>(take: &Take<R>, rows: usize) -> Self {
        match take {
            Take::Number(_) | Take::Optional(_) => Self::Number(UInt64Builder::with_capacity(rows)),
            Take::Micros(_) => Self::Micros(Int64Builder::with_capacity(rows)),
            Take::Time(_) => {
                let builder = TimestampMillisecondBuilder::with_capacity(rows);
                Self::Time(builder.with_timezone("UTC"))
            }
            Take::Name(_, name) => {
                let last = (0..=NAMES_MAX).rev().find(|number| name(*number).is_some());
                let names = (0..=last.unwrap_or(0)).map(|number| name(number).unwrap_or_default());
                let names = Arc::new(StringArray::from_iter_values(names));
                Self::Name(Int8Builder::with_capacity(rows), names)
            }
            Take::Currency(_) => Self::Currency(StringDictionaryBuilder::new()),
            Take::Text(_) => Self::Text(StringBuilder::with_capacity(rows, 0)),
            Take::Flag(_) => Self::Flag(BooleanBuilder::with_capacity(rows)),
        }
    }

    fn push<R>(&mut self, take: &Take<R>, row: &R) {
        match (self, take) {
            (Self::Number(builder), Take::Number(of)) => builder.append_value(of(row)),
            (Self::Number(builder), Take::Optional(of)) => builder.append_option(of(row)),
            (Self::Micros(builder), Take::Micros(of)) => builder.append_option(of(row)),
            (Self::Time(builder), Take::Time(of)) => builder.append_option(of(row).map(ms)),
            (Self::Name(builder, names), Take::Name(of, _)) => {
                let number = of(row);
                let known = number > 0 && (number as usize) < arrow_array::Array::len(&**names);
                builder.append_option(known.then_some(number as i8));
            }
            (Self::Currency(builder), Take::Currency(of)) => {
                let currency = of(row);
                builder.append_option((!currency.is_empty()).then_some(currency));
            }
            (Self::Text(builder), Take::Text(of)) => builder.append_value(of(row)),
            (Self::Flag(builder), Take::Flag(of)) => builder.append_value(of(row)),
            // Each column was made for what it takes.
            _ => debug_assert!(false, "a column is filled with what it is made for"),
        }
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Number(mut builder) => Arc::new(builder.finish()),
            Self::Micros(mut builder) => Arc::new(builder.finish()),
            Self::Time(mut builder) => Arc::new(builder.finish()),
            Self::Name(mut builder, names) => {
                Arc::new(DictionaryArray::try_new(builder.finish(), names)?)
            }
            Self::Currency(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Flag(mut builder) => Arc::new(builder.finish()),
        })
    }
}

/// Returns a wire time in milliseconds.
fn ms(time: &Timestamp) -> i64 {
    time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_table_is_found_by_its_name_and_says_its_version() {
        for table in Table::ALL {
            assert_eq!(Table::of_name(table.name()), Some(table));
            let schema = table.schema();
            assert_eq!(schema.metadata.get(TABLE_KEY).map(String::as_str), Some(table.name()));
            assert_eq!(schema.metadata.get(VERSION_KEY).map(String::as_str), Some(SCHEMA_VERSION));
            let names: BTreeSet<_> = schema.fields().iter().map(|field| field.name()).collect();
            assert_eq!(names.len(), schema.fields().len(), "{}: a name twice", table.name());
        }
        assert_eq!(Table::of_name("viewers"), None);
    }

    #[test]
    fn no_table_has_anything_of_a_viewer() {
        for table in Table::ALL {
            for field in table.schema().fields() {
                // How many matches a platform's word on the viewer made: a count.
                let name = field.name().replace("matched_viewer", "");
                let told = ["viewer", "contact", "phone", "pseudonym", "country"];
                assert!(!told.iter().any(|word| name.contains(word)), "{}", field.name());
            }
        }
    }
}
