//! A node's folder: the key ring, the checkpoints, and the journal's own folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::tokens::KeyRing;

/// The key ring's file, part of the truth: without it no token or pseudonym means anything.
const RING: &str = "keyring.json";

/// Checkpoints kept: the newest, and one before it should that be damaged.
const CHECKPOINTS_KEPT: usize = 2;

const CHECKPOINT_START: &str = "checkpoint-";

const BASE_START: &str = "base-";

/// Bytes of a checkpoint that are read at once, at least.
const READ_BYTES: usize = 64 << 10;

/// One node's folder.
#[derive(Clone, Debug)]
pub struct Files(PathBuf);

impl Files {
    /// Names a node's folder.
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// Returns the journal's folder.
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// Returns the folder.
    pub(in crate::node) fn folder(&self) -> &Path {
        &self.0
    }

    /// Returns where the bases lie, the oldest first.
    pub(in crate::node) fn bases(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut paths: Vec<_> =
            names.filter(|name| Self::is_base(name)).map(|name| self.0.join(name)).collect();
        paths.sort();
        paths
    }

    /// Tells whether a file of this name is a base.
    pub(in crate::node) fn is_base(name: &str) -> bool {
        let number = name.strip_prefix(BASE_START).filter(|number| !number.is_empty());
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// Returns where the base up to a batch lies.
    pub(in crate::node) fn base_path(&self, last_batch: u64) -> PathBuf {
        self.0.join(format!("{BASE_START}{last_batch:020}"))
    }

    /// Returns where a base lies that is being made.
    pub(in crate::node) fn base_part(&self) -> PathBuf {
        self.0.join("base.part")
    }

    /// Returns the key ring; `None`: there is none yet.
    ///
    /// # Errors
    /// When it can't be read or is not a key ring.
    pub fn ring(&self) -> io::Result<Option<KeyRing>> {
        match fs::read(self.0.join(RING)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the key ring, durably, readable for this user alone.
    ///
    /// # Errors
    /// When it can't be written; the old one stands then.
    pub fn keep_ring(&self, ring: &KeyRing) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        let text = serde_json::to_vec_pretty(ring)?;
        self.replace(RING, |file| file.write_all(&text)).map(drop)
    }

    /// Returns the checkpoints, newest first, each opened when it is read.
    pub fn checkpoints(&self) -> Vec<Box<dyn Read>> {
        let open = |name: &String| File::open(self.0.join(name)).ok();
        let files = self.checkpoint_names();
        let readers = files.iter().rev().filter_map(open);
        let buffered = |file| Box::new(BufReader::with_capacity(READ_BYTES, file)) as Box<dyn Read>;
        readers.map(buffered).collect()
    }

    /// Returns the newest checkpoint and its name. It can be read however many are written meanwhile.
    pub(in crate::node) fn newest_checkpoint(&self) -> Option<(String, File)> {
        let open = |name: String| File::open(self.0.join(&name)).ok().map(|file| (name, file));
        self.checkpoint_names().into_iter().rev().find_map(open)
    }

    /// Tells whether a file of this name comes and goes while a node runs: a checkpoint, or one that is
    /// being written.
    pub(in crate::node) fn is_passing(name: &str) -> bool {
        name.starts_with(CHECKPOINT_START) || name.ends_with(".part")
    }

    /// Writes a checkpoint beside the others; it takes its name, and the oldest goes, only when `settle`
    /// says that it counts.
    ///
    /// # Errors
    /// When it can't be written; the others stand then.
    pub(in crate::node) fn keep_checkpoint<T>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
        settle: impl FnOnce(T) -> bool,
    ) -> io::Result<bool> {
        let names = self.checkpoint_names();
        let number = |name: &String| name[CHECKPOINT_START.len()..].parse::<u64>().ok();
        let next = names.last().and_then(number).unwrap_or_default() + 1;
        let part = self.0.join("checkpoint.part");
        let written = write_whole(&part, write).inspect_err(|_| {
            // A full disk needs the space.
            let _ = fs::remove_file(&part);
        })?;
        fail::fail_point!("checkpoint-settle");
        if !settle(written) {
            fs::remove_file(&part)?;
            return Ok(false);
        }
        fail::fail_point!("checkpoint-rename");
        fs::rename(&part, self.0.join(format!("{CHECKPOINT_START}{next:012}")))?;
        fail::fail_point!("checkpoint-renamed");
        File::open(&self.0)?.sync_all()?;
        fail::fail_point!("checkpoint-forget");
        let spare = (names.len() + 1).saturating_sub(CHECKPOINTS_KEPT);
        names.iter().take(spare).try_for_each(|name| fs::remove_file(self.0.join(name)))?;
        Ok(true)
    }

    fn checkpoint_names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| name.starts_with(CHECKPOINT_START)).collect();
        names.sort();
        names
    }

    fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<PathBuf> {
        let (part, whole) = (self.0.join(format!("{name}.part")), self.0.join(name));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        fail::fail_point!("ring-write");
        write(&mut file)?;
        fail::fail_point!("ring-written");
        file.sync_all()?;
        fail::fail_point!("ring-rename");
        fs::rename(&part, &whole)?;
        fail::fail_point!("ring-renamed");
        File::open(&self.0)?.sync_all()?;
        Ok(whole)
    }
}

/// Writes a file and syncs it.
fn write_whole<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> io::Result<T> {
    let mut out = BufWriter::new(File::create(path)?);
    fail::fail_point!("checkpoint-write");
    let written = write(&mut out)?;
    fail::fail_point!("checkpoint-written");
    out.into_inner()?.sync_all()?;
    Ok(written)
}
