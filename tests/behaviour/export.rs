//! `munadi export`: the tables as Parquet by day, each day once and always with the same bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use munadi::cli::export::{Done, ExportArgs, ExportError, Exported, export};
use munadi::node::clock::Clock;
use munadi::report::columnar::{SCHEMA_VERSION, Table};
use munadi::types::time::DAY_MS;
use parquet::file::reader::{FileReader, SerializedFileReader};
use tempfile::TempDir;

use crate::columns::Town;
use crate::desk::{ANALYST, OPERATOR, RIVALS, calls};

fn args(town: &Town, key: &str, to: &Path, tables: &[Exported]) -> ExportArgs {
    ExportArgs {
        to: to.to_str().unwrap().to_owned(),
        caller: town.desk.caller(key),
        account: 0,
        tables: tables.to_vec(),
        start: Some("2026-11-20".parse().unwrap()),
    }
}

fn exported(town: &Town, to: &Path) -> Vec<Done> {
    calls(export(&args(town, ANALYST, to, &[]))).unwrap()
}

/// Returns the files of a folder and what is in them, by their paths in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn parts(folder: &Path, table: Table) -> Vec<String> {
    let prefix = format!("{}/day=", table.name());
    files(folder).into_keys().filter(|name| name.starts_with(&prefix)).collect()
}

fn town() -> (Town, TempDir) {
    let town = Town::open();
    town.live_a_day();
    town.live_a_day();
    (town, tempfile::tempdir().unwrap())
}

#[test]
fn each_day_that_is_over_is_a_file_with_its_rows_and_version() {
    let (town, folder) = town();
    let done = exported(&town, folder.path());
    let names: Vec<_> = done.iter().map(|done| done.table).collect();
    assert_eq!(names, [Table::Attributions, Table::Touches, Table::Conversations], "its role's");
    for done in &done {
        let parts = parts(folder.path(), done.table);
        let day = |day| format!("{}/day=2026-11-{day}/part-000.parquet", done.table.name());
        assert_eq!(parts, [day(23), day(24)]);
        let mut rows = 0;
        for part in parts {
            let file = SerializedFileReader::new(File::open(folder.path().join(part)).unwrap());
            let metadata = file.unwrap().metadata().file_metadata().clone();
            rows += metadata.num_rows() as u64;
            let told = metadata.key_value_metadata().unwrap();
            let version = told.iter().find(|told| told.key == "munadi.schema_version").unwrap();
            assert_eq!(version.value.as_deref(), Some(SCHEMA_VERSION));
        }
        assert_eq!((rows, done.complete_up_to.to_string()), (done.rows, "2026-11-25".into()));
    }
    // Of transfers a day is over when it is over in every account's time zone.
    let transfers = args(&town, OPERATOR, folder.path(), &[Exported::Transfers]);
    let done = calls(export(&transfers)).unwrap();
    assert_eq!(done[0].complete_up_to.to_string(), "2026-11-24");
    assert_eq!(parts(folder.path(), Table::Transfers).len(), 1);
    town.desk.stop();
}

#[test]
fn a_second_export_changes_nothing_and_another_place_gets_the_same_bytes() {
    let (town, folder) = town();
    exported(&town, folder.path());
    let first = files(folder.path());
    let again = exported(&town, folder.path());
    assert!(again.iter().all(|done| (done.days, done.rows) == (0, 0)), "{again:?}");
    assert_eq!(files(folder.path()), first);
    let other = tempfile::tempdir().unwrap();
    exported(&town, other.path());
    assert_eq!(files(other.path()), first);
    town.desk.stop();
}

#[test]
fn the_next_export_adds_the_days_since() {
    let (town, folder) = town();
    exported(&town, folder.path());
    let before = files(folder.path());
    town.live_a_day();
    let done = exported(&town, folder.path());
    assert!(done.iter().all(|done| done.days == 1 && done.rows > 0), "{done:?}");
    let after = files(folder.path());
    let is_part = |name: &&String| name.ends_with(".parquet");
    for name in before.keys().filter(is_part) {
        assert_eq!(after[name], before[name], "{name} was written again");
    }
    let more: Vec<_> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    assert!(more.iter().all(|name| name.contains("day=2026-11-25")) && more.len() == 3, "{more:?}");
    town.clock.set(town.clock.now().plus_ms(2 * DAY_MS));
    let done = exported(&town, folder.path());
    assert!(done.iter().all(|done| (done.days, done.rows) == (2, 0)), "days without rows count");
    town.desk.stop();
}

#[test]
fn what_a_killed_export_left_does_not_count() {
    let (town, folder) = town();
    exported(&town, folder.path());
    let whole = files(folder.path());
    let table = folder.path().join("attributions");
    // It was killed in the second day: a file too short, one too many, and nothing told of the day.
    let path = table.join("munadi-export.json");
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["days"].as_object_mut().unwrap().remove("2026-11-24").unwrap();
    fs::write(&path, serde_json::to_string(&manifest).unwrap()).unwrap();
    fs::write(table.join("day=2026-11-24/part-000.parquet"), "PAR1").unwrap();
    fs::write(table.join("day=2026-11-24/part-001.parquet"), "PAR1").unwrap();
    exported(&town, folder.path());
    assert_eq!(files(folder.path()), whole);
    town.desk.stop();
}

#[test]
fn a_place_with_rows_of_another_scope_is_refused() {
    let (town, folder) = town();
    exported(&town, folder.path());
    let before = files(folder.path());
    town.live_a_day();
    let other = args(&town, RIVALS, folder.path(), &[Exported::Attributions]);
    let error = calls(export(&other)).unwrap_err();
    assert!(matches!(error, ExportError::Foreign { field: "scope", .. }), "{error}");
    assert_eq!(files(folder.path()), before);
    let denied = args(&town, ANALYST, folder.path(), &[Exported::Transfers]);
    let error = calls(export(&denied)).unwrap_err().to_string();
    assert!(error.contains("transfers"), "{error}");
    town.desk.stop();
}
