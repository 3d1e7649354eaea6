//! Taking a backup of a folder while its node runs, without asking the node.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::journal::file::archive::{Archive, Extent, number_of};
use crate::journal::file::{Boundary, boundaries};
use crate::journal::{Block, LogError, ShardLog};
use crate::node::backup::copy::{Told, copy, hash, sync_dir};
use crate::node::backup::{
    BACKUP_FORMAT, BackupError, JOURNAL, Kept, LOCK, MANIFEST, Manifest, RING, failed, names, time,
};
use crate::node::base::joined;
use crate::node::files::Files;
use crate::node::recover::{OpenError, fold};
use crate::types::ids::{Seq, SeqVector, Shard};
use crate::types::time::Moment;

/// How often a backup begins again when the node removes what is being copied.
const ATTEMPTS_MAX: usize = 3;

/// What a backup came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Taken {
    /// What it holds.
    pub manifest: Manifest,
    /// Files that were copied, and their bytes.
    pub copied: (usize, u64),
    /// Files that were there already with the same bytes.
    pub same: usize,
}

/// Takes a backup of a node's folder into another folder, which is empty, new, or holds earlier backups of
/// the same node. The node may be running: everything it acknowledged before the call is in it.
///
/// The checkpoint is chosen first and the journal read after it, so that no checkpoint is ahead of its
/// journal; the key ring comes last, so that it knows every key the journal speaks of.
///
/// # Errors
/// When the journal is damaged, or the folder holds anything else; the backup that was there stays good.
pub fn backup(
    dir: &Path,
    to: &Path,
    now: Moment,
    told: &mut dyn FnMut(u64),
) -> Result<Taken, BackupError> {
    if !dir.join(RING).is_file() {
        return Err(BackupError::NoNode(dir.to_owned()));
    }
    let _lock = lock(to)?;
    for _ in 1..ATTEMPTS_MAX {
        match attempt(dir, to, now, told) {
            Err(error) if is_gone(&error) => {}
            done => return done,
        }
    }
    attempt(dir, to, now, told)
}

/// Tells whether a file was missed that is removed while a node runs: a segment or a base that a newer base stands
/// for.
fn is_gone(error: &BackupError) -> bool {
    let source = match error {
        BackupError::Io { source, .. } | BackupError::Log(LogError::Io { source, .. }) => source,
        _ => return false,
    };
    source.kind() == io::ErrorKind::NotFound
}

fn attempt(
    dir: &Path,
    to: &Path,
    now: Moment,
    told: &mut dyn FnMut(u64),
) -> Result<Taken, BackupError> {
    let old = match Manifest::read(to) {
        Ok(old) => Some(old),
        Err(BackupError::NoBackup(_)) => None,
        Err(error) => return Err(error),
    };
    let files = Files::new(dir);
    let checkpoint = files.newest_checkpoint();
    let log = Archive::open(&files.journal())?;
    log.sync()?;
    joined(&files, &log.boundaries())?;
    let scanned = log.scanned();
    let mut run = Run { dir, to, old: old.as_ref(), copied: (0, 0), same: 0, told };
    run.check_history(&log)?;
    let extents = log.extents();
    let (mut segments, older) = run.older(&extents, &log)?;
    for extent in &extents {
        segments.push(run.segment(extent)?);
    }
    let checkpoint = checkpoint.map(|(name, file)| run.checkpoint(name, file)).transpose()?;
    let others = run.others()?;
    let last_seqs = Shard::all()
        .map(|shard| (shard.number(), scanned.next.0[shard.index()].0.saturating_sub(1)))
        .filter(|(_, last)| *last > 0);
    let manifest = Manifest {
        format: BACKUP_FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        journal: scanned.journal.to_string(),
        taken: time(now.0),
        last_time: last_time(&log)?.map(|last| time(last.0)).unwrap_or_default(),
        last_batch: scanned.last_batch.0,
        facts: older + scanned.facts,
        last_seqs: last_seqs.collect(),
        segments,
        checkpoint,
        files: others,
    };
    let (copied, same) = (run.copied, run.same);
    keep(to, &manifest)?;
    forget(to, old.as_ref(), &manifest)?;
    Ok(Taken { manifest, copied, same })
}

