//! Checking a backup: every byte against the manifest, then everything it means.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

use crate::journal::file::Boundary;
use crate::journal::file::archive::Archive;
use crate::journal::{LogError, ShardLog};
use crate::node::backup::copy::hash;
use crate::node::backup::{BackupError, JOURNAL, Kept, Manifest, RING, base_in, failed, log_of};
use crate::node::base::{Base, joined};
use crate::node::files::Files;
use crate::node::recover::{OpenError, fold, open};
use crate::state::State;
use crate::tokens::KeyRing;
use crate::types::ids::Shard;

/// What a check of a backup found. All of it is sound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// What the backup holds.
    pub manifest: Manifest,
    /// [`state_hash`] of its journal.
    pub state_hash: String,
}

/// Checks a backup: the hash of each file, the journal's checksums, chains and dense sequences, the key
/// ring, and that the checkpoint and the journal behind it come to what the whole journal comes to. A base and the
/// journal behind it must come to that too; where older segments are gone they are what the checkpoint is compared
/// with.
///
/// Needs memory for the state twice. Writes nothing.
///
/// # Errors
/// With the first file that is damaged.
pub fn verify(dir: &Path, told: &mut dyn FnMut(u64)) -> Result<Verified, BackupError> {
    let manifest = Manifest::read(dir)?;
    check_bytes(dir, &manifest, told)?;
    let journal = dir.join(JOURNAL);
    let log = log_of(dir, &manifest)?;
    let scanned = log.scanned();
    let held = |(shard, last): (&u8, &u64)| {
        let next = Shard::new(*shard).map(|shard| scanned.next.0[shard.index()]);
        next.is_some_and(|next| next.0 > *last)
    };
    if scanned.journal.to_string() != manifest.journal || !manifest.last_seqs.iter().all(held) {
        let what = "the segments do not reach as far as the manifest says";
        return Err(BackupError::Damaged { path: journal, what });
    }
    let ring = ring_of(dir, &manifest)?;
    let base = base_in(dir, &manifest, &log.boundaries())?;
    let state = fold_all(&log, base.as_ref(), &journal)?;
    if let Some(base) = base.as_ref().filter(|_| is_whole(&log)) {
        base.check()?;
        let input = base.state().map_err(failed("read", base.path()))?;
        let (front, ..) = open(Box::new(log_of(dir, &manifest)?), ring.clone(), 0, [input])?;
        if front.difference(&state).is_some() {
            let what = "it and the journal behind it do not come to what the journal comes to";
            return Err(BackupError::Damaged { path: base.path().to_owned(), what });
        }
    }
    if let Some(kept) = &manifest.checkpoint {
        let path = dir.join(&kept.stored);
        let what = match loads(Box::new(log), ring, &path)? {
            None => Some("the node would pass it over"),
            Some(front) => front
                .difference(&state)
                .map(|_| "it and the journal behind it do not come to what the journal comes to"),
        };
        if let Some(what) = what {
            return Err(BackupError::Damaged { path, what });
        }
    }
    Ok(Verified { manifest, state_hash: hash_of(&state).map_err(failed("hash", dir))? })
}

/// Returns a hash of all that the facts of a node's journal come to: two journals with the same facts have the same.
/// Where older segments are gone it begins with the base beside the journal, and can only be compared with hashes that
/// did so too: maps lie otherwise once they were read back.
///
/// It is a hash of this version's own layout of the state: hashes of two versions can't be compared.
///
/// # Errors
/// When the journal can't be read to its end.
pub fn state_hash(journal: &Path) -> Result<String, BackupError> {
    let log = Archive::open(journal)?;
    let folder = journal.parent().unwrap_or(Path::new("."));
    let base = joined(&Files::new(folder), &log.boundaries())?;
    let state = fold_all(&log, base.as_ref(), journal)?;
    hash_of(&state).map_err(failed("hash", journal))
}

