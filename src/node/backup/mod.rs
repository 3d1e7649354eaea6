//! Backups of a node's folder: what one holds, how it is taken, checked and restored.
//!
//! A backup is a folder: `journal/` with the segments as the node has them, the newest checkpoint, every
//! other file of the node's folder (the key ring above all) under its name and hash, and `manifest.json`,
//! which is written last. Segments only grow, so what a manifest names stays good while the next backup is
//! taken into the same folder, and after one that was cut short.
//!
//! Bases are among the other files. Segments that the node has removed since stay in a backup that had them, as long
//! as the ones behind them are there without a gap.

mod check;
mod copy;
mod restore;
mod take;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::journal::LogError;
use crate::journal::file::Boundary;
use crate::journal::file::archive::{Archive, number_of};
use crate::node::base::{Base, BaseError, joined_of};
use crate::node::files::Files;
use crate::node::recover::OpenError;

pub use check::{Verified, state_hash, verify};
pub use restore::{Restored, restore};
pub use take::{Taken, backup};

/// The version of the manifest's format.
pub const BACKUP_FORMAT: u32 = 1;

/// The manifest's file.
const MANIFEST: &str = "manifest.json";

/// The lock of a backup's folder, and what tells it from any other.
const LOCK: &str = "backup.lock";

/// The journal's folder in a backup, as in a node's folder.
const JOURNAL: &str = "journal";

/// The key ring's name in a node's folder.
const RING: &str = "keyring.json";

/// What a backup holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Manifest {
    /// [`BACKUP_FORMAT`].
    pub format: u32,
    /// The version of munadi that took it.
    pub version: String,
    /// The journal's name.
    pub journal: String,
    /// When it was taken, RFC 3339.
    pub taken: String,
    /// The journal's time at its last decision, RFC 3339. Empty: the journal is.
    pub last_time: String,
    /// The last durable batch.
    pub last_batch: u64,
    /// How many facts the journal's segments hold.
    pub facts: u64,
    /// The last durable sequence of each shard that has any.
    pub last_seqs: BTreeMap<u8, u64>,
    /// The journal's segments, oldest first.
    pub segments: Vec<Kept>,
    /// The newest checkpoint, if there was one.
    pub checkpoint: Option<Kept>,
    /// Every other file of the node's folder.
    pub files: Vec<Kept>,
}

/// A file in a backup.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Kept {
    /// Its name in the node's folder, or in the journal's.
    pub name: String,
    /// Its name in the backup.
    pub stored: String,
    /// How many of its first bytes count.
    pub bytes: u64,
    /// BLAKE3 of those, in hexadecimal.
    pub blake3: String,
}

/// Why a backup can't be taken, checked or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The journal can't be read, or is damaged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The journal holds what this version can't read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What came before the journal's first segment can't be had.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// There is no node in the folder.
    #[error("{} is no node's folder: it holds no {RING}", .0.display())]
    NoNode(PathBuf),
    /// There is no backup in the folder, or none that was finished.
    #[error("{} holds no finished backup: it has no {MANIFEST}", .0.display())]
    NoBackup(PathBuf),
    /// The manifest can't be read.
    #[error("{}: {what}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The folder must be empty and is not.
    #[error("{} is not empty: name a new folder", .0.display())]
    NotEmpty(PathBuf),
    /// Another process is writing a backup there.
    #[error("{} is in use by another backup", .0.display())]
    Locked(PathBuf),
    /// The folder holds a backup of something else.
    #[error(
        "{} holds a backup of another history ({what}): take this one into a new folder",
        path.display()
    )]
    OtherHistory {
        /// The backup's folder.
        path: PathBuf,
        /// In what it differs.
        what: String,
    },
    /// A file is not what the manifest says.
    #[error("{} is damaged: {what}; use another backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Everything in the backup is later than what was asked for.
    #[error("until: the backup has nothing at or before it; its first decision is of {first}")]
    TooEarly {
        /// The journal's time at its first decision.
        first: String,
    },
}