/// One backup under way.
struct Run<'a> {
    dir: &'a Path,
    to: &'a Path,
    old: Option<&'a Manifest>,
    copied: (usize, u64),
    same: usize,
    told: Told<'a>,
}

impl Run<'_> {
    /// Refuses to go on in a backup of another journal, or of one that went another way since.
    fn check_history(&mut self, log: &Archive) -> Result<(), BackupError> {
        let Some(old) = self.old else { return Ok(()) };
        let other = |what: String| BackupError::OtherHistory { path: self.to.to_owned(), what };
        let journal = log.journal_id().to_string();
        if old.journal != journal {
            return Err(other(format!("journal {} and not {journal}", old.journal)));
        }
        let extents = log.extents();
        for kept in &old.segments {
            // What stood before is removed behind a base, and its bytes can't be compared any more.
            if extents.first().is_some_and(|first| kept.name < first.name) {
                continue;
            }
            let found = extents.iter().find(|extent| extent.name == kept.name);
            let Some(found) = found.filter(|extent| extent.bytes >= kept.bytes) else {
                return Err(other(format!("{} is longer there", kept.name)));
            };
            let path = self.dir.join(JOURNAL).join(&found.name);
            if hash(&path, kept.bytes, &mut |_| ())? != kept.blake3 {
                return Err(other(format!("{} has other bytes", kept.name)));
            }
        }
        Ok(())
    }

    /// Returns the segments of the backup before that the node has removed since, and how many facts they hold; none
    /// where others between them and its first are missing.
    fn older(
        &mut self,
        extents: &[Extent],
        log: &Archive,
    ) -> Result<(Vec<Kept>, u64), BackupError> {
        let all = self.old.map_or(&[][..], |old| &old.segments[..]);
        let first = extents.first().map_or("", |extent| extent.name.as_str());
        let joins = all.iter().position(|kept| kept.name == first).unwrap_or_default();
        let older = all[..joins].to_vec();
        let Some(begin) = older.first().and_then(|kept| number_of(&kept.name)) else {
            return Ok((older, 0));
        };
        let begins = boundaries(&self.to.join(JOURNAL))?;
        let begin = begins.iter().find(|boundary| boundary.segment == begin);
        let end = log.start();
        let nexts = begin.map_or_else(|| end.clone(), Boundary::next);
        let facts = end.0.iter().zip(nexts.0).map(|(end, next)| end.0 - next.0.min(end.0));
        older.iter().for_each(|kept| (self.told)(kept.bytes));
        self.same += older.len();
        Ok((older, facts.sum()))
    }

    fn segment(&mut self, extent: &Extent) -> Result<Kept, BackupError> {
        let old = self.old.and_then(|old| {
            old.segments.iter().find(|kept| kept.name == extent.name && kept.bytes == extent.bytes)
        });
        let from = self.dir.join(JOURNAL).join(&extent.name);
        let to = self.to.join(JOURNAL);
        if let Some(old) = old.filter(|old| is_there(&to.join(&old.stored), old.bytes)) {
            // Its history was checked: the bytes are the same.
            self.same += 1;
            (self.told)(old.bytes);
            return Ok(old.clone());
        }
        let mut file = File::open(&from).map_err(failed("open", &from))?;
        let blake3 = copy(&mut file, extent.bytes, &to.join(&extent.name), self.told)?;
        sync_dir(&to)?;
        self.note(extent.bytes);
        let (name, bytes) = (extent.name.clone(), extent.bytes);
        Ok(Kept { stored: name.clone(), name, bytes, blake3 })
    }

    fn checkpoint(&mut self, name: String, file: File) -> Result<Kept, BackupError> {
        let path = self.dir.join(&name);
        let bytes = file.metadata().map_err(failed("read", &path))?.len();
        self.file(name, file, bytes)
    }

    /// Copies what else lies in the node's folder.
    fn others(&mut self) -> Result<Vec<Kept>, BackupError> {
        let mut kept = Vec::new();
        for name in names(self.dir)? {
            let path = self.dir.join(&name);
            if !path.is_file() || Files::is_passing(&name) {
                continue;
            }
            let file = File::open(&path).map_err(failed("open", &path))?;
            let bytes = file.metadata().map_err(failed("read", &path))?.len();
            kept.push(self.file(name, file, bytes)?);
        }
        Ok(kept)
    }

    /// Copies a file under its name and hash, so that an earlier backup keeps its own.
    fn file(&mut self, name: String, mut file: File, bytes: u64) -> Result<Kept, BackupError> {
        let part = self.to.join(&name);
        let blake3 = copy(&mut file, bytes, &part, self.told)?;
        let stored = format!("{name}-{}", &blake3[..16]);
        let to = self.to.join(&stored);
        if is_there(&to, bytes) && hash(&to, bytes, &mut |_| ())? == blake3 {
            self.same += 1;
            fs::remove_file(&part).map_err(failed("remove", &part))?;
        } else {
            self.note(bytes);
            fs::rename(&part, &to).map_err(failed("rename", &part))?;
        }
        sync_dir(self.to)?;
        Ok(Kept { name, stored, bytes, blake3 })
    }

    fn note(&mut self, bytes: u64) {
        self.copied.0 += 1;
        self.copied.1 += bytes;
    }
}

