//! The days of an export: which are over and not written yet, and the rows of each as Parquet.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Criteria, FlightClient, FlightDescriptor, Ticket as FlightTicket};
use arrow_schema::SchemaRef;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};

use crate::cli::export::store::{Day, Manifest, Store};
use crate::cli::export::{Done, ExportArgs, ExportError};
use crate::cli::report::ReportError;
use crate::report::columnar::{SCHEMA_VERSION, TABLE_KEY, Table, VERSION_KEY};
use crate::rpc::Ticket;
use crate::types::time::{DAY_MS, HOUR_MS, Moment};

/// Days that a node knows whole: it keeps rows for 95 (DESIGN section 11).
const DAYS_MAX: i64 = 94;

/// A day's transfers are complete so long after its end: a day that begins in it in any account's time zone has
/// ended then.
const TRANSFERS_AFTER_MS: i64 = 26 * HOUR_MS;

/// Rows of one file: of more a day has several, so that no more than one is in memory.
const PART_ROWS_MAX: usize = 1_000_000;

/// Rows of one row group.
const GROUP_ROWS_MAX: usize = 131_072;

/// Bytes of one message from the node.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Where a stream's schema names the journal, and whose rows they are.
const TOLD: [&str; 2] = ["munadi.journal", "munadi.scope"];

/// Whoever asks a node for tables.
pub(super) struct Puller {
    client: FlightClient,
    account: u64,
    start: Option<Date>,
}

impl Puller {
    /// Connects to the node that the arguments name.
    pub(super) async fn connect(args: &ExportArgs) -> Result<Self, ExportError> {
        let (bearer, addr) = (args.caller.bearer()?, &args.caller.addr);
        let endpoint = Endpoint::from_shared(addr.clone());
        let endpoint = endpoint.map_err(|_| ReportError::Address(addr.clone()))?;
        let channel = endpoint.connect().await;
        let channel: Channel =
            channel.map_err(|error| ReportError::Connect(addr.clone(), error))?;
        let client = FlightServiceClient::new(channel);
        let client = client.max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut client = FlightClient::new_from_inner(client);
        client.metadata_mut().insert("authorization", bearer);
        Ok(Self { client, account: args.account, start: args.start })
    }

    /// Returns the tables that the key may read.
    pub(super) async fn tables(&mut self) -> Result<Vec<Table>, ExportError> {
        let everything = Criteria::default().expression;
        let mut listed = self.client.list_flights(everything).await?;
        let mut tables = Vec::new();
        while let Some(info) = listed.next().await {
            let path = info?.flight_descriptor.unwrap_or_default().path;
            tables.extend(path.iter().filter_map(|name| Table::of_name(name)));
        }
        Ok(tables)
    }

    /// Writes the days of a table that are over and not written yet.
    pub(super) async fn export(
        &mut self,
        store: &Store,
        table: Table,
    ) -> Result<Done, ExportError> {
        let mut manifest = store.manifest(table).await?;
        let end = self.end(table).await?;
        let first = self.start.unwrap_or_else(|| day_of(end.plus_ms(-DAYS_MAX * DAY_MS)));
        let mut done = Done { table, days: 0, rows: 0, complete_up_to: day_of(end) };
        let mut day = start_of(first);
        let mut is_told = true;
        while day.0 + DAY_MS <= end.0 {
            let name = day_of(day).to_string();
            if manifest.as_ref().is_none_or(|known| !known.days.contains_key(&name)) {
                let (written, ours) = self.write(store, (table, day, &name), &manifest).await?;
                manifest.get_or_insert(ours);
                done.days += 1;
                done.rows += written.rows;
                if let Some(known) = &mut manifest {
                    known.days.insert(name, written);
                    // Days without rows are told together: there is nothing to lose.
                    is_told = written.rows > 0;
                    if is_told {
                        store.put_manifest(table, known).await?;
                    }
                }
            }
            day = day.plus_ms(DAY_MS);
        }
        if let Some(known) = manifest.filter(|_| !is_told) {
            store.put_manifest(table, &known).await?;
        }
        Ok(done)
    }

