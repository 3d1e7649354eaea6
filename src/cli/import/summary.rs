//! What became of the rows: counts for people and programs, and the side file of bad ones.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use serde_json::{Map, Value, json as value};

use crate::cli::import::row::{REJECTED, as_row, type_name};
use crate::cli::report::short;
use crate::types::proto::v1::{
    DeclineReason, ImportOutcome, ImportResult, ImportedEvent, ImportedEventType,
};

/// What became of how many rows.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// By type (empty: not known), what became of them, and why.
    pub counts: BTreeMap<(&'static str, &'static str, String), u64>,
    /// Rows of the files.
    pub rows: u64,
    /// Where bad ones were put; empty: there are none.
    pub rejects: String,
    /// Whether nothing was counted.
    pub dry_run: bool,
}

impl Report {
    /// Counts a row that the node answered.
    pub(super) fn note(&mut self, kind: ImportedEventType, result: &ImportResult) {
        let outcome = short(result.outcome().as_str_name(), "IMPORT_OUTCOME_");
        let why = match result.outcome() {
            ImportOutcome::Declined => {
                short(result.decline_reason().as_str_name(), "DECLINE_REASON_").to_owned()
            }
            _ => reason(&result.reason, &result.field),
        };
        self.add(type_name(kind), outcome, why);
    }

    /// Counts a row that was not sent.
    pub(super) fn note_bad(&mut self, why: &str, field: &str) {
        self.add("", "REFUSED", reason(why, field));
    }

    fn add(&mut self, kind: &'static str, outcome: &'static str, why: String) {
        *self.counts.entry((kind, outcome, why)).or_default() += 1;
        self.rows += 1;
    }

    /// Returns how many rows ended so, whatever their type and reason.
    pub fn count(&self, outcome: &str) -> u64 {
        let of = self.counts.iter().filter(|((_, known, _), _)| *known == outcome);
        of.map(|(_, count)| count).sum()
    }

    fn without_touch(&self) -> u64 {
        let why = short(DeclineReason::NoTouch.as_str_name(), "DECLINE_REASON_");
        let of = self
            .counts
            .iter()
            .filter(|((_, outcome, known), _)| *outcome == "DECLINED" && known == why);
        of.map(|(_, count)| count).sum()
    }
}

fn reason(why: &str, field: &str) -> String {
    format!("{why} {field}").trim_end().to_owned()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((kind, outcome, why), count) in &self.counts {
            let kind = if kind.is_empty() { "-" } else { kind };
            writeln!(f, "{kind:<13} {outcome:<10} {why:<36} {count:>10}")?;
        }
        writeln!(f, "{:<61} {:>10}", "rows", self.rows)?;
        let without = self.without_touch();
        if without > 0 {
            writeln!(
                f,
                "{without} outcomes have no touch here. An outcome is credited when it is imported: \
                 bring its touches before it or with it"
            )?;
        }
        if self.dry_run {
            writeln!(f, "nothing was counted: this was a dry run")?;
        }
        if !self.rejects.is_empty() {
            writeln!(f, "rows that were refused are in {}", self.rejects)?;
        }
        Ok(())
    }
}

/// Returns a report as one line of JSON.
pub(super) fn json(report: &Report) -> String {
    let counts = report.counts.iter().map(|((kind, outcome, why), count)| {
        value!({"type": kind, "outcome": outcome, "reason": why, "count": count})
    });
    value!({
        "rows": report.rows,
        "counts": counts.collect::<Vec<_>>(),
        "rejects": report.rejects,
        "dry_run": report.dry_run,
    })
    .to_string()
}

/// The side file of bad rows, made when there is one.
#[derive(Debug)]
pub struct Rejects {
    path: PathBuf,
    out: Option<BufWriter<File>>,
}

/// Why a row is in the side file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Why<'a> {
    pub(super) file: &'a str,
    pub(super) line: u64,
    pub(super) reason: &'a str,
    pub(super) field: &'a str,
    pub(super) message: &'a str,
}

impl Rejects {
    /// Returns a side file that is not there yet.
    pub const fn new(path: PathBuf) -> Self {
        Self { path, out: None }
    }

