//! `munadi backup`, `verify` and `restore`: copies of a node's folder, taken while the node runs.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::cli::progress::{Progress, bytes_of};
use crate::node::Files;
use crate::node::backup::{BackupError, Manifest, backup, restore, verify};
use crate::node::clock::{Clock, SystemClock};
use crate::types::time::Moment;

/// Copy a node's folder into a backup, while the node runs or not.
///
/// Everything that the node acknowledged before is in it: the journal's segments, the newest checkpoint, the
/// key ring and whatever else lies in the folder. Taken into the same folder again, only what is new is
/// copied; the backup before it stays good until the new one is finished. Needs no server and no lock.
///
/// A backup holds the key ring, so whoever reads it can forge tokens and undo pseudonyms: its files are
/// readable for you alone; keep it as well as the node. Don't start a node on it; restore it first.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// The node's folder: the one with `journal` and `keyring.json` in it.
    pub dir: PathBuf,
    /// The backup's folder: new, empty, or with earlier backups of the same node.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// Check a backup: every byte, and that it comes to a whole state.
///
/// Hashes each file, walks the journal's checksums, chains and sequences, reads the key ring, replays the
/// journal, and compares the checkpoint with that. Prints a hash of the state: two backups with the same
/// facts have the same, as far as one version of munadi checks both. Needs memory for the state twice.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// The backup's folder.
    pub dir: PathBuf,
    /// Print the manifest and the hash of the state as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Make a node's folder from a backup, as it is or as it was at a moment.
///
/// Checks every byte first; nothing is left behind when something is wrong. The folder can be served from,
/// audited and checked as any other. With --until, what happened later is gone from the journal: feeds send
/// again what they still hold, and readers of the attribution stream whose cursors are later must begin
/// again.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// The backup's folder.
    pub dir: PathBuf,
    /// The folder to make: new or empty.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// The last moment to keep, RFC 3339, by the journal's time: 2026-11-29T09:30:00Z.
    #[arg(long, value_name = "TIME")]
    pub until: Option<jiff::Timestamp>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The backup can't be taken, checked or restored.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The report can't be printed.
    #[error("the report can't be printed: {0}")]
    Output(#[from] io::Error),
}

/// Takes a backup and says what it came to.
pub(super) fn run_backup(args: &BackupArgs) -> Result<(), CommandError> {
    let mut progress = Progress::new("backup", bytes_of(&Files::new(&args.dir).journal()));
    let now = SystemClock::default().now();
    let taken = backup(&args.dir, &args.to, now, &mut |bytes| progress.advance(bytes));
    progress.finish();
    let taken = taken?;
    let mut out = io::stdout().lock();
    write_manifest(&mut out, &taken.manifest)?;
    let (files, bytes) = taken.copied;
    writeln!(out, "copied      {files} files, {bytes} bytes; {} were there already", taken.same)?;
    Ok(())
}

/// Checks a backup and says what it holds.
pub(super) fn run_verify(args: &VerifyArgs) -> Result<(), CommandError> {
    let mut progress = Progress::new("verify", bytes_of(&args.dir.join("journal")));
    let verified = verify(&args.dir, &mut |bytes| progress.advance(bytes));
    progress.finish();
    let verified = verified?;
    let mut out = io::stdout().lock();
    if args.json {
        let report = serde_json::json!({
            "sound": true,
            "state_hash": verified.state_hash,
            "manifest": verified.manifest,
        });
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    write_manifest(&mut out, &verified.manifest)?;
    writeln!(out, "state hash  {}", verified.state_hash)?;
    writeln!(out, "sound")?;
    Ok(())
}

/// Restores a backup and says what was made.
pub(super) fn run_restore(args: &RestoreArgs) -> Result<(), CommandError> {
    let mut progress = Progress::new("restore", 2 * bytes_of(&args.dir.join("journal")));
    let until = args.until.map(|until| Moment(until.as_millisecond()));
    let restored = restore(&args.dir, &args.to, until, &mut |bytes| progress.advance(bytes));
    progress.finish();
    let restored = restored?;
    let mut out = io::stdout().lock();
    let (facts, batch) = (restored.facts, restored.last_batch);
    writeln!(out, "restored    {facts} facts, up to batch {batch}, to {}", args.to.display())?;
    if !restored.checkpoint {
        writeln!(out, "checkpoint  none that fits: the first start reads the whole journal")?;
    }
    Ok(())
}

fn write_manifest(out: &mut dyn Write, manifest: &Manifest) -> io::Result<()> {
    let last = if manifest.last_time.is_empty() { "-" } else { &manifest.last_time };
    let checkpoint = manifest.checkpoint.as_ref().map_or("none", |kept| &kept.name);
    writeln!(out, "journal     {}", manifest.journal)?;
    writeln!(out, "taken       {}", manifest.taken)?;
    writeln!(out, "last time   {last}")?;
    writeln!(out, "last batch  {}", manifest.last_batch)?;
    writeln!(out, "facts       {}", manifest.facts)?;
    writeln!(out, "segments    {}", manifest.segments.len())?;
    writeln!(out, "checkpoint  {checkpoint}")
}
