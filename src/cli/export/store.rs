//! Where an export is written: a folder or object store, with a manifest for each table.

use std::collections::BTreeMap;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use tokio_stream::StreamExt;
use url::Url;

use crate::cli::export::ExportError;
use crate::report::columnar::{SCHEMA_VERSION, Table};

/// The manifest's name in the folder of its table.
const MANIFEST: &str = "munadi-export.json";

/// A folder or object store.
pub(super) struct Store {
    store: Box<dyn ObjectStore>,
    root: Path,
}

impl Store {
    /// Opens a folder, which is made if it is new, or a store.
    pub(super) fn open(to: &str) -> Result<Self, ExportError> {
        if to.contains("://") {
            let url = Url::parse(to).map_err(|_| ExportError::Place(to.to_owned()))?;
            if url.scheme() != "s3" {
                return Err(ExportError::Place(to.to_owned()));
            }
            let (store, root) = object_store::parse_url_opts(&url, std::env::vars())?;
            return Ok(Self { store, root });
        }
        std::fs::create_dir_all(to)?;
        let store = LocalFileSystem::new_with_prefix(to)?.with_fsync(true);
        Ok(Self { store: Box::new(store), root: Path::default() })
    }

    /// Returns what is known to be complete of a table; `None`: nothing was exported yet.
    pub(super) async fn manifest(&self, table: Table) -> Result<Option<Manifest>, ExportError> {
        let path = self.manifest_path(table);
        let found = match self.store.get(&path).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found?.bytes().await?,
        };
        let read = serde_json::from_slice(&found);
        read.map(Some).map_err(|error| ExportError::Manifest(path.to_string(), error))
    }

    /// Says what is complete of a table: from then on it counts.
    pub(super) async fn put_manifest(
        &self,
        table: Table,
        manifest: &Manifest,
    ) -> Result<(), ExportError> {
        let path = self.manifest_path(table);
        let mut text = serde_json::to_string_pretty(manifest)
            .map_err(|error| ExportError::Manifest(path.to_string(), error))?;
        text.push('\n');
        self.store.put(&path, PutPayload::from(text)).await?;
        Ok(())
    }

    /// Writes one file of a day. Nobody sees a part of it: it is there whole or not at all.
    pub(super) async fn put_part(
        &self,
        (table, day, part): (Table, &str, usize),
        bytes: Vec<u8>,
    ) -> Result<(), ExportError> {
        let path = self.day_path(table, day).join(part_name(part));
        self.store.put(&path, PutPayload::from(bytes)).await?;
        Ok(())
    }

    /// Removes files of a day that an export left which was stopped in it.
    pub(super) async fn remove_parts_behind(
        &self,
        (table, day, parts): (Table, &str, usize),
    ) -> Result<(), ExportError> {
        let folder = self.day_path(table, day);
        let known: Vec<Path> =
            (0..parts).map(|part| folder.clone().join(part_name(part))).collect();
        let mut listed = self.store.list(Some(&folder));
        let mut others = Vec::new();
        while let Some(found) = listed.next().await {
            others.push(found?.location);
        }
        drop(listed);
        for other in others.into_iter().filter(|path| !known.contains(path)) {
            self.store.delete(&other).await?;
        }
        Ok(())
    }

    /// Names the manifest of a table, for people.
    pub(super) fn manifest_name(&self, table: Table) -> String {
        self.manifest_path(table).to_string()
    }

    fn manifest_path(&self, table: Table) -> Path {
        self.root.clone().join(table.name()).join(MANIFEST)
    }

    fn day_path(&self, table: Table, day: &str) -> Path {
        self.root.clone().join(table.name()).join(format!("day={day}"))
    }
}

fn part_name(part: usize) -> String {
    format!("part-{part:03}.parquet")
}

/// What is complete of one table, and what it is of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Manifest {
    pub(super) schema_version: String,
    /// The journal whose rows they are.
    pub(super) journal: String,
    /// Whose rows the key may see.
    pub(super) scope: String,
    /// Of this account only; 0: of all.
    pub(super) account_id: u64,
    /// The complete days, `YYYY-MM-DD`.
    pub(super) days: BTreeMap<String, Day>,
}

/// A complete day.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Day {
    pub(super) rows: u64,
    /// Its files, from `part-000`. A day without rows has none.
    pub(super) parts: usize,
}

impl Manifest {
    /// Returns the manifest of an export that has nothing yet.
    pub(super) fn new(journal: String, scope: String, account_id: u64) -> Self {
        let schema_version = SCHEMA_VERSION.to_owned();
        Self { schema_version, journal, scope, account_id, days: BTreeMap::new() }
    }

    /// Refuses to go on with what is of something else.
    pub(super) fn check(&self, path: String, ours: &Self) -> Result<(), ExportError> {
        let (theirs_id, ours_id) = (self.account_id.to_string(), ours.account_id.to_string());
        let told = [
            ("schema version", &self.schema_version, &ours.schema_version),
            ("journal", &self.journal, &ours.journal),
            ("scope", &self.scope, &ours.scope),
            ("account", &theirs_id, &ours_id),
        ];
        match told.into_iter().find(|(_, theirs, ours)| theirs != ours) {
            None => Ok(()),
            Some((field, theirs, ours)) => {
                let (theirs, ours) = (theirs.clone(), ours.clone());
                Err(ExportError::Foreign { path, field, theirs, ours })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(scope: &str) -> Manifest {
        Manifest::new("0a".into(), scope.into(), 7)
    }

    #[tokio::test]
    async fn a_manifest_reads_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        assert_eq!(store.manifest(Table::Touches).await.unwrap(), None);
        let mut told = manifest("all");
        told.days.insert("2026-11-23".into(), Day { rows: 3, parts: 1 });
        store.put_manifest(Table::Touches, &told).await.unwrap();
        assert_eq!(store.manifest(Table::Touches).await.unwrap(), Some(told));
        std::fs::write(folder.path().join("touches").join(MANIFEST), "{").unwrap();
        let error = store.manifest(Table::Touches).await.unwrap_err().to_string();
        assert!(error.contains("touches/munadi-export.json"), "{error}");
    }

    #[tokio::test]
    async fn what_a_stopped_export_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let day = "2026-11-23";
        for part in 0..3 {
            store.put_part((Table::Touches, day, part), vec![part as u8]).await.unwrap();
        }
        store.remove_parts_behind((Table::Touches, day, 1)).await.unwrap();
        let left = std::fs::read_dir(folder.path().join("touches/day=2026-11-23")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["part-000.parquet"]);
    }

    #[test]
    fn what_is_of_something_else_is_named() {
        manifest("all").check("x".into(), &manifest("all")).unwrap();
        let error = manifest("all").check("x".into(), &manifest("tenant 5")).unwrap_err();
        assert!(error.to_string().contains("scope all, this export of tenant 5"), "{error}");
    }

    #[test]
    fn a_place_is_a_folder_or_a_store() {
        for to in ["ftp://host/x", "http://host/x", "://"] {
            let error = Store::open(to).err().expect("no store").to_string();
            assert!(error.contains("s3://bucket/prefix"), "{error}");
        }
    }
}
