//! The credited outcomes of a history as a Parquet file.

use std::fs::{File, rename};
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    Int64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::cli::attribute::{AttributeError, Attributed};
use crate::report::last_touch::Credited;

/// Writes the outcomes to a file, which is there whole or not at all.
pub(super) fn write(path: &Path, attributed: &Attributed) -> Result<(), AttributeError> {
    let broken = |error: ParquetError| AttributeError::Parquet(path.to_owned(), error);
    let failed = |error| AttributeError::File(path.to_owned(), error);
    let batch = batch(attributed).map_err(broken)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let options =
        ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let unfinished = path.with_extension("unfinished");
    let file = File::create(&unfinished).map_err(failed)?;
    let writer = ArrowWriter::try_new_with_options(file, batch.schema(), options);
    let mut writer = writer.map_err(broken)?;
    writer.write(&batch).map_err(broken)?;
    writer.close().map_err(broken)?;
    rename(&unfinished, path).map_err(failed)
}

fn batch(attributed: &Attributed) -> Result<RecordBatch, ParquetError> {
    let time = || TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let [mut kinds, mut ids, mut touches, mut names, mut currencies] =
        std::array::from_fn(|_| StringBuilder::new());
    let (mut times, mut touch_times) = (time(), time());
    let (mut accounts, mut ads) = (UInt64Builder::new(), UInt64Builder::new());
    let mut values = Int64Builder::new();
    for (outcome, credit) in attributed.outcomes.iter().zip(&attributed.credits) {
        kinds.append_value(if outcome.is_conversion { "CONVERSION" } else { "CONVERSATION" });
        ids.append_value(&outcome.event_id);
        times.append_value(outcome.event_us);
        accounts.append_value(outcome.account);
        let (kind, touch) = match credit {
            Credited::Tap(touch) => (Some("TAP"), Some(touch)),
            Credited::View(touch) => (Some("VIEW"), Some(touch)),
            Credited::Nothing => (None, None),
        };
        touches.append_option(kind);
        touch_times.append_option(touch.map(|touch| touch.event_us));
        ads.append_option(touch.map(|touch| touch.ad));
        names.append_value(&outcome.name);
        values.append_option(outcome.value_micros);
        currencies.append_value(&outcome.currency);
    }
    let columns: [(&str, ArrayRef); 10] = [
        ("type", Arc::new(kinds.finish())),
        ("event_id", Arc::new(ids.finish())),
        ("event_time", Arc::new(times.finish())),
        ("account_id", Arc::new(accounts.finish())),
        ("touch", Arc::new(touches.finish())),
        ("touch_time", Arc::new(touch_times.finish())),
        ("ad_id", Arc::new(ads.finish())),
        ("name", Arc::new(names.finish())),
        ("value_micros", Arc::new(values.finish())),
        ("currency", Arc::new(currencies.finish())),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
