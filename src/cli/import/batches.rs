//! Files cut into batches of events, once for each stage.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use prost::Message;
use serde_json::{Map, Value};

use crate::cli::import::row::Row;
use crate::cli::import::{at, is_parquet};
use crate::rpc::limits::{EVENTS_MAX, MESSAGE_BYTES_MAX};
use crate::types::proto::v1::{ImportedEvent, ImportedEventType};
use crate::types::refusal::{Reason, Refusal};

/// Bytes of one line: its longest ids, each character escaped.
pub(super) const LINE_BYTES_MAX: usize = 8 << 10;

/// Bytes of the events of one message, with room for what stands around each.
const BATCH_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 2;

/// What some programs put before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The types that are sent in each reading of the files.
pub(super) type Stages = [&'static [ImportedEventType]; 3];

/// Where a row stands: its file, and its line or row from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) line: u64,
}

/// A row that is none of the node's.
#[derive(Debug)]
pub(super) struct BadRow {
    pub(super) place: Place,
    pub(super) refusal: Refusal,
    /// The row as it stands in the file.
    pub(super) row: Map<String, Value>,
}

/// Some rows of the files.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) events: Vec<ImportedEvent>,
    /// Of each event.
    pub(super) places: Vec<Place>,
    pub(super) bad: Vec<BadRow>,
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        let count = self.events.len().max(self.bad.len());
        count >= EVENTS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.bad.is_empty()
    }
}

/// Puts rows of one stage into batches.
pub(super) struct Cutter<'a> {
    account: u64,
    stages: Stages,
    stage: usize,
    batch: Batch,
    /// Takes a full batch; `false`: nobody wants more.
    put: &'a mut dyn FnMut(Batch) -> bool,
    /// Whether any row is of a stage.
    has: [bool; 3],
    wanted: bool,
}

impl Cutter<'_> {
    /// Takes the next row; `raw` says how it stands in the file. Tells whether more are wanted.
    pub(super) fn take<'r>(
        &mut self,
        place: Place,
        row: Result<Row<'r>, Refusal>,
        raw: impl FnOnce() -> Map<String, Value>,
    ) -> bool {
        let kind = row.as_ref().map_err(Clone::clone).and_then(Row::kind);
        let stage = match kind {
            Ok(kind) => self.stages.iter().position(|kinds| kinds.contains(&kind)),
            // A row that is of no stage is told once.
            Err(_) => Some(0),
        };
        let stage = stage.unwrap_or_default();
        self.has[stage] = true;
        if stage != self.stage {
            return self.wanted;
        }
        match row.and_then(|row| row.event(self.account)) {
            Ok(event) => {
                self.batch.bytes += event.encoded_len();
                self.batch.events.push(event);
                self.batch.places.push(place);
            }
            Err(refusal) => self.batch.bad.push(BadRow { place, refusal, row: raw() }),
        }
        if self.batch.is_full() {
            self.flush();
        }
        self.wanted
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.wanted = self.wanted && (batch.is_empty() || (self.put)(batch));
    }
}

/// Reads the files once for each stage that any of their rows is of, and puts their rows into batches.
///
/// # Errors
/// When a file can't be read any more.
pub(super) fn read(
    files: &[PathBuf],
    account: u64,
    stages: Stages,
    put: &mut dyn FnMut(Batch) -> bool,
) -> io::Result<()> {
    let (batch, has) = (Batch::default(), [true, false, false]);
    let mut cutter = Cutter { account, stages, stage: 0, batch, put, has, wanted: true };
    for stage in 0..stages.len() {
        cutter.stage = stage;
        if !cutter.has[stage] {
            continue;
        }
        for (index, file) in files.iter().enumerate() {
            let opened = File::open(file).map_err(|error| at(file, &error))?;
            read_file(&mut cutter, index, file, opened).map_err(|error| at(file, &error))?;
        }
        cutter.flush();
    }
    Ok(())
}

fn read_file(cutter: &mut Cutter<'_>, index: usize, file: &Path, opened: File) -> io::Result<()> {
    #[cfg(feature = "columns")]
    if is_parquet(file) {
        return crate::cli::import::parquet::read(cutter, index, opened);
    }
    // Without the feature such a file was turned away before.
    debug_assert!(!is_parquet(file), "a table is read by its columns");
    lines(cutter, index, BufReader::with_capacity(1 << 20, opened))
}