    /// Returns the first moment that is not over yet for a table.
    async fn end(&mut self, table: Table) -> Result<Moment, ExportError> {
        let asked = Ticket { account: self.account, ..Ticket::of(table) };
        let info = self.client.get_flight_info(FlightDescriptor::new_cmd(asked.json())).await?;
        let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket);
        let ticket = ticket.and_then(|ticket| Ticket::read(&ticket.ticket).ok());
        let closed = ticket.and_then(|ticket| ticket.end).unwrap_or_default();
        Ok(match table {
            Table::Transfers => closed.plus_ms(-TRANSFERS_AFTER_MS),
            _ => closed,
        })
    }

    /// Writes a day, and tells what the rows are of: of the same as those that are known.
    async fn write(
        &mut self,
        store: &Store,
        (table, start, name): (Table, Moment, &str),
        known: &Option<Manifest>,
    ) -> Result<(Day, Manifest), ExportError> {
        let end = Some(start.plus_ms(DAY_MS));
        let asked = Ticket { account: self.account, start, end, ..Ticket::of(table) };
        let mut rows = self.client.do_get(FlightTicket::new(asked.json())).await?;
        let mut parts = Parts { table, part: None, day: Day { rows: 0, parts: 0 } };
        // The schema comes before the first batch.
        let mut next = rows.next().await;
        let [journal, scope] = told(&rows);
        let ours = Manifest::new(journal, scope, self.account);
        if let Some(known) = known {
            known.check(store.manifest_name(table), &ours)?;
        }
        while let Some(batch) = next {
            let mut batch = batch?;
            while batch.num_rows() > 0 {
                let taken = parts.write(&batch)?;
                batch = batch.slice(taken, batch.num_rows() - taken);
                if parts.is_full() {
                    parts.close(store, name).await?;
                }
            }
            next = rows.next().await;
        }
        parts.close(store, name).await?;
        store.remove_parts_behind((table, name, parts.day.parts)).await?;
        Ok((parts.day, ours))
    }
}

fn told(rows: &FlightRecordBatchStream) -> [String; 2] {
    let schema = rows.schema();
    TOLD.map(|key| schema.and_then(|it| it.metadata.get(key).cloned()).unwrap_or_default())
}

fn day_of(moment: Moment) -> Date {
    let time = jiff::Timestamp::from_millisecond(moment.0).unwrap_or_default();
    time.to_zoned_datetime(TimeZone::UTC).date()
}

fn start_of(day: Date) -> Moment {
    let start =
        day.to_zoned_datetime(TimeZone::UTC).map(|start| start.timestamp().as_millisecond());
    Moment(start.unwrap_or_default().max(0))
}

/// The files of one day, one after the other.
struct Parts {
    table: Table,
    part: Option<(ArrowWriter<Vec<u8>>, usize)>,
    day: Day,
}

impl Parts {
    /// Writes as many rows as the file has room for, and returns how many these were.
    fn write(&mut self, batch: &RecordBatch) -> Result<usize, ParquetError> {
        let (mut writer, rows) = match self.part.take() {
            Some(part) => part,
            None => (writer(self.table, batch.schema())?, 0),
        };
        let taken = batch.num_rows().min(PART_ROWS_MAX - rows);
        writer.write(&batch.slice(0, taken))?;
        self.day.rows += taken as u64;
        self.part = Some((writer, rows + taken));
        Ok(taken)
    }

    fn is_full(&self) -> bool {
        self.part.as_ref().is_some_and(|(_, rows)| *rows == PART_ROWS_MAX)
    }

    async fn close(&mut self, store: &Store, day: &str) -> Result<(), ExportError> {
        if let Some((writer, _)) = self.part.take() {
            let place = (self.table, day, self.day.parts);
            store.put_part(place, writer.into_inner()?).await?;
            self.day.parts += 1;
        }
        Ok(())
    }
}

/// Begins a file whose bytes depend on its rows alone.
fn writer(table: Table, schema: SchemaRef) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    let told = [(VERSION_KEY, SCHEMA_VERSION), (TABLE_KEY, table.name())];
    let told = told.map(|(key, text)| KeyValue::new(key.to_owned(), text.to_owned()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
        .set_key_value_metadata(Some(told.to_vec()))
        .build();
    // The stream's schema says when it was asked, too: that is not to be in the file.
    let options =
        ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_utc() {
        let day: Date = "2026-11-23".parse().unwrap();
        assert_eq!(day_of(start_of(day)), day);
        assert_eq!(day_of(start_of(day).plus_ms(DAY_MS - 1)), day);
        assert_eq!(day_of(start_of(day).plus_ms(DAY_MS)).to_string(), "2026-11-24");
        assert_eq!(start_of("1969-12-31".parse().unwrap()), Moment(0));
    }
}
