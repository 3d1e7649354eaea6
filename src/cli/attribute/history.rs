//! A history in Parquet files: only the columns, and of touches only the row groups, that an answer needs are read.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType, UInt64Type};
use arrow_array::{
    Array, PrimitiveArray, RecordBatch, StringViewArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use crate::cli::attribute::AttributeError;
use crate::report::last_touch::{Found, PastOutcome, PastTouch, Seekers, latest};

/// Threads that read touches.
const READERS: usize = 2;

/// Rows that are decoded at once: what of them is looked at stays in a core's cache.
const ROWS_AT_ONCE: usize = 8_192;

/// A kind of event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Impression,
    Tap,
    Conversation,
    Conversion,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Impression => "IMPRESSION",
            Self::Tap => "TAP",
            Self::Conversation => "CONVERSATION",
            Self::Conversion => "CONVERSION",
        }
    }
}

/// The files of a history, opened but for their rows.
pub(super) struct History {
    files: Vec<(PathBuf, ArrowReaderMetadata)>,
    groups: Vec<Group>,
}

/// One row group.
struct Group {
    file: usize,
    index: usize,
    /// The only type of its rows, if its statistics tell.
    kind: Option<String>,
    /// Its first and last moment, microseconds, if they tell.
    span: Option<(i64, i64)>,
}

impl Group {
    fn may_have(&self, kind: Kind) -> bool {
        self.kind.as_ref().is_none_or(|only| only == kind.name())
    }
}

impl History {
    /// Opens all `.parquet` files of a folder, in order of their names.
    pub(super) fn open(folder: &Path) -> Result<Self, AttributeError> {
        let failed = |error| AttributeError::Folder(folder.to_owned(), error);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            paths.push(entry.map_err(failed)?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
        paths.sort();
        if paths.is_empty() {
            return Err(AttributeError::Empty(folder.to_owned()));
        }
        let (mut files, mut groups) = (Vec::new(), Vec::new());
        for path in paths {
            let metadata = metadata(&path)?;
            let parquet = metadata.metadata();
            let of_file = parquet.row_groups().iter().enumerate();
            groups.extend(of_file.map(|(index, group)| Group {
                file: files.len(),
                index,
                kind: only_kind(group),
                span: span(group),
            }));
            files.push((path, metadata));
        }
        Ok(Self { files, groups })
    }

    /// Returns all conversations and conversions.
    pub(super) fn outcomes(&self) -> Result<Vec<PastOutcome>, AttributeError> {
        let mut outcomes = Vec::new();
        for kind in [Kind::Conversation, Kind::Conversion] {
            for group in self.groups.iter().filter(|group| group.may_have(kind)) {
                let names = [
                    "event_id",
                    "event_time",
                    "viewer",
                    "account_id",
                    "name",
                    "value_micros",
                    "currency",
                ];
                self.read(group, &names, |file, batch| {
                    take_outcomes(file, kind, batch, &mut outcomes)
                })?;
            }
        }
        Ok(outcomes)
    }

    /// Returns the last touch of each outcome that seeks one.
    pub(super) fn touches(
        &self,
        kind: Kind,
        outcomes: usize,
        seekers: &Seekers<'_>,
    ) -> Result<Found, AttributeError> {
        let wanted = |group: &&Group| {
            group.may_have(kind) && group.span.is_none_or(|(first, last)| seekers.want(first, last))
        };
        let groups: Vec<&Group> = self.groups.iter().filter(wanted).collect();
        let next = AtomicUsize::new(0);
        let read = || -> Result<Found, AttributeError> {
            let mut found = vec![None; outcomes];
            while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                let names = ["event_time", "viewer", "account_id", "ad_id"];
                self.read(group, &names, |file, batch| {
                    take_touches(file, kind, batch, |viewer, account, touch| {
                        seekers.meet(&mut found, viewer, account, touch);
                    })
                })?;
            }
            Ok(found)
        };
        std::thread::scope(|scope| {
            let readers: Vec<_> = (1..READERS).map(|_| scope.spawn(read)).collect();
            let mut all = read()?;
            for reader in readers {
                let found = reader.join().map_err(|_| AttributeError::Reader)??;
                all = latest(all, &found);
            }
            Ok(all)
        })
    }

    /// Reads some columns of a row group; the type too, unless its statistics tell it.
    fn read(
        &self,
        group: &Group,
        names: &[&'static str],
        mut take: impl FnMut(&Path, &RecordBatch) -> Result<(), AttributeError>,
    ) -> Result<(), AttributeError> {
        let (path, metadata) = &self.files[group.file];
        let names = names.iter().copied().chain(group.kind.is_none().then_some("type"));
        let schema = metadata.parquet_schema();
        let mask = ProjectionMask::columns(schema, names);
        let failed = |error| AttributeError::Parquet(path.clone(), error);
        let file = File::open(path).map_err(|error| AttributeError::File(path.clone(), error))?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
            .with_row_groups(vec![group.index])
            .with_projection(mask)
            .with_batch_size(ROWS_AT_ONCE)
            .build();
        for batch in reader.map_err(failed)? {
            take(path, &batch.map_err(|error| failed(error.into()))?)?;
        }
        Ok(())
    }
}

/// The columns that are read, with their types. Texts are read as views: none is copied.
fn columns() -> [(&'static str, DataType); 9] {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    [
        ("type", DataType::Utf8View),
        ("event_id", DataType::Utf8View),
        ("event_time", time),
        ("viewer", DataType::Utf8View),
        ("account_id", DataType::UInt64),
        ("ad_id", DataType::UInt64),
        ("name", DataType::Utf8View),
        ("value_micros", DataType::Int64),
        ("currency", DataType::Utf8View),
    ]
}

/// Reads what a file says of itself, and checks its columns.
fn metadata(path: &Path) -> Result<ArrowReaderMetadata, AttributeError> {
    let failed = |error| AttributeError::Parquet(path.to_owned(), error);
    let file = File::open(path).map_err(|error| AttributeError::File(path.to_owned(), error))?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&file, options).map_err(failed)?;
    let schema = viewed(path, metadata.schema())?;
    let options = ArrowReaderOptions::new().with_schema(schema);
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).map_err(failed)
}

