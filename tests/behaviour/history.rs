//! `munadi attribute`: last touch over Parquet files of another system, and what is wrong with files that are none.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use munadi::cli::attribute::{AttributeArgs, AttributeError, attribute, run};
use munadi::report::last_touch::{Credited, PastTouch, TAP_WINDOW_US, VIEW_WINDOW_US};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::file::properties::WriterProperties;

/// Type, id, time in microseconds, viewer, account and ad.
type Event<'a> = (&'a str, &'a str, i64, Option<&'a str>, u64, u64);

const DAY_US: i64 = VIEW_WINDOW_US;

/// Long enough after 1970 for every window.
const NOON_US: i64 = 1_795_435_200_000_000;

fn batch(events: &[Event<'_>]) -> RecordBatch {
    let texts = |of: fn(&Event<'_>) -> Option<String>| -> ArrayRef {
        Arc::new(events.iter().map(of).collect::<StringArray>())
    };
    let numbers = |of: fn(&Event<'_>) -> u64| -> ArrayRef {
        Arc::new(events.iter().map(|event| Some(of(event))).collect::<UInt64Array>())
    };
    let sale = |event: &Event<'_>| event.0 == "CONVERSION";
    let times = events.iter().map(|event| Some(event.2)).collect::<TimestampMicrosecondArray>();
    let values =
        events.iter().map(|event| sale(event).then_some(9_000_000)).collect::<Int64Array>();
    let columns: [(&str, ArrayRef); 9] = [
        ("type", texts(|event| Some(event.0.to_owned()))),
        ("event_id", texts(|event| Some(event.1.to_owned()))),
        ("event_time", Arc::new(times.with_timezone("UTC"))),
        ("viewer", texts(|event| event.3.map(str::to_owned))),
        ("account_id", numbers(|event| event.4)),
        ("ad_id", numbers(|event| event.5)),
        ("name", texts(|event| (event.0 == "CONVERSION").then(|| "Purchase".to_owned()))),
        ("value_micros", Arc::new(values)),
        ("currency", texts(|event| (event.0 == "CONVERSION").then(|| "MXN".to_owned()))),
    ];
    // A column of which the first rows are null is one that may be.
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

/// Writes a file whose row groups have so many rows.
fn write(path: &Path, batch: &RecordBatch, rows: usize) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows)).build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn history() -> Vec<Event<'static>> {
    let (ana, ben) = (Some("ana"), Some("ben"));
    vec![
        ("IMPRESSION", "i1", NOON_US - 2 * DAY_US, ana, 1, 11),
        ("TAP", "t1", NOON_US - TAP_WINDOW_US, ana, 1, 12),
        ("IMPRESSION", "i2", NOON_US - 1, ana, 1, 13),
        ("TAP", "t2", NOON_US - 5, ana, 2, 21),
        ("IMPRESSION", "i3", NOON_US - DAY_US, ben, 1, 14),
        ("VIDEO_50", "v3", NOON_US - 1, ben, 1, 14),
        ("IMPRESSION", "i4", NOON_US - DAY_US - 1, ben, 2, 22),
        // The tap is just in its window, and goes before the later view.
        ("CONVERSATION", "c1", NOON_US, ana, 1, 0),
        // A microsecond later it is not.
        ("CONVERSION", "s1", NOON_US + 1, ana, 1, 0),
        ("CONVERSATION", "c2", NOON_US, ben, 1, 0),
        ("CONVERSION", "s2", NOON_US, ben, 2, 0),
        // A touch after it is none of its.
        ("TAP", "t3", NOON_US + 1, ben, 2, 23),
    ]
}

fn expected() -> Vec<(&'static str, Credited)> {
    let touch = |event_us, ad| PastTouch { event_us, ad };
    vec![
        ("c1", Credited::Tap(touch(NOON_US - TAP_WINDOW_US, 12))),
        ("c2", Credited::View(touch(NOON_US - DAY_US, 14))),
        ("s1", Credited::View(touch(NOON_US - 1, 13))),
        ("s2", Credited::Nothing),
    ]
}

fn credits(folder: &Path) -> Vec<(String, Credited)> {
    let attributed = attribute(folder).unwrap();
    let ids = attributed.outcomes.into_iter().map(|outcome| outcome.event_id);
    ids.zip(attributed.credits).collect()
}

#[test]
fn outcomes_are_credited_however_the_files_are_cut() {
    let expected: Vec<_> =
        expected().into_iter().map(|(id, credit)| (id.to_owned(), credit)).collect();
    let whole = batch(&history());
    for rows in [1, 2, 5, 100] {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("all.parquet"), &whole, rows);
        assert_eq!(credits(folder.path()), expected, "row groups of {rows}");
    }
    // Two files, and one that is no Parquet and not named as one.
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.parquet"), &whole.slice(0, 9), 3);
    write(&folder.path().join("b.parquet"), &whole.slice(9, 3), 100);
    std::fs::write(folder.path().join("README.md"), "a history").unwrap();
    assert_eq!(credits(folder.path()), expected);
}

#[test]
fn the_credited_rows_are_written_once_whole() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("all.parquet"), &batch(&history()), 4);
    let to = tempfile::tempdir().unwrap();
    let path = to.path().join("credited.parquet");
    run(&AttributeArgs { from: folder.path().into(), to: Some(path.clone()) }).unwrap();
    let reader = ParquetRecordBatchReader::try_new(File::open(&path).unwrap(), 100).unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let text = |name: &str| {
        let column = batches[0].column_by_name(name).unwrap();
        let column = column.as_any().downcast_ref::<StringArray>().unwrap().clone();
        column.iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
    };
    let told = |texts: [&str; 4]| texts.map(|text| Some(text.to_owned())).to_vec();
    assert_eq!(text("event_id"), told(["c1", "c2", "s1", "s2"]));
    assert_eq!(text("type"), told(["CONVERSATION", "CONVERSATION", "CONVERSION", "CONVERSION"]));
    let touches: Vec<_> = text("touch").into_iter().map(Option::unwrap_or_default).collect();
    assert_eq!(touches, ["TAP", "VIEW", "VIEW", ""]);
    assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 1, "nothing unfinished is left");
}

#[test]
fn a_folder_that_is_no_history_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let told = || attribute(folder.path()).unwrap_err();
    assert!(matches!(told(), AttributeError::Empty(_)));
    let path = folder.path().join("all.parquet");
    std::fs::write(&path, "PAR1 it is not").unwrap();
    assert!(matches!(told(), AttributeError::Parquet(..)));
    let whole = batch(&history());
    let without: Vec<usize> = (0..whole.num_columns()).filter(|at| *at != 3).collect();
    write(&path, &whole.project(&without).unwrap(), 100);
    let error = told();
    assert!(matches!(error, AttributeError::Column(_, "viewer", _)), "{error}");
    let mut nobody = history();
    nobody[0].3 = None;
    write(&path, &batch(&nobody), 100);
    let error = told();
    assert!(matches!(error, AttributeError::Null(_, "viewer")), "{error}");
    assert!(matches!(attribute(Path::new("no/such/folder")), Err(AttributeError::Folder(..))));
}