/// Takes each line that is not empty.
fn lines(cutter: &mut Cutter<'_>, file: usize, mut from: impl BufRead) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        if from.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let is_whole = line.ends_with(b"\n") || line.len() <= LINE_BYTES_MAX;
        if !is_whole {
            skip_line(&mut from)?;
        }
        let text = if number == 1 { line.strip_prefix(BYTE_ORDER_MARK) } else { None };
        let text = text.unwrap_or(&line).trim_ascii();
        if text.is_empty() {
            continue;
        }
        let row = if is_whole { Row::of_line(text) } else { Err(too_long()) };
        if !cutter.take(Place { file, line: number }, row, || raw_line(text)) {
            return Ok(());
        }
    }
    Ok(())
}

fn skip_line(from: &mut impl BufRead) -> io::Result<()> {
    loop {
        let (found, count) = {
            let bytes = from.fill_buf()?;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            (end.is_some() || bytes.is_empty(), end.map_or(bytes.len(), |end| end + 1))
        };
        from.consume(count);
        if found {
            return Ok(());
        }
    }
}

fn too_long() -> Refusal {
    let message = format!(
        "has more than {LINE_BYTES_MAX} bytes: mend it in its file, only its beginning is kept here"
    );
    Refusal::new(Reason::TooLarge, "", message)
}

/// Returns a line for the side file: its own keys where it is an object, so that it can be mended there.
fn raw_line(text: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(text).unwrap_or_else(|_| {
        let text = Value::String(String::from_utf8_lossy(text).into_owned());
        Map::from_iter([("line".to_owned(), text)])
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::cli::import::STAGES;

    /// Reads lines in one stage; returns where its events and bad rows stand, and of which stages there are rows.
    fn cut(list: &[u8], stage: usize) -> (Vec<u64>, Vec<(u64, Reason)>, [bool; 3]) {
        let (mut events, mut bad) = (Vec::new(), Vec::new());
        let mut put = |batch: Batch| {
            assert!(batch.events.len() <= EVENTS_MAX && batch.bytes < MESSAGE_BYTES_MAX);
            events.extend(batch.places.iter().map(|place| place.line));
            bad.extend(batch.bad.iter().map(|bad| (bad.place.line, bad.refusal.reason)));
            true
        };
        let (batch, has) = (Batch::default(), [true, false, false]);
        let put = &mut put as &mut dyn FnMut(Batch) -> bool;
        let mut cutter =
            Cutter { account: 1, stages: STAGES, stage, batch, put, has, wanted: true };
        lines(&mut cutter, 0, BufReader::with_capacity(7, Cursor::new(list))).unwrap();
        cutter.flush();
        let has = cutter.has;
        (events, bad, has)
    }

    #[test]
    fn each_stage_takes_its_own_rows_and_bad_ones_are_told_once() {
        let list = b"\xEF\xBB\xBF{\"type\": \"conversion\"}\n\n{\"type\": \"tap\"}\r\n\
            {\"type\": \"video_50\"}\nnonsense\n{\"type\": \"viewable\", \"ad_id\": \"x\"}\n\
            {\"type\": \"impression\"}";
        let all = [true, true, true];
        assert_eq!(cut(list, 0), (vec![3, 7], vec![(5, Reason::FieldInvalid)], all));
        assert_eq!(cut(list, 1), (vec![4], vec![(6, Reason::FieldInvalid)], all));
        assert_eq!(cut(list, 2), (vec![1], vec![], all));
        assert_eq!(cut(b"{\"type\": \"tap\"}", 0).2, [true, false, false]);
    }

    #[test]
    fn a_line_that_is_too_long_is_one_bad_row() {
        let long =
            format!("{{\"type\": \"tap\", \"viewer\": \"{}\"}}", "x".repeat(3 * LINE_BYTES_MAX));
        let list = format!("{long}\n{{\"type\": \"tap\"}}\n{long}");
        let bad = vec![(1, Reason::TooLarge), (3, Reason::TooLarge)];
        assert_eq!(cut(list.as_bytes(), 0), (vec![2], bad, [true, false, false]));
    }

    #[test]
    fn batches_are_as_long_as_the_node_takes_and_lose_nothing() {
        let line = b"{\"type\": \"tap\", \"viewer\": \"v\"}\n";
        let (events, bad, _) = cut(&line.repeat(2 * EVENTS_MAX + 1), 0);
        assert_eq!((events.len(), bad.len()), (2 * EVENTS_MAX + 1, 0));
        let wide = format!("{{\"type\": \"tap\", \"viewer\": \"{}\"}}\n", "v".repeat(4_000));
        assert_eq!(cut(&wide.into_bytes().repeat(1_000), 0).0.len(), 1_000);
    }

    #[test]
    fn a_bad_row_can_be_mended_where_it_is_kept() {
        assert_eq!(Value::Object(raw_line(b"{\"type\": 4}")), serde_json::json!({"type": 4}));
        assert_eq!(Value::Object(raw_line(b"tap,1")), serde_json::json!({"line": "tap,1"}));
    }
}