/// Returns a file's schema with texts as views.
fn viewed(path: &Path, schema: &Schema) -> Result<SchemaRef, AttributeError> {
    let wanted = columns();
    let mut fields = Vec::new();
    for field in schema.fields() {
        let kind = wanted.iter().find(|(name, _)| name == field.name());
        let kind = kind.map_or(field.data_type(), |(_, kind)| kind).clone();
        fields.push(Field::new(field.name(), kind, field.is_nullable()));
    }
    for (name, kind) in &wanted {
        let found = schema.field_with_name(name).map(Field::data_type);
        let fits = match (kind, &found) {
            (DataType::Utf8View, Ok(DataType::Utf8)) => true,
            (kind, Ok(found)) => kind == *found,
            (_, Err(_)) => false,
        };
        if !fits {
            let kind = if *kind == DataType::Utf8View { DataType::Utf8 } else { kind.clone() };
            return Err(AttributeError::Column(path.to_owned(), name, kind.to_string()));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn statistics<'a>(group: &'a RowGroupMetaData, name: &str) -> Option<&'a Statistics> {
    let column = group.columns().iter().find(|column| column.column_path().string() == name);
    column?.statistics()
}

fn only_kind(group: &RowGroupMetaData) -> Option<String> {
    let told = statistics(group, "type")?;
    let exact = told.min_is_exact() && told.max_is_exact() && told.null_count_opt() == Some(0);
    let (least, most) = (told.min_bytes_opt()?, told.max_bytes_opt()?);
    (exact && least == most).then(|| String::from_utf8_lossy(least).into_owned())
}

fn span(group: &RowGroupMetaData) -> Option<(i64, i64)> {
    match statistics(group, "event_time")? {
        Statistics::Int64(told) => Some((*told.min_opt()?, *told.max_opt()?)),
        _ => None,
    }
}

/// The columns of a batch that every event has.
struct Events<'a> {
    /// Where types differ within the row group.
    kinds: Option<&'a StringViewArray>,
    times: &'a TimestampMicrosecondArray,
    viewers: &'a StringViewArray,
    accounts: &'a UInt64Array,
}

impl<'a> Events<'a> {
    fn of(path: &Path, batch: &'a RecordBatch) -> Result<Self, AttributeError> {
        for name in ["event_time", "viewer", "account_id"] {
            if column(batch, name).null_count() > 0 {
                return Err(AttributeError::Null(path.to_owned(), name));
            }
        }
        Ok(Self {
            kinds: batch.column_by_name("type").map(|kinds| kinds.as_string_view()),
            times: column(batch, "event_time").as_primitive::<TimestampMicrosecondType>(),
            viewers: column(batch, "viewer").as_string_view(),
            accounts: column(batch, "account_id").as_primitive::<UInt64Type>(),
        })
    }

    fn is_of(&self, kind: Kind, row: usize) -> bool {
        self.kinds.is_none_or(|kinds| kinds.is_valid(row) && kinds.value(row) == kind.name())
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a dyn Array {
    batch.column_by_name(name).expect("each file is checked when it is opened").as_ref()
}

fn take_touches(
    path: &Path,
    kind: Kind,
    batch: &RecordBatch,
    mut take: impl FnMut(&str, u64, PastTouch),
) -> Result<(), AttributeError> {
    let events = Events::of(path, batch)?;
    let ads: &PrimitiveArray<UInt64Type> = column(batch, "ad_id").as_primitive();
    for row in 0..batch.num_rows() {
        if events.is_of(kind, row) {
            let touch = PastTouch { event_us: events.times.value(row), ad: ads.value(row) };
            take(events.viewers.value(row), events.accounts.value(row), touch);
        }
    }
    Ok(())
}

fn take_outcomes(
    path: &Path,
    kind: Kind,
    batch: &RecordBatch,
    outcomes: &mut Vec<PastOutcome>,
) -> Result<(), AttributeError> {
    let events = Events::of(path, batch)?;
    let text = |name: &str| column(batch, name).as_string_view();
    let (ids, names, currencies) = (text("event_id"), text("name"), text("currency"));
    let values = column(batch, "value_micros").as_primitive::<Int64Type>();
    let told = |texts: &StringViewArray, row: usize| {
        let text = texts.is_valid(row).then(|| texts.value(row).to_owned());
        text.unwrap_or_default()
    };
    for row in (0..batch.num_rows()).filter(|row| events.is_of(kind, *row)) {
        outcomes.push(PastOutcome {
            is_conversion: kind == Kind::Conversion,
            event_id: told(ids, row),
            event_us: events.times.value(row),
            viewer: events.viewers.value(row).to_owned(),
            account: events.accounts.value(row),
            name: told(names, row),
            value_micros: values.is_valid(row).then(|| values.value(row)),
            currency: told(currencies, row),
        });
    }
    Ok(())
}