/// Returns the time of the journal's last decision.
fn last_time(log: &Archive) -> Result<Option<Moment>, BackupError> {
    let mut from = SeqVector(log.scanned().next.0.map(|next| Seq(next.0.saturating_sub(1))));
    let start = log.start();
    from.0.iter_mut().zip(&start.0).for_each(|(from, start)| *from = (*from).max(*start));
    let mut last = None;
    let mut failed = None;
    log.read_from(&from, &mut |block| {
        match latest_of(block) {
            Ok(at) => last = last.max(Some(at)),
            Err(error) => failed = Some(error),
        }
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(last), |error| Err(error.into()))
}

/// Returns the time of a block's last decision.
pub(super) fn latest_of(block: &Block) -> Result<Moment, OpenError> {
    let mut latest = Moment(i64::MIN);
    fold(block, |stamp, _| latest = latest.max(stamp.at))?;
    Ok(latest)
}

/// Locks a folder for a backup, and makes it if it is new.
fn lock(to: &Path) -> Result<File, BackupError> {
    let path = to.join(LOCK);
    if !path.exists() && !names(to)?.is_empty() {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    let journal = to.join(JOURNAL);
    fs::create_dir_all(&journal).map_err(failed("create", &journal))?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::Locked(to.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

/// Writes the manifest, after everything it names is on the disk.
fn keep(to: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let (part, whole) = (to.join("manifest.part"), to.join(MANIFEST));
    let mut text = serde_json::to_vec_pretty(manifest)
        .map_err(io::Error::from)
        .map_err(failed("write", &part))?;
    text.push(b'\n');
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    fail::fail_point!("backup-manifest-write");
    let written = options.open(&part).and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_all()
    });
    written.map_err(failed("write", &part))?;
    fail::fail_point!("backup-manifest-rename");
    fs::rename(&part, &whole).map_err(failed("write", &whole))?;
    fail::fail_point!("backup-manifest-renamed");
    sync_dir(to)
}

/// Removes what only the backup before named: segments too, where they do not lead to the node's first any more.
fn forget(to: &Path, old: Option<&Manifest>, new: &Manifest) -> Result<(), BackupError> {
    let named: BTreeSet<_> = new.all().map(|kept| &kept.stored).collect();
    let others = old.into_iter().flat_map(|old| old.files.iter().chain(&old.checkpoint));
    let others = others.map(|kept| (to.join(&kept.stored), kept));
    let segments = old.into_iter().flat_map(|old| &old.segments);
    let segments = segments.map(|kept| (to.join(JOURNAL).join(&kept.stored), kept));
    for (path, _) in others.chain(segments).filter(|(_, kept)| !named.contains(&kept.stored)) {
        if path.exists() {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

fn is_there(path: &Path, bytes: u64) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() >= bytes)
}