impl Manifest {
    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// When there is none, or it is of a format that this version does not know.
    pub fn read(dir: &Path) -> Result<Self, BackupError> {
        let path = dir.join(MANIFEST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackupError::NoBackup(dir.to_owned()));
            }
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let wrong = |what: String| BackupError::Manifest { path: path.clone(), what };
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("it is no backup's manifest: {error}")))?;
        if manifest.format != BACKUP_FORMAT {
            let format = manifest.format;
            return Err(wrong(format!("format {format} is not known; use a newer munadi")));
        }
        if let Some(file) = manifest.all().find(|file| !file.is_plain()) {
            return Err(wrong(format!("`{}` is no file's name", file.name)));
        }
        Ok(manifest)
    }

    fn all(&self) -> impl Iterator<Item = &Kept> {
        self.segments.iter().chain(&self.checkpoint).chain(&self.files)
    }
}

impl Kept {
    /// Tells whether its names lead nowhere but into the folder.
    fn is_plain(&self) -> bool {
        let plain = |name: &str| Path::new(name).file_name().is_some_and(|file| file == name);
        plain(&self.name) && plain(&self.stored)
    }
}

/// Opens the journal in a backup, from the first segment that its manifest names.
fn log_of(dir: &Path, manifest: &Manifest) -> Result<Archive, BackupError> {
    let first =
        manifest.segments.first().and_then(|kept| number_of(&kept.name)).unwrap_or_default();
    Ok(Archive::open_within(&dir.join(JOURNAL), first..u64::MAX)?)
}

/// Returns the base in a backup that a journal goes on from.
fn base_in(
    dir: &Path,
    manifest: &Manifest,
    boundaries: &[Boundary],
) -> Result<Option<Base>, BackupError> {
    let mut bases: Vec<_> =
        manifest.files.iter().filter(|kept| Files::is_base(&kept.name)).collect();
    bases.sort_by(|a, b| a.name.cmp(&b.name));
    let paths: Vec<_> = bases.iter().map(|kept| dir.join(&kept.stored)).collect();
    Ok(joined_of(&paths, boundaries)?)
}

/// Returns a moment for people, RFC 3339.
fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

/// Returns what turns an `io::Error` on `path` into ours.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { action, path, source }
}

/// Returns the names of a folder's entries in order; none when it is not there.
fn names(dir: &Path) -> Result<Vec<String>, BackupError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed("read", dir))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../../tests/golden/backup_v1.json");

    fn read(text: &str) -> Result<Manifest, BackupError> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MANIFEST), text).unwrap();
        Manifest::read(dir.path())
    }

    #[test]
    fn the_manifest_of_the_first_format_is_still_read() {
        let manifest = read(GOLDEN).unwrap();
        assert_eq!((manifest.format, manifest.facts), (1, 1_200));
        assert_eq!(manifest.last_seqs, BTreeMap::from([(0, 1_000), (64, 200)]));
        assert_eq!(manifest.all().count(), 3);
        let again = serde_json::to_string_pretty(&manifest).unwrap() + "\n";
        assert_eq!(
            again, GOLDEN,
            "manifests that are written now can't be read by the first version"
        );
    }

    #[test]
    fn a_manifest_that_names_a_file_elsewhere_or_an_unknown_format_is_refused() {
        for (from, to) in [
            ("\"keyring.json-ef", "\"../keyring.json-ef"),
            ("\"name\": \"keyring.json\"", "\"name\": \"/etc/keyring.json\""),
            ("\"name\": \"keyring.json\"", "\"name\": \"..\""),
            ("\"format\": 1", "\"format\": 2"),
            ("{", "["),
        ] {
            let wrong = GOLDEN.replacen(from, to, 1);
            assert_ne!(wrong, GOLDEN);
            let refused = read(&wrong);
            assert!(matches!(refused, Err(BackupError::Manifest { .. })), "{to}: {refused:?}");
        }
    }
}