    /// Refuses to be one of the files that are imported: it would be emptied while it is read.
    pub(super) fn check(&self, files: &[PathBuf]) -> io::Result<()> {
        let real = |path: &PathBuf| path.canonicalize().ok();
        let own = real(&self.path);
        if own.is_some() && files.iter().any(|file| real(file) == own) {
            let name = self.path.display();
            let message = format!("{name} is imported itself: name another file by --rejects");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    /// Returns its name; empty: there is no bad row.
    pub(super) fn name(&self) -> String {
        self.out.as_ref().map_or_else(String::new, |_| self.path.display().to_string())
    }

    /// Writes a row with what is wrong with it.
    pub(super) fn put(&mut self, mut row: Map<String, Value>, why: Why<'_>) -> io::Result<()> {
        if self.out.is_none() {
            let made = File::create(&self.path).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
            })?;
            self.out = Some(BufWriter::new(made));
        }
        let Why { file, line, reason, field, message } = why;
        let why = value!({
            "file": file, "line": line, "reason": reason, "field": field, "message": message,
        });
        row.insert(REJECTED.to_owned(), why);
        let Some(out) = &mut self.out else { return Ok(()) };
        serde_json::to_writer(&mut *out, &row)?;
        writeln!(out)
    }

    /// Writes an event that the node refused.
    pub(super) fn put_event(&mut self, event: &ImportedEvent, why: Why<'_>) -> io::Result<()> {
        self.put(as_row(event), why)
    }

    /// Makes sure that all of it is in the file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report { rejects: "a.rejects.ndjson".into(), ..Report::default() };
        let result = |outcome: ImportOutcome| ImportResult {
            outcome: outcome.into(),
            ..ImportResult::default()
        };
        report.note(ImportedEventType::Tap, &result(ImportOutcome::Imported));
        report.note(ImportedEventType::Tap, &result(ImportOutcome::Imported));
        let decline_reason = DeclineReason::NoTouch.into();
        let declined = ImportResult { decline_reason, ..result(ImportOutcome::Declined) };
        report.note(ImportedEventType::Conversion, &declined);
        report.note_bad("FIELD_INVALID", "");
        report.note_bad("FIELD_INVALID", "event_time");
        report
    }

    #[test]
    fn a_table_and_json_tell_what_became_of_every_row() {
        let report = report();
        assert_eq!((report.rows, report.count("IMPORTED"), report.count("REFUSED")), (5, 2, 2));
        let text = report.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("-             REFUSED    FIELD_INVALID "), "{text}");
        assert!(lines[1].contains("FIELD_INVALID event_time"), "{text}");
        assert!(lines[2].starts_with("conversion    DECLINED   NO_TOUCH "), "{text}");
        assert!(lines[3].starts_with("tap           IMPORTED   ") && lines[3].ends_with(" 2"));
        assert!(lines[4].starts_with("rows ") && lines[4].ends_with(" 5"), "{text}");
        assert!(lines[5].starts_with("1 outcomes have no touch"), "{text}");
        assert_eq!(lines[6], "rows that were refused are in a.rejects.ndjson");
        let json: Value = serde_json::from_str(&json(&report)).unwrap();
        assert_eq!((&json["rows"], json["counts"].as_array().unwrap().len()), (&value!(5), 4));
    }

    #[test]
    fn a_side_file_is_there_only_where_a_row_is_bad() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects");
        let mut rejects = Rejects::new(path.clone());
        rejects.finish().unwrap();
        assert!(!path.exists() && rejects.name().is_empty());
        let why = Why { file: "a", line: 4, reason: "TOO_LARGE", field: "", message: "m" };
        rejects.put(Map::new(), why).unwrap();
        rejects
            .put_event(&ImportedEvent { viewer: "v".into(), ..Default::default() }, why)
            .unwrap();
        rejects.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let rows: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows[0]["rejected"]["line"], value!(4));
        assert_eq!((rows.len(), &rows[1]["viewer"]), (2, &value!("v")));
    }
}
