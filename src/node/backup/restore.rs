//! Restoring a backup into a new folder, whole or as it was at a moment.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;

use crate::journal::ShardLog;
use crate::journal::file::archive::{Archive, seal};
use crate::journal::file::boundaries;
use crate::node::backup::check::{check_bytes, loads, ring_of};
use crate::node::backup::copy::{Told, copy, sync_dir};
use crate::node::backup::take::latest_of;
use crate::node::backup::{
    BackupError, JOURNAL, Kept, Manifest, base_in, failed, log_of, names, time,
};
use crate::node::base::{Base, joined};
use crate::node::files::Files;
use crate::types::ids::BatchNo;
use crate::types::time::Moment;

/// What was restored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restored {
    /// How many facts the journal holds.
    pub facts: u64,
    /// Its last batch.
    pub last_batch: BatchNo,
    /// Whether the backup's checkpoint came with it. Without one, the first start reads the whole journal.
    pub checkpoint: bool,
}

/// Restores a backup into a folder that is new or empty. With `until`, the journal ends with the last batch
/// whose decisions were all taken at or before that moment; the checkpoint is left out if it is later.
///
/// The key ring is the backup's newest in either case. The folder gets its name when everything is in it and
/// on the disk.
///
/// # Errors
/// When the folder holds anything, a byte of the backup is damaged, or all of it is later than `until`.
/// Nothing is left behind then.
pub fn restore(
    from: &Path,
    to: &Path,
    until: Option<Moment>,
    told: &mut dyn FnMut(u64),
) -> Result<Restored, BackupError> {
    let manifest = Manifest::read(from)?;
    if !names(to)?.is_empty() {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    let part = to.with_added_extension("part");
    if part.exists() {
        return Err(BackupError::NotEmpty(part));
    }
    check_bytes(from, &manifest, told)?;
    let built = build(from, &part, &manifest, until, told).and_then(|restored| {
        fs::rename(&part, to).map_err(failed("rename", &part))?;
        let above = to.parent().filter(|above| !above.as_os_str().is_empty());
        sync_dir(above.unwrap_or(Path::new(".")))?;
        Ok(restored)
    });
    if built.is_err() && part.exists() {
        fs::remove_dir_all(&part).map_err(failed("remove", &part))?;
    }
    built
}

fn build(
    from: &Path,
    to: &Path,
    manifest: &Manifest,
    until: Option<Moment>,
    told: Told<'_>,
) -> Result<Restored, BackupError> {
    let (old, new) = (from.join(JOURNAL), to.join(JOURNAL));
    fs::create_dir_all(&new).map_err(failed("create", &new))?;
    let log = log_of(from, manifest)?;
    let base = base_in(from, manifest, &log.boundaries())?;
    let segments = segments_until(&log, manifest, until)?;
    for (kept, bytes) in &segments {
        let path = old.join(&kept.stored);
        let mut file = File::open(&path).map_err(failed("open", &path))?;
        copy(&mut file, *bytes, &new.join(&kept.name), told)?;
    }
    sync_dir(&new)?;
    let scanned = seal(&new)?;
    let kept_boundaries = boundaries(&new)?;
    for kept in &manifest.files {
        let joins = |base: Base| base.join(&kept_boundaries);
        if Files::is_base(&kept.name)
            && Base::open(&from.join(&kept.stored)).and_then(joins).is_err()
        {
            continue;
        }
        copy_kept(from, to, kept, told)?;
    }
    joined(&Files::new(to), &kept_boundaries).map_err(|error| match (until, &base) {
        // What is left ends before the base does, and does not begin with the first fact.
        (Some(_), Some(base)) => BackupError::TooEarly { first: time(base.span().1.0) },
        _ => error.into(),
    })?;
    let mut with_checkpoint = false;
    if let Some(kept) = &manifest.checkpoint {
        let usable = until.is_none() || {
            let log = Box::new(Archive::open(&new)?);
            loads(log, ring_of(from, manifest)?, &from.join(&kept.stored))?.is_some()
        };
        if usable {
            copy_kept(from, to, kept, told)?;
            with_checkpoint = true;
        }
    }
    sync_dir(to)?;
    let (facts, last_batch) = (scanned.facts, scanned.last_batch);
    Ok(Restored { facts, last_batch, checkpoint: with_checkpoint })
}

fn copy_kept(from: &Path, to: &Path, kept: &Kept, told: Told<'_>) -> Result<(), BackupError> {
    let path = from.join(&kept.stored);
    let mut file = File::open(&path).map_err(failed("open", &path))?;
    copy(&mut file, kept.bytes, &to.join(&kept.name), told).map(drop)
}

/// Returns the segments up to a moment, and how many bytes of each.
fn segments_until<'a>(
    log: &Archive,
    manifest: &'a Manifest,
    until: Option<Moment>,
) -> Result<Vec<(&'a Kept, u64)>, BackupError> {
    let whole = || manifest.segments.iter().map(|kept| (kept, kept.bytes)).collect();
    let Some(until) = until else { return Ok(whole()) };
    let Some(late) = first_after(log, until)? else { return Ok(whole()) };
    let extents = log.extents_before(late)?;
    let parts = manifest.segments.iter().filter_map(|kept| {
        let extent = extents.iter().find(|extent| extent.name == kept.name)?;
        Some((kept, extent.bytes.min(kept.bytes)))
    });
    Ok(parts.collect())
}

/// Returns the first batch with a decision after a moment.
fn first_after(log: &Archive, until: Moment) -> Result<Option<BatchNo>, BackupError> {
    let (mut late, mut failed, mut before) = (None, None, None);
    log.read_from(&log.start(), &mut |block| {
        match latest_of(block) {
            Ok(at) if at > until => late = Some((block.batch, at)),
            Ok(_) => {
                before.get_or_insert(block.batch);
                return ControlFlow::Continue(());
            }
            Err(error) => failed = Some(error),
        }
        ControlFlow::Break(())
    })?;
    match (failed, late) {
        (Some(error), _) => Err(error.into()),
        // The first batch of all is late.
        (None, Some((batch, at))) if before.is_none_or(|before| before >= batch) => {
            Err(BackupError::TooEarly { first: time(at.0) })
        }
        (None, late) => Ok(late.map(|(batch, _)| batch)),
    }
}