/// Checks the hash of every file that the manifest names.
pub(super) fn check_bytes(
    dir: &Path,
    manifest: &Manifest,
    told: &mut dyn FnMut(u64),
) -> Result<(), BackupError> {
    let journal = dir.join(JOURNAL);
    let segments = manifest.segments.iter().map(|kept| (journal.join(&kept.stored), kept));
    let others = manifest.checkpoint.iter().chain(&manifest.files);
    let others = others.map(|kept| (dir.join(&kept.stored), kept));
    for (path, Kept { bytes, blake3, .. }) in segments.chain(others) {
        let what = match fs::metadata(&path) {
            Err(_) => Some("it is missing"),
            Ok(file) if file.len() < *bytes => Some("its end is missing"),
            Ok(_) => (hash(&path, *bytes, told)? != *blake3)
                .then_some("its bytes are not those that the manifest names"),
        };
        if let Some(what) = what {
            return Err(BackupError::Damaged { path, what });
        }
    }
    Ok(())
}

/// Returns the key ring of a backup.
pub(super) fn ring_of(dir: &Path, manifest: &Manifest) -> Result<KeyRing, BackupError> {
    let kept = manifest.files.iter().find(|kept| kept.name == RING);
    let kept = kept.ok_or_else(|| BackupError::NoNode(dir.to_owned()))?;
    let path = dir.join(&kept.stored);
    let bytes = fs::read(&path).map_err(failed("read", &path))?;
    let damaged = |_| BackupError::Damaged { path, what: "it is no key ring" };
    serde_json::from_slice(&bytes).map_err(damaged)
}

/// Opens a journal with a checkpoint; `None`: a node would pass it over.
pub(super) fn loads(
    log: Box<dyn ShardLog>,
    ring: KeyRing,
    checkpoint: &Path,
) -> Result<Option<crate::node::Front>, BackupError> {
    let file = File::open(checkpoint).map_err(failed("open", checkpoint))?;
    let input: Box<dyn Read> = Box::new(BufReader::new(file));
    match open(log, ring, 0, [input]) {
        Ok((front, _, opened)) => Ok(opened.checkpoint.then_some(front)),
        // Passed over, and the journal alone is not enough.
        Err(OpenError::Log(LogError::Trimmed { .. })) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Tells whether a journal is there from its first fact.
fn is_whole(log: &Archive) -> bool {
    log.boundaries().first().is_some_and(Boundary::is_start)
}

/// Folds a journal from its first fact; where that is gone, from the base that it goes on from.
fn fold_all(log: &Archive, base: Option<&Base>, journal: &Path) -> Result<State, BackupError> {
    let (mut state, mut from, mut failed) = (State::default(), log.start(), None::<OpenError>);
    if let Some(base) = base.filter(|_| !is_whole(log)) {
        base.check()?;
        (state, from) = (base.load(journal)?, base.next());
    }
    log.read_from(&from, &mut |block| match fold(block, |stamp, fact| state.apply(stamp, fact)) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(state), |error| Err(error.into()))
}

/// Hashes every part in order. Maps are walked as they lie, which for equal facts in equal order is equal.
fn hash_of(state: &State) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    state.buckets.iter().try_for_each(|part| add(&mut hasher, part))?;
    state.shards.iter().try_for_each(|part| add(&mut hasher, part))?;
    state.purses.iter().try_for_each(|part| add(&mut hasher, part))?;
    state.tallies.iter().try_for_each(|part| add(&mut hasher, part))?;
    state.desks.iter().try_for_each(|part| add(&mut hasher, part))?;
    add(&mut hasher, &state.feeds)?;
    add(&mut hasher, &state.paces)?;
    add(&mut hasher, &state.shapes)?;
    let saved = state.catalog.saved();
    add(&mut hasher, &saved.head)?;
    for (index, page) in saved.pages() {
        add(&mut hasher, &(index as u64))?;
        add(&mut hasher, &page)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn add<T: Serialize>(hasher: &mut blake3::Hasher, part: &T) -> io::Result<()> {
    let bytes = postcard::to_allocvec(part).map_err(io::Error::other)?;
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(&bytes);
    Ok(())
}
